//! The values of single options, checked.

use super::error::ConfigError;
use super::options::Options;
use std::time::Duration;

/// Whether a flag is set. `fast-open=false` says no.
pub(super) fn flag(options: &Options, name: &str) -> Result<bool, ConfigError> {
    let Some(option) = options.get(name) else { return Ok(false) };
    match option.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "1" | "true" | "yes" | "on") => Ok(true),
        Some("0" | "false" | "no" | "off") => Ok(false),
        Some(_) => Err(ConfigError::option(
            &option.key,
            option.value.clone().unwrap_or_default(),
            "a flag's value (true or false)",
        )),
    }
}

/// The names of `obfs-tls-host`, in lower case.
pub(super) fn fake_tls_names(options: &Options) -> Result<Vec<String>, ConfigError> {
    /// Each is one group of users' secret; more are not one port's.
    const MOST: usize = 64;
    let expected = "a host name, or several with a comma (no spaces, slashes or control characters)";
    let mut names = Vec::new();
    for option in options.all("obfs-tls-host") {
        let text = option.value.as_deref().unwrap_or_default();
        for name in text.split(',').map(str::trim) {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
                return Err(ConfigError::option(&option.key, text, expected));
            }
            if names.len() == MOST {
                return Err(ConfigError::option(&option.key, text, "one of 64 names at the most"));
            }
            names.push(name.to_ascii_lowercase());
        }
    }
    Ok(names)
}

/// The value of an option that has one, and the name it was written under.
pub(super) fn value<'a>(
    options: &'a Options,
    name: &str,
    expected: &str,
) -> Result<Option<(&'a str, &'a str)>, ConfigError> {
    let Some(option) = options.get(name) else { return Ok(None) };
    match option.value.as_deref() {
        Some(value) if !value.is_empty() => Ok(Some((&option.key, value))),
        _ => Err(ConfigError::option(&option.key, "", expected)),
    }
}

/// The same for an option that v2ray-plugin takes without a value: it is as if it were not there, and the
/// log says so.
pub(super) fn value_if_any<'a>(options: &'a Options, name: &str) -> Option<(&'a str, &'a str)> {
    let option = options.get(name)?;
    match option.value.as_deref() {
        Some(value) if !value.is_empty() => Some((&option.key, value)),
        _ => {
            options.warn(format!("option `{}` has no value and is ignored", option.key));
            None
        }
    }
}

/// When a client sends the application's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With the request, as its body: no round trip is lost, and simple-obfs does it so.
    Eager,
    /// After the 101, as RFC 6455 has it: passes every front proxy.
    Standard,
}

pub(super) fn handshake(options: &Options) -> Result<Handshake, ConfigError> {
    let expected = "a handshake (eager or standard)";
    let Some((name, text)) = value(options, "handshake", expected)? else { return Ok(Handshake::Eager) };
    match text.to_ascii_lowercase().as_str() {
        "eager" => Ok(Handshake::Eager),
        "standard" => Ok(Handshake::Standard),
        _ => Err(ConfigError::option(name, text, expected)),
    }
}

pub(super) fn seconds(options: &Options, name: &str) -> Result<Option<Duration>, ConfigError> {
    /// A year: what is meant to be for ever fits, what would overflow a clock does not.
    const MOST: u64 = 366 * 24 * 3600;
    let expected = "a number of seconds from 1 to 31622400";
    let Some((name, text)) = value(options, name, expected)? else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(seconds @ 1..=MOST) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(ConfigError::option(name, text, expected)),
    }
}

/// The path under the first of these names that is given: simple-obfs and v2ray-plugin have each their
/// own. The others are checked all the same.
pub(super) fn path(options: &Options, names: &[&str]) -> Result<Option<String>, ConfigError> {
    let expected = "a path (no control characters, at most 2048 bytes)";
    let mut first = None;
    for name in names {
        let given =
            if *name == "path" { value_if_any(options, name) } else { value(options, name, expected)? };
        let Some((name, text)) = given else { continue };
        if text.chars().any(char::is_control) || text.len() > 2048 {
            return Err(ConfigError::option(name, text, expected));
        }
        first.get_or_insert_with(|| if text.starts_with('/') { text.to_owned() } else { format!("/{text}") });
    }
    Ok(first)
}

pub(super) fn method(options: &Options) -> Result<String, ConfigError> {
    let expected = "an HTTP method (such as GET)";
    let Some((name, text)) = value(options, "http-method", expected)? else { return Ok("GET".into()) };
    if text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') && text.len() <= 32 {
        Ok(text.to_owned())
    } else {
        Err(ConfigError::option(name, text, expected))
    }
}

/// A path as it stands in a log, which others read too: a path of one's own is a secret.
pub(super) fn shown(path: &str) -> &str {
    if path == "/" { path } else { "its own" }
}
