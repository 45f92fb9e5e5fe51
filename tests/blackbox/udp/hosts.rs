//! UDP under shadowsocks-rust, with our plugin on both ends, and with Debian's v2ray-plugin at the server.

use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect, recv, send};
use crate::support::hosts::socks;
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::ports::free_port;
use crate::support::proc;
use crate::support::quic;
use crate::support::udp::{Echo, assert_echoed, next, reach};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, noise, secs, within};
use sha1::{Digest as _, Sha1};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

const METHOD: &str = "aes-256-gcm";

/// sslocal or ssserver with a plugin that takes this.
fn host(program: &str, words: &[&str], plugin: &Path, options: &str, mode: &str) -> Child {
    let mut command = bare(peers::path(program));
    command.args(words).args(["-k", "a password", "-m", METHOD, "--plugin"]).arg(plugin);
    command.args(["--plugin-opts", options, "--plugin-mode", mode]);
    Child::spawn(program, command)
}

struct Hosts {
    server: Child,
    client: Child,
    proxy: SocketAddr,
}

impl Hosts {
    /// Starts both, with UDP through the plugins. A host takes a TCP port for its plugin that is free, and hopes that UDP
    /// of that number is free, too: where it is not, it ends, and is started anew, as its service manager would do it.
    #[track_caller]
    fn start(server_plugin: &Path, of_server: &str, of_client: &str, mode: &str) -> Hosts {
        const TIMES: usize = 5;
        let start = |_| Hosts::try_start(server_plugin, of_server, of_client, mode, &[]);
        (0..TIMES).find_map(start).expect("hosts whose ports are free")
    }

    /// The same, with a tunnel to this address in the place of a proxy.
    #[track_caller]
    fn with_tunnel_to(target: SocketAddr, of_server: &str, of_client: &str) -> Hosts {
        const TIMES: usize = 5;
        let target = target.to_string();
        let words = ["--protocol", "tunnel", "--forward-addr", &target];
        let start = |_| Hosts::try_start(&our_path(), of_server, of_client, "tcp_and_udp", &words);
        (0..TIMES).find_map(start).expect("hosts whose ports are free")
    }

    /// `None` if a port was taken.
    #[track_caller]
    fn try_start(
        server_plugin: &Path,
        of_server: &str,
        of_client: &str,
        mode: &str,
        more: &[&str],
    ) -> Option<Hosts> {
        let is_taken = |host: &Child| host.lines().iter().any(|line| line.contains("Address already in use"));
        let (public, near) = (free_port(), free_port());
        let (public_at, near_at) = (format!("127.0.0.1:{public}"), format!("127.0.0.1:{near}"));
        // Who carries TCP past the plugin has the public TCP port, which a plugin over TCP needs: no TCP there.
        let both = mode == "tcp_and_udp" || of_server.contains("mode=quic");
        let what = if both { "-U" } else { "-u" };
        let server = host("ssserver", &["-s", &public_at, what], server_plugin, of_server, mode);
        let up = || proc::port_listens(public) || proc::udp_port_bound(public);
        assert!(eventually(STEP, || up() || is_taken(&server)), "{}", server.show_log());
        let words = [&["-b", &near_at, "-s", &public_at, "-U"], more].concat();
        let client = host("sslocal", &words, &our_path(), of_client, mode);
        let up = || proc::port_listens(near) && proc::udp_port_bound(near);
        assert!(eventually(STEP, || up() || is_taken(&client)), "{}", client.show_log());
        if is_taken(&server) || is_taken(&client) {
            return None;
        }
        Some(Hosts { server, client, proxy: SocketAddr::from(([127, 0, 0, 1], near)) })
    }

    fn logs(&self) -> String {
        [&self.client, &self.server].map(Child::show_log).join("\n")
    }
}

/// A source at a SOCKS5 proxy (RFC 1928, section 7), with the connection that keeps it there.
struct Associated {
    socket: UdpSocket,
    _connection: TcpStream,
    head: Vec<u8>,
}

impl Associated {
    #[track_caller]
    fn with(proxy: SocketAddr, target: SocketAddr) -> Associated {
        let connection = connect(proxy);
        send(&connection, &[5, 1, 0]);
        assert_eq!(recv(&connection, 2), [5, 0]);
        send(&connection, &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
        let answer = recv(&connection, 10);
        assert_eq!(answer[..4], [5, 0, 0, 1], "associated, over IPv4");
        let relay = SocketAddr::from((
            [answer[4], answer[5], answer[6], answer[7]],
            u16::from_be_bytes([answer[8], answer[9]]),
        ));
        let socket = crate::support::udp::source(relay);
        let SocketAddr::V4(target) = target else { panic!("the tests' backends are IPv4") };
        let head = [&[0, 0, 0, 1][..], &target.ip().octets(), &target.port().to_be_bytes()].concat();
        Associated { socket, _connection: connection, head }
    }

    /// A packet as it goes to the proxy; it comes back in the same form.
    fn wrapped(&self, packet: &[u8]) -> Vec<u8> {
        [&self.head[..], packet].concat()
    }
}

/// Questions and answers, then a flood in which nothing is lost when each burst waits for its answers.
fn packets(hosts: &Hosts, echo: &Echo) {
    const BURST: u64 = 32;
    let through = Associated::with(hosts.proxy, echo.addr);
    reach(&through.socket, &through.wrapped(b"example.com IN A?"));
    // shadowsocks-rust passes no empty ones.
    for len in [1, 30, 512, 1200, 1452] {
        assert_echoed(&through.socket, &through.wrapped(&noise(len, 1)));
    }
    for burst in 0..100 {
        for i in 0..BURST {
            let packet = noise(1200, burst * BURST + i);
            through.socket.send(&through.wrapped(&packet)).expect("send a packet");
        }
        let mut wanted: Vec<_> =
            (0..BURST).map(|i| through.wrapped(&noise(1200, burst * BURST + i))).collect();
        while !wanted.is_empty() {
            let answer = next(&through.socket)
                .unwrap_or_else(|e| panic!("{} lost: {e}; {}", wanted.len(), hosts.logs()));
            let at = wanted.iter().position(|packet| *packet == answer).expect("a packet that was sent");
            wanted.swap_remove(at);
        }
    }
}

fn between_hosts(options: impl FnOnce(&Certificate) -> [String; 2] + Send + 'static) {
    within(secs(150), move || {
        need!("sslocal", "ssserver", "openssl");
        let certificate = Certificate::new(NAME);
        let [of_server, of_client] = options(&certificate);
        for mode in ["tcp_and_udp", "udp_only"] {
            let echo = Echo::start();
            let hosts = Hosts::start(&our_path(), &of_server, &of_client, mode);
            packets(&hosts, &echo);
            if mode == "tcp_and_udp" {
                assert_echo(&socks(hosts.proxy, echo.addr), &noise(200_000, 4));
            }
        }
    });
}

/// A page of 5 MB over HTTP/3, from a website behind a tunnel of the host's.
fn a_page_over_http3(options: impl FnOnce(&Certificate) -> [String; 2] + Send + 'static) {
    within(secs(120), move || {
        need!("sslocal", "ssserver", "caddy", "python-aioquic", "openssl");
        let certificate = Certificate::new(NAME);
        let page = noise(5_000_000, 7);
        let site = quic::Site::start(&certificate, NAME, &[("page", &page)]);
        let [of_server, of_client] = options(&certificate);
        let hosts = Hosts::with_tunnel_to(site.addr, &of_server, &of_client);
        let cert = certificate.cert.display().to_string();
        let said = quic::ask(&["page", &hosts.proxy.port().to_string(), NAME, &cert, "/page"]);
        let digest = Sha1::digest(&page).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(
            said,
            ["open h3".to_owned(), format!("page 200 {} {digest}", page.len())],
            "{}",
            hosts.logs()
        );
    });
}

#[test]
fn mux_carries_http3() {
    a_page_over_http3(|_| ["server;path=/p;udp", "mode=websocket;path=/p;mux=1;udp"].map(str::to_owned));
}

#[test]
fn websocket_carries_http3() {
    a_page_over_http3(|_| ["server;path=/p;udp", "mode=websocket;path=/p;mux=0;udp"].map(str::to_owned));
}

#[test]
fn grpc_carries_http3() {
    a_page_over_http3(|_| {
        ["server;mode=grpc;serviceName=s;udp", "mode=grpc;serviceName=s;udp"].map(str::to_owned)
    });
}

#[test]
fn quic_carries_http3() {
    a_page_over_http3(|certificate| {
        let (server, client) = (quic::for_server(certificate), quic::for_client(certificate));
        [format!("server;{server};udp"), format!("{client};udp")]
    });
}

#[test]
fn mux_carries_the_packets_of_hosts() {
    between_hosts(|_| ["server;path=/p;udp", "mode=websocket;path=/p;mux=1;udp"].map(str::to_owned));
}

#[test]
fn websocket_carries_the_packets_of_hosts() {
    between_hosts(|_| ["server;path=/p;udp", "mode=websocket;path=/p;mux=0;udp"].map(str::to_owned));
}

#[test]
fn grpc_carries_the_packets_of_hosts() {
    between_hosts(|_| {
        ["server;mode=grpc;serviceName=s;udp", "mode=grpc;serviceName=s;udp"].map(str::to_owned)
    });
}

#[test]
fn quic_carries_the_packets_of_hosts() {
    between_hosts(|certificate| {
        let (server, client) = (quic::for_server(certificate), quic::for_client(certificate));
        [format!("server;{server};udp"), format!("{client};udp")]
    });
}

/// Debian's v2ray-plugin as it is deployed carries our client's packets; one that would end the whole connection
/// there is not sent.
#[test]
fn debians_plugin_takes_our_packets() {
    within(secs(120), || {
        need!("sslocal", "ssserver", "ss-v2ray-plugin");
        let echo = Echo::start();
        let plugin = peers::path("ss-v2ray-plugin");
        let hosts = Hosts::start(&plugin, "server", "mode=websocket;udp", "tcp_and_udp");
        let tunnel = socks(hosts.proxy, echo.addr);
        assert_echo(&tunnel, b"before");
        packets(&hosts, &echo);
        let through = Associated::with(hosts.proxy, echo.addr);
        reach(&through.socket, &through.wrapped(b"the first"));
        let before = echo.received();
        through.socket.send(&through.wrapped(&noise(3000, 1))).expect("send a packet");
        assert_echoed(&through.socket, &through.wrapped(b"the next"));
        assert_eq!(echo.received(), before + 1, "a packet was passed that ends the connection");
        assert_echo(&tunnel, &noise(100_000, 2));
    });
}
