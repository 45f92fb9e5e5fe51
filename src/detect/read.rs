//! A connection to the server half, read until it is known what it is.

use super::{Detection, Detector, Rules, VisitorProtocol};
use crate::net::budget::{Budget, Share};
use crate::net::conn_info::ConnInfo;
use crate::relay::read_some;
use crate::runtime::buffers;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How long a head may take. A visitor that stays silent is the website's after this, whose own
/// time-out decides.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's head comes in one go, or nearly so. Who takes longer is likely a visitor, so the website
/// is dialled: its time-outs begin then, as if the visitor had come to it.
const HESITATION: Duration = Duration::from_millis(250);

/// Bytes that are read at once, or as many as are there already; what they cost is what has come. A website
/// closes on bytes that it cannot read, and with a reset, as by itself, only if all of them are there: nothing
/// of what a visitor says in one go is left for a second write.
const CHUNK: usize = 16 * 1024;

/// What a connection costs beside its bytes.
const BESIDE: usize = 4096;

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

/// Looks at what was read of the connection, and reads on until it is known what it is. What it holds until then
/// is part of `undecided`. `dial` makes the connection to the website for one that hesitates, by what it seems to
/// speak.
///
/// # Errors
///
/// The connection broke.
pub async fn read<S, F>(
    c: &mut Handoff<S>,
    rules: &Rules,
    undecided: &Budget,
    dial: impl FnOnce(VisitorProtocol) -> F,
) -> io::Result<Detection>
where
    S: AsyncRead + Unpin,
    F: Future<Output = Option<Upstream>>,
{
    let deadline = Instant::now() + HEAD_TIMEOUT;
    let mut first = FirstBytes { c, rules, detector: Detector::default(), share: undecided.share() };
    if let Ok(seen) = timeout(HESITATION, first.decide()).await {
        return seen;
    }
    let mut dialling = pin!(timeout_at(deadline, dial(rules.guess_protocol(&first.c.read_buf))));
    // A website that is slow to answer, or dead, keeps no client waiting.
    let dialled = tokio::select! {
        biased;
        seen = first.decide() => {
            if matches!(seen, Ok(Detection::Visitor)) {
                first.c.upstream = dialling.await.ok().flatten();
            }
            return seen;
        }
        dialled = &mut dialling => dialled.ok().flatten(),
    };
    let Some(site) = dialled else {
        return timeout_at(deadline, first.decide()).await.unwrap_or(Ok(Detection::Visitor));
    };
    let seen = tokio::select! {
        biased;
        seen = first.decide() => seen,
        // The website has had enough of the silence, or greets: it is its visitor then.
        _ = site.tcp.readable() => Ok(Detection::Visitor),
        () = sleep_until(deadline) => Ok(Detection::Visitor),
    };
    first.c.upstream = Some(site);
    seen
}

struct FirstBytes<'a, S> {
    c: &'a mut Handoff<S>,
    rules: &'a Rules,
    detector: Detector,
    /// What it holds of that which all may hold.
    share: Share<'a>,
}

impl<S: AsyncRead + Unpin> FirstBytes<'_, S> {
    /// Reads on until it is known. Nothing is lost when it is dropped and called again.
    async fn decide(&mut self) -> io::Result<Detection> {
        let Handoff { io, read_buf, .. } = &mut *self.c;
        loop {
            match self.detector.detect(read_buf, self.rules) {
                Detection::NeedMore if read_buf.is_empty() || self.share.grow_to(read_buf.len() + BESIDE) => {
                }
                // It might be a client's, but then it would have come in one go, or nearly so.
                Detection::NeedMore => return Ok(Detection::Visitor),
                seen => return Ok(seen),
            }
            // Few steps, or the allocator is left with holes between the sizes of many connections.
            let most = buffers::room(CHUNK.max(read_buf.len()));
            if read_some(io, read_buf, most).await? == 0 {
                // A head that ends before its end is for the website to judge.
                return Ok(Detection::Visitor);
            }
        }
    }
}

#[cfg(test)]
mod tests;
