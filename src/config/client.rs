//! What the client half needs to know, and its reading.

use super::disguise::Disguise;
use super::error::ConfigError;
use super::host::{host_header, http_host, name_of};
use super::names;
use super::options::Options;
use super::tls::tls;
use super::trusted::trusted_proxies;
use super::values::{Handshake, fake_tls_names, handshake, method, path, shown};
use super::web::{self, WebBody, WebConfig};
use super::website::failover;
use crate::net::addr::HostPort;
use crate::wire::http::host::{escape_unprintable, without_port};
use std::fmt;

/// What the client half needs to know beyond the sockets.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the host's plain connections come in.
    pub listen: Vec<HostPort>,
    /// The server halves, the preferred one first.
    pub servers: Vec<HostPort>,
    /// What the connections look like.
    pub disguise: ClientDisguise,
}

/// What a client's connections look like.
#[derive(Debug, Clone)]
pub enum ClientDisguise {
    /// An HTTP upgrade, then the raw stream.
    Http(RequestConfig, Handshake),
    /// simple-obfs's look-alike of TLS.
    FakeTls {
        /// The name in the hello.
        server_name: String,
    },
    /// WebSocket or HTTPUpgrade, in TLS or not.
    Web(WebConfig),
}

/// The upgrade request of a client.
#[derive(Debug, Clone)]
pub struct RequestConfig {
    /// The method, `GET` unless told otherwise.
    pub method: String,
    /// The path with its leading slash, and the query if there is one.
    pub path: String,
    /// The value of the `Host` header.
    pub host: String,
}

impl ClientConfig {
    /// The path and the name that only clients are to know. [`Display`](fmt::Display) leaves them out.
    pub fn secrets(&self) -> String {
        match &self.disguise {
            ClientDisguise::Http(RequestConfig { path, host, .. }, _) => format!("path {path}, host {host}"),
            ClientDisguise::FakeTls { server_name } => format!("server name {server_name}"),
            ClientDisguise::Web(web) => format!("path {}, host {}", web.path, web.host),
        }
    }
}

impl fmt::Display for ClientConfig {
    /// What the start-up line says of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}, disguise ", list(&self.servers))?;
        match &self.disguise {
            ClientDisguise::Http(RequestConfig { method, path, .. }, handshake) => {
                let handshake = match handshake {
                    Handshake::Eager => "eager",
                    Handshake::Standard => "standard",
                };
                write!(f, "http ({method}, path {}, {handshake})", shown(path))
            }
            ClientDisguise::FakeTls { .. } => f.write_str("tls"),
            ClientDisguise::Web(web) => {
                let body = match web.body {
                    WebBody::Frames => "websocket",
                    WebBody::Raw(_) => "httpupgrade",
                };
                write!(f, "{body} (path {}, mux {}", shown(&web.path), web.mux)?;
                if web.tls.is_some() {
                    f.write_str(", in TLS")?;
                }
                f.write_str(")")
            }
        }
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" or ")
}

/// Reads the settings of a client half that dials these servers.
pub(super) fn client(
    options: &Options,
    servers: Vec<HostPort>,
    listen: Vec<HostPort>,
    disguise: Disguise,
) -> Result<ClientConfig, ConfigError> {
    let tls = tls(options)?.is_some();
    // A server's option in a client's string is checked all the same: it is the string of both.
    failover(options, tls, false)?;
    fake_tls_names(options)?;
    names::routes(options)?;
    trusted_proxies(options)?;
    let handshake = handshake(options)?;
    let name = host_header(options)?;
    let hello_name = names::client_name(options)?;
    if !tls
        && disguise != Disguise::FakeTls
        && let Some(sni) = names::first(options, false)
    {
        return Err(ConfigError::needs_tls(sni));
    }
    let server = servers.first();
    let disguise = match disguise {
        Disguise::WebSocket => ClientDisguise::Web(web::client(options, true, handshake, server)?),
        Disguise::HttpUpgrade => ClientDisguise::Web(web::client(options, false, handshake, server)?),
        Disguise::FakeTls => ClientDisguise::FakeTls {
            server_name: name
                .map(|name| without_port(&name).to_owned())
                .or(hello_name)
                .unwrap_or_else(|| server.map(name_of).unwrap_or_default()),
        },
        Disguise::Http | Disguise::Auto => {
            let path = path(options, &["obfs-uri", "path"])?;
            let request = RequestConfig {
                method: method(options)?,
                path: path.map_or_else(|| "/".to_owned(), |path| escape_unprintable(&path)),
                host: http_host(name, server),
            };
            ClientDisguise::Http(request, handshake)
        }
    };
    Ok(ClientConfig { listen, servers, disguise })
}
