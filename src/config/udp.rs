//! UDP beside the tunnels (SIP003u): who carries it.

use super::disguise::{ClientDisguise, Disguise};
use super::error::ConfigError;
use super::options::Options;
use super::values::flag;
use super::web::WebBody;

/// The modes that carry UDP.
const CARRIERS: &str = "mode=websocket, mode=quic or mode=grpc";

/// Whether a client with this disguise takes UDP at its local port.
pub(super) fn client(options: &Options, disguise: &ClientDisguise) -> Result<bool, ConfigError> {
    if !flag(options, "udp")? {
        return Ok(false);
    }
    let carries = match disguise {
        ClientDisguise::Web(web) => matches!(web.body, WebBody::Frames),
        ClientDisguise::Quic(_) | ClientDisguise::Grpc(_) => true,
        ClientDisguise::Http(..) | ClientDisguise::FakeTls { .. } => false,
    };
    if carries { Ok(true) } else { Err(needs_carrier(options)) }
}

/// Whether a server that takes these disguises passes UDP on.
pub(super) fn server(options: &Options, disguises: &[Disguise]) -> Result<bool, ConfigError> {
    let carries = |disguise: &Disguise| match disguise {
        // (it takes WebSocket as well)
        Disguise::HttpUpgrade => true,
        Disguise::WebSocket | Disguise::Quic | Disguise::Grpc | Disguise::Auto => true,
        Disguise::Http | Disguise::FakeTls => false,
    };
    if !flag(options, "udp")? {
        return Ok(false);
    }
    if disguises.iter().any(carries) { Ok(true) } else { Err(needs_carrier(options)) }
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

fn needs_carrier(options: &Options) -> ConfigError {
    let option = options.get("udp").map_or_else(|| "udp".to_owned(), ToString::to_string);
    ConfigError::needs(option, CARRIERS)
}
