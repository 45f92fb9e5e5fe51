//! Who has how much bulk, and to whom it goes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long a count holds: a thread without bulk does not say so.
const STALE: Duration = Duration::from_millis(500);

/// The work of a thread, seen by the others.
#[derive(Debug, Clone, Default)]
struct Seat {
    /// `None` before the thread has begun, and when it has ended.
    handle: Option<Handle>,
    /// Connections that carry bulk, and when they were counted.
    bulk: usize,
    counted: Option<Instant>,
}

/// Where the threads of the workers tell each other how much bulk they have.
#[derive(Debug)]
pub(super) struct Board(Mutex<Vec<Seat>>);

impl Board {
    pub(super) fn new(size: usize) -> Board {
        Board(Mutex::new(vec![Seat::default(); size]))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Seat>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a thread has begun, or that it has ended (`None`).
    pub(super) fn set_handle(&self, index: usize, handle: Option<Handle>) {
        self.with(|seats| {
            if let Some(seat) = seats.get_mut(index) {
                *seat = Seat { handle, ..Seat::default() };
            }
        });
    }

    /// The runtime of a thread, while it runs.
    pub(super) fn handle(&self, index: usize) -> Option<Handle> {
        self.with(|seats| seats.get(index)?.handle.clone())
    }

    /// Notes how many connections with bulk a thread has. Returns the threads to which it is to move one
    /// each, if it has too much to do.
    pub(super) fn count(&self, index: usize, bulk: usize, busy: bool, now: Instant) -> Vec<usize> {
        self.with(|seats| {
            if let Some(seat) = seats.get_mut(index) {
                (seat.bulk, seat.counted) = (bulk, Some(now));
            }
            if !busy {
                return Vec::new();
            }
            let known = |seat: &Seat| {
                let fresh = seat.counted.is_some_and(|at| now.saturating_duration_since(at) < STALE);
                seat.handle.as_ref().map(|_| if fresh { seat.bulk } else { 0 })
            };
            let targets = share_out(seats.iter().map(known).collect(), index);
            // They are on their way, so that nobody else counts on the room.
            for &target in &targets {
                if let Some(seat) = seats.get_mut(target) {
                    let bulk = known(seat).unwrap_or(0);
                    (seat.bulk, seat.counted) = (bulk + 1, Some(now));
                }
            }
            targets
        })
    }
}

/// To which threads the one of this number is to give a connection each, so that none of them has two fewer
/// than it keeps. `None` is a thread that does not run.
fn share_out(mut bulk: Vec<Option<usize>>, from: usize) -> Vec<usize> {
    let mut targets = Vec::new();
    let Some(mut mine) = bulk.get_mut(from).and_then(Option::take) else { return targets };
    while let Some((least, index)) =
        bulk.iter_mut().enumerate().filter_map(|(index, bulk)| Some((bulk.as_mut()?, index))).min()
        && mine >= *least + 2
    {
        *least += 1;
        mine -= 1;
        targets.push(index);
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_shared_out_until_nobody_has_two_more() {
        for (bulk, from, targets) in [
            (&[Some(8), Some(0)][..], 0, &[1, 1, 1, 1][..]),
            (&[Some(1), Some(0)], 0, &[]),
            (&[Some(2), Some(1)], 0, &[]),
            (&[Some(3), Some(1)], 0, &[1]),
            (&[Some(0), Some(8)], 0, &[]),
            (&[Some(0), Some(2)], 1, &[0]),
            (&[Some(8), None], 0, &[]),
            (&[Some(8), None, Some(0), Some(1)], 0, &[2, 2, 3, 2, 3]),
            (&[None, Some(4)], 0, &[]),
            (&[Some(4)], 0, &[]),
            (&[], 0, &[]),
        ] {
            assert_eq!(share_out(bulk.to_vec(), from), targets, "{bulk:?} from {from}");
        }
    }

    #[test]
    fn whoever_gave_has_no_reason_to_get_it_back() {
        for mine in 0..40 {
            for theirs in 0..40 {
                for others in 0..4 {
                    let mut bulk = vec![Some(mine), Some(theirs), Some(others)];
                    let targets = share_out(bulk.clone(), 0);
                    for &target in &targets {
                        bulk[0] = bulk[0].map(|bulk| bulk - 1);
                        bulk[target] = bulk[target].map(|bulk| bulk + 1);
                    }
                    for target in targets {
                        let back = share_out(bulk.clone(), target);
                        assert!(!back.contains(&0), "{mine}, {theirs}, {others}: {bulk:?} {back:?}");
                    }
                }
            }
        }
    }

    fn board(running: usize) -> (tokio::runtime::Runtime, Board) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = Some(runtime.handle().clone());
        let board = Board(Mutex::new(vec![Seat { handle, ..Seat::default() }; running]));
        (runtime, board)
    }

    #[test]
    fn only_a_busy_thread_gives_and_what_is_on_its_way_counts() {
        let (_runtime, board) = board(3);
        let now = Instant::now();
        assert!(board.count(0, 6, false, now).is_empty());
        assert_eq!(board.count(0, 6, true, now), [1, 2, 1, 2]);
        // The two have it already, as far as the others know.
        assert!(board.count(0, 2, true, now).is_empty());
        assert_eq!(board.count(1, 5, true, now), [0, 2]);
    }

    #[test]
    fn an_old_count_is_none() {
        let (_runtime, board) = board(2);
        let now = Instant::now();
        board.count(1, 8, true, now);
        assert!(board.count(0, 2, true, now + STALE / 2).is_empty());
        assert_eq!(board.count(0, 2, true, now + STALE), [1]);
    }
}
