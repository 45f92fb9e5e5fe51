//! Limits, timeouts and sockets.

use super::{BOTH, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        aliases: &["timeout"],
        short: Some('t'),
        ..option(
            "t",
            Kind::Value("SECONDS"),
            BOTH,
            "Close a tunnel after this time without data, in seconds. Default: 7200.",
        )
    },
    option(
        "limit-tunnels",
        Kind::Value("NUMBER"),
        SERVER,
        "The most tunnels at a time; with mux each session is one. A client over the limit waits for 5 s and \
         then gets the website. Default: no limit.",
    ),
    option(
        "limit-tunnels-per-address",
        Kind::Value("NUMBER"),
        SERVER,
        "The most tunnels at a time for each address (IPv6: each network of 64 bits). Behind a proxy in \
         trusted, the visitor's address counts. Default: no limit.",
    ),
    option(
        "limit-rate-per-address",
        Kind::Value("NUMBER"),
        SERVER,
        "The most new connections per second of an address that may become tunnels; twice as many at once. \
         Visitors count and are not limited. Default: no limit.",
    ),
    option(
        "limit-buffers",
        Kind::Value("MIB"),
        BOTH,
        "The most memory for data that waits for slow receivers, in MiB. Beyond it, no more is read for them. \
         Default: a quarter of the memory.",
    ),
    OptionSpec {
        aliases: &["nofile"],
        short: Some('n'),
        ..option(
            "n",
            Kind::Value("NUMBER"),
            BOTH,
            "The most open files, connections among them. Default: as many as the system allows, but at most \
             one for each 48 KiB of memory.",
        )
    },
    OptionSpec {
        aliases: &["fastOpen", "tfo"],
        ..option(
            "fast-open",
            Kind::Flag,
            BOTH,
            "Send and take the first bytes with the SYN (TCP Fast Open), where the system can. Default: off.",
        )
    },
    option(
        "mptcp",
        Kind::Flag,
        BOTH,
        "Use Multipath TCP between the halves, where the system can. Default: off.",
    ),
    OptionSpec {
        aliases: &["interface"],
        short: Some('i'),
        ..option(
            "i",
            Kind::Value("INTERFACE"),
            BOTH,
            "Dial through this network interface; connections within this machine are not affected. Default: \
             the system chooses.",
        )
    },
    OptionSpec {
        aliases: &["source-address", "bind-address"],
        short: Some('b'),
        ..option(
            "b",
            Kind::Value("ADDRESS"),
            BOTH,
            "Dial from this address of this machine, and only to addresses of its family. Default: the system \
             chooses.",
        )
    },
    OptionSpec {
        aliases: &["ipv6-first"],
        short: Some('6'),
        ..option(
            "6",
            Kind::Flag,
            BOTH,
            "If a name has addresses of both families, try IPv6 first. Default: the system's order.",
        )
    },
    option(
        "fwmark",
        Kind::Value("NUMBER"),
        BOTH,
        "Mark outgoing packets with this number (SO_MARK, Linux). Default: no mark.",
    ),
];
