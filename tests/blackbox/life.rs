//! The life of a tunnel: half-closes, resets, time-outs, and a far end that is not there.

use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{
    self, End, assert_echo, connect, exchange, fin, recv, recv_head, recv_to_end, send,
};
use crate::support::peers::skip;
use crate::support::plugin::{Ours, Plugin, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::{STEP, assert_same, digest, millis, noise, secs, within};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const MB: usize = 1024 * 1024;

/// Both halves, with more options for both.
fn pair(backend: SocketAddr, more: &str) -> (Plugin, Plugin) {
    let server = server(Ours, backend, &format!("obfs=http{more}"));
    let client = client(Ours, server.addr, &format!("obfs=http;obfs-host=www.bing.com{more}"));
    (client, server)
}

/// An open tunnel: the application's end and the backend's.
fn tunnel(client: &Plugin, connections: &Receiver<TcpStream>) -> (TcpStream, TcpStream) {
    let app = connect(client.addr);
    send(&app, b"?");
    let behind = next(connections);
    assert_eq!(recv(&behind, 1), b"?");
    send(&behind, b"!");
    assert_eq!(recv(&app, 1), b"!");
    (app, behind)
}

/// The upload ends with a FIN; only then does the backend say what it got.
#[test]
fn an_answer_after_the_upload_has_ended() {
    within(secs(60), || {
        let backend = Backend::digester();
        for handshake in ["", ";handshake=standard"] {
            let (client, _server) = pair(backend.addr, handshake);
            for len in [0, 1, 16 * 1024, 12 * MB] {
                let file = noise(len, len as u64);
                let (answer, end) = exchange(&connect(client.addr), &file, secs(40));
                if len == 0 {
                    // Nothing said: no tunnel.
                    assert_eq!(answer, b"");
                    continue;
                }
                assert_eq!(
                    (String::from_utf8_lossy(&answer).as_ref(), end),
                    (digest(&file).as_str(), End::Fin)
                );
            }
        }
    });
}

/// Megabytes both ways; one direction ends while the other still has most of its own to send.
#[test]
fn either_direction_may_end_first_with_megabytes_in_flight() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, _server) = pair(backend.addr, "");
        let (short, long) = (noise(2 * MB, 1), noise(10 * MB, 2));
        for (up, down) in [(&short, &long), (&long, &short)] {
            let (app, behind) = tunnel(&client, &connections);
            let (at_app, at_backend) = std::thread::scope(|scope| {
                let behind = scope.spawn(move || exchange(&behind, down, secs(40)));
                let app = exchange(&app, up, secs(40));
                (app, behind.join().expect("the backend"))
            });
            assert_same("upload", &at_backend.0, up);
            assert_same("download", &at_app.0, down);
            assert_eq!((at_backend.1, at_app.1), (End::Fin, End::Fin));
        }
    });
}

/// The backend has ended; the application goes on sending, and only ends later.
#[test]
fn uploads_go_on_after_the_backend_has_ended_its_side() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, _server) = pair(backend.addr, "");
        let (app, behind) = tunnel(&client, &connections);
        fin(&behind);
        assert_eq!(recv_to_end(&app, STEP), (Vec::new(), End::Fin));
        let file = noise(4 * MB, 3);
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&app, &file);
                fin(&app);
            });
            recv_to_end(&behind, STEP)
        });
        assert_same("the upload", &received.0, &file);
        assert_eq!(received.1, End::Fin);
    });
}

/// A reader that is slow, not gone: nothing is lost, nothing is cut.
#[test]
fn a_slow_reader_gets_everything() {
    within(secs(60), || {
        let file = noise(16 * MB, 4);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            recv(&stream, 1);
            send(&stream, &sent);
        });
        let (client, _server) = pair(backend.addr, "");
        let app = connect(client.addr);
        send(&app, b"?");
        // The pause is the stimulus: every buffer on the way fills up meanwhile.
        std::thread::sleep(millis(1500));
        let (got, end) = recv_to_end(&app, STEP);
        assert_same("the download", &got, &file);
        assert_eq!(end, End::Fin);
    });
}

#[test]
fn a_reset_by_the_application_is_a_reset_at_the_backend() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, server) = pair(backend.addr, "");
        for _ in 0..10 {
            let (app, behind) = tunnel(&client, &connections);
            conn::reset(app);
            let (_, end) = recv_to_end(&behind, STEP);
            assert_eq!(end, End::Reset, "{}\n{}", client.child.show_log(), server.child.show_log());
        }
    });
}

#[test]
fn a_reset_by_the_backend_is_a_reset_at_the_application() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, server) = pair(backend.addr, "");
        for _ in 0..10 {
            let (app, behind) = tunnel(&client, &connections);
            conn::reset(behind);
            let (_, end) = recv_to_end(&app, STEP);
            assert_eq!(end, End::Reset, "{}\n{}", client.child.show_log(), server.child.show_log());
        }
    });
}

/// A reset with data on its way in the other direction.
#[test]
fn a_reset_during_a_download_frees_the_backend() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, _server) = pair(backend.addr, "");
        let (app, behind) = tunnel(&client, &connections);
        let file = noise(32 * MB, 5);
        let failed = std::thread::spawn(move || {
            use std::io::Write;
            (&behind).write_all(&file).is_err()
        });
        recv(&app, MB);
        conn::reset(app);
        assert!(failed.join().expect("the backend"), "the backend could send 32 MB to nobody");
    });
}

/// `t` seconds without a byte end a tunnel; a byte now and then keeps it.
#[test]
fn an_idle_tunnel_ends_after_t_seconds() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, server) = pair(backend.addr, ";t=2");
        let (idle_app, idle_behind) = tunnel(&client, &connections);
        let (busy_app, busy_behind) = tunnel(&client, &connections);
        let started = Instant::now();
        // Slow on purpose: always a byte before the time is up, in one direction only.
        for _ in 0..10 {
            std::thread::sleep(millis(500));
            send(&busy_behind, b".");
            assert_eq!(recv(&busy_app, 1), b".", "{}", server.child.show_log());
        }
        // By now, five seconds later, the idle one is long gone.
        for idle in [&idle_app, &idle_behind] {
            let (_, end) = recv_to_end(idle, Duration::from_secs(5));
            assert_ne!(end, End::Open, "idle for {:?}; {}", started.elapsed(), client.child.show_log());
        }
    });
}

/// …and not before: `t=5` leaves a tunnel open that was idle for two seconds.
#[test]
fn a_tunnel_is_not_idle_before_t_seconds() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let (client, _server) = pair(backend.addr, ";t=5");
        let (app, behind) = tunnel(&client, &connections);
        let (_, end) = recv_to_end(&app, secs(2));
        assert_eq!(end, End::Open);
        conn::prepare(&app);
        send(&app, b"on");
        assert_eq!(recv(&behind, 2), b"on");
    });
}

/// The Shadowsocks program is not there yet: that tunnel ends and is logged, the next one works.
#[test]
fn a_backend_that_is_down_costs_one_tunnel() {
    within(secs(60), || {
        let port = free_port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let server = server(Ours, addr, "obfs=http");
        let stream = connect(server.addr);
        send(&stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "), "the 101 comes before the dial");
        let (_, end) = recv_to_end(&stream, STEP);
        assert_ne!(end, End::Open, "{}", server.child.show_log());
        let line = server.child.wait_text("refused");
        assert!(line.contains(&addr.to_string()), "who: {line}");

        let _backend = Backend::serve_on(addr, |stream| send(&stream, b"here"));
        let client = client(Ours, server.addr, "obfs=http");
        let app = connect(client.addr);
        send(&app, b"?");
        assert_eq!(recv(&app, 4), b"here");
    });
}

/// A client half whose `SS_REMOTE_HOST` has several hosts, all with the port of `remote`.
fn client_of(hosts: &str, remote: SocketAddr) -> Plugin {
    let port = free_port();
    let mut command = ours();
    Vars {
        remote: (hosts.to_owned(), remote.port()),
        local: ("127.0.0.1".to_owned(), port),
        options: "obfs=http;obfs-host=www.bing.com".to_owned(),
    }
    .put(&mut command);
    let child = Child::spawn("client of several hosts", command);
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// Every address of 127/8 is ours on Linux: nobody listens on .2 at that port, the server does on .1.
#[test]
fn the_next_host_is_taken_when_one_refuses() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let client = client_of("127.0.0.2|127.0.0.1", server.addr);
        for _ in 0..3 {
            assert_echo(&connect(client.addr), &noise(50_000, 6));
        }
    });
}

/// A host that neither takes nor refuses: its queue is full, so its system drops what comes.
/// Once another one has worked, it is the first to be tried.
#[test]
fn the_next_host_is_taken_when_one_does_not_answer_and_remembered() {
    within(secs(90), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let silent = SocketAddr::from(([127, 0, 0, 3], server.addr.port()));
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&silent.into()).expect("bind");
        socket.listen(0).expect("listen");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&silent, millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 50, "the queue never fills");
        }
        let client = client_of("127.0.0.3|127.0.0.1", server.addr);
        let app = connect(client.addr);
        app.set_read_timeout(Some(secs(40))).expect("a limit");
        assert_echo(&app, b"over the second host");
        let started = Instant::now();
        assert_echo(&connect(client.addr), b"at once");
        assert!(started.elapsed() < secs(1), "the host that worked comes first: {:?}", started.elapsed());
    });
}

/// No host answers: the application's connection ends, and the log names the hosts.
#[test]
fn no_host_at_all_ends_the_tunnel_with_a_log_line() {
    within(secs(60), || {
        let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let client = client_of("127.0.0.2|127.0.0.1", nobody);
        let app = connect(client.addr);
        send(&app, b"anyone?");
        let (got, end) = recv_to_end(&app, STEP);
        assert_eq!(got, b"");
        assert_ne!(end, End::Open);
        client.child.wait_text(&nobody.port().to_string());
        client.child.wait_text("refused");
    });
}

/// A server half told several hosts listens on all of them.
#[test]
fn a_server_listens_on_each_of_its_hosts() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let mut command = ours();
        Vars {
            remote: ("127.0.0.1|127.0.0.2".to_owned(), port),
            local: ("127.0.0.1".to_owned(), echo.addr.port()),
            options: "server;obfs=http".to_owned(),
        }
        .put(&mut command);
        let child = Child::spawn("server on two hosts", command);
        child.wait_listening(port);
        for last in [1, 2] {
            let addr = SocketAddr::from(([127, 0, 0, last], port));
            let client = client_of(&addr.ip().to_string(), addr);
            assert_echo(&connect(client.addr), b"hello");
        }
    });
}

/// Hosts write IPv6 with and without brackets.
#[test]
fn ipv6_with_and_without_brackets() {
    within(secs(60), || {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            skip("IPv6");
            return;
        }
        for host in ["::1", "[::1]"] {
            let echo = Backend::serve_on("[::1]:0".parse().expect("an address"), |stream| {
                let byte = recv(&stream, 5);
                send(&stream, &byte);
            });
            let port = free_port();
            let mut command = ours();
            Vars {
                remote: (host.to_owned(), port),
                local: (host.to_owned(), echo.addr.port()),
                options: "server;obfs=http".to_owned(),
            }
            .put(&mut command);
            let server = Child::spawn("server on IPv6", command);
            server.wait_listening(port);
            let client = client_of(host, SocketAddr::from(([127, 0, 0, 1], port)));
            let app = connect(client.addr);
            send(&app, b"hello");
            assert_eq!(recv(&app, 5), b"hello", "{host}; {}", client.child.show_log());
        }
    });
}
