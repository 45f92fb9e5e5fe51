//! Sees to it that a connection is not silent while there are tunnels in it, and knows since when there are none.

use quinn::{Connection, ConnectionError, VarInt};
use rand::RngExt as _;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// So many seconds of silence are enough to break. Peers that send nothing themselves (v2ray-plugin, sing-box) take a
/// connection for dead after 30; many home routers forget it then, too.
const SILENCE: RangeInclusive<u64> = 10_000..=15_000;

/// How many tunnels a connection has, and since when that is none.
#[derive(Debug)]
pub(super) struct Usage(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    tunnels: usize,
    changed: Instant,
}

/// A tunnel of a connection, until this is dropped.
#[derive(Debug)]
pub(super) struct InUse(Arc<Usage>);

impl Usage {
    pub(super) fn new() -> Arc<Usage> {
        Arc::new(Usage(Mutex::new(State { tunnels: 0, changed: Instant::now() })))
    }

    /// One tunnel more.
    pub(super) fn one_more(self: &Arc<Usage>) -> InUse {
        self.change(|tunnels| tunnels + 1);
        InUse(Arc::clone(self))
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { tunnels: change(state.tunnels), changed: Instant::now() };
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.change(|tunnels| tunnels - 1);
    }
}

/// Keeps a connection alive for as long as it has tunnels, until it has ended so. `window` is its window for receiving.
pub(super) async fn keep_alive(connection: Connection, usage: Arc<Usage>, window: VarInt) -> ConnectionError {
    let mut sent = 0;
    loop {
        let pause = Duration::from_millis(rand::rng().random_range(SILENCE));
        tokio::select! {
            ended = connection.closed() => return ended,
            () = sleep(pause) => {}
        }
        let before = std::mem::replace(&mut sent, connection.stats().udp_tx.datagrams);
        if usage.unused_for().is_none() && sent == before {
            ping(&connection, window);
        }
    }
}

/// Has a packet sent that the peer acknowledges. quinn has no way to ask for a PING but an interval that is the same for
/// a connection's whole life, and that would keep one alive which nobody uses. A window that grows is announced
/// (RFC 9000 section 19.9); by one byte, it stays what it is.
fn ping(connection: &Connection, window: VarInt) {
    connection.set_receive_window(VarInt::from_u64(window.into_inner() - 1).unwrap_or(window));
    connection.set_receive_window(window);
}
