//! Mux.Cool on sockets: one connection of WebSocket, or one stream of gRPC, and the sessions in it.
//!
//! One task (`engine`) owns the connection (`link`) and the sockets of all its `sessions`, and polls
//! them itself: a byte passes no channel and wakes no second task. What is read from a socket is framed in
//! the buffer that it was read into, the frames of several sessions go out with one call, and every session
//! has its turn. While the connection takes no more, no session's socket is read.
//!
//! A server's sessions go to the backend (`source`). A client's are begun by `starts`, where the peer is
//! known to be there (`liveness`); its connections and which of them carries a session are the `pool`'s.
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
//!   reset, alone, when it has `HARD` bytes waiting, or when `TOTAL` are waiting for all. On the end that
//!   begins the sessions, it is reset only while another session waits: one that has asked and heard nothing, or
//!   for which something came behind what the stalled one does not take. To see the latter, the connection is read
//!   on as far as to `HARD` and `TOTAL`. As long as nobody waits, it is read no further then, and further sessions
//!   go to other connections.
//!
//! There are at most `SESSIONS` sessions in a connection; more are refused with an end and an error.
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
//! Where the process [buffers](crate::runtime::buffers) nearly as much as its operator allows, each of these bounds
//! is as large as what is left, and no larger.
//!
//! # How sessions end
//!
//! v2ray's client takes no data of a session in which it has said the end. So does xray's server. So a
//! client that has no more to send says the end only when the other direction has ended; a server of
//! ours learns of it by a ping (see [`websocket`](crate::transport::websocket)). A server that has answered such
//! a ping as any other does not, and the session ends when nothing comes from it for `CLIENT_GRACE`. A server that
//! has said the end of a session takes data for it as long as they keep coming: from a client that has shown so
//! that it is none of ours, at least every `SERVER_GRACE`. In gRPC there is nothing by which either could be told, so
//! each peer is taken for such a one.

mod engine;
#[cfg(all(test, feature = "grpc"))]
mod hunks_tests;
mod link;
mod liveness;
#[cfg(test)]
mod packet_tests;
mod packets;
mod pool;
mod session;
mod sessions;
mod source;
mod starts;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timed_tests;
mod timers;

pub use engine::serve;
pub use pool::{OpenLink, Opened, Pool, Way};
pub use source::Backend;
