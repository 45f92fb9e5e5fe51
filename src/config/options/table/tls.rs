//! TLS and QUIC.

use super::{BOTH, CLIENT, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "tls",
        Kind::FlagOr("only"),
        BOTH,
        "TLS around websocket, httpupgrade or grpc. Client: Default: no TLS. Server: With mode=auto, clients \
         with TLS and without are taken; tls=only takes none without. With another mode, none without are \
         taken. Default: no TLS.",
    ),
    option(
        "cert",
        Kind::Value("FILE"),
        BOTH,
        "Client: Certificates in PEM to trust beside the system's. Server: The certificate chain in PEM; it \
         is read again when the file changes. Default: acme.sh's for host.",
    ),
    option(
        "key",
        Kind::Value("FILE"),
        SERVER,
        "The private key of cert, in PEM; it is read again when the file changes. Default: acme.sh's for host.",
    ),
    OptionSpec {
        aliases: &["cert-raw"],
        ..option(
            "certRaw",
            Kind::Value("BASE64"),
            CLIENT,
            "One more certificate to trust: the text between the first and the last line of a PEM file.",
        )
    },
    OptionSpec {
        aliases: &["peer"],
        ..option(
            "sni",
            Kind::Values("NAME[:HOST:PORT]"),
            BOTH,
            "Client: The name in the TLS hello. Default: that of host. Server: NAME:HOST:PORT passes TLS for \
             this name, or for all names below it (*.example.com), unopened to HOST:PORT. May be given \
             several times.",
        )
    },
    option(
        "quic",
        Kind::Flag,
        SERVER,
        "With mode=auto and tls: take QUIC, too, on the same port of UDP. (mode=quic takes QUIC alone.) \
         Default: no QUIC.",
    ),
    option(
        "quic-congestion",
        Kind::Value("NAME"),
        BOTH,
        "QUIC's congestion control: cubic, which goes by lost packets, or bbr, which goes by the rate of \
         delivery and is experimental. Default: cubic.",
    ),
];
