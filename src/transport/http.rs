//! `obfs=http` on sockets: the upgrade is asked for, or granted; behind it the stream is raw.

use super::answer::{Unanswered, UpgradeError, awaited};
use super::{NotOpened, Stream, Tunnel};
use crate::config::{Handshake, RequestConfig};
use crate::net::Dialer;
use crate::net::reached::{self, Reached};
use crate::relay::{Direction, Flows, Identity, Pieces, Protocol, ProtocolError};
use crate::wire::http::{
    HeaderOrder, Upgrade, UpgradeAnswer, UpgradeRequest, first_line, switching_protocols,
};
use crate::wire::websocket::key;
use rand::RngExt as _;
use std::io;
use std::sync::LazyLock;
use std::time::SystemTime;

/// As simple-obfs does it: some version of curl, the same for as long as the process lives.
static USER_AGENT: LazyLock<String> = LazyLock::new(|| {
    let mut rng = rand::rng();
    format!("curl/7.{}.{}", rng.random_range(29..=88), rng.random_range(0..=1))
});

/// A client's request. With `payload_len`, so many bytes of payload follow it in the same flight.
fn request(config: &RequestConfig, payload_len: Option<usize>) -> Vec<u8> {
    UpgradeRequest {
        method: &config.method,
        path: &config.path,
        host: &config.host,
        user_agent: &USER_AGENT,
        key: Some(&key(rand::random())),
        versioned: false,
        protocol: None,
        content_length: payload_len,
        headers: &[],
        order: HeaderOrder::SIMPLE_OBFS,
    }
    .encode()
}

/// Opens a tunnel in which `first` is said first.
///
/// # Errors
///
/// The server cannot be reached, or does not grant it.
pub(super) async fn open(
    dialer: &Dialer,
    config: &RequestConfig,
    handshake: Handshake,
    first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    let eager = handshake == Handshake::Eager;
    let mut request = request(config, eager.then_some(first.len()));
    if eager {
        let first_len = first.len();
        request.extend(first);
        let (server, sent) = dialer.connect_with(&request).await?;
        request.drain(..sent);
        return Ok(eager_tunnel(server.into(), request, first_len));
    }
    let (server, sent) = dialer.connect_with(&request).await?;
    request.drain(..sent);
    granted_tunnel(server.into(), &request, 0, first).await
}

/// A raw stream behind a request whose answer nothing waits for. `flight` is what is left to send of the
/// request and of the `first_len` bytes behind it.
pub(super) fn eager_tunnel(server: Stream, flight: Vec<u8>, first_len: usize) -> Tunnel {
    let flows = Flows::new(StripAnswer::default()).with_pending(Direction::Up, flight, first_len);
    Tunnel::dialled(Unanswered::new(server, false), flows)
}

/// A raw stream behind a request that has been granted, in which `early` bytes of payload went.
pub(super) async fn granted_tunnel(
    mut server: Stream,
    request: &[u8],
    early: usize,
    first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    let behind = awaited(&mut server, request, None).await?;
    let flows = Flows::new(Identity).with_payload(Direction::Up, first).with_payload(Direction::Down, behind);
    let flows = flows.with_passed(Direction::Up, early);
    Ok(Tunnel::dialled(server, flows))
}

/// Grants a client what it asks for. Proxies in front hold the tunnel until they have seen the answer, so it does
/// not wait for anything. `bytes` were read from the client, with its request in front.
pub(super) async fn accept(mut client: Stream, upgrade: &Upgrade, mut bytes: Vec<u8>) -> Tunnel {
    #[expect(clippy::disallowed_methods, reason = "the date in an answer")]
    let answer = switching_protocols(upgrade.key(&bytes), None, SystemTime::now());
    let granted = client.say(&answer).await;
    bytes.drain(..upgrade.head_len.min(bytes.len()));
    accepted(client, granted, bytes)
}

/// A client's tunnel behind its request: a raw stream, of which `payload` was read with the request. Where the
/// upgrade could not be `granted` the client has reset its connection: what it had said before is passed on,
/// and then the reset.
pub(super) fn accepted(client: Stream, granted: io::Result<()>, payload: Vec<u8>) -> Tunnel {
    Tunnel::accepted(client, Flows::new(Identity).with_payload(Direction::Up, payload), granted.err())
}

/// Takes a server's answer off the front of the stream that it heads, for a client that did not wait
/// for it.
#[derive(Debug, Default)]
pub struct StripAnswer {
    /// The head, as far as it has come.
    head: Vec<u8>,
    switched: bool,
}

impl Protocol for StripAnswer {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        if direction == Direction::Up || self.switched {
            out.input(0..input.len());
            return Ok(input.len());
        }
        let before = self.head.len();
        self.head.extend_from_slice(input);
        match UpgradeAnswer::read(&self.head, None) {
            UpgradeAnswer::NeedMore => {
                reached::note(|| Reached::Said(first_line(&self.head)));
                Ok(0)
            }
            UpgradeAnswer::Refused(line) => Err(UpgradeError::Refused { line }.into()),
            UpgradeAnswer::Switched(head_len) => {
                // The head did not end in what had come before, or it would have been taken then.
                let payload = head_len.saturating_sub(before)..input.len();
                let payload_len = payload.len();
                out.input(payload);
                self.switched = true;
                reached::note(|| Reached::Granted);
                self.head = Vec::new();
                Ok(payload_len)
            }
        }
    }

    fn passthrough_len(&self, direction: Direction) -> u64 {
        if direction == Direction::Up || self.switched { u64::MAX } else { 0 }
    }

    fn end(&mut self, direction: Direction) -> Result<(), ProtocolError> {
        if direction == Direction::Up || self.switched {
            Ok(())
        } else {
            Err(UpgradeError::Closed(first_line(&self.head)).into())
        }
    }
}
