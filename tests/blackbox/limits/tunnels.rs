//! How many tunnels there may be.

use super::{UPGRADE, WAIT, address, ask_from, has_tunnel, keep_busy, tunnel_from};
use crate::fallback::compare::{Probe, Step, play};
use crate::support::backend::{Backend, next};
use crate::support::child::Exit;
use crate::support::conn::{End, assert_echo, connect, fin, recv, recv_to_end, reset, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, client, server};
use crate::support::site::Site;
use crate::support::tls_site::TlsSite;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::mux::{self, END, KEEP};
use crate::support::websocket::{BINARY, CLOSE, PING, PONG, Ws};
use crate::support::{STEP, noise, secs, within};
use obfs_rs::wire::fake_tls::SentHello;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

fn probe(name: &str, bytes: &[u8]) -> Probe {
    Probe { name: name.to_owned(), steps: vec![Step::Send(bytes.to_vec())] }
}

/// Whatever a client speaks: over the limit it waits, and then it is a visitor like any other.
#[test]
fn a_client_too_many_waits_and_then_meets_the_website() {
    within(secs(120), || {
        need!("nginx");
        let (site, echo) = (Site::start(), Backend::echo());
        let options = format!("obfs=http,tls;obfs-uri=/secret;limit-tunnels=2;failover={}", site.addr);
        let server = server(Ours, echo.addr, &options);
        server.child.wait_text("limit-tunnels=2");
        let tunnels = [tunnel_from(address(1), server.addr), tunnel_from(address(2), server.addr)];
        let mut hello = Vec::new();
        SentHello::new(&mut rand::rng(), 0).encode("a.example", b"payload", &mut hello).expect("a hello");
        // A request as clients send it that do not wait for the answer.
        let eager = b"GET /secret HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Content-Length: 5\r\n\r\nhello";
        for (name, bytes) in [("http", UPGRADE), ("eager", eager), ("tls", &hello)] {
            let (at_site, _) = play(site.addr, &probe(name, bytes));
            let began = Instant::now();
            let (at_port, _) = play(server.addr, &probe(name, bytes));
            assert_eq!(at_port, at_site, "{name}");
            assert!(began.elapsed() >= WAIT, "{name} did not wait: {:?}", began.elapsed());
            tunnels.iter().for_each(|tunnel| assert_echo(tunnel, b"still here"));
        }
        for text in
            ["limit-tunnels=2 is reached: a client waits", "limit-tunnels=2 is reached: a client is refused"]
        {
            let line = server.child.wait_text(text);
            assert!(line.contains("WARN") && line.contains("peer=127.0.0.1:"), "{line}");
        }
        // Whoever waits has the first place that comes free.
        let waiting = ask_from(address(3), server.addr);
        let [first, _second] = tunnels;
        drop(first);
        assert!(has_tunnel(&waiting));
        assert_echo(&waiting, &noise(100_000, 1));
    });
}

/// Its connection is closed for as long as the client may still have something to read.
#[test]
fn a_tunnel_that_is_over_has_no_place_though_its_client_stays() {
    within(secs(60), || {
        let backend = Backend::serve(|stream| {
            recv(&stream, 1);
            send(&stream, b"bye");
        });
        let server = server(Ours, backend.addr, "mode=websocket;path=/secret;limit-tunnels=1;loglevel=debug");
        let clients = [(); 3].map(|()| {
            let mut client = Ws::open(server.addr, "/secret");
            client.send(BINARY, b"?");
            assert_eq!(client.recv(3), b"bye");
            loop {
                let frame = client.frame();
                match frame.opcode {
                    PING => client.send(PONG, &frame.payload),
                    // It is not answered, and nothing is closed.
                    CLOSE => return client,
                    opcode => panic!("opcode {opcode}"),
                }
            }
        });
        let line = server.child.wait_text("tunnel ended");
        assert!(line.contains("up=1 down=3") && line.contains("end=closed"), "{line}");
        server.child.signal(Signal::TERM);
        assert_eq!(server.child.wait_exit(STEP), Exit::Code(0));
        drop(clients);
    });
}

/// A website of our own looks at each request of a connection, and must not find the first again.
#[test]
fn a_client_too_many_meets_our_own_website_too() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;obfs-uri=/secret;limit-tunnels=1");
        let _tunnel = tunnel_from(address(1), server.addr);
        let other = String::from_utf8(UPGRADE.to_vec()).expect("text").replace("/secret", "/other");
        let (visitor, _) =
            play(server.addr, &probe("another path", &[other.as_bytes(), b"GET\r\n\r\n"].concat()));
        let (refused, _) = play(server.addr, &probe("refused", &[UPGRADE, b"GET\r\n\r\n"].concat()));
        assert_eq!(refused, visitor);
        assert!(visitor.bytes.starts_with(b"HTTP/1.1 404 ") && visitor.end == End::Fin, "{visitor:?}");
    });
}

/// A connection that was the website's because of a limit is none for ever: proxies in front keep them.
#[test]
fn a_later_request_is_asked_anew() {
    within(secs(60), || {
        need!("nginx");
        let (site, echo) = (Site::with_keepalive("30s"), Backend::echo());
        let options = format!("obfs=http;obfs-uri=/secret;limit-tunnels=1;failover={}", site.addr);
        let server = server(Ours, echo.addr, &options);
        let tunnel = tunnel_from(address(1), server.addr);
        let pooled = ask_from(address(2), server.addr);
        assert!(!has_tunnel(&pooled));
        let page = "<html>\r\n<head><title>404 Not Found</title>";
        let body = crate::support::conn::recv(&pooled, page.len());
        assert_eq!(String::from_utf8_lossy(&body), page);
        pooled.set_read_timeout(Some(secs(1))).expect("a limit");
        let _ = std::io::Read::read_to_end(&mut &pooled, &mut Vec::new());
        pooled.set_read_timeout(Some(STEP)).expect("a limit");
        drop(tunnel);
        send(&pooled, UPGRADE);
        assert!(has_tunnel(&pooled));
        assert_echo(&pooled, b"at last");
    });
}

#[test]
fn in_tls_a_client_too_many_meets_the_website() {
    within(secs(90), || {
        need!("nginx", "openssl");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, "a page\n");
        let echo = Backend::echo();
        let options = format!(
            "mode=websocket;path=/secret;limit-tunnels=1;failover-tls={};{}",
            site.addr,
            certificate.for_server()
        );
        let server = server(Ours, echo.addr, &options);
        let options = format!("mode=websocket;path=/secret;mux=0;{}", certificate.for_client());
        let client = client(Ours, server.addr, &options);
        let first = connect(client.addr);
        assert_echo(&first, b"hello");
        let second = connect(client.addr);
        send(&second, b"hello");
        let (got, end) = recv_to_end(&second, STEP);
        assert_eq!((got.len(), end), (0, End::Reset));
        let line = client.child.wait_text("did not switch protocols");
        assert!(line.contains("404"), "{line}");
        assert_echo(&first, &noise(100_000, 2));
    });
}

/// However tunnels end, their places are free for others.
#[test]
fn places_come_back() {
    within(secs(180), || {
        let (backend, connections) = Backend::manual();
        let options = "obfs=http,tls;obfs-uri=/secret;limit-tunnels=4;limit-tunnels-per-address=4";
        let server = server(Ours, backend.addr, options);
        type Ending = (&'static str, fn(TcpStream, TcpStream));
        let endings: [Ending; 5] = [
            ("both ends", |client, behind| {
                fin(&client);
                fin(&behind);
                assert_eq!(recv_to_end(&client, STEP).1, End::Fin);
            }),
            ("the client's reset", |client, _behind| reset(client)),
            ("the backend's reset", |_client, behind| reset(behind)),
            ("the client is gone", |client, _behind| drop(client)),
            ("nonsense", |client, behind| {
                reset(behind);
                assert_eq!(recv_to_end(&client, STEP).1, End::Reset);
            }),
        ];
        for (name, end) in endings {
            for _ in 0..3 {
                let open = || (tunnel_from(address(1), server.addr), next(&connections));
                let tunnels: Vec<_> = (0..4).map(|_| open()).collect();
                assert!(!server.child.lines().iter().any(|line| line.contains("refused")), "{name}");
                tunnels.into_iter().for_each(|(client, behind)| end(client, behind));
            }
        }
        // A client that is killed, in each disguise, and a backend that is not there for a while.
        for disguise in ["obfs=http;obfs-uri=/secret", "obfs=tls"] {
            let killed = client(Ours, server.addr, disguise);
            let apps: Vec<_> = (0..4).map(|_| connect(killed.addr)).collect();
            apps.iter().for_each(|app| send(app, b"hello"));
            let behind: Vec<_> = (0..4).map(|_| next(&connections)).collect();
            killed.child.signal(Signal::KILL);
            for stream in &behind {
                assert_ne!(recv_to_end(stream, STEP).1, End::Open);
            }
        }
        let tunnels: Vec<_> = (0..4).map(|_| tunnel_from(address(1), server.addr)).collect();
        assert!(
            !server.child.lines().iter().any(|line| line.contains("refused")),
            "{}",
            server.child.show_log()
        );
        drop(tunnels);
    });
}

/// A backend that cannot be reached costs no places.
#[test]
fn tunnels_that_fail_give_their_places_back() {
    within(secs(60), || {
        let nobody = SocketAddr::from(([127, 0, 0, 1], crate::support::ports::free_port()));
        let server = server(Ours, nobody, "obfs=http;obfs-uri=/secret;limit-tunnels=2");
        for _ in 0..10 {
            let client = tunnel_from(address(1), server.addr);
            assert_ne!(recv_to_end(&client, STEP).1, End::Open);
        }
        assert!(!server.child.lines().iter().any(|line| line.contains("limit-tunnels=2 is reached")));
    });
}

/// Hundreds that want tunnels, from one address and from many: there are as many as there may be. Meanwhile
/// somebody's tunnel goes on, and visitors see what they always see.
#[test]
fn a_crowd_disturbs_nobody() {
    within(secs(180), || {
        need!("nginx");
        let (site, echo) = (Site::start(), Backend::echo());
        let options = format!(
            "obfs=http;obfs-uri=/secret;limit-tunnels=50;limit-tunnels-per-address=10;limit-rate-per-address=1000;\
             limit-buffers=8;failover={}",
            site.addr
        );
        let server = server(Ours, echo.addr, &options);
        let good = tunnel_from(address(200), server.addr);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| keep_busy(&good, &stop));
            let crowd: Vec<_> = (0..300).map(|_| ask_from(address(1), server.addr)).collect();
            for path in ["/", "/denied", "/old", "/nothing"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
                let (at_site, _) = play(site.addr, &probe(path, request.as_bytes()));
                let (at_port, _) = play(server.addr, &probe(path, request.as_bytes()));
                assert_eq!(at_port, at_site, "{path}");
            }
            let tunnels: Vec<_> = crowd.into_iter().filter(has_tunnel).collect();
            assert_eq!(tunnels.len(), 10, "of one address");
            let crowd: Vec<_> =
                (0..300).map(|n| ask_from(address(100 + n as u8 % 100), server.addr)).collect();
            let more: Vec<_> = crowd.into_iter().filter(has_tunnel).collect();
            assert_eq!(more.len(), 50 - 1 - 10, "of all");
            tunnels.iter().chain(&more).for_each(|tunnel| assert_echo(tunnel, b"they are tunnels"));
            stop.store(true, Ordering::SeqCst);
            assert!(busy.join().expect("the good client") > 0);
        });
        server.child.wait_text("limit-tunnels-per-address=10 is reached");
        server.child.wait_text("limit-tunnels=50 is reached");
        // What the crowd left can be had again.
        let again: Vec<_> = (0..10).map(|_| tunnel_from(address(1), server.addr)).collect();
        again.iter().for_each(|tunnel| assert_echo(tunnel, b"again"));
    });
}

fn next_of(ws: &mut Ws, id: u16) -> mux::Frame {
    let frame = ws.mux();
    assert_eq!(frame.id, id, "{frame:?}");
    frame
}

fn mux_server(options: &str) -> (Backend, Plugin) {
    let echo = Backend::echo();
    let server = server(Ours, echo.addr, &format!("mode=websocket;{options}"));
    (echo, server)
}

/// With mux each session is a tunnel: one too many waits and ends, alone.
#[test]
fn a_session_too_many_waits_and_ends_alone() {
    within(secs(90), || {
        for limit in ["limit-tunnels=3", "limit-tunnels-per-address=3"] {
            let (echo, server) = mux_server(limit);
            let mut ws = Ws::open(server.addr, "/");
            let begin =
                |ws: &Ws, id, data: &[u8]| ws.send_mux(&[mux::open(id), mux::keep(id, data)].concat());
            for id in 1..=3 {
                begin(&ws, id, b"hello");
                assert_eq!(ws.mux_recv(id, 5), b"hello");
            }
            begin(&ws, 4, b"hello");
            let began = Instant::now();
            // Meanwhile the others go on, whatever is said in the one that waits.
            let data = noise(30_000, 4);
            for _ in 0..10 {
                ws.send_mux(&mux::keep(4, &data[..1000]));
                ws.send_mux(&mux::keep(1, &data));
                assert_eq!(ws.mux_recv(1, data.len()), data);
            }
            let frame = next_of(&mut ws, 4);
            assert_eq!((frame.status, frame.option), (END, 2), "an error");
            assert!(began.elapsed() >= WAIT, "it did not wait: {:?}", began.elapsed());
            server.child.wait_text(&format!("{limit} is reached: a session is refused"));
            // One that says much while it waits would hold up the others.
            begin(&ws, 5, b"hello");
            for _ in 0..3 {
                ws.send_mux(&mux::keep(5, &data));
            }
            let frame = next_of(&mut ws, 5);
            assert_eq!((frame.status, frame.option), (END, 2), "an error");
            assert_eq!(echo.accepted(), 3);
            // One that waits has the place of one that ends, and all that was said in it.
            begin(&ws, 6, b"hello");
            ws.send_mux(&mux::keep(6, &data));
            ws.send_mux(&mux::end(2));
            assert_eq!(next_of(&mut ws, 2).status, END);
            assert_eq!(ws.mux_recv(6, 5 + data.len()), [b"hello", data.as_slice()].concat());
            // All places are free when the connection is gone.
            reset(ws.stream);
            let mut ws = Ws::open(server.addr, "/");
            for id in 1..=3 {
                begin(&ws, id, b"again");
                assert_eq!(ws.mux_recv(id, 5), b"again");
            }
            for id in 1..=3 {
                let frame = {
                    ws.send_mux(&mux::keep(id, b"!"));
                    ws.mux()
                };
                assert_eq!((frame.id, frame.status), (id, KEEP));
            }
        }
    });
}

/// A connection for sessions needs a place itself, which is its first session's; when there is none it is the
/// website's.
#[test]
fn a_connection_for_sessions_that_gets_no_place_meets_the_website() {
    within(secs(90), || {
        let (_echo, server) = mux_server("limit-tunnels=2");
        let client = client(Ours, server.addr, "mode=websocket;mux=1");
        let streams = [connect(client.addr), connect(client.addr)];
        streams.iter().for_each(|stream| assert_echo(stream, b"hello"));
        let third = connect(client.addr);
        send(&third, b"hello");
        assert_eq!(recv_to_end(&third, STEP), (Vec::new(), End::Reset));
        client.child.wait_text("did not switch protocols");
        let [first, second] = streams;
        assert_echo(&second, &noise(100_000, 3));
        drop(first);
        assert_echo(&connect(client.addr), b"again");
    });
}
