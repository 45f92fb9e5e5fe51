//! Where the metrics are: for this machine alone, unless it is said that others may read them.

use super::error::ConfigError;
use super::options::Options;
use super::server::ServerConfig;
use super::values::{flag, parsed};
use crate::net::addr::{Host, HostPort};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where the metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// At a port.
    Tcp(HostPort),
    /// At a Unix socket of this path, which is absolute.
    Unix(PathBuf),
}

#[cfg(feature = "metrics")]
impl MetricsAddress {
    /// Reads where metrics are, on this machine or elsewhere.
    ///
    /// # Errors
    ///
    /// It is no address: `name` is what has it.
    pub fn read(name: &str, text: &str) -> Result<MetricsAddress, ConfigError> {
        address(text).ok_or_else(|| ConfigError::variable(name, text, ADDRESS))
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAddress::Tcp(address) => address.fmt(f),
            MetricsAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

const ADDRESS: &str = "an address of this machine (127.0.0.1:9180, [::1]:9180 or localhost:9180) or an absolute path \
                       of a Unix socket (/run/obfs-rs.sock)";
const PUBLIC: &str = "an address that only this machine reaches, such as 127.0.0.1:9180: add `metrics-public` if \
                      others are to read the metrics";

/// Where the metrics are to be, if anywhere.
pub(super) fn metrics(options: &Options) -> Result<Option<MetricsAddress>, ConfigError> {
    let public = flag(options, "metrics-public")?;
    let address = parsed(options, "metrics", ADDRESS, address)?;
    if let Some(MetricsAddress::Tcp(HostPort { host, .. })) = &address
        && !public
        && !is_loopback(host)
        && let Some(option) = options.get("metrics")
    {
        return Err(ConfigError::option(&option.key, option.value.as_deref().unwrap_or_default(), PUBLIC));
    }
    Ok(address)
}

fn address(text: &str) -> Option<MetricsAddress> {
    let path = Path::new(text.strip_prefix("unix:").unwrap_or(text));
    if text.contains('\0') || !(path.is_absolute() && cfg!(unix)) {
        return HostPort::parse(text).map(MetricsAddress::Tcp);
    }
    Some(MetricsAddress::Unix(path.to_owned()))
}

/// Whether only this machine reaches it. What another name leads to is not known before it is looked up.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(IpAddr::V4(address)) => address.is_loopback(),
        Host::Ip(address @ IpAddr::V6(_)) => address.to_canonical().is_loopback(),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Sees to it that no visitor and no tunnel is led to the metrics.
pub(super) fn check_not_behind(
    server: &ServerConfig,
    metrics: Option<&MetricsAddress>,
) -> Result<(), ConfigError> {
    let Some(MetricsAddress::Tcp(metrics)) = metrics else { return Ok(()) };
    match server.behind().find(|(_, address)| *address == metrics) {
        Some((name, address)) => Err(ConfigError::conflict(
            format_args!("metrics={metrics}"),
            format_args!("{name} {address}"),
            "whoever comes to the server would find the metrics there",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_paths_are_told_apart() {
        for (text, wanted) in [
            ("127.0.0.1:9180", "127.0.0.1:9180"),
            ("[::1]:9180", "[::1]:9180"),
            ("localhost:9180", "localhost:9180"),
            #[cfg(unix)]
            ("/run/obfs rs.sock", "unix:/run/obfs rs.sock"),
            #[cfg(unix)]
            ("unix:/run/x", "unix:/run/x"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "",
            "9180",
            ":9180",
            "127.0.0.1",
            "::1:9180",
            "unix:",
            "unix:run/x",
            "run/x",
            "/a\0b",
            "localhost:0",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn what_others_reach_is_no_loopback() {
        for (text, wanted) in [
            ("127.1.2.3", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("LOCALHOST", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("fe80::1%eth0", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(&Host::parse(text).unwrap()), wanted, "{text}");
        }
    }
}
