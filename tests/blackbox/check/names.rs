//! Names whose name server says nothing: no look-up holds a check up for as long as the system waits.

use super::{Checked, finished, start};
use crate::support::netns;
use crate::support::ports::free_port;
use crate::support::{secs, within};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// How long a check may take whose names are not answered.
const SOON: Duration = Duration::from_secs(9);

/// Takes the place of the name server that the system asks, in this network, and says nothing.
fn silent_name_server() -> UdpSocket {
    let file = std::env::temp_dir().join(format!("obfs-rs-resolv-{}", free_port()));
    // (the system would wait for half a minute)
    std::fs::write(&file, "nameserver 127.0.0.1\noptions timeout:15 attempts:2\n").expect("a file");
    let target = std::fs::canonicalize("/etc/resolv.conf").expect("the system has one");
    netns::run("mount", &["--bind", &file.to_string_lossy(), &target.to_string_lossy()]);
    std::fs::remove_file(&file).expect("the file is mounted");
    UdpSocket::bind("127.0.0.1:53").expect("the port of names")
}

/// A run to its end, which comes soon.
#[track_caller]
fn soon(arguments: &[&str]) -> Checked {
    let began = Instant::now();
    let checked = finished(&start(arguments));
    assert!(began.elapsed() < SOON, "{:?}: {}", began.elapsed(), checked.lines.join("\n"));
    checked
}

#[test]
fn a_silent_name_server_is_not_waited_for_long() {
    netns::alone(secs(120), || {
        let _silent = silent_name_server();
        let no_answer = "www.example.com: no answer within 5 s";
        soon(&["--remote", "www.example.com:80", "obfs=http"]).fails_at("resolve", no_answer);
        soon(&["--listen", "www.example.com:1984", "--client", "obfs=http"]).fails_at("listen", no_answer);
        soon(&["--listen", "www.example.com:1984", "--server", "obfs=http"]).fails_at("listen", no_answer);
        let backend = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let backend = backend.local_addr().expect("an address").to_string();
        let metrics = "obfs=http;metrics=www.example.com:9;metrics-public";
        soon(&["--backend", &backend, metrics]).says("fails", "metrics", no_answer);
        soon(&["--backend", "www.example.com:1", "obfs=http"]).fails_at("Shadowsocks", no_answer);
        let site = "obfs=http;failover=www.example.com:80";
        soon(&["--backend", &backend, site]).says("fails", "the website of the option `failover`", no_answer);
    });
}

/// A name of this machine is looked up, and listened on.
#[test]
fn names_that_are_known_are_listened_on() {
    within(secs(60), || {
        let listen = format!("localhost:{}", free_port());
        let checked = finished(&start(&["--client", "--listen", &listen, "obfs=http"]));
        checked.is_well().says("ok", "listen", &format!("{listen} can be had"));
    });
}
