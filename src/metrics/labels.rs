//! What the numbers are told apart by. A label has few values, which are known beforehand: none of them comes from
//! the network.

/// A label: each of its values has a series from the start, so that a first event is seen as a step.
#[cfg(feature = "metrics")]
pub(super) trait Label: Copy {
    /// As it stands in front of its value.
    const NAME: &'static str;
    /// All of its values.
    const VALUES: &'static [&'static str];

    /// The place among the values.
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$about:meta])* $name:ident, $label:literal:
        { $($(#[$value_about:meta])* $value:ident $text:literal,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_about])* $value,)*
        }

        impl $name {
            /// Its name, here and in the log.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$value => $text,)*
                }
            }
        }

        #[cfg(feature = "metrics")]
        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($text,)*];

            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// What a tunnel is.
    TunnelKind, "kind": {
        /// simple-obfs's `obfs=http`.
        Http "http",
        /// simple-obfs's `obfs=tls`.
        FakeTls "obfs-tls",
        /// WebSocket, which it has for itself.
        WebSocket "websocket",
        /// v2ray's HTTPUpgrade.
        HttpUpgrade "httpupgrade",
        /// A stream of a QUIC connection.
        Quic "quic",
        /// A stream of an HTTP/2 connection, with gRPC in it.
        Grpc "grpc",
        /// A session in a WebSocket connection that it shares.
        Session "session",
        /// What one source says over UDP.
        Udp "udp",
    }

    /// The way of bytes: up is from the accepted stream to the dialled one.
    Direction, "direction": {
        /// From the accepted stream: on a client the application's, on a server those of clients and visitors.
        Up "up",
        /// To it.
        Down "down",
    }

    /// Who is dialled.
    To, "to": {
        /// A client's server.
        Server "server",
        /// Shadowsocks behind a server.
        Backend "backend",
        /// What visitors meet.
        Website "website",
    }

    /// How a tunnel ended, by the names that the access log has.
    TunnelEnd, "end": {
        /// In order.
        Closed "closed",
        /// By a reset of either side.
        Reset "reset",
        /// Nothing moved for too long.
        Idle "idle",
        /// The accepted side took nothing for too long.
        Stalled "stalled",
        /// By bytes that are not what their format says.
        Malformed "malformed",
    }

    /// Why nothing came of a connection.
    Failure, "cause": {
        /// It closed before it said anything.
        Empty "empty",
        /// It broke before it was known what it is.
        Gone "gone",
        /// It had no PROXY header, or none that can be read, though it came from a proxy in front.
        ProxyHeader "proxy-header",
        /// Its TLS failed; on a client, that with the server.
        Tls "tls",
        /// A client's bytes are not what their format says.
        Malformed "malformed",
        /// Shadowsocks cannot be reached.
        Backend "backend-unreachable",
        /// A visitor's website cannot be reached.
        Website "website-unreachable",
        /// There is no TLS with a visitor's website.
        WebsiteTls "website-tls",
        /// The website leads back to the server.
        Circle "circle",
        /// The server cannot be reached.
        Server "server-unreachable",
        /// The server did not grant the upgrade.
        Upgrade "upgrade-refused",
        /// `limit-tunnels` was reached.
        LimitTunnels "limit-tunnels",
        /// `limit-tunnels-per-address` was reached.
        LimitTunnelsPerAddress "limit-tunnels-per-address",
        /// `limit-rate-per-address` was reached.
        LimitRatePerAddress "limit-rate-per-address",
        /// A session said too much while it waited for a place among the tunnels.
        LimitWait "limit-wait",
        /// There are too many sessions in one connection.
        Sessions "too-many-sessions",
    }

    /// What the first packets of a QUIC connection have turned out to be.
    Verdict, "verdict": {
        /// A client's of ours.
        Ours "ours",
        /// For another name, or with other protocols.
        Other "other",
        /// Not what any client may say.
        Malformed "malformed",
        /// Not complete in time, or too much, or too many at once.
        Unfinished "unfinished",
    }

    /// Why a datagram was not passed on.
    Dropped, "cause": {
        /// It is not ours, and there is no website for it.
        NoWebsite "no-website",
        /// There are too many visitors.
        Visitors "too-many-visitors",
        /// The website cannot be reached.
        Website "website-unreachable",
        /// The socket takes no more now.
        Busy "busy",
    }

    /// Why a packet of a UDP session was not passed on.
    PacketDropped, "cause": {
        /// Too much waits, or the socket takes no more now.
        Busy "busy",
        /// It is longer than the other end takes.
        TooLong "too-long",
        /// The other end takes no UDP.
        NotTaken "not-taken",
        /// This server takes no UDP.
        NotSet "not-set",
        /// There are as many sessions as there may be.
        Sessions "too-many-sessions",
        /// There is no connection to the server.
        Server "server-unreachable",
        /// Shadowsocks does not take it.
        Backend "backend-unreachable",
    }

    /// What a visitor is, by its first bytes.
    VisitorClass, "class": {
        /// HTTP/1, in TLS or not.
        Http "http",
        /// TLS that does not end here.
        Tls "tls",
        /// HTTP/2.
        H2 "h2",
        /// QUIC, or other datagrams.
        Quic "quic",
        /// Who says nothing.
        Silent "silent",
        /// Bytes that are none of these.
        Other "other",
    }

    /// The website that a visitor goes to, by the option that names it.
    Website, "website": {
        /// That of `failover`.
        Failover "failover",
        /// That of `failover-tls`.
        FailoverTls "failover-tls",
        /// That of `failover-http`.
        FailoverHttp "failover-http",
        /// That of `failover-h2`.
        FailoverH2 "failover-h2",
        /// That of `failover-quic`.
        FailoverQuic "failover-quic",
        /// A server for another name, of `sni`.
        Sni "sni",
        /// One that is served from here.
        Own "own",
    }
}

impl PacketDropped {
    /// All of them, in their order.
    pub const ALL: [PacketDropped; 7] = [
        PacketDropped::Busy,
        PacketDropped::TooLong,
        PacketDropped::NotTaken,
        PacketDropped::NotSet,
        PacketDropped::Sessions,
        PacketDropped::Server,
        PacketDropped::Backend,
    ];
}

impl Website {
    /// That of an option.
    pub fn of(option: &str) -> Website {
        match option {
            "failover-tls" => Website::FailoverTls,
            "failover-http" => Website::FailoverHttp,
            "failover-h2" => Website::FailoverH2,
            "failover-quic" => Website::FailoverQuic,
            "sni" => Website::Sni,
            _ => Website::Failover,
        }
    }
}

/// Whose payload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Of a tunnel.
    Tunnel,
    /// Of a visitor, to and from a website at another port.
    Visitor,
}
