//! A client's side of WebSocket and HTTPUpgrade: the request of a Go program.

use super::{OpenWebSocket, WebSocket};
use crate::config::{Handshake, WebBody, WebConfig};
use crate::relay::Direction;
use crate::transport::answer::awaited;
use crate::transport::http::{eager_tunnel, granted_tunnel};
use crate::transport::{NotOpened, Stream, Tunnel};
use crate::wire::http::{HeaderOrder, UpgradeRequest};
use crate::wire::websocket::{Role, encode_early_data, key};

/// Opens a tunnel to this server, in which `first` is said first.
///
/// # Errors
///
/// The server does not grant it.
pub(in crate::transport) async fn open(
    server: Stream,
    config: &WebConfig,
    mut first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    match config.body {
        WebBody::Frames => {
            let (server, mut flows, _) = open_frames(server, config, &mut first).await?.into_flows();
            if !first.is_empty() {
                flows.feed(Direction::Up, &mut first);
            }
            Ok(Tunnel::dialled(server, flows))
        }
        WebBody::Raw(handshake) => {
            let mut request = request(config, None, &mut first);
            if handshake == Handshake::Standard {
                return granted_tunnel(server, &request, first).await;
            }
            let first_len = first.len();
            request.append(&mut first);
            Ok(eager_tunnel(server, request, first_len))
        }
    }
}

/// Opens a WebSocket connection to this server. As much of `first` as the configuration allows goes with the
/// request, and is taken from it.
///
/// # Errors
///
/// The server does not grant it.
pub(in crate::transport) async fn open_frames(
    mut server: Stream,
    config: &WebConfig,
    first: &mut Vec<u8>,
) -> Result<OpenWebSocket<Stream>, NotOpened> {
    let key = key(rand::random());
    let request = request(config, Some(&key), first);
    let mut behind = awaited(&mut server, &request, Some(&key)).await?;
    let websocket = WebSocket::new(Role::Client, key.as_bytes());
    let mut open = OpenWebSocket::new(server, websocket, Vec::new());
    open.take(&mut behind);
    Ok(open)
}

/// The request, with the front of `first` in it as far as early data are wanted.
fn request(config: &WebConfig, key: Option<&str>, first: &mut Vec<u8>) -> Vec<u8> {
    let rest = first.split_off(first.len().min(config.early_data));
    let early = std::mem::replace(first, rest);
    let protocol = (!early.is_empty()).then(|| encode_early_data(&early));
    UpgradeRequest {
        method: "GET",
        path: &config.path,
        host: &config.host,
        user_agent: &config.user_agent,
        key,
        versioned: key.is_some(),
        protocol: protocol.as_deref(),
        content_length: None,
        headers: &config.headers,
        order: HeaderOrder::GO,
    }
    .encode()
}
