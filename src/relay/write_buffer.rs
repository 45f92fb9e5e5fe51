//! What a writer has not taken yet.

use crate::runtime::buffers::Held;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Slices that are written with one call; more are first put together.
const MAX_SLICES: usize = 64;

/// Bytes that wait for a writer. Where none wait there is no memory for them.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    bytes: Vec<u8>,
    /// How many of them the writer has taken.
    written: usize,
    /// Their memory, in the account of the process.
    held: Held,
}

impl From<Vec<u8>> for WriteBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        let mut held = Held::default();
        held.set(bytes.capacity());
        WriteBuffer { bytes, written: 0, held }
    }
}

impl WriteBuffer {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has bytes wait behind the others: those that `write` appends.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // What was taken is moved out of the way when it is most of it.
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        write(&mut self.bytes);
        self.held.set(self.bytes.capacity());
    }

    /// Has these bytes wait behind the others.
    pub fn push(&mut self, bytes: &[u8]) {
        self.append(|out| out.extend_from_slice(bytes));
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        *self = WriteBuffer::default();
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Vec<u8> {
        let WriteBuffer { mut bytes, written, .. } = std::mem::take(self);
        bytes.drain(..written);
        bytes
    }

    /// Writes once of what waits. Returns how much the writer took; at once and 0 where nothing waits.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let left = &self.bytes[self.written..];
        let n = ready!(Pin::new(writer).poll_write(cx, left)).and_then(|n| taken(n, left.len()))?;
        self.written += n;
        if self.is_empty() {
            self.clear();
        }
        Poll::Ready(Ok(n))
    }

    /// Writes slices behind what waits, as far as the writer takes them at once, and has the rest wait.
    /// Returns how much the writer took.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_slices<'a, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
        slices: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> io::Result<usize> {
        let count = slices.len();
        let mut n = 0;
        if self.is_empty() && (1..=MAX_SLICES).contains(&count) {
            let mut vector = [IoSlice::new(&[]); MAX_SLICES];
            for (slot, slice) in vector.iter_mut().zip(slices.clone()) {
                *slot = IoSlice::new(slice);
            }
            let vector = &vector[..count];
            let written = match vector {
                // Most of what passes is one piece, and the plain call is the cheaper one.
                [one] => Pin::new(writer).poll_write(cx, one),
                many => Pin::new(writer).poll_write_vectored(cx, many),
            };
            if let Poll::Ready(written) = written {
                n = taken(written?, vector.iter().map(|slice| slice.len()).sum())?;
            }
        }
        let mut skip = n;
        for slice in slices {
            let (_, rest) = slice.split_at(skip.min(slice.len()));
            skip -= slice.len() - rest.len();
            if !rest.is_empty() {
                self.push(rest);
            }
        }
        Ok(n)
    }
}

/// What a writer says that it took. One that takes nothing and reports no error would be asked for ever, and
/// one that takes more than there is has written something else.
pub(super) fn taken(n: usize, of: usize) -> io::Result<usize> {
    debug_assert!(n <= of, "a writer took {n} of {of} bytes");
    match n {
        0 if of > 0 => Err(io::ErrorKind::WriteZero.into()),
        n if n > of => Err(io::Error::other("a writer took more than there was")),
        n => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes so many bytes in all, and no more than `most` at once.
    struct Slow {
        got: Vec<u8>,
        left: usize,
        most: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.left).min(self.most);
            if n == 0 {
                return Poll::Pending;
            }
            self.left -= n;
            self.got.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.as_mut().poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn whatever_a_writer_takes_all_arrives_in_its_order() {
        let cx = &mut Context::from_waker(Waker::noop());
        for count in [1_usize, 2, MAX_SLICES, MAX_SLICES + 1] {
            for (left, most) in [(0, 1), (1, 1), (5, 3), (7, 1000), (1000, 1000)] {
                let mut writer = Slow { got: Vec::new(), left, most };
                let mut buffer = WriteBuffer::default();
                let mut sent = Vec::new();
                for round in 0..3_u8 {
                    let slices: Vec<Vec<u8>> = (0..count).map(|i| vec![i as u8 ^ round; i % 3]).collect();
                    let taken = buffer.write_slices(cx, &mut writer, slices.iter().map(Vec::as_slice));
                    assert!(taken.unwrap() <= most);
                    sent.extend(slices.concat());
                    buffer.push(&[round]);
                    sent.push(round);
                    assert_eq!(buffer.len() + writer.got.len(), sent.len());
                    assert_eq!(buffer.held.get(), buffer.bytes.capacity());
                }
                let _ = buffer.poll_write(cx, &mut writer);
                writer.left = usize::MAX;
                while !buffer.is_empty() {
                    assert!(buffer.poll_write(cx, &mut writer).is_ready());
                }
                assert_eq!(writer.got, sent, "{count} slices, {left} bytes, {most} at once");
                assert_eq!(buffer.bytes.capacity(), 0, "nothing waits, and there is memory for it");
                assert_eq!(buffer.held.get(), 0);
            }
        }
    }

    #[test]
    fn what_is_taken_back_is_what_was_not_written() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut buffer = WriteBuffer::from(b"abcdef".to_vec());
        let mut writer = Slow { got: Vec::new(), left: 4, most: 10 };
        assert!(matches!(buffer.poll_write(cx, &mut writer), Poll::Ready(Ok(4))));
        buffer.push(b"g");
        assert_eq!(buffer.bytes.len(), 3, "what was taken is gone");
        assert_eq!(buffer.take(), b"efg");
        assert!(buffer.is_empty());
        assert_eq!(buffer.held.get(), 0);
    }

    #[test]
    fn a_writer_that_takes_nothing_is_an_error() {
        assert_eq!(taken(0, 1).unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert!(taken(0, 0).is_ok());
    }
}
