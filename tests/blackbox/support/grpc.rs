//! gRPC: halves of every make, and a peer with HTTP/2 of its own that does what no other would.

use super::backend::Backend;
use super::child::{Child, Exit};
use super::conn::connect;
use super::plugin::{self, Ours, Plugin, bare};
use super::ports::free_port;
use super::quic::{self, sing_box_door};
use super::tempdir::TempDir;
use super::v2ray::{Certificate, NAME};
use super::{STEP, eventually, peers, secs};
use serde_json::{Value, json};
use std::io::Read as _;
use std::net::SocketAddr;

/// The name of the service where a test asks for no other.
pub const SERVICE: &str = "GunService";

/// What mihomo passes on once it serves.
const READY: &[u8; 5] = b"ready";

/// Who a VLESS client is.
const USER: &str = "7d2b1e7c-1fc8-4c5a-9d3c-0f0b8d0f4a11";

/// Whose half it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    Ours,
    /// v2ray 4.45, with grpc-go.
    V2ray,
    /// With Mux.Cool inside: one stream for many tunnels.
    V2rayMux,
    /// With a gRPC of its own, and VLESS inside.
    SingBox,
    /// With another of its own, and VLESS inside.
    Mihomo,
}

/// In TLS, or HTTP/2 in the clear.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    pub tls: Option<&'a Certificate>,
    pub service: &'a str,
}

impl<'a> Style<'a> {
    pub fn clear() -> Style<'a> {
        Style { tls: None, service: SERVICE }
    }

    pub fn tls(certificate: &'a Certificate) -> Style<'a> {
        Style { tls: Some(certificate), service: SERVICE }
    }

    /// The options of our server.
    pub fn for_server(&self) -> String {
        let tls = self.tls.map(|certificate| format!(";{}", certificate.for_server())).unwrap_or_default();
        format!("mode=grpc;serviceName={}{tls}", self.service)
    }

    /// The options of our client.
    pub fn for_client(&self) -> String {
        let tls = self.tls.map_or(format!("host={NAME}"), Certificate::for_client);
        format!("mode=grpc;serviceName={};{tls}", self.service)
    }

    fn v2ray(&self, tls: Option<Value>) -> Value {
        let mut settings = json!({"network": "grpc", "grpcSettings": {"serviceName": self.service}});
        if let Some(tls) = tls {
            settings["security"] = json!("tls");
            settings["tlsSettings"] = tls;
        }
        settings
    }

    fn v2ray_server(&self) -> Value {
        self.v2ray(self.tls.map(
            |tls| json!({"alpn": ["h2"], "certificates": [{"certificateFile": tls.cert, "keyFile": tls.key}]}),
        ))
    }

    fn v2ray_client(&self) -> Value {
        self.v2ray(self.tls.map(|tls| {
            json!({"serverName": NAME, "certificates": [{"usage": "verify", "certificateFile": tls.cert}]})
        }))
    }
}

/// A server of some make in front of `backend`.
#[track_caller]
pub fn server(app: App, backend: SocketAddr, style: Style) -> Plugin {
    let port = free_port();
    match app {
        App::Ours => plugin::server(Ours, backend, &style.for_server()),
        App::V2ray | App::V2rayMux => {
            let mut inbound = quic::door(port, backend.port());
            inbound["streamSettings"] = style.v2ray_server();
            if app == App::V2rayMux {
                inbound["settings"]["address"] = json!("v1.mux.cool");
            }
            quic::v2ray("v2ray, server", &inbound, &redirect(backend), port)
        }
        App::SingBox => {
            let mut inbound = vless_inbound(port);
            inbound["transport"] = json!({"type": "grpc", "service_name": style.service});
            if let Some(tls) = style.tls {
                inbound["tls"] = json!({
                    "enabled": true, "server_name": NAME, "alpn": ["h2"],
                    "certificate_path": tls.cert, "key_path": tls.key,
                });
            }
            quic::sing_box("sing-box, server", &inbound, &json!({"type": "direct"}), port)
        }
        App::Mihomo => {
            let mut listener = mihomo_vless(port);
            listener["grpc-service-name"] = json!(style.service);
            listener["allow-insecure"] = json!(style.tls.is_none());
            if let Some(tls) = style.tls {
                listener["certificate"] = json!(std::fs::read_to_string(&tls.cert).expect("a certificate"));
                listener["private-key"] = json!(std::fs::read_to_string(&tls.key).expect("a key"));
            }
            mihomo("mihomo, server", &json!({"mode": "direct", "listeners": [listener]}), port)
        }
    }
}

/// A client of some make for the server at `remote`, with the target that it names where it names one.
#[track_caller]
pub fn client(app: App, remote: SocketAddr, target: SocketAddr, style: Style) -> Plugin {
    let port = free_port();
    match app {
        App::Ours => plugin::client(Ours, remote, &style.for_client()),
        App::V2ray | App::V2rayMux => {
            let mut outbound = redirect(remote);
            outbound["streamSettings"] = style.v2ray_client();
            if app == App::V2rayMux {
                outbound["mux"] = json!({"enabled": true, "concurrency": 8});
            }
            quic::v2ray("v2ray, client", &quic::door(port, 9), &outbound, port)
        }
        App::SingBox => {
            let mut outbound = vless_outbound(remote.port());
            outbound["transport"] = json!({"type": "grpc", "service_name": style.service});
            if let Some(tls) = style.tls {
                outbound["tls"] = json!({"enabled": true, "server_name": NAME, "certificate_path": tls.cert});
            }
            quic::sing_box("sing-box, client", &sing_box_door(port, target.port()), &outbound, port)
        }
        App::Mihomo => {
            let mut proxy = json!({
                "name": "out", "type": "vless", "server": "127.0.0.1", "port": remote.port(), "uuid": USER,
                "network": "grpc", "grpc-opts": {"grpc-service-name": style.service},
            });
            if style.tls.is_some() {
                proxy["tls"] = json!(true);
                proxy["servername"] = json!(NAME);
                proxy["skip-cert-verify"] = json!(true);
            }
            let door = json!({
                "name": "door", "type": "tunnel", "listen": "127.0.0.1", "port": port, "network": ["tcp"],
                "target": target.to_string(), "proxy": "out",
            });
            let settings =
                json!({"mode": "rule", "rules": ["MATCH,out"], "proxies": [proxy], "listeners": [door]});
            mihomo("mihomo, client", &settings, port)
        }
    }
}

fn redirect(to: SocketAddr) -> Value {
    json!({"protocol": "freedom", "settings": {"redirect": to.to_string()}})
}

fn vless_inbound(port: u16) -> Value {
    json!({"type": "vless", "listen": "127.0.0.1", "listen_port": port, "users": [{"uuid": USER}]})
}

fn vless_outbound(port: u16) -> Value {
    json!({"type": "vless", "server": "127.0.0.1", "server_port": port, "uuid": USER})
}

fn mihomo_vless(port: u16) -> Value {
    json!({
        "name": "in", "type": "vless", "listen": "127.0.0.1", "port": port,
        "users": [{"username": "someone", "uuid": USER}],
    })
}

#[track_caller]
fn mihomo(name: &str, settings: &Value, port: u16) -> Plugin {
    let dir = TempDir::new("mihomo");
    let (ready, greeter) = (free_port(), Backend::greeter(READY));
    let mut settings = settings.clone();
    settings["listeners"].as_array_mut().expect("listeners").push(json!({
        "name": "ready", "type": "tunnel", "listen": "127.0.0.1", "port": ready, "network": ["tcp"],
        "target": greeter.addr.to_string(), "proxy": "DIRECT",
    }));
    let mut command = bare(peers::path("mihomo"));
    command.env("HOME", dir.path()).arg("-d").arg(dir.path());
    // JSON is YAML.
    command.arg("-f").arg(dir.write("config.json", settings.to_string())).current_dir(dir.path());
    let child = Child::spawn(name, command);
    child.wait_listening(port);
    child.wait_listening(ready);
    // It listens before it serves: until then it ends who comes.
    let serves = || {
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], ready)));
        let mut word = [0; 5];
        (&stream).read_exact(&mut word).is_ok() && &word == READY
    };
    assert!(eventually(STEP, serves), "{}", child.show_log());
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// client → server → backend, and what takes VLESS off before our server's backend or puts it on before our client.
pub struct Pair {
    pub client: Plugin,
    pub server: Plugin,
    pub addr: SocketAddr,
    more: Vec<Plugin>,
}

impl Pair {
    #[track_caller]
    pub fn start(client_app: App, server_app: App, backend: SocketAddr, style: Style) -> Pair {
        Pair::through(client_app, server_app, backend, style, |addr| (addr, style))
    }

    /// With something between: it is told where the server is, and says where it is itself and what is spoken there.
    #[track_caller]
    pub fn through<'a>(
        client_app: App,
        server_app: App,
        backend: SocketAddr,
        style: Style,
        between: impl FnOnce(SocketAddr) -> (SocketAddr, Style<'a>),
    ) -> Pair {
        let mut more = Vec::new();
        // Ours carries what is inside as it is.
        let inside = |app| matches!(app, App::SingBox | App::Mihomo);
        let mut behind = backend;
        if server_app == App::Ours && inside(client_app) {
            let port = free_port();
            let direct = json!({"type": "direct"});
            more.push(quic::sing_box("sing-box, without transport", &vless_inbound(port), &direct, port));
            behind = more[0].addr;
        }
        let server = server(server_app, behind, style);
        let (remote, style) = between(server.addr);
        let client = client(client_app, remote, backend, style);
        let mut addr = client.addr;
        if client_app == App::Ours && inside(server_app) {
            let port = free_port();
            let door = sing_box_door(port, backend.port());
            let outbound = vless_outbound(client.addr.port());
            more.push(quic::sing_box("sing-box, without transport", &door, &outbound, port));
            addr = more[0].addr;
        }
        Pair { client, server, addr, more }
    }

    pub fn logs(&self) -> String {
        let all = [&self.client, &self.server].into_iter().chain(&self.more);
        all.map(|plugin| plugin.child.show_log()).collect::<Vec<_>>().join("\n")
    }
}

/// Asks the peer with HTTP/2 of its own (`h2_peer.py`), and returns what it says.
#[track_caller]
pub fn ask(words: &[&str]) -> Vec<String> {
    let child = start_asking(words);
    assert_eq!(child.wait_exit(secs(90)), Exit::Code(0), "{}", child.show_log());
    child.lines()
}

/// The same, which goes on meanwhile.
#[track_caller]
pub fn start_asking(words: &[&str]) -> Child {
    let mut command = bare(peers::path("python-h2"));
    command
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blackbox/support/h2_peer.py"))
        .args(words);
    Child::spawn(&format!("h2_peer {}", words[0]), command)
}

/// A website with HTTP/2 in the clear, or a server of tunnels, in Python.
#[track_caller]
pub fn python_server(kind: &str, certificate: Option<&Certificate>, more: &[&str]) -> Plugin {
    let port = free_port();
    let path = |path: &std::path::Path| path.display().to_string();
    let (cert, key) = certificate.map_or(("-".into(), "-".into()), |tls| (path(&tls.cert), path(&tls.key)));
    let child = start_asking(&[&[kind, &port.to_string(), &cert, &key], more].concat());
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// How many lines of this kind there have been.
pub fn count(child: &Child, word: &str) -> usize {
    child.lines().iter().filter(|line| line.starts_with(word)).count()
}

/// Waits until there have been so many of them.
#[track_caller]
pub fn wait_count(child: &Child, word: &str, wanted: usize) {
    let there = eventually(STEP, || count(child, word) >= wanted);
    assert!(there, "{} of {wanted} {word}; {}", count(child, word), child.show_log());
}
