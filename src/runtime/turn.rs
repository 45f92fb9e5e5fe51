//! How much a task moves before others have their turn.
//!
//! A connection that always has more to bring would hold its thread for as long as its sender keeps up,
//! and a small exchange on the same thread would wait for all of that. tokio's own budget does not bound
//! it: it counts operations, and one of them may move a mebibyte. So a turn is bounded in bytes.

use std::cell::Cell;
use std::pin::pin;
use std::task::Context;

/// Bytes of one direction in a turn. Beside three bulk tunnels, an echo of one byte through an `obfs=tls`
/// or WebSocket pair took 35 ms without a bound, 16 with 4 MiB, 5 with 1 MiB, 2.8 with 512 KiB and 1.2 with
/// 256 KiB (medians on two cores; 9 through two HAProxies in the same runs). Down to 512 KiB the bulk itself
/// costs the same; below, the programs at both ends are woken more often.
pub(crate) const TURN: u64 = 512 * 1024;

thread_local! {
    static MOVED: Cell<u64> = const { Cell::new(0) };
    static REACTOR: Cell<u32> = const { Cell::new(0) };
}

/// The number of the reactor that wakes the tasks of this thread. A task that finds another one than
/// before has been moved.
pub(crate) fn reactor() -> u32 {
    REACTOR.get()
}

/// Gives the reactor of this thread a number.
pub(crate) fn set_reactor(number: u32) {
    REACTOR.set(number);
}

/// Tells that the task that runs has moved so many bytes, read or written.
pub(crate) fn note_moved(n: u64) {
    MOVED.set(MOVED.get().wrapping_add(n));
}

/// What all tasks of this thread have moved; only the difference of two calls means something.
pub(crate) fn moved() -> u64 {
    MOVED.get()
}

/// Ends the turn: the task is to return `Pending`, and runs again when all others that can run have
/// run, and the system has been asked for news. (To wake oneself comes back before that question.)
pub(crate) fn end_turn(cx: &mut Context<'_>) {
    // The first poll of it says so to the runtime, and that is all.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}
