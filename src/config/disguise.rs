//! What the connections look like: the options `obfs` and `mode`.

use super::dialect::Dialect;
use super::error::ConfigError;
use super::options::Options;
use super::role::Role;
use super::tls::tls as tls_asked_for;
use super::values::value;

/// A disguise by its name in `obfs` or `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disguise {
    Http,
    FakeTls,
    WebSocket,
    HttpUpgrade,
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
            "quic" | "grpc" => Err(unsupported(name, text)),
            _ => Err(ConfigError::option(name, text, expected)),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn mode(options: &Options) -> Result<Option<Disguise>, ConfigError> {
    let expected = "a mode (websocket, httpupgrade or, for a server, auto)";
    let Some((name, text)) = value(options, "mode", expected)? else { return Ok(None) };
    let instead = |advice: &str| Err(ConfigError::option(name, text, format!("a mode: use {advice}")));
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Some(Disguise::Auto)),
        "websocket" | "ws" => Ok(Some(Disguise::WebSocket)),
        "httpupgrade" | "http-upgrade" => Ok(Some(Disguise::HttpUpgrade)),
        "quic" | "grpc" => Err(unsupported(name, text)),
        // As clash has it for simple-obfs.
        "http" => instead("`obfs=http`"),
        "tls" => instead("`obfs=tls` for simple-obfs's look-alike, `mode=websocket;tls` for real TLS"),
        "wss" => instead("`mode=websocket;tls`"),
        _ => Err(ConfigError::option(name, text, expected)),
    }
}

fn unsupported(name: &str, text: &str) -> ConfigError {
    ConfigError::Unsupported(format!("{name}={text}"))
}
