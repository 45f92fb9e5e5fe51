//! As a client of several servers: those that cannot be used are told.

use super::check;
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::plugin::{Ours, server};
use crate::support::ports::free_port;
use crate::support::{secs, within};
use std::net::{SocketAddr, TcpListener};

/// As `--remote` has several hosts of one port.
fn remote(hosts: &[&str], port: u16) -> String {
    format!("{}:{port}", hosts.join("|"))
}

#[test]
fn dead_ones_among_several_are_told_each() {
    within(secs(120), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "mode=websocket;path=/own");
        let port = server.addr.port();
        let options = "mode=websocket;path=/own";
        // (the server listens on 127.0.0.1 alone)
        let all = remote(&["127.0.0.2", "127.0.0.1", "127.0.0.3"], port);
        let checked = check(&["--remote", &all, options]);
        checked.is_well().says("ok", "upgrade", "grants");
        for dead in ["127.0.0.2", "127.0.0.3"] {
            checked.says("odd", "server", &format!("{dead}:{port} cannot be used: "));
        }
        assert!(
            !checked.lines.iter().any(|line| line.contains(&format!("127.0.0.1:{port} cannot"))),
            "{:?}",
            checked.lines
        );
        // The one that works has one tunnel, and is not asked a second time.
        let one = remote(&["127.0.0.1", "localhost"], port);
        let checked = check(&["--remote", &one, options]);
        checked.is_well();
        assert!(!checked.lines.iter().any(|line| line.starts_with("odd")), "{:?}", checked.lines);
    });
}

#[test]
fn only_where_none_works_it_is_a_failure() {
    within(secs(60), || {
        let closed = free_port();
        let checked = check(&["--remote", &remote(&["127.0.0.2", "127.0.0.3"], closed), "obfs=http"]);
        checked.fails_at("connect", &format!("127.0.0.2:{closed}: ")).says(
            "fails",
            "connect",
            &format!("127.0.0.3:{closed}: "),
        );
    });
}

/// One takes the connection and says something else.
#[test]
fn one_that_does_not_speak_tls_is_told() {
    within(secs(60), || {
        use crate::support::peers::need;
        use crate::support::v2ray::Certificate;
        need!("openssl");
        let backend = Backend::echo();
        let certificate = Certificate::new(crate::support::v2ray::NAME);
        let server = server(Ours, backend.addr, &format!("mode=websocket;{}", certificate.for_server()));
        let port = server.addr.port();
        let other = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).expect("the port");
        std::thread::spawn(move || {
            for stream in other.incoming() {
                use std::io::Write as _;
                let _ = stream.and_then(|mut stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n"));
            }
        });
        let options = format!("mode=websocket;{}", certificate.for_client());
        let checked = check(&["--remote", &remote(&["127.0.0.1", "127.0.0.2"], port), &options]);
        assert_eq!(checked.exit, Exit::Code(0), "{:?}", checked.lines);
        checked.is_well().says("odd", "server", &format!("127.0.0.2:{port} cannot be used: "));
    });
}
