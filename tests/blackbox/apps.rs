//! Clients as deployed apps write them, against the server half.

use crate::support::backend::{Backend, next};
use crate::support::conn::{End, connect, fin, recv, recv_head, recv_to_end, send};
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::{assert_same, eventually, millis, noise, secs, within};
use base64::Engine;
use std::time::{Duration, SystemTime};

/// The accept value RFC 6455 asks for, computed here and not by the crate under test.
fn accept_of(key: &str) -> String {
    use sha1::Digest;
    let mut hash = sha1::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}

/// The value of a header, in any case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A 101 that every known client takes.
#[track_caller]
fn assert_101(head: &str) {
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let upgrade = header(head, "Upgrade").unwrap_or_default();
    let connection = header(head, "Connection").unwrap_or_default();
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{head}");
    assert!(connection.eq_ignore_ascii_case("upgrade"), "{head}");
    for forbidden in ["Content-Length", "Transfer-Encoding"] {
        assert_eq!(header(head, forbidden), None, "a 101 has no body: {head}");
    }
}

fn start(options: &str) -> (Backend, Plugin) {
    let backend = Backend::echo();
    let server = server(Ours, backend.addr, options);
    (backend, server)
}

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: www.bing.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// v2ray's HTTPUpgrade: no key, no version; it waits for the answer.
#[test]
fn httpupgrade_waits_for_the_101_then_talks() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        let stream = connect(server.addr);
        send(&stream, UPGRADE.as_bytes());
        let head = recv_head(&stream);
        assert_101(&head);
        assert_eq!(header(&head, "Sec-WebSocket-Accept"), None, "there was no key: {head}");
        crate::support::conn::assert_echo(&stream, &noise(300_000, 1));
    });
}

#[test]
fn httpupgrade_with_the_payload_behind_the_request() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        let payload = noise(70_000, 2);
        let stream = connect(server.addr);
        send(&stream, &[UPGRADE.as_bytes(), &payload[..]].concat());
        assert_101(&recv_head(&stream));
        assert_same("the echo", &recv(&stream, payload.len()), &payload);
    });
}

/// The request of mihomo's and sing-box's `obfs=http`: the port in Host, a key in URL-safe base64.
fn mihomo_request(payload_len: usize) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: www.bing.com:8139\r\nUser-Agent: curl/7.54.0\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: __79-_r4-_z9_v_AwcLDxA==\r\n\
         Content-Length: {payload_len}\r\n\r\n"
    )
}

#[test]
fn mihomo_style_request_with_a_url_safe_key() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http;obfs-host=www.bing.com");
        let payload = noise(1200, 3);
        let stream = connect(server.addr);
        send(&stream, &[mihomo_request(payload.len()).as_bytes(), &payload].concat());
        let head = recv_head(&stream);
        assert_101(&head);
        let expected = accept_of("__79-_r4-_z9_v_AwcLDxA==");
        assert_eq!(header(&head, "Sec-WebSocket-Accept"), Some(expected.as_str()), "{head}");
        assert_same("the echo", &recv(&stream, payload.len()), &payload);
    });
}

/// mihomo reads the answer in one go and looks for the blank line in what it got.
#[test]
fn the_101_comes_in_one_segment() {
    within(secs(30), || {
        let (backend, connections) = Backend::manual();
        let server = server(Ours, backend.addr, "obfs=http");
        let stream = connect(server.addr);
        send(&stream, &[mihomo_request(3).as_bytes(), b"abc"].concat());
        // The backend has the payload, so the answer is complete in our socket's buffer.
        let behind = next(&connections);
        assert_eq!(recv(&behind, 3), b"abc");
        let mut buffer = [0; 4096];
        let n = std::io::Read::read(&mut &stream, &mut buffer).expect("the answer");
        assert!(buffer[..n].ends_with(b"\r\n\r\n"), "{:?}", String::from_utf8_lossy(&buffer[..n]));
    });
}

/// `Content-Length` may be wrong, absent or huge: what follows the head is the stream.
#[test]
fn content_length_is_opaque() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        for length in ["0", "1", "99999999999999999999", "-1", "x", ""] {
            let request = UPGRADE.replace("\r\n\r\n", &format!("\r\nContent-Length: {length}\r\n\r\n"));
            let stream = connect(server.addr);
            send(&stream, &[request.as_bytes(), b"first bytes"].concat());
            assert_101(&recv_head(&stream));
            assert_eq!(recv(&stream, 11), b"first bytes", "Content-Length: {length}");
        }
    });
}

/// RFC 6455's own example, and keys nobody should care about.
#[test]
fn accept_is_derived_from_the_key() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for key in ["dGhlIHNhbXBsZSBub25jZQ==", "short", "____", "not base64 at all!"] {
            let request = UPGRADE.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Key: {key}\r\n\r\n"));
            let stream = connect(server.addr);
            send(&stream, request.as_bytes());
            let head = recv_head(&stream);
            assert_101(&head);
            let expected = accept_of(key);
            assert_eq!(header(&head, "Sec-WebSocket-Accept"), Some(expected.as_str()), "key {key}");
        }
    });
}

/// The backend says nothing and even takes no connection yet: the 101 does not wait for it.
#[test]
fn the_101_does_not_wait_for_the_backend() {
    within(secs(30), || {
        let (backend, _connections) = Backend::manual();
        let server = server(Ours, backend.addr, "obfs=http");
        let stream = connect(server.addr);
        send(&stream, UPGRADE.as_bytes());
        assert_101(&recv_head(&stream));
    });
}

/// `Date` is the time of the answer, in GMT, in the one format that HTTP allows.
#[test]
fn the_date_is_the_time_in_gmt() {
    within(secs(30), || {
        let backend = Backend::echo();
        // A time zone far from GMT: who writes local time is found out. POSIX form: needs no files.
        let port = crate::support::ports::free_port();
        let mut command = crate::support::plugin::ours();
        crate::support::plugin::Vars {
            remote: ("127.0.0.1".into(), port),
            local: ("127.0.0.1".into(), backend.addr.port()),
            options: "server;obfs=http".into(),
        }
        .put(&mut command);
        command.env("TZ", "XYZ-11");
        let child = crate::support::child::Child::spawn("server", command);
        child.wait_listening(port);
        let stream = connect(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        send(&stream, UPGRADE.as_bytes());
        let head = recv_head(&stream);
        let date = header(&head, "Date").unwrap_or_else(|| panic!("no Date: {head}"));
        let told = httpdate::parse_http_date(date).unwrap_or_else(|e| panic!("{date}: {e}"));
        assert_eq!(httpdate::fmt_http_date(told), date, "the one format");
        let now = SystemTime::now();
        let off = now.duration_since(told).unwrap_or_else(|e| e.duration());
        assert!(off < Duration::from_secs(30), "{date} is {off:?} off");
    });
}

/// Names, tokens and lists in any case and any company, as RFC 9110 allows.
#[test]
fn spelling_of_the_upgrade_does_not_matter() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        for (connection, upgrade) in [
            ("Connection: upgrade", "Upgrade: websocket"),
            ("CONNECTION: UPGRADE", "UPGRADE: WEBSOCKET"),
            ("connection: keep-alive, Upgrade", "upgrade: WebSocket"),
            ("Connection:Upgrade", "Upgrade:websocket"),
            ("Connection:  Upgrade ", "Upgrade:\twebsocket\t"),
            ("Connection: Upgrade,keep-alive", "Upgrade: foo, websocket"),
            ("Connection: keep-alive\r\nConnection: Upgrade", "Upgrade: websocket"),
        ] {
            let stream = connect(server.addr);
            send(
                &stream,
                format!("GET /any HTTP/1.1\r\n{upgrade}\r\nHost: a\r\n{connection}\r\n\r\nhello").as_bytes(),
            );
            assert_101(&recv_head(&stream));
            assert_eq!(recv(&stream, 5), b"hello", "{connection} / {upgrade}");
        }
    });
}

/// Every byte position of the request (and its payload) as the border of two segments.
#[test]
fn a_request_cut_at_every_byte() {
    within(secs(60), || {
        let (_backend, server) = start("obfs=http");
        let request = [mihomo_request(5).as_bytes(), b"hello"].concat();
        let addr = server.addr;
        let failed: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..request.len())
                .map(|at| {
                    let request = &request;
                    scope.spawn(move || {
                        let stream = connect(addr);
                        send(&stream, &request[..at]);
                        // The gap is the stimulus: without it the kernel may join the segments.
                        std::thread::sleep(millis(30));
                        send(&stream, &request[at..]);
                        let mut got = Vec::new();
                        while !got.ends_with(b"\r\n\r\nhello") {
                            let mut byte = [0];
                            match std::io::Read::read(&mut &stream, &mut byte) {
                                Ok(1) => got.push(byte[0]),
                                other => {
                                    return Some(format!(
                                        "cut at {at}: {other:?} after {:?}",
                                        String::from_utf8_lossy(&got)
                                    ));
                                }
                            }
                        }
                        (!got.starts_with(b"HTTP/1.1 101 ")).then(|| format!("cut at {at}"))
                    })
                })
                .collect();
            threads.into_iter().filter_map(|t| t.join().expect("a probe")).collect()
        });
        assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), server.child.show_log());
    });
}

#[test]
fn a_request_one_byte_at_a_time() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        let stream = connect(server.addr);
        for byte in [mihomo_request(5).as_bytes(), b"hello"].concat() {
            send(&stream, &[byte]);
            // The slow typist is the stimulus.
            std::thread::sleep(millis(3));
        }
        assert_101(&recv_head(&stream));
        assert_eq!(recv(&stream, 5), b"hello");
    });
}

/// A head near the limit of 16 KiB is still a head.
#[test]
fn a_large_head_still_matches() {
    within(secs(30), || {
        let (_backend, server) = start("obfs=http");
        let filler: String = (0..30).map(|i| format!("X-Filler-{i}: {}\r\n", "f".repeat(450))).collect();
        let request = UPGRADE.replace("Connection", &format!("{filler}Connection"));
        let stream = connect(server.addr);
        send(&stream, &[request.as_bytes(), b"hello"].concat());
        assert_101(&recv_head(&stream));
        assert_eq!(recv(&stream, 5), b"hello");
    });
}

/// What the server was told to want: path (its query does not count), host (its port does not), method.
#[test]
fn path_host_and_method_of_the_server_are_matched() {
    within(secs(60), || {
        let matches = |options: &str, line: &str, host: &str| {
            let (backend, server) = start(options);
            let stream = connect(server.addr);
            let request = format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            );
            send(&stream, request.as_bytes());
            let head = recv_head(&stream);
            let matched = head.starts_with("HTTP/1.1 101 ");
            if !matched {
                // It is a visitor, of whom more is awaited.
                fin(&stream);
                let (_, end) = recv_to_end(&stream, secs(20));
                assert_eq!(end, End::Fin, "{options}: {line}");
            }
            // When it matches, the backend is dialled; when not, never.
            assert_eq!(eventually(secs(if matched { 10 } else { 0 }), || backend.accepted() == 1), matched);
            matched
        };
        for (options, line, host, expected) in [
            ("obfs-uri=/stream", "GET /stream", "a", true),
            ("path=/stream", "GET /stream", "a", true),
            ("path=/stream", "GET /stream?ed=2048", "a", true),
            ("path=/stream", "GET /Stream", "a", false),
            ("path=/stream", "GET /stream/", "a", false),
            ("path=/stream", "GET /", "a", false),
            ("obfs-host=www.bing.com", "GET /", "www.bing.com", true),
            ("obfs-host=www.bing.com", "GET /", "WWW.Bing.COM:8139", true),
            ("obfs-host=www.bing.com", "GET /", "bing.com", false),
            ("obfs-host=www.bing.com", "GET /", "www.bing.com.evil.example", false),
            ("obfs=http", "POST /", "a", false),
            ("http-method=POST", "POST /", "a", true),
            ("http-method=POST", "GET /", "a", false),
        ] {
            assert_eq!(matches(options, line, host), expected, "{options}: {line}, Host: {host}");
        }
    });
}
