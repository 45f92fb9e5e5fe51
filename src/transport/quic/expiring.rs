//! A table that cannot grow: of what comes in whatever number from whomever.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// A table with so many entries at the most, each of which is kept for the same time: the oldest goes first, be it
/// because its time is over or because there is no room.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    most: usize,
    lifetime: Duration,
    entries: HashMap<K, Entry<V>>,
    /// The keys in the order in which they came, by number.
    order: BTreeMap<u64, K>,
    next: u64,
}

#[derive(Debug)]
struct Entry<V> {
    number: u64,
    ends: Instant,
    value: V,
}

impl<K: Copy + Eq + Hash, V> Expiring<K, V> {
    pub(super) fn new(most: usize, lifetime: Duration) -> Expiring<K, V> {
        Expiring { most, lifetime, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Adds an entry, and returns the oldest where there was no room for both.
    pub(super) fn insert(&mut self, key: K, value: V, now: Instant) -> Option<(K, V)> {
        self.remove(&key);
        let oldest = if self.entries.len() < self.most { None } else { self.pop() };
        let number = self.next;
        self.next += 1;
        self.order.insert(number, key);
        self.entries.insert(key, Entry { number, ends: now + self.lifetime, value });
        oldest
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// The oldest of those whose value is like this.
    pub(super) fn oldest(&self, is_like: impl Fn(&V) -> bool) -> Option<K> {
        let is_like = |key: &&K| self.entries.get(key).is_some_and(|entry| is_like(&entry.value));
        self.order.values().find(is_like).copied()
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.number);
        Some(entry.value)
    }

    fn pop(&mut self) -> Option<(K, V)> {
        let (_, key) = self.order.pop_first()?;
        Some((key, self.entries.remove(&key)?.value))
    }

    /// When the time of the oldest is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let (_, key) = self.order.first_key_value()?;
        self.entries.get(key).map(|entry| entry.ends)
    }

    /// Removes the oldest, if its time is over.
    pub(super) fn pop_ended(&mut self, now: Instant) -> Option<(K, V)> {
        self.next_end().filter(|&ends| ends <= now)?;
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_oldest_goes_first() {
        let (mut table, now) = (Expiring::new(3, SECOND), Instant::now());
        assert_eq!(table.next_end(), None);
        for number in 0..3 {
            assert_eq!(table.insert(number, 'a', now + SECOND * number / 10), None);
        }
        assert_eq!(table.remove(&1), Some('a'));
        assert_eq!(table.insert(3, 'b', now + SECOND / 2), None, "there was room");
        assert_eq!(table.insert(4, 'b', now + SECOND / 2), Some((0, 'a')));
        assert_eq!(table.insert(2, 'c', now + SECOND / 2), None, "it takes its own place");
        assert_eq!(table.next_end(), Some(now + SECOND * 3 / 2));
        assert_eq!(
            (table.oldest(|&value| value == 'b'), table.oldest(|&value| value == 'a')),
            (Some(3), None)
        );
        assert_eq!(table.pop_ended(now + SECOND), None);
        let ended: Vec<_> = std::iter::from_fn(|| table.pop_ended(now + 2 * SECOND)).collect();
        assert_eq!(ended, [(3, 'b'), (4, 'b'), (2, 'c')]);
        assert!(table.entries.is_empty() && table.order.is_empty());
    }
}
