//! Mux.Cool inside gRPC: v2ray 4.45 at either end, and both of our halves.

use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, fin, recv, recv_to_end, send};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours, Plugin};
use crate::support::ports::free_port;
use crate::support::quic::{door, v2ray};
use crate::support::scrape::Metrics;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, digest, noise, secs, within};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

const MB: usize = 1024 * 1024;

/// Whose half it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum App {
    Ours,
    V2ray,
}

/// The combinations in which one half at least is ours.
const PAIRS: [(App, App); 3] = [(App::Ours, App::Ours), (App::Ours, App::V2ray), (App::V2ray, App::Ours)];

/// client → server → backend.
struct Pair {
    client: Plugin,
    server: Plugin,
    /// Of ours that is in the pair: the server, if it is.
    metrics: Metrics,
}

impl Pair {
    #[track_caller]
    fn start((client, server): (App, App), backend: SocketAddr) -> Pair {
        let metrics = Metrics(SocketAddr::from(([127, 0, 0, 1], free_port())));
        let mut more = Some(format!(";metrics={}", metrics.0));
        let server = match server {
            App::Ours => {
                let more = more.take().unwrap_or_default();
                plugin::server(Ours, backend, &format!("mode=grpc;serviceName=chairs{more}"))
            }
            App::V2ray => v2ray_server(backend),
        };
        let client = match client {
            App::Ours => {
                let more = more.take().unwrap_or_default();
                plugin::client(Ours, server.addr, &format!("mode=grpc;serviceName=chairs;mux=8{more}"))
            }
            App::V2ray => v2ray_client(server.addr),
        };
        Pair { client, server, metrics }
    }

    fn logs(&self) -> String {
        [&self.client.child, &self.server.child].map(|child| child.show_log()).join("\n")
    }
}

fn settings() -> Value {
    json!({"network": "grpc", "grpcSettings": {"serviceName": "chairs"}})
}

#[track_caller]
fn v2ray_server(backend: SocketAddr) -> Plugin {
    let port = free_port();
    let mut inbound = door(port, backend.port());
    inbound["settings"]["address"] = "v1.mux.cool".into();
    inbound["streamSettings"] = settings();
    let outbound = json!({"protocol": "freedom", "settings": {"redirect": backend.to_string()}});
    v2ray("v2ray server", &inbound, &outbound, port)
}

#[track_caller]
fn v2ray_client(remote: SocketAddr) -> Plugin {
    let port = free_port();
    let outbound = json!({
        "protocol": "freedom", "settings": {"redirect": remote.to_string()}, "streamSettings": settings(),
        "mux": {"enabled": true, "concurrency": 8},
    });
    v2ray("v2ray client", &door(port, 9), &outbound, port)
}

/// A backend that reads a letter: `u` is followed by so many megabytes, whose digest it answers with; to `d` it answers
/// with as many and closes; to all else it says what it hears.
fn files(megabytes: usize) -> Backend {
    Backend::serve(move |stream| match recv(&stream, 2)[..] {
        [b'u', _] => {
            stream.set_read_timeout(Some(secs(100))).expect("a limit");
            let file = recv(&stream, megabytes * MB);
            send(&stream, digest(&file).as_bytes());
            recv_to_end(&stream, STEP);
        }
        [b'd', seed] => send(&stream, &noise(megabytes * MB, seed.into())),
        _ => {
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    })
}

/// Sends a file, or fetches one.
#[track_caller]
fn carry(pair: &Pair, kind: u8, seed: u8, megabytes: usize) {
    let stream = connect(pair.client.addr);
    let file = noise(megabytes * MB, seed.into());
    send(&stream, &[kind, seed]);
    if kind == b'u' {
        send(&stream, &file);
        stream.set_read_timeout(Some(secs(100))).expect("a limit");
        let told = recv(&stream, digest(&[]).len());
        assert_eq!(String::from_utf8_lossy(&told), digest(&file), "up; {}", pair.logs());
    } else {
        let (got, end) = recv_to_end(&stream, secs(100));
        assert_same("down", &got, &file);
        assert_eq!(end, End::Fin, "{}", pair.logs());
    }
}

#[test]
fn three_files_at_a_time_come_whole() {
    const FILE: usize = 20;
    within(secs(400), || {
        need!("v2ray");
        for apps in PAIRS {
            let backend = files(FILE);
            let pair = Pair::start(apps, backend.addr);
            for kind in [b'u', b'd'] {
                std::thread::scope(|scope| {
                    for seed in 1..=3 {
                        let pair = &pair;
                        scope.spawn(move || carry(pair, kind, seed, FILE));
                    }
                });
            }
        }
    });
}

/// 100 sessions at a time, of which eight share a stream: so there are few of these.
#[test]
fn many_sessions_share_streams() {
    const SESSIONS: usize = 100;
    within(secs(200), || {
        need!("v2ray");
        for apps in PAIRS {
            let echo = Backend::echo();
            let pair = Pair::start(apps, echo.addr);
            let held: Vec<_> = (0..SESSIONS)
                .map(|seed| {
                    let stream = connect(pair.client.addr);
                    assert_echo(&stream, &noise(1 + seed * 97, seed as u64));
                    stream
                })
                .collect();
            for (seed, stream) in held.iter().enumerate() {
                assert_echo(stream, &noise(20_000, seed as u64));
            }
            assert_eq!(echo.accepted(), SESSIONS, "{apps:?}");
            let now = pair.metrics.now();
            assert_eq!(now.get("obfs_rs_tunnels_open{kind=\"session\"}"), SESSIONS as f64, "{apps:?}");
            assert_eq!(now.get("obfs_rs_mux_connections_open"), SESSIONS.div_ceil(8) as f64, "{apps:?}");
            drop(held);
            pair.metrics.wait("obfs_rs_tunnels_open{kind=\"session\"}", 0.0);
        }
    });
}

/// An application that closes right behind its last byte.
#[test]
fn what_was_said_last_comes_to_the_backend() {
    within(secs(200), || {
        need!("v2ray");
        for apps in PAIRS {
            let (sender, heard) = mpsc::channel();
            let backend = Backend::serve(move |stream| {
                let _ = sender.send(recv_to_end(&stream, secs(60)));
            });
            let pair = Pair::start(apps, backend.addr);
            for len in [1, 2048, 3 * MB] {
                let all = noise(len, len as u64);
                let stream = connect(pair.client.addr);
                send(&stream, &all);
                drop(stream);
                let (got, end) = heard.recv_timeout(secs(60)).expect("the end comes");
                assert_same("up", &got, &all);
                assert_eq!(end, End::Fin, "{apps:?} {len}; {}", pair.logs());
            }
        }
    });
}

/// A backend that closes right behind its last byte.
#[test]
fn what_was_said_last_comes_to_the_application() {
    within(secs(200), || {
        need!("v2ray");
        for apps in PAIRS {
            for len in [1, 2048, 3 * MB] {
                let backend = Backend::serve(move |stream| {
                    recv(&stream, 1);
                    send(&stream, &noise(len, len as u64));
                });
                let pair = Pair::start(apps, backend.addr);
                let stream = connect(pair.client.addr);
                send(&stream, b"?");
                let (got, end) = recv_to_end(&stream, secs(60));
                assert_same("down", &got, &noise(len, len as u64));
                assert_eq!(end, End::Fin, "{apps:?} {len}; {}", pair.logs());
            }
        }
    });
}

/// The end of a direction alone: what comes the other way still does, as long as it keeps coming.
#[test]
fn an_answer_behind_the_end_of_the_question_comes_whole() {
    within(secs(120), || {
        need!("v2ray");
        for apps in [(App::Ours, App::Ours), (App::Ours, App::V2ray)] {
            let backend = files(3);
            let pair = Pair::start(apps, backend.addr);
            let stream = connect(pair.client.addr);
            send(&stream, &[b'd', 7]);
            fin(&stream);
            let (got, end) = recv_to_end(&stream, secs(60));
            assert_same("down", &got, &noise(3 * MB, 7));
            assert_eq!(end, End::Fin, "{apps:?}; {}", pair.logs());
        }
    });
}

/// A backend that speaks first, to a client that says nothing in its session.
#[test]
fn a_backend_may_speak_first() {
    within(secs(60), || {
        need!("v2ray");
        for apps in [(App::Ours, App::Ours), (App::V2ray, App::Ours)] {
            let backend = Backend::greeter(b"welcome");
            let pair = Pair::start(apps, backend.addr);
            let stream = connect(pair.client.addr);
            assert_eq!(recv(&stream, 7), b"welcome", "{apps:?}; {}", pair.logs());
            assert_echo(&stream, &noise(50_000, 1));
        }
    });
}

/// The same, and bare tunnels, on one port, and in TLS.
#[test]
fn a_server_takes_clients_with_mux_and_without() {
    within(secs(60), || {
        need!("v2ray", "openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        for tls in [None, Some(&certificate)] {
            let for_server = tls.map(|tls| format!(";{}", tls.for_server())).unwrap_or_default();
            let for_client = tls.map(|tls| format!(";{}", tls.for_client())).unwrap_or_default();
            let server =
                plugin::server(Ours, echo.addr, &format!("mode=grpc;serviceName=chairs{for_server}"));
            let clients: Vec<_> = ["", ";mux=0", ";mux=1", ";mux=8"]
                .iter()
                .map(|mux| {
                    let options = format!("mode=grpc;serviceName=chairs{mux}{for_client}");
                    plugin::client(Ours, server.addr, &options)
                })
                .chain(tls.is_none().then(|| v2ray_client(server.addr)))
                .collect();
            for round in 0..3 {
                for client in &clients {
                    assert_echo(&connect(client.addr), &noise(70_000, round));
                }
            }
        }
    });
}

/// A way to the server that writes down what the client says.
fn recorded(server: SocketAddr) -> (Backend, Arc<Mutex<Vec<u8>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&said);
    let way = Backend::serve(move |mut near| {
        let mut far = connect(server);
        for stream in [&near, &far] {
            stream.set_read_timeout(None).expect("no limit");
        }
        let (mut from, mut to) = (far.try_clone().expect("once more"), near.try_clone().expect("once more"));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                fin(&to);
            });
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = near.read(&mut bytes) {
                record.lock().expect("nobody panicked").extend_from_slice(&bytes[..len]);
                if far.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
            fin(&far);
        });
    });
    (way, said)
}

/// The types of the frames of HTTP/2 that a client has said, but for answers to the server's settings and pings.
fn frames(said: &[u8]) -> Vec<u8> {
    const PREFACE: usize = 24;
    let mut rest = &said[PREFACE..];
    let mut types = Vec::new();
    while let [high, middle, low, kind, flags, _, _, _, _, after @ ..] = rest {
        let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        let is_answer = matches!(kind, 4 | 6) && flags & 1 == 1;
        if !is_answer {
            types.push(*kind);
        }
        rest = after.get(len..).unwrap_or_default();
    }
    types
}

/// v2ray's server, of grpc-go, closes a connection with all of its tunnels at the fourth ping that comes too early.
/// Over WebSocket a session on a connection that was quiet is behind a ping, and so are data without an answer.
#[test]
fn nothing_is_pinged() {
    const PING: u8 = 6;
    const HEADERS: u8 = 1;
    within(secs(120), || {
        need!("v2ray");
        let backend = Backend::serve(|stream| match recv(&stream, 2)[..] {
            [b'e', _] => {
                let _ = std::io::copy(&mut &stream, &mut &stream);
            }
            _ => drop(recv_to_end(&stream, secs(60))),
        });
        for app in [App::Ours, App::V2ray] {
            let server = match app {
                App::Ours => plugin::server(Ours, backend.addr, "mode=grpc;serviceName=chairs"),
                App::V2ray => v2ray_server(backend.addr),
            };
            let (way, said) = recorded(server.addr);
            let client = plugin::client(Ours, way.addr, "mode=grpc;serviceName=chairs;mux=8");
            let unanswered = connect(client.addr);
            send(&unanswered, b"no");
            let mut held = Vec::new();
            for _ in 0..4 {
                // The silence is the stimulus.
                std::thread::sleep(secs(1) + secs(1) / 5);
                let stream = connect(client.addr);
                send(&stream, b"e?");
                assert_echo(&stream, b"hello");
                held.push(stream);
            }
            let types = frames(&said.lock().expect("nobody panicked"));
            let count = |kind| types.iter().filter(|found| **found == kind).count();
            assert_eq!((count(HEADERS), count(PING)), (1, 0), "{app:?}: {types:?}");
            assert_eq!(way.accepted(), 1);
        }
    });
}

/// The applications hear of it.
#[test]
fn a_server_that_ends_ends_the_sessions() {
    within(secs(60), || {
        let echo = Backend::echo();
        let pair = Pair::start((App::Ours, App::Ours), echo.addr);
        let held = connect(pair.client.addr);
        assert_echo(&held, b"hello");
        let Pair { client, server, .. } = pair;
        drop(server);
        let (rest, end) = recv_to_end(&held, STEP);
        assert_eq!((rest.len(), end == End::Open), (0, false), "{}", client.child.show_log());
    });
}
