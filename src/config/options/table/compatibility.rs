//! What other programs' configurations have.

use super::{BOTH, Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        aliases: &["local-addr"],
        ..option(
            "localAddr",
            Kind::Value("HOST"),
            BOTH,
            "In place of SS_LOCAL_HOST; several hosts are separated by `|`.",
        )
    },
    OptionSpec {
        aliases: &["local-port"],
        ..option("localPort", Kind::Value("PORT"), BOTH, "In place of SS_LOCAL_PORT.")
    },
    OptionSpec {
        aliases: &["remote-addr"],
        ..option(
            "remoteAddr",
            Kind::Value("HOST"),
            BOTH,
            "In place of SS_REMOTE_HOST; several hosts are separated by `|`.",
        )
    },
    OptionSpec {
        aliases: &["remote-port"],
        ..option("remotePort", Kind::Value("PORT"), BOTH, "In place of SS_REMOTE_PORT.")
    },
    OptionSpec {
        aliases: &["android-vpn", "__android_vpn"],
        short: Some('V'),
        ..option(
            "V",
            Kind::Flag,
            BOTH,
            "Android: have each outgoing socket exempted from the VPN, through the socket protect_path in the \
             working directory. Default: off.",
        )
    },
    OptionSpec {
        aliases: &["nameserver"],
        short: Some('d'),
        ..option(
            "d",
            Kind::Value("ADDRESS"),
            BOTH,
            "Has no effect, as in simple-obfs: names are looked up as the system does it.",
        )
    },
    option(
        "reverse-proxy",
        Kind::Flag,
        SERVER,
        "Has no effect: the server always answers the upgrade at once.",
    ),
];
