//! What a service manager is told, and what it hands over; and that a plugin does not speak for its host.

use crate::reload::settings;
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Vars, bare, our_path};
use crate::support::ports::free_port;
use crate::support::scrape::get;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, millis, secs, within};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A server half without a host.
fn plain(dir: &TempDir, port: u16, backend: SocketAddr, more: &str) -> Command {
    let file = dir.write("config.json", settings(&format!(r#""obfs": "http", {more}"#), port, backend));
    let mut command = bare(our_path());
    command.arg("server").arg("-c").arg(file);
    command
}

/// The next message.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = manager.recv(&mut message).expect("a message in time");
    String::from_utf8_lossy(&message[..length]).into_owned()
}

/// The next message that is no sign of life.
fn news(manager: &UnixDatagram) -> String {
    loop {
        let message = told(manager);
        if !message.contains("WATCHDOG=1") {
            return message;
        }
    }
}

fn manager(dir: &TempDir) -> UnixDatagram {
    let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(STEP)).expect("a limit");
    socket
}

#[test]
fn a_service_manager_is_told_of_its_life() {
    within(secs(60), || {
        let (dir, echo, port) = (TempDir::new("notify"), Backend::echo(), free_port());
        let manager = manager(&dir);
        let mut command = plain(&dir, port, echo.addr, r#""drain": 60,"#);
        command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "400000");
        let server = Child::spawn("a service", command);
        let ready = news(&manager);
        assert!(
            ready.contains("READY=1\n") && ready.contains(&format!("STATUS=listening on [127.0.0.1:{port}]")),
            "{ready}"
        );
        // Signs of life, twice as often as is asked for: five in a row take less than ten times.
        let began = std::time::Instant::now();
        let mut signs = 0;
        while signs < 5 {
            signs += usize::from(told(&manager).contains("WATCHDOG=1"));
        }
        assert!(began.elapsed() < secs(5));
        server.signal(Signal::HUP);
        let reloading = news(&manager);
        let number = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
        assert!(reloading.contains("RELOADING=1\n") && number.parse::<u64>().is_ok(), "{reloading}");
        assert!(news(&manager).contains("READY=1"));
        let tunnel = connect(SocketAddr::from(([127, 0, 0, 1], port)));
        send(&tunnel, REQUEST);
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        server.signal(Signal::TERM);
        let stopping = news(&manager);
        assert!(
            stopping.contains("STOPPING=1\n") && stopping.contains("STATUS=draining: 1 connection open"),
            "{stopping}"
        );
        assert!(told(&manager).contains("WATCHDOG=1"), "it is alive while it drains");
        drop(tunnel);
        assert_eq!(server.wait_exit(secs(10)), Exit::Code(0));
    });
}

/// The variables are those of its host: nothing is told, and nothing taken.
#[test]
fn a_plugin_does_not_speak_for_its_host() {
    within(secs(60), || {
        let (dir, echo, port) = (TempDir::new("hosted"), Backend::echo(), free_port());
        let manager = manager(&dir);
        let mut command = bare(our_path());
        let address = |port| ("127.0.0.1".to_owned(), port);
        Vars { remote: address(port), local: address(echo.addr.port()), options: "server;obfs=http".into() }
            .put(&mut command);
        command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "200000");
        // (Open until the plugin has been started.)
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        hand_over(&mut command, &listener);
        let server = Child::spawn("a plugin", command);
        server.wait_listening(port);
        // Signals are listened for before connections are served.
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], port)));
        send(&stream, REQUEST);
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
        server.signal(Signal::HUP);
        server.wait_text("reloaded: ");
        assert_eq!(server.exit_within(millis(500)), None);
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(secs(10)), Exit::Code(0));
        manager.set_nonblocking(true).expect("no waiting");
        assert!(manager.recv(&mut [0; 64]).is_err(), "it has spoken");
    });
}

/// Hands a socket over as descriptor 3.
fn hand_over(command: &mut Command, socket: &TcpListener) {
    let descriptor = socket.as_raw_fd();
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    // SAFETY: between fork and exec: calls of the system alone, and a buffer on the stack.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(descriptor, 3) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            if descriptor == 3 {
                libc::fcntl(3, libc::F_SETFD, 0);
            }
            Ok(())
        });
    }
}

/// Through a shell, which knows its process's number, and leaves it to the program.
fn activated(command: &Command, socket: &TcpListener) -> Command {
    let mut shell = bare("/bin/sh".into());
    shell
        .arg("-c")
        .arg("LISTEN_PID=$$ exec \"$@\"")
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    hand_over(&mut shell, socket);
    shell
}

#[test]
fn a_socket_that_is_handed_over_is_taken_or_refused() {
    within(secs(60), || {
        let (dir, echo) = (TempDir::new("handed"), Backend::echo());
        let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = socket.local_addr().expect("an address");
        let server = Child::spawn("a service", activated(&plain(&dir, addr.port(), echo.addr, ""), &socket));
        server.wait_text("the socket web of the service manager");
        let stream = connect(addr);
        send(&stream, REQUEST);
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "), "{}", server.show_log());
        assert_echo(&stream, b"taken");
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(secs(10)), Exit::Code(0));
        // It is none of the addresses.
        let wrong = Child::spawn("a service", activated(&plain(&dir, free_port(), echo.addr, ""), &socket));
        assert_eq!(wrong.wait_exit(secs(10)), Exit::Code(23));
        let log = wrong.show_log();
        assert!(log.contains("the socket web") && log.contains(&addr.to_string()), "{log}");
    });
}

/// The service manager listens all along, and starts the next process when this one has ended: until then its metrics
/// are there.
#[test]
fn metrics_stay_while_a_service_drains_whose_socket_stays_open() {
    within(secs(60), || {
        let (dir, echo) = (TempDir::new("watched"), Backend::echo());
        let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = socket.local_addr().expect("an address");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let more = format!(r#""drain": 60, "metrics": "{metrics}","#);
        let server =
            Child::spawn("a service", activated(&plain(&dir, addr.port(), echo.addr, &more), &socket));
        server.wait_text("listening on [127");
        let tunnel = connect(addr);
        send(&tunnel, REQUEST);
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        server.signal(Signal::TERM);
        server.wait_text("draining: 1 connection open");
        let is_gone = || server.show_log().contains("metrics are no longer at ");
        assert!(!eventually(secs(2), is_gone), "{}", server.show_log());
        assert_eq!(get(metrics, "/readyz").status, "503");
        drop(tunnel);
        assert_eq!(server.wait_exit(secs(10)), Exit::Code(0));
    });
}

/// One process drains while the next has begun: under load, nobody is refused, and no tunnel is cut.
#[test]
fn a_restart_with_a_socket_that_stays_open_refuses_nobody() {
    within(secs(90), || {
        let (dir, echo) = (TempDir::new("restart"), Backend::echo());
        let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = socket.local_addr().expect("an address");
        let start = || {
            let command = plain(&dir, addr.port(), echo.addr, r#""drain": 60,"#);
            let child = Child::spawn("a service", activated(&command, &socket));
            child.wait_text("listening on [127");
            child
        };
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut now = start();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let stream = TcpStream::connect(addr).expect("nobody is refused");
                        crate::support::conn::prepare(&stream);
                        send(&stream, REQUEST);
                        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
                        assert_echo(&stream, b"a whole tunnel");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..3 {
                let before = done.load(Ordering::Relaxed);
                assert!(eventually(STEP, || done.load(Ordering::Relaxed) > before + 50));
                now.signal(Signal::TERM);
                assert_eq!(now.wait_exit(secs(20)), Exit::Code(0), "{}", now.show_log());
                now = start();
            }
            let before = done.load(Ordering::Relaxed);
            assert!(eventually(STEP, || done.load(Ordering::Relaxed) > before + 50));
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn systemds_own_program_hands_a_socket_over() {
    within(secs(60), || {
        need!("systemd-socket-activate");
        let (dir, echo, port) = (TempDir::new("activate"), Backend::echo(), free_port());
        let command = plain(&dir, port, echo.addr, "");
        let mut systemd = bare(peers::path("systemd-socket-activate"));
        systemd
            .arg("-l")
            .arg(format!("127.0.0.1:{port}"))
            .arg(command.get_program())
            .args(command.get_args());
        let server = Child::spawn("systemd-socket-activate", systemd);
        server.wait_listening(port);
        // The first connection starts it.
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], port)));
        send(&stream, REQUEST);
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "), "{}", server.show_log());
        assert_echo(&stream, b"activated");
        assert!(server.show_log().contains("of the service manager"), "{}", server.show_log());
    });
}

/// A queue that nobody reads holds no tunnel up; once it is read, the service is known to be ready.
#[test]
fn a_service_manager_that_reads_nothing_is_not_waited_for() {
    within(secs(60), || {
        let (dir, echo, port) = (TempDir::new("notify"), Backend::echo(), free_port());
        let manager = manager(&dir);
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("no waiting");
        while filler.send_to(b"X", dir.path().join("notify")).is_ok() {}
        let mut command = plain(&dir, port, echo.addr, r#""drain": 60,"#);
        command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "100000");
        let server = Child::spawn("a service", command);
        server.wait_listening(port);
        let ask = || {
            let client = connect(SocketAddr::from(([127, 0, 0, 1], port)));
            send(&client, REQUEST);
            assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
        };
        ask();
        server.signal(Signal::HUP);
        server.wait_text("reloaded: ");
        ask();
        while !news(&manager).contains("READY=1") {}
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(secs(5)), Exit::Code(0), "{}", server.show_log());
    });
}
