//! WebSocket and HTTPUpgrade: v2ray-plugin's options, checked.

use super::error::{ConfigError, one_line};
use super::host::{host, http_host, name_of};
use super::options::Options;
use super::tls::{TlsClientConfig, tls, tls_client};
use super::values::{Handshake, parse, parsed, path, value_if_any};
use crate::net::addr::HostPort;
use crate::wire::http::host::escape_as_go;
use crate::wire::http::host::without_port;
use crate::wire::http::syntax::{is_header_name, is_header_value};
use std::time::Duration;

/// v2ray-plugin's default for `host`.
const DEFAULT_HOST: &str = "cloudfront.com";

/// What v2ray-plugin's client calls itself: the name of Go's HTTP client.
const DEFAULT_USER_AGENT: &str = "Go-http-client/1.1";

/// The most sessions that share one connection at a time. v2ray opens no more than 128 in a
/// connection's life.
const MOST_SESSIONS: usize = 128;

/// The most early data, in bytes of payload: what a request line of 8 KiB (nginx's limit for one
/// header) can carry as base64, and a bit less.
const MOST_EARLY_DATA: usize = 4096;

/// Proxies cut what was silent for a minute (nginx), most home routers remember longer.
const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(45));

/// What comes behind the answer to the upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebBody {
    /// WebSocket frames (RFC 6455).
    Frames,
    /// The raw stream (HTTPUpgrade), and when it begins.
    Raw(Handshake),
}

/// A client's connections that begin with the upgrade request of a Go program.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// What comes behind the answer.
    pub body: WebBody,
    /// The path with its leading slash, and the query without `ed`.
    pub path: String,
    /// The value of `Host`.
    pub host: String,
    /// The value of `User-Agent`.
    pub user_agent: String,
    /// Further headers, each a name and a value that are safe to write.
    pub headers: Vec<(String, String)>,
    /// The most payload bytes that travel in the request's `Sec-WebSocket-Protocol`; 0 for none.
    pub early_data: usize,
    /// The most sessions that share a connection at a time; 0 for no Mux.Cool.
    pub mux: usize,
    /// A connection on which nothing passes is sent a ping before that.
    pub keep_alive: Option<Duration>,
    /// The TLS around it.
    pub tls: Option<TlsClientConfig>,
}

/// A client's settings for WebSocket (`frames`) or HTTPUpgrade.
pub(super) fn client(
    options: &Options,
    frames: bool,
    handshake: Handshake,
    server: Option<&HostPort>,
) -> Result<WebConfig, ConfigError> {
    let mode = if frames { "websocket" } else { "httpupgrade" };
    let body = if frames { WebBody::Frames } else { WebBody::Raw(raw_handshake(options, handshake)) };
    if frames
        && handshake == Handshake::Eager
        && let Some(option) = options.get("handshake")
    {
        return Err(ConfigError::conflict(
            option,
            format_args!("mode={mode}"),
            "its frames follow the answer: leave `handshake` out",
        ));
    }
    let mux = mux(options, 1)?;
    if let (false, Some(1..), Some(option)) = (frames, mux, options.get("mux")) {
        let advice = "only mode=websocket has sessions that share a connection";
        return Err(ConfigError::conflict(option, format_args!("mode={mode}"), advice));
    }
    let path = path(options, &["path", "obfs-uri"])?.unwrap_or_else(|| "/".to_owned());
    let (path, early_data) = match crate::wire::websocket::split_early_data(&path) {
        (path, Some(limit)) => (path.into_owned(), limit.min(MOST_EARLY_DATA)),
        (path, None) => (path.into_owned(), 0),
    };
    let (host, hello) = host_and_name(options, server)?;
    let tls = tls(options)?.map(|_| tls_client(options, hello)).transpose()?;
    Ok(WebConfig {
        body,
        path: if path.is_empty() { "/".to_owned() } else { escape_as_go(&path) },
        host,
        user_agent: user_agent(options)?.unwrap_or_else(|| DEFAULT_USER_AGENT.to_owned()),
        headers: headers(options)?,
        early_data,
        mux: if frames { mux.unwrap_or(1) } else { 0 },
        keep_alive: keep_alive(options)?.unwrap_or(KEEP_ALIVE).filter(|_| frames),
        tls,
    })
}

/// What a client says in `Host`, and as the name in its hello.
pub(super) fn host_and_name(
    options: &Options,
    server: Option<&HostPort>,
) -> Result<(String, String), ConfigError> {
    // As v2ray-plugin has it: a name that is empty is not its default.
    let own_name = || {
        options.warn("option `host` has no value: the server's own name is sent".to_owned());
        (http_host(None, server), server.map(name_of).unwrap_or_default())
    };
    match options.get("host") {
        Some(option) if option.value.as_deref().is_none_or(str::is_empty) => Ok(own_name()),
        _ => {
            let host = host(options)?.unwrap_or_else(|| DEFAULT_HOST.to_owned());
            let name = without_port(&host).trim_matches(['[', ']']).to_owned();
            Ok((host, name))
        }
    }
}

/// HTTPUpgrade waits for its answer unless it is told otherwise: a request with a body that no
/// header announces is what Caddy stalls on.
fn raw_handshake(options: &Options, handshake: Handshake) -> Handshake {
    if options.get("handshake").is_some() { handshake } else { Handshake::Standard }
}

/// How many sessions share a connection, if that is said; `default` is what holds if not.
pub(super) fn mux(options: &Options, default: usize) -> Result<Option<usize>, ConfigError> {
    let expected = "a number of sessions from 0 (no mux) to 1024";
    let Some((name, text)) = value_if_any(options, "mux") else { return Ok(None) };
    match text.parse::<i128>() {
        Ok(sessions @ 0..=1024) => Ok(Some(usize::try_from(sessions).unwrap_or(1).min(MOST_SESSIONS))),
        Ok(_) => Err(ConfigError::option(name, text, expected)),
        // Programs that convert subscriptions write true and false; so do people.
        Err(_) => {
            let text = one_line(text);
            options.warn(format!(
                "option `{name}`: `{text}` is not {expected}: as in v2ray-plugin it is taken for the default, {default}"
            ));
            Ok(None)
        }
    }
}

/// After how long a silence a ping is sent, if that is said; `Some(None)` for never.
pub(super) fn keep_alive(options: &Options) -> Result<Option<Option<Duration>>, ConfigError> {
    const MOST: u64 = 24 * 3600;
    parsed(options, "keepalive", "a number of seconds from 0 (off) to 86400", |text| {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= MOST)?;
        Some(Some(Duration::from_secs(seconds)).filter(|every| !every.is_zero()))
    })
}

/// Warns where pings are asked of a disguise that has none.
pub(super) fn warn_of_no_pings(options: &Options, disguise: &str) -> Result<(), ConfigError> {
    if let Some(Some(_)) = keep_alive(options)?
        && let Some(option) = options.get("keepalive")
    {
        options.warn(format!(
            "option `{}` has no effect with {disguise}: only mode=websocket has pings",
            option.key
        ));
    }
    Ok(())
}

pub(super) fn user_agent(options: &Options) -> Result<Option<String>, ConfigError> {
    parse(value_if_any(options, "user-agent"), "a header's value (printable ASCII)", |text| {
        is_header_value(text).then(|| text.to_owned())
    })
}

/// Headers of the handshake, each with what says it instead.
const RESERVED: &[(&str, &str)] = &[
    ("host", "the option `host`"),
    ("user-agent", "the option `user-agent`"),
    ("connection", "the handshake itself"),
    ("upgrade", "the handshake itself"),
    ("content-length", "the handshake itself"),
    ("transfer-encoding", "the handshake itself"),
    ("x-sock-type", "the option `udp`"),
];

pub(super) fn headers(options: &Options) -> Result<Vec<(String, String)>, ConfigError> {
    /// More would not fit into a head that web servers take.
    const MOST: usize = 32;
    let expected = "a header (Name: value, in printable ASCII)";
    let mut headers = Vec::new();
    for option in options.all("header") {
        let text = option.value.as_deref().unwrap_or_default();
        let fail = |expected: &str| ConfigError::option(&option.key, text, expected);
        let (name, value) = text.split_once(':').ok_or_else(|| fail(expected))?;
        let value = value.trim();
        if !is_header_name(name) || !is_header_value(value) {
            return Err(fail(expected));
        }
        let lower = name.to_ascii_lowercase();
        if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == lower) {
            return Err(fail(&format!("a header of your own: {instead} sets it")));
        }
        if lower.starts_with("sec-websocket-") {
            return Err(fail("a header of your own: the handshake itself sets it"));
        }
        if headers.len() == MOST {
            return Err(fail("among the first 32 headers: no more are taken"));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}
