//! How a connection is used: its tunnels, and whether something is said in them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long what was sent of a tunnel that is over may take to arrive: its peer may read slowly.
const ARRIVAL: Duration = Duration::from_secs(300);

/// What the process waits for at its end: tunnels that are over, and of which something is on its way.
static ARRIVING: AtomicUsize = AtomicUsize::new(0);
static ARRIVED: Notify = Notify::const_new();

/// Moments are counted from here.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// In which moments are counted: 32 bits are enough of them for 16 months.
const TICK: Duration = Duration::from_millis(10);

/// How many tunnels a connection has, since when that is none, and when something was said or heard in one of them.
#[derive(Debug)]
pub(super) struct Usage {
    state: Mutex<State>,
    /// In ticks.
    last: AtomicUsize,
    /// There is a tunnel where there was none, or none any more.
    turned: Notify,
    /// How many of the tunnels are over, and something is on its way.
    arriving: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct State {
    tunnels: usize,
    changed: Instant,
}

/// A tunnel of a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Usage>);

impl Usage {
    pub(super) fn new() -> Arc<Usage> {
        let usage = Usage {
            state: Mutex::new(State { tunnels: 0, changed: Instant::now() }),
            last: AtomicUsize::new(0),
            turned: Notify::new(),
            arriving: AtomicUsize::new(0),
        };
        usage.note_activity();
        Arc::new(usage)
    }

    /// One tunnel more.
    pub(super) fn one_more(self: &Arc<Usage>) -> InUse {
        self.change(|tunnels| tunnels + 1);
        InUse(Arc::clone(self))
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.tunnels;
        *state = State { tunnels: change(before), changed: Instant::now() };
        if (before == 0) != (state.tunnels == 0) {
            self.turned.notify_one();
        }
    }

    /// Waits until there is a tunnel where there was none, or none any more.
    #[cfg(feature = "server")]
    pub(super) async fn has_turned(&self) {
        self.turned.notified().await;
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tunnels there are.
    pub(super) fn tunnels(&self) -> usize {
        self.state().tunnels
    }

    /// For how long there has been no tunnel. `None` where there is one.
    pub(super) fn unused_for(&self) -> Option<Duration> {
        let State { tunnels, changed } = self.state();
        (tunnels == 0).then(|| changed.elapsed())
    }

    /// Whether something is on its way in a tunnel that is over.
    pub(super) fn has_arriving(&self) -> bool {
        self.arriving.load(Ordering::Relaxed) > 0
    }

    /// Something is said, or heard, which is acknowledged.
    pub(super) fn note_activity(&self) {
        let now = BEGINNING.elapsed().as_millis() / TICK.as_millis();
        self.last.store(usize::try_from(now).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// When that was last.
    pub(super) fn last_activity(&self) -> Instant {
        let ticks = self.last.load(Ordering::Relaxed) as u64;
        *BEGINNING + Duration::from_millis(ticks.saturating_mul(TICK.as_millis() as u64))
    }
}

impl InUse {
    /// Once more, for what is left to be done when the tunnel is over.
    #[cfg(feature = "grpc")]
    pub(super) fn one_more(&self) -> InUse {
        self.0.one_more()
    }

    pub(crate) fn note_activity(&self) {
        self.0.note_activity();
    }

    /// Is dropped when all has arrived, though its tunnel is over: until then its connection is to be there.
    pub(super) fn until(self, arrival: impl Future<Output = ()> + Send + 'static) {
        let mut arrival = Box::pin(arrival);
        let mut cx = Context::from_waker(Waker::noop());
        if arrival.as_mut().poll(&mut cx).is_ready() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        ARRIVING.fetch_add(1, Ordering::Relaxed);
        self.0.arriving.fetch_add(1, Ordering::Relaxed);
        let arriving = Arriving(self);
        runtime.spawn(async move {
            let _ = timeout(ARRIVAL, arrival).await;
            drop(arriving);
        });
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.change(|tunnels| tunnels - 1);
    }
}

/// A tunnel that is over, and of which something is on its way.
struct Arriving(InUse);

impl Drop for Arriving {
    fn drop(&mut self) {
        let Arriving(InUse(usage)) = self;
        usage.arriving.fetch_sub(1, Ordering::Relaxed);
        ARRIVING.fetch_sub(1, Ordering::Relaxed);
        ARRIVED.notify_waiters();
    }
}

/// Waits until all has arrived that was said in tunnels that are over, but no longer than this: the process ends, and
/// nobody else sends it.
pub(super) async fn all_have_arrived(patience: Duration) {
    let all = async {
        loop {
            let next = ARRIVED.notified();
            if ARRIVING.load(Ordering::Relaxed) == 0 {
                return;
            }
            next.await;
        }
    };
    let _ = timeout(patience, all).await;
}
