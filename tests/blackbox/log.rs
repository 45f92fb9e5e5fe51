//! The log: what strangers can cause is bounded, a line is one line and one write, and nobody waits for
//! whoever reads it.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, fin, recv_head, recv_to_end, reset, send};
use crate::support::plugin::{Ours, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::{eventually, proc, secs, within};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn vars(port: u16, backend: SocketAddr, options: &str) -> Vars {
    let here = "127.0.0.1".to_owned();
    Vars { remote: (here.clone(), port), local: (here, backend.port()), options: format!("server;{options}") }
}

/// A visitor that is seen through to its end.
fn visit(addr: SocketAddr) {
    let visitor = connect(addr);
    send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = (&visitor).read(&mut [0; 16]);
}

/// Visitors of a website that is away: each is worth a warning, and all together a few.
#[test]
fn what_strangers_can_cause_is_limited_and_counted() {
    within(secs(60), || {
        let echo = Backend::echo();
        let options = format!("obfs=http;obfs-uri=/s;failover=127.0.0.1:{}", free_port());
        let limited = server(Ours, echo.addr, &options);
        let all = server(Ours, echo.addr, &format!("{options};v"));
        let told = |child: &Child| {
            let lines = child.lines();
            lines.iter().filter(|line| line.contains("the website cannot be reached peer=")).count()
        };
        for half in [&limited, &all] {
            for _ in 0..100 {
                visit(half.addr);
            }
        }
        assert!(eventually(secs(5), || told(&all.child) == 100), "{}", all.child.show_log());
        limited.child.signal(Signal::TERM);
        assert_eq!(limited.child.wait_exit(secs(5)), Exit::Code(0));
        assert_eq!(told(&limited.child), 10, "{}", limited.child.show_log());
        limited.child.wait_text("WARN 90 more lines like `the website cannot be reached` were left out");
    });
}

/// Each read of such a pipe is one write.
fn pipe_of_packets() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).expect("a pipe of packets");
    (File::from(reader), writer)
}

fn writes(mut reader: File) -> Vec<String> {
    let mut all = Vec::new();
    let mut packet = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut packet) {
        all.push(String::from_utf8_lossy(&packet[..read]).into_owned());
    }
    all
}

/// Hosts write to the same stderr: what comes in pieces is torn apart by their lines.
#[test]
fn each_line_is_one_write() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (options, code) in
            [("obfs=none", 23), ("obfs=http;failover=a\nb", 23), ("mode=websocket;tls;cert=/a;key=/b", 23)]
        {
            let (reader, writer) = pipe_of_packets();
            let mut command = ours();
            vars(free_port(), echo.addr, options).put(&mut command);
            command.stderr(writer);
            let child = Child::spawn_as_is("a server that cannot start", command);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(code));
            let writes = writes(reader);
            assert_eq!(writes.len(), 1, "{options}: {writes:?}");
            assert!(writes[0].starts_with("obfs-rs: ") && writes[0].ends_with('\n'), "{writes:?}");
            assert_eq!(writes[0].matches('\n').count(), 1, "{writes:?}");
        }
        let port = free_port();
        let (reader, writer) = UnixDatagram::pair().expect("a pair of sockets");
        let mut command = ours();
        vars(port, echo.addr, "obfs=http;v;zzz=1").put(&mut command);
        command.stderr(OwnedFd::from(writer));
        let child = Child::spawn_as_is("a server that says much", command);
        child.wait_listening(port);
        visit(SocketAddr::from(([127, 0, 0, 1], port)));
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(secs(5)), Exit::Code(0));
        reader.set_nonblocking(true).expect("a socket");
        let mut packet = vec![0; 64 * 1024];
        let writes: Vec<_> = std::iter::from_fn(|| {
            let length = reader.recv(&mut packet).ok()?;
            Some(String::from_utf8_lossy(&packet[..length]).into_owned())
        })
        .collect();
        assert!(writes.len() >= 4, "{writes:?}");
        assert!(writes.iter().all(|w| w.ends_with('\n') && w.matches('\n').count() == 1), "{writes:?}");
    });
}

/// What a stranger sends stands in some lines. It forges none, and no terminal obeys it.
#[test]
fn what_comes_from_the_network_breaks_no_line() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=auto;v;trusted=127.0.0.1;proxy-protocol=in");
        let nasty = b"nonsense\nINFO forged\r\x1b[2J\x07\xc2\x85\xe2\x80\xa8\r\n\r\n";
        let visitor = connect(server.addr);
        send(&visitor, nasty);
        let _ = (&visitor).read(&mut [0; 16]);
        server.child.wait_text("nonsense");
        for line in server.child.lines() {
            assert!(!line.starts_with("INFO forged") && !line.contains(char::is_control), "{line:?}");
            assert!(!line.contains('\u{2028}'), "{line:?}");
        }
    });
}

/// A stderr that nobody reads: a pipe, a socket, each full from the beginning or filled by ourselves.
#[test]
fn nobody_waits_for_the_reader_of_the_log() {
    within(secs(60), || {
        let echo = Backend::echo();
        let pipe = || {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
            (reader, writer)
        };
        let socket = || {
            let (reader, writer) = UnixStream::pair().expect("a pair of sockets");
            (OwnedFd::from(reader), OwnedFd::from(writer))
        };
        for (kind, (reader, writer)) in [("pipe", pipe()), ("socket", socket())] {
            let port = free_port();
            let mut command = ours();
            vars(port, echo.addr, "obfs=http;v").put(&mut command);
            let ours_too = writer.try_clone().expect("a descriptor");
            command.stderr(writer);
            let child = Child::spawn_as_is(kind, command);
            child.wait_listening(port);
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            // 64 KiB of a pipe and 208 KiB of a socket are some hundred lines, or thousands.
            for _ in 0..1500 {
                visit(addr);
            }
            let tunnel = connect(addr);
            send(&tunnel, REQUEST);
            assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "), "{kind}");
            assert_echo(&tunnel, b"works on");
            // The host's own writes still wait as they did.
            let flags = rustix::fs::fcntl_getfl(&ours_too).expect("flags");
            assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{kind}: {flags:?}");
            child.signal(Signal::TERM);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(0), "{kind}");
            assert!(!proc::port_listens(port));
            drop(reader);
        }
    });
}

/// A reader that goes on learns how much it missed.
#[test]
fn lines_that_nobody_took_are_counted() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut command = ours();
        vars(port, echo.addr, "obfs=http;v").put(&mut command);
        command.stderr(writer);
        let child = Child::spawn_as_is("a server with a slow reader", command);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        for _ in 0..1500 {
            visit(addr);
        }
        // Now it goes on.
        let mut reader = File::from(reader);
        let mut bytes = vec![0; 64 * 1024];
        let read = reader.read(&mut bytes).expect("the log");
        bytes.truncate(read);
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(secs(5)), Exit::Code(0));
        reader.read_to_end(&mut bytes).expect("the log");
        let text = String::from_utf8_lossy(&bytes);
        let told = text.lines().filter(|line| line.contains(" lines of the log were lost")).count();
        assert!(told >= 1 && text.ends_with('\n'), "{text}");
    });
}

/// A client's options for every way in which a tunnel begins. `@` is TLS.
const BEGINNINGS: &[&str] = &[
    "obfs=http",
    "obfs=http;handshake=standard",
    "obfs=tls",
    "mode=websocket;mux=0",
    "mode=websocket;mux=1",
    "mode=httpupgrade",
    "mode=httpupgrade;handshake=eager",
    "obfs=http;fast-open",
    "obfs=tls;fast-open",
    "mode=websocket;mux=0;tls;host=live.example.com",
];

/// As a censor resets a connection in the server's name, or a server resets that has nobody behind it.
#[test]
fn a_reset_before_the_answer_is_told_in_every_mode() {
    within(secs(60), || {
        let resetting = Backend::serve(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            reset(stream);
        });
        for options in BEGINNINGS {
            let client = client(Ours, resetting.addr, options);
            for _ in 0..3 {
                let app = connect(client.addr);
                send(&app, b"anybody there?");
                let _ = recv_to_end(&app, secs(5));
            }
            let warnings = || client.child.lines().iter().filter(|line| line.contains(" WARN ")).count();
            assert!(eventually(secs(5), || warnings() == 3), "{options}: {}", client.child.show_log());
        }
    });
}

/// As where packets are dropped on the way. The limit is the program's own.
#[test]
fn a_server_that_says_nothing_is_told_in_every_mode() {
    within(secs(60), || {
        let (silent, kept) = Backend::manual();
        let clients: Vec<_> = BEGINNINGS.iter().map(|options| client(Ours, silent.addr, options)).collect();
        let apps: Vec<_> = clients
            .iter()
            .map(|client| {
                let app = connect(client.addr);
                send(&app, b"anybody there?");
                app
            })
            .collect();
        for (client, options) in clients.iter().zip(BEGINNINGS) {
            let told = || {
                let lines = client.child.lines();
                lines.iter().filter(|l| l.contains(" WARN ") && l.contains("10 s")).count()
            };
            assert!(eventually(secs(20), || told() == 1), "{options}: {}", client.child.show_log());
        }
        drop((apps, kept));
    });
}

/// An answer that comes is no silence, and a tunnel of which nothing came is no reset, if its own end came
/// first.
#[test]
fn a_tunnel_that_works_is_worth_no_warning() {
    within(secs(60), || {
        let echo = Backend::echo();
        for options in BEGINNINGS.iter().filter(|options| !options.contains("tls;host")) {
            let server_options = if options.starts_with("obfs=http") { "obfs=http" } else { "mode=auto" };
            let server = server(Ours, echo.addr, server_options);
            let client = client(Ours, server.addr, options);
            assert_echo(&connect(client.addr), b"works");
            let app = connect(client.addr);
            send(&app, b"x");
            drop(app);
            let quiet = connect(client.addr);
            fin(&quiet);
            let _ = recv_to_end(&quiet, secs(5));
            client.child.signal(Signal::TERM);
            client.child.wait_exit(secs(5));
            let warned = client.child.lines().iter().any(|line| line.contains(" WARN "));
            assert!(!warned, "{options}: {}", client.child.show_log());
        }
    });
}
