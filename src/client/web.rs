//! The client half in v2ray-plugin's manner: WebSocket and HTTPUpgrade, in TLS or in the clear.

use super::answer::{Unanswered, address, awaited};
use super::{NoTunnel, Shared};
use crate::config::{Handshake, WebBody, WebConfig};
use crate::relay::{Flow, Identity, Outcome, Relay, Transport};
use crate::transport::http::{self, StripAnswer};
use crate::transport::websocket;
use crate::wire::http::WebRequest;
use crate::wire::websocket::{Role, encode_early_data, key};
use tokio::net::TcpStream;

impl Shared {
    /// Opens the disguise on a connection to the server and relays.
    pub(super) async fn web<S: Transport>(
        &self,
        config: &WebConfig,
        app: TcpStream,
        mut server: S,
        mut first: Vec<u8>,
    ) -> Result<Outcome, NoTunnel> {
        match config.body {
            WebBody::Frames => {
                let opened = open(config, &mut server, &mut first).await?;
                let (receive, send) = websocket::directions(Role::Client, opened.key.as_bytes());
                let mut up = Flow::new(send);
                if !first.is_empty() {
                    up.feed(&mut first).map_err(NoTunnel::Malformed)?;
                }
                let mut down = Flow::new(receive);
                let mut behind = opened.behind;
                down.feed(&mut behind).map_err(NoTunnel::Malformed)?;
                drop((first, behind));
                Ok(Relay::new(app, server, up, down, self.patience).run().await)
            }
            WebBody::Raw(Handshake::Standard) => {
                let head = request(config, None, &mut first);
                let address = address(&server);
                let answer = http::ask_and_wait(&mut server, &head, None);
                let behind = Box::pin(awaited(address, answer)).await?;
                let (first_len, behind_len) = (first.len(), behind.len());
                let up = Flow::with_pending(Identity, first, first_len);
                let down = Flow::with_pending(Identity, behind, behind_len);
                Ok(Relay::new(app, server, up, down, self.patience).run().await)
            }
            WebBody::Raw(Handshake::Eager) => {
                let mut flight = request(config, None, &mut first);
                let first_len = first.len();
                flight.append(&mut first);
                let up = Flow::with_pending(Identity, flight, first_len);
                let server = Unanswered::new(server, false);
                Ok(Relay::new(app, server, up, Flow::new(StripAnswer::default()), self.patience).run().await)
            }
        }
    }
}

/// A WebSocket connection whose handshake is done.
pub(super) struct Opened {
    /// The `Sec-WebSocket-Key` of the handshake.
    pub key: String,
    /// What came behind the answer.
    pub behind: Vec<u8>,
}

/// Opens a WebSocket connection. As much of `first` as the configuration allows goes with the request,
/// and is taken from it.
pub(super) async fn open<S: Transport>(
    config: &WebConfig,
    server: &mut S,
    first: &mut Vec<u8>,
) -> Result<Opened, NoTunnel> {
    let key = key(rand::random());
    let head = request(config, Some(&key), first);
    let address = address(server);
    let behind = Box::pin(awaited(address, http::ask_and_wait(server, &head, Some(&key)))).await?;
    Ok(Opened { key, behind })
}

/// The request, with the front of `first` in it as far as early data are wanted.
fn request(config: &WebConfig, key: Option<&str>, first: &mut Vec<u8>) -> Vec<u8> {
    let rest = first.split_off(first.len().min(config.early_data));
    let early = std::mem::replace(first, rest);
    let protocol = (!early.is_empty()).then(|| encode_early_data(&early));
    WebRequest {
        path: &config.path,
        host: &config.host,
        user_agent: &config.user_agent,
        headers: &config.headers,
        key,
        protocol: protocol.as_deref(),
    }
    .encode()
}
