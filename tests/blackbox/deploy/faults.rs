//! What goes wrong in a whole system: a front or a website that restarts, is late or is away.

use super::envoy_http::{client_at, envoy};
use super::envoy_sni::{APP, CDN, Port, WEBSITE};
use super::{MB, shadowsocks_client, shadowsocks_server};
use crate::support::backend::{self, Backend};
use crate::support::child::Child;
use crate::support::conn::{self, End, assert_echo, connect, fin, recv, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, PATH, local};
use crate::support::hosts::socks;
use crate::support::peers::{self, need};
use crate::support::plugin::bare;
use crate::support::{STEP, eventually, millis, noise, proc, secs};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

/// What stands before `server-behind-proxy.json`.
#[derive(Debug, Clone, Copy)]
enum Front {
    Envoy,
    HaProxy,
}

impl Front {
    #[track_caller]
    fn start(self, machine: &Machine) -> Child {
        match self {
            Front::Envoy => envoy(machine, "http.yaml", &[80, 443]),
            Front::HaProxy => {
                let config = include_str!("../../fronts/haproxy.cfg");
                let config = config.replace("@PORT@", "80").replace("@UPSTREAM@", "8388");
                machine.put("/etc/haproxy/haproxy.cfg", config);
                machine.serve("haproxy", &[80], &["haproxy", "-f", "/etc/haproxy/haproxy.cfg"])
            }
        }
    }

    /// The options with which a client comes through it.
    fn clients(self) -> Vec<String> {
        let upgrade = |options: &str| format!("{options};obfs-host={NAME};obfs-uri={PATH}");
        let websocket = |options: &str| format!("mode=websocket;{options};host={NAME};path={PATH}");
        let mut clients = vec![websocket("mux=0"), websocket("mux=1")];
        match self {
            Front::Envoy => clients.extend([upgrade("obfs=http"), websocket("tls")]),
            Front::HaProxy => clients.push(upgrade("obfs=http;handshake=standard")),
        }
        clients
    }
}

/// A client with these options, which tells everything.
#[track_caller]
fn client(port: u16, machine: &Machine, options: &str) -> Child {
    let with_tls = format!("mode=websocket;tls;host={NAME};path={PATH}");
    let without = format!("obfs=http;obfs-host={NAME};obfs-uri={PATH}");
    let (name, written) = if options.contains(";tls") {
        ("shadowsocks/client.json", with_tls)
    } else {
        ("shadowsocks/client-http.json", without)
    };
    client_at(port, machine, "sslocal", name, &[(&written, &format!("{options};v"))])
}

#[track_caller]
fn tunnel(port: u16, target: SocketAddr) -> TcpStream {
    let stream = socks(local(port), target);
    assert_echo(&stream, b"hello");
    stream
}

fn lines_with(child: &Child, words: &str) -> usize {
    child.lines().iter().filter(|line| line.contains(words)).count()
}

/// Its tunnels end, those that come meanwhile are refused, and the log of the client tells both; when it is back, the
/// first one goes through.
fn restarts(front: Front) {
    Machine::with(secs(120), move |machine| {
        need!("envoy", "haproxy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
        let mut running = front.start(machine);
        for (options, signal) in front.clients().iter().zip([Signal::TERM, Signal::KILL].into_iter().cycle())
        {
            let client = client(1080, machine, options);
            let open: Vec<_> = (0..4).map(|_| tunnel(1080, echo.addr)).collect();
            let logs = || format!("{options}: {}\n{}", client.show_log(), server.show_log());
            running.signal(signal);
            running.wait_exit(STEP);
            for stream in open {
                let (got, end) = recv_to_end(&stream, STEP);
                assert_eq!(got, b"", "{}", logs());
                assert_ne!(end, End::Open, "a tunnel hangs; {}", logs());
            }
            assert!(eventually(STEP, || lines_with(&client, " ended ") >= 4), "{}", logs());
            let refused = socks(local(1080), echo.addr);
            send(&refused, b"anybody there?");
            assert_ne!(recv_to_end(&refused, STEP).1, End::Open, "{}", logs());
            client.wait_line("why it is refused", |line| {
                line.contains(" WARN tunnel failed ") && line.contains("Connection refused")
            });
            running = front.start(machine);
            assert_echo(&tunnel(1080, echo.addr), &noise(MB, 1));
        }
    });
}

#[test]
fn envoy_restarts() {
    restarts(Front::Envoy);
}

#[test]
fn haproxy_restarts() {
    restarts(Front::HaProxy);
}

/// It accepts and says nothing, as one does that hangs: the client tells it after 10 s, and when it is over; what
/// waited goes on, but for a handshake of TLS, which waits no longer.
fn says_nothing(front: Front) {
    Machine::with(secs(120), move |machine| {
        need!("envoy", "haproxy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
        let running = front.start(machine);
        let clients: Vec<_> = (1080..)
            .zip(front.clients())
            .map(|(port, options)| (port, client(port, machine, &options)))
            .collect();
        running.signal(Signal::STOP);
        let waiting: Vec<_> = clients
            .iter()
            .map(|(port, _)| {
                let app = socks(local(*port), echo.addr);
                send(&app, b"anybody there?");
                app
            })
            .collect();
        let in_tls = |client: &Child| client.lines().iter().any(|line| line.contains("in TLS)"));
        for (_, client) in &clients {
            let silent = if in_tls(client) {
                "the TLS handshake took more than 10 s"
            } else {
                "has said nothing for 10 s"
            };
            client.wait_line(silent, |line| line.contains(" WARN ") && line.contains(silent));
        }
        running.signal(Signal::CONT);
        for ((port, client), app) in clients.iter().zip(waiting) {
            if in_tls(client) {
                assert_ne!(recv_to_end(&app, STEP).1, End::Open, "{}", client.show_log());
            } else {
                assert_eq!(recv(&app, 14), b"anybody there?", "{}", client.show_log());
                client.wait_line("that it is over", |line| line.contains(" INFO the server answers again"));
            }
            assert_echo(&tunnel(*port, echo.addr), b"hello");
        }
    });
}

#[test]
fn a_silent_envoy_is_told() {
    says_nothing(Front::Envoy);
}

#[test]
fn a_silent_haproxy_is_told() {
    says_nothing(Front::HaProxy);
}

/// The first flight of a browser that asks for this name.
#[track_caller]
fn hello(name: &str) -> Vec<u8> {
    let (port, connections) = Backend::manual();
    let address = port.addr.to_string();
    let mut command = bare(peers::path("openssl"));
    command.args(["s_client", "-alpn", "h2", "-servername", name, "-connect", &address]);
    let _browser = Child::spawn("openssl", command);
    let stream = backend::next(&connections);
    let head = recv(&stream, 5);
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    [head, recv(&stream, length)].concat()
}

/// A website that the test plays, behind a server half for TLS, one for obfs=tls, and behind Envoy alone: late, silent,
/// reset, gone, not to be reached, and back. A visitor meets each as it is; tunnels notice nothing.
#[test]
fn a_website_in_any_state_harms_no_tunnel() {
    Machine::with(secs(120), |machine| {
        need!("envoy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        let play = || {
            let (tell, told) = mpsc::channel();
            (Backend::serve_on(local(8443), move |stream| drop(tell.send(stream))), told)
        };
        let port = Port::with(machine, |_| play());
        let _client = shadowsocks_client(machine, "envoy/sni/client-tls.json");
        let open = tunnel(1080, echo.addr);
        let unharmed = || {
            assert_echo(&open, b"an old one");
            assert_echo(&tunnel(1080, echo.addr), b"a new one");
        };
        let logs =
            || port.servers.iter().chain([&port.envoy]).map(Child::show_log).collect::<Vec<_>>().join("\n");
        let (mut running, mut connections) = port.website;
        for name in [APP, CDN, WEBSITE] {
            let hello = hello(name);
            let visitor = || {
                let stream = connect(local(443));
                send(&stream, &hello);
                stream
            };
            // Reads who came, and what.
            let come = |stream: TcpStream| {
                let header = recv(&stream, 16);
                assert_eq!(header[..12], *b"\r\n\r\n\0\r\nQUIT\n", "{name}");
                recv(&stream, usize::from(u16::from_be_bytes([header[14], header[15]])));
                assert_eq!(recv(&stream, hello.len()), hello, "{name}");
                stream
            };

            // Late: what it says then comes, and ends as it ends.
            let [late, silent, reset] = [(); 3].map(|()| (visitor(), come(backend::next(&connections))));
            unharmed();
            send(&late.1, b"late");
            assert_eq!(recv(&late.0, 4), b"late", "{name}: {}", logs());
            drop(late.1);
            assert_eq!(recv_to_end(&late.0, STEP), (Vec::new(), End::Fin), "{name}: {}", logs());
            // Not at all: the visitor's time-out ends it, or the website's.
            fin(&silent.0);
            assert_eq!(recv_to_end(&silent.1, STEP).1, End::Fin, "{name}: {}", logs());
            conn::reset(reset.1);
            assert_eq!(recv_to_end(&reset.0, STEP), (Vec::new(), End::Reset), "{name}: {}", logs());
            unharmed();

            // It restarts, with visitors of before and of meanwhile.
            let before = (visitor(), come(backend::next(&connections)));
            drop((running, connections, before.1));
            assert_eq!(recv_to_end(&before.0, STEP).1, End::Fin, "{name}");
            assert!(eventually(STEP, || !proc::port_listens(8443)));
            assert_eq!(recv_to_end(&visitor(), STEP), (Vec::new(), End::Reset), "{name}: {}", logs());
            unharmed();
            (running, connections) = play();
            let (after, website) = (visitor(), come(backend::next(&connections)));
            send(&website, b"open again");
            assert_eq!(recv(&after, 10), b"open again", "{name}: {}", logs());
        }
        for server in &port.servers[1..] {
            server
                .wait_line("that it was away", |line| line.contains(" WARN the website cannot be reached "));
        }
    });
}

/// A website that takes no connections for a while, as one with a full queue: visitors wait for it, and are served.
#[test]
fn a_website_that_does_not_accept_is_waited_for() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        let port = Port::with(machine, |_| {
            let website = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            website.bind(&local(8443).into()).expect("the website's port");
            website.listen(8).expect("listen");
            TcpListener::from(website)
        });
        let hellos = [APP, CDN, WEBSITE].map(hello);
        let _client = shadowsocks_client(machine, "envoy/sni/client-tls.json");
        let open = tunnel(1080, echo.addr);
        // Until the queue is full.
        let queued: Vec<_> =
            std::iter::from_fn(|| TcpStream::connect_timeout(&local(8443), millis(200)).ok())
                .take(20)
                .collect();
        assert!((1..20).contains(&queued.len()), "the queue is never full");
        let visitors = hellos.each_ref().map(|hello| {
            let stream = connect(local(443));
            send(&stream, hello);
            stream
        });
        assert_echo(&open, b"an old one");
        assert_echo(&tunnel(1080, echo.addr), b"a new one");
        let website = port.website;
        std::thread::spawn(move || {
            for mut stream in website.incoming().flatten() {
                std::thread::spawn(move || {
                    let header = stream.read(&mut [0; 16]).is_ok_and(|read| read == 16);
                    if header && stream.write_all(b"at last").is_ok() {
                        let _ = recv_to_end(&stream, STEP);
                    }
                });
            }
        });
        for (name, visitor) in [APP, CDN, WEBSITE].iter().zip(&visitors) {
            assert_eq!(recv(visitor, 7), b"at last", "{name}");
        }
        drop(queued);
    });
}

/// The server half restarts behind Envoy: its tunnels end, a client meanwhile learns that there is none, and when it is
/// back the first one goes through.
#[test]
fn a_server_half_restarts_behind_envoy() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let start = || shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
        let mut server = start();
        let _envoy = Front::Envoy.start(machine);
        for options in Front::Envoy.clients() {
            let client = client(1080, machine, &options);
            let open = tunnel(1080, echo.addr);
            drop(server);
            let (got, end) = recv_to_end(&open, STEP);
            assert!(got.is_empty() && end != End::Open, "{options}: {end:?}; {}", client.show_log());
            let refused = socks(local(1080), echo.addr);
            send(&refused, b"anybody there?");
            assert_ne!(recv_to_end(&refused, STEP).1, End::Open, "{options}");
            client.wait_line("what came instead", |line| {
                line.contains(" WARN tunnel ") && line.contains("answered `HTTP/1.1 301")
            });
            server = start();
            assert_echo(&tunnel(1080, echo.addr), &noise(MB, 1));
        }
    });
}
