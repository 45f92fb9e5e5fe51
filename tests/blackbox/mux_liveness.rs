//! The client half when the way of a mux connection dies without a word, as when a phone changes networks or
//! a NAT forgets: connections that are made later work.

use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect, recv, send};
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, Plugin, V2ray, client, server};
use crate::support::{STEP, eventually, noise, secs, within};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A way to the server that can be frozen: what is on it then is open, and carries nothing in either
/// direction.
struct Way {
    backend: Backend,
    generation: Arc<AtomicUsize>,
}

impl Way {
    fn to(server: SocketAddr) -> Way {
        let generation = Arc::new(AtomicUsize::new(0));
        let current = Arc::clone(&generation);
        let backend = Backend::serve(move |near| {
            let far = connect(server);
            let born = current.load(Ordering::SeqCst);
            std::thread::scope(|scope| {
                scope.spawn(|| carry(&near, &far, &current, born));
                carry(&far, &near, &current, born);
            });
        });
        Way { backend, generation }
    }

    fn freeze(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, current: &AtomicUsize, born: usize) {
    from.set_read_timeout(None).expect("no limit");
    let mut buffer = vec![0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if current.load(Ordering::SeqCst) == born && to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    if current.load(Ordering::SeqCst) == born {
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

struct Set {
    client: Plugin,
    _server: Plugin,
    way: Way,
    _echo: Backend,
}

fn start(make: Make, mux: usize) -> Set {
    let echo = Backend::echo();
    let options = if make == Ours { "mode=websocket" } else { "" };
    let server = server(make, echo.addr, options);
    let way = Way::to(server.addr);
    let client = client(Ours, way.backend.addr, &format!("mode=websocket;mux={mux}"));
    Set { client, _server: server, way, _echo: echo }
}

/// The connection was quiet: the next app is asked for no patience, and none of its bytes is lost.
#[test]
fn a_way_that_died_while_nothing_was_said_costs_no_tunnel() {
    within(secs(120), || {
        need!("ss-v2ray-plugin");
        for make in [Ours, V2ray] {
            for mux in [1, 8] {
                let set = start(make, mux);
                let idle = connect(set.client.addr);
                assert_echo(&idle, b"hello");
                // The connection is to have been quiet: the pause is the stimulus.
                std::thread::sleep(secs(2));
                set.way.freeze();
                let began = Instant::now();
                for i in 0..4 {
                    assert_echo(&connect(set.client.addr), &noise(1000, i));
                }
                assert!(began.elapsed() < secs(8), "{make:?} {mux}: {:?}", began.elapsed());
            }
        }
    });
}

/// Sessions under way end in resets, with a line in the log, and apps that try again get a way.
#[test]
fn a_way_that_died_under_a_session_ends_it() {
    within(secs(120), || {
        need!("ss-v2ray-plugin");
        for make in [Ours, V2ray] {
            let set = start(make, 8);
            let held = connect(set.client.addr);
            assert_echo(&held, b"hello");
            set.way.freeze();
            send(&held, b"more");
            let began = Instant::now();
            held.set_read_timeout(Some(secs(25))).expect("a limit");
            let error = (&held).read(&mut [0; 1]).expect_err("nothing comes");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{make:?} after {:?}", began.elapsed());
            assert!(eventually(STEP, || set
                .client
                .child
                .show_log()
                .contains("mux connection to the server is dead")));
            assert_echo(&connect(set.client.addr), b"hello again");
        }
    });
}

/// A server that takes its time over an answer is asked whether it is there, and is not left.
#[test]
fn a_slow_answer_is_waited_for() {
    within(secs(90), || {
        need!("ss-v2ray-plugin");
        for make in [Ours, V2ray] {
            let slow = Backend::serve(|stream| {
                let question = recv(&stream, 4);
                // Longer than a silent way is given: the pause is the stimulus.
                std::thread::sleep(secs(14));
                send(&stream, &question);
            });
            let options = if make == Ours { "mode=websocket" } else { "" };
            let server = server(make, slow.addr, options);
            let client = client(Ours, server.addr, "mode=websocket;mux=8");
            let app = connect(client.addr);
            send(&app, b"slow");
            app.set_read_timeout(Some(secs(20))).expect("a limit");
            let mut answer = [0; 4];
            (&app).read_exact(&mut answer).expect("the answer");
            assert_eq!(&answer, b"slow", "{make:?}");
        }
    });
}
