//! What the client half puts on the wire, seen by a server that records.

use crate::support::backend::{Backend, next};
use crate::support::conn::{End, assert_echo, connect, fin, recv, recv_head, recv_to_end, reset, send};
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, Plugin, SimpleObfs, client};
use crate::support::{millis, noise, secs, within};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::Instant;

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.22.1\r\n\
Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// A recording remote and a client half that dials it.
fn start(make: Make, options: &str) -> (Backend, Receiver<TcpStream>, Plugin) {
    let (remote, connections) = Backend::manual();
    let client = client(make, remote.addr, options);
    (remote, connections, client)
}

/// The head the client half sends for an application that says `first`.
fn head_of(make: Make, options: &str, first: &[u8]) -> (String, u16) {
    let (remote, connections, client) = start(make, options);
    let app = connect(client.addr);
    send(&app, first);
    let server = next(&connections);
    let head = recv_head(&server);
    assert_eq!(recv(&server, first.len()), first, "the payload follows the head");
    (head, remote.addr.port())
}

/// Replaces what differs from run to run: the key, curl's version, the port.
fn normalised(head: &str, port: u16) -> String {
    let lines = head.split("\r\n").map(|line| match line.split_once(": ") {
        Some(("Sec-WebSocket-Key", key)) => {
            assert!(key.len() == 24 && key.ends_with("=="), "16 bytes in base64: {key}");
            "Sec-WebSocket-Key: KEY".to_owned()
        }
        Some(("User-Agent", agent)) => {
            let numbers = agent.strip_prefix("curl/7.").expect("curl 7");
            let (minor, patch) = numbers.split_once('.').expect("a version");
            assert!(minor.parse::<u8>().is_ok() && patch.parse::<u8>().is_ok(), "{agent}");
            "User-Agent: curl/7.X.Y".to_owned()
        }
        Some(("Host", host)) => format!("Host: {}", host.replace(&format!(":{port}"), ":PORT")),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

const EXPECTED: &str = "GET / HTTP/1.1\r\nHost: www.bing.com:PORT\r\nUser-Agent: curl/7.X.Y\r\n\
Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nContent-Length: 517\r\n\r\n";

#[test]
fn the_request_is_simple_obfs_request() {
    within(secs(60), || {
        need!("obfs-local");
        let options = "obfs=http;obfs-host=www.bing.com";
        let payload = noise(517, 1);
        let (theirs, port) = head_of(SimpleObfs, options, &payload);
        assert_eq!(normalised(&theirs, port), EXPECTED, "the yardstick");
        let (ours, port) = head_of(Ours, options, &payload);
        assert_eq!(normalised(&ours, port), EXPECTED);
    });
}

/// One write: the head and the application's first bytes leave together.
#[test]
fn head_and_payload_come_in_one_segment() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
        let app = connect(client.addr);
        send(&app, &noise(517, 1));
        let server = next(&connections);
        let mut buffer = [0; 4096];
        let n = std::io::Read::read(&mut &server, &mut buffer).expect("the first flight");
        let at = buffer[..n].windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        assert_eq!(n, at + 4 + 517);
    });
}

/// The key is new for each connection, the browser stays the same for the whole process.
#[test]
fn keys_change_and_the_user_agent_does_not() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
        let heads: Vec<String> = (0..4)
            .map(|_| {
                send(&connect(client.addr), b"x");
                recv_head(&next(&connections))
            })
            .collect();
        let pick = |name: &str| {
            let mut values: Vec<&str> =
                heads.iter().filter_map(|h| h.lines().find(|l| l.starts_with(name))).collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        assert_eq!(pick("Sec-WebSocket-Key: "), 4, "{heads:?}");
        assert_eq!(pick("User-Agent: "), 1, "{heads:?}");
    });
}

#[test]
fn path_and_method_are_the_options() {
    within(secs(60), || {
        for (options, line) in [
            ("obfs-host=a.example;obfs-uri=/stream", "GET /stream HTTP/1.1"),
            ("obfs-host=a.example;path=/stream", "GET /stream HTTP/1.1"),
            ("obfs-host=a.example;http-method=POST", "POST / HTTP/1.1"),
            ("obfs-host=a.example;obfs-uri=/a\\;b\\=c", "GET /a;b=c HTTP/1.1"),
        ] {
            let (head, port) = head_of(Ours, &format!("obfs=http;{options}"), b"x");
            let rest = format!("{line}\r\nHost: a.example:{port}\r\n");
            assert!(head.starts_with(&rest), "{options}: {head}");
        }
    });
}

/// Without `obfs-host` the name is the remote's, as SIP003 gave it.
#[test]
fn the_host_defaults_to_the_remote() {
    within(secs(60), || {
        let (head, port) = head_of(Ours, "obfs=http", b"x");
        assert!(head.contains(&format!("\r\nHost: 127.0.0.1:{port}\r\n")), "{head}");
    });
}

/// `handshake=standard`: no body, so nothing but the head goes out before the 101.
#[test]
fn standard_waits_for_the_101_before_it_sends_payload() {
    within(secs(60), || {
        let options = "obfs=http;obfs-host=www.bing.com;handshake=standard";
        let (remote, connections, client) = start(Ours, options);
        let app = connect(client.addr);
        send(&app, b"hello");
        let server = next(&connections);
        let head = normalised(&recv_head(&server), remote.addr.port());
        assert_eq!(head, EXPECTED.replace("Content-Length: 517\r\n", ""));
        // Nothing may come now, however long the answer takes.
        let (early, end) = recv_to_end(&server, millis(400));
        assert_eq!((early.len(), end), (0, End::Open), "payload before the 101: {early:?}");
        crate::support::conn::prepare(&server);
        send(&server, ANSWER);
        assert_eq!(recv(&server, 5), b"hello");
        send(&server, b"world");
        assert_eq!(recv(&app, 5), b"world");
    });
}

/// The answer may come in any pieces, the first payload with its end; none of it reaches the app.
#[test]
fn the_answer_may_be_cut_anywhere() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
        let answer = [ANSWER, b"payload"].concat();
        for at in 1..answer.len() {
            let app = connect(client.addr);
            send(&app, b"x");
            let server = next(&connections);
            recv_head(&server);
            send(&server, &answer[..at]);
            // The gap is the stimulus.
            std::thread::sleep(millis(3));
            send(&server, &answer[at..]);
            assert_eq!(recv(&app, 7), b"payload", "cut at {at}");
        }
    });
}

/// What deployed servers answer: any header, any order, any case, obs-text in `Server`.
#[test]
fn answers_of_other_servers_are_taken() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: WebSocket\r\nServer: x\r\n\r\n",
            "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU=\r\n\r\n",
        ] {
            let app = connect(client.addr);
            send(&app, b"x");
            let server = next(&connections);
            recv_head(&server);
            send(&server, format!("{answer}payload").as_bytes());
            assert_eq!(recv(&app, 7), b"payload", "{answer}");
        }
    });
}

/// Anything but a 101 to a WebSocket ends the connection, and the log shows the status line.
#[test]
fn other_answers_end_the_connection_and_are_logged() {
    within(secs(60), || {
        for (answer, shown) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nlost", "HTTP/1.1 404 Not Found"),
            ("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nx", "HTTP/1.1 200 OK"),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nx", "HTTP/1.1 101 Switching Protocols"),
            ("HTTP/1.0 502 Bad Gateway\r\n\r\n", "HTTP/1.0 502 Bad Gateway"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "SSH-2.0-OpenSSH_9.2"),
        ] {
            let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
            let app = connect(client.addr);
            send(&app, b"x");
            let server = next(&connections);
            recv_head(&server);
            send(&server, answer.as_bytes());
            let (got, end) = recv_to_end(&app, secs(20));
            assert_eq!(got, b"", "{answer:?} reached the application");
            assert_ne!(end, End::Open, "{answer:?}; {}", client.child.show_log());
            client.child.wait_text(shown);
            // and the remote is let go
            let (_, end) = recv_to_end(&server, secs(20));
            assert_ne!(end, End::Open, "{answer:?}; {}", client.child.show_log());
        }
    });
}

/// An answer that never ends is not collected for ever.
#[test]
fn an_endless_answer_ends_the_connection() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http;obfs-host=www.bing.com");
        let app = connect(client.addr);
        send(&app, b"x");
        let server = next(&connections);
        recv_head(&server);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::io::Write;
                let _ = (&server).write_all(b"HTTP/1.1 101 Switching Protocols\r\n");
                for i in 0..20_000 {
                    if write!(&server, "X-{i}: {}\r\n", "y".repeat(100)).is_err() {
                        return;
                    }
                }
            });
            let (got, end) = recv_to_end(&app, secs(20));
            assert_eq!(got, b"");
            assert_ne!(end, End::Open, "{}", client.child.show_log());
        });
    });
}

/// A host that asks whether the port is up: connect, close. By FIN or by reset, no dial.
#[test]
fn a_connection_without_a_byte_dials_nothing() {
    within(secs(60), || {
        for options in ["obfs=http", "obfs=http;handshake=standard"] {
            let (remote, connections, client) = start(Ours, options);
            for _ in 0..20 {
                drop(connect(client.addr));
                reset(connect(client.addr));
            }
            // A real tunnel: had a probe dialled, it would have come before.
            let app = connect(client.addr);
            send(&app, b"real");
            let server = next(&connections);
            let head = recv_head(&server);
            assert!(!head.contains("Content-Length: 0"), "{head}");
            assert_eq!(remote.accepted(), 1, "{options}; {}", client.child.show_log());
        }
    });
}

/// The application is silent: the request goes out alone, soon.
#[test]
fn the_request_goes_alone_when_the_application_is_silent() {
    within(secs(60), || {
        for options in ["obfs=http", "obfs=http;handshake=standard"] {
            let (_remote, connections, client) = start(Ours, options);
            let started = Instant::now();
            let app = connect(client.addr);
            let server = next(&connections);
            let head = recv_head(&server);
            assert!(started.elapsed() < secs(3), "{options}: {:?}", started.elapsed());
            let length = head.lines().find(|l| l.starts_with("Content-Length"));
            assert!(matches!(length, None | Some("Content-Length: 0")), "{head}");
            send(&server, &[ANSWER, b"220 hi\r\n"].concat());
            assert_eq!(recv(&app, 8), b"220 hi\r\n");
            send(&app, b"EHLO");
            assert_eq!(recv(&server, 4), b"EHLO");
        }
    });
}

/// Says something, then FIN, before the answer: the answer still arrives.
#[test]
fn a_fin_right_behind_the_first_bytes_is_a_half_close() {
    within(secs(60), || {
        for options in ["obfs=http", "obfs=http;handshake=standard"] {
            let (_remote, connections, client) = start(Ours, options);
            let app = connect(client.addr);
            send(&app, b"question");
            fin(&app);
            let server = next(&connections);
            recv_head(&server);
            send(&server, ANSWER);
            let (got, end) = recv_to_end(&server, secs(20));
            assert_eq!((got.as_slice(), end), (&b"question"[..], End::Fin), "{options}");
            send(&server, b"answer");
            fin(&server);
            assert_eq!(recv_to_end(&app, secs(20)), (b"answer".to_vec(), End::Fin), "{options}");
        }
    });
}

/// The remote closes instead of answering.
#[test]
fn a_remote_that_closes_before_the_answer_ends_the_tunnel() {
    within(secs(60), || {
        let (_remote, connections, client) = start(Ours, "obfs=http");
        let app = connect(client.addr);
        send(&app, b"x");
        let server = next(&connections);
        recv_head(&server);
        drop(server);
        let (got, end) = recv_to_end(&app, secs(20));
        assert_eq!(got, b"");
        assert_ne!(end, End::Open, "{}", client.child.show_log());
        // and the next one works
        let app = connect(client.addr);
        send(&app, b"x");
        let server = next(&connections);
        recv_head(&server);
        recv(&server, 1);
        send(&server, ANSWER);
        let echo = std::thread::spawn(move || {
            let byte = recv(&server, 3);
            send(&server, &byte);
        });
        assert_echo(&app, b"abc");
        echo.join().expect("the remote");
    });
}
