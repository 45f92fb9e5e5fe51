//! How a connection's task gets on with the others of its thread.

use super::engine::Engine;
use super::source::{NewSession, SessionSource};
use crate::relay::{RelayStream, Timeouts};
use crate::runtime::turn::TURN;
use crate::transport::websocket::{Handoff, WebSocket};
use crate::wire::websocket::{Encoder, Role};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A connection on which a message comes again and again, and at once, until a bound that no turn may reach.
struct Torrent {
    tcp: TcpStream,
    message: Vec<u8>,
    at: usize,
    read: Arc<AtomicU64>,
}

const BOUND: u64 = 64 << 20;

impl AsyncRead for Torrent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buf.remaining() > 0 && self.read.load(Ordering::Relaxed) < BOUND {
            let n = buf.remaining().min(self.message.len() - self.at);
            buf.put_slice(&self.message[self.at..self.at + n]);
            self.at = (self.at + n) % self.message.len();
            self.read.fetch_add(n as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Torrent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl RelayStream for Torrent {
    fn abort(&mut self) {
        self.tcp.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.tcp.is_broken(cx)
    }
}

/// There are no sessions, nor will there be.
struct Nobody;

impl SessionSource for Nobody {
    const ROLE: Role = Role::Client;

    fn poll_session(&mut self, _: &mut Context<'_>) -> Poll<Option<NewSession>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_turn_is_bounded_in_bytes() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // Keep-alives, which nobody answers.
    const KEEP_ALIVE: [u8; 6] = [0, 4, 0, 0, 4, 0];
    let mut message = vec![0; Encoder::HEAD];
    message.extend(KEEP_ALIVE.repeat(1000));
    let start = WebSocket::new(Role::Server, b"key").encode_in_place(&mut message).unwrap();
    message.drain(..start);
    let read = Arc::new(AtomicU64::new(0));
    let wire = Torrent { tcp, message, at: 0, read: Arc::clone(&read) };
    let handoff = Handoff::new(wire, WebSocket::new(Role::Client, b"key"), Vec::new());
    let timeouts = Timeouts::new(Duration::from_secs(60));
    let mut running = pin!(Engine::new(handoff, Nobody, timeouts).run());
    for turn in 1..4 {
        let polled = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the connection is over: {polled:?}");
        let read = read.load(Ordering::Relaxed);
        assert!((turn * TURN..turn * 2 * TURN).contains(&read), "{read} bytes in {turn} turns of {TURN}");
    }
}
