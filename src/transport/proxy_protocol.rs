//! The PROXY header at the front of a socket, read to its last byte and no further.

use crate::wire::proxy_protocol::{Addresses, Header, InvalidHeader, MAX_HEADER};
use std::fmt::Display;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long a header may take. It comes with the proxy's first segment; this is for one that was lost
/// twice on the way.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for all headers but those with much beside the addresses, in bytes.
const USUAL: usize = 256;

/// Why a proxy's connection is of no use.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// It was closed before its first byte: somebody looked whether the port answers.
    #[error("closed before its first byte")]
    Empty,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// It begins with something else, of which the text shows the beginning.
    #[error("{0}; it begins with `{1}`")]
    Invalid(InvalidHeader, String),
    /// It ended within the header.
    #[error("it ended after `{0}`")]
    Cut(String),
    /// The header did not come, or not whole, in time.
    #[error("no more than `{0}` came within {limit} s", limit = HEADER_TIMEOUT.as_secs())]
    Slow(String),
}

impl ReceiveError {
    /// Tells the log. That somebody looks whether the port answers is nothing to be warned of; that a
    /// front and we do not understand each other is.
    pub fn tell(&self, front: impl Display) {
        match self {
            ReceiveError::Empty | ReceiveError::Broken(_) => {
                debug!(peer = %front, error = %self, "gone before its PROXY header");
            }
            _ => warn!(
                peer = %front, error = %self,
                "closed: a trusted address must send a PROXY header first (proxy-protocol=in)"
            ),
        }
    }
}

/// Reads a header, and nothing that stands behind it: the socket is as its proxy's client would have it.
/// Returns what it says.
///
/// # Errors
///
/// There is none, or it does not come in time.
pub async fn receive(socket: &mut TcpStream) -> Result<Option<Addresses>, ReceiveError> {
    let mut bytes = vec![0; USUAL];
    let mut length = 0;
    match timeout(HEADER_TIMEOUT, read(socket, &mut bytes, &mut length)).await {
        Ok(read) => read,
        Err(_) => Err(ReceiveError::Slow(show(&bytes, length))),
    }
}

/// Whether the connection has ended, with nothing more to read.
pub async fn has_ended(socket: &TcpStream) -> bool {
    matches!(timeout(Duration::ZERO, socket.peek(&mut [0])).await, Ok(Ok(0)))
}

/// Reads until there is an answer. `bytes` has `length` bytes that were read.
async fn read(
    socket: &mut TcpStream,
    bytes: &mut Vec<u8>,
    length: &mut usize,
) -> Result<Option<Addresses>, ReceiveError> {
    loop {
        if *length == bytes.len() {
            // Longer ones are no headers, so there is no third time.
            bytes.resize(MAX_HEADER, 0);
        }
        // Looked at first: only what belongs to the header is taken.
        let seen = *length + socket.peek(bytes.get_mut(*length..).unwrap_or_default()).await?;
        if seen == *length {
            return Err(match *length {
                0 => ReceiveError::Empty,
                _ => ReceiveError::Cut(show(bytes, *length)),
            });
        }
        let parsed = Header::parse(bytes.get(..seen).unwrap_or_default());
        let header = parsed.map_err(|error| ReceiveError::Invalid(error, show(bytes, seen)))?;
        let end = header.map_or(seen, |header| header.len);
        *length += socket.read_exact(bytes.get_mut(*length..end).unwrap_or_default()).await?;
        if let Some(header) = header {
            return Ok(header.addresses);
        }
    }
}

/// The first of so many bytes, fit for a log line. Of a request no more than its method is shown: its path may be a
/// secret.
fn show(bytes: &[u8], length: usize) -> String {
    const SHOWN: usize = 64;
    let bytes = bytes.get(..length.min(SHOWN)).unwrap_or_default();
    match bytes.split_at_checked(bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()) {
        Some((method, target)) if target.starts_with(b" /") => format!("{} /…", method.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}
