//! What a server half takes as its own.

use crate::wire::http::Accept;
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

/// Which upgrade requests a server takes as its own.
#[derive(Debug, Clone)]
pub struct HttpRule {
    /// The one method.
    pub method: String,
    /// The one path (compared decoded and without its query); `None` takes any. Where there is a [`WebRule`], of
    /// simple-obfs's requests alone.
    pub path: Option<String>,
    /// The one host (compared without port and case); `None` takes any.
    pub host: Option<String>,
    /// Which requests of WebSocket and HTTPUpgrade are taken; frames follow those with a
    /// `Sec-WebSocket-Version`. simple-obfs's clients send none; in its server's stead (`None`) whoever
    /// does send it is taken like the others and gets the raw stream.
    pub web: Option<WebRule>,
}

/// Which requests of WebSocket and HTTPUpgrade a server takes as its own.
#[derive(Debug, Clone)]
pub struct WebRule {
    /// The one path (compared decoded and without its query). Never any: a website may have WebSockets of its own.
    pub path: String,
}

impl HttpRule {
    /// The rule as the format wants it.
    pub fn accept(&self) -> Accept<'_> {
        Accept {
            method: &self.method,
            path: self.path.as_deref(),
            web_path: self.web.as_ref().map(|rule| rule.path.as_str()),
            host: self.host.as_deref(),
        }
    }
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
