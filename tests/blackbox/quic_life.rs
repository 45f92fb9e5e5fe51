//! QUIC over time: tunnels that are silent for minutes, more of them than a peer allows on a connection, servers that
//! start anew, clients whose address changes, and a certificate that is renewed.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, recv, recv_to_end, send};
use crate::support::netns::{self, Other, ip};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours, Plugin, Vars, bare, our_path};
use crate::support::ports::free_port;
use crate::support::quic::{
    App, Nat, PAIRS, Pair, ask, client, for_server, our_server, server, server_on, wait_bound,
};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, millis, noise, proc, secs, within};
use rustix::process::Signal;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const MB: usize = 1024 * 1024;

/// How long a tunnel is silent: longer than any time-out of QUIC in the field but one.
const SILENCE: Duration = Duration::from_secs(125);

/// Most peers send nothing to keep a tunnel alive, so that each of our halves has to. The waits run beside each other;
/// it is the peers' clocks that have to go on.
#[test]
fn idle_tunnels_live_for_minutes_with_every_peer() {
    within(SILENCE + secs(90), || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        let echo = Backend::echo();
        let tunnels: Vec<(Pair, String, TcpStream)> = PAIRS
            .into_iter()
            .map(|(client_app, server_app)| {
                let pair = Pair::start(client_app, server_app, echo.addr);
                let stream = connect(pair.client.addr);
                assert_echo(&stream, &noise(10_000, 1));
                (pair, format!("{client_app:?} with {server_app:?}"), stream)
            })
            .collect();
        std::thread::sleep(SILENCE);
        for (pair, what, stream) in &tunnels {
            let _named = Named(what, pair);
            assert_echo(stream, &noise(50_000, 2));
            assert_echo(&connect(pair.client.addr), &noise(50_000, 3));
        }
    });
}

/// Says in a failure which pair it was.
struct Named<'a>(&'a str, &'a Pair);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}: {}", self.0, self.1.logs());
        }
    }
}

/// Peers allow 32 streams on a connection: whoever comes then has another one, and nobody waits.
fn a_hundred_at_once(client_app: App, server_app: App) {
    within(secs(120), move || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        let echo = Backend::echo();
        let pair = Pair::start(client_app, server_app, echo.addr);
        let addr = pair.client.addr;
        let streams: Vec<TcpStream> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..100)
                .map(|i| {
                    scope.spawn(move || {
                        let stream = connect(addr);
                        assert_echo(&stream, &noise(500, i));
                        stream
                    })
                })
                .collect();
            opened.into_iter().map(|opened| opened.join().expect("an answer")).collect()
        });
        // All of them are still open, and each is itself.
        for (i, stream) in streams.iter().enumerate() {
            assert_echo(stream, &noise(900, 200 + i as u64));
        }
        assert_eq!(echo.accepted(), 100);
        // Those that end make room for others.
        drop(streams);
        for i in 0..40 {
            assert_echo(&connect(addr), &noise(700, i));
        }
    });
}

#[test]
fn a_hundred_tunnels_between_our_halves() {
    a_hundred_at_once(App::Ours, App::Ours);
}

#[test]
fn a_hundred_tunnels_with_debians_server() {
    a_hundred_at_once(App::Ours, App::Plugin);
}

#[test]
fn a_hundred_tunnels_with_v2rays_server() {
    a_hundred_at_once(App::Ours, App::V2ray);
}

#[test]
fn a_hundred_tunnels_of_debians_client() {
    a_hundred_at_once(App::Plugin, App::Ours);
}

#[test]
fn a_hundred_tunnels_of_v2rays_client() {
    a_hundred_at_once(App::V2ray, App::Ours);
}

#[test]
fn a_hundred_tunnels_of_sing_boxes_client() {
    a_hundred_at_once(App::SingBox, App::Ours);
}

/// Whether a tunnel works now. One that does not is no failure yet.
fn works(client: SocketAddr) -> bool {
    let stream = connect(client);
    stream.set_read_timeout(Some(secs(3))).expect("a limit");
    let mut back = [0; 5];
    (&stream).write_all(b"hello").is_ok()
        && std::io::Read::read_exact(&mut &stream, &mut back).is_ok()
        && &back == b"hello"
}

/// A server that ends tells its clients, whose open tunnels end and whose next ones work at once. One that is killed
/// tells nobody: its clients find out.
#[test]
fn tunnels_work_after_the_server_has_been_started_anew() {
    within(secs(240), || {
        need!("ss-v2ray-plugin", "v2ray", "openssl");
        std::thread::scope(|scope| {
            for (client_app, server_app, signal) in [
                (App::Ours, App::Ours, Signal::TERM),
                (App::Ours, App::Ours, Signal::KILL),
                (App::Ours, App::Plugin, Signal::KILL),
                (App::Ours, App::V2ray, Signal::KILL),
                (App::Plugin, App::Ours, Signal::TERM),
                (App::V2ray, App::Ours, Signal::TERM),
            ] {
                scope.spawn(move || started_anew(client_app, server_app, signal));
            }
        });
    });
}

fn started_anew(client_app: App, server_app: App, signal: Signal) {
    let echo = Backend::echo();
    let certificate = Certificate::new(NAME);
    let first = server(server_app, echo.addr, &certificate);
    let client = client(client_app, first.addr, &certificate);
    let open = connect(client.addr);
    assert_echo(&open, b"before");
    first.child.signal(signal);
    first.child.wait_exit(STEP);
    let what = format!("{client_app:?} with {server_app:?}, {signal:?}");
    if signal == Signal::TERM {
        assert_ne!(recv_to_end(&open, STEP).1, End::Open, "{what}");
    }
    let port = first.addr.port();
    let again = server_on(port, server_app, echo.addr, &certificate);
    let limit = if signal == Signal::TERM { secs(10) } else { secs(60) };
    let worked = eventually(limit, || works(client.addr));
    assert!(worked, "{what}: {}; {}", client.child.show_log(), again.child.show_log());
    assert_echo(&connect(client.addr), &noise(200_000, 1));
    // The open tunnel was the old server's.
    assert_ne!(recv_to_end(&open, secs(60)).1, End::Open, "{what}");
}

/// A server that is not there yet is dialled again by the next tunnel.
#[test]
fn a_client_may_be_there_before_its_server() {
    within(secs(90), || {
        need!("openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let port = free_port();
        let client = client(App::Ours, SocketAddr::from(([127, 0, 0, 1], port)), &certificate);
        let stream = connect(client.addr);
        send(&stream, b"hello");
        // The system says that nobody is there, and that is told in less time than a handshake may take.
        assert_ne!(recv_to_end(&stream, secs(40)).1, End::Open, "{}", client.child.show_log());
        let server = server_on(port, App::Ours, echo.addr, &certificate);
        let worked = eventually(STEP, || works(client.addr));
        assert!(worked, "{}; {}", client.child.show_log(), server.child.show_log());
    });
}

/// A way that dies in silence ends all tunnels of its connection, and the log says how many and why.
#[test]
fn a_server_that_falls_silent_is_told_with_what_it_costs() {
    within(secs(120), || {
        need!("openssl");
        let (certificate, echo) = (Certificate::new(NAME), Backend::echo());
        let server = our_server(echo.addr, &for_server(&certificate));
        let client = client(App::Ours, server.addr, &certificate);
        let streams = [connect(client.addr), connect(client.addr)];
        for stream in &streams {
            assert_echo(stream, b"before");
        }
        server.child.signal(Signal::STOP);
        // Both before either ends: they end in one moment.
        for stream in &streams {
            send(stream, b"into the silence");
        }
        for stream in &streams {
            assert_ne!(recv_to_end(stream, secs(60)).1, End::Open);
        }
        client.child.wait_line("what it cost", |line| {
            line.contains("the server has said nothing for 30 s") && line.contains("tunnels=2")
        });
    });
}

/// A port at which nobody speaks QUIC, whatever it says: the tunnel ends, and the log says that there was no handshake.
#[test]
fn a_server_that_does_not_speak_is_told() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        for answer in [None, Some(0x00), Some(0x40), Some(0xff)] {
            let port = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let addr = port.local_addr().expect("its address");
            if let Some(byte) = answer {
                std::thread::spawn(move || {
                    let mut packet = [0; 65536];
                    while let Ok((len, from)) = port.recv_from(&mut packet) {
                        packet[0] = byte;
                        // In the middle of what would be ids, keys and a tag.
                        packet[len / 2] ^= 1;
                        let _ = port.send_to(&packet[..len], from);
                    }
                });
            }
            let client = client(App::Ours, addr, &certificate);
            let stream = connect(client.addr);
            send(&stream, b"hello");
            let (got, end) = recv_to_end(&stream, secs(40));
            assert!(got.is_empty() && end != End::Open, "{answer:?}: {}", client.child.show_log());
            client.child.wait_line("why", |line| line.contains("WARN") && line.contains(&addr.to_string()));
        }
    });
}

/// A NAT on the way forgets its mapping, or is another one: the client's packets come from elsewhere. Tunnels live, in the
/// middle of a transfer and in silence.
#[test]
fn tunnels_live_when_a_nat_changes_its_mapping() {
    within(secs(180), || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        let echo = Backend::echo();
        for client_app in [App::Ours, App::Plugin, App::V2ray] {
            let certificate = Certificate::new(NAME);
            let server = server(App::Ours, echo.addr, &certificate);
            let nat = Nat::before(server.addr);
            let client = client(client_app, nat.addr, &certificate);
            let stream = connect(client.addr);
            assert_echo(&stream, b"before");
            let connections = nat.made();
            for (round, from) in ["127.0.0.1", "127.0.0.9", "127.0.0.1"].into_iter().enumerate() {
                nat.rebind(from.parse::<IpAddr>().expect("an address"));
                assert_echo(&stream, &noise(30_000, round as u64));
            }
            assert_eq!(nat.made(), 4 * connections, "{client_app:?}: another connection was dialled");
            let file = noise(8 * MB, 8);
            std::thread::scope(|scope| {
                let echoed = scope.spawn(|| {
                    // Below, the limit of each read is a short one for a path that was lost.
                    stream.set_read_timeout(Some(secs(40))).expect("a limit");
                    assert_echo(&stream, &file);
                });
                for last in 20..23 {
                    std::thread::sleep(millis(300));
                    nat.rebind(IpAddr::from([127, 0, 0, last]));
                }
                echoed.join().expect("the echo");
            });
            assert_echo(&connect(client.addr), &noise(1000, 2));
        }
    });
}

const NEAR: [&str; 2] = ["10.1.0.2", "10.1.0.3"];
const FAR: &str = "10.1.0.1";

/// A phone that goes from one network to another: its old address is gone. Open tunnels go on from the new one.
#[test]
fn tunnels_live_when_the_client_has_another_address() {
    netns::alone(secs(120), || {
        need!("ip", "openssl");
        let other = Other::new();
        ip(&format!("link add near type veth peer name far netns {}", other.id));
        other.run(|| {
            ip(&format!("address add {FAR}/24 dev far"));
            ip("link set far up");
        });
        let move_to = |old: Option<&str>, new: &str| {
            if let Some(old) = old {
                ip(&format!("address del {old}/24 dev near"));
            }
            ip(&format!("address add {new}/24 dev near"));
            ip("link set near up");
        };
        move_to(None, NEAR[0]);
        let certificate = Certificate::new(NAME);
        let options = format!("server;{}", for_server(&certificate));
        let port = free_port();
        let (echo, server) = other.run(move || {
            let echo = Backend::echo();
            let vars = Vars {
                remote: (FAR.to_owned(), port),
                local: (echo.addr.ip().to_string(), echo.addr.port()),
                options,
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours server", command);
            wait_bound(&child, port);
            (echo, child)
        });
        let remote = SocketAddr::new(FAR.parse().expect("an address"), port);
        let client = client(App::Ours, remote, &certificate);
        let streams: Vec<TcpStream> = (0..5).map(|_| connect(client.addr)).collect();
        for stream in &streams {
            assert_echo(stream, b"before");
        }
        for (round, (old, new)) in [(NEAR[0], NEAR[1]), (NEAR[1], NEAR[0])].into_iter().enumerate() {
            move_to(Some(old), new);
            for (i, stream) in streams.iter().enumerate() {
                assert_echo(stream, &noise(40_000, (10 * round + i) as u64));
            }
            assert_echo(&connect(client.addr), &noise(40_000, 99));
        }
        // No application saw anything of it.
        assert_eq!(echo.accepted(), streams.len() + 2, "{}; {}", client.child.show_log(), server.show_log());
    });
}

/// A renewal under traffic: connections that are open go on, new ones have the new certificate.
#[test]
fn a_renewed_certificate_is_served_to_new_connections() {
    within(secs(120), || {
        need!("openssl", "python-aioquic");
        let echo = Backend::echo();
        let (old, new) = (Certificate::new(NAME), Certificate::new(NAME));
        let server = our_server(echo.addr, &for_server(&old));
        let port = server.addr.port().to_string();
        let roots = |of: &Certificate| std::fs::read(&of.cert).expect("a certificate");
        let trusted = new.dir.write("old.pem", roots(&old));
        let trusting = |file: &std::path::Path| {
            plugin::client(Ours, server.addr, &format!("mode=quic;host={NAME};cert={}", file.display()))
        };
        let before = trusting(&trusted);
        let open = connect(before.addr);
        assert_echo(&open, b"before");
        let shown = || ask(&["handshake", &port, NAME, "h2"])[0].clone();
        let first = shown();

        std::fs::write(&old.cert, roots(&new)).expect("write the certificate");
        server.child.wait_text("the old one stays");
        assert_eq!(shown(), first);
        std::fs::write(&old.key, std::fs::read(&new.key).expect("the key")).expect("write the key");
        server.child.wait_text("new one is served");
        assert_ne!(shown(), first);
        let after = trusting(&new.cert);
        assert_echo(&connect(after.addr), &noise(100_000, 1));
        // What is open goes on, and so does what is opened on the same connection.
        assert_echo(&open, b"and before still");
        assert_echo(&connect(before.addr), b"on the old connection");
        // Who trusts only the old one gets no new connection.
        let late = trusting(&trusted);
        let stream = connect(late.addr);
        send(&stream, b"hello");
        assert_eq!(recv_to_end(&stream, STEP).0, b"");
    });
}

/// Whoever ends tells its peers: what is open ends there at once, and not when a time-out has passed.
#[test]
fn a_half_that_ends_tells_its_peers() {
    within(secs(150), || {
        need!("openssl", "ss-v2ray-plugin");
        let made = |client_app, server_app| {
            let (backend, connections) = Backend::manual();
            let pair = Pair::start(client_app, server_app, backend.addr);
            let app = connect(pair.client.addr);
            send(&app, b"?");
            let behind = next(&connections);
            assert_eq!(recv(&behind, 1), b"?");
            (backend, pair, app, behind)
        };
        for client_app in [App::Ours, App::Plugin] {
            let (_backend, pair, app, _behind) = made(client_app, App::Ours);
            ends(&pair.server);
            assert!(!proc::udp_port_bound(pair.server.addr.port()));
            assert_ne!(recv_to_end(&app, secs(15)).1, End::Open, "{}", pair.logs());
        }
        for server_app in [App::Ours, App::Plugin] {
            let (_backend, pair, _app, behind) = made(App::Ours, server_app);
            ends(&pair.client);
            assert_ne!(recv_to_end(&behind, secs(15)).1, End::Open, "{}", pair.logs());
        }
    });
}

#[track_caller]
fn ends(half: &Plugin) {
    half.child.signal(Signal::TERM);
    assert_eq!(half.child.wait_exit(STEP), Exit::Code(0), "{}", half.child.show_log());
}
