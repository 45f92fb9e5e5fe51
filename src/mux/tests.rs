//! How a connection's task gets on with the others of its thread.

use super::engine::Engine;
use super::source::{NewSession, SessionSource};
use crate::relay::Timeouts;
use crate::relay::test_streams::Torrent;
use crate::runtime::turn::TURN;
use crate::transport::websocket::{OpenWebSocket, WebSocket};
use crate::wire::websocket::{Encoder, Role};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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
    // Keep-alives, which nobody answers.
    const KEEP_ALIVE: [u8; 6] = [0, 4, 0, 0, 4, 0];
    let mut message = vec![0; Encoder::HEAD];
    message.extend(KEEP_ALIVE.repeat(1000));
    let start = WebSocket::new(Role::Server, b"key").encode_in_place(&mut message).unwrap();
    message.drain(..start);
    let (wire, read) = Torrent::new(message).await;
    let handoff = OpenWebSocket::new(wire, WebSocket::new(Role::Client, b"key"), Vec::new());
    let timeouts = Timeouts::new(Duration::from_secs(60));
    let mut running = pin!(Engine::new(handoff, Nobody, timeouts).run());
    for turn in 1..4 {
        let polled = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the connection is over: {polled:?}");
        let read = read.load(Ordering::Relaxed) as u64;
        assert!((turn * TURN..turn * 2 * TURN).contains(&read), "{read} bytes in {turn} turns of {TURN}");
    }
}
