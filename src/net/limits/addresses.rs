//! What is known of the addresses that come: how many tunnels each has, and how fast its connections come. Only
//! of those of which there is something to know: an address that has nothing open and was quiet for a while is
//! forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The most addresses that are known at a time, some megabytes. To one more no limit for an address applies: it
/// takes a network of its own to fill this, to which such limits mean nothing, and others are not to pay for it.
pub(super) const ADDRESSES: usize = 64 * 1024;

/// The most clients of an address that wait at a time.
pub(super) const WAITING_PER_ADDRESS: u32 = 16;

/// So few addresses are not looked through for those that can be forgotten.
const FEW: usize = 1024;

/// How long they are not looked through again where there was no room.
const PAUSE: Duration = Duration::from_secs(1);

/// After so long they are in any case, when one more comes.
const LONG: Duration = Duration::from_secs(60);

/// What counts as one address: of IPv6 a network of 64 bits, of which whoever has one has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(IpAddr);

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Key {
        Key(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

/// How fast new connections of an address may come: so many a second, and at once as many as in two seconds. A
/// token bucket in the form of GCRA: there is no number of tokens to be refilled, only a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    interval: Duration,
    tolerance: Duration,
}

impl Rate {
    /// Of so many connections a second, one at the least.
    pub(super) fn new(per_second: u32) -> Rate {
        let per_second = per_second.max(1);
        let interval = Duration::from_secs(1) / per_second;
        Rate { interval, tolerance: interval * per_second.saturating_mul(2).saturating_sub(1) }
    }
}

#[derive(Debug)]
struct Known {
    /// Tunnels, and clients that are about to have one.
    users: u32,
    /// Clients that wait.
    waiting: u32,
    /// The tunnels that it may still have, where that is limited.
    tunnels: Option<Arc<Semaphore>>,
    /// When a connection would come that keeps the rate exactly.
    next: Instant,
}

/// The addresses that are known.
#[derive(Debug)]
pub(super) struct Addresses {
    known: HashMap<Key, Known>,
    tunnels_each: Option<u32>,
    rate: Option<Rate>,
    /// How many there are before they are looked through again.
    look_at: usize,
    looked: Option<Instant>,
}

impl Addresses {
    pub(super) fn new(tunnels_each: Option<u32>, rate: Option<u32>) -> Addresses {
        let (known, rate) = (HashMap::new(), rate.map(Rate::new));
        Addresses { known, tunnels_each, rate, look_at: FEW, looked: None }
    }

    /// A connection has come. Returns whether it keeps the rate.
    pub(super) fn arrive(&mut self, key: Key, now: Instant) -> bool {
        self.next_turn(key, now, Duration::ZERO).is_some()
    }

    /// How long a connection waits that came too fast, for no longer than `most`: the time for it is taken then, and
    /// those that come later wait behind it.
    pub(super) fn next_turn(&mut self, key: Key, now: Instant, most: Duration) -> Option<Duration> {
        let Some(rate) = self.rate else { return Some(Duration::ZERO) };
        let Some(known) = self.get_or_add(key, now) else { return Some(Duration::ZERO) };
        let wait = known.next.saturating_duration_since(now).saturating_sub(rate.tolerance);
        (wait <= most).then(|| {
            known.next = known.next.max(now) + rate.interval;
            wait
        })
    }

    /// Somebody is about to have a tunnel. Returns those that this address may still have; `None` where that is not
    /// limited, or the address not known.
    pub(super) fn enter(&mut self, key: Key, now: Instant) -> Option<Arc<Semaphore>> {
        let known = self.get_or_add(key, now)?;
        let tunnels = known.tunnels.clone()?;
        known.users += 1;
        Some(tunnels)
    }

    /// Somebody has no tunnel any more.
    pub(super) fn leave(&mut self, key: Key, now: Instant) {
        self.change(key, now, |known| known.users = known.users.saturating_sub(1));
    }

    /// Whether one more client of this address may wait; then it does.
    pub(super) fn begin_waiting(&mut self, key: Key, now: Instant) -> bool {
        let Some(known) = self.get_or_add(key, now) else { return false };
        let has_room = known.waiting < WAITING_PER_ADDRESS;
        known.waiting += u32::from(has_room);
        has_room
    }

    /// One of these waits no longer.
    pub(super) fn end_waiting(&mut self, key: Key, now: Instant) {
        self.change(key, now, |known| known.waiting = known.waiting.saturating_sub(1));
    }

    fn change(&mut self, key: Key, now: Instant, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.get_mut(&key) {
            change(known);
            if known.can_be_forgotten(now) {
                self.known.remove(&key);
            }
        }
    }

    fn get_or_add(&mut self, key: Key, now: Instant) -> Option<&mut Known> {
        if !self.known.contains_key(&key) && !self.make_room(now) {
            return None;
        }
        let tunnels = || self.tunnels_each.map(|tunnels| Arc::new(Semaphore::new(tunnels as usize)));
        let new = || Known { users: 0, waiting: 0, tunnels: tunnels(), next: now };
        Some(self.known.entry(key).or_insert_with(new))
    }

    /// Whether there is room for one more. Those that can be forgotten are looked for when their number may have
    /// doubled, and once in a while.
    fn make_room(&mut self, now: Instant) -> bool {
        let len = self.known.len();
        let is_full = len >= ADDRESSES;
        let longer_ago = |time| self.looked.is_none_or(|at| now.saturating_duration_since(at) >= time);
        let may_have_doubled = len >= self.look_at && (!is_full || longer_ago(PAUSE));
        if may_have_doubled || (len >= FEW && longer_ago(LONG)) {
            self.known.retain(|_, known| !known.can_be_forgotten(now));
            self.look_at = (2 * self.known.len()).clamp(FEW, ADDRESSES);
            self.known.shrink_to(self.look_at);
            self.looked = Some(now);
        }
        self.known.len() < ADDRESSES
    }
}

impl Known {
    fn can_be_forgotten(&self, now: Instant) -> bool {
        self.users == 0 && self.waiting == 0 && self.next <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(text: &str) -> Key {
        Key::from(text.parse::<IpAddr>().unwrap())
    }

    fn number(n: usize) -> Key {
        Key::from(IpAddr::from((n as u32).to_be_bytes()))
    }

    #[test]
    fn of_ipv6_a_network_of_64_bits_is_one_address() {
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_rate_allows_as_many_as_in_two_seconds_at_once_and_then_one_at_a_time() {
        for per_second in [1, 2, 7, 1000] {
            let (mut addresses, start) = (Addresses::new(None, Some(per_second)), Instant::now());
            let burst = (0..10_000).filter(|_| addresses.arrive(key("192.0.2.1"), start)).count();
            assert_eq!(burst, 2 * per_second as usize);
            assert!(addresses.arrive(key("192.0.2.2"), start), "another address is not affected");
            let interval = SECOND / per_second;
            let just_before = start + interval - Duration::from_nanos(1);
            assert!(!addresses.arrive(key("192.0.2.1"), just_before));
            assert!(addresses.arrive(key("192.0.2.1"), start + interval));
            assert!(!addresses.arrive(key("192.0.2.1"), start + interval));
            let later = start + 10 * SECOND;
            let burst = (0..10_000).filter(|_| addresses.arrive(key("192.0.2.1"), later)).count();
            assert_eq!(burst, 2 * per_second as usize, "no more is saved up");
        }
    }

    #[test]
    fn those_who_wait_for_their_turn_have_one_each() {
        let (mut addresses, now) = (Addresses::new(None, Some(2)), Instant::now());
        let key = key("192.0.2.1");
        (0..4).for_each(|_| assert!(addresses.arrive(key, now)));
        let turns: Vec<_> = (0..4).map(|_| addresses.next_turn(key, now, 2 * SECOND)).collect();
        assert_eq!(turns, [500, 1000, 1500, 2000].map(|ms| Some(Duration::from_millis(ms))));
        assert_eq!(addresses.next_turn(key, now, 2 * SECOND), None, "that would be too long");
        assert!(!addresses.arrive(key, now + 2 * SECOND), "these turns are taken");
        assert!(addresses.arrive(key, now + Duration::from_millis(2500)));
    }

    #[test]
    fn an_address_is_forgotten_when_nothing_is_left_to_know_of_it() {
        let (mut addresses, now) = (Addresses::new(Some(1), Some(1)), Instant::now());
        let key = key("192.0.2.1");
        assert!(addresses.arrive(key, now) && addresses.enter(key, now).is_some());
        assert!(addresses.begin_waiting(key, now));
        addresses.leave(key, now);
        addresses.end_waiting(key, now);
        assert_eq!(addresses.known.len(), 1, "its rate is still to be known");
        addresses.enter(key, now);
        addresses.leave(key, now + SECOND);
        assert_eq!(addresses.known.len(), 0);
    }

    #[test]
    fn a_client_too_many_of_an_address_does_not_wait() {
        let (mut addresses, now) = (Addresses::new(None, None), Instant::now());
        let waiting = (0..100).filter(|_| addresses.begin_waiting(key("192.0.2.1"), now)).count();
        assert_eq!(waiting, WAITING_PER_ADDRESS as usize);
        assert!(addresses.begin_waiting(key("192.0.2.2"), now));
        addresses.end_waiting(key("192.0.2.1"), now);
        assert!(addresses.begin_waiting(key("192.0.2.1"), now));
    }

    #[test]
    fn no_more_addresses_are_known_than_there_is_room_for() {
        let (mut addresses, now) = (Addresses::new(Some(1), Some(1)), Instant::now());
        (0..ADDRESSES).for_each(|n| assert!(addresses.enter(number(n), now).is_some()));
        let one_more = number(ADDRESSES);
        for _ in 0..100 {
            assert!(addresses.enter(one_more, now).is_none());
            assert!(addresses.arrive(one_more, now), "no limit for an address applies to it");
        }
        assert_eq!(addresses.known.len(), ADDRESSES);
        assert!(addresses.enter(number(5), now).is_some(), "one that is known stays so");
        addresses.leave(number(7), now);
        assert!(addresses.enter(one_more, now).is_some(), "there is room again");
        addresses.leave(one_more, now);
        assert_eq!(addresses.known.len(), ADDRESSES - 1);
    }

    #[test]
    fn quiet_addresses_make_room() {
        let (mut addresses, start) = (Addresses::new(None, Some(1)), Instant::now());
        for n in 0..4 * ADDRESSES {
            // As many come in a second as there is room for.
            assert!(addresses.arrive(number(n), start + SECOND * n as u32 / ADDRESSES as u32));
            assert!(addresses.known.len() <= ADDRESSES);
        }
        assert!(addresses.arrive(number(5 * ADDRESSES), start + 100 * SECOND));
        assert_eq!(addresses.known.len(), 1);
        assert!(addresses.known.capacity() < 4 * FEW);
    }

    proptest! {
        /// Whatever comes and goes in whatever order, nobody is forgotten who has something open, and everybody is
        /// who has not.
        #[test]
        fn users_are_counted(steps in prop::collection::vec((0..5_usize, any::<bool>()), 0..300)) {
            let (mut addresses, now) = (Addresses::new(Some(1), None), Instant::now());
            let mut users = [0_u32; 5];
            for (who, enters) in steps {
                if enters {
                    prop_assert!(addresses.enter(number(who), now).is_some());
                    users[who] += 1;
                } else if users[who] > 0 {
                    addresses.leave(number(who), now);
                    users[who] -= 1;
                }
                let known: Vec<_> = (0..5).map(|n| addresses.known.get(&number(n)).map_or(0, |k| k.users)).collect();
                prop_assert_eq!(&known, &users);
                prop_assert_eq!(addresses.known.len(), users.iter().filter(|&&n| n > 0).count());
            }
        }
    }
}
