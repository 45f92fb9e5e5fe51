//! How a connection is closed on which there is something left to say.

use super::scratch::{Scratch, with_scratch};
use super::stream::RelayStream;
use super::write_buffer::WriteBuffer;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, timeout};

/// How long a peer is waited for that is owed nothing: long enough for a round trip.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most that is read, and thrown away, of a peer that has no more to say.
const MOST_DISCARDED: usize = 1024 * 1024;

/// Writes `last`, closes that direction, and waits for the peer to do the same: a connection that is closed
/// sooner answers whatever comes on it with a reset, which takes from the peer what it has not read yet. Gives up
/// when the peer has acknowledged nothing for the time of its `patience`, or goes on talking.
pub async fn close_gracefully<S: RelayStream>(stream: &mut S, last: Vec<u8>, patience: Duration) {
    let mut closing = Closing { last: WriteBuffer::from(last), is_shut: false, discarded: 0 };
    let mut taken = (closing.taken(stream), Instant::now());
    while timeout(patience / LOOKS, poll_fn(|cx| closing.poll(cx, stream))).await.is_err() {
        let now = closing.taken(stream);
        if now != taken.0 {
            taken = (now, Instant::now());
        } else if taken.1.elapsed() >= patience {
            return;
        }
    }
}

/// How often it is looked, in the time of its patience, whether a peer has taken anything.
const LOOKS: u32 = 4;

/// A close, as far as it has come.
struct Closing {
    /// What is still to be written.
    last: WriteBuffer,
    /// Our direction is closed.
    is_shut: bool,
    /// How much the peer has said meanwhile.
    discarded: usize,
}

impl Closing {
    /// A number that grows with what the peer has taken.
    fn taken(&self, stream: &impl RelayStream) -> u64 {
        let written = || stream.drained().wrapping_sub(self.last.len() as u64);
        stream.bytes_acked().unwrap_or_else(written)
    }

    /// Ready when the peer has closed, or is not to be waited for. (One that has closed cannot read this: an error is
    /// an end, too.)
    fn poll<S: RelayStream>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>> {
        while !self.last.is_empty() {
            ready!(self.last.poll_write(cx, stream))?;
        }
        if !self.is_shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        self.poll_discard(cx, stream)
    }

    /// Reads to the end.
    fn poll_discard<S: RelayStream>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>> {
        with_scratch(|Scratch { bytes, .. }| {
            while self.discarded < MOST_DISCARDED {
                let mut buffer = ReadBuf::new(bytes);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    break;
                }
                self.discarded += buffer.filled().len();
            }
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_streams::InMemory;
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_arrives_and_the_peers_end_is_waited_for_though_not_for_long() {
        for peer_ends in [true, false] {
            let (mut here, mut there) = InMemory::new(16);
            let began = Instant::now();
            let closing =
                async { close_gracefully(&mut here, b"the last words".to_vec(), CLOSE_TIMEOUT).await };
            let reading = async {
                let mut got = Vec::new();
                there.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, b"the last words");
                there.write_all(b"nobody reads this").await.unwrap();
                if peer_ends {
                    drop(there);
                    None
                } else {
                    Some(there)
                }
            };
            let (_, there) = tokio::join!(closing, reading);
            assert_eq!(there.is_some(), !peer_ends);
            let limit = if peer_ends { Duration::ZERO } else { CLOSE_TIMEOUT };
            assert!(began.elapsed() >= limit && began.elapsed() < limit + 2 * CLOSE_TIMEOUT / LOOKS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_gets_all_of_it_and_one_that_stops_is_given_up() {
        let patience = Duration::from_secs(10);
        for stops_at in [None, Some(5)] {
            let (mut here, mut there) = InMemory::new(1);
            let began = Instant::now();
            let reading = async move {
                let (mut got, mut byte) = (0, [0]);
                while stops_at != Some(got) {
                    sleep(patience - Duration::from_secs(1)).await;
                    match there.read(&mut byte).await.unwrap() {
                        0 => return (got, None),
                        _ => got += 1,
                    }
                }
                (got, Some(there))
            };
            let closing = close_gracefully(&mut here, vec![1; 20], patience);
            let (_, (got, there)) = tokio::join!(closing, reading);
            assert_eq!(got, stops_at.unwrap_or(20));
            let least = (patience - Duration::from_secs(1)) * got;
            let most = least + patience + 2 * patience / LOOKS;
            assert!(began.elapsed() >= least && began.elapsed() <= most, "{:?}", began.elapsed());
            drop(there);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_goes_on_talking_is_not_heard_for_ever() {
        let (mut here, mut there) = InMemory::new(16 * 1024);
        let talking = tokio::spawn(async move { while there.write_all(&[1; 1024]).await.is_ok() {} });
        let began = Instant::now();
        close_gracefully(&mut here, vec![1], Duration::from_secs(300)).await;
        assert!(began.elapsed() < Duration::from_secs(1));
        drop(here);
        talking.await.unwrap();
    }
}
