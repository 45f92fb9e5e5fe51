//! What the user asked for, checked once, at the start. After this nothing parses a string.
//!
//! Four places speak: the command line ([`cli`]), the `SS_*` variables ([`sip003`]) with the option
//! string in one of them ([`options`]), and the JSON file that one of these may name ([`mod@file`]). The
//! command line wins over the variables, and both win over the file. [`read`] puts them together.

pub mod cli;
mod disguise;
mod endpoints;
mod error;
pub mod file;
mod go_cli;
pub mod names;
pub mod options;
pub mod probe;
mod read;
pub mod role;
pub mod sip003;
mod trusted;
mod values;
mod web;
mod website;

pub use error::ConfigError;
pub use names::{NamePattern, NameRoute};
pub use options::UnknownOption;
pub use probe::ProbeConfig;
pub use read::{Command, ProcessEnv, read};
pub use role::{Role, RoleReason};
pub use sip003::PluginOption;
pub use web::{ExtraRoot, TlsClientConfig, TlsServerConfig, WebBody, WebConfig};
pub use website::Website;

use crate::detect::{FakeTlsRule, HttpRule, Rules};
use crate::net::addr::HostPort;
use crate::net::options::SocketOptions;
use crate::net::trusted::TrustedProxies;
use crate::telemetry::LogLevel;
use crate::wire::proxy_protocol;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// When a client sends the application's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With the request, as its body: no round trip is lost, and simple-obfs does it so.
    Eager,
    /// After the 101, as RFC 6455 has it: passes every front proxy.
    Standard,
}

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

/// What the server half needs to know beyond the sockets.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The public addresses.
    pub listen: Vec<HostPort>,
    /// Shadowsocks.
    pub backend: HostPort,
    /// Whether every kind of client is taken.
    pub auto: bool,
    /// Which connections are ours.
    pub rules: Rules,
    /// The websites behind the server.
    pub failover: Failover,
    /// The TLS of our own name.
    pub tls: Option<TlsServerConfig>,
    /// Where TLS for other names goes.
    pub routes: Vec<NameRoute>,
    /// Who stands in front, and is believed.
    pub fronts: TrustedProxies,
}

impl ServerConfig {
    /// What is dialled, each with what says it in messages.
    pub fn behind(&self) -> impl Iterator<Item = (&'static str, &HostPort)> {
        let Failover { plain, tls, h2, clear, .. } = &self.failover;
        let clear = match clear {
            Clear::Site(site) => Some(site),
            Clear::Plain | Clear::Refused => None,
        };
        [
            ("failover", plain.port()),
            ("failover-tls", tls.as_ref()),
            ("failover-http", clear),
            ("failover-h2", h2.as_ref()),
            ("the backend", Some(&self.backend)),
        ]
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .chain(self.routes.iter().map(|route| ("sni", &route.site)))
    }
}

/// Where visitors go.
#[derive(Debug, Clone, Default)]
pub struct Failover {
    /// Those who speak HTTP, or anything but TLS; on a server with a certificate, within TLS.
    pub plain: Website,
    /// Those who speak TLS, raw; on a server with a certificate, those whose TLS is not for it. Without an
    /// address, and without a certificate, they meet what answers HTTP.
    pub tls: Option<HostPort>,
    /// Those who speak HTTP/2 within TLS.
    pub h2: Option<HostPort>,
    /// On a server with a certificate, those who come without TLS.
    pub clear: Clear,
    /// The PROXY header that tells the websites who came.
    pub proxy: Option<proxy_protocol::Version>,
}

/// What visitors meet who come to a port for TLS without it.
#[derive(Debug, Clone, Default)]
pub enum Clear {
    /// What those within TLS meet: the port serves both.
    #[default]
    Plain,
    /// This website.
    Site(HostPort),
    /// What nginx tells them: that this is a port for HTTPS.
    Refused,
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

impl fmt::Display for ServerConfig {
    /// What the start-up line says of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<String>| path.as_deref().map_or("any", shown).to_owned();
        write!(f, "backend {}, disguise ", self.backend)?;
        if self.auto {
            f.write_str("auto: ")?;
        }
        if let Some(HttpRule { method, path: http_path, host, web_path }) = &self.rules.http {
            let tls = match (&self.tls, self.rules.tls_alone) {
                (None, _) => "",
                (Some(_), true) => " in TLS alone",
                (Some(_), false) => " in TLS or not",
            };
            let host = if host.is_some() { "its own" } else { "any" };
            let (name, path) = match web_path {
                None => ("http", path(http_path)),
                Some(one) if http_path.as_ref() == Some(one) => ("websocket", path(http_path)),
                Some(one) => {
                    ("http and websocket", format!("{}, of websocket {}", path(http_path), shown(one)))
                }
            };
            write!(f, "{name}{tls} ({method}, path {path}, host {host}), ")?;
        }
        if let Some(FakeTlsRule { server_names }) = &self.rules.fake_tls {
            match server_names.len() {
                0 => f.write_str("tls (server name any), ")?,
                1 => f.write_str("tls (server name its own), ")?,
                number => write!(f, "tls ({number} server names of its own), ")?,
            }
        }
        self.failover.fmt(f)?;
        for route in &self.routes {
            write!(f, ", {route}")?;
        }
        self.fronts.fmt(f)
    }
}

impl ServerConfig {
    /// Whether clients with `obfs=tls` are not taken for the lack of a name of theirs, though the server is
    /// one for every kind of client.
    pub fn fake_tls_is_left_out(&self) -> bool {
        self.auto && !self.rules.tls_alone && self.rules.fake_tls.is_none()
    }

    /// The paths and names that only clients are to know. [`Display`](fmt::Display) leaves them out.
    pub fn secrets(&self) -> String {
        let mut all = Vec::new();
        if let Some(HttpRule { path, host, web_path, .. }) = &self.rules.http {
            all.extend(path.as_ref().map(|path| format!("path {path}")));
            all.extend(web_path.as_ref().map(|path| format!("path of websocket {path}")));
            all.extend(host.as_ref().map(|host| format!("host {host}")));
        }
        if let Some(FakeTlsRule { server_names }) = &self.rules.fake_tls {
            all.extend(server_names.iter().map(|name| format!("server name {name}")));
        }
        all.join(", ")
    }
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

/// A path as it stands in a log, which others read too: a path of one's own is a secret.
fn shown(path: &str) -> &str {
    if path == "/" { path } else { "its own" }
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.plain, &self.tls) {
            // Visitors go there whose TLS is answered by us, too.
            (Website::Bare, Some(tls)) => write!(f, "fallback {tls} in TLS")?,
            (plain, Some(tls)) if plain.port() != Some(tls) => write!(f, "fallback {plain}, for TLS {tls}")?,
            (plain, _) => write!(f, "fallback {plain}")?,
        }
        if let Some(h2) = &self.h2 {
            write!(f, ", for HTTP/2 {h2}")?;
        }
        match &self.clear {
            Clear::Plain => {}
            Clear::Site(site) => write!(f, ", without TLS {site}")?,
            Clear::Refused => f.write_str(", without TLS a page that says so")?,
        }
        match self.proxy {
            Some(version) => write!(f, " with PROXY {version}"),
            None => Ok(()),
        }
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" or ")
}

/// A half with its settings.
#[derive(Debug, Clone)]
pub enum Half {
    /// The client half.
    Client(Box<ClientConfig>),
    /// The server half.
    Server(Box<ServerConfig>),
}

/// What both halves have.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// A tunnel on which nothing moved for so long is ended.
    pub idle_timeout: Duration,
    /// What is asked of the sockets.
    pub sockets: SocketOptions,
}

/// What the process is asked to be.
#[derive(Debug, Clone, Default)]
pub struct ProcessConfig {
    /// The user to go on as, once everything is bound.
    pub user: Option<String>,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The most files that may be open.
    pub open_files: Option<u64>,
}

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The half and its settings.
    pub half: Half,
    /// What both halves have.
    pub tunnel: TunnelConfig,
    /// What the process is asked to be.
    pub process: ProcessConfig,
    /// Why this half.
    pub role_reason: RoleReason,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Whether a Shadowsocks program started us, so that we end when it does.
    pub hosted: bool,
    /// What nobody knows and the log warns about.
    pub unknown: Vec<UnknownOption>,
    /// What was odd and is taken all the same, for the log to warn of.
    pub warnings: Vec<String>,
    /// The name server that was asked for, and that the log says is not asked.
    pub nameserver: Option<String>,
}

impl Config {
    /// The files of certificates and keys that are read anew when they change.
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let Half::Server(server) = &self.half else { return Vec::new() };
        let candidates = server.tls.iter().flat_map(|tls| &tls.candidates);
        candidates.flat_map(|(certificate, key)| [certificate.clone(), key.clone()]).collect()
    }

    /// The half this is for.
    pub fn role(&self) -> Role {
        match self.half {
            Half::Client(_) => Role::Client,
            Half::Server(_) => Role::Server,
        }
    }
}

/// Long enough for a quiet SSH session over lunch. Peers that are gone are found by TCP keep-alive
/// long before.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(7200);

#[cfg(test)]
mod tests;
