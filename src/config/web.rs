//! WebSocket and HTTPUpgrade: v2ray-plugin's options, checked.

use super::options::Options;
use super::read::{http_host, name_of};
use super::values::{path, tls, value_if_any};
use super::{ConfigError, Handshake, PluginOption};
use crate::net::addr::HostPort;
use crate::wire::http::host::escape_as_go;
use crate::wire::http::host::without_port;
use crate::wire::http::syntax::{is_header_name, is_header_value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

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
    /// The TLS around it.
    pub tls: Option<TlsClientConfig>,
}

/// TLS on the client half.
#[derive(Debug, Clone)]
pub struct TlsClientConfig {
    /// The name in the hello, which the certificate must have.
    pub server_name: String,
    /// A root that is trusted beside the system's.
    pub extra_root: Option<ExtraRoot>,
}

/// Where an extra root comes from.
#[derive(Debug, Clone)]
pub enum ExtraRoot {
    /// A file with certificates in PEM.
    File(PathBuf),
    /// One certificate in DER.
    Raw(Vec<u8>),
}

/// TLS on the server half.
#[derive(Debug, Clone)]
pub struct TlsServerConfig {
    /// Certificate chain and key, both files in PEM. The first pair of which both exist is taken.
    pub candidates: Vec<(PathBuf, PathBuf)>,
    /// A name that is ours whether the certificate has it or not.
    pub name: Option<String>,
}

fn option_error(name: &str, value: &str, expected: &str) -> ConfigError {
    ConfigError::option(name, value, expected)
}

/// Two options that exclude one another. The message names both, and what would do.
pub(super) fn contradiction(option: &PluginOption, other: &str, advice: &str) -> ConfigError {
    let one = match option.value.as_deref() {
        None | Some("") => option.key.clone(),
        Some(value) => super::error::one_line(format!("{}={value}", option.key)),
    };
    ConfigError::Conflict { one, other: other.to_owned(), advice: advice.to_owned() }
}

/// An option that says nothing without TLS. The message names both.
pub(super) fn needs_tls(option: &PluginOption) -> ConfigError {
    let expected = "possible without `tls`: add it, or leave this out";
    ConfigError::option(&option.key, option.value.clone().unwrap_or_default(), expected)
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
        return Err(contradiction(option, &format!("mode={mode}"), "frames come behind the answer"));
    }
    let mux = mux(options)?;
    if let (false, Some(1..), Some(option)) = (frames, mux, options.get("mux")) {
        let advice = "only mode=websocket has sessions that share a connection";
        return Err(contradiction(option, &format!("mode={mode}"), advice));
    }
    let path = path(options, &["path", "obfs-uri"])?.unwrap_or_else(|| "/".to_owned());
    let (path, early_data) = match crate::wire::websocket::split_early_data(&path) {
        (path, Some(limit)) => (path.into_owned(), limit.min(MOST_EARLY_DATA)),
        (path, None) => (path.into_owned(), 0),
    };
    // As v2ray-plugin has it: a name that is empty is not its default.
    let own_name = || {
        options.warn("option `host` has no value: the server's own name is sent".to_owned());
        (http_host(None, server), server.map(name_of).unwrap_or_default())
    };
    let (host, hello) = match options.get("host") {
        Some(option) if option.value.as_deref().is_none_or(str::is_empty) => own_name(),
        _ => {
            let host = host(options)?.unwrap_or_else(|| DEFAULT_HOST.to_owned());
            let hello = without_port(&host).trim_matches(['[', ']']).to_owned();
            (host, hello)
        }
    };
    let tls = tls(options)?.map(|_| tls_client(options, hello)).transpose()?;
    Ok(WebConfig {
        body,
        path: if path.is_empty() { "/".to_owned() } else { escape_as_go(&path) },
        host,
        user_agent: user_agent(options)?.unwrap_or_else(|| DEFAULT_USER_AGENT.to_owned()),
        headers: headers(options)?,
        early_data,
        mux: if frames { mux.unwrap_or(1) } else { 0 },
        tls,
    })
}

/// HTTPUpgrade waits for its answer unless it is told otherwise: a request with a body that no
/// header announces is what Caddy stalls on.
fn raw_handshake(options: &Options, handshake: Handshake) -> Handshake {
    if options.get("handshake").is_some() { handshake } else { Handshake::Standard }
}

/// How many sessions share a connection, if that is said.
pub(super) fn mux(options: &Options) -> Result<Option<usize>, ConfigError> {
    let expected = "a number of sessions from 0 (no mux) to 1024";
    let Some((name, text)) = value_if_any(options, "mux") else { return Ok(None) };
    match text.parse::<i128>() {
        Ok(sessions @ 0..=1024) => Ok(Some(usize::try_from(sessions).unwrap_or(1).min(MOST_SESSIONS))),
        Ok(_) => Err(option_error(name, text, expected)),
        // Programs that convert subscriptions write true and false; so do people.
        Err(_) => {
            let text = super::error::one_line(text);
            options.warn(format!(
                "option `{name}`: `{text}` is not {expected}: as in v2ray-plugin it is taken for the default, 1"
            ));
            Ok(None)
        }
    }
}

/// The name of `host`, or of `obfs-host` where that is missing.
fn host(options: &Options) -> Result<Option<String>, ConfigError> {
    match super::values::name(options, "host")? {
        Some(host) => Ok(Some(host)),
        None => super::values::name(options, "obfs-host"),
    }
}

fn user_agent(options: &Options) -> Result<Option<String>, ConfigError> {
    let expected = "a header's value (printable ASCII)";
    let Some((name, text)) = value_if_any(options, "user-agent") else { return Ok(None) };
    if is_header_value(text) { Ok(Some(text.to_owned())) } else { Err(option_error(name, text, expected)) }
}

/// Headers of the handshake, each with what says it instead.
const RESERVED: &[(&str, &str)] = &[
    ("host", "the option `host`"),
    ("user-agent", "the option `user-agent`"),
    ("connection", "the handshake itself"),
    ("upgrade", "the handshake itself"),
    ("content-length", "the handshake itself"),
    ("transfer-encoding", "the handshake itself"),
];

pub(super) fn headers(options: &Options) -> Result<Vec<(String, String)>, ConfigError> {
    /// More would not fit into a head that web servers take.
    const MOST: usize = 32;
    let expected = "a header (Name: value, in printable ASCII)";
    let mut headers = Vec::new();
    for option in options.all("header") {
        let text = option.value.as_deref().unwrap_or_default();
        let fail = |expected: &str| option_error(&option.key, text, expected);
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
            return Err(fail("one of 32 headers at the most"));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

fn tls_client(options: &Options, host: String) -> Result<TlsClientConfig, ConfigError> {
    let name = super::names::client_name(options)?;
    let server_name = name.unwrap_or(host);
    if rustls::pki_types::ServerName::try_from(server_name.as_str()).is_err() {
        let sni = super::names::first(options, false);
        let option = sni.or_else(|| options.get("host")).map_or("host", |option| &option.key);
        return Err(option_error(option, &server_name, "a name that a certificate can have"));
    }
    let extra_root = match (file(options, "cert"), cert_raw(options)?) {
        // v2ray-plugin prefers the file, too.
        (Some(path), _) => Some(ExtraRoot::File(path)),
        (None, Some(der)) => Some(ExtraRoot::Raw(der)),
        (None, None) => None,
    };
    Ok(TlsClientConfig { server_name, extra_root })
}

fn file(options: &Options, name: &str) -> Option<PathBuf> {
    value_if_any(options, name).map(|(_, path)| PathBuf::from(path))
}

/// The certificate of `certRaw`: the body of a PEM file, without its first and last line and without
/// line breaks. With them is well, too.
fn cert_raw(options: &Options) -> Result<Option<Vec<u8>>, ConfigError> {
    let expected = "a certificate (the base64 text of a PEM file)";
    let Some((name, text)) = value_if_any(options, "certRaw") else { return Ok(None) };
    let body: String = text
        .replace("-----BEGIN CERTIFICATE-----", "")
        .replace("-----END CERTIFICATE-----", "")
        .split_ascii_whitespace()
        .collect();
    STANDARD.decode(body).map(Some).map_err(|_| option_error(name, text, expected))
}

/// A server's certificate and key: the named files, or those of acme.sh for `host`, RSA or ECC.
pub(super) fn tls_server(options: &Options, home: Option<&str>) -> Result<TlsServerConfig, ConfigError> {
    let (certificate, key) = (file(options, "cert"), file(options, "key"));
    let host = match options.get("host") {
        Some(option) if option.value.as_deref().is_none_or(str::is_empty) => {
            value_if_any(options, "host");
            None
        }
        _ => host(options)?,
    };
    let name = host.as_deref().map(|host| without_port(host).to_owned());
    if let (Some(certificate), Some(key)) = (&certificate, &key) {
        return Ok(TlsServerConfig { candidates: vec![(certificate.clone(), key.clone())], name });
    }
    let Some(host) = name.clone() else {
        let needs = match (certificate, key) {
            (Some(_), _) => "`key=FILE` beside `cert=FILE`",
            (None, Some(_)) => "`cert=FILE` beside `key=FILE`",
            (None, None) => "`cert=FILE` and `key=FILE`",
        };
        return Err(ConfigError::Needs {
            option: "`tls` on a server".into(),
            needs: format!("{needs} (or `host=NAME` for acme.sh's files of that name)"),
        });
    };
    let home = Path::new(home.unwrap_or("/")).join(".acme.sh");
    let candidates = [host.clone(), format!("{host}_ecc")]
        .into_iter()
        .map(|folder| {
            let folder = home.join(folder);
            let certificate = certificate.clone().unwrap_or_else(|| folder.join("fullchain.cer"));
            let key = key.clone().unwrap_or_else(|| folder.join(format!("{host}.key")));
            (certificate, key)
        })
        .collect();
    Ok(TlsServerConfig { candidates, name })
}
