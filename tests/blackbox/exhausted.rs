//! What is left of it when one thing after the other has run out: descriptors where connections are accepted and where
//! they are dialled, and for pipes. (Threads, look-ups of names: `shortage`; disks: `access_log` and `log_faults`; memory for
//! buffers: `limits`.)

use crate::rest::{assert_at_rest, descriptors};
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{End, assert_echo, connect, fin, recv_head, recv_to_end, send};
use crate::support::plugin::{Ours, Plugin, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::scrape::{get, watched_server};
use crate::support::tempdir::TempDir;
use crate::support::websocket::{Ws, mux};
use crate::support::{STEP, assert_same, eventually, millis, noise, seccomp, secs, within};
use rustix::process::{Resource, Rlimit, prlimit};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;

const MB: usize = 1024 * 1024;

/// How many descriptors the half under test may have, and how many it takes for granted: of so many it would keep
/// enough for all that it accepts.
const LIMIT: usize = 60;
const GRANTED: usize = 300;

/// Connections that say nothing, until so many descriptors are left.
#[track_caller]
fn leave(half: &Plugin, left: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    while descriptors(&half.child) < LIMIT - left {
        let before = descriptors(&half.child);
        silent.push(connect(half.addr));
        let accepted = eventually(STEP, || descriptors(&half.child) > before);
        assert!(accepted, "{}", half.child.show_log());
    }
    silent
}

/// From now on the half may have no more descriptors than so many.
fn allow(half: &Plugin, descriptors: usize) {
    let pid = rustix::process::Pid::from_raw(half.child.pid());
    let limit = Some(descriptors as u64);
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).expect("a limit");
}

/// A half that may have few descriptors, at the end of which the other one is.
struct Tight {
    pair: [Plugin; 2],
    /// Which of them it is.
    tight: usize,
}

impl Tight {
    fn half(&self) -> &Plugin {
        &self.pair[self.tight]
    }

    /// There are descriptors again: those who still wait with the system are served and end, and then new ones are.
    #[track_caller]
    fn recovers(&self) {
        let served = || {
            let app = connect(self.client());
            send(&app, b"a new one");
            fin(&app);
            recv_to_end(&app, STEP).0 == b"a new one"
        };
        assert!(eventually(STEP, served), "{}", self.half().child.show_log());
    }

    /// Where a tunnel begins.
    fn client(&self) -> SocketAddr {
        self.pair[0].addr
    }
}

/// Either half with few descriptors, and the other one with plenty, in a disguise in which one waits for what a silent
/// connection says.
fn tight(backend: SocketAddr) -> impl Iterator<Item = Tight> {
    [0, 1].into_iter().map(move |tight| {
        let options =
            |half| if half == tight { format!("obfs=http;n={GRANTED}") } else { "obfs=http".to_owned() };
        let server = server(Ours, backend, &options(1));
        let client = client(Ours, server.addr, &options(0));
        let tight = Tight { pair: [client, server], tight };
        allow(tight.half(), LIMIT);
        tight
    })
}

#[test]
fn when_none_can_be_accepted_open_tunnels_go_on_and_nothing_spins() {
    within(secs(120), || {
        let echo = Backend::echo();
        for tight in tight(echo.addr) {
            let half = tight.half();
            let tunnel = connect(tight.client());
            assert_echo(&tunnel, b"open");
            let silent = leave(half, 0);
            // These are the system's until the half takes them.
            let waiting: Vec<TcpStream> = (0..5).map(|_| connect(half.addr)).collect();
            half.child.wait_text("os error 24");
            assert_at_rest("a half that cannot accept", &half.child);
            assert_echo(&tunnel, &noise(4 * MB, 1));
            drop((silent, waiting));
            tight.recovers();
        }
    });
}

#[test]
fn when_none_can_be_dialled_the_tunnel_ends_and_says_why() {
    within(secs(120), || {
        let echo = Backend::echo();
        for tight in tight(echo.addr) {
            let tunnel = connect(tight.client());
            assert_echo(&tunnel, b"open");
            // Each takes one descriptor when it is accepted and another when it is dialled. Those that come when there
            // is none wait with the system.
            let apps: Vec<TcpStream> = (0..LIMIT).map(|_| connect(tight.client())).collect();
            for app in &apps {
                send(app, b"hello");
            }
            let line = tight.half().child.wait_text("os error 24");
            let ended = || apps.iter().any(|app| recv_to_end(app, millis(1)).1 != End::Open);
            assert!(eventually(STEP, ended), "{line}");
            assert_echo(&tunnel, b"goes on");
            drop(apps);
            tight.recovers();
        }
    });
}

/// Some sandboxes and kernels do not let bytes pass from socket to socket: they are copied.
#[test]
fn where_the_kernel_does_not_splice_bytes_are_copied() {
    within(secs(120), || {
        let file = noise(16 * MB, 2);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            send(&stream, &sent);
            fin(&stream);
            recv_to_end(&stream, STEP);
        });
        for error in [libc::ENOSYS, libc::EINVAL, libc::EPERM] {
            let start = |remote, local, options: &str, port| {
                let mut command = bare(our_path());
                Vars { remote, local, options: options.to_owned() }.put(&mut command);
                // SAFETY: the function makes two system calls and touches nothing of the process.
                unsafe { command.pre_exec(move || seccomp::fail(libc::SYS_splice, error)) };
                let child = Child::spawn(options, command);
                child.wait_listening(port);
                child
            };
            let local = |port| ("127.0.0.1".to_owned(), port);
            let [at_server, at_client] = [free_port(), free_port()];
            let backend = local(backend.addr.port());
            let _server = start(local(at_server), backend, "server;obfs=http", at_server);
            let _client = start(local(at_server), local(at_client), "obfs=http", at_client);
            for _ in 0..2 {
                let app = connect(SocketAddr::from(([127, 0, 0, 1], at_client)));
                send(&app, b"get");
                fin(&app);
                let (got, end) = recv_to_end(&app, STEP);
                assert_same("the download", &got, &file);
                assert_eq!(end, End::Fin);
            }
        }
    });
}

/// Sessions have descriptors, too: whoever opens many leaves those that a stranger's website needs, and the metrics.
#[test]
fn sessions_leave_descriptors_for_the_website_and_the_metrics() {
    within(secs(90), || {
        const DESCRIPTORS: usize = 256;
        let backend = Backend::echo();
        let folder = TempDir::new("sessions");
        folder.write("index.html", b"the website");
        let options = format!("path=/s;obfs-uri=/s;n={DESCRIPTORS};failover=dir:{}", folder.path().display());
        let (half, metrics) = watched_server(backend.addr, &options);
        let mut first = Ws::open(half.addr, "/s");
        first.send_mux(&[mux::open(1), mux::keep(1, b"hello")].concat());
        assert_eq!(first.mux_recv(1, 5), b"hello");
        let mut connections: Vec<_> = (0..6).map(|_| Ws::open(half.addr, "/s")).collect();
        for ws in &mut connections {
            for id in 1..=50 {
                ws.send_mux(&[mux::open(id), mux::keep(id, b"hello")].concat());
            }
        }
        // Some are refused, and the peer is told.
        half.child
            .wait_line("a refusal", |line| line.contains("there are no descriptors for another connection"));
        for _ in 0..5 {
            let answer = get(half.addr, "/");
            assert_eq!((&*answer.status, &*answer.body), ("200", "the website"), "{}", half.child.show_log());
        }
        assert!(metrics.now().get("process_open_fds") < DESCRIPTORS as f64);
        first.send_mux(&mux::keep(1, b"world"));
        assert_eq!(first.mux_recv(1, 5), b"world", "those that are there go on");
        assert!(!half.child.show_log().contains("os error 24"), "{}", half.child.show_log());
        drop((first, connections));
        assert!(eventually(STEP, || descriptors(&half.child) < DESCRIPTORS / 4), "{}", half.child.show_log());
        let mut ws = Ws::open(half.addr, "/s");
        ws.send_mux(&[mux::open(1), mux::keep(1, b"again")].concat());
        assert_eq!(ws.mux_recv(1, 5), b"again");
    });
}

/// An operator sees which limit it is that strangers fill, and whoever sends clients here learns to send them elsewhere.
#[test]
fn it_is_told_that_accepting_pauses_and_goes_on() {
    within(secs(60), || {
        let backend = Backend::echo();
        let (half, metrics) = watched_server(backend.addr, "obfs=http;n=64");
        let ready = || get(metrics.0, "/readyz");
        assert_eq!(ready().status, "200");
        let silent: Vec<_> = (0..20).map(|_| connect(half.addr)).collect();
        let told = "accepting pauses: 16 connections are open, as many as 64 open files allow";
        half.child.wait_text(told);
        let answer = ready();
        assert_eq!(answer.status, "503");
        assert!(answer.body.contains(told), "{answer:?}");
        drop(silent);
        half.child.wait_text("accepting goes on");
        assert!(eventually(STEP, || ready().status == "200"), "{}", half.child.show_log());
    });
}

/// A number of open files with which nothing could be served.
#[test]
fn too_few_open_files_are_raised() {
    within(secs(30), || {
        let backend = Backend::echo();
        let (half, metrics) = watched_server(backend.addr, "obfs=http;n=3");
        half.child.wait_text("option `n`: 3 open files are too few to work with; 64 are taken");
        assert_eq!(metrics.now().get("process_max_fds"), 64.0);
    });
}

/// A connection counts for its own descriptor and one more, which its only session has.
#[test]
fn tunnels_with_a_session_each_have_all_places() {
    within(secs(90), || {
        const TUNNELS: usize = 76;
        let backend = Backend::echo();
        let folder = TempDir::new("places");
        folder.write("index.html", b"the website");
        let options = format!("path=/s;obfs-uri=/s;n=256;failover=dir:{}", folder.path().display());
        let half = server(Ours, backend.addr, &options);
        let tunnels = |number| -> Vec<_> {
            let open = |_| {
                let mut ws = Ws::open(half.addr, "/s");
                ws.send_mux(&[mux::open(1), mux::keep(1, b"hello")].concat());
                assert_eq!(ws.mux_recv(1, 5), b"hello", "{}", half.child.show_log());
                ws
            };
            (0..number).map(open).collect()
        };
        drop(tunnels(TUNNELS));
        assert!(eventually(STEP, || descriptors(&half.child) < 40), "{}", half.child.show_log());
        // Nor do visitors take theirs.
        let visitors: Vec<_> = (0..TUNNELS - 10).map(|_| connect(half.addr)).collect();
        for visitor in &visitors {
            send(visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(recv_head(visitor).starts_with("HTTP/1.1 200"));
        }
        drop(tunnels(9));
        drop(visitors);
        // On a client, too.
        let server = server(Ours, backend.addr, "path=/s;obfs-uri=/s");
        let client = client(Ours, server.addr, "mode=websocket;path=/s;mux=1;n=256");
        let apps: Vec<_> = (0..TUNNELS - 1).map(|_| connect(client.addr)).collect();
        apps.iter().for_each(|app| assert_echo(app, b"hello"));
        assert!(!client.child.show_log().contains("accepting pauses"), "{}", client.child.show_log());
    });
}
