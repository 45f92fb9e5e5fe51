//! Metrics: what is counted is what was sent, what is open is told until it ends, and whoever asks, however badly,
//! holds nothing up.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, fin, recv_head, recv_to_end, reset, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Plugin, Vars, client, our_path, ours, server, start};
use crate::support::ports::free_port;
use crate::support::scrape::{Answer, Metrics, Numbers, get, request, watched_client, watched_server};
use crate::support::site::{INDEX, Site};
use crate::support::tempdir::TempDir;
use crate::support::tls_site::TlsSite;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::{Ws, mux};
use crate::support::{STEP, eventually, noise, secs, settled, within};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

mod address;
mod crowd;
mod ready;

fn nobody_there() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// What a file of the project holds.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Both halves agree on what has passed, of which `before` is known, while it passes.
#[track_caller]
fn assert_moved(halves: [Metrics; 2], before: &[Numbers; 2], bytes: usize) {
    for (metrics, before) in halves.iter().zip(before) {
        for direction in ["up", "down"] {
            let series = format!("tunnel_bytes_total{{direction=\"{direction}\"}}");
            metrics.wait(&series, before.get(&series) + bytes as f64);
        }
    }
}

#[test]
fn each_kind_of_tunnel_is_counted_while_it_moves() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let echo = Backend::echo();
        let options =
            format!("path=/stream;obfs-uri=/;obfs-tls-host=www.bing.com;{}", certificate.for_server());
        let (server, of_server) = watched_server(echo.addr, &options);
        let tls = certificate.for_client();
        for (options, kind, bytes) in [
            ("obfs=http;obfs-host=a", "http", 20_000),
            // Large enough to be spliced.
            ("obfs=http;obfs-host=a;handshake=standard", "http", 5_000_000),
            ("obfs=tls;obfs-host=www.bing.com", "obfs-tls", 300_000),
            ("mode=websocket;path=/stream;mux=0", "websocket", 300_000),
            ("mode=websocket;path=/stream?ed=2048;mux=0", "websocket", 1000),
            (&format!("mode=websocket;path=/stream;mux=0;{tls}"), "websocket", 300_000),
            ("mode=httpupgrade;path=/stream", "httpupgrade", 5_000_000),
            ("mode=httpupgrade;path=/stream?ed=2048", "httpupgrade", 3000),
            ("mode=httpupgrade;path=/stream?ed=2048;handshake=standard", "httpupgrade", 3000),
            (&format!("mode=httpupgrade;path=/stream;{tls}"), "httpupgrade", 300_000),
            ("mode=websocket;path=/stream;mux=8", "session", 2_000_000),
            (&format!("mode=websocket;path=/stream?ed=2048;mux=8;{tls}"), "session", 10_000),
        ] {
            let (client, of_client) = watched_client(server.addr, options);
            let halves = [of_server, of_client];
            let before = halves.map(Metrics::now);
            let app = connect(client.addr);
            assert_echo(&app, &noise(bytes, 3));
            assert_moved(halves, &before, bytes);
            let labels = format!("{{kind=\"{kind}\"}}");
            let new = |now: &Numbers, before: &Numbers, name: &str| {
                let series = format!("{name}{labels}");
                now.get(&series) - before.get(&series)
            };
            for (metrics, before) in halves.iter().zip(&before) {
                let now = metrics.now();
                assert_eq!(new(&now, before, "tunnels_open"), 1.0, "{options}");
                assert_eq!(new(&now, before, "tunnels_total"), 1.0, "{options}");
                assert_eq!(new(&now, before, "handshake_duration_seconds_count"), 1.0, "{options}");
                assert_eq!(now.sum("tunnels_open"), 1.0, "it is one of one kind: {options}");
                let mux = f64::from(kind == "session");
                assert_eq!(now.get("mux_connections_open"), mux, "{options}");
            }
            // It goes on, and is counted on.
            assert_echo(&app, &noise(5000, 4));
            assert_moved(halves, &before, bytes + 5000);
            fin(&app);
            recv_to_end(&app, STEP);
            for (metrics, before) in halves.iter().zip(&before) {
                metrics.wait(&format!("tunnels_open{labels}"), 0.0);
                let closed = "tunnel_ends_total{end=\"closed\"}";
                metrics.wait(closed, before.get(closed) + 1.0);
            }
            drop(client);
            of_server.wait("mux_connections_open", 0.0);
        }
        let now = of_server.now();
        assert_eq!(now.get("connections_accepted_total"), 12.0);
        assert_eq!(now.get("dial_duration_seconds_count{to=\"backend\"}"), 12.0);
        assert_eq!(now.get("mux_connections_total"), 2.0);
        assert_eq!((now.sum("connections_failed_total"), now.sum("visitors_total")), (0.0, 0.0));
    });
}

#[test]
fn what_is_open_comes_back_to_zero_after_resets_and_kills() {
    within(secs(120), || {
        let echo = Backend::echo();
        let (server, of_server) = watched_server(echo.addr, "");
        for (options, kind) in [
            ("obfs=http", "http"),
            ("obfs=tls", "obfs-tls"),
            ("mode=websocket;mux=0", "websocket"),
            ("mode=httpupgrade", "httpupgrade"),
            ("mode=websocket;mux=2", "session"),
        ] {
            let (client, of_client) = watched_client(server.addr, options);
            let series = format!("tunnels_open{{kind=\"{kind}\"}}");
            let mut apps: Vec<TcpStream> = (0..6).map(|_| connect(client.addr)).collect();
            apps.iter().for_each(|app| assert_echo(app, b"still there?"));
            for metrics in [of_server, of_client] {
                metrics.wait(&series, 6.0);
            }
            apps.drain(..3).for_each(reset);
            for metrics in [of_server, of_client] {
                metrics.wait(&series, 3.0);
            }
            client.child.signal(Signal::KILL);
            of_server.wait(&series, 0.0);
            of_server.wait("mux_connections_open", 0.0);
        }
        assert!(of_server.now().get("tunnel_ends_total{end=\"reset\"}") > 0.0);
    });
}

/// Whoever says this, and then no more.
#[track_caller]
fn visit(addr: SocketAddr, words: &[u8]) -> Vec<u8> {
    let visitor = connect(addr);
    send(&visitor, words);
    fin(&visitor);
    recv_to_end(&visitor, STEP).0
}

#[test]
fn visitors_are_counted_by_what_they_are_and_where_they_go() {
    within(secs(120), || {
        need!("openssl", "nginx");
        let certificate = Certificate::new(NAME);
        let (site, tls_site) = (Site::start(), TlsSite::start());
        let other_name = Backend::echo();
        let options = format!(
            "path=/t;failover={};failover-tls={};failover-http={};failover-h2={};sni=other.example:{};{}",
            site.addr,
            tls_site.addr,
            site.addr,
            site.addr,
            other_name.addr,
            certificate.for_server()
        );
        let (server, metrics) = watched_server(nobody_there(), &options);
        let count = |class: &str, website: &str, wanted: f64| {
            metrics.wait(&format!("visitors_total{{class=\"{class}\",website=\"{website}\"}}"), wanted);
        };
        let s_client = |words: &[&str], said: &str| {
            let mut openssl = Command::new(peers::path("openssl"))
                .args(["s_client", "-quiet", "-connect", &server.addr.to_string()])
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("run openssl");
            openssl.stdin.take().expect("its input").write_all(said.as_bytes()).expect("say it");
            openssl.wait().expect("its end");
        };
        let page = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = visit(server.addr, page);
        assert!(answer.ends_with(INDEX.as_bytes()));
        count("http", "failover-http", 1.0);
        metrics.wait("visitor_bytes_total{direction=\"up\"}", page.len() as f64);
        metrics.wait("visitor_bytes_total{direction=\"down\"}", answer.len() as f64);
        visit(server.addr, b"SSH-2.0-OpenSSH_9.2\r\n");
        count("other", "failover-http", 1.0);
        s_client(&["-servername", "strange.example"], "");
        count("tls", "failover-tls", 1.0);
        s_client(
            &["-servername", NAME, "-alpn", "http/1.1"],
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        count("http", "failover", 1.0);
        s_client(&["-servername", NAME, "-alpn", "h2"], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        count("h2", "failover-h2", 1.0);
        let hello = hello_for_another();
        let elsewhere = connect(server.addr);
        send(&elsewhere, &hello);
        count("tls", "sni", 1.0);
        assert_eq!(metrics.now().get("visitors_open"), 1.0);
        let silent = connect(server.addr);
        count("silent", "failover-http", 1.0);
        assert_eq!(metrics.now().get("visitors_open"), 2.0);
        drop((silent, elsewhere));
        metrics.wait("visitors_open", 0.0);
        assert_eq!(metrics.now().sum("visitors_total"), 7.0);
        assert_eq!(metrics.now().sum("tunnel_bytes_total"), 0.0);

        let (server, metrics) = watched_server(nobody_there(), "obfs=http;obfs-uri=/t");
        visit(server.addr, page);
        metrics.wait("visitors_total{class=\"http\",website=\"own\"}", 1.0);
        metrics.wait("visitors_open", 0.0);
        assert_eq!(metrics.now().sum("visitors_total"), 1.0);
    });
}

/// Who comes as a visitor and becomes a client is both, one after the other.
#[test]
fn a_visitor_that_becomes_a_client_is_no_visitor_any_more() {
    within(secs(60), || {
        need!("nginx");
        let (site, echo) = (Site::start(), Backend::echo());
        let options = format!("obfs=http;obfs-uri=/t;failover={}", site.addr);
        let (server, metrics) = watched_server(echo.addr, &options);
        let visitor = connect(server.addr);
        send(&visitor, b"GET /empty.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(recv_head(&visitor).starts_with("HTTP/1.1 200 "));
        assert_eq!(metrics.now().get("visitors_open"), 1.0);
        send(&visitor, b"GET /t HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "));
        assert_echo(&visitor, b"hello");
        metrics.wait("tunnel_bytes_total{direction=\"down\"}", 5.0);
        let now = metrics.now();
        assert_eq!((now.get("visitors_open"), now.sum("visitors_total")), (0.0, 1.0));
        assert_eq!(
            (now.get("tunnels_open{kind=\"http\"}"), now.get("connections_accepted_total")),
            (1.0, 1.0)
        );
    });
}

/// A hello of TLS for `other.example`, as openssl says it.
fn hello_for_another() -> Vec<u8> {
    let (listener, hellos) = Backend::manual();
    let mut openssl = Command::new(peers::path("openssl"))
        .args(["s_client", "-connect", &listener.addr.to_string(), "-servername", "other.example"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run openssl");
    let stream = crate::support::backend::next(&hellos);
    let head = crate::support::conn::recv(&stream, 5);
    let rest = crate::support::conn::recv(&stream, usize::from(u16::from_be_bytes([head[3], head[4]])));
    drop(stream);
    openssl.wait().expect("its end");
    [head, rest].concat()
}

#[test]
fn failures_are_counted_by_their_cause() {
    within(secs(120), || {
        need!("openssl", "nginx");
        let away = nobody_there();
        let failed = |metrics: Metrics, cause: &str| {
            metrics.wait(&format!("connections_failed_total{{cause=\"{cause}\"}}"), 1.0);
        };
        let (server, of_server) = watched_server(away, &format!("obfs=http;obfs-uri=/t;failover={away}"));
        let (client, of_client) = watched_client(server.addr, "obfs=http;obfs-uri=/t");
        fin(&connect(client.addr));
        failed(of_client, "empty");
        let app = connect(client.addr);
        send(&app, b"hello");
        assert_eq!(recv_to_end(&app, STEP).1, End::Reset);
        failed(of_server, "backend-unreachable");
        of_server.wait("dial_failures_total{to=\"backend\"}", 1.0);
        visit_and_be_reset(server.addr, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        failed(of_server, "website-unreachable");
        assert_eq!(of_server.now().sum("tunnels_total"), 0.0);

        let (server, of_server) = watched_server(away, "mode=websocket");
        let (client, of_client) = watched_client(server.addr, "mode=websocket;mux=1");
        let app = connect(client.addr);
        send(&app, b"hello");
        assert_eq!(recv_to_end(&app, STEP).1, End::Reset);
        failed(of_server, "backend-unreachable");
        of_client.wait("tunnels_open{kind=\"session\"}", 0.0);

        let mut ws = Ws::open(server.addr, "/");
        (1..=300).for_each(|id| ws.send_mux(&mux::open(id)));
        // Those in which nothing is said are few.
        of_server.wait("connections_failed_total{cause=\"too-many-sessions\"}", 300.0 - 64.0);
        assert_eq!(ws.mux().status, mux::END);
        drop(ws);

        let certificate = Certificate::new(NAME);
        let echo = Backend::echo();
        let (server, of_server) =
            watched_server(echo.addr, &format!("mode=websocket;path=/t;{}", certificate.for_server()));
        for (options, cause) in [
            (format!("mode=websocket;mux=0;path=/other;{}", certificate.for_client()), "upgrade-refused"),
            (format!("mode=websocket;mux=1;path=/other;{}", certificate.for_client()), "upgrade-refused"),
            ("mode=websocket;mux=0;path=/t;tls;host=live.example.com".to_owned(), "tls"),
        ] {
            let (client, of_client) = watched_client(server.addr, &options);
            let app = connect(client.addr);
            send(&app, b"hello");
            assert_eq!(recv_to_end(&app, STEP).1, End::Reset, "{options}");
            failed(of_client, cause);
            drop(client);
        }
        failed(of_server, "tls");
        let (client, of_client) = watched_client(away, "obfs=http;handshake=standard");
        let app = connect(client.addr);
        send(&app, b"hello");
        assert_eq!(recv_to_end(&app, STEP).1, End::Reset);
        failed(of_client, "server-unreachable");
        of_client.wait("dial_failures_total{to=\"server\"}", 1.0);

        let (server, of_server) = watched_server(away, "obfs=http;trusted=127.0.0.1;proxy-protocol=in");
        visit_and_be_reset(server.addr, b"GET / HTTP/1.1\r\n\r\n");
        failed(of_server, "proxy-header");
    });
}

fn visit_and_be_reset(addr: SocketAddr, words: &[u8]) {
    let visitor = connect(addr);
    send(&visitor, words);
    assert!(recv_to_end(&visitor, STEP).0.is_empty());
}

#[test]
fn ready_is_who_can_serve_and_healthy_who_answers() {
    within(secs(60), || {
        let backend = nobody_there();
        let (server, metrics) = watched_server(backend, "obfs=http");
        let ready = || get(metrics.0, "/readyz");
        let answer = ready();
        assert_eq!(answer.status, "503", "{answer:?}");
        assert!(
            answer.body.contains("Shadowsocks") && answer.body.contains(&backend.to_string()),
            "{answer:?}"
        );
        assert_eq!(get(metrics.0, "/healthz").status, "200");
        let echo = Backend::echo_on(backend);
        assert!(eventually(STEP, || ready().status == "200"));
        // However often it is asked: whoever is behind is bothered once in a while.
        let asked = echo.accepted();
        for _ in 0..20 {
            assert_eq!(ready().status, "200");
        }
        assert!(echo.accepted() <= asked + 2, "{} times", echo.accepted() - asked);
        assert_eq!(metrics.now().sum("dial_duration_seconds_count"), 0.0, "these are no tunnels");
        drop(echo);
        assert!(eventually(STEP, || ready().status == "503"));

        let (_client, metrics) = watched_client(server.addr, "obfs=http");
        for path in ["/readyz", "/healthz"] {
            assert_eq!(get(metrics.0, path).status, "200");
        }
    });
}

/// One that takes connections and says nothing is connected to, so a queue that is full is what does not answer.
#[test]
fn a_backend_that_does_not_answer_is_waited_for_no_longer_than_a_second() {
    within(secs(60), || {
        use socket2::{Domain, Socket, Type};
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("an address");
        full.listen(0).expect("listen");
        let addr = full.local_addr().expect("its address").as_socket().expect("of TCP");
        let _waiting = connect(addr);
        let (_server, metrics) = watched_server(addr, "obfs=http");
        let answer = get(metrics.0, "/readyz");
        assert_eq!((answer.status.as_str(), answer.body.as_str()), ("503", "no answer within 1 s\n"));
    });
}

#[test]
fn only_what_is_there_is_answered() {
    within(secs(60), || {
        let (server, metrics) = watched_server(nobody_there(), "obfs=http;obfs-uri=/t");
        let answer = get(metrics.0, "/metrics?x=y");
        assert_eq!(answer.status, "200");
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        let head = request(metrics.0, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status.as_str(), head.body.as_str()), ("200", ""));
        for path in ["/", "/metrics/", "//metrics", "/debug/pprof", "/metrics%00"] {
            assert_eq!(get(metrics.0, path).status, "404", "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = request(metrics.0, &format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(answer.status, "405", "{method}");
            assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
        }
        // Never on the public port.
        assert_eq!(get(server.addr, "/metrics").status, "404");
        assert_eq!(get(server.addr, "/readyz").status, "404");
        // Half a request that is withdrawn, bytes that are none, a head that is too long.
        let half = connect(metrics.0);
        send(&half, b"GET /met");
        reset(half);
        for nonsense in [&noise(4000, 1)[..], b"\x16\x03\x01\x00\x05hello", b"GET\r\n\r\n"] {
            let stream = connect(metrics.0);
            let _ = (&stream).write_all(nonsense);
            let (answer, _) = recv_to_end(&stream, STEP);
            assert!(answer.is_empty() || Answer::of(&answer).status == "400", "{}", answer.escape_ascii());
        }
        let stream = connect(metrics.0);
        let long = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let _ = (&stream).write_all(long.as_bytes());
        let (answer, _) = recv_to_end(&stream, STEP);
        assert!(answer.is_empty() || Answer::of(&answer).status == "431", "{}", answer.escape_ascii());
        assert_eq!(get(metrics.0, "/metrics").status, "200");
    });
}

#[test]
fn scrapers_that_say_nothing_or_take_nothing_hold_nothing_up() {
    within(secs(120), || {
        let echo = Backend::echo();
        let (server, of_server) = watched_server(echo.addr, "obfs=http");
        let (client, _) = watched_client(server.addr, "obfs=http");
        let app = connect(client.addr);
        let mut hostile = Vec::new();
        for number in 0..100 {
            let stream = connect(of_server.0);
            match number % 3 {
                0 => {}
                1 => send(&stream, b"GET /metrics HTTP/1.1\r\nHost: "),
                _ => send(&stream, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
            }
            hostile.push(stream);
        }
        assert_echo(&app, &noise(1_000_000, 1));
        assert_echo(&connect(client.addr), b"a new one");
        // Each of them has its time, and then others have their turn.
        let mut good = Err("not asked".to_owned());
        let served = eventually(secs(60), || {
            let stream = connect(of_server.0);
            send(&stream, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
            let (answer, _) = recv_to_end(&stream, secs(50));
            good = match Answer::of(&answer) {
                answer if answer.status == "200" => Ok(Numbers::of(&answer.body)),
                answer => Err(format!("{answer:?}")),
            };
            // (the new one has ended meanwhile)
            good.as_ref().is_ok_and(|numbers| numbers.get("tunnels_open{kind=\"http\"}") == 1.0)
        });
        assert!(served, "{good:?}");
        drop(hostile);
        assert_echo(&app, b"still there");
    });
}

/// A server half at this place for its metrics.
fn started(metrics: &str, more: &str) -> (Child, u16) {
    let port = free_port();
    let here = "127.0.0.1".to_owned();
    let options = format!("server;obfs=http;metrics={metrics}{more}");
    let mut command = ours();
    Vars { remote: (here.clone(), port), local: (here, 9), options }.put(&mut command);
    (Child::spawn("a server with metrics", command), port)
}

#[test]
fn an_address_that_others_reach_is_refused() {
    within(secs(60), || {
        let refused = |metrics: &str, more: &str, said: &str| {
            let (child, _) = started(metrics, more);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{metrics}: {}", child.show_log());
            child.wait_text(said);
            child.wait_text("option `metrics");
        };
        for public in ["0.0.0.0:9180", "[::]:9180", "192.0.2.1:9180", "www.example.com:9180"] {
            refused(public, "", "add `metrics-public`");
            refused(public, ";metrics-public=false", "add `metrics-public`");
        }
        for nonsense in ["9180", "127.0.0.1", "unix:run/x", "127.0.0.1:0", "http://127.0.0.1:9180"] {
            refused(nonsense, "", "an address of this machine");
        }
        let behind = nobody_there();
        let (child, _) = started(&behind.to_string(), &format!(";failover={behind}"));
        assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{}", child.show_log());
        child.wait_text("exclude each other: whoever comes to the server would find the metrics there");

        let port = free_port();
        let (child, public) = started(&format!("0.0.0.0:{port}"), ";metrics-public");
        child.wait_listening(public);
        let metrics = SocketAddr::from(([127, 0, 0, 1], port));
        child.wait_text(&format!("metrics are at http://0.0.0.0:{port}/metrics"));
        assert_eq!(get(metrics, "/metrics").status, "200");

        // In use, which may be over soon.
        let (second, public) = started(&metrics.to_string(), "");
        second.wait_text(&format!("option `metrics`: cannot listen on {metrics}: "));
        second.wait_listening(public);
    });
}

#[test]
fn names_of_this_machine_are_taken_and_it_is_off_by_default() {
    within(secs(60), || {
        let port = free_port();
        let (child, public) = started(&format!("localhost:{port}"), "");
        child.wait_listening(public);
        child.wait_text(&format!("metrics are at http://localhost:{port}/metrics"));
        assert_eq!(get(([127, 0, 0, 1], port).into(), "/metrics").status, "200");
        let quiet = server(Ours, nobody_there(), "obfs=http");
        let ports = crate::support::proc::listening_ports(quiet.child.pid());
        assert_eq!(ports.len(), 1, "{ports:?}");
    });
}

/// Asks at a Unix socket.
fn ask(path: &Path) -> std::io::Result<String> {
    ask_at(path, "/metrics").map(|answer| answer.body)
}

fn ask_at(socket: &Path, path: &str) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer)?;
    Ok(Answer::of(&answer))
}

#[test]
fn a_unix_socket_is_its_groups_and_goes_with_the_process() {
    within(secs(60), || {
        let dir = TempDir::new("metrics");
        let path = dir.path().join("socket");
        let options = format!("unix:{}", path.display());
        let (child, port) = started(&options, "");
        child.wait_listening(port);
        child.wait_text(&format!("metrics are at {options}, path /metrics"));
        assert!(ask(&path).expect("an answer").contains("obfs_rs_build_info{half=\"server\""));
        let metadata = path.metadata().expect("the socket");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.mode() & 0o777, 0o660);
        let (second, port) = started(&options, "");
        second.wait_text(&format!("option `metrics`: cannot listen on {options}: "));
        second.wait_listening(port);
        assert!(ask(&path).is_ok(), "the first one goes on");
        // It would have it when the first one is gone.
        drop(second);
        child.signal(Signal::KILL);
        child.wait_exit(STEP);
        assert!(path.exists(), "nobody could take it away");
        let (child, port) = started(&path.display().to_string(), "");
        child.wait_listening(port);
        assert!(ask(&path).is_ok());
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(STEP), Exit::Code(0));
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody's").expect("a file");
        let (child, _) = started(&options, "");
        assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{}", child.show_log());
        child.wait_text("a file is there that is no socket");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "a file of somebody's");
    });
}

#[test]
fn a_unix_socket_is_that_of_the_user_who_goes_on() {
    within(secs(60), || {
        if !rustix::process::geteuid().is_root() {
            return peers::skip("root");
        }
        let dir = TempDir::new("metrics");
        let path = dir.path().join("socket");
        let (child, port) = started(&path.display().to_string(), ";a=nobody");
        child.wait_listening(port);
        assert!(ask(&path).expect("an answer").contains("obfs_rs_"));
        let metadata = path.metadata().expect("the socket");
        assert_ne!(metadata.uid(), 0);
        assert_ne!(metadata.gid(), 0);
        assert_eq!(metadata.mode() & 0o777, 0o660);
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(STEP), Exit::Code(0));
        // The folder is root's, so it may have to stay; the next start has it all the same.
        let (child, port) = started(&path.display().to_string(), ";a=nobody");
        child.wait_listening(port);
        assert!(ask(&path).is_ok());
    });
}

/// When a certificate ends, as openssl reads it.
fn end_of(certificate: &Certificate) -> f64 {
    let mut openssl = Command::new(peers::path("openssl"));
    openssl.args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"]).arg(&certificate.cert);
    let output = openssl.output().expect("run openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let date = text.trim().strip_prefix("notAfter=").expect("a date").trim_end_matches('Z').to_owned();
    let output = Command::new("date").args(["-u", "+%s", "-d", &date]).output().expect("run date");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds")
}

#[test]
fn the_end_of_the_certificate_is_that_of_the_one_that_is_served() {
    within(secs(60), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (_server, metrics) =
            watched_server(nobody_there(), &format!("mode=websocket;{}", certificate.for_server()));
        let series = "certificate_expiry_timestamp_seconds";
        assert_eq!(metrics.now().get(series), end_of(&certificate));
        let renewed = certificate.dir.path().join("renewed.pem");
        let mut openssl = Command::new(peers::path("openssl"));
        openssl.args(["req", "-x509", "-days", "77", "-subj", "/CN=x", "-addext"]);
        openssl
            .arg(format!("subjectAltName=DNS:{NAME}"))
            .arg("-key")
            .arg(&certificate.key)
            .arg("-out")
            .arg(&renewed);
        assert!(openssl.stderr(Stdio::null()).status().expect("run openssl").success());
        let before = end_of(&certificate);
        std::fs::rename(&renewed, &certificate.cert).expect("the renewed one in its place");
        let after = end_of(&certificate);
        assert_ne!(after, before);
        metrics.wait(series, after);
    });
}

/// Both halves, with all that there may be to tell.
fn both() -> (Vec<Plugin>, [Metrics; 2], Certificate) {
    let certificate = Certificate::new(NAME);
    let echo = Backend::echo();
    let (server, of_server) =
        watched_server(echo.addr, &format!("mode=websocket;{}", certificate.for_server()));
    let options = format!("mode=websocket;mux=2;{}", certificate.for_client());
    let (client, of_client) = watched_client(server.addr, &options);
    assert_echo(&connect(client.addr), &noise(1000, 1));
    (vec![server, client], [of_server, of_client], certificate)
}

#[test]
fn promtool_finds_nothing_to_say() {
    within(secs(60), || {
        need!("openssl", "promtool");
        let (_plugins, halves, _certificate) = both();
        for metrics in halves {
            let mut promtool = Command::new(peers::path("promtool"));
            promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut promtool = promtool.stderr(Stdio::piped()).spawn().expect("run promtool");
            let text = get(metrics.0, "/metrics").body;
            promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("a scrape");
            let output = promtool.wait_with_output().expect("its end");
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
        for (kind, name) in [("config", "prometheus.yml"), ("rules", "obfs-rs.rules.yml")] {
            let mut promtool = Command::new(peers::path("promtool"));
            let output =
                promtool.args(["check", kind, name]).current_dir(&folder).output().expect("run promtool");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
}

/// The names of metrics of ours that a text has: also of a histogram's parts.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = text.split(is_part).filter(|word| {
        (word.starts_with("obfs_rs_") || word.starts_with("process_")) && !word.ends_with('_')
    });
    words.map(str::to_owned).collect()
}

fn without_parts(name: &str, known: &BTreeSet<String>) -> String {
    let part = ["_bucket", "_count", "_sum"].into_iter().find_map(|part| name.strip_suffix(part));
    part.filter(|name| known.contains(*name)).unwrap_or(name).to_owned()
}

#[test]
fn the_documents_and_the_dashboard_name_what_is_there() {
    within(secs(60), || {
        need!("openssl");
        let (_plugins, halves, _certificate) = both();
        let known: BTreeSet<String> = halves.into_iter().flat_map(|half| half.now().names).collect();
        let rows = file("docs/metrics.md");
        let rows = rows.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let listed: BTreeSet<String> = rows
            .filter(|name| name.starts_with("obfs_rs_") || name.starts_with("process_"))
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, known, "docs/metrics.md");

        let text = file("deploy/grafana/obfs-rs.json");
        let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        let mut shown = BTreeSet::new();
        for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
            let expr = target["expr"].as_str().expect("an expression");
            let names: BTreeSet<String> =
                named(expr).iter().map(|name| without_parts(name, &known)).collect();
            assert!(!names.is_empty() && names.is_subset(&known), "{expr}");
            shown.extend(names);
        }
        // The dashboard has all of ours.
        let missing: Vec<_> =
            known.iter().filter(|name| name.starts_with("obfs_rs_") && !shown.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let rules = named(&file("deploy/prometheus/obfs-rs.rules.yml"));
        assert!(rules.iter().all(|name| known.contains(&without_parts(name, &known))), "{rules:?}");
    });
}

#[test]
fn the_process_is_told_as_it_is() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let metrics = Metrics(nobody_there());
        let here = "127.0.0.1".to_owned();
        let options = format!("server;obfs=http;n=500;metrics={}", metrics.0);
        let vars = Vars { remote: (here.clone(), port), local: (here, echo.addr.port()), options };
        let server = start("a server", our_path(), &vars, port);
        let files =
            || std::fs::read_dir(format!("/proc/{}/fd", server.child.pid())).expect("its files").count();
        // It listens before all its threads have begun, which have files of their own.
        let open = settled(files);
        let now = metrics.now();
        assert_eq!(now.get("process_max_fds"), 500.0);
        // (the connection that asks may be among them)
        assert!((now.get("process_open_fds") - open as f64).abs() <= 2.0, "{open} {now:?}");
        assert!(now.get("process_resident_memory_bytes") > 1e6);
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a date");
        assert!((began.as_secs_f64() - now.get("process_start_time_seconds")).abs() < 60.0);
        assert!(now.get("process_cpu_seconds_total") > 0.0);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(now.get(&format!("build_info{{half=\"server\",version=\"{version}\"}}")), 1.0);
        assert_eq!(now.get("panics_total"), 0.0);
    });
}

#[test]
fn who_drains_is_healthy_and_not_ready() {
    within(secs(60), || {
        let echo = Backend::echo();
        let (server, metrics) = watched_server(echo.addr, "obfs=http;drain=60");
        let client = client(Ours, server.addr, "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"open");
        assert_eq!((get(metrics.0, "/readyz").status.as_str(), metrics.now().get("draining")), ("200", 0.0));
        server.child.signal(Signal::TERM);
        server.child.wait_text("draining: ");
        let answer = get(metrics.0, "/readyz");
        assert!(answer.status == "503" && answer.body.contains("drain"), "{answer:?}");
        assert_eq!(get(metrics.0, "/healthz").status, "200");
        assert_eq!(metrics.now().get("draining"), 1.0);
        assert_echo(&tunnel, b"goes on");
        fin(&tunnel);
        assert_eq!(server.child.wait_exit(secs(10)), Exit::Code(0), "{}", server.child.show_log());
    });
}

#[test]
fn refusals_for_a_limit_are_counted_by_its_option() {
    within(secs(60), || {
        let echo = Backend::echo();
        let (server, metrics) = watched_server(echo.addr, "obfs=http;limit-tunnels=1");
        let client = client(Ours, server.addr, "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"the one");
        let other = connect(client.addr);
        send(&other, b"one too many");
        recv_to_end(&other, secs(20));
        let refused = metrics.now().get("connections_failed_total{cause=\"limit-tunnels\"}");
        assert_eq!(refused, 1.0);
        assert_echo(&tunnel, b"goes on");
    });
}
