//! The option `sni`: to a client, the name in its hello; to a server, where hellos for other names go.

use super::error::ConfigError;
use super::options::Options;
use super::sip003::PluginOption;
use crate::net::addr::HostPort;
use std::fmt;

/// Where TLS for a certain name goes, raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRoute {
    /// The names.
    pub pattern: NamePattern,
    /// The server that has their certificate.
    pub site: HostPort,
}

/// A name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// This name, in lower case.
    Exact(String),
    /// `*.example.com`, as `.example.com`: all names that end so, however many labels are in front.
    Below(String),
}

impl NamePattern {
    /// Reads a name or `*.` and a name.
    pub(super) fn parse(text: &str) -> Option<NamePattern> {
        let name = crate::wire::http::host::ascii_name(text.strip_prefix("*.").unwrap_or(text))?;
        let is_name = !name.is_empty()
            && name.len() <= 253
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        is_name.then(|| match text.strip_prefix("*.") {
            Some(_) => NamePattern::Below(format!(".{name}")),
            None => NamePattern::Exact(name),
        })
    }

    /// Whether a hello's name is meant.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b".").unwrap_or(name);
        match self {
            NamePattern::Exact(wanted) => name.eq_ignore_ascii_case(wanted.as_bytes()),
            NamePattern::Below(suffix) => {
                let start = name.len().checked_sub(suffix.len()).filter(|&start| start > 0);
                let end = start.and_then(|start| name.get(start..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }

    /// How closely it describes the names that it matches: a closer one goes before another.
    pub(super) fn closeness(&self) -> usize {
        match self {
            NamePattern::Exact(_) => usize::MAX,
            NamePattern::Below(suffix) => suffix.len(),
        }
    }
}

impl fmt::Display for NameRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            NamePattern::Exact(name) => write!(f, "{name} to {}", self.site),
            NamePattern::Below(suffix) => write!(f, "*{suffix} to {}", self.site),
        }
    }
}

/// Whether an option `sni` is a server's: a name of a client has no colon.
fn is_route(option: &PluginOption) -> bool {
    option.value.as_deref().is_some_and(|value| value.contains(':'))
}

/// The routes among the options `sni`.
pub(super) fn routes(options: &Options) -> Result<Vec<NameRoute>, ConfigError> {
    /// More are better kept in the configuration of a proxy that is made for it.
    const MOST: usize = 256;
    let expected = "a route (NAME:HOST:PORT, such as *.example.com:127.0.0.1:8443)";
    let mut routes = Vec::new();
    for option in options.all("sni").filter(|option| is_route(option)) {
        let text = option.value.as_deref().unwrap_or_default();
        let route = text.split_once(':').and_then(|(name, site)| {
            Some(NameRoute { pattern: NamePattern::parse(name)?, site: HostPort::parse(site)? })
        });
        match route {
            Some(route) if routes.len() < MOST => routes.push(route),
            Some(_) => {
                return Err(ConfigError::option(
                    &option.key,
                    text,
                    "among the first 256 names: no more are taken",
                ));
            }
            None => return Err(ConfigError::option(&option.key, text, expected)),
        }
    }
    Ok(routes)
}

/// The first option `sni` that is a client's, or else a server's.
pub(super) fn first(options: &Options, routes: bool) -> Option<&PluginOption> {
    options.all("sni").find(|option| is_route(option) == routes)
}

/// A client's name for its hello.
pub(super) fn client_name(options: &Options) -> Result<Option<String>, ConfigError> {
    let Some(option) = first(options, false) else { return Ok(None) };
    let text = option.value.as_deref().unwrap_or_default();
    if text.is_empty() {
        options.warn(format!("option `{}` has no value and is ignored", option.key));
        return Ok(None);
    }
    match NamePattern::parse(text) {
        Some(NamePattern::Exact(name)) => Ok(Some(name)),
        _ => Err(ConfigError::option(&option.key, text, "a host name, such as www.example.com")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[&str]) -> Options {
        Options::new(
            values.iter().map(|value| PluginOption { key: "sni".into(), value: Some((*value).into()) }),
        )
    }

    #[test]
    fn names_of_clients_and_routes_of_servers_stand_in_one_string() {
        let both = options(&["www.example.com", "other.example:127.0.0.1:8443"]);
        assert_eq!(client_name(&both).unwrap().as_deref(), Some("www.example.com"));
        assert_eq!(routes(&both).unwrap().len(), 1);
    }

    #[test]
    fn wrong_ones_are_told() {
        for wrong in
            ["a:b", "a:1", ":127.0.0.1:1", "a b:127.0.0.1:1", "*:127.0.0.1:1", "a:127.0.0.1:0", "a:::1:2"]
        {
            let message = routes(&options(&[wrong])).unwrap_err().to_string();
            assert!(message.contains("`sni`") && message.contains(wrong), "{message}");
        }
        assert_eq!(client_name(&options(&[""])).unwrap(), None);
        assert_eq!(
            client_name(&options(&["例子.测试"])).unwrap().as_deref(),
            Some("xn--fsqu00a.xn--0zwm56d")
        );
        for wrong in ["*.example.com", "a b"] {
            assert!(client_name(&options(&[wrong])).is_err(), "{wrong}");
        }
    }
}
