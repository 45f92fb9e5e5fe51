//! What waits for the one that carries a session.

use super::{Packets, QUEUE, dropped};
use crate::metrics::PacketDropped;
use crate::runtime::buffers::{self, Held};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Packets of one source, for the task that carries its session.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    packets: Packets,
    held: Held,
    waker: Option<Waker>,
    /// Nothing more comes, or nobody takes it any more.
    is_closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a packet, or drops it where too much waits. Returns whether anybody takes them.
    pub(super) fn push(&self, packet: &[u8]) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return false;
        }
        if state.packets.bytes() + packet.len() > buffers::room(QUEUE) || state.packets.len() >= QUEUE / 64 {
            drop(state);
            dropped(PacketDropped::Busy, 1);
            return true;
        }
        state.packets.push(packet);
        let bytes = state.packets.bytes();
        state.held.set(bytes);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
        true
    }

    /// Takes all that waits into `packets`, which are empty. `Ready(false)` when nothing more comes.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>, packets: &mut Packets) -> Poll<bool> {
        let mut state = self.state();
        if !state.packets.is_empty() {
            std::mem::swap(&mut state.packets, packets);
            state.held.set(0);
            return Poll::Ready(true);
        }
        if state.is_closed {
            return Poll::Ready(false);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Nothing more comes, or nobody takes it any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.packets = Packets::default();
        state.held.set(0);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// Whether nobody takes anything any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }
}
