//! A server's side of WebSocket and HTTPUpgrade.

use super::{OpenWebSocket, PacketStream, WebSocket};
use crate::net::Dialer;
#[cfg(all(feature = "grpc", feature = "server"))]
use crate::transport::h2::{Arrived, EndOf, Extended};
use crate::transport::http::accepted;
use crate::transport::mux_detector::{Accepted, detect};
use crate::transport::{NotAccepted, Stream};
use crate::wire::http::{Upgrade, switching_protocols};
#[cfg(all(feature = "grpc", feature = "server"))]
use crate::wire::websocket::accept_key;
use crate::wire::websocket::{Role, decode_early_data};
#[cfg(all(feature = "grpc", feature = "server"))]
use h2::Reason;
use std::time::SystemTime;

/// The most early data that is taken, in bytes: as much as the longest header line carries.
const EARLY_DATA: usize = 8192;

/// Grants a client of WebSocket or HTTPUpgrade what it asks for, and finds out whether the stream in it is Mux.Cool.
/// `bytes` were read from the client, with its request in front. Where it says nothing for a while, `backend` is
/// dialled meanwhile.
///
/// # Errors
///
/// There is nothing in it, or the backend cannot be reached.
pub(in crate::transport) async fn accept(
    mut client: Stream,
    upgrade: &Upgrade,
    mut bytes: Vec<u8>,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    // What is base64 is safe to echo.
    let protocol = upgrade.protocol(&bytes).and_then(|value| std::str::from_utf8(value).ok());
    let early = protocol.and_then(|value| decode_early_data(value.as_bytes(), EARLY_DATA));
    let protocol = protocol.filter(|_| early.is_some());
    #[expect(clippy::disallowed_methods, reason = "the date in an answer")]
    let answer = switching_protocols(upgrade.key(&bytes), protocol, SystemTime::now());
    let granted = client.say(&answer).await;
    let early = early.unwrap_or_default();
    let mut rest = bytes.split_off(upgrade.head_len.min(bytes.len()));
    if !upgrade.versioned {
        return Ok(Accepted::Tunnel(accepted(client, granted, [early, rest].concat()), None));
    }
    let websocket = WebSocket::new(Role::Server, upgrade.key(&bytes).unwrap_or_default());
    drop(bytes);
    if upgrade.packets {
        granted.map_err(NotAccepted::Broken)?;
        return Ok(Accepted::Packets(Box::new(
            PacketStream::new(client, websocket, rest).with_first(&early),
        )));
    }
    let early_len = early.len();
    let mut open = OpenWebSocket::new(client, websocket, early);
    open.write_error = granted.err();
    open.take(&mut rest);
    drop(rest);
    detect(open, early_len, backend).await
}

/// Grants a client over HTTP/2 the WebSocket that it asks for (RFC 8441), and finds out what is in it.
///
/// # Errors
///
/// As above.
#[cfg(all(feature = "grpc", feature = "server"))]
pub(crate) async fn accept_extended(
    arrived: Arrived,
    extended: Extended,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let mut answer = http::Response::new(());
    let mut put = |name, value: &[u8]| {
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            answer.headers_mut().insert(http::HeaderName::from_static(name), value);
        }
    };
    let Extended { key, protocol, packets, .. } = extended;
    // A proxy that translates may leave it to us to show that the key was read.
    if let Some(key) = &key {
        put("sec-websocket-accept", accept_key(key).as_bytes());
    }
    let early = protocol.as_deref().and_then(|value| decode_early_data(value, EARLY_DATA));
    if let Some(protocol) = protocol.filter(|_| early.is_some()) {
        put("sec-websocket-protocol", &protocol);
    }
    let stream = arrived.accept(answer, EndOf::Data, Reason::CANCEL);
    let websocket = WebSocket::new(Role::Server, &key.unwrap_or_default());
    let early = early.unwrap_or_default();
    if packets {
        let open = PacketStream::new(stream.into(), websocket, Vec::new()).with_first(&early);
        return Ok(Accepted::Packets(Box::new(open)));
    }
    let early_len = early.len();
    detect(OpenWebSocket::new(stream.into(), websocket, early), early_len, backend).await
}
