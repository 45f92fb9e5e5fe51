//! Mux.Cool on sockets: one WebSocket connection, and the sessions in it.
//!
//! One task owns the connection and the sockets of all its sessions, and polls them itself: a byte
//! passes no channel and wakes no second task. What is read from a socket is framed in the buffer that
//! it was read into, the frames of several sessions go out with one call, and every session has its
//! turn. While the connection takes no more, no session's socket is read.
//!
//! # Parts
//!
//! | file | what it knows |
//! | --- | --- |
//! | `parts.rs` | parts of a buffer that are written where they are |
//! | `timers.rs` | all time-outs, and the clock |
//! | `liveness.rs` | whether the way to the peer still works: a function of what is seen |
//! | `source.rs` | where sessions come from and go to |
//! | `state.rs` | how far a session is, with the diagram |
//! | `session.rs` | one session: its socket, and what waits for it |
//! | `sessions.rs` | all of them: limits, and whose turn it is to be read |
//! | `link.rs` | the WebSocket connection |
//! | `exchange.rs` | what passes between the connection and the sessions |
//! | `engine.rs` | the task: polls all of them, and looks at the clock |
//! | `pool.rs` | a client's connections, and which of them carries a session |
//!
//! Each sees those above it that it needs, and none below.
//!
//! # What may be waiting
//!
//! The format has no flow control: what has come for a session whose socket takes nothing has to be
//! kept, or all sessions wait. So, for each connection:
//!
//! - up to `SOFT` bytes are kept for a session, and the others notice nothing;
//! - then the connection is not read until the socket takes something again, so a receiver that is slow
//!   slows its sender down and loses nothing;
//! - where the socket has taken nothing at all for `STALL` and there have been other sessions (or for
//!   `STALL_ALONE`, where there never were), the connection is read on, and the stalled session is
//!   reset, alone, when it has `HARD` bytes waiting, or when `TOTAL` are waiting for all.
//!
//! There are at most `SESSIONS` sessions in a connection; more are refused with an end and an error. On
//! the end that begins the sessions, a socket counts as stalled only while another session waits for an
//! answer: as long as nobody does, the connection is not read, and further sessions go to other
//! connections (see `liveness.rs`).
//!
//! A server dials at a session's first data. Sessions without data are at most `SILENT`, of which one at
//! a time is dialled for when it has said nothing for `SILENCE`, since its backend may speak first; and
//! each is ended after `SILENT_MAX`. While backends are being dialled, `DIALLING` bytes wait for one and
//! `DIALLING_TOTAL` for all; then the connection is not read.
//!
//! What the connection itself has not taken is at most one read of the sockets and `WORDS` bytes of
//! frames that end sessions or answer pings; then it is not read, and it is over when its peer takes
//! nothing for `UNREAD_MAX`.
//!
//! # How sessions end
//!
//! v2ray's client takes no data of a session in which it has said the end. So does xray's server. So a
//! client that has no more to send says the end only when the other direction has ended; a server of
//! ours learns of it by a ping (see [`websocket`](crate::transport::websocket)). A foreign server does not, and
//! the session ends when nothing comes from it for `CLIENT_GRACE`. A server that has said the end of
//! a session takes data for it as long as they keep coming, at least every `SERVER_GRACE`.

mod engine;
mod exchange;
mod link;
mod liveness;
mod parts;
mod pool;
mod session;
mod sessions;
mod source;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timed_tests;
mod timers;

pub use pool::{OpenLink, Pool};

use crate::net::Dialer;
use crate::relay::{Outcome, Timeouts};
use crate::transport::Stream;
use crate::transport::websocket::Handoff;
use std::sync::Arc;
use tokio::net::TcpStream;

#[cfg(doc)]
use {
    crate::transport::websocket::{CLIENT_GRACE, SERVER_GRACE},
    link::WORDS,
    session::{DIALLING, SOFT},
    sessions::{DIALLING_TOTAL, HARD, SESSIONS, SILENT, TOTAL},
    timers::{SILENCE, SILENT_MAX, STALL, STALL_ALONE, UNREAD_MAX},
};

/// Serves the sessions that a client begins in a connection, until that is over. They go to the `backend`,
/// the first one by the connection that was `dialled` before it was known what comes, if any was.
pub fn serve(
    handoff: Handoff<Stream>,
    backend: Arc<Dialer>,
    dialled: Option<TcpStream>,
    timeouts: Timeouts,
) -> impl Future<Output = Outcome> + Send {
    engine::Engine::new(handoff, source::Backend::new(backend, dialled), timeouts).run()
}
