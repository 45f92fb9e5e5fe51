//! Whoever half-closes may have to wait until the other side has read what came before.

use super::{Tunnel, payload};
use crate::support::backend::{Backend, next};
use crate::support::conn::{End, connect, fin, recv, recv_to_end, send};
use crate::support::{STEP, assert_same, secs, within};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// More than what the other side's buffers take while it reads nothing, less than all on the way do.
const LENGTH: usize = 4 * MB;

const MB: usize = 1024 * 1024;

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

/// What is still on its way when both directions have ended, and the connection is kept alive meanwhile: a side that
/// closes it too early answers with a reset, which takes all of that away.
#[test]
fn what_was_said_last_comes_however_long_the_other_side_reads() {
    /// For longer than an orderly close takes, and until it is looked whether the connection is broken.
    const PAUSE: Duration = Duration::from_secs(9);
    const FORMATS: [(&str, &str); 4] = [
        ("obfs=http;obfs-host=a", "obfs=http"),
        ("obfs=tls;obfs-host=a", "obfs=tls"),
        ("mode=httpupgrade", "mode=websocket"),
        ("mode=websocket;mux=0;keepalive=1", "mode=websocket"),
    ];
    /// One session a pair: a second one comes behind what the first one has left in the connection.
    const MUX: (&str, &str) = ("mode=websocket;mux=1;keepalive=1", "mode=websocket");
    /// What fits into the buffers of one hop, of several, and of none: so it waits here or there.
    const LENGTHS: [usize; 5] = [MB, 4 * MB, 8 * MB, 9 * MB, 10 * MB];

    /// Of both sides of a tunnel, one says little and reads late, and the other one says much and goes.
    fn says_much(brief: &TcpStream, verbose: TcpStream, file: &[u8]) {
        fin(brief);
        recv_to_end(&verbose, STEP);
        send(&verbose, file);
        fin(&verbose);
    }

    within(secs(120), || {
        let cases = LENGTHS.map(|length| [false, true].map(|up| (length, up))).concat();
        let mut pairs: Vec<_> = FORMATS.iter().map(|options| (*options, cases.clone())).collect();
        pairs.extend([false, true].map(|up| (MUX, vec![(LENGTHS[3], up)])));
        std::thread::scope(|scope| {
            for (options, cases) in pairs {
                scope.spawn(move || {
                    let (backend, connections) = Backend::manual();
                    let tunnel = Tunnel::new(backend.addr, options, Duration::ZERO);
                    let file = payload(LENGTHS[4], 0);
                    std::thread::scope(|scope| {
                        let briefs = cases.iter().map(|&(length, up)| {
                            let app = connect(tunnel.client.addr);
                            send(&app, b"?");
                            let behind = next(&connections);
                            recv(&behind, 1);
                            let (brief, verbose) = if up { (behind, app) } else { (app, behind) };
                            let again = brief.try_clone().expect("a descriptor");
                            let said = &file[..length];
                            scope.spawn(move || says_much(&again, verbose, said));
                            (length, up, brief)
                        });
                        let briefs: Vec<_> = briefs.collect();
                        std::thread::sleep(PAUSE);
                        for (length, up, brief) in briefs {
                            let (bytes, end) = recv_to_end(&brief, secs(30));
                            let what = || format!("{length} bytes, up: {up}; {}", tunnel.logs());
                            assert_eq!((bytes.len(), end), (length, End::Fin), "{}", what());
                            assert_same("what was said last", &bytes, &file[..length]);
                        }
                    });
                });
            }
        });
    });
}
