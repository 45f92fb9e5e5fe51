//! QUIC: halves of every make, a website that speaks HTTP/3, a client that does what no other would, and what stands
//! between a client and its server.

use super::backend::Backend;
use super::child::{Child, Exit};
use super::conn::{connect, recv};
use super::plugin::{Ours, Plugin, V2ray as DebianPlugin, Vars, bare, our_path};
use super::ports::free_port;
use super::tempdir::TempDir;
use super::v2ray::{Certificate, NAME};
use super::{STEP, eventually, millis, peers, proc, secs};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Whose half it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    Ours,
    /// Debian's v2ray-plugin 1.3.1.
    Plugin,
    /// v2ray 4.45.
    V2ray,
    /// sing-box with its own v2ray-plugin, which has only a client.
    SingBox,
}

/// The combinations that work and in which one half at least is ours.
pub const PAIRS: [(App, App); 6] = [
    (App::Ours, App::Ours),
    (App::Ours, App::Plugin),
    (App::Ours, App::V2ray),
    (App::Plugin, App::Ours),
    (App::V2ray, App::Ours),
    (App::SingBox, App::Ours),
];

/// The options of a server with this certificate.
pub fn for_server(certificate: &Certificate) -> String {
    let (cert, key) = (certificate.cert.display(), certificate.key.display());
    format!("mode=quic;host={NAME};cert={cert};key={key}")
}

/// The options of a client that trusts it.
pub fn for_client(certificate: &Certificate) -> String {
    format!("mode=quic;host={NAME};cert={}", certificate.cert.display())
}

/// A server of some make on a free port, in front of `backend`.
#[track_caller]
pub fn server(app: App, backend: SocketAddr, certificate: &Certificate) -> Plugin {
    server_on(free_port(), app, backend, certificate)
}

#[track_caller]
pub fn server_on(port: u16, app: App, backend: SocketAddr, certificate: &Certificate) -> Plugin {
    if app == App::V2ray {
        let tls =
            json!({"certificates": [{"certificateFile": certificate.cert, "keyFile": certificate.key}]});
        let mut inbound = door(port, backend.port());
        inbound["streamSettings"] = stream_settings(&tls);
        let outbound = json!({"protocol": "freedom", "settings": {"redirect": backend.to_string()}});
        return v2ray("V2ray server", &inbound, &outbound, port);
    }
    let make = if app == App::Plugin { DebianPlugin } else { Ours };
    let program = if make == Ours { our_path() } else { peers::path("ss-v2ray-plugin") };
    let options = format!("server;{}", for_server(certificate));
    start_server(&format!("{app:?} server"), program, port, backend, &options)
}

/// One of ours with these options, which is up when it has the UDP port.
#[track_caller]
pub fn our_server(backend: SocketAddr, options: &str) -> Plugin {
    start_server("Ours server", our_path(), free_port(), backend, &format!("server;{options}"))
}

#[track_caller]
pub fn start_server(name: &str, program: PathBuf, port: u16, backend: SocketAddr, options: &str) -> Plugin {
    let vars = Vars {
        remote: ("127.0.0.1".to_owned(), port),
        local: (backend.ip().to_string(), backend.port()),
        options: options.to_owned(),
    };
    let mut command = bare(program);
    vars.put(&mut command);
    let child = Child::spawn(name, command);
    wait_bound(&child, port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// Waits until somebody has the UDP port; fails at once when the child ends instead.
#[track_caller]
pub fn wait_bound(child: &Child, port: u16) {
    let bound = eventually(STEP, || child.peek_exit().is_some() || proc::udp_port_bound(port));
    assert!(bound && child.peek_exit().is_none(), "nobody binds UDP port {port}; {}", child.show_log());
}

/// A client of some make on a free port, for the server at `remote`.
#[track_caller]
pub fn client(app: App, remote: SocketAddr, certificate: &Certificate) -> Plugin {
    let port = free_port();
    match app {
        App::Ours => super::plugin::client(Ours, remote, &for_client(certificate)),
        App::Plugin => super::plugin::client(DebianPlugin, remote, &for_client(certificate)),
        App::V2ray => {
            let trusted = json!([{"usage": "verify", "certificateFile": certificate.cert}]);
            let settings = stream_settings(&json!({"serverName": NAME, "certificates": trusted}));
            let redirect = json!({"redirect": remote.to_string()});
            let outbound = json!({"protocol": "freedom", "settings": redirect, "streamSettings": settings});
            v2ray("V2ray client", &door(port, 9), &outbound, port)
        }
        App::SingBox => {
            let outbound = json!({
                "type": "shadowsocks", "server": remote.ip(), "server_port": remote.port(), "method": "none",
                "plugin": "v2ray-plugin", "plugin_opts": format!("tls;{}", for_client(certificate)),
            });
            sing_box("SingBox client", &sing_box_door(port, 9), &outbound, port)
        }
    }
}

/// What v2ray and sing-box call a port that leads to a fixed target.
pub fn door(port: u16, target: u16) -> Value {
    json!({
        "listen": "127.0.0.1", "port": port, "protocol": "dokodemo-door",
        "settings": {"address": "127.0.0.1", "port": target, "network": "tcp"},
    })
}

pub fn sing_box_door(port: u16, target: u16) -> Value {
    json!({
        "type": "direct", "listen": "127.0.0.1", "listen_port": port, "network": "tcp",
        "override_address": "127.0.0.1", "override_port": target,
    })
}

fn stream_settings(tls: &Value) -> Value {
    json!({"network": "quic", "quicSettings": {}, "security": "tls", "tlsSettings": tls})
}

#[track_caller]
pub fn v2ray(name: &str, inbound: &Value, outbound: &Value, port: u16) -> Plugin {
    let log = json!({"loglevel": "warning"});
    let settings = json!({"log": log, "inbounds": [inbound], "outbounds": [outbound]});
    run(name, "v2ray", &["-config"], &settings, port)
}

#[track_caller]
pub fn sing_box(name: &str, inbound: &Value, outbound: &Value, port: u16) -> Plugin {
    let log = json!({"level": "warn", "timestamp": false});
    let settings = json!({"log": log, "inbounds": [inbound], "outbounds": [outbound]});
    run(name, "sing-box", &["run", "-c"], &settings, port)
}

/// Starts a program with a file of settings, and waits for its port.
#[track_caller]
fn run(name: &str, program: &str, words: &[&str], settings: &Value, port: u16) -> Plugin {
    let dir = TempDir::new(program);
    let mut command = bare(peers::path(program));
    command.args(words).arg(dir.write("config.json", settings.to_string())).current_dir(dir.path());
    let child = Child::spawn(name, command);
    let up = || proc::port_listens(port) || proc::udp_port_bound(port);
    assert!(
        eventually(STEP, || child.peek_exit().is_some() || up()) && child.peek_exit().is_none(),
        "{name} does not start; {}",
        child.show_log()
    );
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// What sing-box sends before the payload of a Shadowsocks connection without encryption: an IPv4 address.
const SING_BOX_ADDRESS: usize = 7;

/// client → server → backend.
pub struct Pair {
    pub client: Plugin,
    pub server: Plugin,
    _certificate: Certificate,
    _before: Option<Backend>,
}

impl Pair {
    #[track_caller]
    pub fn start(client_app: App, server_app: App, backend: SocketAddr) -> Pair {
        let certificate = Certificate::new(NAME);
        let before = (client_app == App::SingBox).then(|| without_address(backend));
        let target = before.as_ref().map_or(backend, |before| before.addr);
        let server = server(server_app, target, &certificate);
        let client = client(client_app, server.addr, &certificate);
        Pair { client, server, _certificate: certificate, _before: before }
    }

    pub fn logs(&self) -> String {
        [&self.client.child, &self.server.child].map(|child| child.show_log()).join("\n")
    }
}

/// What stands before a backend of sing-box: it takes the address off.
fn without_address(backend: SocketAddr) -> Backend {
    Backend::serve(move |near| {
        recv(&near, SING_BOX_ADDRESS);
        let far = connect(backend);
        for stream in [&near, &far] {
            stream.set_read_timeout(None).expect("no limit");
        }
        std::thread::scope(|scope| {
            scope.spawn(|| carry(&near, &far));
            carry(&far, &near);
        });
    })
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    super::conn::fin(to);
}

/// Asks the client that does what no other would (`quic_peer.py`), and returns what it says.
#[track_caller]
pub fn ask(words: &[&str]) -> Vec<String> {
    let child = start_asking(words);
    assert_eq!(child.wait_exit(secs(60)), Exit::Code(0), "{}", child.show_log());
    child.lines()
}

/// The same, which goes on meanwhile.
#[track_caller]
pub fn start_asking(words: &[&str]) -> Child {
    let mut command = bare(peers::path("python-aioquic"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blackbox/support/quic_peer.py")).args(words);
    Child::spawn(&format!("quic_peer {}", words[0]), command)
}

/// A website with HTTP/1.1, HTTP/2 and HTTP/3: Caddy.
pub struct Site {
    /// TLS, and QUIC on the same port.
    pub addr: SocketAddr,
    pub plain: SocketAddr,
    /// HTTP/2 in the clear.
    pub h2: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

impl Site {
    /// With a certificate for this name, and these files.
    #[track_caller]
    pub fn start(certificate: &Certificate, name: &str, files: &[(&str, &[u8])]) -> Site {
        let dir = TempDir::new("quic-site");
        for (file, content) in files {
            dir.write(&format!("root/{file}"), content);
        }
        let [tls, plain, h2] = [free_port(), free_port(), free_port()];
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let root = dir.path().join("root");
        let root = root.display();
        let file = dir.write(
            "Caddyfile",
            format!(
                r#"
{{
	admin off
	auto_https off
	http_port {plain}
	https_port {tls}
	servers 127.0.0.1:{tls} {{
		protocols h1 h2 h3
	}}
	servers 127.0.0.1:{h2} {{
		protocols h1 h2c
	}}
}}
https://{name}:{tls} {{
	bind 127.0.0.1
	tls {cert} {key}
	root * {root}
	file_server
}}
http://:{plain}, http://:{h2} {{
	bind 127.0.0.1
	root * {root}
	file_server
}}
"#
            ),
        );
        let mut command = bare(peers::path("caddy"));
        command.env("HOME", dir.path()).args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        let child = Child::spawn("caddy (the website with HTTP/3)", command);
        let [addr, plain, h2] = [tls, plain, h2].map(|port| {
            child.wait_listening(port);
            SocketAddr::from(([127, 0, 0, 1], port))
        });
        wait_bound(&child, tls);
        Site { addr, plain, h2, _child: child, _dir: dir }
    }
}

/// A NAT in front of a UDP port: each who comes has a port of its own there, which changes when it is told.
pub struct Nat {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    inner: UdpSocket,
    server: SocketAddr,
    outer: Mutex<Mappings>,
    /// How many ports there have been.
    made: AtomicUsize,
    stop: AtomicBool,
}

struct Mappings {
    from: IpAddr,
    sockets: HashMap<SocketAddr, Arc<Mapping>>,
}

struct Mapping {
    socket: UdpSocket,
    /// No longer: what comes to it is lost.
    closed: AtomicBool,
}

impl Nat {
    pub fn before(server: SocketAddr) -> Nat {
        let inner = UdpSocket::bind("127.0.0.1:0").expect("bind a NAT");
        inner.set_read_timeout(Some(millis(200))).expect("a limit");
        let addr = inner.local_addr().expect("a NAT's address");
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let outer = Mutex::new(Mappings { from, sockets: HashMap::new() });
        let (made, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { inner, server, outer, made, stop });
        let outward = shared.clone();
        std::thread::spawn(move || outward.carry_out());
        Nat { addr, shared }
    }

    /// From now on everybody has another port, at this address; what comes to the old ones is lost.
    pub fn rebind(&self, from: IpAddr) {
        let mut outer = self.shared.outer.lock().expect("mappings");
        outer.from = from;
        for (_, mapping) in outer.sockets.drain() {
            mapping.closed.store(true, Ordering::SeqCst);
        }
    }

    /// How many ports it has used so far.
    pub fn made(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn carry_out(self: &Arc<Self>) {
        let mut buffer = vec![0; 65536];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((len, from)) = self.inner.recv_from(&mut buffer) else { continue };
            let mapping = self.mapping(from);
            let _ = mapping.socket.send_to(&buffer[..len], self.server);
        }
        self.outer.lock().expect("mappings").sockets.clear();
    }

    fn mapping(self: &Arc<Self>, near: SocketAddr) -> Arc<Mapping> {
        let mut outer = self.outer.lock().expect("mappings");
        if let Some(mapping) = outer.sockets.get(&near) {
            return mapping.clone();
        }
        let socket = UdpSocket::bind((outer.from, 0)).expect("a port of the NAT's");
        socket.set_read_timeout(Some(millis(200))).expect("a limit");
        let mapping = Arc::new(Mapping { socket, closed: AtomicBool::new(false) });
        outer.sockets.insert(near, mapping.clone());
        self.made.fetch_add(1, Ordering::SeqCst);
        let (shared, inward) = (self.clone(), mapping.clone());
        std::thread::spawn(move || shared.carry_in(&inward, near));
        mapping
    }

    fn carry_in(&self, mapping: &Mapping, near: SocketAddr) {
        let mut buffer = vec![0; 65536];
        while !self.stop.load(Ordering::SeqCst) && !mapping.closed.load(Ordering::SeqCst) {
            let Ok((len, _)) = mapping.socket.recv_from(&mut buffer) else { continue };
            if !mapping.closed.load(Ordering::SeqCst) {
                let _ = self.inner.send_to(&buffer[..len], near);
            }
        }
    }
}
