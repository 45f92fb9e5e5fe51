//! The options of a client by plugin.

use super::offers::{Kind, Offer};
use crate::wire::grpc::Service;
use crate::wire::http::host::decoded;

/// A plugin that a client may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Ours, which knows every disguise.
    ObfsRs,
    /// simple-obfs's client.
    ObfsLocal,
    /// v2ray-plugin.
    V2rayPlugin,
}

/// What v2ray's clients ask for where no service is named.
const DEFAULT_SERVICE: &str = "GunService";

impl Plugin {
    /// All of them.
    pub const ALL: [Plugin; 3] = [Plugin::ObfsRs, Plugin::ObfsLocal, Plugin::V2rayPlugin];

    /// The name by which a host starts it, and by which apps that have it built in know it.
    pub fn name(self) -> &'static str {
        match self {
            Plugin::ObfsRs => "obfs-rs",
            Plugin::ObfsLocal => "obfs-local",
            Plugin::V2rayPlugin => "v2ray-plugin",
        }
    }

    /// The options with which it is a client of this disguise, if it knows it.
    pub(super) fn options(self, offer: &Offer) -> Option<String> {
        match self {
            Plugin::ObfsRs => Some(ours(offer)),
            Plugin::ObfsLocal => obfs_local(offer),
            Plugin::V2rayPlugin => v2ray_plugin(offer),
        }
    }

    /// The same for the program of this name, where apps that have it built in may know more of it: simple-obfs's own
    /// client asks for no path but `/`.
    pub(super) fn program_options(self, offer: &Offer) -> Option<String> {
        let lacking = self == Plugin::ObfsLocal && offer.kind == Kind::Http && offer.path != "/";
        self.options(offer).filter(|_| !lacking)
    }
}

/// Options in SIP003's grammar.
#[derive(Default)]
struct Options(String);

impl Options {
    fn flag(mut self, name: &str, set: bool) -> Options {
        if set {
            self.push(name);
        }
        self
    }

    fn value(mut self, name: &str, value: &str) -> Options {
        self.push(name);
        self.0.push('=');
        for c in value.chars() {
            // (quotes around a value are left out of it, as a shell's)
            if matches!(c, ';' | '=' | '\\' | '"' | '\'') {
                self.0.push('\\');
            }
            self.0.push(c);
        }
        self
    }

    fn value_if(self, name: &str, value: &str, said: bool) -> Options {
        if said { self.value(name, value) } else { self }
    }

    fn push(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push(';');
        }
        self.0.push_str(name);
    }
}

fn ours(offer: &Offer) -> String {
    let Offer { host, path, .. } = offer;
    let sni = offer.tls && offer.host != offer.server_name;
    let web = |mode: &str| {
        let options = Options::default().value("mode", mode).flag("tls", offer.tls).value("host", host);
        options.value_if("sni", &offer.server_name, sni)
    };
    let options = match offer.kind {
        Kind::WebSocket => web("websocket").value("path", path),
        Kind::HttpUpgrade => web("httpupgrade").value("path", path),
        Kind::Grpc => {
            let service = service(path);
            web("grpc").value_if("serviceName", &service, service != DEFAULT_SERVICE)
        }
        Kind::Quic => Options::default().value("mode", "quic").value("host", &offer.server_name),
        Kind::Http => Options::default()
            .value("obfs", "http")
            .value("obfs-host", host)
            .value_if("obfs-uri", path, path != "/")
            .value_if("http-method", &offer.method, offer.method != "GET"),
        Kind::FakeTls => Options::default().value("obfs", "tls").value("obfs-host", &offer.server_name),
    };
    options.flag("udp", offer.udp).0
}

fn obfs_local(offer: &Offer) -> Option<String> {
    let options = Options::default();
    match offer.kind {
        Kind::Http if offer.method == "GET" => {
            let options = options.value("obfs", "http").value("obfs-host", &offer.host);
            // (simple-obfs's own client has no such option, and passes over it)
            Some(options.value_if("obfs-uri", &offer.path, offer.path != "/").0)
        }
        Kind::FakeTls => Some(options.value("obfs", "tls").value("obfs-host", &offer.server_name).0),
        _ => None,
    }
}

/// `mux` is left out: its default is 1, and apps that have none take no link that names it.
fn v2ray_plugin(offer: &Offer) -> Option<String> {
    let options = Options::default();
    match offer.kind {
        // One option is the name in the hello and in the request.
        Kind::WebSocket if !offer.tls || offer.host == offer.server_name => {
            let options = options.value("mode", "websocket").flag("tls", offer.tls);
            Some(options.value("host", &offer.host).value("path", &offer.path).0)
        }
        Kind::Quic => Some(options.value("mode", "quic").value("host", &offer.server_name).0),
        _ => None,
    }
}

/// The name of a gRPC service by the path that is asked for, or, where that is of another form, the path itself, which
/// stands in the same option. Both are written without the escapes that they get on the way.
fn service(path: &str) -> String {
    let decoded = String::from_utf8(decoded(path).collect()).unwrap_or_default();
    let name = decoded.strip_prefix('/').and_then(|rest| rest.strip_suffix("/Tun"));
    let names = [name, Some(&decoded)];
    names.into_iter().flatten().find(|name| Service::new(name).tun == path).unwrap_or(path).to_owned()
}
