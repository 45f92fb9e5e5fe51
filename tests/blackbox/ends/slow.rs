//! Whoever half-closes may have to wait until the other side has read what came before.

use super::{Tunnel, payload};
use crate::support::backend::Backend;
use crate::support::conn::{End, connect, fin, recv, recv_to_end, send};
use crate::support::{assert_same, secs, within};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

/// More than what the other side's buffers take while it reads nothing, less than all on the way do.
const LENGTH: usize = 4 * 1024 * 1024;

/// Of these the end of a direction is told within the stream.
const IN_BAND: [&str; 3] = ["mode=websocket;mux=0", "mode=websocket;mux=1", "mode=websocket;mux=8"];

/// All at the same time: they wait most of it.
fn each(test: impl Fn(&dyn Fn(SocketAddr) -> Tunnel) + Sync) {
    std::thread::scope(|scope| {
        for options in IN_BAND {
            let test = &test;
            scope.spawn(move || {
                test(&|backend| Tunnel::new(backend, (options, "mode=websocket"), Duration::ZERO))
            });
        }
    });
}

#[test]
fn an_answer_comes_however_long_a_backend_reads() {
    within(secs(60), || {
        each(|tunnel| {
            let backend = Backend::serve(move |stream| {
                recv(&stream, 1);
                // For longer than a client waits for a server that knows no half-close.
                std::thread::sleep(secs(7));
                let (bytes, end) = recv_to_end(&stream, secs(20));
                assert_eq!((bytes.len(), end), (LENGTH - 1, End::Fin));
                send(&stream, b"answer");
            });
            let tunnel = tunnel(backend.addr);
            let stream = connect(tunnel.client.addr);
            send(&stream, &payload(LENGTH, 0));
            fin(&stream);
            let (answer, end) = recv_to_end(&stream, secs(30));
            assert_eq!((answer.as_slice(), end), (&b"answer"[..], End::Fin), "{}", tunnel.logs());
        });
    });
}

#[test]
fn what_an_application_says_comes_however_long_it_reads() {
    within(secs(60), || {
        each(|tunnel| {
            let (sender, received) = mpsc::channel();
            let file = payload(LENGTH, 0);
            let sent = file.clone();
            let backend = Backend::serve(move |stream| {
                recv(&stream, 1);
                send(&stream, &sent);
                fin(&stream);
                let _ = sender.send(recv_to_end(&stream, secs(30)));
            });
            let tunnel = tunnel(backend.addr);
            let stream = connect(tunnel.client.addr);
            send(&stream, b"?");
            // For longer than a server waits for a client that knows no half-close.
            std::thread::sleep(secs(4));
            let (bytes, end) = recv_to_end(&stream, secs(20));
            assert_same("the download", &bytes, &file);
            assert_eq!(end, End::Fin);
            send(&stream, b"thanks");
            fin(&stream);
            let (bytes, end) = received.recv().expect("the backend's end");
            assert_eq!((bytes.as_slice(), end), (&b"thanks"[..], End::Fin), "{}", tunnel.logs());
        });
    });
}
