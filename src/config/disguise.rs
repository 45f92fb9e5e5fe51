//! The disguises: their names in the options `obfs` and `mode`, what a client of each needs to know, and which
//! connections a server takes for one.

use super::backends::BackendRoutes;
use super::dialect::Dialect;
use super::error::ConfigError;
use super::features::Feature;
use super::grpc::{self, GrpcClientConfig};
use super::host::host_header;
use super::names;
use super::options::Options;
use super::quic::{self, QuicClientConfig};
use super::role::Role;
use super::simple_obfs::{self, RequestConfig, fake_tls_rule, http_rule};
use super::tls::{Tls, TlsClientConfig, tls as tls_asked_for};
use super::values::{Handshake, flag, handshake, shown, value};
use super::web::{self, WebBody, WebConfig};
use crate::detect::{FakeTlsRule, GrpcRule, HttpRule, Rules};
use crate::net::addr::HostPort;
use std::fmt;

/// What is known of a disguise by its name.
pub(super) struct Row {
    /// Its names in `obfs`.
    pub(super) obfs: &'static [&'static str],
    /// Its names in `mode`.
    pub(super) mode: &'static [&'static str],
    /// The part of the program that it needs.
    pub(super) feature: Option<Feature>,
    /// Whether it carries UDP.
    pub(super) udp: bool,
    /// If it cannot be with `tls`: how it is asked for, and what would do.
    no_tls: Option<(&'static str, &'static str)>,
    /// Why a server that takes it alone has no routes by path, if it has none.
    no_paths: Option<&'static str>,
}

macro_rules! disguises {
    ($($(#[$about:meta])* $name:ident $row:tt)*) => {
        /// A disguise by its name in `obfs` or `mode`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Disguise {
            $($(#[$about])* $name,)*
        }

        impl Disguise {
            const ALL: &[Disguise] = &[$(Disguise::$name,)*];

            pub(super) const fn row(self) -> Row {
                match self {
                    $(Disguise::$name => Row $row,)*
                }
            }
        }
    };
}

disguises! {
    Http {
        obfs: &["http"], mode: &[], feature: None, udp: false, no_paths: None,
        no_tls: Some(("obfs=http", "use `mode=websocket;tls` for real TLS")),
    }
    FakeTls {
        obfs: &["tls"], mode: &[], feature: None, udp: false, no_paths: Some("`obfs=tls` has none"),
        no_tls: Some(("obfs=tls",
            "use `mode=websocket;tls` for real TLS, or `obfs=tls` alone for simple-obfs's look-alike")),
    }
    WebSocket {
        obfs: &["websocket", "ws"], mode: &["websocket", "ws"], feature: None, udp: true, no_tls: None, no_paths: None,
    }
    HttpUpgrade {
        // (a server takes WebSocket as well, which carries UDP)
        obfs: &["httpupgrade"], mode: &["httpupgrade", "http-upgrade"], feature: None, udp: true, no_tls: None, no_paths: None,
    }
    /// QUIC, alone on its port.
    Quic {
        obfs: &["quic"], mode: &["quic"], feature: Some(Feature::Quic), udp: true, no_tls: None,
        no_paths: Some("QUIC has none; a route may be for a name of the certificate (NAME:HOST:PORT)"),
    }
    Grpc {
        obfs: &["grpc"], mode: &["grpc"], feature: Some(Feature::Grpc), udp: true, no_tls: None,
        no_paths: Some(
            "gRPC has no paths of routes; with `tls`, a route may be for a name of the certificate (NAME:HOST:PORT)"),
    }
    /// Whichever it is: a server's alone.
    Auto { obfs: &[], mode: &["auto"], feature: None, udp: true, no_tls: None, no_paths: None }
}

impl Disguise {
    /// The one of this name in an option, which is one of these `names`.
    pub(super) fn named(name: &str, names: impl Fn(Row) -> &'static [&'static str]) -> Option<Disguise> {
        let is_its = |one: &&str| one.eq_ignore_ascii_case(name);
        Disguise::ALL.iter().copied().find(|disguise| names(disguise.row()).iter().any(is_its))
    }
}

/// The disguises that are named. Where none is, a server takes all there are, and a client wears
/// WebSocket if the options or the program's name are v2ray-plugin's, and http otherwise.
pub(super) fn disguises(
    options: &Options,
    role: Role,
    dialect: Dialect,
) -> Result<Vec<Disguise>, ConfigError> {
    let (obfs, mode) = (obfs(options)?, mode(options)?);
    if let (Some(named), Some(mode)) = (&obfs, mode)
        && !named.contains(&mode)
        && let (Some(one), Some(other)) = (options.get("obfs"), options.get("mode"))
    {
        return Err(ConfigError::conflict(one, other, "leave one of them out"));
    }
    let named = obfs.or(mode.map(|mode| vec![mode]));
    let disguises = match (named, role) {
        // To a client, "whichever it is" says nothing.
        (Some(named), Role::Client) if named == [Disguise::Auto] => None,
        (None, Role::Server) => Some(vec![Disguise::Auto]),
        (named, _) => named,
    };
    let disguises = disguises.unwrap_or_else(|| {
        let websocket = dialect == Dialect::V2rayPlugin || options.are_v2ray_plugins();
        vec![if websocket { Disguise::WebSocket } else { Disguise::Http }]
    });
    without_contradiction(options, disguises)
}

/// simple-obfs's disguises have no TLS around them, and no sessions in them.
fn without_contradiction(options: &Options, disguises: Vec<Disguise>) -> Result<Vec<Disguise>, ConfigError> {
    let (Some(tls), Some(_)) = (options.get("tls"), tls_asked_for(options)?) else { return Ok(disguises) };
    // (whoever takes WebSocket in TLS takes `obfs=http` there as well)
    let stands = |one: &&Disguise| **one != Disguise::Http || !disguises.contains(&Disguise::WebSocket);
    let refused = disguises.iter().filter(stands).filter_map(|one| Some((one, one.row().no_tls?))).max();
    let Some((_, (disguise, advice))) = refused else { return Ok(disguises) };
    Err(ConfigError::conflict(tls, disguise, advice))
}

fn obfs(options: &Options) -> Result<Option<Vec<Disguise>>, ConfigError> {
    let expected = "a disguise (http, tls or websocket; a server may take both of http,tls)";
    let Some((option, text)) = value(options, "obfs", expected)? else { return Ok(None) };
    text.split(',')
        .map(|name| Disguise::named(name.trim(), |row| row.obfs))
        .map(|named| named.ok_or_else(|| ConfigError::option(option, text, expected)))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn mode(options: &Options) -> Result<Option<Disguise>, ConfigError> {
    let expected = "a mode (websocket, httpupgrade, quic, grpc or, for a server, auto)";
    let Some((name, text)) = value(options, "mode", expected)? else { return Ok(None) };
    let instead = |advice: &str| Err(ConfigError::option(name, text, format!("a mode: use {advice}")));
    let named = Disguise::named(text, |row| row.mode);
    match text.to_ascii_lowercase().as_str() {
        _ if named.is_some() => Ok(named),
        // As clash has it for simple-obfs.
        "http" => instead("`obfs=http`"),
        "tls" => instead("`obfs=tls` for simple-obfs's look-alike, `mode=websocket;tls` for real TLS"),
        "wss" => instead("`mode=websocket;tls`"),
        _ => Err(ConfigError::option(name, text, expected)),
    }
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
    /// v2ray-plugin's QUIC.
    Quic(QuicClientConfig),
    /// v2ray's gRPC, in TLS or not.
    Grpc(GrpcClientConfig),
}

impl ClientDisguise {
    /// Whether it carries UDP.
    pub(super) fn carries_udp(&self) -> bool {
        match self {
            ClientDisguise::Web(web) => matches!(web.body, WebBody::Frames),
            ClientDisguise::Quic(_) | ClientDisguise::Grpc(_) => true,
            ClientDisguise::Http(..) | ClientDisguise::FakeTls { .. } => false,
        }
    }

    /// The TLS around it, or inside QUIC.
    pub fn tls(&self) -> Option<&TlsClientConfig> {
        match self {
            ClientDisguise::Http(..) | ClientDisguise::FakeTls { .. } => None,
            ClientDisguise::Web(web) => web.tls.as_ref(),
            ClientDisguise::Quic(quic) => Some(&quic.tls),
            ClientDisguise::Grpc(grpc) => grpc.tls.as_ref(),
        }
    }

    /// Why no answer is no failure, where a server has none before Shadowsocks speaks.
    pub fn late_answer(&self) -> Option<&'static str> {
        match self {
            ClientDisguise::Http(..) => Some(
                "the server has not answered yet, and need not: simple-obfs's server says `101` with the first bytes of \
                 Shadowsocks, and more cannot be known without a password",
            ),
            ClientDisguise::FakeTls { .. } => Some(
                "the server has not refused the hello; with `obfs=tls` it answers with the first bytes of Shadowsocks, and \
                 more cannot be known without a password",
            ),
            ClientDisguise::Grpc(_) => Some(
                "the server has not refused the stream; v2ray's server answers with the first bytes of Shadowsocks, and more \
                 cannot be known without a password",
            ),
            ClientDisguise::Web(_) | ClientDisguise::Quic(_) => None,
        }
    }

    /// The path and the name that only clients are to know.
    pub(super) fn secrets(&self) -> String {
        match self {
            ClientDisguise::Http(RequestConfig { path, host, .. }, _) => format!("path {path}, host {host}"),
            ClientDisguise::FakeTls { server_name } => format!("server name {server_name}"),
            ClientDisguise::Web(web) => format!("path {}, host {}", web.path, web.host),
            ClientDisguise::Quic(quic) => format!("server name {}", quic.tls.server_name),
            ClientDisguise::Grpc(grpc) => {
                let host = grpc.authority.as_deref().unwrap_or("the server's");
                format!("path {}, host {host}", grpc.path)
            }
        }
    }
}

impl fmt::Display for ClientDisguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientDisguise::Http(RequestConfig { method, path, .. }, handshake) => {
                let handshake = match handshake {
                    Handshake::Eager => "eager",
                    Handshake::Standard => "standard",
                };
                write!(f, "http ({method}, path {}, {handshake})", shown(path))
            }
            ClientDisguise::FakeTls { .. } => f.write_str("tls"),
            ClientDisguise::Quic(_) => f.write_str("quic"),
            ClientDisguise::Grpc(grpc) => {
                write!(f, "grpc (path {}", shown(&grpc.path))?;
                if grpc.mux > 0 {
                    write!(f, ", mux {}", grpc.mux)?;
                }
                f.write_str(if grpc.tls.is_some() { ", in TLS)" } else { ")" })
            }
            ClientDisguise::Web(web) => {
                let body = match web.body {
                    WebBody::Frames => "websocket",
                    WebBody::Raw(_) => "httpupgrade",
                };
                write!(f, "{body} (path {}, mux {}", shown(&web.path), web.mux)?;
                f.write_str(if web.tls.is_some() { ", in TLS)" } else { ")" })
            }
        }
    }
}

/// Reads the settings of a client with this disguise.
pub(super) fn client(
    options: &Options,
    disguise: Disguise,
    tls: bool,
    server: Option<&HostPort>,
) -> Result<ClientDisguise, ConfigError> {
    let handshake = handshake(options)?;
    let name = host_header(options)?;
    let hello_name = names::client_name(options)?;
    if !tls
        && !matches!(disguise, Disguise::FakeTls | Disguise::Quic)
        && let Some(sni) = names::first(options, false)
    {
        return Err(ConfigError::needs_tls(sni));
    }
    if disguise != Disguise::Quic
        && let Some(option) = options.get("quic")
        && flag(options, "quic")?
    {
        options.warn(format!("option `{}`: a client asks for QUIC with `mode=quic`", option.key));
    }
    if disguise != Disguise::Grpc {
        grpc::warn_of_no_grpc(options);
    }
    Ok(match disguise {
        Disguise::WebSocket => ClientDisguise::Web(web::client(options, true, handshake, server)?),
        Disguise::HttpUpgrade => {
            web::warn_of_no_pings(options, "mode=httpupgrade")?;
            ClientDisguise::Web(web::client(options, false, handshake, server)?)
        }
        Disguise::Quic => {
            web::warn_of_no_pings(options, "mode=quic")?;
            ClientDisguise::Quic(quic::client(options, server)?)
        }
        Disguise::Grpc => {
            web::warn_of_no_pings(options, "mode=grpc")?;
            ClientDisguise::Grpc(grpc::client(options, server)?)
        }
        Disguise::FakeTls => {
            let server_name = simple_obfs::tls_client(options, name, hello_name, server)?;
            ClientDisguise::FakeTls { server_name }
        }
        Disguise::Http | Disguise::Auto => {
            ClientDisguise::Http(simple_obfs::http_client(options, name, server)?, handshake)
        }
    })
}

/// Reads which connections a server takes that takes these disguises.
pub(super) fn rules(
    options: &Options,
    disguises: &[Disguise],
    tls: Option<Tls>,
    names: bool,
    routes: &BackendRoutes,
) -> Result<Rules, ConfigError> {
    let auto = disguises.contains(&Disguise::Auto);
    let services = grpc::server(options, disguises.contains(&Disguise::Grpc), auto)?;
    let takes = |disguise| auto || disguises.contains(&disguise);
    let web = takes(Disguise::WebSocket) || takes(Disguise::HttpUpgrade);
    let http = http_rule(options, takes(Disguise::Http), web, without_paths(disguises), routes)?;
    if http.is_none() && services.is_some() {
        grpc::warn_of_no_requests(options);
    }
    Ok(Rules {
        http,
        grpc: services.map(|services| GrpcRule { services }),
        fake_tls: fake_tls_rule(options, takes(Disguise::FakeTls), tls)?,
        tls: tls.is_some() || names,
        // Where TLS is written beside a disguise, nothing comes in the clear.
        tls_alone: tls == Some(Tls::Only) || (tls.is_some() && !auto),
    })
}

/// What the start-up line says of a server's disguises, with a certificate of its own or without.
pub(super) fn fmt_rules(rules: &Rules, tls: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Rules { http, fake_tls, grpc, tls: _, tls_alone } = rules;
    let path = |path: &Option<String>| path.as_deref().map_or("any", shown).to_owned();
    if let Some(HttpRule { method, path: http_path, host, web_path, .. }) = http {
        let tls = match (tls, tls_alone) {
            (false, _) => "",
            (true, true) => " in TLS alone",
            (true, false) => " in TLS or not",
        };
        let host = if host.is_some() { "its own" } else { "any" };
        let (name, path) = match web_path {
            None => ("http", path(http_path)),
            Some(one) if http_path.as_ref() == Some(one) => ("websocket", path(http_path)),
            Some(one) => ("http and websocket", format!("{}, of websocket {}", path(http_path), shown(one))),
        };
        write!(f, "{name}{tls} ({method}, path {path}, host {host}), ")?;
    }
    if let Some(GrpcRule { services }) = grpc {
        let tls = match (tls, tls_alone) {
            (true, true) => " in TLS alone",
            _ => "",
        };
        match services.len() {
            1 => write!(f, "grpc{tls} (service its own), ")?,
            number => write!(f, "grpc{tls} ({number} services of its own), ")?,
        }
    }
    if let Some(FakeTlsRule { server_names }) = fake_tls {
        match server_names.len() {
            0 => f.write_str("tls (server name any), ")?,
            1 => f.write_str("tls (server name its own), ")?,
            number => write!(f, "tls ({number} server names of its own), ")?,
        }
    }
    Ok(())
}

/// The paths and names in them that only clients are to know.
pub(super) fn rule_secrets(rules: &Rules) -> String {
    let Rules { http, fake_tls, grpc, tls: _, tls_alone: _ } = rules;
    let mut all = Vec::new();
    if let Some(HttpRule { path, host, web_path, .. }) = http {
        all.extend(path.as_ref().map(|path| format!("path {path}")));
        all.extend(web_path.as_ref().map(|path| format!("path of websocket {path}")));
        all.extend(host.as_ref().map(|host| format!("host {host}")));
    }
    if let Some(FakeTlsRule { server_names }) = fake_tls {
        all.extend(server_names.iter().map(|name| format!("server name {name}")));
    }
    if let Some(GrpcRule { services }) = grpc {
        all.extend(services.iter().map(|service| format!("path of grpc {}", service.tun)));
    }
    all.join(", ")
}

/// Why a server with these disguises has no routes by path, if it has none.
fn without_paths(disguises: &[Disguise]) -> Option<&'static str> {
    let last = *disguises.iter().max()?;
    if disguises.iter().any(|one| one.row().no_paths.is_none()) { None } else { last.row().no_paths }
}
