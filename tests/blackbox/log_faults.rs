//! What the log tells at its default level of each thing that is set up wrongly, or broken: what is wrong, and which
//! option to look at; and none of the paths and names that only clients are to know.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv, recv_head, recv_to_end, reset, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Plugin, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::tls_site::TlsSite;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, proc, secs, within};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

/// In every path and name that only clients are to know.
const SECRET: &str = "s3cret";

fn lines_with(child: &Child, words: &[&str]) -> usize {
    child.lines().iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[track_caller]
fn ended(half: &Plugin) -> Vec<String> {
    half.child.signal(Signal::TERM);
    assert_eq!(half.child.wait_exit(secs(10)), Exit::Code(0));
    half.child.lines()
}

#[track_caller]
fn tells_no_secret(half: &Plugin) {
    for line in half.child.lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
}

/// What a website says to everything.
fn website(answer: &'static [u8]) -> Backend {
    Backend::serve(move |mut stream| {
        if let Ok(1..) = stream.read(&mut [0; 4096]) {
            let _ = stream.write_all(answer);
            let _ = recv_to_end(&stream, STEP);
        }
    })
}

fn not_found() -> Backend {
    website(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
}

fn visit(addr: SocketAddr, request: &[u8]) {
    let visitor = connect(addr);
    send(&visitor, request);
    let _ = (&visitor).read(&mut [0; 64]);
}

/// The name and the half stand in each line, behind a time of fixed length.
#[test]
fn each_line_says_when_and_of_whom() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;zzz=1");
        let client = client(Ours, server.addr, "obfs=http;zzz=1");
        for (half, name) in [(&server, "server"), (&client, "client")] {
            half.child.wait_text("listening on");
            for line in half.child.lines() {
                let (time, rest) = line.split_at(25);
                let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                assert_eq!(shape, "0000-00-00T00:00:00.000Z ", "{line}");
                assert!(rest.starts_with(&format!("obfs-rs {name} ")), "{line}");
            }
            assert_eq!(lines_with(&half.child, &[" WARN unknown option `zzz`"]), 1);
        }
    });
}

const GOOD: &str =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// The first of a kind at once, the others counted; what was asked for at debug alone.
#[test]
fn an_upgrade_that_misses_is_told_with_the_option_that_it_misses() {
    within(secs(60), || {
        let (echo, site) = (Backend::echo(), not_found());
        let options =
            format!("obfs=http;obfs-uri=/{SECRET};obfs-host={SECRET}.example;failover={}", site.addr);
        let quiet = server(Ours, echo.addr, &options);
        let all = server(Ours, echo.addr, &format!("{options};v"));
        let own = format!("{SECRET}.example");
        let cases = [
            (
                format!("GET /{SECRET}-wrong HTTP/1.1\r\nHost: {own}\r\n{GOOD}"),
                "missed the path (option `path`",
            ),
            (
                format!("GET /{SECRET} HTTP/1.1\r\nHost: wrong-{own}\r\n{GOOD}"),
                "missed the host (option `obfs-host`",
            ),
            (
                format!("POST /{SECRET} HTTP/1.1\r\nHost: {own}\r\n{GOOD}"),
                "missed the method (option `http-method`",
            ),
            (format!("GET /{SECRET} HTTP/1.0\r\nHost: {own}\r\n{GOOD}"), "proxy_http_version 1.1"),
            (
                format!(
                    "GET /{SECRET} HTTP/1.1\r\nHost: {own}\r\nX-A: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
                ),
                "does a proxy in front pass them on",
            ),
            (
                format!("GET /{SECRET} HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding: chunked\r\n{GOOD}"),
                "that no client of ours sends",
            ),
        ];
        for (request, words) in &cases {
            for half in [&quiet, &all] {
                for _ in 0..3 {
                    visit(half.addr, request.as_bytes());
                }
                half.child.wait_line(words, |line| line.contains(" INFO ") && line.contains(words));
            }
        }
        // A later request on a visitor's connection.
        let visitor = connect(quiet.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = recv_head(&visitor);
        assert!(eventually(secs(10), || lines_with(&all.child, &[" DEBUG ", "asked="]) == 3 * cases.len()));
        let asked = format!("GET /{SECRET}-wrong, host {own}");
        assert_eq!(lines_with(&all.child, &["DEBUG", "missed the path", &asked, "peer="]), 3);
        let lines = ended(&quiet);
        for (_, words) in &cases {
            let told: Vec<_> = lines.iter().filter(|line| line.contains(words)).collect();
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(
                told[0].contains(" an upgrade request ") && told[0].contains("it met the website"),
                "{told:?}"
            );
            assert!(
                told[1].contains(" 2 more upgrade requests ") && told[1].contains("they met"),
                "{told:?}"
            );
        }
        tells_no_secret(&quiet);
    });
}

/// A proxy in front, or a browser, asks for the website first.
#[test]
fn a_later_request_that_misses_is_told_too() {
    within(secs(60), || {
        let site = Backend::serve(|mut stream| {
            while let Ok(1..) = stream.read(&mut [0; 4096]) {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let server =
            server(Ours, Backend::echo().addr, &format!("mode=websocket;path=/a;failover={}", site.addr));
        let visitor = connect(server.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = recv_head(&visitor);
        send(&visitor, format!("GET /b HTTP/1.1\r\nHost: a\r\n{GOOD}").as_bytes());
        assert!(recv_head(&visitor).starts_with("HTTP/1.1 404"));
        server.child.wait_text("an upgrade request missed the path");
    });
}

fn fake_tls_hello(name: &str) -> Vec<u8> {
    use obfs_rs::wire::fake_tls::SentHello;
    let mut bytes = Vec::new();
    SentHello::new(&mut rand::rng(), 0).encode(name, b"payload", &mut bytes).expect("a hello");
    bytes
}

/// Other clients than the server is set up for.
#[test]
fn a_client_of_another_kind_is_told() {
    within(secs(90), || {
        need!("openssl");
        let (echo, site, tls_site) = (Backend::echo(), not_found(), TlsSite::start());
        let certificate = Certificate::new(NAME);
        let failover = format!("failover={}", site.addr);
        let own_tls = certificate.for_server();
        let upgrade = format!("GET / HTTP/1.1\r\nHost: a\r\n{GOOD}").into_bytes();
        for (options, hello, words) in [
            (
                "obfs=tls".to_owned(),
                Some(upgrade.clone()),
                "upgrade request came, and this server takes none",
            ),
            (
                format!(
                    "mode=auto;tls=only;cert={};key={}",
                    certificate.cert.display(),
                    certificate.key.display()
                ),
                Some(upgrade.clone()),
                "came without TLS, which the option `tls` demands here",
            ),
            (
                format!("obfs=tls;obfs-host={SECRET}.example"),
                Some(fake_tls_hello("wrong.example")),
                "client of `obfs=tls` missed the name (option `obfs-host`",
            ),
            (
                "obfs=http".to_owned(),
                Some(fake_tls_hello("wrong.example")),
                "this server takes none (option `obfs`",
            ),
            (
                "mode=websocket".to_owned(),
                None,
                "connection in TLS came, and this server has none (option `tls`)",
            ),
            (
                format!("mode=websocket;{own_tls};failover-tls={}", tls_site.addr),
                None,
                "asked for a name that the certificate does not have",
            ),
        ] {
            let server = server(Ours, echo.addr, &format!("{options};{failover}"));
            match hello {
                Some(hello) => visit(server.addr, &hello),
                None => {
                    let client = client(Ours, server.addr, "mode=websocket;tls;mux=0;host=other.example");
                    let app = connect(client.addr);
                    send(&app, b"hello");
                    let _ = recv_to_end(&app, STEP);
                }
            }
            let line = server.child.wait_text(words);
            assert!(line.contains(" INFO "), "{line}");
            tells_no_secret(&server);
        }
    });
}

/// By what they are and where they went: at the end, or once an hour.
#[test]
fn visitors_are_counted_by_what_they_are_and_where_they_went() {
    within(secs(60), || {
        let (echo, site, tls_site) = (Backend::echo(), not_found(), not_found());
        let options = format!("obfs=http;obfs-uri=/a;failover={};failover-tls={}", site.addr, tls_site.addr);
        let server = server(Ours, echo.addr, &options);
        for _ in 0..3 {
            visit(server.addr, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        visit(server.addr, b"\x16\x03\x01\x00\x00");
        visit(server.addr, b"SSH-2.0-scanner\r\n");
        drop(connect(server.addr));
        let tunnel = connect(server.addr);
        send(&tunnel, format!("GET /a HTTP/1.1\r\nHost: a\r\n{GOOD}").as_bytes());
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101"));
        assert!(eventually(STEP, || site.accepted() == 5));
        let lines = ended(&server);
        let told = lines.iter().find(|line| line.contains("visitors in the last")).expect("a line");
        let wanted = format!(
            " s: HTTP 3, TLS 1, silent 1, other bytes 1; where they went: failover {} 5, \
             failover-tls {} 1",
            site.addr, tls_site.addr
        );
        assert!(told.ends_with(&wanted) && told.contains(" INFO 6 visitors in the last "), "{told}");
        // Nobody came: nothing to tell.
        let idle = crate::support::plugin::server(Ours, echo.addr, "obfs=http");
        let tunnel = connect(idle.addr);
        send(&tunnel, format!("GET / HTTP/1.1\r\nHost: a\r\n{GOOD}").as_bytes());
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101"));
        assert!(!ended(&idle).iter().any(|line| line.contains("visitors")));
    });
}

/// Without a connection, where the system knows that somebody listens.
#[test]
fn what_is_behind_the_server_is_looked_for_at_the_start() {
    within(secs(90), || {
        let (echo, site) = (Backend::echo(), not_found());
        let good = server(Ours, echo.addr, &format!("obfs=http;failover={};v", site.addr));
        good.child.wait_text("Shadowsocks answers at");
        good.child.wait_text("the website of the option `failover` answers at");
        assert_eq!((echo.accepted(), site.accepted()), (0, 0));

        let (backend, website) = (free_port(), free_port());
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let bad = server(Ours, at(backend), &format!("obfs=http;failover=localhost:{website}"));
        let line = bad.child.wait_text("Shadowsocks does not answer: ");
        assert!(line.contains(" WARN ") && line.contains(&at(backend).to_string()), "{line}");
        assert!(line.contains("refused"), "{line}");
        let line = bad.child.wait_text("the website of the option `failover` does not answer: ");
        assert!(line.contains(" WARN ") && line.contains(&format!(":{website}")), "{line}");
        let _late = (Backend::echo_on(at(backend)), Backend::echo_on(at(website)));
        bad.child.wait_text("Shadowsocks answers at");
        bad.child.wait_text("the website of the option `failover` answers at");
    });
}

/// A website for HTTP/2 may well listen and speak HTTP/1 alone.
#[test]
fn a_website_that_does_not_speak_http2_is_told_at_the_start() {
    within(secs(90), || {
        let (echo, site, down) = (Backend::echo(), not_found(), free_port());
        let take = "mode=grpc;serviceName=a.service";
        let wrong = server(Ours, echo.addr, &format!("{take};failover-h2={}", site.addr));
        let line = wrong.child.wait_text("does not speak HTTP/2 in the clear");
        assert!(line.contains(" WARN the website of the option `failover-h2` "), "{line}");
        for words in
            [&site.addr.to_string(), "nginx: `listen PORT http2`", "clients of gRPC that wait for it"]
        {
            assert!(line.contains(words), "{line} lacks {words}");
        }
        let away = server(Ours, echo.addr, &format!("{take};failover-h2=127.0.0.1:{down}"));
        let line = away.child.wait_text("the website of the option `failover-h2` does not answer: ");
        assert!(line.contains("its visitors are reset, and so are clients of gRPC"), "{line}");

        const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        let (speaks, connections) = Backend::manual();
        let told = format!("{take};failover-h2={};failover-proxy=v1;v", speaks.addr);
        let good = server(Ours, echo.addr, &told);
        let asked = next(&connections);
        assert!(recv(&asked, 10).starts_with(b"PROXY TCP4"));
        send(&asked, SETTINGS);
        good.child.wait_text("the website of the option `failover-h2` answers at");
    });
}

fn tunnel_fails(server: SocketAddr, options: &str, level: &str, words: &[&str]) -> Plugin {
    let client = client(Ours, server, options);
    let app = connect(client.addr);
    send(&app, b"hello");
    let (got, _) = recv_to_end(&app, STEP);
    assert!(got.is_empty(), "{options}: {}", String::from_utf8_lossy(&got));
    let line = client.child.wait_line(words[0], |line| line.contains(words[0]));
    assert!(line.contains(level) && words.iter().all(|word| line.contains(word)), "{options}: {line}");
    tells_no_secret(&client);
    client
}

/// Each answer that a client meets in the place of its server's.
#[test]
fn a_refusal_names_the_options_to_look_at() {
    within(secs(90), || {
        let web = format!("mode=websocket;mux=0;path=/{SECRET};host={SECRET}.example");
        let upgrade = format!("mode=httpupgrade;path=/{SECRET};host={SECRET}.example");
        let http = format!("obfs=http;obfs-uri=/{SECRET};obfs-host={SECRET}.example");
        let standard = format!("{http};handshake=standard");
        let mux = web.replace("mux=0", "mux=1");
        for (answer, words) in [
            (
                &b"HTTP/1.1 404 Not Found\r\n\r\n"[..],
                &["it answered `HTTP/1.1 404", "`path`", "`obfs-uri`", "`host`"][..],
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n", &["it answered `HTTP/1.1 200", "`path`"]),
            (b"HTTP/1.1 301 Moved\r\n\r\n", &["it answered `HTTP/1.1 301", "`tls` missing"]),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", &["it answered `HTTP/1.1 400", "`tls` missing"]),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", &["it answered `HTTP/1.1 502", "a proxy in front"]),
            (b"\x15\x03\x01\x00\x02\x02\x0a", &["it speaks TLS on this port", "`tls` missing"]),
            (b"SSH-2.0-OpenSSH\r\n", &["it answered `SSH-2.0-OpenSSH`", "not HTTP", "`mode`"]),
        ] {
            let site = website(answer);
            for options in [&web, &mux, &upgrade, &http, &standard] {
                tunnel_fails(site.addr, options, " WARN ", words);
            }
        }
        let fake_tls = format!("obfs=tls;obfs-host={SECRET}.example");
        for (answer, words) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &["the server speaks HTTP", "`obfs=tls`"][..]),
            (b"\x15\x03\x03\x00\x02\x02\x28", &["a website in real TLS has answered", "`obfs-host`"]),
        ] {
            tunnel_fails(website(answer).addr, &fake_tls, " WARN ", words);
        }
    });
}

/// A certificate of these dates, for [`NAME`].
pub fn dated(dir: &TempDir, from: &str, to: &str) -> Certificate {
    let file = |name: &str| dir.path().join(name);
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new(peers::path("openssl"));
        let output = command.args(arguments).current_dir(dir.path()).output().expect("run openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    dir.write(
        "ca.cnf",
        format!(
            "[ca]\ndefault_ca = x\n[x]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n\
             default_md = sha256\npolicy = p\nunique_subject = no\nrand_serial = yes\n[p]\n\
             commonName = supplied\n[e]\nsubjectAltName = DNS:{NAME}\n"
        ),
    );
    dir.write("index.txt", "");
    openssl(&[
        "req",
        "-new",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-subj",
        &format!("/CN={NAME}"),
        "-keyout",
        "key.pem",
        "-out",
        "request.pem",
    ]);
    openssl(&[
        "ca",
        "-batch",
        "-selfsign",
        "-notext",
        "-config",
        "ca.cnf",
        "-keyfile",
        "key.pem",
        "-in",
        "request.pem",
        "-startdate",
        from,
        "-enddate",
        to,
        "-extensions",
        "e",
        "-out",
        "cert.pem",
    ]);
    Certificate { cert: file("cert.pem"), key: file("key.pem"), dir: TempDir::new("dated") }
}

#[test]
fn tls_that_fails_is_told_in_words() {
    within(secs(120), || {
        need!("openssl");
        let echo = Backend::echo();
        let options = |certificate: &Certificate, host: &str| {
            format!("mode=websocket;mux=0;tls;host={host};cert={}", certificate.cert.display())
        };
        let own = Certificate::new(NAME);
        let with = |certificate: &Certificate| {
            server(Ours, echo.addr, &format!("mode=websocket;{}", certificate.for_server()))
        };

        // A name that is not in the certificate: with those that are, and not with that of the client.
        let good = with(&own);
        let words = ["certificate is not accepted", "`sni` or `host`", &format!("it is for {NAME}")];
        tunnel_fails(good.addr, &options(&own, &format!("{SECRET}.example")), " WARN ", &words);

        // A clock: with both dates.
        let (old, new) = (TempDir::new("old"), TempDir::new("new"));
        let expired = dated(&old, "20200101000000Z", "20210101000000Z");
        let early = dated(&new, "20700101000000Z", "20710101000000Z");
        let words =
            ["has expired at 2021-01-01T00:00:00Z", "this machine's clock says 20", "check this clock"];
        tunnel_fails(with(&expired).addr, &options(&expired, NAME), " WARN ", &words);
        let words =
            ["not valid before 2070-01-01T00:00:00Z", "this machine's clock says 20", "check this clock"];
        tunnel_fails(with(&early).addr, &options(&early, NAME), " WARN ", &words);

        // A port without TLS.
        let plain = website(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let words =
            ["does not speak TLS on this port", "it answered `HTTP/1.1 400 Bad Request`", "`tls` set"];
        for mode in ["mode=websocket;mux=0", "mode=websocket;mux=1", "mode=httpupgrade"] {
            let options = options(&own, NAME).replace("mode=websocket;mux=0", mode);
            tunnel_fails(plain.addr, &options, " WARN ", &words);
        }

        // Versions, alerts, ends.
        let alert = |kind: u8| Box::leak(Box::new([0x15, 3, 3, 0, 2, 2, kind])) as &'static [u8];
        for (alert, words) in
            [(alert(112), "option `host`"), (alert(70), "TLS 1.2 and 1.3"), (alert(40), "`host`")]
        {
            tunnel_fails(
                website(alert).addr,
                &options(&own, NAME),
                " WARN ",
                &["the server refused it", words],
            );
        }
        let closing = Backend::serve(|stream| drop((&stream).read(&mut [0; 4096])));
        tunnel_fails(closing.addr, &options(&own, NAME), " WARN ", &["closed the connection during it"]);
        let resetting = Backend::serve(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            reset(stream);
        });
        tunnel_fails(resetting.addr, &options(&own, NAME), " WARN ", &["was reset during it", "on the way"]);
    });
}

/// One line an outage, and one when it is over.
#[test]
fn a_silent_server_is_told_once() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let client = client(Ours, backend.addr, "obfs=http");
        let apps: Vec<_> = (0..5)
            .map(|_| {
                let app = connect(client.addr);
                send(&app, b"anybody there?");
                app
            })
            .collect();
        let silent: Vec<_> = (0..5).map(|_| crate::support::backend::next(&connections)).collect();
        client.child.wait_text("the server has said nothing for 10 s");
        let app = connect(client.addr);
        send(&app, b"hello");
        let mut answering = crate::support::backend::next(&connections);
        let _ = recv_head(&answering);
        answering
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            .expect("an answer");
        client.child.wait_text("INFO the server answers again");
        assert_eq!(
            lines_with(&client.child, &["has said nothing for 10 s"]),
            1,
            "{}",
            client.child.show_log()
        );
        drop((apps, silent));
    });
}

/// Three hundred strangers of all kinds at once: a few lines, and a good client goes on.
#[test]
fn a_flood_of_strangers_fills_no_log() {
    within(secs(120), || {
        let echo = Backend::echo();
        let options = format!("obfs=http;obfs-uri=/{SECRET};failover=127.0.0.1:{}", free_port());
        let server = server(Ours, echo.addr, &options);
        let client = client(Ours, server.addr, &format!("obfs=http;obfs-uri=/{SECRET}"));
        let good = connect(client.addr);
        assert_echo(&good, b"before");
        let strangers: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            format!("GET /wrong HTTP/1.1\r\nHost: a\r\n{GOOD}").into_bytes(),
            b"nonsense\r\n\r\n".to_vec(),
            fake_tls_hello("a.example"),
            b"\x16\x03\x01\x00\x01\x00".to_vec(),
            b"\n\x1b[2J forged\r\n\r\n".to_vec(),
        ];
        let threads: Vec<_> = strangers
            .into_iter()
            .map(|bytes| {
                let addr = server.addr;
                std::thread::spawn(move || (0..50).for_each(|_| visit(addr, &bytes)))
            })
            .collect();
        for thread in threads {
            thread.join().expect("strangers");
        }
        assert_echo(&good, b"after");
        let lines = ended(&server);
        // The start, what is behind, ten that meet no website, two kinds of misses, and the counts of the rest.
        assert!(lines.len() <= 25, "{} lines: {lines:#?}", lines.len());
        for words in [
            "290 more lines like `the website cannot be reached` were left out",
            "49 more upgrade requests missed the path",
            "49 more clients of `obfs=tls` came",
            "300 visitors in the last",
        ] {
            assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:#?}");
        }
        tells_no_secret(&server);
    });
}

/// The paths and names of every disguise, through a tunnel that works, one that is refused, and a server's end.
#[test]
fn no_secret_stands_in_the_log() {
    within(secs(120), || {
        need!("openssl");
        let (echo, site) = (Backend::echo(), not_found());
        let (path, host) = (format!("/{SECRET}"), format!("{SECRET}.example"));
        let certificate = Certificate::new(&host);
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let own = format!("cert={cert};key={key}");
        for (server_options, client_options) in [
            (
                format!("obfs=http;obfs-uri={path};obfs-host={host}"),
                format!("obfs=http;obfs-uri={path};obfs-host={host}"),
            ),
            (
                format!("obfs=http;http-host={host}"),
                format!("obfs=http;handshake=standard;path={path};obfs-host={host}"),
            ),
            (format!("obfs=tls;obfs-host={host}"), format!("obfs=tls;obfs-host={host}")),
            (
                format!("mode=websocket;path={path};host={host}"),
                format!("mode=websocket;path={path};host={host}"),
            ),
            (format!("mode=websocket;path={path}"), format!("mode=httpupgrade;path={path};host={host}")),
            (
                format!("mode=websocket;path={path};tls;{own}"),
                format!("mode=websocket;mux=0;path={path};tls;host={host};cert={cert}"),
            ),
            (
                format!("mode=auto;path={path};tls;{own};obfs-tls-host={host}"),
                format!("obfs=tls;obfs-host={host}"),
            ),
        ] {
            let server = server(Ours, echo.addr, &format!("{server_options};failover={}", site.addr));
            let client = client(Ours, server.addr, &client_options);
            let app = connect(client.addr);
            if !server_options.contains("http-host") {
                assert_echo(&app, b"works");
            }
            drop(app);
            // Another server answers, and another one asks.
            let lost = crate::support::plugin::client(Ours, site.addr, &client_options);
            let app = connect(lost.addr);
            send(&app, b"hello");
            let _ = recv_to_end(&app, STEP);
            visit(server.addr, format!("GET {path}/x HTTP/1.1\r\nHost: {host}\r\n{GOOD}").as_bytes());
            visit(server.addr, &fake_tls_hello(&format!("x.{host}")));
            for half in [&server, &client, &lost] {
                ended(half);
                tells_no_secret(half);
            }
        }
    });
}

/// Nobody waits for a disk: what it does not take is lost, and the tunnels go on.
#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    within(secs(60), || {
        let echo = Backend::echo();
        let dir = TempDir::new("log");
        let file = dir.path().join("log");
        for (kind, path) in [("full", Path::new("/dev/full")), ("file", &file)] {
            let port = free_port();
            let vars = Vars {
                remote: ("127.0.0.1".to_owned(), port),
                local: ("127.0.0.1".to_owned(), echo.addr.port()),
                options: "server;obfs=http;v".to_owned(),
            };
            let mut command = ours();
            vars.put(&mut command);
            let opened = std::fs::File::options().create(true).append(true).open(path).expect("a file");
            command.stderr(OwnedFd::from(opened));
            let child = Child::spawn_as_is(kind, command);
            child.wait_listening(port);
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            for _ in 0..100 {
                visit(addr, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            let tunnel = connect(addr);
            send(&tunnel, format!("GET / HTTP/1.1\r\nHost: a\r\n{GOOD}").as_bytes());
            assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "), "{kind}");
            assert_echo(&tunnel, b"works on");
            child.signal(Signal::TERM);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(0), "{kind}");
            assert!(!proc::port_listens(port));
        }
        let text = std::fs::read_to_string(&file).expect("the log");
        assert!(text.contains("listening on") && text.ends_with('\n'), "{text}");
        assert!(text.contains(" ending: ") && text.contains("100 visitors in the last"), "{text}");
    });
}

/// A port that another program has, and one that takes a right.
#[test]
fn a_port_that_cannot_be_had_is_told_with_what_helps() {
    within(secs(60), || {
        let echo = Backend::echo();
        let vars = Vars {
            remote: ("127.0.0.1".to_owned(), echo.addr.port()),
            local: ("127.0.0.1".to_owned(), free_port()),
            options: "server;obfs=http".to_owned(),
        };
        let mut command = ours();
        vars.put(&mut command);
        let child = Child::spawn("a server on a port that is taken", command);
        assert_eq!(child.wait_exit(secs(10)), Exit::Code(1));
        let lines = child.lines();
        assert!(
            lines[0].starts_with("obfs-rs: cannot listen on ") && lines[0].contains("ss -ltnp"),
            "{lines:?}"
        );
    });
}

/// Whoever runs the client learns it too, and once: the server grants every tunnel. (That of `obfs=tls` answers with
/// the first bytes of Shadowsocks, so there the resets before an answer are told.)
#[test]
fn a_shadowsocks_that_is_away_is_told_at_the_client() {
    within(secs(60), || {
        let away = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let server = server(Ours, away, "mode=auto");
        for options in [
            "obfs=http",
            "obfs=http;handshake=standard",
            "mode=websocket;mux=0",
            "mode=websocket;mux=1",
            "mode=websocket;mux=8",
        ] {
            let client = client(Ours, server.addr, options);
            let ask = || {
                let app = connect(client.addr);
                send(&app, b"anybody there?");
                assert!(recv_to_end(&app, secs(10)).0.is_empty(), "{options}");
            };
            let told = || {
                let lines = client.child.lines();
                lines.iter().filter(|line| line.contains("does Shadowsocks answer behind it?")).count()
            };
            ask();
            ask();
            assert_eq!(told(), 0, "{options}: two may be chance; {}", client.child.show_log());
            for _ in 0..4 {
                ask();
            }
            assert!(eventually(secs(5), || told() == 1), "{options}: {}", client.child.show_log());
        }
    });
}
