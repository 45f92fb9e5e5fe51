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
    /// What a tunnel looks like.
    TunnelKind, "kind": {
        /// simple-obfs's `obfs=http`.
        ObfsHttp "obfs-http",
        /// simple-obfs's `obfs=tls`.
        ObfsTls "obfs-tls",
        /// WebSocket, which it has for itself.
        WebSocket "websocket",
        /// v2ray's HTTPUpgrade.
        HttpUpgrade "httpupgrade",
        /// A session in a WebSocket connection that it shares.
        Session "mux-session",
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

    /// The other end of a TLS handshake.
    TlsPeer, "peer": {
        /// Whoever came to a server.
        Visitor "visitor",
        /// A client's server.
        Server "server",
        /// What visitors meet.
        Website "website",
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
