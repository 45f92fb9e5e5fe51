//! `deploy/haproxy`: a tunnel and a website behind HAProxy.

use super::carries;
use super::web_front::{Kind, WebFront};
use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{recv, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, file, local, text};
use crate::support::hosts::{curl, socks};
use crate::support::netns::ip;
use crate::support::peers::need;
use crate::support::{STEP, eventually, secs};
use rustix::process::Signal;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::mpsc::{self, Receiver};

/// With nginx as the website.
fn start(machine: &Machine) -> Vec<Child> {
    machine.install("nginx/loopback.conf", "/etc/nginx/sites-enabled/loopback.conf");
    std::fs::remove_file("/etc/nginx/sites-enabled/default").expect("Debian's default site");
    let nginx = machine.serve("nginx", &[8080], &["nginx", "-g", "daemon off; master_process on;"]);
    symlink(format!("{NAME}.key"), format!("/etc/ssl/{NAME}.pem.key")).expect("a link");
    vec![start_haproxy(machine), nginx]
}

/// As Debian's unit does it.
fn start_haproxy(machine: &Machine) -> Child {
    std::fs::create_dir("/run/haproxy").expect("a folder");
    let words = ["haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid"];
    machine.serve("haproxy", &[80, 443], &words)
}

const HAPROXY: WebFront = WebFront {
    file: ("haproxy/haproxy.cfg", "/etc/haproxy/haproxy.cfg"),
    start,
    reload: |_, haproxy| haproxy.signal(Signal::USR2),
    passes: &[Kind::Mux, Kind::WebSocket, Kind::HttpStandard, Kind::V2rayMux, Kind::V2ray],
    refuses: &[Kind::HttpUpgrade, Kind::HttpEager],
    half_closes: &[Kind::Mux, Kind::WebSocket, Kind::HttpStandard],
    reload_keeps_tunnels: true,
    redirects: "301",
    two_hours: Some(("timeout tunnel 2h", "timeout tunnel 2s")),
};

#[test]
fn carries_tunnels() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "ss-v2ray-plugin");
    HAPROXY.carries_tunnels();
}

#[test]
fn carries_tunnels_of_libev() {
    need!("haproxy", "nginx", "openssl", "ss-server", "ss-local");
    HAPROXY.carries_libev();
}

#[test]
fn shows_visitors_the_website() {
    need!("haproxy", "nginx", "openssl", "ssserver", "curl");
    HAPROXY.shows_visitors_the_website();
}

#[test]
fn a_reload_ends_no_tunnel() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "curl");
    HAPROXY.reloads();
}

#[test]
fn tells_the_visitors_address() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal");
    HAPROXY.tells_the_visitors_address();
}

#[test]
fn keeps_idle_tunnels() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal");
    HAPROXY.keeps_idle_tunnels();
}

#[test]
fn does_without_the_plugin() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "curl");
    HAPROXY.does_without_the_plugin();
}

/// Machines beside this one, each with a network of its own, reached from here (10.0.0.1).
const MACHINES: [(&str, &str); 4] =
    [("one", "10.0.0.11"), ("two", "10.0.0.12"), ("three", "10.0.0.13"), ("shop", "10.0.0.20")];

fn connect_machines() {
    for (name, address) in MACHINES {
        ip(&format!("netns add {name}"));
        ip(&format!("link add to-{name} type veth peer name eth0 netns {name}"));
        ip(&format!("address add 10.0.0.1/32 dev to-{name}"));
        ip(&format!("link set to-{name} up"));
        ip(&format!("route add {address}/32 dev to-{name}"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
    }
}

/// Runs a command on one of them.
fn on(machine: &Machine, name: &str, words: &[&str]) -> Child {
    machine.start(&format!("{} on {name}", words[0]), &[&["ip", "netns", "exec", name], words].concat())
}

/// A server with its plugin.
fn instance(machine: &Machine, name: &str) -> Child {
    let config = file("shadowsocks/server-behind-balancer.json").display().to_string();
    let server = on(machine, name, &["ssserver", "-c", &config]);
    server.wait_text("listening on [0.0.0.0:443]");
    server
}

/// A tunnel that stands, and which machine it leads to.
fn tunnel(target: SocketAddr, far: &Receiver<TcpStream>) -> (TcpStream, TcpStream, IpAddr) {
    let near = socks(local(1080), target);
    send(&near, b"hello");
    let far = next(far);
    assert_eq!(recv(&far, 5), b"hello");
    let from = far.peer_addr().expect("an address").ip();
    (near, far, from)
}

#[test]
fn three_servers_behind_a_balancer_that_ends_no_tls() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "curl");
    Machine::with(secs(120), |machine| {
        connect_machines();
        machine.certificate(NAME);
        machine.certificate("shop.example.com");
        machine.put("/var/www/html/index.html", "the website\n");
        machine.name("127.0.0.1", "shop.example.com");
        machine.address("203.0.113.7");
        machine.install(
            "nginx/loopback-proxy-protocol.conf",
            "/etc/nginx/sites-enabled/loopback-proxy-protocol.conf",
        );
        std::fs::remove_file("/etc/nginx/sites-enabled/default").expect("Debian's default site");
        let mut servers: Vec<Child> = MACHINES[..3].iter().map(|(name, _)| instance(machine, name)).collect();
        let _websites = MACHINES[..3]
            .iter()
            .map(|(name, _)| on(machine, name, &["nginx", "-g", "daemon off;"]))
            .collect::<Vec<_>>();
        let (cert, key) = ("/etc/ssl/shop.example.com.pem", "/etc/ssl/shop.example.com.key");
        let words = ["openssl", "s_server", "-accept", "443", "-www", "-cert", cert, "-key", key];
        let shop = on(machine, "shop", &words);
        shop.wait_text("ACCEPT");
        machine.install("haproxy/tcp.cfg", "/etc/haproxy/haproxy.cfg");
        let haproxy = start_haproxy(machine);
        let config = text("shadowsocks/client.json").replace("mode=websocket", "mode=websocket;mux=0");
        let config = machine.put("/etc/client.json", config).display().to_string();
        let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &config]);
        let at = "10.0.0.1:0".parse().expect("an address");
        carries(Backend::echo_on(at).addr);

        // Visitors: the website with HTTP/2, which knows them; another name, elsewhere.
        let page = curl(&["-i", "--http2", "--interface", "203.0.113.7", &format!("https://{NAME}/")]).body;
        let page = String::from_utf8_lossy(&page).into_owned();
        assert!(page.starts_with("HTTP/2 200 ") && page.ends_with("the website\n"), "{page}");
        let log = || std::fs::read_to_string("/var/log/nginx/access.log").unwrap_or_default();
        assert!(eventually(STEP, || log().contains("203.0.113.7 - - ")), "{}", log());
        let page = String::from_utf8_lossy(&curl(&["https://shop.example.com/"]).body).into_owned();
        assert!(page.contains("s_server"), "{page}");
        assert_eq!(curl(&[&format!("http://{NAME}/")]).status, "301");

        // Tunnels on all three, until one of these dies.
        let (sender, far) = mpsc::channel();
        let backend = Backend::serve_on(at, move |stream| {
            let _ = sender.send(stream);
        });
        let tunnels: Vec<_> = (0..9).map(|_| tunnel(backend.addr, &far)).collect();
        let (dead, _) = (MACHINES[1].1.parse::<IpAddr>().expect("an address"), servers.remove(1));
        for (_, address) in &MACHINES[..3] {
            let address: IpAddr = address.parse().expect("an address");
            let here: Vec<_> = tunnels.iter().filter(|(_, _, to)| *to == address).collect();
            assert!(!here.is_empty(), "no tunnel at {address}");
            for (near, far, _) in here {
                if address == dead {
                    assert!(recv_to_end(near, STEP).0.is_empty());
                } else {
                    assert_echo_by_hand(near, far);
                }
            }
        }
        for _ in 0..9 {
            let (near, far, to) = tunnel(backend.addr, &far);
            assert_ne!(to, dead);
            assert_echo_by_hand(&near, &far);
        }
        haproxy.wait_text("Server obfs-rs/two is DOWN");
        servers.push(instance(machine, "two"));
        haproxy.wait_text("Server obfs-rs/two is UP");
        let mut more = (0..9).map(|_| tunnel(backend.addr, &far));
        assert!(more.any(|(_, _, to)| to == dead), "the one that is back gets tunnels");
    });
}

fn assert_echo_by_hand(near: &TcpStream, far: &TcpStream) {
    for (from, to) in [(near, far), (far, near)] {
        send(from, b"and on");
        assert_eq!(recv(to, 6), b"and on");
    }
}
