//! The option `route`: further Shadowsocks servers behind one port, each for a path or for a name in TLS hellos.

use super::error::ConfigError;
use super::names::{NamePattern, NameRoute};
use super::options::Options;
use super::sip003::PluginOption;
use super::values::is_path;
use crate::net::addr::HostPort;
use crate::wire::http::PathTable;
use crate::wire::http::host::without_query;
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// More users than this are better kept apart by servers of their own.
const MOST: usize = 1024;

/// Who goes to another backend than the others.
#[derive(Debug, Clone, Default)]
pub struct BackendRoutes {
    /// Those who ask for a path, without its query, by its number in the [table](Self::path_table).
    pub by_path: Vec<(String, HostPort)>,
    /// Those whose TLS hello asks for a name, in lower case.
    pub by_name: Vec<(String, HostPort)>,
}

impl BackendRoutes {
    /// The paths, to be looked up.
    pub fn path_table(&self) -> PathTable {
        PathTable::new(self.by_path.iter().map(|(path, _)| path.as_str()))
    }

    /// Where they lead, in the order in which they were given.
    pub fn backends(&self) -> impl Iterator<Item = &HostPort> {
        self.by_path.iter().chain(&self.by_name).map(|(_, backend)| backend)
    }

    /// The paths and names, which only clients are to know. [`Display`](fmt::Display) leaves them out.
    pub(super) fn secrets(&self) -> String {
        let all = self.by_path.iter().chain(&self.by_name);
        all.map(|(from, backend)| format!("route {from} to {backend}")).collect::<Vec<_>>().join(", ")
    }

    /// Sees to it that no route is for a path that is `given` otherwise, by the first of two options that is there.
    /// `without_paths`: why the server has no routes by path.
    pub(super) fn check_beside(
        &self,
        options: &Options,
        without_paths: Option<&str>,
        given: [(&Option<String>, [&str; 2]); 2],
    ) -> Result<(), ConfigError> {
        if let Some(why) = without_paths.filter(|_| !self.by_path.is_empty()) {
            let needs =
                format!("`obfs=http`, `mode=websocket` or `mode=auto`, where it is for a path: {why}");
            return Err(ConfigError::needs("route", &needs));
        }
        let table = self.path_table();
        for (path, names) in given {
            let number = path.as_ref().and_then(|path| table.find(path));
            if let Some((_, backend)) = number.and_then(|number| self.by_path.get(number)) {
                let has_value =
                    |option: &&PluginOption| option.value.as_deref().is_some_and(|v| !v.is_empty());
                let option = names.into_iter().filter_map(|name| options.get(name)).find(has_value);
                let reason = format!("the route to {backend} is for the same path; leave one of them out");
                return Err(ConfigError::conflict(
                    "route",
                    option.map_or("path", |option| &option.key),
                    &reason,
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for BackendRoutes {
    /// What the start-up line says of them in front of what follows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// So many addresses are told; a line has an end.
        const TOLD: usize = 8;
        let mut seen = HashSet::new();
        let backends: Vec<_> = self.backends().filter(|backend| seen.insert(*backend)).collect();
        let what = match (self.by_path.len(), self.by_name.len()) {
            (0, 0) => return Ok(()),
            (paths, 0) => format!("{paths} by path"),
            (0, names) => format!("{names} by name"),
            (paths, names) => format!("{paths} by path and {names} by name"),
        };
        write!(f, "routes ({what}) to ")?;
        for (at, backend) in backends.iter().take(TOLD).enumerate() {
            write!(f, "{}{backend}", if at > 0 { " and " } else { "" })?;
        }
        match backends.len().saturating_sub(TOLD) {
            0 => f.write_str(", "),
            more => write!(f, " and {more} more, "),
        }
    }
}

/// The routes of a server with TLS of its own or without, which passes TLS for the names in `passed` on raw.
pub(super) fn routes(
    options: &Options,
    passed: &[NameRoute],
    tls: bool,
) -> Result<BackendRoutes, ConfigError> {
    let expected = "a route (/PATH:HOST:PORT or NAME:HOST:PORT, such as \
                    /a-path:127.0.0.1:8389 or a.example.com:[::1]:8389)";
    let mut routes = BackendRoutes::default();
    let mut seen = HashSet::new();
    for option in options.all("route") {
        let text = option.value.as_deref().unwrap_or_default();
        // The path may be a secret, and whatever stands in front of a port that was forgotten.
        let shown = if text.starts_with('/') { "/…" } else { text };
        let fail = |expected: &str| ConfigError::option(&option.key, shown, expected);
        let (from, backend) = split(text).ok_or_else(|| fail(expected))?;
        let (key, list, entry) = if from.starts_with('/') {
            let path = without_query(from).to_owned();
            let key = is_path(from).then(|| PathTable::key(&path)).ok_or_else(|| fail(expected))?;
            (key, &mut routes.by_path, path)
        } else {
            let name = name(from).ok_or_else(|| fail(expected))?;
            if !tls {
                let needs = "`tls` for a route by name (a path begins with a slash)";
                return Err(ConfigError::needs(&option.key, needs));
            }
            if passed.iter().any(|route| route.pattern.matches(name.as_bytes())) {
                let reason =
                    format!("TLS for the name whose route leads to {backend} would go raw to another server");
                return Err(ConfigError::conflict(&option.key, "sni", &reason));
            }
            // Paths begin with a slash, names do not.
            (name.clone().into_bytes(), &mut routes.by_name, name)
        };
        if !seen.insert(key) {
            // Neither the path nor the name: both may be secret.
            let reason = format!("the one to {backend} is for a path or a name that has a route already");
            return Err(ConfigError::conflict(&option.key, "route", &reason));
        }
        if seen.len() > MOST {
            let expected = "among the first 1024 routes: no more are taken";
            return Err(ConfigError::option(&option.key, &backend.to_string(), expected));
        }
        list.push((entry, backend));
    }
    Ok(routes)
}

/// What stands in front of the last `:HOST:PORT`, and that.
fn split(text: &str) -> Option<(&str, HostPort)> {
    let (rest, _) = text.rsplit_once(':')?;
    let at = if rest.ends_with(']') { rest.rfind(":[")? } else { rest.rfind(':')? };
    let (from, address) = text.split_at_checked(at)?;
    let host = rest.get(at..).unwrap_or_default();
    // An address of IPv6 that lacks a bracket, or both, would be cut in two.
    let is_address = |end: &str| end.trim_start_matches('[').parse::<Ipv6Addr>().is_ok();
    let is_cut = |(at, _): (usize, &str)| rest.get(at + 1..).is_some_and(is_address);
    if !host.contains(['.', ']']) && rest.match_indices(':').any(is_cut) {
        return None;
    }
    Some((from, HostPort::parse(address.strip_prefix(':')?)?))
}

/// A name that a hello may ask for, in lower case.
fn name(text: &str) -> Option<String> {
    match NamePattern::parse(text)? {
        // Hellos name no addresses (RFC 6066 section 3).
        NamePattern::Exact(name) if name.parse::<IpAddr>().is_err() => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
