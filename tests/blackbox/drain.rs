//! `drain`: on SIGTERM the port closes, and tunnels go on until they end or the time is up.

use crate::reload::{server_of, settings};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, fin, recv, recv_head, recv_to_end, send};
use crate::support::plugin::{Ours, Plugin, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, assert_same, eventually, noise, proc, secs, within};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MB: usize = 1024 * 1024;

/// Waits until nobody listens, and until a new process could.
fn assert_port_is_free(half: &Plugin) {
    let free = || !proc::port_listens(half.addr.port());
    assert!(eventually(secs(5), free), "the port still listens; {}", half.child.show_log());
    std::net::TcpListener::bind(half.addr).expect("another process may listen");
}

fn drains(half: &Plugin, open: &str) {
    half.child.signal(Signal::TERM);
    let line = half.child.wait_text("draining: ");
    assert!(line.contains(open) && line.contains("a second SIGTERM ends at once"), "{line}");
    assert_port_is_free(half);
}

/// Megabytes that are on their way arrive, and the last tunnel's end is the process's.
#[test]
fn tunnels_go_on_to_their_end_and_then_it_ends() {
    within(secs(90), || {
        for (disguise, open) in [("obfs=http", "1 connection"), ("mode=websocket;mux=8", "1 connection")] {
            let file = noise(24 * MB, 7);
            let sent = file.clone();
            let backend = Backend::serve(move |stream| {
                recv(&stream, 1);
                send(&stream, &sent);
            });
            let server = server(Ours, backend.addr, "drain=60");
            let client = client(Ours, server.addr, &format!("{disguise};drain=60"));
            let app = connect(client.addr);
            send(&app, b"?");
            let mut got = recv(&app, 1);
            for half in [&server, &client] {
                drains(half, open);
                assert_eq!(half.child.peek_exit(), None, "{}", half.child.show_log());
            }
            got.extend(recv(&app, file.len() - 1));
            assert_same("the download", &got, &file);
            fin(&app);
            assert_eq!(recv_to_end(&app, STEP).1, End::Fin);
            for half in [&client, &server] {
                assert_eq!(half.child.wait_exit(secs(10)), Exit::Code(0), "{disguise}");
                assert!(
                    half.child.show_log().contains("all connections have ended"),
                    "{}",
                    half.child.show_log()
                );
            }
        }
    });
}

#[test]
fn the_time_is_up_or_a_second_signal_comes() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (seconds, second) in [(1, None), (600, Some(Signal::TERM)), (600, Some(Signal::INT))] {
            let server = server(Ours, echo.addr, &format!("obfs=http;drain={seconds}"));
            let client = client(Ours, server.addr, "obfs=http");
            let tunnel = connect(client.addr);
            assert_echo(&tunnel, b"open");
            drains(&server, "1 connection open");
            assert_echo(&tunnel, b"goes on");
            let began = Instant::now();
            if let Some(signal) = second {
                server.child.signal(signal);
            }
            assert_eq!(server.child.wait_exit(secs(10)), Exit::Code(0));
            assert!(began.elapsed() < secs(5));
            let last = server.child.wait_text("ending: ");
            assert!(last.contains("with 1 connection open"), "{last}");
        }
    });
}

/// What is idle does not hold it: a visitor of our own website between two requests, a mux connection without
/// sessions.
#[test]
fn who_is_idle_is_not_waited_for() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "failover=status:404;drain=600");
        let client = client(Ours, server.addr, "mode=websocket;mux=4;drain=600");
        let session = connect(client.addr);
        assert_echo(&session, b"a session");
        fin(&session);
        assert_eq!(recv_to_end(&session, STEP).1, End::Fin);
        let visitor = connect(server.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(recv_head(&visitor).starts_with("HTTP/1.1 404 "));
        for half in [&server, &client] {
            half.child.signal(Signal::TERM);
            assert_eq!(half.child.wait_exit(secs(10)), Exit::Code(0), "{}", half.child.show_log());
        }
        assert_eq!(recv_to_end(&visitor, STEP).1, End::Fin);
    });
}

/// Who was let in by the system before the port closed is served.
#[test]
fn who_waits_to_be_accepted_is_served() {
    within(secs(60), || {
        let (echo, port, dir) = (Backend::echo(), free_port(), TempDir::new("backlog"));
        let more = r#""obfs": "http", "drain": 60,"#;
        let server = server_of(&dir, port, &settings(more, port, echo.addr), &[]);
        // Signals are listened for before connections are served.
        let visitor = connect(server.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(recv_head(&visitor).starts_with("HTTP/1.1 404 "));
        drop(visitor);
        server.child.signal(Signal::STOP);
        let waiting: Vec<TcpStream> = (0..50).map(|_| connect(server.addr)).collect();
        for stream in &waiting {
            send(stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        }
        server.child.signal(Signal::TERM);
        server.child.signal(Signal::CONT);
        for stream in &waiting {
            assert!(recv_head(stream).starts_with("HTTP/1.1 101 "), "{}", server.child.show_log());
            assert_echo(stream, b"served");
        }
        drop(waiting);
        assert_eq!(server.child.wait_exit(secs(10)), Exit::Code(0));
    });
}

/// A plugin that drains does not outlive its host.
#[test]
fn the_end_of_its_host_ends_it_while_it_drains() {
    within(secs(60), || {
        let (echo, port) = (Backend::echo(), free_port());
        let mut command = bare("/bin/sh".into());
        command.arg("-c").arg("\"$1\"; exit $?").arg("sh").arg(our_path());
        let address = |port| ("127.0.0.1".to_owned(), port);
        let options = "server;obfs=http;drain=600".to_owned();
        Vars { remote: address(port), local: address(echo.addr.port()), options }.put(&mut command);
        let shell = Child::spawn("a shell", command);
        shell.wait_listening(port);
        let plugin = proc::wait_listening_child(shell.pid());
        let client = client(Ours, SocketAddr::from(([127, 0, 0, 1], port)), "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"open");
        let pid = rustix::process::Pid::from_raw(plugin.pid).expect("a pid");
        rustix::process::kill_process(pid, Signal::TERM).expect("signal it");
        shell.wait_text("draining: 1 connection open");
        assert_echo(&tunnel, b"goes on");
        shell.signal(Signal::KILL);
        assert!(plugin.wait_gone(secs(3)), "it outlives its host");
    });
}

#[test]
fn a_time_that_cannot_be_is_refused_by_name() {
    within(secs(30), || {
        for wrong in ["0", "86401", "-1", "soon"] {
            let mut command = bare(our_path());
            let address = || ("127.0.0.1".to_owned(), free_port());
            Vars { remote: address(), local: address(), options: format!("server;drain={wrong}") }
                .put(&mut command);
            let child = Child::spawn(wrong, command);
            assert_eq!(child.wait_exit(Duration::from_secs(10)), Exit::Code(23));
            let log = child.show_log();
            assert!(log.contains("option `drain`") && log.contains("86400"), "{log}");
        }
    });
}
