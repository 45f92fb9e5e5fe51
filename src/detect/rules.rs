//! What a server half takes as its own.

use crate::wire::http::HttpRule;
use crate::wire::http::host::is_host;

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
