//! What the connections look like.

use super::{BOTH, CLIENT, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "mode",
        Kind::Value("MODE"),
        BOTH,
        "The disguise, by v2ray-plugin's names: websocket, httpupgrade, quic or grpc. Client: Default: as \
         obfs says. Server: websocket takes httpupgrade as well, and the other way round; quic listens on UDP \
         alone. Default: auto, which takes every kind of client on one port (QUIC if quic is set, gRPC if \
         serviceName is set).",
    ),
    option(
        "obfs",
        Kind::Value("DISGUISE"),
        BOTH,
        "The disguise, by simple-obfs's names: http is an HTTP upgrade, tls looks like a TLS session but is \
         none, websocket (or ws) is the same as mode=websocket. Client: Default: http, or websocket if \
         v2ray-plugin's options are given. Server: Several are separated by commas: http,tls. Default: as \
         mode says.",
    ),
    option(
        "host",
        Kind::Value("NAME"),
        BOTH,
        "Client: websocket, httpupgrade, grpc, quic: the name in the Host header and in the TLS hello. \
         Default: cloudfront.com; with grpc without TLS, the server's address. Server: The name by which \
         acme.sh's certificate is found. Requests for other names are taken, too.",
    ),
    option(
        "path",
        Kind::Value("PATH"),
        BOTH,
        "websocket and httpupgrade: Client: the path of the request. Default: that of obfs-uri, or /. Server: \
         take only requests for this path. Default: that of obfs-uri, or /.",
    ),
    option(
        "obfs-host",
        Kind::Value("NAME"),
        BOTH,
        "Client: obfs=http and obfs=tls: the name in the Host header or in the hello. Default: the server's \
         own name. Server: Take only clients that ask for this name. Default: any name.",
    ),
    option(
        "obfs-uri",
        Kind::Value("PATH"),
        BOTH,
        "obfs=http: Client: the path of the request. Default: that of path, or /. Server: take only requests \
         for this path. Default: that of path, or any path.",
    ),
    option(
        "obfs-tls-host",
        Kind::Values("NAMES"),
        SERVER,
        "obfs=tls: take only clients that ask for one of these names, separated by commas. With tls, no other \
         clients of obfs=tls are taken: use names that the website does not have. Default: with tls none, \
         otherwise as obfs-host says.",
    ),
    option(
        "http-method",
        Kind::Value("METHOD"),
        BOTH,
        "The method of the request, such as GET or POST. Client: The one to send. Default: GET. Server: The \
         one to take. Default: GET.",
    ),
    option(
        "handshake",
        Kind::Value("WHEN"),
        CLIENT,
        "obfs=http and httpupgrade: eager sends the first bytes together with the request, as simple-obfs \
         does. standard sends them after the answer: one round trip more, and every proxy in front passes it. \
         Default: eager; with httpupgrade standard.",
    ),
    option(
        "mux",
        Kind::Value("SESSIONS"),
        BOTH,
        "websocket and grpc: how many sessions share a connection (Mux.Cool). Client: 0 turns it off. \
         Default: 1; with grpc 0. Server: No effect: a server takes clients with it and without.",
    ),
    OptionSpec {
        aliases: &["service-name"],
        ..option(
            "serviceName",
            Kind::Values("NAME"),
            BOTH,
            "grpc: the name of the service; with a leading slash, the whole path. Client: Default: \
             GunService. Server: May be given several times. With mode=auto, gRPC is taken only if this is \
             set. Default with mode=grpc: GunService.",
        )
    },
    option(
        "header",
        Kind::Values("NAME: VALUE"),
        CLIENT,
        "websocket and httpupgrade: one more header of the request. May be given several times.",
    ),
    option(
        "user-agent",
        Kind::Value("TEXT"),
        CLIENT,
        "websocket, httpupgrade and grpc: the User-Agent of the request. Default: that of Go, as in \
         v2ray-plugin.",
    ),
    option(
        "udp",
        Kind::Flag,
        BOTH,
        "websocket, quic and grpc: carry UDP, too. Both halves need it, and a Shadowsocks program that passes \
         UDP to its plugin: shadowsocks-rust with plugin_mode=tcp_and_udp. Default: UDP does not go through \
         the plugin.",
    ),
];
