//! How a connection is closed on which there is something left to say.

use super::scratch::{Scratch, with_scratch};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

/// How long an orderly close may take: long enough for a round trip; nobody waits for it but a connection
/// that is done with.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes `last`, closes that direction, and waits for the peer to do the same, so that no reset overtakes
/// what was written. Gives up after [`CLOSE_TIMEOUT`].
pub async fn close_gracefully<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, last: &[u8]) {
    let closing = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        discard(stream).await
    };
    // A peer that has closed cannot read this; ignore the error.
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// Reads to the end.
async fn discard<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    poll_fn(|cx| {
        with_scratch(|Scratch { bytes, .. }| {
            loop {
                let mut buffer = ReadBuf::new(bytes);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_arrives_and_the_peers_end_is_waited_for_though_not_for_long() {
        for peer_ends in [true, false] {
            let (mut here, mut there) = tokio::io::duplex(16);
            let began = Instant::now();
            let closing = async { close_gracefully(&mut here, b"the last words").await };
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
            assert!(began.elapsed() >= limit && began.elapsed() < limit + Duration::from_millis(10));
        }
    }
}
