//! Mux.Cool on the server's port: what v2ray's kin open, end and leave open, and what a stalled session
//! may cost.

use crate::support::backend::{Backend, next};
use crate::support::conn::{End, assert_echo, connect, recv, recv_to_end, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, V2ray, client, server};
use crate::support::ports::free_port;
use crate::support::websocket::mux::{self, END, KEEP};
use crate::support::websocket::{BINARY, CLOSE, PING, PONG, Ws, frame};
use crate::support::{STEP, assert_same, eventually, millis, noise, secs, within};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MB: usize = 1024 * 1024;

fn echo_server() -> (Backend, Plugin) {
    let echo = Backend::echo();
    let server = server(Ours, echo.addr, "mode=websocket");
    (echo, server)
}

/// A number of a process, in kB, from /proc.
fn status(plugin: &Plugin, name: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", plugin.child.pid())).expect("its status");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the number");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn open_files(plugin: &Plugin) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", plugin.child.pid())).expect("its descriptors").count()
}

/// mihomo: session 0, the new frame alone in its message, the data in another; it takes no notice of the
/// end of a session, so the connection has to end with it.
#[test]
fn mihomo_is_served_and_hears_the_end() {
    within(secs(60), || {
        let answer = Backend::serve(|stream| {
            recv(&stream, 4);
            send(&stream, b"and the answer");
        });
        let server = server(Ours, answer.addr, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open(0));
        ws.send_mux(&mux::keep(0, b"ask!"));
        assert_eq!(ws.mux_recv(0, 14), b"and the answer");
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status), (0, END));
        assert_eq!(ws.frame().opcode, CLOSE);
        assert_eq!(recv_to_end(&ws.stream, STEP).1, End::Fin);
    });
}

/// A newer mihomo: both frames in one message. And an older one that is cut anywhere by the network.
#[test]
fn the_first_frames_may_come_together_or_in_pieces() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        let both = [mux::open(0), mux::keep(0, b"hello")].concat();
        ws.send_mux(&both);
        assert_eq!(ws.mux_recv(0, 5), b"hello");
        let mut ws = Ws::open(server.addr, "/");
        for byte in frame(0x80 | BINARY, &both) {
            ws.send_raw(&[byte]);
        }
        assert_eq!(ws.mux_recv(0, 5), b"hello");
    });
}

/// sing-box: session 0, new with data, to a name; it reads the end as the end.
#[test]
fn sing_box_is_served() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open_named(0, b"first"));
        assert_eq!(ws.mux_recv(0, 5), b"first");
        let data = noise(40_000, 1);
        ws.send_mux(&mux::keep(0, &data));
        assert_same("the echo", &ws.mux_recv(0, data.len()), &data);
        assert_eq!(echo.accepted(), 1);
    });
}

/// Wherever a session says that it wants to go, it goes to the backend.
#[test]
fn the_target_is_never_dialled() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let elsewhere = Backend::echo();
        let mut ws = Ws::open(server.addr, "/");
        let mut frame = mux::open(1);
        frame[7..9].copy_from_slice(&elsewhere.addr.port().to_be_bytes());
        ws.send_mux(&[frame, mux::keep(1, b"where am I?")].concat());
        assert_eq!(ws.mux_recv(1, 11), b"where am I?");
        assert_eq!((echo.accepted(), elsewhere.accepted()), (1, 0));
    });
}

#[test]
fn packets_and_unknown_sessions_are_refused_and_the_others_go_on() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open(7));
        ws.send_mux(&mux::open_udp(8));
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status, frame.option), (8, END, 2), "packets: an end with an error");
        ws.send_mux(&mux::keep(99, b"nobody's"));
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status), (99, END), "data for nobody: an end");
        ws.send_mux(&mux::keep(7, b"still here"));
        assert_eq!(ws.mux_recv(7, 10), b"still here");
        // The end of the upload: the backend answers, and its end comes back.
        ws.send_mux(&mux::end(7));
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status), (7, END));
        // Nonsense ends the connection, with a code.
        ws.send_mux(&[0, 4, 0, 1, 77, 0]);
        let frame = ws.frame();
        assert_eq!((frame.opcode, frame.payload.get(..2)), (CLOSE, Some(&b"\x03\xea"[..])));
    });
}

/// A session that Shadowsocks is not there for ends in an error, and the log names the address.
#[test]
fn a_session_without_a_backend_ends_in_an_error_that_is_logged() {
    within(secs(60), || {
        let backend = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = server(Ours, backend, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open(3));
        ws.send_mux(&mux::keep(3, b"hello"));
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status, frame.option), (3, END, 2));
        let line = server.child.wait_text("cannot connect to Shadowsocks");
        assert!(line.contains(&backend.to_string()), "{line}");
    });
}

/// More sessions than a connection may have are refused, each by itself.
#[test]
fn sessions_beyond_the_limit_are_refused() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let server = server(Ours, backend.addr, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        for id in 1..=257 {
            ws.send_mux(&[mux::open(id), mux::keep(id, b"data")].concat());
        }
        let frame = ws.mux();
        assert_eq!((frame.id, frame.status, frame.option), (257, END, 2));
        let held: Vec<_> = (0..256).map(|_| next(&connections)).collect();
        drop(held);
    });
}

/// A stranger opens sessions and says nothing in them: Shadowsocks gets one connection from each of the
/// stranger's, as it does from one without sessions.
#[test]
fn sessions_without_data_are_not_dialled_for() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let server = server(Ours, backend.addr, "mode=websocket");
        let mut strangers: Vec<_> = (0..8).map(|_| Ws::open(server.addr, "/")).collect();
        for ws in &mut strangers {
            let opens: Vec<u8> = (1..=256).flat_map(mux::open).collect();
            ws.send_mux(&opens);
            // Those beyond the limit are refused at once.
            let frame = ws.mux();
            assert_eq!((frame.status, frame.option), (END, 2));
        }
        // Those which may be for a backend that speaks first.
        let held: Vec<_> = strangers.iter().map(|_| next(&connections)).collect();
        assert!(connections.recv_timeout(secs(3)).is_err(), "a second one for the same stranger");
        drop(held);
    });
}

/// Shadowsocks is away, and a client reads nothing of what is said to it: it is not read either.
#[test]
fn what_a_client_does_not_read_is_bounded() {
    within(secs(60), || {
        let nobody = crate::support::ports::free_port();
        let server = server(Ours, ([127, 0, 0, 1], nobody).into(), "mode=websocket;loglevel=error");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("one");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&server.addr.into()).expect("a connection");
        let ws = Ws::upgrade(socket.into(), "/", "").0;
        let before = status(&server, "VmRSS");
        let batch: Vec<u8> = (1..=200)
            .flat_map(|id| [mux::open(id), mux::keep(id, b"?"), mux::keep(999, b"?")].concat())
            .collect();
        let batch = crate::support::websocket::frame(0x82, &batch);
        ws.stream.set_write_timeout(Some(secs(2))).expect("a limit");
        let mut sent = 0;
        while std::io::Write::write_all(&mut &ws.stream, &batch).is_ok() {
            sent += batch.len();
            assert!(sent < 64 * MB, "it reads for ever");
        }
        let grown = status(&server, "VmHWM").saturating_sub(before);
        assert!(grown < 4 * 1024, "{grown} kB more for {sent} bytes that were sent");
    });
}

/// A session whose receiver takes nothing, beside one that is busy: the busy one goes on, the memory
/// stays bounded, and in the end the stalled one is reset, alone.
#[test]
fn a_stalled_session_does_not_stop_the_others() {
    within(secs(120), || {
        // Who says "stall" is never read again; all others get an echo.
        let held = std::sync::Mutex::new(Vec::new());
        let backend = Backend::serve(move |stream| {
            let first = recv(&stream, 5);
            if first == b"stall" {
                held.lock().expect("the list").push(stream);
                return;
            }
            send(&stream, &first);
            let (mut from, mut to) = (&stream, &stream);
            let _ = std::io::copy(&mut from, &mut to);
        });
        let server = server(Ours, backend.addr, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        for (id, word) in [(1, b"stall"), (2, b"hello")] {
            ws.send_mux(&mux::open(id));
            ws.send_mux(&mux::keep(id, word));
        }
        assert_eq!(ws.mux_recv(2, 5), b"hello");
        let before = status(&server, "VmRSS");
        let piece = noise(8192, 3);
        let writer = ws.stream.try_clone().expect("a second handle");
        // Kernel buffers take megabytes; what is beyond them the server has to keep, or not.
        let flood = 40 * MB / piece.len();
        let echoed = 400;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let stalled = crate::support::websocket::frame(0x82, &mux::keep(1, &piece));
                let busy = crate::support::websocket::frame(0x82, &mux::keep(2, &piece));
                for i in 0..flood {
                    send(&writer, &stalled);
                    if i % (flood / echoed) == 0 {
                        send(&writer, &busy);
                    }
                }
            });
            let (mut back, mut reset) = (0, 0);
            while back < echoed * piece.len() || reset == 0 {
                let frame = ws.mux();
                match (frame.id, frame.status) {
                    (2, KEEP) => back += frame.data.len(),
                    (1, END) => reset += 1,
                    other => panic!("{other:?}"),
                }
            }
        });
        let grown = status(&server, "VmHWM").saturating_sub(before);
        assert!(grown < 8 * 1024, "{grown} kB more than before the flood");
    });
}

/// Our client: seven applications that read nothing of what comes for them, beside one that reads a download, and says
/// nothing meanwhile: it hears the beginning of its answer, and gets the rest.
#[test]
fn a_download_in_progress_does_not_wait_for_stalled_ones() {
    within(secs(120), || {
        const DOWNLOAD: usize = 4 * MB;
        let (flooded, seen) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let count = Arc::clone(&flooded);
        let backend = Backend::serve(move |stream| {
            if recv(&stream, 1) == b"m" {
                send(&stream, b"!");
                recv(&stream, 1);
                return send(&stream, &noise(DOWNLOAD, 5));
            }
            stream.set_write_timeout(None).expect("no limit");
            // More than all kernels on the way take; who is reset meanwhile gets no more.
            for piece in noise(64 * MB, 5).chunks(8192) {
                if std::io::Write::write_all(&mut &stream, piece).is_err() {
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let server = server(Ours, backend.addr, "mode=websocket");
        let client = client(Ours, server.addr, "mode=websocket;mux=8");
        let moving = connect(client.addr);
        send(&moving, b"m");
        assert_eq!(recv(&moving, 1), b"!");
        let stalled: Vec<_> = (0..7).map(|_| connect(client.addr)).collect();
        stalled.iter().for_each(|stream| send(stream, b"s"));
        // All the way is full.
        assert!(eventually(STEP, || {
            std::thread::sleep(millis(500));
            let now = flooded.load(Ordering::Relaxed);
            now > 0 && seen.swap(now, Ordering::Relaxed) == now
        }));
        send(&moving, b"?");
        // Each of the seven may need its seconds until it counts as stalled.
        moving.set_read_timeout(Some(secs(60))).expect("set a limit");
        assert_same("the download", &recv(&moving, DOWNLOAD), &noise(DOWNLOAD, 5));
    });
}

/// Thousands of sessions on one connection, some at a time, leave nothing behind.
#[test]
fn thousands_of_sessions_leave_nothing() {
    within(secs(120), || {
        let (echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        let mut run = |ids: std::ops::Range<u16>| {
            for id in ids.clone() {
                let data = noise(50 + usize::from(id % 100), id.into());
                ws.send_mux(&[mux::open(id), mux::keep(id, &data), mux::end(id)].concat());
            }
            let mut got: HashMap<u16, Vec<u8>> = HashMap::new();
            let mut ended = 0;
            while ended < ids.len() {
                let frame = ws.mux();
                match frame.status {
                    KEEP => got.entry(frame.id).or_default().extend_from_slice(&frame.data),
                    END => ended += 1,
                    other => panic!("status {other}"),
                }
            }
            for id in ids {
                let data = noise(50 + usize::from(id % 100), id.into());
                assert_eq!(got.get(&id), Some(&data), "session {id}");
            }
        };
        for round in 0..5 {
            run(1 + round * 100..101 + round * 100);
        }
        let (files, memory) = (open_files(&server), status(&server, "VmRSS"));
        for round in 5..55 {
            run(1 + round * 100..101 + round * 100);
        }
        assert_eq!(echo.accepted(), 5500);
        assert!(eventually(STEP, || open_files(&server) <= files), "{} descriptors", open_files(&server));
        let grown = status(&server, "VmRSS").saturating_sub(memory);
        assert!(grown < 2048, "{grown} kB more after 5000 further sessions");
    });
}

/// Our client: N sessions share a connection, further ones get another; one that breaks takes its own
/// sessions with it.
#[test]
fn sessions_are_spread_over_connections() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let relay = crate::support::backend::Backend::serve({
            let to = server.addr;
            move |stream| {
                let far = connect(to);
                let (mut up, mut to_far) =
                    (stream.try_clone().expect("a handle"), far.try_clone().expect("one"));
                let upward = std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut to_far);
                });
                let (mut down, mut to_near) = (&far, &stream);
                let _ = std::io::copy(&mut down, &mut to_near);
                let _ = upward.join();
            }
        });
        let client = client(Ours, relay.addr, "mode=websocket;mux=3");
        let streams: Vec<_> = (0..7)
            .map(|i| {
                let stream = connect(client.addr);
                assert_echo(&stream, &noise(1000, i));
                stream
            })
            .collect();
        assert_eq!(relay.accepted(), 3, "7 sessions by 3");
        for (i, stream) in streams.iter().enumerate() {
            assert_echo(stream, &noise(50_000, i as u64));
        }
        assert_eq!(echo.accepted(), 7);
        // What has ended makes room.
        drop(streams);
        assert!(eventually(STEP, || {
            let stream = connect(client.addr);
            assert_echo(&stream, b"again");
            relay.accepted() <= 4
        }));
    });
}

/// A ping inside a mux connection is answered between frames.
#[test]
fn pings_are_answered_in_mux_connections() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open(1));
        ws.send(PING, b"are you there?");
        let frame = ws.frame();
        assert_eq!((frame.opcode, frame.payload), (PONG, b"are you there?".to_vec()));
        ws.send_mux(&mux::keep(1, b"yes"));
        assert_eq!(ws.mux_recv(1, 3), b"yes");
    });
}

/// v2ray's client says the end of a session that never began, first of all: still it is a mux stream.
#[test]
fn v2ray_clients_that_are_left_at_once_are_served_later() {
    within(secs(60), || {
        need!("ss-v2ray-plugin");
        let (_echo, server) = echo_server();
        let client = client(V2ray, server.addr, "mux=1");
        drop(connect(client.addr));
        assert_echo(&connect(client.addr), &noise(100_000, 1));

        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&[0, 4, 0, 1, END, 2]);
        ws.send_mux(&[mux::open(2), mux::keep(2, b"hello")].concat());
        loop {
            let frame = ws.mux();
            match (frame.id, frame.status) {
                (1, END) => {}
                (2, KEEP) => {
                    assert_eq!(frame.data, b"hello");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    });
}
