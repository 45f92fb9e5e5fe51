//! A connection on its way from one stage to the next.

use crate::net::conn_info::ConnInfo;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection that was accepted, and all that was read of it and not used: the next stage has it as if it had
/// read it itself. Its end need not be carried: a stream that has ended says so again at the next read.
#[derive(Debug)]
pub struct Handoff<S> {
    /// The connection.
    pub io: S,
    /// What was read of it and not used.
    pub read_buf: Vec<u8>,
    /// Where it came from.
    pub info: ConnInfo,
    /// When it was accepted.
    pub began: Instant,
    /// The website's connection, where that was dialled before it was known who comes.
    pub upstream: Option<Upstream>,
}

/// One of those behind the server, by its place in the routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamId(pub usize);

/// A connection to one of those behind the server.
#[derive(Debug)]
pub struct Upstream {
    /// Which one.
    pub id: UpstreamId,
    /// The connection.
    pub tcp: TcpStream,
}

impl<S> Handoff<S> {
    /// A connection of which nothing was read.
    pub fn new(io: S, info: ConnInfo, began: Instant) -> Handoff<S> {
        Handoff { io, read_buf: Vec::new(), info, began, upstream: None }
    }

    /// The connection, and what was read of it.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.io, self.read_buf)
    }
}
