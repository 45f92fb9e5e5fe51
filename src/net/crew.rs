//! How many threads serve connections: one, and more while there is more to do than it can.
//!
//! A connection stays with the thread that accepted it, and each thread has a runtime of its own, so no
//! thread wakes another. What one thread does in one go, several do in several: on a machine with two
//! cores, with the load's own programs beside it, kept-alive requests through both halves cost 28 µs of
//! CPU with two threads a half, whether or not they took tasks from each other, and 22 µs with one. So
//! the others sleep until the first is busy.
//!
//! It is looked at when a connection is accepted, as only new connections go to other threads: there is
//! no clock that would wake a phone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Over how long it is measured, at the least, how busy the threads are.
const INTERVAL: Duration = Duration::from_millis(200);

/// The share of its time that a thread works when it needs help.
const BUSY: f64 = 0.75;

/// The share below which one thread fewer would do: what remains stays well below [`BUSY`].
const QUIET: f64 = 0.25;

/// The threads of one half.
#[derive(Debug)]
pub(super) struct Crew {
    size: usize,
    active: watch::Sender<usize>,
    sample: Mutex<Sample>,
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

impl Crew {
    /// As many threads as there are cores; one of them serves.
    pub(super) fn new() -> Arc<Crew> {
        let size = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Crew { size, active: watch::Sender::new(1), sample: Mutex::new(Sample::now()) })
    }

    /// How many threads there may be.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Waits until the thread of this number, from 0, is to serve, or is not to any more.
    pub(super) async fn until(&self, index: usize, serving: bool) {
        // The sender is ours, so it cannot be gone.
        let _ = self.active.subscribe().wait_for(|&active| (index < active) == serving).await;
    }

    /// To be called when a connection has been accepted: looks, now and then, how busy the threads are.
    pub(super) fn look(&self) {
        if self.size == 1 {
            return;
        }
        // Whoever holds the lock is looking.
        let Ok(mut sample) = self.sample.try_lock() else { return };
        if sample.at.elapsed() < INTERVAL {
            return;
        }
        let now = Sample::now();
        let elapsed = now.at.duration_since(sample.at);
        let used = now.cpu.saturating_sub(sample.cpu);
        *sample = now;
        drop(sample);
        let busy = used.as_secs_f64() / elapsed.as_secs_f64();
        self.active.send_if_modified(|active| {
            let wanted = wanted(*active, busy).min(self.size);
            std::mem::replace(active, wanted) != wanted
        });
    }

    /// The number of threads that serve.
    #[cfg(test)]
    fn active(&self) -> usize {
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

/// The CPU time that the process has used.
#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The CPU time that the process has used: not known here, so it always looks as if there were much to
/// do, and all threads serve.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed() * 1024
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

    #[tokio::test]
    async fn work_wakes_the_second_thread() {
        let crew = Crew { size: 2, active: watch::Sender::new(1), sample: Mutex::new(Sample::now()) };
        assert_eq!(crew.active(), 1);
        let began = Instant::now();
        // Busy for longer than it is measured: other programs may want the core, too.
        while crew.active() == 1 && began.elapsed() < Duration::from_secs(20) {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
            crew.look();
        }
        assert_eq!(crew.active(), 2);
        crew.until(1, true).await;
    }
}
