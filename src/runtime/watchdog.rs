//! Whoever does not return to its event loop is noticed; and so is a panic.
//!
//! A task that never gives its thread back stops all other connections of that thread, and where it is
//! the first thread, signals are not heard either. So each thread that serves counts the turns of its
//! tasks, and a thread of the system's own kind looks whether they go on. While all threads wait for
//! something to do, it sleeps without a clock, so that nothing wakes a phone.

use super::drain::Open;
use super::heap::CrowdDetector;
use crate::metrics;
use std::cell::OnceCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::Thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tracing::field::{DisplayValue, display};
use tracing::{error, info, warn};

/// How often it is looked.
const TICK: Duration = Duration::from_secs(1);

/// After so many looks that saw the same turn a thread counts as stuck. They are counted, and not the
/// time: a machine that slept was not stuck.
const STUCK_AFTER: u32 = 5;

/// Whose turn it is, and what the connection has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TurnOwner {
    peer: Option<SocketAddr>,
    stage: Option<&'static str>,
}

impl TurnOwner {
    /// As they stand in the log.
    fn fields(&self) -> (Option<DisplayValue<SocketAddr>>, Option<DisplayValue<&'static str>>) {
        (self.peer.map(display), self.stage.map(display))
    }
}

/// What a thread that serves is at. It alone writes here.
#[derive(Debug, Default)]
struct Heartbeat {
    /// Whether signals are heard on it.
    first: bool,
    /// Grows by two with each turn of a task. Odd while the thread is at work.
    turns: AtomicU32,
    owner: Mutex<TurnOwner>,
}

impl Heartbeat {
    fn owner(&self) -> MutexGuard<'_, TurnOwner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn of this one. Returns whose the last was, at the stage that it came to.
    fn begin_turn(&self, owner: TurnOwner) -> TurnOwner {
        let last = std::mem::replace(&mut *self.owner(), owner);
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(2), Ordering::Release);
        last
    }

    fn is_at_work(&self) -> bool {
        self.turns.load(Ordering::SeqCst) & 1 == 1
    }

    fn park(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(turns & 1), Ordering::Release);
    }

    fn unpark(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns | 1, Ordering::SeqCst);
        // In one order with what the watchdog does before it sleeps: either it sees the work, or it is
        // seen asleep.
        if ASLEEP.load(Ordering::SeqCst)
            && ASLEEP.swap(false, Ordering::SeqCst)
            && let Some(watchdog) = WATCHDOG.get()
        {
            watchdog.unpark();
        }
    }
}

thread_local! {
    static HEARTBEAT: OnceCell<Arc<Heartbeat>> = const { OnceCell::new() };
}

static HEARTBEATS: Mutex<Vec<Arc<Heartbeat>>> = Mutex::new(Vec::new());
static WATCHDOG: OnceLock<Thread> = OnceLock::new();
static ASLEEP: AtomicBool = AtomicBool::new(false);
static PANICS: AtomicU32 = AtomicU32::new(0);

/// How many threads do not return to their event loop.
static STUCK: AtomicU32 = AtomicU32::new(0);

/// A runtime for one thread, which is watched.
#[derive(Debug)]
pub struct EventLoop {
    runtime: Runtime,
    heartbeat: Arc<Heartbeat>,
}

impl EventLoop {
    /// A runtime for this thread. `first` is the one on which signals are heard.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left for it.
    pub fn new(first: bool) -> io::Result<EventLoop> {
        let heartbeat = Arc::new(Heartbeat { first, ..Heartbeat::default() });
        let (parks, unparks) = (Arc::clone(&heartbeat), Arc::clone(&heartbeat));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parks.park())
            .on_thread_unpark(move || unparks.unpark())
            .build()?;
        HEARTBEATS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&heartbeat));
        Ok(EventLoop { runtime, heartbeat })
    }

    /// Runs a future, and the tasks that it starts, on this thread.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        /// However it ends, a thread that has ended is not at work.
        struct Ended<'a>(&'a Heartbeat);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.park();
            }
        }
        // A thread has one loop in its life.
        let _ = HEARTBEAT.with(|own| own.set(Arc::clone(&self.heartbeat)));
        self.heartbeat.unpark();
        let _ended = Ended(&self.heartbeat);
        self.runtime.block_on(work)
    }

    /// Lets go of all tasks without waiting for any.
    pub fn shut_down(self) {
        self.runtime.shutdown_background();
    }
}

pin_project_lite::pin_project! {
    /// A task whose turns are counted, and which is counted itself if it serves a connection.
    pub struct Watched<F> {
        owner: TurnOwner,
        open: Option<Open>,
        #[pin]
        task: F,
    }
}

/// Counts the turns of a task, which serves the connection of this peer, if any.
pub fn watched<F>(peer: Option<SocketAddr>, task: F) -> Watched<F> {
    // A socket for both families has IPv4 in IPv6's clothes.
    let peer = peer.map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let owner = TurnOwner { peer, stage: peer.map(|_| "detect") };
    Watched { owner, open: peer.map(|_| Open::count()), task }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        HEARTBEAT.with(|heartbeat| {
            let Some(heartbeat) = heartbeat.get() else { return this.task.poll(cx) };
            heartbeat.begin_turn(*this.owner);
            let polled = this.task.poll(cx);
            *this.owner = heartbeat.begin_turn(TurnOwner::default());
            polled
        })
    }
}

/// Says what the connection whose turn it is has come to, in a word or two for the log.
pub fn stage(stage: &'static str) {
    HEARTBEAT.with(|heartbeat| {
        if let Some(heartbeat) = heartbeat.get() {
            heartbeat.owner().stage = Some(stage);
        }
    });
}

/// Whose turn it is on this thread.
fn current() -> TurnOwner {
    HEARTBEAT.with(|heartbeat| heartbeat.get().map(|heartbeat| *heartbeat.owner()).unwrap_or_default())
}

/// Starts the thread that looks, also whether there is something in the heap to give back. Where none can be had, it goes on without.
pub fn start() {
    let started = std::thread::Builder::new().name("watchdog".into()).stack_size(128 * 1024).spawn(|| {
        WATCHDOG.get_or_init(std::thread::current);
        watch();
    });
    if let Err(error) = started {
        warn!(%error, "no thread can be started that looks whether the others go on; going on without");
    }
}

/// Whether all threads return to their event loops.
pub(crate) fn all_go_on() -> bool {
    STUCK.load(Ordering::Relaxed) == 0
}

/// What was seen of a thread at the last look.
#[derive(Debug, Default, Clone, Copy)]
struct StuckDetector {
    turns: u32,
    /// How many looks ago it began.
    since: u32,
}

impl StuckDetector {
    /// Looks once more. True when the thread has become stuck by now, false when it no longer is.
    fn observe(&mut self, turns: u32) -> Option<bool> {
        if turns & 1 == 1 && turns == self.turns {
            self.since = self.since.saturating_add(1);
            (self.since == STUCK_AFTER).then_some(true)
        } else {
            let was_stuck = self.since >= STUCK_AFTER;
            *self = StuckDetector { turns, since: 0 };
            was_stuck.then_some(false)
        }
    }
}

fn watch() {
    let mut seen: Vec<StuckDetector> = Vec::new();
    let mut crowd = CrowdDetector::default();
    loop {
        let heartbeats = HEARTBEATS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.resize(heartbeats.len(), StuckDetector::default());
        ASLEEP.store(true, Ordering::SeqCst);
        let at_work = heartbeats.iter().any(|heartbeat| heartbeat.is_at_work());
        // After that: whoever ends a connection later is at work, or wakes it.
        crowd.look();
        if !at_work {
            // Whoever begins to work wakes it. Waking for nothing does no harm.
            std::thread::park();
        }
        ASLEEP.store(false, Ordering::SeqCst);
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread without a runtime, which is to see what the system sees"
        )]
        std::thread::sleep(TICK);
        for (heartbeat, seen) in heartbeats.iter().zip(&mut seen) {
            let Some(stuck) = seen.observe(heartbeat.turns.load(Ordering::Acquire)) else { continue };
            if stuck {
                STUCK.fetch_add(1, Ordering::Relaxed);
                let (peer, stage) = heartbeat.owner().fields();
                let seconds = TICK.as_secs() * u64::from(STUCK_AFTER);
                error!(peer, stage, "a thread has not returned to its event loop for {seconds} s");
            } else {
                STUCK.fetch_sub(1, Ordering::Relaxed);
                info!("a thread that did not return to its event loop has returned");
            }
            if heartbeat.first {
                crate::os::shutdown::set_main_thread_stuck(stuck);
            }
        }
    }
}

/// Has a panic written to the log as one line, with its place and the peer whose connection it ends.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let count = PANICS.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::panicked();
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("?").replace('\n', " ");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            let (peer, stage) = current().fields();
            error!(place, peer, stage, count, "panicked: {message}");
        } else {
            crate::os::stderr::print_error(&format_args!("panicked at {place}: {message}"));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_says_whose_it_is() {
        assert_eq!(watched(None, ()).owner, TurnOwner::default());
        for (peer, shown) in [
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1:1"),
        ] {
            let owner = watched(Some(peer.parse().unwrap()), ()).owner;
            assert_eq!(owner, TurnOwner { peer: Some(shown.parse().unwrap()), stage: Some("detect") });
        }
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn a_panic_is_counted() {
        let count = || {
            let text = metrics::text();
            let line = text.lines().find(|line| line.starts_with("obfs_rs_panics_total ")).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap()
        };
        log_panics();
        let before = count();
        assert!(std::panic::catch_unwind(|| panic!("as the test wants it")).is_err());
        assert!(count() > before);
    }

    #[test]
    fn only_one_turn_that_goes_on_is_stuck() {
        let looks = |all: &[u32]| {
            let mut seen = StuckDetector::default();
            all.iter().filter_map(|&turns| seen.observe(turns)).collect::<Vec<bool>>()
        };
        assert!(looks(&[4; 20]).is_empty(), "it is parked");
        assert!(looks(&[1, 3, 5, 7, 9, 11, 13, 15]).is_empty(), "its turns go on");
        assert!(looks(&[7; 5]).is_empty());
        assert_eq!(looks(&[7; 20]), [true], "it is told once");
        assert_eq!(looks(&[7, 7, 7, 7, 7, 7, 9]), [true, false]);
        assert_eq!(looks(&[7, 7, 7, 7, 7, 7, 8]), [true, false]);
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "a thread of the system's own kind")]
    fn a_loop_is_at_work_only_while_it_has_something_to_do() {
        let event_loop = EventLoop::new(false).unwrap();
        let heartbeat = Arc::clone(&event_loop.heartbeat);
        let (tell, told) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            event_loop.block_on(async {
                let peer = "192.0.2.1:443".parse().unwrap();
                let task = watched(Some(peer), async move {
                    stage("relay");
                    let at_work = current();
                    told.await.unwrap();
                    (at_work, current())
                });
                let (before, after) = tokio::spawn(task).await.unwrap();
                assert_eq!(before, TurnOwner { peer: Some(peer), stage: Some("relay") });
                assert_eq!(after, before, "the stage stays the connection's");
                assert_eq!(current(), TurnOwner::default());
            });
        });
        // It comes to wait for the word, and is at rest then.
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while heartbeat.turns.load(Ordering::SeqCst) < 4 || heartbeat.is_at_work() {
            assert!(std::time::Instant::now() < end && !thread.is_finished());
            std::thread::yield_now();
        }
        tell.send(()).unwrap();
        thread.join().unwrap();
        assert!(!heartbeat.is_at_work());
    }
}
