//! The URL of a proxy. A parser for all URLs would be of little use here: what they have most ways to write, a path
//! and a query, a proxy has not; of `:80` the usual one forgets that it was written; and hosts and ports are read
//! as everywhere else.

use super::error::ConfigError;
use super::options::Options;
use super::values::value;
use crate::net::addr::{Host, HostPort, parse_port};
use crate::net::proxy::{Proxy, ProxyKind};
use crate::wire::http::host::decoded;

/// What there can be.
const EXPECTED: &str =
    "a proxy's URL (socks5://[USER:PASSWORD@]HOST[:PORT] or http://[USER:PASSWORD@]HOST[:PORT])";

/// What a proxy listens on where its URL does not say it: as curl has it, whatever the proxy speaks.
const DEFAULT_PORT: u16 = 1080;

/// The proxy that is to be used.
pub(super) fn proxy(options: &Options) -> Result<Option<Proxy>, ConfigError> {
    let Some((name, text)) = value(options, "proxy", EXPECTED)? else { return Ok(None) };
    let wrong = |why: String| {
        // Of what may be a user and a password nothing is shown, whatever else is missing.
        let shown = match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
            (None, Some((_, host))) => format!("…@{host}"),
            // A `;` in a password that is not escaped ends the option before the `@`.
            (None, None) if text.contains(':') => "…".to_owned(),
            (Some((scheme, rest)), None) if !may_be_host_and_port(rest) => format!("{scheme}://…"),
            (_, None) => text.to_owned(),
        };
        ConfigError::option(name, &shown, why)
    };
    read(text).map(Some).map_err(wrong)
}

/// Whether no password can stand in this.
fn may_be_host_and_port(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_host = !host.contains(':') || host.starts_with('[');
    is_host && port.trim_end_matches('/').bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a URL. What is wrong with it is told as the end of "is not …".
fn read(text: &str) -> Result<Proxy, String> {
    let because = |why: &str| format!("{EXPECTED}: {why}");
    let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
    let kind = match scheme.to_ascii_lowercase().as_str() {
        // The name of the server is always left to the proxy, which is what `h` asks for.
        "socks5" | "socks5h" => ProxyKind::Socks5,
        "http" => ProxyKind::Http,
        "https" => return Err(because("TLS to the proxy is not possible")),
        _ => return Err(because("there are no other schemes")),
    };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login).filter(|login| !login.is_empty()), place),
        None => (None, rest),
    };
    let login = login.map(|login| read_login(login, kind)).transpose().map_err(because)?;
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.contains(['/', '?', '#']) {
        return Err(because("a proxy has no path"));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.is_empty() {
        return Err(because("the host is missing"));
    }
    // In a URL the `%` in front of a zone is an escape (RFC 6874).
    let unescaped = host.replace("%25", "%");
    let host = Host::parse(&unescaped).filter(|_| !host.contains(':') || host.starts_with('['));
    let host = host.ok_or_else(|| because("the host is neither a name nor an address (IPv6 in brackets)"))?;
    let port = port.map_or(Some(DEFAULT_PORT), parse_port);
    let port = port.ok_or_else(|| {
        because("the port is no number from 1 to 65535 (in a password, `;` is written %3B, and `@` %40)")
    })?;
    Ok(Proxy { kind, address: HostPort { host, port }, login })
}

/// Reads a user and a password.
fn read_login(text: &str, kind: ProxyKind) -> Result<(String, String), &'static str> {
    /// Long enough for tokens in the place of passwords, short enough for a head.
    const MOST: usize = 4096;
    if text.contains(['/', '?', '#']) {
        return Err("in the user and the password, `/`, `?` and `#` are written as %2F, %3F and %23");
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let plain = |text: &str| String::from_utf8(decoded(text).collect());
    let (Ok(user), Ok(password)) = (plain(user), plain(password)) else {
        return Err("the escapes in the user and the password are not UTF-8");
    };
    let fits_socks = |text: &str| (1..=255).contains(&text.len());
    match kind {
        ProxyKind::Socks5 if !fits_socks(&user) || !fits_socks(&password) => {
            Err("for SOCKS5 the user and the password have 1 to 255 bytes each")
        }
        ProxyKind::Http if user.contains(':') => Err("for HTTP there is no colon in the user"),
        ProxyKind::Http if text.len() > MOST => Err("the user and the password have more than 4096 bytes"),
        _ => Ok((user, password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sip003::parse_options;
    use proptest::prelude::*;

    fn of(url: &str) -> Result<Proxy, String> {
        let options = Options::new(parse_options(&format!("proxy={}", url.replace(';', "\\;"))).unwrap());
        proxy(&options).map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn urls() {
        for (url, shown, login) in [
            ("socks5://127.0.0.1", "socks5://127.0.0.1:1080", None),
            ("socks5h://proxy.example:9050", "socks5://proxy.example:9050", None),
            ("HTTP://proxy.example/", "http://proxy.example:1080", None),
            ("http://proxy.example:80", "http://proxy.example:80", None),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:1080", None),
            ("socks5://[fe80::1%25eth0]:1", "socks5://[fe80::1%eth0]:1", None),
            ("http://@proxy.example:8080", "http://proxy.example:8080", None),
            ("http://user@proxy.example:8080", "http://proxy.example:8080", Some(("user", ""))),
            ("socks5://a:b@[::1]:1080/", "socks5://[::1]:1080", Some(("a", "b"))),
            ("socks5://a%3Ab:c:d@e%40@h", "socks5://h:1080", Some(("a:b", "c:d@e@"))),
            ("http://u:%3b%2f%C3%a4%@h:1", "http://h:1", Some(("u", ";/ä%"))),
        ] {
            let proxy = of(url).unwrap();
            let read = proxy.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            assert_eq!((proxy.to_string().as_str(), read), (shown, login), "{url}");
        }
        let longest = format!("socks5://{0}:{0}@h", "x".repeat(255));
        assert_eq!(of(&longest).unwrap().login.unwrap().1.len(), 255);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let long = format!("socks5://user:secret{}@h", "x".repeat(250));
        let longer = format!("http://user:secret{}@h", "x".repeat(4096));
        for (url, why) in [
            ("https://user:secret@h:443", "TLS to the proxy is not possible"),
            ("socks4://h", "no other schemes"),
            ("ftp://user:secret@h", "`ftp://…@h` is not a proxy's URL (socks5://"),
            ("h:1080", "is not a proxy's URL"),
            ("user:secret@h:1080", "`…@h:1080`"),
            ("http://user:secret", "`http://…`"),
            ("socks5://user:secret:127.0.0.1:80", "`socks5://…`"),
            ("user:secret:h:80", "`…`"),
            ("socks5:user:secret@h", "`…@h`"),
            ("http://", "the host is missing"),
            ("socks5://user:secret@", "the host is missing"),
            ("socks5://user:secret@:1080", "the host is missing"),
            ("http://user:secret@h/path", "has no path"),
            ("http://h?a=b", "has no path"),
            ("http://h:1080#x", "has no path"),
            ("http://user:sec/ret@h", "%2F"),
            ("socks5://user:secret@h:0", "port"),
            ("socks5://user:secret@h:65536", "port"),
            ("socks5://user:secret@h:", "port"),
            ("socks5://h:x", "port"),
            ("socks5://::1", "brackets"),
            ("socks5://[::1", "brackets"),
            ("http://a b", "neither a name"),
            ("socks5://user@h", "1 to 255"),
            ("socks5://:secret@h", "1 to 255"),
            (&long, "1 to 255"),
            (&longer, "4096"),
            ("http://us%3Aer:secret@h", "no colon"),
            ("http://user:secret%ff@h", "UTF-8"),
        ] {
            let error = of(url).expect_err(url);
            assert!(error.starts_with("option `proxy`") && error.contains(why), "{url}: {error}");
            assert!(!error.contains("secret") && !error.contains("user:"), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(socks5|http)://[a-z%@:/?#\\[\\]0-9ä]{0,24}") {
            if let Ok(proxy) = read(&text) {
                let again = read(&proxy.to_string().replace('%', "%25")).unwrap();
                prop_assert_eq!(again.address, proxy.address);
            }
        }
    }
}
