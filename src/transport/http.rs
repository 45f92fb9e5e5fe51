//! `obfs=http` on sockets: the upgrade is asked for, or granted; behind it the stream is raw.

use super::{Stream, Tunnel};
use crate::config::RequestConfig;
use crate::relay::{Direction, Flows, Identity, Pieces, Protocol, ProtocolError};
use crate::wire::http::{HeaderOrder, UpgradeAnswer, UpgradeRequest, first_line, switching_protocols};
use crate::wire::websocket::key;
use rand::RngExt as _;
use std::io;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long a server may take to answer a request that waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// As simple-obfs does it: some version of curl, the same for as long as the process lives.
static USER_AGENT: LazyLock<String> = LazyLock::new(|| {
    let mut rng = rand::rng();
    format!("curl/7.{}.{}", rng.random_range(29..=88), rng.random_range(0..=1))
});

/// Why an upgrade was not granted.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// The server said something else than "go on".
    #[error("the server did not switch protocols, it answered `{0}`")]
    Refused(String),
    /// The server closed before it had answered.
    #[error("the server closed the connection before it answered{}", after(.0))]
    Closed(String),
    /// The server did not answer in time.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Broken(#[from] io::Error),
}

fn after(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" (after `{line}`)") }
}

/// A client's request. With `payload_len`, so many bytes of payload follow it in the same flight.
pub fn request(config: &RequestConfig, payload_len: Option<usize>) -> Vec<u8> {
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

/// Sends a request and waits until it is granted. `key` is the `Sec-WebSocket-Key` in it, where the
/// answer is to show that it was read. Returns what came behind the answer.
///
/// # Errors
///
/// It was not granted, or not in time.
pub async fn ask_and_wait<S>(
    server: &mut S,
    request: &[u8],
    key: Option<&str>,
) -> Result<Vec<u8>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        server.write_all(request).await?;
        server.flush().await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if server.read_buf(&mut bytes).await? == 0 {
                return Err(UpgradeError::Closed(first_line(&bytes)));
            }
            match UpgradeAnswer::read(&bytes, key) {
                UpgradeAnswer::NeedMore => bytes.reserve(1024),
                UpgradeAnswer::Switched(head_len) => return Ok(bytes.split_off(head_len)),
                UpgradeAnswer::Refused(line) => return Err(UpgradeError::Refused(line)),
            }
        }
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or(Err(UpgradeError::Silent))
}

/// Grants an upgrade, with one write. `key` is its `Sec-WebSocket-Key`, and `protocol` what of
/// `Sec-WebSocket-Protocol` is echoed.
///
/// # Errors
///
/// The connection broke.
pub async fn grant<S>(client: &mut S, key: Option<&[u8]>, protocol: Option<&str>) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    #[expect(clippy::disallowed_methods, reason = "the date in an answer")]
    let answer = switching_protocols(key, protocol, SystemTime::now());
    client.write_all(&answer).await?;
    client.flush().await
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
            UpgradeAnswer::NeedMore => Ok(0),
            UpgradeAnswer::Refused(line) => Err(UpgradeError::Refused(line).into()),
            UpgradeAnswer::Switched(head_len) => {
                // The head did not end in what had come before, or it would have been taken then.
                let payload = head_len.saturating_sub(before)..input.len();
                let payload_len = payload.len();
                out.input(payload);
                self.switched = true;
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
