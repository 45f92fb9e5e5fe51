//! gRPC behind real front proxies, which are trusted or not: between our halves, and with the clients and servers of others.

use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, exchange, recv, recv_to_end, send};
use crate::support::fronts::{Front, Kind};
use crate::support::grpc::{App, Pair, Style, client, server};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours};
use crate::support::{STEP, assert_same, digest, noise, secs, within};
use std::net::TcpStream;

const MB: usize = 1024 * 1024;

/// Echoes, or sends a file and ends, as the first word asks.
fn backend(file: &[u8]) -> Backend {
    let file = file.to_vec();
    Backend::serve(move |stream| {
        let word = recv(&stream, 4);
        if word == b"file" {
            send(&stream, &file);
            return;
        }
        let _ = stream.set_read_timeout(None);
        let (mut from, mut to) = (&stream, &stream);
        let _ = std::io::copy(&mut from, &mut to);
    })
}

fn behind(kind: Kind) {
    within(secs(150), move || {
        need!("v2ray", "sing-box");
        let file = noise(5 * MB, 10);
        for (client_app, server_app) in [
            (App::Ours, App::Ours),
            (App::V2ray, App::Ours),
            (App::SingBox, App::Ours),
            (App::Ours, App::V2ray),
        ] {
            let backend = backend(&file);
            let mut front = None;
            let pair = Pair::through(client_app, server_app, backend.addr, Style::clear(), |addr| {
                let started = Front::with_grpc(kind, addr);
                let addr = started.addr;
                front = Some(started);
                (addr, Style::clear())
            });
            let front = front.expect("a front");
            let logs = || format!("{}\n{}", pair.logs(), front.child.show_log());
            std::thread::scope(|scope| {
                for i in 0..3 {
                    let addr = pair.addr;
                    scope.spawn(move || {
                        let stream = connect(addr);
                        send(&stream, b"echo");
                        assert_echo(&stream, b"hello");
                        assert_echo(&stream, &noise(3 * MB, i));
                        for round in 0..20 {
                            assert_echo(&stream, &noise(1 + 50 * round, round as u64));
                        }
                    });
                }
            });
            let stream = connect(pair.addr);
            send(&stream, b"file");
            let (got, end) = recv_to_end(&stream, STEP);
            assert_same(&format!("the download, {client_app:?} {server_app:?}: {}", logs()), &got, &file);
            assert_ne!(end, End::Open);

            let streams: Vec<TcpStream> = (0..20).map(|_| connect(pair.addr)).collect();
            for stream in &streams {
                send(stream, b"echo");
                send(stream, b"together");
            }
            for stream in &streams {
                assert_eq!(recv(stream, 8), b"together", "{}", logs());
            }
        }
    });
}

#[test]
fn nginx_passes() {
    need!("nginx");
    behind(Kind::Nginx);
}

#[test]
fn caddy_passes() {
    need!("caddy");
    behind(Kind::Caddy);
}

#[test]
fn haproxy_passes() {
    need!("haproxy");
    behind(Kind::HaProxy);
}

#[test]
fn envoy_passes() {
    need!("envoy");
    behind(Kind::Envoy);
}

/// An end passes where the front passes it on, the answer comes behind it, and a server that speaks first is heard.
#[test]
fn ends_and_greetings_pass_every_front() {
    within(secs(120), || {
        need!("nginx", "caddy", "haproxy", "envoy");
        for kind in [Kind::Nginx, Kind::Caddy, Kind::HaProxy, Kind::Envoy] {
            let digester = Backend::digester();
            let server = server(App::Ours, digester.addr, Style::clear());
            let front = Front::with_grpc(kind, server.addr);
            let client_half = client(App::Ours, front.addr, digester.addr, Style::clear());
            for len in [1, 16 * 1024, 2 * MB] {
                let file = noise(len, 3);
                let (answer, end) = exchange(&connect(client_half.addr), &file, STEP);
                let answer = String::from_utf8_lossy(&answer).into_owned();
                let logs = || format!("{}\n{}", client_half.child.show_log(), server.child.show_log());
                assert_eq!((answer, end), (digest(&file), End::Fin), "{kind:?}, {len}: {}", logs());
            }

            let greeter = Backend::greeter(b"220 ready\r\n");
            let server = self::server(App::Ours, greeter.addr, Style::clear());
            let front = Front::with_grpc(kind, server.addr);
            let client_half = client(App::Ours, front.addr, greeter.addr, Style::clear());
            let stream = connect(client_half.addr);
            assert_eq!(recv(&stream, 11), b"220 ready\r\n", "{kind:?}: {}", server.child.show_log());
            assert_echo(&stream, &noise(MB, 11));
        }
    });
}

/// The tunnels of many share the connections of a front that is trusted.
#[test]
fn a_trusted_fronts_connections_are_shared() {
    within(secs(120), || {
        need!("nginx", "haproxy", "envoy", "v2ray");
        for kind in [Kind::Nginx, Kind::HaProxy, Kind::Envoy] {
            let echo = Backend::echo();
            let options = format!("{};trusted=127.0.0.1", Style::clear().for_server());
            let server = plugin::server(Ours, echo.addr, &options);
            let front = Front::with_grpc(kind, server.addr);
            for app in [App::Ours, App::V2ray] {
                let client_half = client(app, front.addr, echo.addr, Style::clear());
                assert_echo(&connect(client_half.addr), &noise(300_000, 1));
            }
            assert_eq!(server.child.peek_exit(), None, "{kind:?}: {}", server.child.show_log());
        }
    });
}
