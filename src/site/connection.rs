//! A visitor's connection: what was read of it and not understood yet, how answers get onto it, and the
//! ways to end it.

use super::folder::Source;
use crate::detect::Handoff;
use crate::relay::{RelayStream as _, SEND_TIMEOUT, has_ended, read_some};
use crate::runtime::blocking;
use crate::runtime::buffers::{self, Held};
use crate::transport::Stream;
use crate::wire::http::framing::{FramingError, MessageBody};
use crate::wire::http::request::buffers::HeaderBuffers;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

/// For how long what nobody wants is read after an answer, and how long a silence in it may be
/// (`lingering_time`, `lingering_timeout`).
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// Bytes of a file that are read at once, and that a visitor who takes its time costs.
const PIECE: usize = 64 * 1024;

/// What came of waiting for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    Bytes,
    /// The visitor's end, or that of the connection.
    End,
    /// Nothing in time.
    Nothing,
}

/// A connection, in its buffer what was read and not understood yet.
pub struct Connection {
    pub c: Handoff<Stream>,
    /// Bytes that came, and that went out.
    pub up: u64,
    pub down: u64,
    /// What the buffer takes, in the account of the process.
    held: Held,
}

impl Connection {
    pub fn new(c: Handoff<Stream>) -> Connection {
        let up = c.read_buf.len() as u64;
        let mut held = Held::default();
        held.set(c.read_buf.capacity());
        Connection { c, up, down: 0, held }
    }

    /// Forgets so many bytes.
    pub fn take(&mut self, length: usize) {
        self.c.read_buf.drain(..length.min(self.c.read_buf.len()));
    }

    /// Takes no more memory for what was read than it has.
    pub fn shrink(&mut self) {
        self.c.read_buf.shrink_to_fit();
        self.held.set(self.c.read_buf.capacity());
    }

    /// Forgets all that was read.
    pub fn forget(&mut self) {
        self.c.read_buf = Vec::new();
        self.held.set(0);
    }

    /// Reads what comes next, before a deadline. Where much is held already nobody gets memory for more than a line
    /// that is not complete: such a connection ends, as one of nginx does that gets no memory.
    pub async fn read(&mut self, deadline: Instant) -> ReadResult {
        if self.c.read_buf.len() >= HeaderBuffers::LINE && buffers::are_full() {
            return ReadResult::End;
        }
        match timeout_at(deadline, read_some(&mut self.c.io, &mut self.c.read_buf, CHUNK)).await {
            Ok(Ok(n @ 1..)) => {
                self.up += n as u64;
                self.held.set(self.c.read_buf.capacity());
                ReadResult::Bytes
            }
            Ok(Ok(0) | Err(_)) => ReadResult::End,
            Err(_) => ReadResult::Nothing,
        }
    }

    /// Reads what comes, before `end` and before there was silence for too long. Returns whether some has.
    async fn read_within(&mut self, end: Instant) -> bool {
        self.read(end.min(Instant::now() + LINGER_SILENCE)).await == ReadResult::Bytes
    }

    /// Reads what is there, at most so many bytes. `None` if that is nothing yet.
    async fn read_now(&mut self, most: usize) -> Option<io::Result<usize>> {
        let result = {
            let mut read = pin!(read_some(&mut self.c.io, &mut self.c.read_buf, most));
            poll_fn(|cx| match read.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        if let Some(Ok(n)) = &result {
            self.up += *n as u64;
            self.held.set(self.c.read_buf.capacity());
        }
        result
    }

    /// Reads what is there until there are so many bytes.
    pub async fn read_up_to(&mut self, most: usize) {
        while let left @ 1.. = most.saturating_sub(self.c.read_buf.len())
            && matches!(self.read_now(left).await, Some(Ok(1..)))
        {}
    }

    /// Throws away what there is of a body already, as far as it can be had without waiting. Returns
    /// whether the visitor has ended.
    pub async fn skip_what_came(&mut self, body: &mut MessageBody) -> Result<bool, FramingError> {
        /// Whoever sends faster than this is read waits for the answer first.
        const MOST: usize = 1024 * 1024 / CHUNK;
        for _ in 0..MOST {
            let end_of_body = body.read(&self.c.read_buf)?;
            self.take(end_of_body.unwrap_or(self.c.read_buf.len()));
            if end_of_body.is_some() {
                return Ok(false);
            }
            match self.read_now(CHUNK).await {
                None => return Ok(false),
                Some(Ok(n)) if n > 0 => {}
                Some(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Throws away what still comes of a body, for as long as that goes on. Returns whether it came to
    /// its end.
    pub async fn skip_the_rest(&mut self, body: &mut MessageBody) -> bool {
        let end = Instant::now() + LINGER;
        loop {
            let Ok(end_of_body) = body.read(&self.c.read_buf) else { return false };
            self.take(end_of_body.unwrap_or(self.c.read_buf.len()));
            if end_of_body.is_some() {
                return true;
            }
            if !self.read_within(end).await {
                return false;
            }
        }
    }

    /// Sends a file, with what stands in front of it in the same piece.
    pub async fn send_file(&mut self, mut piece: Vec<u8>, mut source: Box<Source>) -> io::Result<()> {
        let mut held = Held::default();
        loop {
            if buffers::are_full() {
                // Nothing is read that would only wait, nor is there memory for it meanwhile.
                piece.shrink_to_fit();
                held.set(piece.capacity());
                if let Some(tcp) = self.c.io.tcp() {
                    timeout(SEND_TIMEOUT, tcp.writable()).await??;
                }
            }
            let most = buffers::room(PIECE);
            // Before it is there: many may be on their way to where they wait.
            held.set(most.max(piece.capacity()));
            let filling = blocking::FILES.run_or_inline(move || {
                let more = source.fill(&mut piece, most);
                (more, piece, source)
            });
            let more;
            (more, piece, source) = filling.await?;
            let more = more?;
            held.set(piece.capacity());
            self.write(&piece).await?;
            if buffers::are_full() {
                // It waits in TLS now, or nowhere.
                piece = Vec::new();
                held.set(0);
            }
            self.flush().await?;
            if !more {
                return Ok(());
            }
            piece.clear();
        }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).await?;
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.in_time(|visitor, cx| Pin::new(visitor).poll_flush(cx)).await
    }

    /// Sends these bytes, as far as they do not wait in TLS.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut waited = false;
            let n = self
                .in_time(|visitor, cx| {
                    let written = Pin::new(visitor).poll_write(cx, bytes);
                    waited |= written.is_pending();
                    written
                })
                .await?;
            // nginx takes a visitor who has closed its half for gone, once it has had to wait.
            let has_ended = match self.c.io.tcp().filter(|_| waited) {
                Some(tcp) => has_ended(tcp).await,
                None => false,
            };
            if n == 0 || has_ended {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.down += n as u64;
            bytes = bytes.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for a write for as long as the visitor takes something now and then. TLS has a buffer, which
    /// a slow visitor empties without taking more.
    async fn in_time<T>(
        &mut self,
        mut write: impl FnMut(&mut Stream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        loop {
            let before = self.c.io.drained();
            match timeout(SEND_TIMEOUT, poll_fn(|cx| write(&mut self.c.io, cx))).await {
                Ok(result) => return result,
                Err(_) if self.c.io.drained() != before => {}
                Err(late) => return Err(late.into()),
            }
        }
    }

    /// Closes the connection where nothing more comes; lingering, where something does or may (`lingering_close`):
    /// what the visitor sends must not reset the connection before it has read the answer.
    pub async fn close(&mut self, lingering: bool) {
        let lingering = lingering || !self.c.read_buf.is_empty();
        if !lingering && !matches!(self.read_now(CHUNK).await, Some(Ok(1..))) {
            return self.close_notify().await;
        }
        self.forget();
        if !matches!(timeout(LINGER_SILENCE, self.c.io.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        let end = Instant::now() + LINGER;
        while self.read_within(end).await {
            self.forget();
        }
    }

    /// Closes the connection without regard for what still comes. What nginx would not have read yet
    /// makes a reset of it.
    pub fn close_now(&mut self, buffers: HeaderBuffers) {
        if self.c.read_buf.len() > buffers.left() {
            self.c.io.abort();
        }
    }

    /// Ends TLS in order, if that is spoken.
    pub async fn close_notify(&mut self) {
        if self.c.io.is_tls() {
            let _ = timeout(LINGER_SILENCE, self.c.io.shutdown()).await;
        }
    }
}
