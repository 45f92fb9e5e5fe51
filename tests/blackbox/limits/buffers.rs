//! How much the process may buffer.

use super::{UPGRADE, address, has_tunnel, tunnel_from};
use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, recv, send};
use crate::support::plugin::{Ours, Plugin, client, server};
use crate::support::websocket::mux::{self, END, KEEP};
use crate::support::websocket::{BINARY, Ws};
use crate::support::{assert_same, eventually, netns, noise, secs};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

const MB: usize = 1024 * 1024;

/// A number of a process, in kB.
fn memory(plugin: &Plugin, name: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", plugin.child.pid())).expect("its status");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the number");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// What a backend sends to whoever says "flood", before it ends: more than can wait on the way.
const FLOOD: usize = 3 * MB;

/// Floods those who ask for it, reads nothing more of those who say "stall", and is an echo for the others.
fn backend() -> Backend {
    let stalled = std::sync::Mutex::new(Vec::new());
    let flood = noise(FLOOD, 5);
    Backend::serve(move |stream| {
        let first = recv(&stream, 5);
        match first.as_slice() {
            b"flood" => {
                stream.set_write_timeout(None).expect("no limit");
                let _ = (&stream).write_all(&flood);
            }
            b"stall" => stalled.lock().expect("the list").push(stream),
            _ => {
                send(&stream, &first);
                let (mut from, mut to) = (&stream, &stream);
                let _ = std::io::copy(&mut from, &mut to);
            }
        }
    })
}

/// The kernel's buffers are small here, but for those of receivers, so that much is read at once, and waits in the
/// process.
fn small_buffers() {
    assert!(netns::sysctl("ipv4/tcp_wmem", "4096 16384 65536"), "a setting of this network");
    assert!(netns::sysctl("ipv4/tcp_rmem", "4096 524288 1048576"), "a setting of this network");
}

/// Clients that ask for a flood and read nothing of it, until the server holds as much as it will.
fn stalled(server: &Plugin, count: usize, open: impl Fn() -> TcpStream) -> Vec<TcpStream> {
    let clients: Vec<_> = (0..count).map(|_| open()).collect();
    server.child.wait_text("limit-buffers=1 is reached");
    let mut last = 0;
    eventually(secs(20), || {
        std::thread::sleep(secs(1));
        std::mem::replace(&mut last, memory(server, "VmRSS")) == memory(server, "VmRSS")
    });
    clients
}

/// Does the same with each connection at a time: each alone takes the kernel, with buffers like these, a second.
fn each(streams: Vec<TcpStream>, act: impl Fn(TcpStream) -> TcpStream + Sync) -> Vec<TcpStream> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = streams.into_iter().map(|stream| scope.spawn(move || act(stream))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    })
}

/// A hundred whose clients take nothing: without the limit 256 KiB of each wait in the process. With it, what
/// waits is about as much as is allowed; a tunnel beside them works; and they get all that is theirs in the end.
#[test]
fn readers_that_stall_fill_no_more_than_is_allowed() {
    netns::alone(secs(180), || {
        small_buffers();
        let backend = backend();
        let server = server(Ours, backend.addr, "mode=websocket;limit-buffers=1");
        let open = || {
            let (ws, _) = Ws::upgrade(crate::support::conn::connect_from(address(1), server.addr), "/", "");
            ws.send(BINARY, b"flood");
            ws.stream
        };
        // What each thread and each tunnel has anyway is had before.
        let warm: Vec<_> = (0..100).map(|_| Ws::open(server.addr, "/")).collect();
        for mut ws in warm {
            ws.send(BINARY, b"hello");
            assert_eq!(ws.recv(5), b"hello");
        }
        let before = memory(&server, "VmRSS");
        let clients = stalled(&server, 100, open);
        let grown = memory(&server, "VmHWM").saturating_sub(before);
        // A megabyte, and 16 KiB for each that had nothing when the limit was reached; and the allocator's.
        assert!(grown < 6 * 1024, "{grown} kB");
        go_on(server.addr);
        each(clients, |stream| {
            let mut ws = Ws::of(stream);
            assert_same("what had waited", &ws.recv(FLOOD), &noise(FLOOD, 5));
            ws.stream
        });
    });
}

/// A tunnel whose receiver keeps up, each way, beside those who stall.
#[track_caller]
fn go_on(server: SocketAddr) {
    let mut good = Ws::open(server, "/");
    good.send(BINARY, b"hello");
    assert_eq!(good.recv(5), b"hello");
    let data = noise(8 * MB, 9);
    std::thread::scope(|scope| {
        let writer = good.stream.try_clone().expect("a handle");
        let frames: Vec<_> =
            data.chunks(60_000).map(|piece| crate::support::websocket::frame(0x82, piece)).collect();
        scope.spawn(move || frames.iter().for_each(|frame| send(&writer, frame)));
        assert_same("the echo", &good.recv(data.len()), &data);
    });
}

/// The same where the kernel carries bulk: what is in its pipes counts.
#[test]
fn what_is_in_pipes_counts_too() {
    netns::alone(secs(180), || {
        small_buffers();
        let backend = backend();
        let server = server(Ours, backend.addr, "obfs=http;obfs-uri=/secret;limit-buffers=1");
        let open = || {
            let client = tunnel_from(address(1), server.addr);
            send(&client, b"flood");
            client
        };
        // A receiver that reads some and then no more: its flow is bulk by then.
        let clients: Vec<_> = (0..60).map(|_| open()).collect();
        let read = |client: TcpStream, len, from| {
            assert_same("what had waited", &recv(&client, len), &noise(FLOOD, 5)[from..from + len]);
            client
        };
        let clients = each(clients, |client| read(client, 600_000, 0));
        server.child.wait_text("limit-buffers=1 is reached");
        let good = tunnel_from(address(2), server.addr);
        assert_echo(&good, &[b"hello", noise(8 * MB, 9).as_slice()].concat());
        let clients = each(clients, |client| read(client, FLOOD - 600_000, 600_000));
        // All is free again: it can be reached anew.
        let reached = |server: &Plugin| {
            server.child.lines().iter().filter(|line| line.contains("limit-buffers=1 is reached")).count()
        };
        let before = reached(&server);
        drop((clients, good));
        let _clients: Vec<_> = (0..60).map(|_| open()).collect();
        assert!(eventually(secs(20), || reached(&server) > before), "{}", server.child.show_log());
    });
}

/// Sessions beside stalled tunnels: those whose receivers keep up go on, also beside one that takes nothing in the same
/// connection, which ends alone.
#[test]
fn sessions_go_on_beside_those_who_stall() {
    netns::alone(secs(180), || {
        small_buffers();
        let backend = backend();
        let server = server(Ours, backend.addr, "mode=websocket;limit-buffers=1");
        let _clients = stalled(&server, 100, || {
            let ws = Ws::open(server.addr, "/");
            ws.send(BINARY, b"flood");
            ws.stream
        });
        let mut ws = Ws::open(server.addr, "/");
        for (id, word) in [(1, b"hello"), (2, b"stall")] {
            ws.send_mux(&[mux::open(id), mux::keep(id, word)].concat());
        }
        assert_eq!(ws.mux_recv(1, 5), b"hello");
        let data = noise(50_000, 6);
        let writer = ws.stream.try_clone().expect("a handle");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    for id in [1, 2] {
                        send(&writer, &crate::support::websocket::frame(0x82, &mux::keep(id, &data)));
                    }
                }
            });
            let (mut back, mut ended) = (0, 0);
            while back < 100 * data.len() || ended == 0 {
                let frame = ws.mux();
                match (frame.id, frame.status) {
                    (1, KEEP) => back += frame.data.len(),
                    (2, END) => {
                        // What still comes for it is answered with its end, too.
                        assert!(ended > 0 || frame.option == 2, "an error");
                        ended += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(back, 100 * data.len());
        });
        // And our client's half has the same limit.
        let client = client(Ours, server.addr, "mode=websocket;mux=8;limit-buffers=1");
        let apps: Vec<_> = (0..4).map(|_| crate::support::conn::connect(client.addr)).collect();
        apps.iter().for_each(|app| assert_echo(app, &noise(300_000, 8)));
    });
}

/// Not a client's tunnel only: visitors that load much and read nothing are bounded too, and others load pages.
#[test]
fn visitors_that_stall_count_too() {
    netns::alone(secs(120), || {
        small_buffers();
        let folder = crate::support::tempdir::TempDir::new("site");
        folder.write("big.bin", noise(4 * MB, 20));
        folder.write("index.html", "a page\n");
        let echo = Backend::echo();
        let options =
            format!("obfs=http;obfs-uri=/secret;limit-buffers=1;failover=dir:{}", folder.path().display());
        let server = server(Ours, echo.addr, &options);
        let _visitors = stalled(&server, 60, || {
            let visitor = crate::support::conn::connect(server.addr);
            send(&visitor, b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            visitor
        });
        let visitor = crate::support::conn::connect(server.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (page, _) = crate::support::conn::recv_to_end(&visitor, secs(10));
        assert!(page.ends_with(b"a page\n"), "{}", String::from_utf8_lossy(&page));
        let client = crate::support::conn::connect(server.addr);
        send(&client, UPGRADE);
        assert!(has_tunnel(&client));
        assert_echo(&client, &noise(2 * MB, 9));
    });
}
