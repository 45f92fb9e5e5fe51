//! TLS: the option `tls`, and the certificates of either half.

use super::error::ConfigError;
use super::host::host;
use super::names;
use super::options::Options;
use super::values::{parse, truth, value_if_any};
use crate::wire::http::host::without_port;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsServerConfig {
    /// Certificate chain and key, both files in PEM. The first pair of which both exist is taken.
    pub candidates: Vec<(PathBuf, PathBuf)>,
    /// A name that is ours whether the certificate has it or not.
    pub name: Option<String>,
}

/// What `tls` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// TLS.
    On,
    /// TLS, and nothing without it, also on a server that takes every kind of client.
    Only,
}

/// What `tls` asks for; `None` where it is not asked for.
pub(super) fn tls(options: &Options) -> Result<Option<Tls>, ConfigError> {
    let Some(option) = options.get("tls") else { return Ok(None) };
    let value = option.value.as_deref().unwrap_or_default();
    if value.eq_ignore_ascii_case("only") {
        return Ok(Some(Tls::Only));
    }
    match truth(Some(value)) {
        Some(set) => Ok(set.then_some(Tls::On)),
        None => Err(ConfigError::option(&option.key, value, "true, false or only")),
    }
}

/// What a client half checks a certificate by; `host` is the name where `sni` says none.
pub(super) fn tls_client(options: &Options, host: String) -> Result<TlsClientConfig, ConfigError> {
    let name = names::client_name(options)?;
    let server_name = name.unwrap_or(host);
    if !is_certificate_name(&server_name) {
        let sni = names::first(options, false);
        let option = sni.or_else(|| options.get("host")).map_or("host", |option| &option.key);
        return Err(ConfigError::option(option, &server_name, "a name that a certificate can have"));
    }
    let extra_root = match (file(options, "cert"), cert_raw(options)?) {
        // v2ray-plugin prefers the file, too.
        (Some(path), _) => Some(ExtraRoot::File(path)),
        (None, Some(der)) => Some(ExtraRoot::Raw(der)),
        (None, None) => None,
    };
    Ok(TlsClientConfig { server_name, extra_root })
}

/// Whether a certificate can be for this name.
#[cfg(feature = "tls")]
fn is_certificate_name(name: &str) -> bool {
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

#[cfg(not(feature = "tls"))]
fn is_certificate_name(_: &str) -> bool {
    true
}

fn file(options: &Options, name: &str) -> Option<PathBuf> {
    // The working directory changes when the process goes into the background.
    let absolute = |path: &str| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    value_if_any(options, name).map(|(_, path)| absolute(path))
}

/// The certificate of `certRaw`: the body of a PEM file, without its first and last line and without
/// line breaks. With them is well, too.
fn cert_raw(options: &Options) -> Result<Option<Vec<u8>>, ConfigError> {
    let expected = "a certificate (the base64 text of a PEM file)";
    parse(value_if_any(options, "certRaw"), expected, |text| {
        let text = text.replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", "");
        STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()
    })
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
        // Where TLS is not asked for by name, QUIC has it in itself.
        let asked = if options.get("tls").is_some() { "tls" } else { "mode=quic" };
        return Err(ConfigError::Needs {
            asked: format!("`{asked}` on a server"),
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
