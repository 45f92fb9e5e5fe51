//! The way from one half to the other, and to Shadowsocks behind the server.

use super::{CLIENT, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "route",
        Kind::Values("PATH-OR-NAME:HOST:PORT"),
        SERVER,
        "Another Shadowsocks server behind the same port. /PATH:HOST:PORT sends websocket, httpupgrade and \
         obfs=http requests for this path to HOST:PORT. NAME:HOST:PORT does so for TLS clients that ask for \
         this name of the certificate. The path is looked at first. May be given several times.",
    ),
    option(
        "proxy",
        Kind::Value("URL"),
        CLIENT,
        "Reach the server through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT] or \
         http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded. The proxy looks up the \
         server's name. Default: no proxy; default port: 1080.",
    ),
];
