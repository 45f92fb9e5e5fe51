//! Bytes that pass through the kernel without coming up to us: `splice(2)` from a socket into a pipe and
//! from the pipe into the other socket.
//!
//! A pipe is two descriptors and kernel memory, so a flow has one only while bytes are in it: between
//! two bursts it goes back to the pool of its thread.

use super::write_buffer::taken;
use crate::runtime::admission::OpenPipe;
use crate::runtime::buffers::{self, Held};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The size of a pipe in bytes, 256 pages: the most that Linux gives to everybody. Each piece that a
/// socket gives takes a page of the pipe or more, so a larger pipe means fewer calls. With 64 KiB an
/// `obfs=http` pair used 0.62 CPU seconds per GB, with 256 KiB 0.58, with 1 MiB 0.54 (medians on two
/// cores, iperf3 on the same machine).
const PIPE_SIZE: usize = 1024 * 1024;

/// What is asked for at once. More would fit, since the pieces of a socket may be larger than a page, but
/// one step is all of a [turn](crate::runtime::turn): with 4 MiB, three flows keep a fourth waiting for 16 ms.
const MOST: usize = PIPE_SIZE;

/// What is asked for at once where the sink may not take it: the pipe has the size it is born with then,
/// 16 pages, and the pieces in it may still be larger.
const FEW: usize = 128 * 1024;

/// Pipes that a thread keeps for later.
const POOLED: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static SMALL_POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, and what is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    held: usize,
    /// That, where the sink does not take it at once, in the account of the process.
    waiting: Held,
    small: bool,
    _open: OpenPipe,
}

/// The pipes that are kept, of one of the two sizes.
fn with_pool<T>(small: bool, act: impl FnOnce(&mut Vec<Pipe>) -> T) -> T {
    if small { SMALL_POOL.with_borrow_mut(act) } else { POOL.with_borrow_mut(act) }
}

impl Pipe {
    /// An empty pipe, a used one if there is any.
    fn take(small: bool) -> io::Result<Pipe> {
        if let Some(pipe) = with_pool(small, Vec::pop) {
            return Ok(pipe);
        }
        let open = OpenPipe::count().ok_or(Errno::MFILE)?;
        let (exit, entry) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        if !small {
            // Users have a limit on the memory of their pipes; the size a pipe is born with works too.
            let _ = fcntl_setpipe_size(&entry, PIPE_SIZE);
        }
        Ok(Pipe { exit, entry, held: 0, waiting: Held::default(), small, _open: open })
    }

    /// Gives an empty pipe back. One that holds bytes must never serve another flow.
    fn give_back(mut self) {
        self.waiting.set(0);
        with_pool(self.small, |pool| {
            if self.held == 0 && pool.len() < POOLED {
                pool.push(self);
            }
        });
    }
}

/// The kernel's way from one socket to another.
#[derive(Debug, Default)]
pub(super) struct Spliced {
    pipe: Option<Pipe>,
    small: bool,
}

/// What one step of splicing did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SpliceProgress {
    /// So many bytes left the source.
    In(usize),
    /// So many bytes reached the sink.
    Out(usize),
    /// The source has ended.
    End,
}

/// Where a step failed.
#[derive(Debug)]
pub(super) enum SpliceError {
    Source(io::Error),
    Sink(io::Error),
    /// No pipe can be had, or none that this socket fills. Nothing is lost: the flow goes on without one.
    NoPipe,
}

impl Spliced {
    /// One that brings less at once, for sinks that may not take it.
    pub(super) fn small() -> Spliced {
        Spliced { pipe: None, small: true }
    }

    /// Whether bytes are on their way that only further steps bring to the sink.
    pub(super) fn holds_bytes(&self) -> bool {
        self.pipe.is_some()
    }

    /// Empties the pipe into the sink, or fills it from the source with no more than `most` bytes.
    pub(super) fn step(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        most: u64,
    ) -> Poll<Result<SpliceProgress, SpliceError>> {
        if let Some(pipe) = &mut self.pipe {
            let Poll::Ready(written) = poll_splice_out(cx, pipe, sink) else {
                pipe.waiting.set(pipe.held);
                return Poll::Pending;
            };
            let n = written.and_then(|n| taken(n, pipe.held)).map_err(SpliceError::Sink)?;
            pipe.held -= n;
            if pipe.held == 0
                && let Some(pipe) = self.pipe.take()
            {
                pipe.give_back();
            }
            return Poll::Ready(Ok(SpliceProgress::Out(n)));
        }
        // Waiting for the source needs no pipe.
        ready!(source.poll_read_ready(cx)).map_err(SpliceError::Source)?;
        let mut pipe = Pipe::take(self.small).map_err(|_| SpliceError::NoPipe)?;
        let limit = buffers::room(if self.small { FEW } else { MOST });
        let most = usize::try_from(most).map_or(limit, |most| most.min(limit));
        match poll_splice_in(cx, &pipe, source, most) {
            Poll::Ready(Ok(0)) => {
                pipe.give_back();
                Poll::Ready(Ok(SpliceProgress::End))
            }
            Poll::Ready(Ok(n)) => {
                pipe.held = n;
                self.pipe = Some(pipe);
                Poll::Ready(Ok(SpliceProgress::In(n)))
            }
            Poll::Ready(Err(error)) => {
                pipe.give_back();
                Poll::Ready(Err(if is_refusal(&error) {
                    SpliceError::NoPipe
                } else {
                    SpliceError::Source(error)
                }))
            }
            Poll::Pending => {
                pipe.give_back();
                Poll::Pending
            }
        }
    }
}

/// Whether the system does not splice from this socket at all, as sandboxes and some protocols do, or has no memory
/// for it now.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::NOMEM, Errno::NOBUFS];
    refusals.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn poll_splice_in(
    cx: &mut Context<'_>,
    pipe: &Pipe,
    source: &TcpStream,
    most: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(source.poll_read_ready(cx))?;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        // The pipe is empty, so it is the source that would block.
        match source.try_io(Interest::READABLE, || Ok(splice(source, None, &pipe.entry, None, most, flags)?))
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

fn poll_splice_out(cx: &mut Context<'_>, pipe: &Pipe, sink: &TcpStream) -> Poll<io::Result<usize>> {
    loop {
        ready!(sink.poll_write_ready(cx))?;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        // The pipe holds bytes, so it is the sink that would block.
        match sink.try_io(Interest::WRITABLE, || Ok(splice(&pipe.exit, None, sink, None, pipe.held, flags)?))
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}
