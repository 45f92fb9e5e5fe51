//! The process and its log.

use super::{BOTH, Kind, OptionSpec, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        aliases: &["config"],
        short: Some('c'),
        ..option(
            "c",
            Kind::Value("FILE"),
            BOTH,
            "Read more options from this JSON file. What is given elsewhere wins.",
        )
    },
    option(
        "loglevel",
        Kind::Value("LEVEL"),
        BOTH,
        "What to log: error, warning, info, debug or none. Default: info.",
    ),
    OptionSpec {
        aliases: &["verbose"],
        short: Some('v'),
        ..option("v", Kind::Flag, BOTH, "The same as loglevel=debug.")
    },
    option(
        "access-log",
        Kind::Value("stdout|FILE"),
        BOTH,
        "Write one line for each connection when it has ended, to stdout or to the end of a file; SIGHUP \
         opens the file again. Default: off.",
    ),
    option(
        "access-log-format",
        Kind::Value("FORMAT"),
        BOTH,
        "The form of these lines: json or text. Default: json.",
    ),
    option(
        "metrics",
        Kind::Value("ADDRESS"),
        BOTH,
        "Serve metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them: a \
         loopback address (127.0.0.1:9180) or the path of a Unix socket (/run/obfs-rs.sock). Default: off.",
    ),
    option(
        "metrics-public",
        Kind::Flag,
        BOTH,
        "Allow an address for metrics that other machines can reach. Default: off.",
    ),
    option(
        "drain",
        Kind::Value("SECONDS"),
        BOTH,
        "On SIGTERM, stop listening and let open tunnels go on for up to this time, in seconds, at most \
         86400; a second SIGTERM ends at once. Default: end at once.",
    ),
    OptionSpec {
        aliases: &["user"],
        short: Some('a'),
        ..option(
            "a",
            Kind::Value("USER"),
            BOTH,
            "Once it listens, go on as this user, by name or number, with the user's groups. A second process \
             keeps the right to read cert and key when they are renewed. Default: the user who starts it.",
        )
    },
    OptionSpec {
        aliases: &["pid-file"],
        short: Some('f'),
        ..option(
            "f",
            Kind::Value("FILE"),
            BOTH,
            "Once it listens, write the process id to this file, go into the background and log to syslog. \
             Under a Shadowsocks program, which watches its plugin, it stays in the foreground. Default: off.",
        )
    },
    option("server", Kind::Flag, BOTH, "Be the server half."),
    option("client", Kind::Flag, BOTH, "Be the client half."),
];
