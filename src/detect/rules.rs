//! What a server half takes as its own.

use crate::wire::http::HttpRule;
use crate::wire::http::host::is_host;
use crate::wire::tls::content_type::HANDSHAKE;

/// What a server half takes as its own.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Upgrade requests.
    pub http: Option<HttpRule>,
    /// The hellos of `obfs=tls`.
    pub fake_tls: Option<FakeTlsRule>,
    /// Whether real TLS is asked for its name. If not, it is a visitor's whatever it asks for.
    pub tls: bool,
    /// Whether upgrade requests are taken inside TLS alone: whoever speaks in the clear is a visitor.
    pub tls_alone: bool,
}

impl Rules {
    /// The rules for what is inside TLS.
    pub fn inside_tls(&self) -> Rules {
        Rules { http: self.http.clone(), ..Rules::default() }
    }

    /// The rules for further requests of those who speak in the clear.
    pub fn in_the_clear(&self) -> Rules {
        Rules { http: self.http.clone().filter(|_| !self.tls_alone), ..Rules::default() }
    }

    /// What a connection with these first bytes speaks. One that says nothing is taken for what the
    /// port is chiefly for.
    pub fn guess_protocol(&self, bytes: &[u8]) -> VisitorProtocol {
        match bytes.first() {
            Some(&HANDSHAKE) => VisitorProtocol::Tls,
            None if self.http.is_none() => VisitorProtocol::Tls,
            _ => VisitorProtocol::Plain,
        }
    }
}

/// What a visitor speaks, as far as it is known: each has a website of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitorProtocol {
    /// HTTP/1, or anything that is none of the others.
    Plain,
    /// TLS: a handshake record (RFC 8446 section 5.1).
    Tls,
    /// HTTP/2, which both ends agreed on in the handshake of TLS.
    H2,
}

/// Which hellos of `obfs=tls` a server takes as its own.
#[derive(Debug, Clone)]
pub struct FakeTlsRule {
    /// The server names, in lower case (compared without port and case); where there are none, any.
    pub server_names: Vec<String>,
}

impl FakeTlsRule {
    /// Whether a hello with this server name is taken.
    pub fn takes(&self, server_name: &[u8]) -> bool {
        let is_wanted = |wanted: &String| is_host(server_name, wanted);
        self.server_names.is_empty() || self.server_names.iter().any(is_wanted)
    }
}
