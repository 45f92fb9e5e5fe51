//! Mux.Cool on sockets: one WebSocket connection, and the sessions in it.
//!
//! One task owns the connection and the sockets of all its sessions, and polls them itself: a byte
//! passes no channel and wakes no second task. What is read from a socket is framed in the buffer that
//! it was read into, the frames of several sessions go out with one call, and every session has its
//! turn. While the connection takes no more, no session's socket is read.
//!
//! # What may be waiting
//!
//! The format has no flow control: what has come for a session whose socket takes nothing has to be
//! kept, or all sessions wait. So, for each connection:
//!
//! - up to [`SOFT`] bytes are kept for a session, and the others notice nothing;
//! - then the connection is not read until the socket takes something again, so a receiver that is slow
//!   slows its sender down and loses nothing;
//! - where the socket has taken nothing at all for [`STALL`] and there have been other sessions (or for
//!   [`STALL_ALONE`], where there never were), the connection is read on, and the stalled session is
//!   reset, alone, when it has [`HARD`] bytes waiting, or when [`TOTAL`] are waiting for all.
//!
//! There are at most [`SESSIONS`] sessions in a connection; more are refused with an end and an error. On
//! the end that begins the sessions, a socket counts as stalled only while another session waits for an
//! answer: as long as nobody does, the connection is not read, and further sessions go to other
//! connections (see `liveness.rs`).
//!
//! A server dials at a session's first data. Sessions without data are at most [`SILENT`], of which one at
//! a time is dialled for when it has said nothing for [`SILENCE`], since its backend may speak first; and
//! each is ended after [`SILENT_MAX`]. While backends are being dialled, [`DIALLING`] bytes wait for one and
//! [`DIALLING_TOTAL`] for all; then the connection is not read.
//!
//! What the connection itself has not taken is at most one read of the sockets and [`WORDS`] bytes of
//! frames that end sessions or answer pings; then it is not read, and it is over when its peer takes
//! nothing for [`UNREAD_MAX`].
//!
//! # How sessions end
//!
//! v2ray's client takes no data of a session in which it has said the end. So does xray's server. So a
//! client that has no more to send says the end only when the other direction has ended; a server of
//! ours learns of it by a ping (see [`websocket`](super::websocket)). A foreign server does not, and
//! the session ends when nothing comes from it for [`CLIENT_GRACE`]. A server that has said the end of
//! a session takes data for it as long as they keep coming, at least every [`SERVER_GRACE`].

mod engine;
mod inbound;
mod liveness;
mod looks;
mod outbound;
mod session;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timed_tests;

pub use engine::{Fresh, Incoming, Mux};
pub use session::Dial;

use std::time::Duration;

#[cfg(doc)]
use super::websocket::{CLIENT_GRACE, SERVER_GRACE};

/// Sessions of one connection at a time.
pub const SESSIONS: usize = 256;

/// Bytes that wait for one session before the connection is read no further.
pub const SOFT: usize = 256 * 1024;

/// Bytes that wait for one session before it is reset, once it stalls.
pub const HARD: usize = 1024 * 1024;

/// Bytes that wait for all sessions of a connection before one that stalls is reset.
pub const TOTAL: usize = 4 * 1024 * 1024;

/// How long a socket takes nothing before its session counts as stalled.
pub const STALL: Duration = Duration::from_secs(3);

/// The same for a session that has always been alone: nobody waits for it, as far as can be known.
pub const STALL_ALONE: Duration = Duration::from_secs(15);

/// Sessions of one connection in which the peer has sent nothing yet.
pub const SILENT: usize = 64;

/// How long a session may be silent before its backend is dialled all the same: it may be the one that
/// speaks first.
pub const SILENCE: Duration = Duration::from_secs(1);

/// How long both ends of a session may be silent.
pub const SILENT_MAX: Duration = Duration::from_secs(60);

/// Bytes that wait for a backend that is being dialled before the connection is read no further.
pub const DIALLING: usize = 64 * 1024;

/// Bytes that wait for all such backends of a connection.
pub const DIALLING_TOTAL: usize = 256 * 1024;

/// Bytes of frames without data that wait for a connection before it is read no further.
pub const WORDS: usize = 64 * 1024;

/// How long a peer to which so much is to be said may take nothing.
pub const UNREAD_MAX: Duration = Duration::from_secs(60);

/// How long a client keeps a connection without sessions (as v2ray's client does).
pub const CLIENT_IDLE: Duration = Duration::from_secs(16);

/// How long a server keeps one: longer than any client, which is the one to close.
pub const SERVER_IDLE: Duration = Duration::from_secs(60);
