//! One address, and two processes that want it: the one that serves has it in the end, and nobody ends for want of it.

use super::{ask_at, nobody_there};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, fin, recv_to_end};
use crate::support::peers;
use crate::support::plugin::{Ours, Vars, bare, client, our_path, ours, server};
use crate::support::scrape::Answer;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, proc, secs, within};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::Path;

/// What is answered there, if anybody answers.
fn asked(place: &str, path: &str) -> Option<Answer> {
    if place.starts_with('/') {
        return ask_at(Path::new(place), path).ok();
    }
    let addr: SocketAddr = place.parse().expect("an address");
    let stream = std::net::TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(STEP)).expect("a time-out");
    std::io::Write::write_all(&mut &stream, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .ok()?;
    let (answer, _) = recv_to_end(&stream, STEP);
    (!answer.is_empty()).then(|| Answer::of(&answer))
}

fn status(place: &str, path: &str) -> String {
    asked(place, path).map(|answer| answer.status).unwrap_or_default()
}

/// A half that has its metrics at this place.
fn half(name: &str, role: &str, remote: SocketAddr, local: SocketAddr, metrics: &str, more: &str) -> Child {
    let pair = |addr: SocketAddr| (addr.ip().to_string(), addr.port());
    let options = format!("{role};obfs=http;metrics={metrics}{more}");
    let mut command = ours();
    Vars { remote: pair(remote), local: pair(local), options }.put(&mut command);
    Child::spawn(name, command)
}

/// How often it has told that it does not have its address.
fn warnings(child: &Child) -> usize {
    child.lines().iter().filter(|line| line.contains("WARN") && line.contains("option `metrics`")).count()
}

/// The half of this role is followed by another one with the same settings, while a tunnel goes on.
#[track_caller]
fn follow(role: &str, metrics: &str) {
    let echo = Backend::echo();
    let public = nobody_there();
    // The far end of the half that is followed.
    let other = match role {
        "server" => client(Ours, public, "obfs=http"),
        _ => server(Ours, echo.addr, "obfs=http"),
    };
    let start = |name: &str| match role {
        "server" => half(name, role, public, echo.addr, metrics, ";drain=60"),
        _ => half(name, role, other.addr, public, metrics, ";drain=60"),
    };
    let app = || connect(if role == "server" { other.addr } else { public });

    let old = start("the old one");
    old.wait_listening(public.port());
    old.wait_text("metrics are at ");
    let tunnel = app();
    assert_echo(&tunnel, b"open");
    old.signal(Signal::TERM);
    old.wait_text("draining: ");
    assert!(eventually(STEP, || !proc::port_listens(public.port())), "{}", old.show_log());
    // As long as nobody follows, it can be watched.
    assert_eq!((status(metrics, "/readyz"), status(metrics, "/healthz")), ("503".into(), "200".into()));

    let new = start("the new one");
    new.wait_listening(public.port());
    assert_echo(&app(), b"served at once");
    let told = new.wait_text("option `metrics`");
    assert!(told.contains("WARN") && told.contains(metrics) && told.contains("in use"), "{told}");
    new.wait_text("metrics are at ");
    old.wait_text("metrics are no longer at ");
    assert_eq!(status(metrics, "/readyz"), "200", "{}", new.show_log());
    let numbers = asked(metrics, "/metrics").expect("numbers").body;
    assert!(numbers.contains("obfs_rs_draining 0"), "{numbers}");
    assert_eq!(warnings(&new), 1, "{}", new.show_log());
    assert_echo(&tunnel, b"goes on");
    assert_eq!(old.peek_exit(), None);
    fin(&tunnel);
    assert_eq!(old.wait_exit(secs(10)), Exit::Code(0), "{}", old.show_log());
    // Its end takes nothing away.
    assert_eq!(status(metrics, "/readyz"), "200", "{}", new.show_log());
    assert_echo(&app(), b"still served");
}

#[test]
fn who_drains_leaves_its_address_to_the_next_one() {
    within(secs(90), || {
        for role in ["server", "client"] {
            follow(role, &nobody_there().to_string());
        }
    });
}

#[test]
fn who_drains_leaves_its_unix_socket_to_the_next_one() {
    within(secs(60), || {
        let dir = TempDir::new("successor");
        follow("server", &dir.path().join("socket").display().to_string());
    });
}

/// Where it cannot see whether another one follows, it is not in the way of one from the start.
#[test]
fn who_cannot_see_a_next_one_leaves_its_address_at_once() {
    within(secs(60), || {
        if !rustix::process::geteuid().is_root() {
            return peers::skip("root");
        }
        let (place, public, echo) = (nobody_there().to_string(), nobody_there(), Backend::echo());
        let mut command = bare("/bin/sh".into());
        // Without /proc the system tells nothing.
        let script = "exec unshare --mount sh -c 'mount -t tmpfs none /proc && exec \"$1\"' sh \"$1\"";
        command.args(["-c", script, "sh"]).arg(our_path());
        let pair = |addr: SocketAddr| (addr.ip().to_string(), addr.port());
        let options = format!("server;obfs=http;metrics={place};drain=60");
        Vars { remote: pair(public), local: pair(echo.addr), options }.put(&mut command);
        let server = Child::spawn("a server without /proc", command);
        server.wait_text("metrics are at ");
        let client = client(Ours, public, "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"open");
        server.signal(Signal::TERM);
        server.wait_text("metrics are no longer at ");
        assert!(eventually(STEP, || asked(&place, "/healthz").is_none()), "{}", server.show_log());
        assert_echo(&tunnel, b"goes on");
        drop(tunnel);
        assert_eq!(server.wait_exit(STEP), Exit::Code(0), "{}", server.show_log());
    });
}

#[test]
fn an_address_that_is_in_use_is_had_when_it_is_free() {
    within(secs(90), || {
        let dir = TempDir::new("in-use");
        let path = dir.path().join("socket").display().to_string();
        let echo = Backend::echo();
        for place in [nobody_there().to_string(), path] {
            let [of_first, of_second] = [nobody_there(), nobody_there()];
            let start = |name: &str, public| half(name, "server", public, echo.addr, &place, "");
            let first = start("the first one", of_first);
            first.wait_text("metrics are at ");
            let second = start("the second one", of_second);
            second.wait_listening(of_second.port());
            second.wait_text("option `metrics`");
            let client = client(Ours, of_second, "obfs=http");
            assert_echo(&connect(client.addr), b"served");
            // It is the first one's, who serves, too.
            assert_eq!(status(&place, "/readyz"), "200");
            assert!(!second.show_log().contains("metrics are at "), "{}", second.show_log());
            first.signal(Signal::TERM);
            assert_eq!(first.wait_exit(STEP), Exit::Code(0));
            second.wait_text("metrics are at ");
            assert_eq!((status(&place, "/readyz").as_str(), warnings(&second)), ("200", 1));
            // It has it, and its settings are read anew as ever.
            second.signal(Signal::HUP);
            second.wait_text("reloaded: ");
            second.signal(Signal::TERM);
            assert_eq!(second.wait_exit(STEP), Exit::Code(0), "{}", second.show_log());
            assert!(!Path::new(&place).exists());
        }
    });
}

/// Nothing that only another configuration, or another machine, would cure is waited for.
#[test]
fn an_address_that_cannot_be_had_ends_it_as_ever() {
    within(secs(60), || {
        let dir = TempDir::new("no-address");
        let nowhere = dir.path().join("no folder/socket").display().to_string();
        for (place, more) in [("192.0.2.1:9180", ";metrics-public"), (&nowhere, "")] {
            let child = half(place, "server", nobody_there(), nobody_there(), place, more);
            assert_eq!(child.wait_exit(STEP), Exit::Code(1), "{}", child.show_log());
            child.wait_text("option `metrics`: cannot listen on ");
        }
    });
}

/// What only root may have is had before the half goes on as its user: its folder is root's.
#[test]
fn who_gives_up_root_waits_for_it_before() {
    within(secs(60), || {
        if !rustix::process::geteuid().is_root() {
            return peers::skip("root");
        }
        let dir = TempDir::new("roots");
        let place = dir.path().join("socket").display().to_string();
        let (public, echo) = (nobody_there(), Backend::echo());
        let start = |name: &str| half(name, "server", public, echo.addr, &place, ";drain=60;a=nobody");
        let old = start("the old one");
        old.wait_listening(public.port());
        let client = client(Ours, public, "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"open");
        old.signal(Signal::TERM);
        old.wait_text("draining: ");
        assert!(eventually(STEP, || !proc::port_listens(public.port())), "{}", old.show_log());
        let new = start("the new one");
        new.wait_text("metrics are at ");
        assert_echo(&connect(client.addr), b"served");
        assert_eq!((status(&place, "/readyz").as_str(), warnings(&new)), ("200", 1));
        assert_echo(&tunnel, b"goes on");
        drop(tunnel);
        assert_eq!(old.wait_exit(STEP), Exit::Code(0), "{}", old.show_log());
        assert_eq!(status(&place, "/readyz"), "200");
    });
}

/// A low port that is in use at the start is root's, and later it is not root who tries.
#[test]
fn what_only_root_may_is_told_and_tunnels_are_served() {
    within(secs(60), || {
        if !rustix::process::geteuid().is_root() {
            return peers::skip("root");
        }
        let low = (600..1024).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let held = low.map(std::net::TcpListener::bind).find_map(Result::ok).expect("a low port");
        let place = held.local_addr().expect("its address").to_string();
        let (public, echo) = (nobody_there(), Backend::echo());
        let server = half("a server", "server", public, echo.addr, &place, ";a=nobody");
        server.wait_listening(public.port());
        let client = client(Ours, public, "obfs=http");
        server.wait_text("in use");
        assert_echo(&connect(client.addr), b"served");
        drop(held);
        let told = server.wait_text("ermission denied");
        assert!(told.contains("option `metrics`") && told.contains("restart"), "{told}");
        assert_echo(&connect(client.addr), b"still served");
        assert_eq!(server.peek_exit(), None);
    });
}
