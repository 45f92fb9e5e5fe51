//! UDP beside the tunnels (SIP003u): who carries it.

use super::error::ConfigError;
use super::options::Options;
use super::values::flag;

/// Whether UDP is taken, by who has a disguise that `carries` it or not.
pub(super) fn udp(options: &Options, carries: bool) -> Result<bool, ConfigError> {
    match flag(options, "udp")? {
        true if !carries => {
            let option = options.get("udp").map_or_else(|| "udp".to_owned(), ToString::to_string);
            Err(ConfigError::needs(option, "mode=websocket, mode=quic or mode=grpc"))
        }
        asked => Ok(asked),
    }
}

/// Warns of a host that has no way to pass UDP to a plugin.
pub(super) fn warn_of_host(options: &Options, parent: &str) {
    const OF_LIBEV: [&str; 4] = ["ss-local", "ss-server", "ss-redir", "ss-tunnel"];
    if OF_LIBEV.contains(&parent) {
        options.warn(format!(
            "option `udp`: {parent} sends its UDP past every plugin, in the open (shadowsocks-rust passes it on, with \
             `\"plugin_mode\": \"tcp_and_udp\"`)"
        ));
    }
}
