//! Idle tunnels through what ends them after a while, and what an idle connection says.

use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{End, assert_echo, connect, recv, recv_to_end, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Make, Ours, V2ray, client, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, eventually, noise, secs, settled, within};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What nginx takes for idle.
const CUT: u64 = 3;

/// nginx that ends what is idle for [`CUT`] seconds in either direction, and takes the TLS off where there is a
/// certificate.
struct Impatient {
    addr: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

impl Impatient {
    fn before(upstream: SocketAddr, certificate: Option<&Certificate>) -> Impatient {
        let dir = TempDir::new("impatient");
        let port = free_port();
        let (ssl, files) = certificate.map_or(("", String::new()), |certificate| {
            let (cert, key) = (certificate.cert.display(), certificate.key.display());
            (" ssl", format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
        });
        let config = include_str!("../fronts/nginx-impatient.conf")
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@PORT@", &port.to_string())
            .replace("@SSL@", ssl)
            .replace("@FILES@", &files)
            .replace("@UPSTREAM@", &upstream.port().to_string())
            .replace("@CUT@", &CUT.to_string());
        let file = dir.write("nginx.conf", config);
        let mut command = Command::new(peers::path("nginx"));
        command.arg("-e").arg(dir.path().join("nginx.err")).arg("-c").arg(file);
        let child = Child::spawn("nginx (the front)", command);
        child.wait_listening(port);
        Impatient { addr: SocketAddr::from(([127, 0, 0, 1], port)), _child: child, _dir: dir }
    }
}

/// Tunnels that have said something and are idle then.
fn idle(addr: SocketAddr, number: usize) -> Vec<TcpStream> {
    let one = |_| {
        let stream = connect(addr);
        assert_echo(&stream, b"hello");
        stream
    };
    (0..number).map(one).collect()
}

/// Through nginx with `keepalive=1`, idle for much longer than nginx waits; and with `keepalive=0`, which shows
/// that nginx does not wait.
fn lives_through_nginx(make: Make, tls: bool) {
    within(secs(120), move || {
        need!("nginx", "openssl", "ss-v2ray-plugin");
        let certificate = tls.then(|| Certificate::new(NAME));
        let echo = Backend::echo();
        let mut kept = Vec::new();
        let mut cut = Vec::new();
        for mux in [0, 1, 8] {
            let mode = if make == Ours { "mode=websocket;" } else { "" };
            // v2ray-plugin's number says only whether there is mux.
            let server = server(make, echo.addr, &format!("{mode}path=/stream;mux={}", mux.min(1)));
            let front = Impatient::before(server.addr, certificate.as_ref());
            let inside = certificate.as_ref().map_or_else(|| format!("host={NAME}"), Certificate::for_client);
            let options = format!("mode=websocket;path=/stream;mux={mux};{inside}");
            let patient = client(Ours, front.addr, &format!("{options};keepalive=1"));
            let silent = client(Ours, front.addr, &format!("{options};keepalive=0"));
            let number = if mux > 1 { 3 } else { 1 };
            kept.push((mux, idle(patient.addr, number), patient));
            cut.push((mux, idle(silent.addr, number), silent, front, server));
        }
        for (mux, streams, ..) in &cut {
            for stream in streams {
                let (_, end) = recv_to_end(stream, STEP);
                assert_ne!(end, End::Open, "mux={mux}: nginx does not end what is idle");
            }
        }
        // The silence is what is tested.
        std::thread::sleep(secs(3 * CUT));
        for (mux, streams, client) in &kept {
            for stream in streams {
                stream.set_nonblocking(true).expect("not to wait");
                let end = { stream }.read(&mut [0]);
                assert!(end.is_err(), "mux={mux}: {end:?}; {}", client.child.show_log());
                stream.set_nonblocking(false).expect("to wait");
                assert_echo(stream, b"still here");
            }
        }
    });
}

#[test]
fn an_idle_tunnel_lives_through_nginx() {
    lives_through_nginx(Ours, false);
}

#[test]
fn an_idle_tunnel_lives_through_nginx_that_takes_the_tls_off() {
    lives_through_nginx(Ours, true);
}

#[test]
fn an_idle_tunnel_to_v2ray_plugin_lives_through_nginx() {
    lives_through_nginx(V2ray, false);
}

/// Also where the application reads nothing meanwhile, and much waits for it: nginx cannot pass that on, and hears the
/// client all the same.
#[test]
fn a_tunnel_whose_application_pauses_lives_through_nginx() {
    within(secs(90), || {
        need!("nginx");
        let file = noise(24 * 1024 * 1024, 7);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            recv(&stream, 1);
            send(&stream, &sent);
            assert_eq!(recv(&stream, 4), b"more");
            send(&stream, b"here");
        });
        let server = server(Ours, backend.addr, "mode=websocket;path=/stream");
        let front = Impatient::before(server.addr, None);
        let client = client(Ours, front.addr, "mode=websocket;path=/stream;mux=0;keepalive=1");
        let app = connect(client.addr);
        send(&app, b"?");
        // The pause is what is tested.
        std::thread::sleep(secs(4 * CUT));
        assert_same("the download", &recv(&app, file.len()), &file);
        send(&app, b"more");
        assert_eq!(recv(&app, 4), b"here", "{}", client.child.show_log());
    });
}

/// The pings of a half-closed tunnel are answered, too.
#[test]
fn a_half_closed_tunnel_lives_through_nginx() {
    within(secs(90), || {
        need!("nginx");
        for mux in [0, 1] {
            // It answers late, after all of the question.
            let late = Backend::serve(|mut stream| {
                let (question, _) = recv_to_end(&stream, STEP);
                std::thread::sleep(secs(3 * CUT));
                let _ = stream.write_all(&question);
            });
            let server = server(Ours, late.addr, "mode=websocket;path=/stream");
            let front = Impatient::before(server.addr, None);
            let options = format!("mode=websocket;path=/stream;mux={mux};keepalive=1");
            let client = client(Ours, front.addr, &options);
            let (answer, end) = crate::support::conn::exchange(&connect(client.addr), b"question", secs(30));
            assert_eq!((answer.as_slice(), end), (&b"question"[..], End::Fin), "mux={mux}");
        }
    });
}

/// A way to the server on which is written down what passes.
struct Recorder {
    backend: Backend,
    /// What the client sent, on all of its connections.
    sent: Arc<Mutex<Vec<u8>>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    fn to(server: SocketAddr) -> Recorder {
        let (sent, heard) = <(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let (up, down) = (Arc::clone(&sent), Arc::clone(&heard));
        let backend = Backend::serve(move |near| {
            let far = connect(server);
            std::thread::scope(|scope| {
                scope.spawn(|| carry(&near, &far, &up));
                carry(&far, &near, &down);
            });
        });
        Recorder { backend, sent, heard }
    }

    /// What was sent and heard up to now, which is forgotten.
    fn take(&self) -> (Vec<u8>, Vec<u8>) {
        let take = |bytes: &Mutex<Vec<u8>>| {
            std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner))
        };
        (take(&self.sent), take(&self.heard))
    }

    fn len(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until nothing passes any more, and forgets what did.
    fn settle(&self) {
        settled(|| self.len());
        self.take();
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, record: &Mutex<Vec<u8>>) {
    from.set_read_timeout(None).expect("no limit");
    let mut buffer = vec![0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        record.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// A client's ping has eight bytes under a mask; the server's pong has them bare.
const PING: usize = 2 + 4 + 8;
const PONG: usize = 2 + 8;

/// How many pings are in what a client said while nothing else was said.
#[track_caller]
fn pings(sent: &[u8]) -> usize {
    let (frames, rest) = sent.as_chunks::<PING>();
    assert!(rest.is_empty(), "{sent:?}");
    for frame in frames {
        assert_eq!(frame[..2], [0x89, 0x88], "{sent:?}");
    }
    let payloads: std::collections::HashSet<_> = frames.iter().map(|frame| &frame[2..]).collect();
    assert_eq!(payloads.len(), frames.len(), "no two are the same: {sent:?}");
    frames.len()
}

/// One ping a connection about once a second while there are tunnels, and not a byte otherwise.
#[test]
fn what_an_idle_connection_says() {
    within(secs(120), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=websocket");
        for (mux, tunnels, connections) in [(0, 1, 1), (0, 3, 3), (1, 1, 1), (8, 3, 1)] {
            for keep_alive in [1, 0] {
                let way = Recorder::to(server.addr);
                let options = format!("mode=websocket;mux={mux};keepalive={keep_alive}");
                let client = client(Ours, way.backend.addr, &options);
                let streams = idle(client.addr, tunnels);
                way.take();
                // The silence is what is measured.
                std::thread::sleep(secs(5));
                let (sent, heard) = way.take();
                let number = pings(&sent);
                let expected = if keep_alive == 0 { 0..=0 } else { 4 * connections..=7 * connections };
                assert!(expected.contains(&number), "{options}: {number} pings of {tunnels} tunnels");
                assert!(heard.len().abs_diff(number * PONG) <= connections * PONG, "{options}: {heard:?}");
                // With mux the connection stays for a while, and says nothing.
                drop(streams);
                if mux == 0 {
                    continue;
                }
                way.settle();
                let quiet_for = Instant::now();
                assert!(!eventually(secs(4), || way.len() > 0), "{options}: after {:?}", quiet_for.elapsed());
                // It is the same one that takes the next tunnel.
                let before = way.backend.accepted();
                idle(client.addr, 1);
                assert_eq!(way.backend.accepted(), before, "{options}");
            }
        }
    });
}

/// The time-out for idle tunnels counts payload, at either end, in TLS or not.
#[test]
fn pings_do_not_put_the_idle_timeout_off() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let echo = Backend::echo();
        for tls in [false, true] {
            let (for_server, for_client) = match tls {
                true => (certificate.for_server(), certificate.for_client()),
                false => ("t=7200".to_owned(), "t=7200".to_owned()),
            };
            for mux in [0, 1] {
                for (at_server, at_client) in [("t=3;", ""), ("", "t=3;")] {
                    let server = server(Ours, echo.addr, &format!("{at_server}mode=websocket;{for_server}"));
                    let options = format!("{at_client}mode=websocket;mux={mux};keepalive=1;{for_client}");
                    let client = client(Ours, server.addr, &options);
                    let streams = idle(client.addr, 1);
                    let (_, end) = recv_to_end(&streams[0], STEP);
                    assert_ne!(end, End::Open, "tls: {tls}, mux={mux}, {at_server}{at_client}");
                }
            }
        }
    });
}

/// What has no pings says so, where they are asked for.
#[test]
fn a_disguise_without_pings_is_told() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (options, warned) in [
            ("obfs=http;keepalive=30", true),
            ("obfs=tls;keepalive=30", true),
            ("mode=httpupgrade;keepalive=30", true),
            ("mode=httpupgrade;keepalive=0", false),
            ("mode=httpupgrade", false),
            ("mode=websocket;keepalive=30", false),
        ] {
            let client = client(Ours, echo.addr, options);
            client.child.wait_text("listening");
            let said = client.child.lines().iter().any(|line| line.contains("`keepalive` has no effect"));
            assert_eq!(said, warned, "{options}: {}", client.child.show_log());
        }
    });
}
