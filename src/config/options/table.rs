//! The table itself.

use crate::config::role::Role;

/// What stands behind an option's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or a truth value (`fast-open`, `fast-open=1`, `fast-open=false`).
    Flag,
    /// Nothing, a truth value, or this word.
    FlagOr(&'static str),
    /// A value; the text is its name in `--help`.
    Value(&'static str),
    /// A value, and the option may be given several times.
    Values(&'static str),
}

/// One option.
#[derive(Debug)]
pub struct OptionSpec {
    /// The name in messages and in `--help`.
    pub name: &'static str,
    /// Other spellings in the wild.
    pub aliases: &'static [&'static str],
    /// The letter on the command line (and, as simple-obfs has it, a plugin option of one letter).
    pub short: Option<char>,
    /// With or without a value.
    pub kind: Kind,
    /// The half that it speaks to, if not to both. The other takes it silently: hosts and users hand the
    /// same string to both.
    pub half: Option<Role>,
    /// One sentence for `--help` and the manual.
    pub help: &'static str,
}

impl OptionSpec {
    /// Under which heading of `--help` an option stands.
    pub(crate) fn heading(&self) -> &'static str {
        match self.name {
            "obfs" | "mode" | "host" | "obfs-host" | "obfs-uri" | "path" | "http-method" | "handshake"
            | "mux" | "header" | "user-agent" | "serviceName" => "Disguise",
            "tls" | "sni" | "quic" | "quic-congestion" | "cert" | "certRaw" | "key" => "TLS",
            "route" => "Backends",
            "proxy-protocol" | "trusted" | "reverse-proxy" => "Website and proxies",
            name if name.starts_with("failover") => "Website and proxies",
            name if name.starts_with("limit-") => "Limits",
            "udp" | "proxy" | "t" | "fast-open" | "mptcp" | "i" | "b" | "6" | "d" | "V" | "fwmark"
            | "keepalive" => "Connections",
            "c" | "a" | "f" | "n" | "drain" | "loglevel" | "v" | "access-log" | "access-log-format"
            | "metrics" | "metrics-public" => "Process",
            _ => "Further options",
        }
    }
}

const BOTH: Option<Role> = None;
const CLIENT: Option<Role> = Some(Role::Client);
const SERVER: Option<Role> = Some(Role::Server);

const fn option(name: &'static str, kind: Kind, half: Option<Role>, help: &'static str) -> OptionSpec {
    OptionSpec { name, aliases: &[], short: None, kind, half, help }
}

/// Every option there is, in the order in which `--help` shows them.
pub const OPTIONS: &[OptionSpec] = &[
    option(
        "obfs",
        Kind::Value("DISGUISE"),
        BOTH,
        "What the connections look like: http (a client's default), an HTTP upgrade, or tls, a look-alike of a \
         TLS session, both as simple-obfs makes them; websocket (or ws) is mode=websocket. A server may \
         take both: http,tls.",
    ),
    option(
        "mode",
        Kind::Value("MODE"),
        BOTH,
        "websocket or quic, as v2ray-plugin makes them, httpupgrade, as v2ray and xray have it, or grpc, as its fork \
         has it; a server takes both websocket and httpupgrade where it takes one. A server's default is auto: every kind of client on one \
         port, quic among them where the option quic is set.",
    ),
    option(
        "host",
        Kind::Value("NAME"),
        BOTH,
        "WebSocket client: the name in the Host header and in the TLS hello (default: cloudfront.com). \
         Server: the name whose certificate acme.sh has; requests are not compared with it.",
    ),
    OptionSpec {
        aliases: &["peer"],
        ..option(
            "sni",
            Kind::Values("NAME[:HOST:PORT]"),
            BOTH,
            "Client: the name in the TLS hello, where it is not that of host. Server: TLS for this name, \
             or for all names below it (*.example.com), goes raw to HOST:PORT; may be given several times.",
        )
    },
    option(
        "tls",
        Kind::FlagOr("only"),
        BOTH,
        "TLS around WebSocket or HTTPUpgrade; a server with mode=websocket or mode=httpupgrade then takes nothing \
         in the clear. With mode=auto, also where that is the default, it takes both; with tls=only, nothing \
         in the clear either.",
    ),
    option(
        "quic",
        Kind::Flag,
        SERVER,
        "With mode=auto and tls: take QUIC as well, on UDP of the same port. (mode=quic takes it alone, and leaves TCP \
         of the port to others.)",
    ),
    option(
        "quic-congestion",
        Kind::Value("NAME"),
        BOTH,
        "With QUIC: how fast to send, cubic (the default) by what is lost, or bbr by what arrives, which is \
         experimental.",
    ),
    option(
        "cert",
        Kind::Value("FILE"),
        BOTH,
        "Client: certificates in PEM to be trusted beside the system's. Server: its certificate chain \
         (default: acme.sh's for host); it is read anew when it changes.",
    ),
    OptionSpec {
        aliases: &["cert-raw"],
        ..option(
            "certRaw",
            Kind::Value("BASE64"),
            CLIENT,
            "The same as cert, as the text between the lines of a PEM file.",
        )
    },
    option(
        "key",
        Kind::Value("FILE"),
        SERVER,
        "The certificate's key, in PEM (default: acme.sh's for host).",
    ),
    option(
        "mux",
        Kind::Value("SESSIONS"),
        BOTH,
        "WebSocket and gRPC client: so many sessions share a connection, or a stream of one (default: 1, with gRPC 0); \
         0 is no Mux.Cool. A server always takes both.",
    ),
    OptionSpec {
        aliases: &["service-name"],
        ..option(
            "serviceName",
            Kind::Values("NAME"),
            BOTH,
            "gRPC: the service that a client asks for, and that a server takes (default: GunService); with a leading \
             slash, a whole path. A server may be given several, and takes gRPC beside every other kind of client where \
             one is given.",
        )
    },
    option(
        "header",
        Kind::Values("NAME: VALUE"),
        CLIENT,
        "WebSocket and HTTPUpgrade client: one more header of the request; may be given several times.",
    ),
    option(
        "user-agent",
        Kind::Value("TEXT"),
        CLIENT,
        "WebSocket and HTTPUpgrade client: what the request's User-Agent says (default: Go-http-client/1.1).",
    ),
    option(
        "proxy",
        Kind::Value("URL"),
        CLIENT,
        "Reach the server through a proxy, which looks its name up: socks5://[USER:PASSWORD@]HOST[:PORT] or \
         http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded (default port: 1080).",
    ),
    OptionSpec {
        aliases: &["keep-alive"],
        ..option(
            "keepalive",
            Kind::Value("SECONDS"),
            CLIENT,
            "WebSocket client: send a ping on a connection on which nothing was sent, or nothing has come, for nearly so \
             long, for proxies in front that end idle ones (default: 45); 0 sends none.",
        )
    },
    option("fwmark", Kind::Value("NUMBER"), BOTH, "Mark outgoing packets (SO_MARK on Linux)."),
    OptionSpec {
        aliases: &["local-addr"],
        ..option("localAddr", Kind::Value("HOST"), BOTH, "In SS_LOCAL_HOST's place; several hosts with `|`.")
    },
    OptionSpec {
        aliases: &["local-port"],
        ..option("localPort", Kind::Value("PORT"), BOTH, "In SS_LOCAL_PORT's place.")
    },
    OptionSpec {
        aliases: &["remote-addr"],
        ..option(
            "remoteAddr",
            Kind::Value("HOST"),
            BOTH,
            "In SS_REMOTE_HOST's place; several hosts with `|`.",
        )
    },
    OptionSpec {
        aliases: &["remote-port"],
        ..option("remotePort", Kind::Value("PORT"), BOTH, "In SS_REMOTE_PORT's place.")
    },
    option(
        "obfs-host",
        Kind::Value("NAME"),
        BOTH,
        "Client: the name in the Host header or in the TLS hello (default: the remote's own name). \
         Server: take only connections that ask for this name (default: any).",
    ),
    option(
        "obfs-tls-host",
        Kind::Values("NAMES"),
        SERVER,
        "Take the hellos of obfs=tls for these names alone, several with a comma. With tls they are taken for no \
         others: who asks for one of these names finds the tunnel, so it is to be none of the website's.",
    ),
    option(
        "obfs-uri",
        Kind::Value("PATH"),
        BOTH,
        "Client: the path of the request (default: that of path, or /). Server: take only requests for this \
         path (default: that of path, or any).",
    ),
    option(
        "path",
        Kind::Value("PATH"),
        BOTH,
        "The same for WebSocket and HTTPUpgrade (default: that of obfs-uri, or /).",
    ),
    option(
        "route",
        Kind::Values("PATH-OR-NAME:HOST:PORT"),
        SERVER,
        "/PATH:HOST:PORT: requests for this path, of WebSocket, HTTPUpgrade and obfs=http, go to the Shadowsocks \
         server at HOST:PORT. NAME:HOST:PORT: so do clients with TLS whose hello asks for this name, which is one of \
         the certificate's; the path goes before the name. May be given several times.",
    ),
    option(
        "http-method",
        Kind::Value("METHOD"),
        BOTH,
        "The method of the request that is sent, or taken (default: GET).",
    ),
    option(
        "handshake",
        Kind::Value("WHEN"),
        CLIENT,
        "eager: the first bytes travel with the request, as simple-obfs sends them (default). \
         standard: they wait for the answer, which costs a round trip and passes every front proxy.",
    ),
    OptionSpec {
        aliases: &["fallback"],
        ..option(
            "failover",
            Kind::Value("WEBSITE"),
            SERVER,
            "The website behind the server: whatever is not a tunnel goes there, untouched. HOST:PORT, or one \
             that is served from here, as nginx would: redirect:URL, dir:PATH (the files of a folder) or \
             status:NUMBER for everything.",
        )
    },
    OptionSpec {
        aliases: &["fallback-tls"],
        ..option(
            "failover-tls",
            Kind::Value("HOST:PORT"),
            SERVER,
            "The website for visitors who speak TLS, where it is another one than failover. With tls: \
             where TLS goes that is not for the server's own name, or that no client of ours would speak. \
             Always an address.",
        )
    },
    OptionSpec {
        aliases: &["fallback-http"],
        ..option(
            "failover-http",
            Kind::Value("HOST:PORT"),
            SERVER,
            "With tls: the website for visitors who come without TLS (default: with mode=auto that of \
             failover; else failover-tls, or a page that says that this is a port for HTTPS).",
        )
    },
    OptionSpec {
        aliases: &["fallback-h2"],
        ..option(
            "failover-h2",
            Kind::Value("HOST:PORT"),
            SERVER,
            "With tls: offer HTTP/2 to visitors, and hand those who take it to this port, which speaks \
             HTTP/2 in the clear; `same` is the port of failover. Where gRPC is taken in the clear: visitors who speak \
             HTTP/2 there go there, too.",
        )
    },
    OptionSpec {
        aliases: &["fallback-quic"],
        ..option(
            "failover-quic",
            Kind::Value("HOST:PORT"),
            SERVER,
            "With mode=quic, or quic: the website's HTTP/3, to which every QUIC connection goes that is not for the \
             server's own name, or that offers the protocol h3. Without it, nobody answers these.",
        )
    },
    OptionSpec {
        aliases: &["fallback-proxy"],
        ..option(
            "failover-proxy",
            Kind::Value("VERSION"),
            SERVER,
            "Tell the websites with a PROXY header who came: v1, a line of text, or v2, binary. They must \
             expect one.",
        )
    },
    option(
        "proxy-protocol",
        Kind::Value("DIRECTION"),
        SERVER,
        "in: connections from the addresses in trusted begin with a PROXY header, version 1 or 2, that \
         says where the visitor came from; without one they are closed.",
    ),
    option(
        "trusted",
        Kind::Values("NETWORKS"),
        SERVER,
        "The proxies in front, ADDRESS or ADDRESS/PREFIX, several with a comma: their word is taken about \
         where a visitor came from, by proxy-protocol and, for the log, in X-Forwarded-For.",
    ),
    option(
        "reverse-proxy",
        Kind::Flag,
        SERVER,
        "Answer the upgrade at once, as proxies in front need it. The server always does; taken for old configurations.",
    ),
    option(
        "udp",
        Kind::Flag,
        BOTH,
        "Carry UDP, too, in mode=websocket, quic or grpc: a client takes it at its local port, a server sends it to \
         Shadowsocks's. For hosts that pass it through plugins: shadowsocks-rust with plugin_mode=tcp_and_udp (or \
         udp_only). Both halves need it; v2ray-plugin's server has it already.",
    ),
    option(
        "limit-tunnels",
        Kind::Value("NUMBER"),
        SERVER,
        "The most tunnels that are open at a time; with mux each session is one. A client too many waits for 5 s \
         and then meets the website (default: no limit).",
    ),
    option(
        "limit-tunnels-per-address",
        Kind::Value("NUMBER"),
        SERVER,
        "The same for each address, of IPv6 for each network of 64 bits; behind a proxy in trusted the visitor's own.",
    ),
    option(
        "limit-rate-per-address",
        Kind::Value("NUMBER"),
        SERVER,
        "The new connections of an address in a second that may become tunnels, and at once as many as in two \
         seconds. Visitors count and are not limited.",
    ),
    option(
        "limit-buffers",
        Kind::Value("MIB"),
        BOTH,
        "The most that waits in the process, in MiB, for those who do not take it; beyond it nothing more is read for \
         them (default: a quarter of the memory).",
    ),
    OptionSpec {
        aliases: &["timeout"],
        short: Some('t'),
        ..option(
            "t",
            Kind::Value("SECONDS"),
            BOTH,
            "End a tunnel on which nothing moved for so long (default: 7200).",
        )
    },
    OptionSpec {
        aliases: &["fastOpen", "tfo"],
        ..option(
            "fast-open",
            Kind::Flag,
            BOTH,
            "Send and take the first bytes with the SYN (TCP Fast Open) where the system has it.",
        )
    },
    option(
        "mptcp",
        Kind::Flag,
        BOTH,
        "Use Multipath TCP between the halves where the system has it, TCP where it has not.",
    ),
    OptionSpec {
        aliases: &["interface"],
        short: Some('i'),
        ..option(
            "i",
            Kind::Value("INTERFACE"),
            BOTH,
            "Send what is dialled out of this network interface (not what stays on this machine).",
        )
    },
    OptionSpec {
        aliases: &["source-address", "bind-address"],
        short: Some('b'),
        ..option(
            "b",
            Kind::Value("ADDRESS"),
            BOTH,
            "Dial from this address of this machine; only addresses of its family are dialled then.",
        )
    },
    OptionSpec {
        aliases: &["ipv6-first"],
        short: Some('6'),
        ..option(
            "6",
            Kind::Flag,
            BOTH,
            "Of a name's addresses, try IPv6 first (default: the order of the system).",
        )
    },
    OptionSpec {
        aliases: &["nameserver"],
        short: Some('d'),
        ..option(
            "d",
            Kind::Value("ADDRESS"),
            BOTH,
            "Taken for old configurations and not followed, as simple-obfs does not follow it: names are \
             looked up the way the system is set up. A line in the log says so.",
        )
    },
    OptionSpec {
        aliases: &["android-vpn", "__android_vpn"],
        short: Some('V'),
        ..option(
            "V",
            Kind::Flag,
            BOTH,
            "On Android: have every socket exempted from the VPN before it dials, by whoever listens on \
             protect_path in the working directory.",
        )
    },
    OptionSpec {
        aliases: &["config"],
        short: Some('c'),
        ..option(
            "c",
            Kind::Value("FILE"),
            BOTH,
            "Read options from this JSON file, with the names they have here or in simple-obfs. Options and \
             variables that are given otherwise win.",
        )
    },
    OptionSpec {
        aliases: &["user"],
        short: Some('a'),
        ..option(
            "a",
            Kind::Value("USER"),
            BOTH,
            "Once it listens, go on as this user (name or number) with the user's groups. A second process \
             keeps the right to read cert and key, for their renewal.",
        )
    },
    OptionSpec {
        aliases: &["pid-file"],
        short: Some('f'),
        ..option(
            "f",
            Kind::Value("FILE"),
            BOTH,
            "Once it listens, write the process id into this file and go on in the background, logging to syslog; under a \
             Shadowsocks program, which watches its plugin, in the foreground.",
        )
    },
    OptionSpec {
        aliases: &["nofile"],
        short: Some('n'),
        ..option(
            "n",
            Kind::Value("NUMBER"),
            BOTH,
            "The most files and connections that may be open (default: as many as the system allows, and one for each 48 KiB of memory).",
        )
    },
    option(
        "drain",
        Kind::Value("SECONDS"),
        BOTH,
        "On SIGTERM, close the port and let open tunnels go on until they end, for up to so long (at most 86400); a \
         second SIGTERM ends at once. Default: all end with the first.",
    ),
    option(
        "loglevel",
        Kind::Value("LEVEL"),
        BOTH,
        "What is logged: error, warning, info (default), debug or none.",
    ),
    option(
        "access-log",
        Kind::Value("stdout|FILE"),
        BOTH,
        "A line for each connection when it has ended, at the end of the file; SIGHUP opens it anew.",
    ),
    option("access-log-format", Kind::Value("FORMAT"), BOTH, "How these lines look: json (default) or text."),
    OptionSpec {
        aliases: &["verbose"],
        short: Some('v'),
        ..option("v", Kind::Flag, BOTH, "The same as loglevel=debug.")
    },
    option(
        "metrics",
        Kind::Value("ADDRESS"),
        BOTH,
        "Metrics for Prometheus at http://ADDRESS/metrics, with /healthz and /readyz beside them (default: none). An \
         address of this machine for itself (127.0.0.1:9180), or the path of a Unix socket (/run/obfs-rs.sock).",
    ),
    option("metrics-public", Kind::Flag, BOTH, "Take an address for metrics that others reach, too."),
    option("server", Kind::Flag, BOTH, "Be the server half."),
    option("client", Kind::Flag, BOTH, "Be the client half."),
];
