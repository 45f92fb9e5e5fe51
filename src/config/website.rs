//! The website behind a server: another port, or one of the small ones of our own.

use super::error::ConfigError;
use super::features::Feature;
use super::options::Options;
use super::sip003::PluginOption;
use super::trusted::failover_proxy;
use super::values::{parsed, value};

use crate::net::addr::{Host, HostPort};
use crate::wire::proxy_protocol;
use std::fmt;
use std::path::{Path, PathBuf};

/// What stands behind a server for visitors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Website {
    /// A web server with nothing on it.
    #[default]
    Bare,
    /// A web server at this address.
    Port(HostPort),
    /// Everything has moved to here: a URL without a slash at its end, which the path of the request
    /// follows.
    Redirect(String),
    /// The files in this folder, an absolute path.
    Folder(PathBuf),
    /// The same status for everything: 204, or 400 to 599.
    Status(u16),
    /// What nginx says to those who speak HTTP in the clear at a port for TLS: a page that says so.
    HttpsOnly,
}

impl Website {
    /// The address, where it is one.
    pub fn port(&self) -> Option<&HostPort> {
        match self {
            Website::Port(address) => Some(address),
            _ => None,
        }
    }

    /// Whether it tells visitors under which address they have reached it.
    pub fn says_where_it_is(&self) -> bool {
        matches!(self, Website::Folder(_))
    }
}

impl fmt::Display for Website {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Website::Bare if !Feature::Site.is_built() => f.write_str(
                "nothing, since this build has no website of its own: connections of visitors are closed",
            ),
            Website::Bare => f.write_str("a bare web server"),
            Website::Port(address) => address.fmt(f),
            Website::Redirect(url) => write!(f, "a redirect to {url}"),
            Website::Folder(path) => write!(f, "the folder {}", path.display()),
            Website::Status(status) => write!(f, "status {status} for everything"),
            Website::HttpsOnly => f.write_str("a page that says so"),
        }
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
    /// Those who speak HTTP/2 within TLS; where gRPC is taken in the clear, in the clear, too.
    pub h2: Option<HostPort>,
    /// On a server with a certificate, those who come without TLS; `None` for what those within TLS meet:
    /// the port serves both.
    pub clear: Option<Website>,
    /// The PROXY header that tells the websites who came.
    pub proxy: Option<proxy_protocol::Version>,
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.plain, &self.tls) {
            // Visitors go there whose TLS is answered by us, too.
            (Website::Bare, Some(tls)) => write!(f, "failover {tls} in TLS")?,
            (plain, Some(tls)) if plain.port() != Some(tls) => write!(f, "failover {plain}, for TLS {tls}")?,
            (plain, _) => write!(f, "failover {plain}")?,
        }
        if let Some(h2) = &self.h2 {
            write!(f, ", for HTTP/2 {h2}")?;
        }
        if let Some(site) = &self.clear {
            write!(f, ", without TLS {site}")?;
        }
        match self.proxy {
            Some(version) => write!(f, " with PROXY {version}"),
            None => Ok(()),
        }
    }
}

const ADDRESS: &str = "an address (HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080)";
const SITE: &str = "an address (HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080), redirect:URL, dir:PATH or \
                    status:NUMBER";
const URL: &str = "a redirect to an http or https URL (redirect:https://HOST[:PORT][/PATH], without query)";
const STATUS: &str = "a status (status:204, or status:400 to status:599)";

/// The websites of a server, with a certificate or without, for every kind of client (`auto`) or not.
/// `h2c`: HTTP/2 is looked at in the clear, too.
pub(super) fn failover(
    options: &Options,
    certificate: bool,
    auto: bool,
    h2c: bool,
) -> Result<Failover, ConfigError> {
    let plain = website(options)?;
    let port = plain.as_ref().and_then(Website::port).cloned();
    let tls = address(options, "failover-tls")?;
    let clear = address(options, "failover-http")?;
    let h2 = match options.get("failover-h2") {
        Some(option) if is_same(option) => match &port {
            Some(port) => Some(port.clone()),
            None if plain.is_some() => {
                return Err(ConfigError::needs(
                    option,
                    "`failover=HOST:PORT`: the built-in website has no port",
                ));
            }
            None => return Err(ConfigError::needs(option, "`failover`")),
        },
        _ => address(options, "failover-h2")?,
    };
    // What is served from here knows already who came.
    let told = match (&plain, &port) {
        (Some(_), None) => &["failover-tls", "failover-http", "failover-h2"][..],
        _ => &["failover", "failover-tls", "failover-http", "failover-h2"],
    };
    let proxy = failover_proxy(options, told)?;
    if !certificate {
        let needs_tls: &[&str] = if h2c { &["failover-http"] } else { &["failover-http", "failover-h2"] };
        for name in needs_tls {
            if let Some(option) = options.get(name) {
                return Err(ConfigError::needs_tls(option));
            }
        }
        // An address that is given alone serves both kinds of visitors.
        let plain = plain.or_else(|| tls.clone().map(Website::Port)).unwrap_or_default();
        return Ok(Failover { plain, tls: tls.or(port), h2, clear: None, proxy });
    }
    let clear = match (clear, &tls) {
        (Some(site), _) => Some(Website::Port(site)),
        (None, tls) if auto && (plain.is_some() || tls.is_none()) => None,
        // The website's own port for TLS knows what to say.
        (None, Some(tls)) => Some(Website::Port(tls.clone())),
        (None, None) => Some(Website::HttpsOnly),
    };
    Ok(Failover { plain: plain.unwrap_or_default(), tls, h2, clear, proxy })
}

/// The website's HTTP/3.
pub(super) fn quic_website(options: &Options) -> Result<Option<HostPort>, ConfigError> {
    address(options, "failover-quic")
}

/// Whether `failover-h2` means the port of `failover`.
fn is_same(option: &PluginOption) -> bool {
    matches!(option.value.as_deref(), None | Some("" | "1" | "true" | "same"))
}

fn website(options: &Options) -> Result<Option<Website>, ConfigError> {
    let Some((name, text)) = value(options, "failover", SITE)? else { return Ok(None) };
    let (site, expected) = match text.split_once(':') {
        Some(("redirect", url)) => (redirect(url).map(Website::Redirect), URL),
        // The working directory changes when the process goes into the background.
        Some(("dir", path)) => (std::path::absolute(path).ok().map(Website::Folder), "a folder (dir:PATH)"),
        Some(("status", number)) => (status(number).map(Website::Status), STATUS),
        _ => (HostPort::parse(text).map(Website::Port), SITE),
    };
    site.map(Some).ok_or_else(|| ConfigError::option(name, text, expected))
}

/// A website that must be another port: raw TLS and HTTP/2 can only be passed on.
fn address(options: &Options, name: &str) -> Result<Option<HostPort>, ConfigError> {
    parsed(options, name, ADDRESS, |text| {
        let own = matches!(text.split_once(':'), Some(("redirect" | "dir" | "status", _)));
        if own { None } else { HostPort::parse(text) }
    })
}

/// Sees to it that the folder is there. A client half does not ask: the string may be its server's.
pub(super) fn check_folder(options: &Options, site: &Website) -> Result<(), ConfigError> {
    let (Website::Folder(path), Some((name, text))) = (site, value(options, "failover", SITE)?) else {
        return Ok(());
    };
    // What is listed need not be what may be entered.
    let readable = path.read_dir().and_then(|_| path.join(".").metadata());
    readable.map(|_| ()).map_err(|error| {
        ConfigError::option(name, text, format!("a folder that can be read (dir:PATH): {}", why(path, error)))
    })
}

fn why(path: &Path, error: std::io::Error) -> String {
    if path.is_file() { "it is a file".to_owned() } else { error.to_string() }
}

/// The number of a status that is answered to everything.
fn status(text: &str) -> Option<u16> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|status| digits_only && matches!(status, 204 | 400..=599))
}

/// A URL that a path can follow (RFC 3986 section 3): no user, query or fragment.
fn redirect(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_host = match authority.strip_prefix('[') {
        Some(_) => matches!(Host::parse(authority), Some(Host::Ip(_))),
        // An address of IPv6 without brackets is none here.
        None => !authority.contains(':') && Host::parse(authority).is_some(),
    };
    if !is_host && HostPort::parse(authority).is_none() {
        return None;
    }
    let fit = |b: u8| b.is_ascii_graphic() && !br##"?#"<>\^`{|}"##.contains(&b);
    let host = crate::wire::http::host::ascii_name(crate::wire::http::host::without_port(authority))?;
    let port = authority.strip_prefix(crate::wire::http::host::without_port(authority))?;
    let ascii = path.bytes().all(fit) && url.len() <= 2048;
    ascii.then(|| format!("{scheme}://{host}{port}{}", path.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_go_to_urls_that_a_path_can_follow() {
        for (url, wanted) in [
            ("https://www.example.com", "https://www.example.com"),
            ("http://www.example.com/", "http://www.example.com"),
            ("HTTPS://example.com:8443/a/b/", "HTTPS://example.com:8443/a/b"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("https://bücher.example:8443/a", "https://xn--bcher-kva.example:8443/a"),
            ("https://192.0.2.1/x%20y", "https://192.0.2.1/x%20y"),
        ] {
            assert_eq!(redirect(url).as_deref(), Some(wanted), "{url}");
        }
        for url in [
            "",
            "www.example.com",
            "ftp://example.com",
            "https:/example.com",
            "https://",
            "https:///x",
            "https://example.com:0",
            "https://example.com:x",
            "https://2001:db8::1",
            "https://user@example.com",
            "https://example.com/a b",
            "https://example.com/\r\nX: y",
            "https://example.com/?a=b",
            "https://example.com/#top",
            "https://a；b.example",
            "https://[fe80::1%eth0]",
        ] {
            assert_eq!(redirect(url), None, "{url}");
        }
    }

    #[test]
    fn a_status_for_everything_says_no() {
        for (text, wanted) in [("204", Some(204)), ("404", Some(404)), ("599", Some(599))] {
            assert_eq!(status(text), wanted);
        }
        for text in ["", "200", "301", "399", "600", "4040", "+404", "teapot", "-1"] {
            assert_eq!(status(text), None, "{text}");
        }
    }
}
