//! How many threads serve connections: one, and more while there is more to do than it can.
//!
//! A connection stays with the thread that accepted it, but for bulk ([`balance`](super::balance)), and
//! each thread has a runtime of its own, so no thread wakes another. What one thread does in one go, several
//! do in several: on a machine with two cores, with the load's own programs beside it, kept-alive requests
//! through both halves cost 28 µs of CPU with two threads a half, whether or not they took tasks from each
//! other, and 22 µs with one. So the others sleep until the first is busy.
//!
//! It is looked at when a connection is accepted, as here only new connections go to other threads: there
//! is no clock that would wake a phone.

use super::board::Board;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Over how long it is measured, at the least, how busy the threads are.
const INTERVAL: Duration = Duration::from_millis(200);

/// The share of its time that a thread works when it needs help.
const BUSY: f64 = 0.75;

/// The share below which one thread fewer would do: what remains stays well below [`BUSY`].
const QUIET: f64 = 0.25;

/// The threads of one half.
#[derive(Debug)]
pub(crate) struct Workers {
    size: usize,
    active: watch::Sender<usize>,
    sample: Mutex<Sample>,
    pub(super) board: Board,
}

/// A point in time, and what CPU time the process had used until then.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu: Duration,
}

impl Sample {
    fn now() -> Sample {
        Sample { at: Instant::now(), cpu: cpu_time() }
    }
}

impl Workers {
    /// As many threads as there are cores; one of them serves.
    pub(crate) fn new() -> Arc<Workers> {
        let size = std::thread::available_parallelism().map_or(1, usize::from);
        Workers::of(size)
    }

    pub(crate) fn of(size: usize) -> Arc<Workers> {
        let sample = Mutex::new(Sample::now());
        Arc::new(Workers { size, active: watch::Sender::new(1), sample, board: Board::new(size) })
    }

    /// How many threads there may be.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Waits until the thread of this number, from 0, is to serve, or is not to any more.
    pub(crate) async fn until(&self, index: usize, serving: bool) {
        // The sender is ours, so it cannot be gone.
        let _ = self.active.subscribe().wait_for(|&active| (index < active) == serving).await;
    }

    /// To be called when a connection has been accepted: measures, now and then, how busy the
    /// threads are, and wakes one more or lets one go.
    pub(crate) fn rebalance(&self) {
        if self.size == 1 {
            return;
        }
        // Whoever holds the lock is looking.
        let Ok(mut sample) = self.sample.try_lock() else { return };
        if sample.at.elapsed() < INTERVAL {
            return;
        }
        let now = Sample::now();
        let before = std::mem::replace(&mut *sample, now);
        drop(sample);
        self.adjust(before, now);
    }

    /// Wakes a thread or lets one go, by what was used between two points in time.
    fn adjust(&self, before: Sample, now: Sample) {
        let used = now.cpu.saturating_sub(before.cpu);
        let busy = used.as_secs_f64() / now.at.duration_since(before.at).as_secs_f64();
        self.active.send_if_modified(|active| {
            let wanted = wanted(*active, busy).min(self.size);
            std::mem::replace(active, wanted) != wanted
        });
    }

    /// The number of threads that serve.
    pub(crate) fn active(&self) -> usize {
        *self.active.borrow()
    }
}

/// How many threads should serve when `active` of them used so much CPU time in a second, in seconds.
fn wanted(active: usize, busy: f64) -> usize {
    let each = busy / active as f64;
    if each > BUSY {
        active + 1
    } else if active > 1 && each < QUIET {
        active - 1
    } else {
        active
    }
}

/// The CPU time that the process has used. Where it is not known, it always looks as if there were much to
/// do, and all threads serve.
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    crate::os::process::cpu_time().unwrap_or_else(|| START.elapsed() * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_gets_help_and_a_quiet_one_is_let_go() {
        for (active, busy, expected) in [
            (1, 0.2, 1),
            (1, 0.7, 1),
            (1, 0.9, 2),
            (2, 1.0, 2),
            (2, 1.8, 3),
            (2, 0.4, 1),
            (4, 2.0, 4),
            (4, 0.9, 3),
        ] {
            assert_eq!(wanted(active, busy), expected, "{active} threads, {busy} s a second");
        }
    }

    #[test]
    fn helping_never_makes_the_helper_superfluous() {
        for active in 1..64 {
            for percent in 0..=active * 100 {
                let busy = percent as f64 / 100.0;
                let next = wanted(active, busy);
                assert!(next < active || wanted(next, busy) >= active, "{active} threads, {busy}");
            }
        }
    }

    /// Points in time of a process that works for so many milliseconds of each second.
    fn seconds(work: &[u64]) -> Vec<Sample> {
        let mut sample = Sample { at: Instant::now(), cpu: Duration::ZERO };
        let mut samples = vec![sample];
        for &millis in work {
            sample.at += Duration::from_secs(1);
            sample.cpu += Duration::from_millis(millis);
            samples.push(sample);
        }
        samples
    }

    #[tokio::test]
    async fn work_wakes_the_threads_one_by_one_and_rest_lets_them_go() {
        let workers = Workers::of(3);
        let mut active = vec![workers.active()];
        for pair in seconds(&[100, 900, 1700, 2900, 1500, 400, 100]).windows(2) {
            workers.adjust(pair[0], pair[1]);
            active.push(workers.active());
        }
        assert_eq!(active, [1, 1, 2, 3, 3, 3, 2, 1]);
    }

    #[tokio::test]
    async fn a_thread_that_waits_for_its_turn_to_serve_gets_it_and_loses_it() {
        let workers = Workers::of(2);
        let serving = tokio::spawn({
            let workers = Arc::clone(&workers);
            async move {
                workers.until(1, true).await;
                workers.until(1, false).await;
            }
        });
        let samples = seconds(&[900, 100]);
        workers.adjust(samples[0], samples[1]);
        workers.until(1, true).await;
        tokio::task::yield_now().await;
        assert!(!serving.is_finished());
        workers.adjust(samples[1], samples[2]);
        serving.await.unwrap();
    }

    #[test]
    fn a_process_is_looked_at_when_there_is_something_to_see() {
        let workers = Workers::of(2);
        let soon = *workers.sample.lock().unwrap();
        workers.rebalance();
        assert_eq!(workers.sample.lock().unwrap().at, soon.at, "no time has passed");
        let long_ago = soon.at.checked_sub(INTERVAL * 10).expect("the machine is up that long");
        workers.sample.lock().unwrap().at = long_ago;
        workers.rebalance();
        assert!(workers.sample.lock().unwrap().at >= soon.at);
    }
}
