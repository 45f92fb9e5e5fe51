//! One system call after the other fails, in each of the ways in which it may, while the process runs: it lives, what is
//! open goes on, it says what is wrong, it does not spin, and all is well again once the call does what it is asked to.

use crate::rest::cpu;
use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, fin, recv_to_end, send};
use crate::support::gate::{Asked, Gate, gated};
use crate::support::peers::need;
use crate::support::plugin::{Plugin, Vars, bare, our_path};
use crate::support::ports::free_port;
use crate::support::scrape::get;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, eventually, millis, noise, secs, within};
use Fate::{Ends, GoesOn, Waits};
use std::net::{SocketAddr, TcpStream};

const CALLS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_setsockopt,
    libc::SYS_epoll_ctl,
    libc::SYS_pipe2,
    libc::SYS_fcntl,
    libc::SYS_splice,
    libc::SYS_clone3,
    libc::SYS_clone,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_read,
];

const KINDS: [&str; 5] = [
    "obfs=http;obfs-host=www.bing.com",
    "obfs=tls;obfs-host=www.bing.com",
    "mode=websocket;path=/stream;mux=0",
    "mode=websocket;path=/stream;mux=8",
    "mode=websocket;path=/stream;mux=0;@",
];

/// What becomes of who comes while a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is served.
    GoesOn,
    /// It waits with the system, and is served when the call works again.
    Waits,
    /// It ends, and that is told.
    Ends,
}

/// What the two halves have in common: accepting, dialling, and carrying bulk.
const OF_BOTH: &[(libc::c_long, i32, Fate)] = &[
    (libc::SYS_splice, libc::ENOMEM, GoesOn),
    (libc::SYS_splice, libc::EINVAL, GoesOn),
    (libc::SYS_accept4, libc::EMFILE, Waits),
    (libc::SYS_accept4, libc::ENOBUFS, Waits),
    (libc::SYS_accept4, libc::ENOMEM, Waits),
    (libc::SYS_accept4, libc::EPERM, Waits),
    (libc::SYS_accept4, libc::ECONNABORTED, Waits),
    (libc::SYS_socket, libc::ENFILE, Ends),
    (libc::SYS_socket, libc::ENOBUFS, Ends),
    (libc::SYS_socket, libc::ENOMEM, Ends),
    (libc::SYS_connect, libc::EADDRNOTAVAIL, Ends),
    (libc::SYS_connect, libc::ENETUNREACH, Ends),
    (libc::SYS_connect, libc::EAGAIN, Ends),
    (libc::SYS_connect, libc::EPERM, Ends),
    (libc::SYS_epoll_ctl, libc::ENOSPC, Ends),
    (libc::SYS_epoll_ctl, libc::ENOMEM, Ends),
    (libc::SYS_setsockopt, libc::ENOPROTOOPT, GoesOn),
    (libc::SYS_setsockopt, libc::ENOBUFS, GoesOn),
];

/// A half behind a gate.
struct Half {
    plugin: Plugin,
    gate: Gate,
}

fn half(name: &str, remote: (String, u16), local: (String, u16), options: String, port: u16) -> Half {
    let mut command = bare(our_path());
    Vars { remote, local, options }.put(&mut command);
    let (child, gate) = gated(name, command, CALLS);
    child.wait_listening(port);
    Half { plugin: Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }, gate }
}

fn local(port: u16) -> (String, u16) {
    ("127.0.0.1".to_owned(), port)
}

/// A server for every kind of client, such clients, and an open tunnel of each.
struct Halves {
    server: Half,
    clients: Vec<Half>,
    open: Vec<TcpStream>,
    metrics: SocketAddr,
    site: TempDir,
    _echo: Backend,
    _certificate: Certificate,
}

const PAGE: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

impl Halves {
    #[track_caller]
    fn start() -> Halves {
        let (echo, certificate, site) = (Backend::echo(), Certificate::new(NAME), TempDir::new("refused"));
        site.write("index.html", "a page\n");
        site.write("big.bin", noise(4 << 20, 3));
        let (at_server, at_metrics) = (free_port(), free_port());
        let options = format!(
            "server;path=/stream;obfs-uri=/http;obfs-tls-host=www.bing.com;{};failover=dir:{};metrics=127.0.0.1:{at_metrics}",
            certificate.for_server(),
            site.path().display(),
        );
        let server = half("a server", local(at_server), local(echo.addr.port()), options, at_server);
        let client = |kind: &&str| {
            let port = free_port();
            let options = kind
                .replace('@', &certificate.for_client())
                .replace("obfs=http;", "obfs=http;obfs-uri=/http;");
            half(kind, local(at_server), local(port), options, port)
        };
        let clients: Vec<_> = KINDS.iter().map(client).collect();
        let open = clients.iter().map(|client| connect(client.plugin.addr)).collect();
        let metrics = SocketAddr::from(([127, 0, 0, 1], at_metrics));
        let halves = Halves { server, clients, open, metrics, site, _echo: echo, _certificate: certificate };
        halves.open_tunnels_go_on(100);
        halves
    }

    #[track_caller]
    fn open_tunnels_go_on(&self, bytes: usize) {
        std::thread::scope(|scope| {
            for (tunnel, seed) in self.open.iter().zip(0..) {
                scope.spawn(move || assert_echo(tunnel, &noise(bytes, seed)));
            }
        });
    }

    /// There are no pipes for bulk, and then none that may be large. To be called first: threads keep the ones they had.
    #[track_caller]
    fn fail_pipes(&self, halves: &[&Half]) {
        for error in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            let refused: Vec<_> = halves.iter().map(|half| half.gate.refused()).collect();
            halves.iter().for_each(|half| half.gate.refuse(libc::SYS_pipe2, error));
            self.open_tunnels_go_on(1 << 20);
            assert!(
                halves.iter().zip(&refused).any(|(half, before)| half.gate.refused() > *before),
                "no pipe"
            );
        }
        for half in halves {
            half.gate.open();
            let is_size = |asked: &Asked| asked.argument(1) == libc::F_SETPIPE_SZ as u64;
            half.gate.refuse_where(libc::SYS_fcntl, libc::EPERM, is_size);
        }
        let refused: usize = halves.iter().map(|half| half.gate.refused()).sum();
        self.open_tunnels_go_on(1 << 20);
        assert!(
            halves.iter().map(|half| half.gate.refused()).sum::<usize>() > refused,
            "no size was asked for"
        );
        halves.iter().for_each(|half| half.gate.open());
    }

    /// Those that come at these halves while a call fails, and when it no longer does.
    #[track_caller]
    fn fail(&self, halves: &[&Half], call: libc::c_long, error: i32, fate: Fate) {
        let what = format!("call {call}: {}", std::io::Error::from_raw_os_error(error));
        let refused: Vec<_> = halves.iter().map(|half| half.gate.refused()).collect();
        let lines: Vec<_> = halves.iter().map(|half| half.plugin.child.lines().len()).collect();
        halves.iter().for_each(|half| half.gate.refuse(call, error));
        let come: Vec<_> = self.clients.iter().map(|client| connect(client.plugin.addr)).collect();
        come.iter().for_each(|app| send(app, b"hello"));
        for ((app, kind), client) in come.iter().zip(KINDS).zip(&self.clients) {
            match fate {
                // A session may have found room in a connection that is there.
                Ends if kind.contains("mux=8") => {}
                Ends => {
                    let (got, end) = recv_to_end(app, STEP);
                    assert!(got.is_empty() && end != End::Open, "{what}: {kind}: {got:?}, {end:?}");
                }
                GoesOn => assert_same(&what, &crate::support::conn::recv(app, 5), b"hello"),
                Waits => {}
            }
            assert_eq!(client.plugin.child.peek_exit(), None, "{what}: {}", client.plugin.child.show_log());
        }
        self.open_tunnels_go_on(1 << 20);
        let hit = || halves.iter().zip(&refused).any(|(half, before)| half.gate.refused() > *before);
        assert!(eventually(STEP, hit), "{what}: nobody asked for it");
        let spent = || {
            let used = || halves.iter().map(|half| cpu(&half.plugin.child));
            let before: Vec<_> = used().collect();
            // The silence is what is measured.
            std::thread::sleep(millis(200));
            used().zip(before).map(|(now, before)| now - before).fold(0.0, f64::max)
        };
        assert!(eventually(secs(5), || spent() < 0.03), "{what}: it spins");
        for (half, before) in halves.iter().zip(lines) {
            let child = &half.plugin.child;
            let said = &child.lines()[before..];
            assert!(said.len() <= 12, "{what}: a flood: {said:#?}");
            assert_eq!(child.peek_exit(), None, "{what}: {}", child.show_log());
        }
        halves.iter().for_each(|half| half.gate.open());
        for (app, kind) in come.iter().zip(KINDS).filter(|_| fate == Waits) {
            fin(app);
            let (got, end) = recv_to_end(app, STEP);
            assert_eq!((got.as_slice(), end), (&b"hello"[..], End::Fin), "{what}: {kind}");
        }
        for (client, kind) in self.clients.iter().zip(KINDS) {
            let served = || {
                let app = connect(client.plugin.addr);
                send(&app, b"again");
                fin(&app);
                recv_to_end(&app, STEP).0 == b"again"
            };
            assert!(eventually(STEP, served), "{what}: {kind}: {}", client.plugin.child.show_log());
        }
        self.open_tunnels_go_on(100);
    }

    /// Whether a half has told of an error.
    #[track_caller]
    fn assert_told(halves: &[&Half], error: i32) {
        let text = format!("(os error {error})");
        for half in halves {
            half.plugin.child.wait_text(&text);
        }
    }
}

#[test]
fn whatever_is_refused_to_a_server_its_tunnels_go_on() {
    within(secs(180), || {
        need!("openssl");
        let halves = Halves::start();
        halves.fail_pipes(&[&halves.server]);
        for &(call, error, fate) in OF_BOTH {
            halves.fail(&[&halves.server], call, error, fate);
        }
        for error in [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL] {
            Halves::assert_told(&[&halves.server], error);
        }
    });
}

#[test]
fn whatever_is_refused_to_a_client_its_tunnels_go_on() {
    within(secs(180), || {
        need!("openssl");
        let halves = Halves::start();
        let clients: Vec<&Half> = halves.clients.iter().collect();
        halves.fail_pipes(&clients);
        for &(call, error, fate) in OF_BOTH {
            halves.fail(&clients, call, error, fate);
        }
        for error in [libc::EMFILE, libc::EADDRNOTAVAIL] {
            Halves::assert_told(&clients[..1], error);
        }
    });
}

/// The website of our own, when its files cannot be read, and no thread can be had that reads them; and the
/// metrics beside it.
#[test]
fn whatever_is_refused_to_a_website_of_our_own_visitors_are_answered() {
    within(secs(120), || {
        need!("openssl");
        let halves = Halves::start();
        let Halves { server, metrics, .. } = &halves;
        let visit = |request: &[u8]| {
            let visitor = connect(server.plugin.addr);
            send(&visitor, request);
            let (answer, end) = recv_to_end(&visitor, STEP);
            (String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned(), answer, end)
        };
        // The first visitor of all: there are no threads yet.
        for call in [libc::SYS_clone3, libc::SYS_clone] {
            server.gate.refuse(call, libc::EAGAIN);
        }
        let before = server.gate.refused();
        assert_eq!(visit(PAGE).0, "HTTP/1.1 200");
        assert!(server.gate.refused() > before, "no thread was asked for");
        halves.open_tunnels_go_on(1 << 20);
        server.gate.open();

        let folder = halves.site.path().to_string_lossy().into_owned();
        for (error, status) in [
            (libc::EMFILE, "500"),
            (libc::ENFILE, "500"),
            (libc::ENOMEM, "500"),
            (libc::EIO, "500"),
            (libc::ESTALE, "500"),
            (libc::EACCES, "403"),
            (libc::ENOENT, "404"),
        ] {
            for call in [libc::SYS_openat, libc::SYS_openat2] {
                server.gate.refuse(call, error);
            }
            let (answer, all, _) = visit(PAGE);
            assert_eq!(answer, format!("HTTP/1.1 {status}"), "{error}: {}", String::from_utf8_lossy(&all));
            halves.open_tunnels_go_on(100);
            server.gate.open();
            assert_eq!(visit(PAGE).0, "HTTP/1.1 200");
        }
        // A disk that goes away within a download: what was promised cannot be kept, and the connection ends.
        let pid = server.plugin.child.pid();
        server.gate.refuse_where(libc::SYS_read, libc::EIO, move |asked| {
            let file = std::fs::read_link(format!("/proc/{pid}/fd/{}", asked.argument(0)));
            file.is_ok_and(|file| file.starts_with(&folder))
        });
        let (answer, all, end) = visit(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(all.len() < 4 << 20 && end != End::Open, "{answer}, {} bytes, {end:?}", all.len());
        assert_eq!(server.plugin.child.peek_exit(), None, "{}", server.plugin.child.show_log());
        assert_eq!(get(*metrics, "/metrics").status, "200");
        server.gate.open();
        assert_same(
            "a file",
            &visit(b"GET /big.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").1[..12],
            b"HTTP/1.1 200",
        );
        halves.open_tunnels_go_on(100);
    });
}
