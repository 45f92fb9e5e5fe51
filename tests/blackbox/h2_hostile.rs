//! Whatever comes over HTTP/2: the process lives, it stays as small as it was, and who is served goes on being served.

use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, recv, recv_to_end, send};
use crate::support::grpc::{App, Style, ask, client, count, python_server, server, start_asking};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours, Plugin};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, noise, proc, secs, within};
use std::net::TcpStream;

/// How much a server may grow by what strangers send, in KiB. (A debug build's allocator keeps what it had.)
const GROWTH: usize = 24 * 1024;

const TUN: &str = "/GunService/Tun";

fn resident(plugin: &Plugin) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", plugin.child.pid())).expect("its status");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("the number");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// A server of gRPC alone, and one that has a website and terminates HTTP/2 from the start, each with a client whose
/// tunnel stands on a connection of its own.
struct Served {
    servers: Vec<(Plugin, Plugin, TcpStream, String)>,
    _certificate: Certificate,
    _echo: Backend,
    _site: Plugin,
}

impl Served {
    fn start() -> Served {
        let certificate = Certificate::new(NAME);
        let echo = Backend::echo();
        let site = python_server("site", None, &[]);
        let tls = certificate.for_server();
        // With a website whose the connection is at first, in TLS; without one; and with one whose visitors come through
        // a proxy that is trusted.
        let servers = [
            (format!("mode=grpc;serviceName=GunService;{tls};failover-h2={}", site.addr), Some(&certificate)),
            ("mode=grpc;serviceName=GunService".to_owned(), None),
            (format!("mode=grpc;serviceName=GunService;failover-h2={};trusted=127.0.0.1", site.addr), None),
        ]
        .into_iter()
        .map(|(options, tls)| {
            let server = plugin::server(Ours, echo.addr, &options);
            let style = Style { tls, ..Style::clear() };
            let client = client(App::Ours, server.addr, echo.addr, style);
            let stream = connect(client.addr);
            assert_echo(&stream, &noise(10_000, 1));
            (server, client, stream, if tls.is_some() { NAME.to_owned() } else { "-".to_owned() })
        })
        .collect();
        Served { servers, _certificate: certificate, _echo: echo, _site: site }
    }

    /// Everybody still has what they had, a new tunnel opens, and the server is no bigger.
    #[track_caller]
    fn assert_served(&self, what: &str, before: &[usize]) {
        for ((server, client, stream, _), memory) in self.servers.iter().zip(before) {
            assert_echo(stream, &noise(50_000, 2));
            assert_echo(&connect(client.addr), &noise(50_000, 3));
            assert_eq!(server.child.peek_exit(), None, "{what}: {}", server.child.show_log());
            let grown = resident(server).saturating_sub(*memory);
            assert!(grown < GROWTH, "{what}: {grown} KiB; {}", server.child.show_log());
            assert!(!server.child.show_log().contains("panicked"), "{what}: {}", server.child.show_log());
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.servers.iter().map(|(server, ..)| resident(server)).collect()
    }

    /// Has a stranger do it to every server at once, while the tunnels work. Returns what it says of each.
    fn attacked(&self, words: &[&str], rest: &[&str]) -> Vec<String> {
        std::thread::scope(|scope| {
            let attacks: Vec<_> = self
                .servers
                .iter()
                .map(|(server, _, stream, name)| {
                    scope.spawn(move || {
                        let port = server.addr.port().to_string();
                        let attack = start_asking(&[words, &[&port, name, TUN], rest].concat());
                        let mut rounds = 0;
                        while attack.peek_exit().is_none() {
                            assert_echo(stream, &noise(5_000, rounds));
                            rounds += 1;
                        }
                        assert_eq!(
                            attack.wait_exit(secs(60)),
                            crate::support::child::Exit::Code(0),
                            "{}",
                            attack.show_log()
                        );
                        attack.lines().last().cloned().unwrap_or_default()
                    })
                })
                .collect();
            attacks.into_iter().map(|attack| attack.join().expect("an attack")).collect()
        })
    }
}

/// A connection that ends, whatever its end is called.
fn ended(said: &str) -> bool {
    said.starts_with("goaway") || said.starts_with("closed")
}

#[test]
fn streams_that_are_reset_at_once_keep_nobody_out() {
    within(secs(150), || {
        need!("openssl", "python-h2");
        let served = Served::start();
        let before = served.sizes();
        // Of tunnels, and of visitors' requests.
        for method in ["POST", "GET"] {
            for said in served.attacked(&["rapid-reset"], &["10000", method]) {
                // A connection may be ended for it.
                assert!(
                    ended(&said) || said == "open" || said.starts_with("reset") || said == "end",
                    "{method}: {said}"
                );
            }
            served.assert_served(method, &before);
        }
    });
}

/// Heads that never end, or that grow when they are unpacked, end their connection.
#[test]
fn heads_are_bounded() {
    within(secs(150), || {
        need!("openssl", "python-h2");
        let served = Served::start();
        let before = served.sizes();
        for kind in ["endless-headers", "empty-continuations", "hpack-bomb"] {
            for (said, (server, ..)) in served.attacked(&[kind], &[]).iter().zip(&served.servers) {
                // (a bomb's requests may each be refused)
                let refused = kind == "hpack-bomb" && (said.starts_with("reset") || said == "end");
                assert!(ended(said) || refused, "{kind}: {said}; {}", server.child.show_log());
            }
            served.assert_served(kind, &before);
        }
    });
}

/// What wants an answer, and is sent without end by who reads the answers or does not.
#[test]
fn floods_are_bounded() {
    within(secs(150), || {
        need!("openssl", "python-h2");
        let served = Served::start();
        let before = served.sizes();
        for (kind, frames) in [
            ("settings", "10000"),
            ("settings-many", "200"),
            ("ping", "10000"),
            ("unread-ping", "2000000"),
            ("unread-settings", "2000000"),
            ("empty-data", "20000"),
            ("window", "20000"),
            ("priority", "20000"),
            ("unknown", "10000"),
            ("reset-unknown", "10000"),
        ] {
            for said in served.attacked(&["flood"], &[kind, frames]) {
                assert!(!said.is_empty(), "{kind}");
                // What is not read is not answered without end.
                assert!(!kind.starts_with("unread") || said == "not taken" || ended(&said), "{kind}: {said}");
            }
            served.assert_served(kind, &before);
        }
    });
}

/// Windows of nothing, windows that overflow, and more bytes than the windows hold: the error that the protocol has for it.
#[test]
fn windows_are_kept() {
    within(secs(150), || {
        need!("openssl", "python-h2");
        let served = Served::start();
        let before = served.sizes();
        for (kind, outcomes) in [
            ("zero", &["data 0 open"][..]),
            // (a reset of the connection may overtake what was said before it)
            ("overflow-stream", &["reset 3", "goaway 3", "closed by reset"]),
            ("overflow-connection", &["goaway 3", "closed by reset"]),
            ("zero-increment", &["reset 1", "goaway 1", "closed by reset"]),
        ] {
            for (said, (server, ..)) in served.attacked(&["window"], &[kind]).iter().zip(&served.servers) {
                assert!(outcomes.contains(&said.as_str()), "{kind}: {said}; {}", server.child.show_log());
            }
            served.assert_served(kind, &before);
        }
    });
}

/// Who sends more than its windows allow, to a backend that reads nothing.
#[test]
fn what_the_backend_does_not_take_is_not_taken() {
    within(secs(100), || {
        need!("python-h2");
        let (backend, _connections) = Backend::manual();
        let server = server(App::Ours, backend.addr, Style::clear());
        let before = resident(&server);
        let said = ask(&["window", &server.addr.port().to_string(), "-", TUN, "beyond"]);
        let refused = said[0] == "reset 3" || said[0] == "goaway 3" || said[0].starts_with("closed by");
        assert!(refused, "{said:?}; {}", server.child.show_log());
        let grown = resident(&server).saturating_sub(before);
        assert!(grown < 64 * 1024, "{grown} KiB");
    });
}

/// Those who ask for much, give it all windows there are and read nothing: what waits for them stays with the backend.
#[test]
fn what_a_client_does_not_read_is_not_kept() {
    within(secs(100), || {
        need!("python-h2");
        let pouring = Backend::serve(|stream| {
            recv(&stream, 4);
            let _ = stream.set_write_timeout(None);
            let block = vec![0; 1 << 16];
            while std::io::Write::write_all(&mut &stream, &block).is_ok() {}
        });
        let server = server(App::Ours, pouring.addr, Style::clear());
        let before = resident(&server);
        let asking = start_asking(&["unread", &server.addr.port().to_string(), "-", TUN, "200"]);
        asking.wait_text("asked");
        // (those behind may wait until what is written to the connection is taken, which is never)
        assert!(eventually(STEP, || pouring.accepted() >= 20), "{} came", pouring.accepted());
        // Another client's downloads show meanwhile that the server works, and take longer than its buffers to fill.
        let client = client(App::Ours, server.addr, pouring.addr, Style::clear());
        let stream = connect(client.addr);
        send(&stream, b"more");
        for _ in 0..200 {
            recv(&stream, 1 << 18);
        }
        let grown = resident(&server).saturating_sub(before);
        assert!(grown < 100 * 1024, "{grown} KiB for 200 tunnels that nobody reads");
    });
}

/// Messages that lie, or are none, end their tunnel alone; those that gRPC allows do not.
#[test]
fn hunks_that_are_none_end_their_tunnel_alone() {
    within(secs(120), || {
        need!("python-h2");
        let echo = Backend::echo();
        let server = server(App::Ours, echo.addr, Style::clear());
        let port = server.addr.port().to_string();
        let other = client(App::Ours, server.addr, echo.addr, Style::clear());
        let stream = connect(other.addr);
        assert_echo(&stream, b"before");
        for (kind, goes_on) in [
            ("empty", Some("goes on after")),
            ("empty-field", Some("goes on after")),
            ("two", None),
            ("other-field", None),
            ("other-type", None),
            ("compressed", Some("stream")),
            ("flag", Some("stream")),
            ("short", Some("stream")),
            ("huge", Some("stream")),
            ("huge-field", Some("stream")),
            ("endless-varint", Some("stream")),
            ("field-beyond", Some("stream")),
            ("garbage", Some("stream")),
        ] {
            let said = ask(&["message-of", &port, "-", TUN, kind]);
            if let Some(expected) = goes_on {
                assert!(said[0].starts_with(expected), "{kind}: {said:?}; {}", server.child.show_log());
            }
            assert_eq!(said[1], "another True", "{kind}: {said:?}; {}", server.child.show_log());
            assert_echo(&stream, b"still here");
        }
        assert!(!server.child.show_log().contains("panicked"), "{}", server.child.show_log());
    });
}

/// A server that does all this to our client: no application hears a byte that it was not sent, and none waits for ever.
#[test]
fn our_client_outlives_every_server() {
    within(secs(120), || {
        need!("python-h2");
        for (kind, number) in
            [("rst", "8"), ("abort", "2"), ("lies", "0"), ("huge", "0"), ("grpc-status", "14")]
        {
            let tunnels = python_server("tunnels", None, &[kind, number]);
            let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
            for round in 0..10 {
                let stream = connect(client.addr);
                send(&stream, b"hello");
                let (got, end) = recv_to_end(&stream, STEP);
                let expected: &[u8] = if kind == "abort" { b"hello" } else { b"" };
                assert!(expected.starts_with(&got), "{kind} {round}: {got:?}");
                assert_ne!(end, End::Open, "{kind} {round}: {}", client.child.show_log());
            }
            // (one that is asked for while the connection breaks comes to nobody)
            let served = || count(&tunnels.child, "stream ") >= 5;
            assert!(eventually(STEP, served), "{kind}: {}", tunnels.child.show_log());
            assert_eq!(client.child.peek_exit(), None, "{kind}: {}", client.child.show_log());
            assert!(!client.child.show_log().contains("panicked"), "{}", client.child.show_log());
            assert!(proc::port_listens(client.addr.port()));
        }
    });
}
