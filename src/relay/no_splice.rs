//! The twin of `splice.rs` for systems without `splice(2)`: there is no such way, and the flow copies.

use std::io;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The kernel's way from one socket to another, of which there is none.
#[derive(Debug, Default)]
pub(super) struct Spliced;

/// What one step of splicing did.
#[derive(Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the flow asks for all of them, the twin for Linux gives them")]
pub(super) enum SpliceProgress {
    In(usize),
    Out(usize),
    End,
}

/// Where a step failed.
#[derive(Debug)]
#[allow(dead_code, reason = "the flow asks for all of them, the twin for Linux gives them")]
pub(super) enum SpliceError {
    Source(io::Error),
    Sink(io::Error),
    NoPipe,
}

impl Spliced {
    pub(super) fn small() -> Spliced {
        Spliced
    }

    pub(super) fn holds_bytes(&self) -> bool {
        false
    }

    pub(super) fn step(
        &mut self,
        _: &mut Context<'_>,
        _: &TcpStream,
        _: &TcpStream,
        _: u64,
    ) -> Poll<Result<SpliceProgress, SpliceError>> {
        Poll::Ready(Err(SpliceError::NoPipe))
    }
}
