//! `obfs-rs ready`: what a health check is told, whoever or whatever is at the address.

use super::{nobody_there, started};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, fin, recv_head, send};
use crate::support::plugin::{Ours, client, ours};
use crate::support::scrape::{watched_client, watched_server};
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, secs, within};
use rustix::process::Signal;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

/// The end of a question, and what was said.
fn ready(words: &[&str]) -> (Exit, Vec<String>) {
    let mut command = ours();
    command.arg("ready").args(words);
    let child = Child::spawn("obfs-rs ready", command);
    (child.wait_exit(STEP), child.lines())
}

#[track_caller]
fn assert_ready(words: &[&str]) {
    assert_eq!(ready(words), (Exit::Code(0), Vec::new()), "{words:?}");
}

/// It says no, with this reason in its only line.
#[track_caller]
fn assert_not(words: &[&str], reason: &str) {
    let (exit, lines) = ready(words);
    assert_eq!((exit, lines.len()), (Exit::Code(1), 1), "{words:?}: {lines:?}");
    assert!(lines[0].starts_with("obfs-rs: ") && lines[0].contains(reason), "{words:?}: {lines:?}");
}

#[test]
fn it_says_what_a_half_says() {
    within(secs(60), || {
        let backend = nobody_there();
        let (server, metrics) = watched_server(backend, "obfs=http;drain=60");
        let place = metrics.0.to_string();
        assert_not(&[&place], &format!("Shadowsocks: cannot connect to {backend}"));
        assert_ready(&["--live", &place]);
        let _echo = Backend::echo_on(backend);
        assert!(eventually(STEP, || ready(&[&place]).0 == Exit::Code(0)));
        assert_ready(&[&format!("localhost:{}", metrics.0.port())]);

        let (client, of_client) = watched_client(server.addr, "obfs=http");
        assert_ready(&[&of_client.0.to_string()]);
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"open");
        server.child.signal(Signal::TERM);
        server.child.wait_text("draining: ");
        assert_not(&[&place], "draining: no more connections are accepted");
        assert_ready(&[&place, "--live"]);
        fin(&tunnel);
        assert_eq!(server.child.wait_exit(STEP), Exit::Code(0));
        for words in [&[&*place][..], &[&place, "--live"]] {
            assert_not(words, &format!("nobody answers at {place}: "));
        }
    });
}

/// In the environment of a container there are the half's own settings.
#[test]
fn it_asks_at_a_unix_socket_and_beside_the_halfs_own_variables() {
    within(secs(60), || {
        let dir = TempDir::new("ready");
        let path = dir.path().join("socket").display().to_string();
        let (server, port) = started(&path, ";a=nobody");
        server.wait_listening(port);
        for place in [path.clone(), format!("unix:{path}")] {
            assert_ready(&["--live", &place]);
            assert_not(&[&place], "Shadowsocks");
        }
        let mut command = ours();
        command.env("SS_REMOTE_HOST", "127.0.0.1").env("SS_REMOTE_PORT", port.to_string());
        command.env("SS_LOCAL_HOST", "127.0.0.1").env("SS_LOCAL_PORT", "9");
        command.env("SS_PLUGIN_OPTIONS", format!("server;obfs=http;metrics={path}"));
        command.args(["ready", "--live", &path]);
        let child = Child::spawn("obfs-rs ready", command);
        assert_eq!(child.wait_exit(STEP), Exit::Code(0), "{}", child.show_log());
        drop(server);
        assert_not(&[&path], "nobody answers at unix:");
        assert_not(&[&dir.path().join("none").display().to_string()], "nobody answers at unix:");
    });
}

#[test]
fn who_is_no_half_is_not_ready() {
    within(secs(90), || {
        let answers = |answer: &'static [u8]| {
            Backend::serve(move |stream| {
                recv_head(&stream);
                // Whoever asks may have read enough.
                let _ = (&stream).write_all(answer);
            })
        };
        for answer in [
            &b""[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 200",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            b"\x16\x03\x01\x00\x05\0\0\0\0\0",
        ] {
            let peer = answers(answer);
            assert_not(&[&peer.addr.to_string()], "is not the metrics of obfs-rs");
        }
        // A reason that is none of a terminal's.
        let peer = answers(b"HTTP/1.1 503 x\r\n\r\n\x1b[2Jgone\r\nmore");
        assert_not(&[&peer.addr.to_string()], "\\u{1b}[2Jgone");
        // Heads, headers and bodies without an end.
        for (head, piece) in [
            (&b""[..], &b"HTTP/1.1 200 OK "[..]),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"<html>"),
        ] {
            let peer = Backend::serve(move |stream: TcpStream| {
                recv_head(&stream);
                let _ = (&stream).write_all(head);
                while (&stream).write_all(piece).is_ok() {}
            });
            assert_not(&[&peer.addr.to_string()], "is not the metrics of obfs-rs");
        }
        let peer = Backend::serve(|stream: TcpStream| {
            recv_head(&stream);
            send(&stream, b"HTTP/1.1 503 x\r\n\r\n");
            while (&stream).write_all(b"a reason without an end ").is_ok() {}
        });
        let (exit, lines) = ready(&[&peer.addr.to_string()]);
        assert!(exit == Exit::Code(1) && lines.len() == 1 && lines[0].len() < 5000, "{lines:?}");
    });
}

#[test]
fn who_says_nothing_is_waited_for_three_seconds() {
    within(secs(60), || {
        let (silent, connections) = Backend::manual();
        let began = Instant::now();
        assert_not(&[&silent.addr.to_string()], &format!("no answer from {} within 3 s", silent.addr));
        assert!(began.elapsed() >= secs(3) && connections.try_recv().is_ok());
        // One that goes on and on, slowly.
        let slow = Backend::serve(|stream: TcpStream| {
            while (&stream).write_all(b"H").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        assert_not(&[&slow.addr.to_string()], "within 3 s");
    });
}

#[test]
fn a_wrong_address_is_a_wrong_command_line() {
    within(secs(60), || {
        for (words, said) in [
            (&["9180"][..], "ADDRESS: `9180` is not an address of this machine"),
            (&["run/x"], "ADDRESS: `run/x` is not"),
            (&["http://127.0.0.1:9180"], "ADDRESS: "),
            (&["127.0.0.1:0"], "ADDRESS: "),
            (&[], "<ADDRESS>"),
            (&["127.0.0.1:9180", "127.0.0.1:9181"], "127.0.0.1:9181"),
            (&["--dead", "127.0.0.1:9180"], "--dead"),
        ] {
            let (exit, lines) = ready(words);
            assert_eq!((exit, lines.len()), (Exit::Code(23), 1), "{words:?}: {lines:?}");
            assert!(lines[0].contains(said), "{words:?}: {lines:?}");
        }
        let (exit, lines) = ready(&["--help"]);
        assert!(exit == Exit::Code(0) && lines.iter().any(|line| line.contains("/readyz")), "{lines:?}");
    });
}

/// One that only listens on the half's port, where the website is.
#[test]
fn the_public_port_is_not_ready() {
    within(secs(30), || {
        let echo = Backend::echo();
        let (server, _) = watched_server(echo.addr, "failover=status:404");
        assert_not(&[&server.addr.to_string()], "is not the metrics of obfs-rs");
        let client = client(Ours, server.addr, "obfs=http");
        assert_echo(&connect(client.addr), b"served");
    });
}
