//! What both halves have: time-outs and sockets.

use super::error::ConfigError;
use super::options::Options;
use super::values::{flag, parse, parsed, seconds, value, value_if_any};
use crate::net::options::SocketOptions;
use std::path::PathBuf;
use std::time::Duration;

/// What both halves have.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// A tunnel on which nothing moved for so long is ended.
    pub idle_timeout: Duration,
    /// What is asked of the sockets.
    pub sockets: SocketOptions,
}

impl Default for TunnelConfig {
    fn default() -> TunnelConfig {
        TunnelConfig { idle_timeout: DEFAULT_IDLE_TIMEOUT, sockets: SocketOptions::default() }
    }
}

/// Long enough for a quiet SSH session over lunch. Peers that are gone are found by TCP keep-alive
/// long before.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(7200);

/// What both halves have.
pub(super) fn tunnel(options: &Options) -> Result<TunnelConfig, ConfigError> {
    Ok(TunnelConfig {
        idle_timeout: seconds(options, "t")?.unwrap_or(DEFAULT_IDLE_TIMEOUT),
        sockets: sockets(options)?,
    })
}

/// What is asked of the sockets.
fn sockets(options: &Options) -> Result<SocketOptions, ConfigError> {
    let interface = value(options, "i", "the name of a network interface")?;
    let expected = "an address of this machine (such as 192.0.2.1 or 2001:db8::1)";
    Ok(SocketOptions {
        fast_open: flag(options, "fast-open")?,
        mptcp: flag(options, "mptcp")?,
        interface: interface.map(|(_, name)| name.to_owned()),
        source: parsed(options, "b", expected, |text| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.parse().ok()
        })?,
        ipv6_first: flag(options, "6")?,
        // The working directory changes when the process goes into the background.
        protect: flag(options, "V")?.then(|| {
            let name = PathBuf::from("protect_path");
            std::path::absolute(&name).unwrap_or(name)
        }),
        mark: fwmark(options)?,
    })
}

fn fwmark(options: &Options) -> Result<Option<u32>, ConfigError> {
    let expected = "a mark (a number from 0 to 4294967295)";
    let mark = parse(value_if_any(options, "fwmark"), expected, |text| text.parse().ok())?;
    // v2ray-plugin's default is 0, which means none.
    Ok(mark.filter(|&mark| mark != 0))
}
