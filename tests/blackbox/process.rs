//! The life of the process: signals, its parent, its log's end, its descriptors.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::plugin::{Ours, Vars, bare, client, our_path, ours, server};
use crate::support::ports::free_port;
use crate::support::{eventually, millis, proc, secs, within};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

fn local(port: u16) -> (String, u16) {
    ("127.0.0.1".to_owned(), port)
}

/// A server half's variables.
fn server_vars(port: u16, backend: SocketAddr, options: &str) -> Vars {
    Vars { remote: local(port), local: local(backend.port()), options: format!("server;{options}") }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Both halves, each with open tunnels, for each of the two signals.
#[test]
fn sigterm_and_sigint_end_it_with_0_within_a_second() {
    within(secs(60), || {
        for signal in [Signal::TERM, Signal::INT] {
            let echo = Backend::echo();
            let server = server(Ours, echo.addr, "obfs=http");
            let client = client(Ours, server.addr, "obfs=http");
            let tunnels: Vec<_> = (0..5).map(|_| connect(client.addr)).collect();
            for tunnel in &tunnels {
                assert_echo(tunnel, b"open");
            }
            for half in [&client, &server] {
                let started = Instant::now();
                half.child.signal(signal);
                assert_eq!(half.child.wait_exit(secs(5)), Exit::Code(0), "{}", half.child.show_log());
                let took = started.elapsed();
                assert!(took < secs(1), "{signal:?}: {took:?}");
                assert!(!proc::port_listens(half.addr.port()));
            }
        }
    });
}

/// A parent that dies without a word (here: a shell), and the thread that started the plugin.
#[test]
fn the_plugin_does_not_outlive_a_killed_parent() {
    within(secs(60), || {
        let echo = Backend::echo();
        for role in ["client", "server"] {
            let port = free_port();
            let mut command = bare("/bin/sh".into());
            // Two commands, so that the shell stays the parent.
            command.arg("-c").arg("\"$1\"; exit $?").arg("sh").arg(our_path());
            let there = ("127.0.0.1".to_owned(), port);
            let here = ("127.0.0.1".to_owned(), echo.addr.port());
            let (remote, local) = if role == "server" { (there, here) } else { (here, there) };
            let options = format!("{role};obfs=http");
            Vars { remote, local, options }.put(&mut command);
            let shell = Child::spawn("a shell", command);
            shell.wait_listening(port);
            let plugin = proc::wait_listening_child(shell.pid());
            shell.signal(Signal::KILL);
            assert_eq!(shell.wait_exit(secs(5)), Exit::Signal(9));
            assert!(plugin.wait_gone(secs(2)), "the {role} half outlived its parent by 2 s");
            assert!(eventually(secs(1), || !proc::port_listens(port)), "{role}: the port still listens");
        }
    });
}

/// The parent-death signal of Linux is sent when the parent's *thread* ends. Hosts start plugins
/// from worker threads that come and go.
#[test]
fn the_end_of_the_thread_that_started_it_is_not_the_end_of_the_plugin() {
    within(secs(60), || {
        let echo = Backend::echo();
        let addr = echo.addr;
        let server =
            std::thread::spawn(move || server(Ours, addr, "obfs=http")).join().expect("the plugin starts");
        // It is given the time in which it would notice a real parent's death.
        assert_eq!(server.child.exit_within(millis(2500)), None, "{}", server.child.show_log());
        let client = client(Ours, server.addr, "obfs=http");
        assert_echo(&connect(client.addr), b"still there");
    });
}

#[test]
fn a_bind_failure_names_the_address() {
    within(secs(30), || {
        let echo = Backend::echo();
        let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = taken.local_addr().expect("an address").port();
        let there = local(port);
        let here = local(echo.addr.port());
        for (role, remote, local) in [("server", &there, &here), ("client", &here, &there)] {
            let mut command = ours();
            let options = format!("{role};obfs=http");
            Vars { remote: remote.clone(), local: local.clone(), options }.put(&mut command);
            let child = Child::spawn(role, command);
            let exit = child.wait_exit(secs(5));
            assert!(matches!(exit, Exit::Code(code) if code != 0), "{role}: {exit:?}");
            let log = child.lines().join("\n");
            assert!(log.contains(&format!("127.0.0.1:{port}")), "{role}: {log}");
        }
    });
}

/// Hosts close the pipe, or die and leave it: logging must not end the traffic.
#[test]
fn it_works_on_when_stderr_is_gone() {
    within(secs(30), || {
        let echo = Backend::echo();
        let port = free_port();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = ours();
        server_vars(port, echo.addr, "obfs=http;loglevel=debug").put(&mut command);
        command.stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let child = Child::spawn_as_is("a server without stderr", command);
        child.wait_listening(port);
        drop(reader);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        // Each of these is worth log lines at debug level: visitors, tunnels, ends.
        for _ in 0..10 {
            send(&connect(addr), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let tunnel = connect(addr);
            send(&tunnel, REQUEST);
            assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
            assert_echo(&tunnel, b"works on");
        }
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(secs(5)), Exit::Code(0));
    });
}

/// Out of descriptors: it pauses, says so once, and goes on when some are free again.
#[test]
fn running_out_of_descriptors_is_survived_and_logged_once() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let mut command = bare("/bin/sh".into());
        // The hard limit too: the plugin raises the soft one to it.
        command.arg("-c").arg("ulimit -n 60 && exec \"$1\"").arg("sh").arg(our_path());
        server_vars(port, echo.addr, "obfs=http").put(&mut command);
        let child = Child::spawn("a server with 60 descriptors", command);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        // The kernel accepts all of these; the plugin cannot.
        let visitors: Vec<_> = (0..100)
            .map(|_| {
                let stream = connect(addr);
                send(&stream, REQUEST);
                stream
            })
            .collect();
        let said = |line: &str| {
            let line = line.to_lowercase();
            line.contains("accept") && line.contains("open files")
        };
        child.wait_line("that it is out of descriptors", said);
        // It would write line after line in this time, if it did not pause.
        assert_eq!(child.exit_within(millis(1500)), None, "{}", child.show_log());
        let lines = child.lines().iter().filter(|l| said(l)).count();
        assert_eq!(lines, 1, "{}", child.show_log());
        drop(visitors);
        let served = eventually(secs(20), || {
            let stream = connect(addr);
            send(&stream, REQUEST);
            stream.set_read_timeout(Some(secs(5))).expect("a limit");
            let mut answer = [0; 13];
            std::io::Read::read_exact(&mut &stream, &mut answer).is_ok() && &answer == b"HTTP/1.1 101 "
        });
        assert!(served, "{}", child.show_log());
    });
}

/// The soft limit is raised to the hard one: more tunnels than the soft limit has descriptors.
#[test]
fn the_soft_limit_of_descriptors_is_raised() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let mut command = bare("/bin/sh".into());
        command.arg("-c").arg("ulimit -Sn 40 && exec \"$1\"").arg("sh").arg(our_path());
        server_vars(port, echo.addr, "obfs=http").put(&mut command);
        let child = Child::spawn("a server with a low soft limit", command);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let tunnels: Vec<_> = (0..50)
            .map(|_| {
                let stream = connect(addr);
                send(&stream, REQUEST);
                assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
                stream
            })
            .collect();
        for tunnel in &tunnels {
            assert_echo(tunnel, b"all at once");
        }
    });
}
