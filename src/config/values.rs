//! The values of single options, checked.

use super::error::ConfigError;
use super::options::Options;
use std::time::Duration;

/// When a client sends the application's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With the request, as its body: no round trip is lost, and simple-obfs does it so.
    Eager,
    /// After the 101, as RFC 6455 has it: passes every front proxy.
    Standard,
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

/// What `parse` makes of a value that was given; where it makes nothing of it, the value is wrong.
pub(super) fn parse<T>(
    given: Option<(&str, &str)>,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some((name, text)) = given else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| ConfigError::option(name, text, expected))
}

/// The value of an option that has one, read by `parse`.
pub(super) fn parsed<T>(
    options: &Options,
    name: &str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    self::parse(value(options, name, expected)?, expected, parse)
}

/// A truth value, as the programs write it whose options are taken; nothing at all says yes.
pub(super) fn truth(value: Option<&str>) -> Option<bool> {
    match value.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Whether a flag is set. `fast-open=false` says no.
pub(super) fn flag(options: &Options, name: &str) -> Result<bool, ConfigError> {
    let Some(option) = options.get(name) else { return Ok(false) };
    let value = option.value.as_deref();
    truth(value).ok_or_else(|| ConfigError::option(&option.key, value.unwrap_or_default(), "true or false"))
}

/// The names of `obfs-tls-host`, in lower case.
pub(super) fn fake_tls_names(options: &Options) -> Result<Vec<String>, ConfigError> {
    /// Each is one group of users' secret; more are not one port's.
    const MOST: usize = 64;
    let expected = "a host name, or several with a comma (no spaces, slashes or control characters)";
    let mut names = Vec::new();
    for option in options.all("obfs-tls-host") {
        let text = option.value.as_deref().unwrap_or_default();
        let fail = |expected| Err(ConfigError::option(&option.key, text, expected));
        for name in text.split(',').map(str::trim) {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
                return fail(expected);
            }
            if names.len() == MOST {
                return fail("among the first 64 names: no more are taken");
            }
            names.push(name.to_ascii_lowercase());
        }
    }
    Ok(names)
}

pub(super) fn handshake(options: &Options) -> Result<Handshake, ConfigError> {
    let handshake = parsed(options, "handshake", "a handshake (eager or standard)", |text| {
        match text.to_ascii_lowercase().as_str() {
            "eager" => Some(Handshake::Eager),
            "standard" => Some(Handshake::Standard),
            _ => None,
        }
    })?;
    Ok(handshake.unwrap_or(Handshake::Eager))
}

pub(super) fn seconds(options: &Options, name: &str) -> Result<Option<Duration>, ConfigError> {
    /// A year: what is meant to be for ever fits, what would overflow a clock does not.
    const MOST: u64 = 366 * 24 * 3600;
    parsed(options, name, "a number of seconds from 1 to 31622400", |text| {
        text.parse().ok().filter(|seconds| (1..=MOST).contains(seconds)).map(Duration::from_secs)
    })
}

/// Whether a text can be a path.
pub(super) fn is_path(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.len() <= 2048
}

/// The path under the first of these names that is given: simple-obfs and v2ray-plugin have each their
/// own. The others are checked all the same.
pub(super) fn path(options: &Options, names: &[&str]) -> Result<Option<String>, ConfigError> {
    let expected = "a path (no control characters, at most 2048 bytes)";
    let mut first = None;
    for name in names {
        let given =
            if *name == "path" { value_if_any(options, name) } else { value(options, name, expected)? };
        let path = parse(given, expected, |text| {
            let slash = if text.starts_with('/') { "" } else { "/" };
            is_path(text).then(|| format!("{slash}{text}"))
        })?;
        first = first.or(path);
    }
    Ok(first)
}

/// A path as it stands in a log, which others read too: a path of one's own is a secret.
pub(super) fn shown(path: &str) -> &str {
    if path == "/" { path } else { "its own" }
}

pub(super) fn method(options: &Options) -> Result<String, ConfigError> {
    let method = parsed(options, "http-method", "an HTTP method (such as GET)", |text| {
        let fits = text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') && text.len() <= 32;
        fits.then(|| text.to_owned())
    })?;
    Ok(method.unwrap_or_else(|| "GET".to_owned()))
}
