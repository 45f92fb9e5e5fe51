//! What a writer has not taken yet.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// Parts that are written with one call.
const PARTS: usize = 64;

/// Bytes that wait for a writer. It owns no memory while nothing waits.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    written: usize,
}

impl WriteBuffer {
    /// Begins with these bytes.
    pub(super) fn new(bytes: Vec<u8>) -> WriteBuffer {
        WriteBuffer { bytes, written: 0 }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        *self = WriteBuffer::default();
    }

    /// What waits; nothing waits any more.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bytes.drain(..self.written);
        self.written = 0;
        std::mem::take(&mut self.bytes)
    }

    /// For bytes that are appended in place.
    pub(super) fn as_mut_vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes what waits. Ready when nothing does.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(left) = self.bytes.get(self.written..).filter(|left| !left.is_empty()) {
            match Pin::new(&mut *writer).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // What was taken is moved out of the way when it is most of it.
                    if self.written > self.bytes.len() / 2 {
                        self.bytes.drain(..self.written);
                        self.written = 0;
                    }
                    return Poll::Pending;
                }
            }
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// Writes these parts of `input` with one call where nothing waits, and keeps what is not taken. Without
    /// a writer everything is kept.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        writer: Option<&mut (impl AsyncWrite + Unpin)>,
        input: &[u8],
        parts: &[Range<usize>],
    ) -> io::Result<()> {
        let mut written = 0;
        if let Some(writer) = writer.filter(|_| self.is_empty()) {
            let mut slices = [IoSlice::new(&[]); PARTS];
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(bytes_of(input, part)?);
            }
            let count = parts.len().min(PARTS);
            if let Poll::Ready(result) = Pin::new(writer).poll_write_vectored(cx, &slices[..count]) {
                written = result?;
            }
        }
        for part in parts {
            let bytes = bytes_of(input, part)?;
            match bytes.get(written..) {
                Some(left) => {
                    self.bytes.extend_from_slice(left);
                    written = 0;
                }
                None => written -= bytes.len(),
            }
        }
        Ok(())
    }
}

/// A part of `input`. Bytes must not get lost in silence, should a range be wrong.
fn bytes_of<'a>(input: &'a [u8], part: &Range<usize>) -> io::Result<&'a [u8]> {
    let bytes = input.get(part.clone());
    debug_assert!(bytes.is_some(), "{part:?} is not in {} bytes", input.len());
    bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a range is not in its buffer"))
}
