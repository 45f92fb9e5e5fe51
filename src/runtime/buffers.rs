//! What the process buffers in all, and the limit on it, which an operator may set.
//!
//! Counted is what waits for somebody who does not take it: for the peers of tunnels and visitors, in memory and in
//! the pipes through which the kernel carries bulk; for the backends of sessions; in TLS; and first messages that
//! are not complete. Not counted is what the kernel keeps in its sockets, and what is the same for each connection
//! whether bytes wait or not.
//!
//! Where much waits, less is read at once (`room`); over the limit each flow is read only as its receiver takes
//! something. So nobody has to be woken when bytes are freed, nobody is reset, and a tunnel whose receiver
//! keeps up goes on: what its receiver takes at once is never counted.

use crate::metrics;
use crate::os::memory;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tracing::warn;

/// What may be read at once when the limit is reached. A socket that can be written to takes that much, or nearly.
pub(crate) const LEAST: usize = 8 * 1024;

/// An account of bytes that are held.
#[derive(Debug)]
struct Account {
    held: AtomicUsize,
    limit: AtomicUsize,
    /// The limit was reached, and there has not been much room since.
    is_over: AtomicBool,
    times_over: AtomicUsize,
}

static OF_PROCESS: Account = Account::new();

/// The limit where an operator sets none, as a part of the memory that there is.
const PART: usize = 4;

/// Sets the limit, in bytes. Without one that is `asked` for it goes by the memory that there is: whoever reads
/// nothing could fill all of it otherwise, and the process would be ended by the system, with all tunnels.
pub fn set_limit(asked: Option<usize>) {
    if let Some(bytes) = asked.or_else(|| part_of_memory(PART)) {
        OF_PROCESS.limit.store(bytes, Ordering::Relaxed);
    }
}

/// How many bytes first messages may hold together that are not complete, where on a large machine that would be
/// `most`.
#[cfg(feature = "server")]
pub(crate) fn for_beginnings(most: usize) -> usize {
    /// As a part of the memory.
    const PART_OF_BEGINNINGS: usize = 16;
    part_of_memory(PART_OF_BEGINNINGS).map_or(most, |part| part.min(most))
}

fn part_of_memory(part: usize) -> Option<usize> {
    Some(usize::try_from(memory::limit()?).unwrap_or(usize::MAX) / part)
}

/// How many bytes may be. `None`: any number.
pub fn limit() -> Option<usize> {
    Some(OF_PROCESS.limit.load(Ordering::Relaxed)).filter(|&limit| limit != usize::MAX)
}

/// How many bytes are buffered.
pub fn held() -> usize {
    OF_PROCESS.held.load(Ordering::Relaxed)
}

/// How many bytes may be read at once, or wait in one place, where without a limit that would be `most`.
pub(crate) fn room(most: usize) -> usize {
    OF_PROCESS.room(most)
}

/// Whether so much is held that nothing is to be read for a receiver that takes nothing.
pub(crate) fn are_full() -> bool {
    OF_PROCESS.left() < LEAST
}

/// Bytes that one owner holds, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(usize);

impl Held {
    /// Holds so many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        OF_PROCESS.change(self.0, bytes);
        self.0 = bytes;
    }

    /// How many bytes it holds.
    pub(crate) fn get(&self) -> usize {
        self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Account {
    const fn new() -> Account {
        Account {
            held: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            is_over: AtomicBool::new(false),
            times_over: AtomicUsize::new(0),
        }
    }

    fn left(&self) -> usize {
        match self.limit.load(Ordering::Relaxed) {
            usize::MAX => usize::MAX,
            limit => limit.saturating_sub(self.held.load(Ordering::Relaxed)),
        }
    }

    fn room(&self, most: usize) -> usize {
        most.min(self.left().max(LEAST))
    }

    /// An owner that held `before` bytes holds `after`.
    fn change(&self, before: usize, after: usize) {
        if after > before {
            let more = after - before;
            let held = self.held.fetch_add(more, Ordering::Relaxed) + more;
            let limit = self.limit.load(Ordering::Relaxed);
            if held > limit.saturating_sub(LEAST) && !self.is_over.swap(true, Ordering::Relaxed) {
                self.times_over.fetch_add(1, Ordering::Relaxed);
                metrics::buffer_limit_reached();
                warn!(
                    "limit-buffers={} is reached: nothing more is read for those who take nothing",
                    limit / (1024 * 1024)
                );
            }
        } else if after < before {
            let less = before - after;
            let held = self.held.fetch_sub(less, Ordering::Relaxed) - less;
            // With a distance, or a log would have a line for each byte that comes and goes.
            if self.is_over.load(Ordering::Relaxed) && held < self.limit.load(Ordering::Relaxed) / 2 {
                self.is_over.store(false, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KB: usize = 1024;

    #[test]
    fn what_may_be_read_shrinks_with_what_is_left_and_never_to_nothing() {
        let account = Account::new();
        assert_eq!(account.room(256 * KB), 256 * KB, "no limit");
        account.limit.store(1024 * KB, Ordering::Relaxed);
        let mut held = 0;
        for (now, room) in [(0, 256), (768, 256), (924, 100), (1010, 14), (1024, 8), (4096, 8), (800, 224)] {
            account.change(held, now * KB);
            held = now * KB;
            assert_eq!(account.room(256 * KB), room * KB, "{now} KiB are held");
            assert_eq!(account.room(KB), KB, "{now} KiB are held");
        }
    }

    #[test]
    fn the_limit_counts_as_reached_anew_only_when_half_of_it_was_free() {
        let account = Account::new();
        account.limit.store(1024 * KB, Ordering::Relaxed);
        let mut held = 0;
        for (now, times) in [(1016, 0), (1017, 1), (1500, 1), (512, 1), (1200, 1), (511, 1), (1018, 2)] {
            account.change(held, now * KB);
            held = now * KB;
            assert_eq!(account.times_over.load(Ordering::Relaxed), times, "{now} KiB are held");
        }
    }

    proptest! {
        /// Whatever owners do in whatever order and on whatever threads, the account has their sum, and nothing when
        /// they are gone.
        #[test]
        fn the_account_is_the_sum_of_its_owners(
            steps in prop::collection::vec((0..4_usize, 0..100_000_usize), 0..200),
        ) {
            let account = Account::new();
            account.limit.store(50_000, Ordering::Relaxed);
            let mut owners = [0; 4];
            for &(owner, bytes) in &steps {
                account.change(owners[owner], bytes);
                owners[owner] = bytes;
                prop_assert_eq!(account.held.load(Ordering::Relaxed), owners.iter().sum::<usize>());
            }
            std::thread::scope(|scope| {
                for held in owners {
                    let (account, steps) = (&account, &steps);
                    scope.spawn(move || {
                        let last = steps.iter().fold(held, |held, &(_, bytes)| {
                            account.change(held, bytes);
                            bytes
                        });
                        account.change(last, 0);
                    });
                }
            });
            prop_assert_eq!(account.held.load(Ordering::Relaxed), 0);
        }
    }
}
