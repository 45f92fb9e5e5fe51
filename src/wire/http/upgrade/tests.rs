//! Requests and answers as they are met.

use super::detect::MAX_LINE;
use super::*;
use crate::wire::http::MAX_HEAD;
use proptest::prelude::*;
use std::sync::LazyLock;

static ANY: LazyLock<HttpRule> = LazyLock::new(|| HttpRule {
    method: "GET".into(),
    path: None,
    web_path: None,
    routes: Default::default(),
    host: None,
});
static STRICT: LazyLock<HttpRule> = LazyLock::new(|| HttpRule {
    path: Some("/stream".into()),
    host: Some("live.example.com".into()),
    ..ANY.clone()
});

fn request(first_line: &str, headers: &[&str]) -> Vec<u8> {
    format!("{first_line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
}

const GOOD: &[&str] = &["Host: live.example.com:8388", "Connection: Upgrade", "Upgrade: websocket"];

fn is_taken(bytes: &[u8], rule: &HttpRule) -> bool {
    matches!(UpgradeDetector::default().detect(bytes, rule), UpgradeParse::Upgrade(_))
}

#[test]
fn what_deployed_clients_send_is_taken() {
    for headers in [
        GOOD,
        &["host: live.example.com", "connection: keep-alive, upgrade", "upgrade: WebSocket"],
        &[
            "Host: LIVE.example.com",
            "Connection: keep-alive",
            "Connection: Upgrade",
            "Upgrade: h2c, websocket",
        ],
        &["Host: live.example.com", "Connection:upgrade", "Upgrade:websocket", "Content-Length: 17"],
    ] {
        assert!(is_taken(&request("GET /stream HTTP/1.1", headers), &STRICT), "{headers:?}");
    }
    assert!(is_taken(&request("GET /stream?ed=2048 HTTP/1.1", GOOD), &STRICT));
    assert!(is_taken(&request("POST / HTTP/1.1", GOOD), &HttpRule { method: "POST".into(), ..ANY.clone() }));
}

/// Requests of all kinds, whatever the paths of the others are, "any" among them.
#[test]
fn a_path_with_a_route_is_taken_before_any_other() {
    let routes = PathTable::new(["/a", "/b b"].into_iter());
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let version = "Sec-WebSocket-Version: 13";
    let own = || Some("/own".to_owned());
    for (path, web_path) in [(None, None), (None, own()), (own(), None), (own(), own())] {
        let rule = HttpRule { path: path.clone(), web_path, routes: routes.clone(), ..ANY.clone() };
        for more in [&[][..], &[key], &[key, version]] {
            let headers = [GOOD, more].concat();
            let route = |line: &str| match UpgradeDetector::default().detect(&request(line, &headers), &rule)
            {
                UpgradeParse::Upgrade(upgrade) => Some(upgrade.route),
                _ => None,
            };
            assert_eq!(route("GET /a HTTP/1.1"), Some(Some(0)), "{rule:?} {more:?}");
            assert_eq!(route("GET /b%20b?ed=2048 HTTP/1.1"), Some(Some(1)), "{rule:?} {more:?}");
            assert_eq!(route("GET /own HTTP/1.1"), Some(None), "{rule:?} {more:?}");
            assert_eq!(route("POST /a HTTP/1.1"), None, "{rule:?} {more:?}");
            // As without routes.
            let without = HttpRule { routes: PathTable::default(), ..rule.clone() };
            let other = request("GET /a/ HTTP/1.1", &headers);
            assert_eq!(is_taken(&other, &rule), is_taken(&other, &without), "{rule:?} {more:?}");
        }
        let none = request("GET /a HTTP/1.1", &["Host: live.example.com"]);
        assert!(!is_taken(&none, &rule));
    }
}

#[test]
fn an_upgrade_request_says_what_it_missed() {
    let bytes = |line: &str, headers: &[&str]| request(line, headers);
    let [host, connection, upgrade] = GOOD else { unreachable!() };
    let (line, key) = ("GET /stream HTTP/1.1", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==");
    let routes = PathTable::new(["/routed"].into_iter());
    let web = HttpRule { web_path: Some("/ws".into()), routes, ..STRICT.clone() };
    for (rule, bytes, missed) in [
        (&*STRICT, bytes(line, GOOD), None),
        (&STRICT, bytes("POST /stream HTTP/1.1", GOOD), Some(UpgradeMiss::Method)),
        (&STRICT, bytes("GET /other HTTP/1.1", GOOD), Some(UpgradeMiss::Path)),
        (&STRICT, bytes("GET /stream HTTP/1.0", GOOD), Some(UpgradeMiss::HttpVersion)),
        (&STRICT, bytes(line, &[host, key]), Some(UpgradeMiss::UpgradeHeaders)),
        (&STRICT, bytes(line, &["Host: other.example", connection, upgrade]), Some(UpgradeMiss::Host)),
        (&STRICT, bytes(line, &[connection, upgrade]), Some(UpgradeMiss::Host)),
        (&STRICT, bytes(line, &[host, upgrade]), Some(UpgradeMiss::UpgradeHeaders)),
        (
            &STRICT,
            bytes(line, &[host, "Upgrade: h2c, x", key, "X: websocket"]),
            Some(UpgradeMiss::UpgradeHeaders),
        ),
        (
            &STRICT,
            bytes(line, &[host, connection, upgrade, "Transfer-Encoding: chunked"]),
            Some(UpgradeMiss::Head),
        ),
        (&web, bytes("GET /routed HTTP/1.1", GOOD), None),
        (
            &web,
            bytes("GET /routed HTTP/1.1", &["Host: other.example", connection, upgrade]),
            Some(UpgradeMiss::Host),
        ),
        // Each kind of client has a path of its own here.
        (&web, bytes(line, &[host, connection, upgrade, key]), None),
        (&web, bytes("GET /ws HTTP/1.1", &[host, connection, upgrade, key]), Some(UpgradeMiss::Path)),
        (
            &web,
            bytes(line, &[host, connection, upgrade, key, "Sec-WebSocket-Version: 13"]),
            Some(UpgradeMiss::Path),
        ),
    ] {
        let found = rule.missed(&bytes).map(|found| found.missed);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(found, Some(missed), "{text}");
        assert_eq!(is_taken(&bytes, rule), missed.is_none(), "{text}");
    }
    for bytes in [
        bytes("GET / HTTP/1.1", &[host]),
        bytes("GET /websocket HTTP/1.1", &[host, connection]),
        b"GET /stream HTTP/1.1\r\nUpgrade: websocket\r\n".to_vec(),
        b"GET /other HTTP/1.1\r\nUpgrade: websock".to_vec(),
        b"websocket\r\n\r\n".to_vec(),
    ] {
        assert_eq!(STRICT.missed(&bytes), None, "{}", String::from_utf8_lossy(&bytes));
    }
    // Not all of it has come, and it is known all the same.
    let partial = b"GET /other HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX-Long: aaa";
    assert_eq!(STRICT.missed(partial).unwrap().missed, Some(UpgradeMiss::Path));
    let nasty = format!("GET /{}\u{1b} HTTP/1.1", "x".repeat(5000));
    let asked = STRICT.missed(&request(&nasty.replace('\u{1b}', "%1b"), GOOD)).unwrap().asked;
    assert!(asked.len() < 500 && asked.ends_with(", host live.example.com:8388"), "{asked}");
}

#[test]
fn payload_begins_behind_the_head() {
    let mut bytes = request("GET / HTTP/1.1", GOOD);
    let head_len = bytes.len();
    bytes.extend_from_slice(b"\r\n\r\npayload");
    assert_eq!(
        UpgradeDetector::default().detect(&bytes, &ANY),
        UpgradeParse::Upgrade(Upgrade {
            route: None,
            head_len,
            key: None,
            versioned: false,
            protocol: None,
            packets: false
        })
    );
}

/// wss-proxy's clients say so that each message is a packet of UDP.
#[test]
fn messages_are_packets_where_the_request_says_so() {
    let version = "Sec-WebSocket-Version: 13";
    for (further, packets) in [
        (&[version, "X-Sock-Type: udp"][..], true),
        (&["x-sock-type:  UDP ", version], true),
        (&[version], false),
        (&[version, "X-Sock-Type: tcp"], false),
        (&[version, "X-Sock-Type: udp, tcp"], false),
        (&[version, "X-Sock-Type:"], false),
        (&[version, "X-Sock-Types: udp"], false),
        // No frames follow.
        (&["X-Sock-Type: udp"], false),
    ] {
        let request = request("GET / HTTP/1.1", &[GOOD, further].concat());
        match UpgradeDetector::default().detect(&request, &ANY) {
            UpgradeParse::Upgrade(upgrade) => assert_eq!(upgrade.packets, packets, "{further:?}"),
            other => panic!("{further:?}: {other:?}"),
        }
    }
    // It makes nothing ours that is not.
    let other = request("GET /other HTTP/1.1", &[GOOD, &[version, "X-Sock-Type: udp"]].concat());
    assert_eq!(UpgradeDetector::default().detect(&other, &STRICT), UpgradeParse::Other);
}

#[test]
fn what_is_no_upgrade_of_ours_is_not_taken() {
    let host = "Host: live.example.com";
    let cases: &[(&str, &[&str])] = &[
        ("GET /stream HTTP/1.0", GOOD),
        ("POST /stream HTTP/1.1", GOOD),
        ("get /stream HTTP/1.1", GOOD),
        ("GET /stream2 HTTP/1.1", GOOD),
        ("GET / HTTP/1.1", GOOD),
        ("GET /stream HTTP/1.1", &["Host: other", "Connection: Upgrade", "Upgrade: websocket"]),
        ("GET /stream HTTP/1.1", &["Connection: Upgrade", "Upgrade: websocket"]),
        ("GET /stream HTTP/1.1", &[host, host, "Connection: Upgrade", "Upgrade: websocket"]),
        ("GET /stream HTTP/1.1", &[host, "Upgrade: websocket"]),
        ("GET /stream HTTP/1.1", &[host, "Connection: Upgrade"]),
        ("GET /stream HTTP/1.1", &[host, "Connection: Upgrade", "Upgrade: h2c"]),
        ("GET /stream HTTP/1.1", &[host, "Connection: Upgrades", "Upgrade: websockets"]),
        (
            "GET /stream HTTP/1.1",
            &[host, "Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"],
        ),
    ];
    for (first_line, headers) in cases {
        assert_eq!(
            UpgradeDetector::default().detect(&request(first_line, headers), &STRICT),
            UpgradeParse::Other,
            "{first_line} {headers:?}"
        );
    }
}

/// A verdict that waits for bytes that cannot matter would show in the timing.
#[test]
fn other_is_said_as_early_as_can_be() {
    for (bytes, rule) in [
        (&b"P"[..], &ANY),
        (b"GET\t", &ANY),
        (b"\x16\x03\x01", &ANY),
        (b"GET /other HTTP", &STRICT),
        (b"GET / HTTP/1.0\r\n", &ANY),
        (b"GET / HTTP/1.1\r\nHost: x\0", &ANY),
        (b"GET / HTTP/1.1\r\nbad header", &ANY),
    ] {
        assert_eq!(
            UpgradeDetector::default().detect(bytes, rule),
            UpgradeParse::Other,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    let long_target = [b"GET /".to_vec(), vec![b'a'; MAX_LINE]].concat();
    assert_eq!(UpgradeDetector::default().detect(&long_target, &ANY), UpgradeParse::Other);
    let long_head = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(90), b"C: ".to_vec()].concat();
    assert_eq!(UpgradeDetector::default().detect(&long_head, &ANY), UpgradeParse::NeedMore);
    let too_long =
        [b"GET / HTTP/1.1\r\n".to_vec(), format!("A: {}\r\n", "b".repeat(6000)).repeat(3).into()].concat();
    assert_eq!(UpgradeDetector::default().detect(&too_long, &ANY), UpgradeParse::Other);
}

const OF_GO: UpgradeRequest<'static> = UpgradeRequest {
    method: "GET",
    path: "/stream?ed=2048",
    host: "www.example.com",
    user_agent: "Go-http-client/1.1",
    key: None,
    versioned: false,
    protocol: None,
    content_length: None,
    headers: &[],
    order: HeaderOrder::GO,
};

#[test]
fn a_request_is_written_as_simple_obfs_writes_it() {
    let request = UpgradeRequest {
        path: "/",
        host: "www.bing.com:8388",
        user_agent: "curl/7.29.1",
        key: Some("AAAAAAAAAAAAAAAAAAAAAA=="),
        content_length: Some(5),
        order: HeaderOrder::SIMPLE_OBFS,
        ..OF_GO
    };
    assert_eq!(
        String::from_utf8(request.encode()).unwrap(),
        "GET / HTTP/1.1\r\nHost: www.bing.com:8388\r\nUser-Agent: curl/7.29.1\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn requests_are_written_as_go_writes_them() {
    let further = [("X-Forwarded-Proto", "https"), ("Accept", "*/*"), ("Cookie", "a"), ("Cookie", "b")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = UpgradeRequest {
        key: Some("KEY"),
        versioned: true,
        protocol: Some("aGVsbG8"),
        headers: &further,
        ..OF_GO
    };
    let start = "GET /stream?ed=2048 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Go-http-client/1.1\r\n";
    assert_eq!(
        String::from_utf8(request.encode()).unwrap(),
        format!(
            "{start}Accept: */*\r\nConnection: Upgrade\r\nCookie: a\r\nCookie: b\r\nSec-WebSocket-Key: KEY\r\n\
             Sec-WebSocket-Protocol: aGVsbG8\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\
             X-Forwarded-Proto: https\r\n\r\n"
        )
    );
    let of_packets = [("X-Sock-Type".to_owned(), "udp".to_owned())];
    let request = UpgradeRequest { key: Some("KEY"), versioned: true, headers: &of_packets, ..OF_GO };
    assert_eq!(
        String::from_utf8(request.encode()).unwrap(),
        format!(
            "{start}Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n\
             Upgrade: websocket\r\nX-Sock-Type: udp\r\n\r\n"
        )
    );
    assert_eq!(
        String::from_utf8(OF_GO.encode()).unwrap(),
        format!("{start}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    );
}

#[test]
fn answers() {
    let good = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw";
    assert_eq!(UpgradeAnswer::read(good, None), UpgradeAnswer::Switched(good.len() - 3));
    for cut in 0..good.len() - 3 {
        assert_eq!(UpgradeAnswer::read(&good[..cut], None), UpgradeAnswer::NeedMore, "cut at {cut}");
    }
    assert_eq!(
        UpgradeAnswer::read(b"HTTP/1.1 404 Not Found\r\n\r\n", None),
        UpgradeAnswer::Refused("HTTP/1.1 404 Not Found".into())
    );
    assert_eq!(UpgradeAnswer::read(b"SSH-2.0-x\r\n", None), UpgradeAnswer::Refused("SSH-2.0-x".into()));
    assert!(matches!(
        UpgradeAnswer::read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", None),
        UpgradeAnswer::Refused(_)
    ));
    let endless = [b"HTTP/1.1 101 Switching Protocols\r\nA: ".to_vec(), vec![b'a'; MAX_HEAD]].concat();
    assert!(
        matches!(UpgradeAnswer::read(&endless, None), UpgradeAnswer::Refused(line) if line.starts_with("HTTP/1.1 101"))
    );
}

/// Bytes that are nearly requests, which random bytes never are.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"GET /stream HTTP/1.1\r\n",
        b"Host: live.example.com\r\n",
        b"Connection: Upgrade\r\n",
        b"Upgrade: websocket\r\n",
        b"Sec-WebSocket-Key: a_b-\r\n",
        b"Content-Length: 3\r\n",
        b"\r\n",
        b"\n",
        b": ",
        b"\0",
        b"x",
    ];
    let piece = proptest::sample::select(pieces);
    (any::<bool>(), proptest::collection::vec(piece, 0..12)).prop_map(|(begin, pieces)| {
        let mut bytes = if begin { b"GET /stream HTTP/1.1\r\n".to_vec() } else { Vec::new() };
        bytes.extend(pieces.concat());
        bytes
    })
}

proptest! {
    #[test]
    fn a_verdict_does_not_depend_on_the_cut(bytes in nearly_a_request()) {
        let whole = UpgradeDetector::default().detect(&bytes, &STRICT);
        let first = (0..=bytes.len()).map(|cut| UpgradeDetector::default().detect(&bytes[..cut], &STRICT)).find(|v| *v != UpgradeParse::NeedMore);
        prop_assert_eq!(first.unwrap_or(UpgradeParse::NeedMore), whole);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = UpgradeDetector::default().detect(&bytes, &ANY);
        let _ = UpgradeAnswer::read(&bytes, None);
    }
}
