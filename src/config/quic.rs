//! QUIC: alone on its port with `mode=quic`, as v2ray-plugin has it, or, on a server, beside every other kind of
//! client.

use super::error::ConfigError;
use super::options::Options;
use super::tls::{Tls, TlsClientConfig, tls_client};
use super::values::{flag, parsed};
use super::web::host_and_name;
use super::website::quic_website;
use crate::net::addr::HostPort;

/// How a sender finds out how much the way to its peer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC (RFC 9438): by what is lost.
    #[default]
    Cubic,
    /// BBR: by what arrives. Experimental.
    Bbr,
}

/// A client's tunnels in QUIC.
#[derive(Debug, Clone)]
pub struct QuicClientConfig {
    /// Whom it trusts.
    pub tls: TlsClientConfig,
    /// How fast it sends.
    pub congestion: Congestion,
}

/// QUIC on a server, which has the certificate of its TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicServerConfig {
    /// How fast it sends.
    pub congestion: Congestion,
    /// The website's HTTP/3, to which everything goes that is not for us. Without one, nobody answers.
    pub website: Option<HostPort>,
    /// Nothing is served over TCP: the port is free for others there.
    pub alone: bool,
}

/// What a client needs to know for `mode=quic`.
pub(super) fn client(options: &Options, server: Option<&HostPort>) -> Result<QuicClientConfig, ConfigError> {
    if let Some(option) = options.get("proxy") {
        let advice = "what leads through a proxy is TCP: choose another mode, or leave the proxy out";
        return Err(ConfigError::conflict(option, "mode=quic", advice));
    }
    warn_of_no_effect(
        options,
        &[
            "mux",
            "path",
            "obfs-uri",
            "header",
            "user-agent",
            "handshake",
            "http-method",
            "fast-open",
            "mptcp",
        ],
        "a tunnel is a stream of a QUIC connection, with nothing in front of its bytes",
    );
    let (_, name) = host_and_name(options, server)?;
    Ok(QuicClientConfig { tls: tls_client(options, name)?, congestion: congestion(options)? })
}

/// What a server needs to know that takes QUIC `alone`, or every kind of client (`auto`), or neither; with TLS or without.
/// `None` where it takes no QUIC.
pub(super) fn server(
    options: &Options,
    alone: bool,
    auto: bool,
    tls: Option<Tls>,
) -> Result<Option<QuicServerConfig>, ConfigError> {
    if alone {
        warn_of_no_effect(
            options,
            &[
                "failover",
                "failover-tls",
                "failover-http",
                "failover-h2",
                "proxy-protocol",
                "reverse-proxy",
                "trusted",
                "fast-open",
                "mptcp",
            ],
            "nothing listens on TCP; the website's HTTP/3 is `failover-quic`",
        );
    }
    let beside = flag(options, "quic")?;
    let congestion = congestion(options)?;
    let website = quic_website(options)?;
    if !alone && !beside {
        return match options.get("failover-quic") {
            Some(option) => Err(ConfigError::needs(option, "`mode=quic`, or `quic` beside `mode=auto`")),
            None => Ok(None),
        };
    }
    if let (false, Some(option)) = (alone, options.get("quic")) {
        if !auto {
            return Err(ConfigError::needs(option, "`mode=auto`, or `mode=quic` in its place"));
        }
        if tls.is_none() {
            return Err(ConfigError::needs_tls(option));
        }
    }
    Ok(Some(QuicServerConfig { congestion, website, alone }))
}

/// Warns of options that say something about what there is not.
fn warn_of_no_effect(options: &Options, names: &[&str], why: &str) {
    for option in names.iter().filter_map(|name| options.get(name)) {
        options.warn(format!("option `{}` has no effect with mode=quic: {why}", option.key));
    }
}

fn congestion(options: &Options) -> Result<Congestion, ConfigError> {
    let expected = "a congestion control (cubic, or bbr, which is experimental)";
    let found =
        parsed(options, "quic-congestion", expected, |text| match text.to_ascii_lowercase().as_str() {
            "cubic" => Some(Congestion::Cubic),
            "bbr" => Some(Congestion::Bbr),
            _ => None,
        })?;
    Ok(found.unwrap_or_default())
}
