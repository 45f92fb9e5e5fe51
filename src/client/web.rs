//! The client half in v2ray-plugin's manner: WebSocket and HTTPUpgrade, in TLS or in the clear.

use super::answer::{Unanswered, address, awaited};
use super::{Client, Tunnel, TunnelError, tunnel};
use crate::config::{Handshake, WebBody, WebConfig};
use crate::relay::{Flow, Identity};
use crate::transport::Stream;
use crate::transport::http::{self, StripAnswer};
use crate::transport::websocket::{self, Handoff};
use crate::wire::http::{HeaderOrder, UpgradeRequest};
use crate::wire::websocket::{Role, encode_early_data, key};

impl Client {
    /// Opens the disguise on a connection to the server and relays.
    pub(super) async fn web(
        &self,
        config: &WebConfig,
        mut server: Stream,
        mut first: Vec<u8>,
    ) -> Result<Tunnel, TunnelError> {
        match config.body {
            WebBody::Frames => {
                let (server, down, mut up, _) = open(config, server, &mut first).await?.into_flows();
                if !first.is_empty() {
                    up.feed(&mut first);
                }
                drop(first);
                Ok(tunnel(server, up, down))
            }
            WebBody::Raw(Handshake::Standard) => {
                let head = request(config, None, &mut first);
                let address = address(server.tcp());
                let answer = http::ask_and_wait(&mut server, &head, None);
                let behind = Box::pin(awaited(address, answer)).await?;
                let (first_len, behind_len) = (first.len(), behind.len());
                let up = Flow::with_pending(Identity, first, first_len);
                let down = Flow::with_pending(Identity, behind, behind_len);
                Ok(tunnel(server, up, down))
            }
            WebBody::Raw(Handshake::Eager) => {
                let mut flight = request(config, None, &mut first);
                let first_len = first.len();
                flight.append(&mut first);
                let up = Flow::with_pending(Identity, flight, first_len);
                let server = Unanswered::new(server, false);
                Ok(tunnel(server, up, Flow::new(StripAnswer::default())))
            }
        }
    }
}

/// Opens a WebSocket connection. As much of `first` as the configuration allows goes with the request,
/// and is taken from it.
pub(super) async fn open(
    config: &WebConfig,
    mut server: Stream,
    first: &mut Vec<u8>,
) -> Result<Handoff<Stream>, TunnelError> {
    let key = key(rand::random());
    let head = request(config, Some(&key), first);
    let address = address(server.tcp());
    let answer = awaited(address, http::ask_and_wait(&mut server, &head, Some(&key)));
    let mut behind = Box::pin(answer).await?;
    let directions = websocket::directions(Role::Client, key.as_bytes());
    let mut handoff = Handoff::new(server, directions, Vec::new());
    handoff.take(&mut behind);
    Ok(handoff)
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
