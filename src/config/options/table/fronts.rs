//! Proxies in front of the server.

use super::{CLIENT, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "trusted",
        Kind::Values("NETWORKS"),
        SERVER,
        "The proxies in front, ADDRESS or ADDRESS/PREFIX, separated by commas. They are believed when they \
         say where a visitor comes from: in a PROXY header (proxy-protocol=in), and for the log in \
         X-Forwarded-For. Default: none.",
    ),
    option(
        "proxy-protocol",
        Kind::Value("DIRECTION"),
        SERVER,
        "in: connections from the addresses in trusted must begin with a PROXY header, version 1 or 2, and \
         are closed if they do not. Default: no header is expected.",
    ),
    OptionSpec {
        aliases: &["keep-alive"],
        ..option(
            "keepalive",
            Kind::Value("SECONDS"),
            CLIENT,
            "websocket: send a ping before a connection has been silent for this time, so that no proxy ends \
             it as idle. In seconds, 0 sends none. Default: 45.",
        )
    },
];
