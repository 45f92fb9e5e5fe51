//! The values of single options, checked.

use super::options::Options;
use super::{ConfigError, Handshake, ProcessConfig};
use crate::net::options::SocketOptions;
use crate::telemetry::LogLevel;
use crate::wire::http::host::without_port;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Whether a name of a `Host` header ends in a port.
pub(super) fn has_port(host: &str) -> bool {
    without_port(host).len() != host.len()
}

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

/// What `tls` asks for; `None` where it is not asked for.
pub(super) fn tls(options: &Options) -> Result<Option<Tls>, ConfigError> {
    let option = options.get("tls");
    let value = option.and_then(|option| option.value.as_deref());
    if value.is_some_and(|value| value.eq_ignore_ascii_case("only")) {
        return Ok(Some(Tls::Only));
    }
    match flag(options, "tls") {
        Ok(true) => Ok(Some(Tls::On)),
        Ok(false) => Ok(None),
        Err(_) => {
            let key = option.map_or("tls", |option| &option.key);
            Err(ConfigError::option(key, value.unwrap_or_default(), "a flag's value (true or false) or only"))
        }
    }
}

/// What `tls` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// TLS.
    On,
    /// TLS, and nothing without it, also on a server that takes every kind of client.
    Only,
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

pub(super) fn log_level(options: &Options) -> Result<LogLevel, ConfigError> {
    let expected = "a log level (error, warning, info, debug or none)";
    let level = match value_if_any(options, "loglevel") {
        None => LogLevel::Info,
        Some((name, text)) => match text.to_ascii_lowercase().as_str() {
            "none" => LogLevel::None,
            "error" => LogLevel::Error,
            "warning" | "warn" => LogLevel::Warning,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            _ => return Err(ConfigError::option(name, text, expected)),
        },
    };
    Ok(if flag(options, "v")? { LogLevel::Debug } else { level })
}

pub(super) fn host_header(options: &Options) -> Result<Option<String>, ConfigError> {
    name(options, "obfs-host")
}

/// A host name that is fit for a head, under any of the options that have one.
pub(super) fn name(options: &Options, option: &str) -> Result<Option<String>, ConfigError> {
    let expected = "a host name (no spaces, slashes or control characters)";
    let Some((name, text)) = value(options, option, expected)? else { return Ok(None) };
    let fail = || Err(ConfigError::option(name, text, expected));
    let (host, port) = text.split_at(without_port(text).len());
    let Some(host) = crate::wire::http::host::ascii_name(host) else { return fail() };
    let ascii = format!("{host}{port}");
    // It is copied into the head: what could end a header line there must not come in here.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,".contains(&b);
    if ascii.bytes().all(allowed) && ascii.len() <= 255 { Ok(Some(ascii)) } else { fail() }
}

pub(super) fn fwmark(options: &Options) -> Result<Option<u32>, ConfigError> {
    let expected = "a mark (a number from 0 to 4294967295)";
    let Some((name, text)) = value_if_any(options, "fwmark") else { return Ok(None) };
    match text.parse() {
        // v2ray-plugin's default, which means none.
        Ok(0) => Ok(None),
        Ok(mark) => Ok(Some(mark)),
        Err(_) => Err(ConfigError::option(name, text, expected)),
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

/// What is asked of the sockets.
pub(super) fn sockets(options: &Options) -> Result<SocketOptions, ConfigError> {
    let interface = value(options, "i", "the name of a network interface")?;
    let source = match value(options, "b", ADDRESS)? {
        None => None,
        Some((name, text)) => Some(address(name, text)?),
    };
    Ok(SocketOptions {
        fast_open: flag(options, "fast-open")?,
        mptcp: flag(options, "mptcp")?,
        interface: interface.map(|(_, name)| name.to_owned()),
        source,
        ipv6_first: flag(options, "6")?,
        // The working directory changes when the process goes into the background.
        protect: flag(options, "V")?.then(|| {
            let name = PathBuf::from("protect_path");
            std::path::absolute(&name).unwrap_or(name)
        }),
        mark: fwmark(options)?,
    })
}

const ADDRESS: &str = "an address of this machine (such as 192.0.2.1 or 2001:db8::1)";

fn address(name: &str, text: &str) -> Result<IpAddr, ConfigError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| ConfigError::option(name, text, ADDRESS))
}

/// What the process is asked to be.
pub(super) fn process(options: &Options) -> Result<ProcessConfig, ConfigError> {
    let expected = "a number of open files (1 or more)";
    let open_files = match value(options, "n", expected)? {
        None => None,
        Some((name, text)) => match text.parse::<u64>() {
            Ok(number @ 1..) => Some(number),
            _ => return Err(ConfigError::option(name, text, expected)),
        },
    };
    let user = value(options, "a", "the name or number of a user")?;
    let pid_file = value(options, "f", "the name of a file")?;
    Ok(ProcessConfig {
        user: user.map(|(_, user)| user.to_owned()),
        pid_file: pid_file.map(|(_, path)| path.into()),
        open_files,
    })
}

/// The name server that was asked for.
pub(super) fn nameserver(options: &Options) -> Result<Option<String>, ConfigError> {
    Ok(value(options, "d", "the address of a name server")?.map(|(_, text)| text.to_owned()))
}
