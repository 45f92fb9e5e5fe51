//! What the server half needs to know, and its reading.

use super::disguise::Disguise;
use super::error::ConfigError;
use super::host::host_header;
use super::names::{self, NameRoute};
use super::options::Options;
use super::tls::{Tls, TlsServerConfig, tls, tls_server};
use super::trusted::trusted_proxies;
use super::values::{fake_tls_names, handshake, method, path, shown};
use super::web;
use super::website::{Failover, Website, check_folder, failover};
use crate::detect::{FakeTlsRule, HttpRule, Rules};
use crate::net::addr::HostPort;
use crate::net::network::TrustedProxies;
use crate::wire::http::host::{without_port, without_query};
use std::fmt;

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
    pub names: Vec<NameRoute>,
    /// Who stands in front, and is believed.
    pub fronts: TrustedProxies,
}

impl ServerConfig {
    /// What is dialled, each with what says it in messages.
    pub fn behind(&self) -> impl Iterator<Item = (&'static str, &HostPort)> {
        let Failover { plain, tls, h2, clear, .. } = &self.failover;
        [
            ("failover", plain.port()),
            ("failover-tls", tls.as_ref()),
            ("failover-http", clear.as_ref().and_then(Website::port)),
            ("failover-h2", h2.as_ref()),
            ("the backend", Some(&self.backend)),
        ]
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .chain(self.names.iter().map(|route| ("sni", &route.site)))
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
        for route in &self.names {
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

/// Reads the settings of a server half for this Shadowsocks.
pub(super) fn server(
    options: &Options,
    listen: Vec<HostPort>,
    backend: HostPort,
    disguises: &[Disguise],
    home: Option<&str>,
) -> Result<ServerConfig, ConfigError> {
    // A client's options in a server's string are checked all the same: it is the string of both.
    handshake(options)?;
    web::mux(options)?;
    web::headers(options)?;
    let takes = |disguise| disguises.contains(&disguise);
    let auto = takes(Disguise::Auto);
    let demand = tls(options)?;
    let tls = demand.map(|_| tls_server(options, home)).transpose()?;
    if tls.is_none() && options.get("cert").is_some() && options.get("key").is_some() {
        options.warn("options `cert` and `key` are not used: `tls` is missing".to_owned());
    }
    let names = names::routes(options)?;
    if tls.is_none()
        && !takes(Disguise::FakeTls)
        && let Some(sni) = names::first(options, true)
    {
        return Err(ConfigError::needs_tls(sni));
    }
    let rules = Rules {
        http: http_rule(options, disguises)?,
        fake_tls: fake_tls_rule(options, auto || takes(Disguise::FakeTls), demand)?,
        tls: tls.is_some() || !names.is_empty(),
        // Where TLS is written beside a disguise, nothing comes in the clear.
        tls_alone: demand == Some(Tls::Only) || (demand.is_some() && !auto),
    };
    let failover = failover(options, tls.is_some(), auto && !rules.tls_alone)?;
    check_folder(options, &failover.plain)?;
    let fronts = trusted_proxies(options)?;
    Ok(ServerConfig { listen, backend, auto, rules, failover, tls, names, fronts })
}

/// The name of `obfs-host`, as a server compares it.
fn host(options: &Options) -> Result<Option<String>, ConfigError> {
    Ok(host_header(options)?.map(|host| without_port(&host).to_ascii_lowercase()))
}

/// Which upgrade requests are taken.
fn http_rule(options: &Options, disguises: &[Disguise]) -> Result<Option<HttpRule>, ConfigError> {
    let takes = |disguise| disguises.contains(&disguise);
    let auto = takes(Disguise::Auto);
    let web = auto || takes(Disguise::WebSocket) || takes(Disguise::HttpUpgrade);
    let http = auto || takes(Disguise::Http);
    let without_query = |path: String| without_query(&path).to_owned();
    // v2ray-plugin's server takes one path, `/` by default; simple-obfs's, any.
    let web_path = path(options, &["path", "obfs-uri"])?.map_or_else(|| "/".to_owned(), without_query);
    let path = path(options, &["obfs-uri", "path"])?.map(without_query);
    let rule = HttpRule {
        method: method(options)?,
        path: if http { path } else { Some(web_path.clone()) },
        host: host(options)?,
        web_path: web.then_some(web_path),
    };
    Ok((web || http).then_some(rule))
}

/// Which hellos of `obfs=tls` are taken, on a server that is to take them and on one that is not.
fn fake_tls_rule(
    options: &Options,
    taken: bool,
    tls: Option<Tls>,
) -> Result<Option<FakeTlsRule>, ConfigError> {
    let names = fake_tls_names(options)?;
    if let Some(option) = options.get("obfs-tls-host") {
        if tls == Some(Tls::Only) {
            return Err(ConfigError::conflict(option, "tls=only", "a look-alike of TLS is no TLS"));
        }
        if !taken {
            let needs = "`obfs=tls` or `mode=auto`: add one of them, or leave this out";
            return Err(ConfigError::needs(option, needs));
        }
    }
    Ok(match (taken, tls, names.is_empty()) {
        (false, _, _) => None,
        // Beside real TLS, whose visitors ask for any name, only who knows a name is taken.
        (true, Some(_), true) => None,
        (true, None, true) => Some(FakeTlsRule { server_names: host(options)?.into_iter().collect() }),
        (true, _, false) => Some(FakeTlsRule { server_names: names }),
    })
}
