//! The disguises: their names in the options `obfs` and `mode`, what a client of each needs to know, and which
//! connections a server takes for one.

use super::backends::BackendRoutes;
use super::dialect::Dialect;
use super::error::ConfigError;
use super::grpc::{self, GrpcClientConfig};
use super::host::{host_header, http_host, name_of};
use super::names;
use super::no_effect;
use super::options::Options;
use super::quic::{self, QuicClientConfig};
use super::role::Role;
use super::tls::{Tls, tls as tls_asked_for};
use super::values::{Handshake, fake_tls_names, flag, handshake, method, path, shown, value};
use super::web::{self, WebBody, WebConfig};
use crate::detect::{FakeTlsRule, GrpcRule, HttpRule, Rules};
use crate::net::addr::HostPort;
use crate::wire::http::host::{escape_unprintable, without_port, without_query};
use std::fmt;

/// A disguise by its name in `obfs` or `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disguise {
    Http,
    FakeTls,
    WebSocket,
    HttpUpgrade,
    /// QUIC, alone on its port.
    Quic,
    Grpc,
    /// Whichever it is: a server's alone.
    Auto,
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
    let Some(tls) = options.get("tls") else { return Ok(disguises) };
    if tls_asked_for(options)?.is_none() {
        return Ok(disguises);
    }
    if disguises.contains(&Disguise::FakeTls) {
        let advice =
            "use `mode=websocket;tls` for real TLS, or `obfs=tls` alone for simple-obfs's look-alike";
        return Err(ConfigError::conflict(tls, "obfs=tls", advice));
    }
    if disguises.contains(&Disguise::Http) && !disguises.contains(&Disguise::WebSocket) {
        return Err(ConfigError::conflict(tls, "obfs=http", "use `mode=websocket;tls` for real TLS"));
    }
    Ok(disguises)
}

fn obfs(options: &Options) -> Result<Option<Vec<Disguise>>, ConfigError> {
    let expected = "a disguise (http, tls or websocket; a server may take both of http,tls)";
    let Some((name, text)) = value(options, "obfs", expected)? else { return Ok(None) };
    text.split(',')
        .map(|disguise| match disguise.trim().to_ascii_lowercase().as_str() {
            "http" => Ok(Disguise::Http),
            "tls" => Ok(Disguise::FakeTls),
            "websocket" | "ws" => Ok(Disguise::WebSocket),
            "httpupgrade" => Ok(Disguise::HttpUpgrade),
            "quic" => Ok(Disguise::Quic),
            "grpc" => Ok(Disguise::Grpc),
            _ => Err(ConfigError::option(name, text, expected)),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn mode(options: &Options) -> Result<Option<Disguise>, ConfigError> {
    let expected = "a mode (websocket, httpupgrade, quic, grpc or, for a server, auto)";
    let Some((name, text)) = value(options, "mode", expected)? else { return Ok(None) };
    let instead = |advice: &str| Err(ConfigError::option(name, text, format!("a mode: use {advice}")));
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Some(Disguise::Auto)),
        "websocket" | "ws" => Ok(Some(Disguise::WebSocket)),
        "httpupgrade" | "http-upgrade" => Ok(Some(Disguise::HttpUpgrade)),
        "quic" => Ok(Some(Disguise::Quic)),
        "grpc" => Ok(Some(Disguise::Grpc)),
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

impl ClientDisguise {
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
                if web.tls.is_some() {
                    f.write_str(", in TLS")?;
                }
                f.write_str(")")
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
    match disguise {
        Disguise::WebSocket => {}
        Disguise::HttpUpgrade => web::warn_of_no_pings(options, "mode=httpupgrade")?,
        Disguise::FakeTls => no_effect::obfs_tls(options)?,
        Disguise::Quic => web::warn_of_no_pings(options, "mode=quic")?,
        Disguise::Grpc => web::warn_of_no_pings(options, "mode=grpc")?,
        Disguise::Http | Disguise::Auto => no_effect::obfs_http(options)?,
    }
    Ok(match disguise {
        Disguise::WebSocket => ClientDisguise::Web(web::client(options, true, handshake, server)?),
        Disguise::HttpUpgrade => ClientDisguise::Web(web::client(options, false, handshake, server)?),
        Disguise::Quic => ClientDisguise::Quic(quic::client(options, server)?),
        Disguise::Grpc => ClientDisguise::Grpc(grpc::client(options, server)?),
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
    let http = http_rule(options, disguises, routes)?;
    if http.is_none() && services.is_some() {
        grpc::warn_of_no_requests(options);
    }
    Ok(Rules {
        http,
        grpc: services.map(|services| GrpcRule { services }),
        fake_tls: fake_tls_rule(options, auto || disguises.contains(&Disguise::FakeTls), tls)?,
        tls: tls.is_some() || names,
        // Where TLS is written beside a disguise, nothing comes in the clear.
        tls_alone: tls == Some(Tls::Only) || (tls.is_some() && !auto),
    })
}

/// What the start-up line says of a server's disguises, with a certificate of its own or without.
pub(super) fn fmt_rules(rules: &Rules, tls: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let path = |path: &Option<String>| path.as_deref().map_or("any", shown).to_owned();
    if let Some(HttpRule { method, path: http_path, host, web_path, .. }) = &rules.http {
        let tls = match (tls, rules.tls_alone) {
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
    if let Some(GrpcRule { services }) = &rules.grpc {
        let tls = match (tls, rules.tls_alone) {
            (true, true) => " in TLS alone",
            _ => "",
        };
        match services.len() {
            1 => write!(f, "grpc{tls} (service its own), ")?,
            number => write!(f, "grpc{tls} ({number} services of its own), ")?,
        }
    }
    if let Some(FakeTlsRule { server_names }) = &rules.fake_tls {
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
    let mut all = Vec::new();
    if let Some(HttpRule { path, host, web_path, .. }) = &rules.http {
        all.extend(path.as_ref().map(|path| format!("path {path}")));
        all.extend(web_path.as_ref().map(|path| format!("path of websocket {path}")));
        all.extend(host.as_ref().map(|host| format!("host {host}")));
    }
    if let Some(FakeTlsRule { server_names }) = &rules.fake_tls {
        all.extend(server_names.iter().map(|name| format!("server name {name}")));
    }
    if let Some(GrpcRule { services }) = &rules.grpc {
        all.extend(services.iter().map(|service| format!("path of grpc {}", service.tun)));
    }
    all.join(", ")
}

/// The name of `obfs-host`, as a server compares it.
fn host(options: &Options) -> Result<Option<String>, ConfigError> {
    Ok(host_header(options)?.map(|host| without_port(&host).to_ascii_lowercase()))
}

/// Which upgrade requests are taken.
fn http_rule(
    options: &Options,
    disguises: &[Disguise],
    routes: &BackendRoutes,
) -> Result<Option<HttpRule>, ConfigError> {
    let takes = |disguise| disguises.contains(&disguise);
    let auto = takes(Disguise::Auto);
    let web = auto || takes(Disguise::WebSocket) || takes(Disguise::HttpUpgrade);
    let http = auto || takes(Disguise::Http);
    let without_query = |path: String| without_query(&path).to_owned();
    // v2ray-plugin's server takes one path, `/` by default; simple-obfs's, any.
    let web_path = path(options, &["path", "obfs-uri"])?.map(without_query).filter(|_| web);
    let path = path(options, &["obfs-uri", "path"])?.map(without_query).filter(|_| http);
    let given = [(&web_path, ["path", "obfs-uri"]), (&path, ["obfs-uri", "path"])];
    routes.check_beside(options, if web || http { None } else { Some(without_paths(disguises)) }, given)?;
    let web_path = web.then(|| web_path.unwrap_or_else(|| "/".to_owned()));
    let rule = HttpRule {
        method: method(options)?,
        path: if http { path } else { web_path.clone() },
        routes: routes.path_table(),
        host: host(options)?,
        web_path,
    };
    Ok((web || http).then_some(rule))
}

/// Why a server with these disguises has no routes by path.
fn without_paths(disguises: &[Disguise]) -> &'static str {
    let takes = |disguise| disguises.contains(&disguise);
    if takes(Disguise::Grpc) {
        "gRPC has no paths of routes; with `tls`, a route may be for a name of the certificate (NAME:HOST:PORT)"
    } else if takes(Disguise::Quic) {
        "QUIC has none; a route may be for a name of the certificate (NAME:HOST:PORT)"
    } else {
        "`obfs=tls` has none"
    }
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
