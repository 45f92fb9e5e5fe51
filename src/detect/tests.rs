//! Detection of every kind, whole and in pieces.

use super::*;
use crate::wire::fake_tls::SentHello;
use crate::wire::http::PathTable;
use proptest::prelude::*;

fn rules(http: bool, fake_tls: Option<&str>) -> Rules {
    Rules {
        http: http.then(|| HttpRule {
            method: "GET".into(),
            path: None,
            host: None,
            web_path: None,
            routes: Default::default(),
        }),
        fake_tls: fake_tls.map(|name| FakeTlsRule {
            server_names: name.split_terminator(',').map(str::to_owned).collect(),
        }),
        ..Rules::default()
    }
}

fn hello(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    SentHello::new(&mut rand::rng(), 0).encode(name, b"payload", &mut bytes).unwrap();
    bytes
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// The verdict, which must be the same whatever the pieces.
fn detection(rules: &Rules, bytes: &[u8]) -> Detection {
    let first = (0..=bytes.len()).map(|cut| detect(&bytes[..cut], rules)).find(|v| *v != Detection::NeedMore);
    let whole = detect(bytes, rules);
    assert_eq!(first.unwrap_or(Detection::NeedMore), whole);
    // Step by step it is the same, with what is known of the bytes before.
    let mut detector = Detector::default();
    let mut steps = (0..=bytes.len()).map(|cut| detector.detect(&bytes[..cut], rules));
    let stepped = steps.find(|verdict| *verdict != Detection::NeedMore);
    assert_eq!(stepped.unwrap_or(Detection::NeedMore), whole);
    assert_eq!(Detector::default().detect(bytes, rules), whole);
    whole
}

#[test]
fn each_kind_is_taken_where_it_is_wanted() {
    for (http, fake_tls) in [(true, None), (true, Some("")), (false, Some(""))] {
        let rules = rules(http, fake_tls);
        assert_eq!(matches!(detection(&rules, UPGRADE), Detection::Client(ClientKind::Http(_))), http);
        assert_eq!(
            matches!(detection(&rules, &hello("a")), Detection::Client(ClientKind::FakeTls(_))),
            fake_tls.is_some()
        );
        assert_eq!(detection(&rules, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Detection::Visitor);
        assert_eq!(detection(&rules, b"\x16\x03\x01\x00\x00"), Detection::Visitor);
    }
}

#[test]
fn a_server_name_is_compared_where_there_is_one() {
    let rules = rules(false, Some("other.example,www.example.com"));
    assert!(matches!(
        detection(&rules, &hello("WWW.example.com")),
        Detection::Client(ClientKind::FakeTls(_))
    ));
    assert!(matches!(
        detection(&rules, &hello("www.example.com:8443")),
        Detection::Client(ClientKind::FakeTls(_))
    ));
    assert_eq!(detection(&rules, &hello("other.example.com")), Detection::Visitor);
    assert_eq!(detection(&rules, &hello("")), Detection::Visitor);
}

/// A server for every kind of client, with a certificate.
fn auto() -> Rules {
    Rules {
        http: Some(HttpRule {
            method: "GET".into(),
            path: Some("/".into()),
            host: None,
            web_path: Some("/stream".into()),
            routes: PathTable::new(["/routed"].into_iter()),
        }),
        fake_tls: Some(FakeTlsRule { server_names: Vec::new() }),
        grpc: None,
        tls: true,
        tls_alone: false,
    }
}

/// The first flight of a rustls client.
fn real_hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "www.example.com".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn request(path: &str, headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n")
        .into_bytes()
}

/// What a kind of client sends first, and what that is. `None`: a visitor.
fn kinds() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let version = "Sec-WebSocket-Version: 13";
    let early = "Sec-WebSocket-Protocol: aGVsbG8";
    vec![
        ("obfs=http", request("/", &[key, "Content-Length: 3"]), Some("raw")),
        ("obfs=http at another path", request("/stream", &[key]), None),
        ("HTTPUpgrade", request("/stream", &[]), Some("raw")),
        ("HTTPUpgrade at another path", request("/", &[]), None),
        ("HTTPUpgrade with early data", request("/stream", &[early]), Some("early")),
        ("WebSocket", request("/stream", &[key, version]), Some("frames")),
        ("WebSocket, a query", request("/stream?ed=2048", &[key, version]), Some("frames")),
        ("WebSocket with early data", request("/stream", &[key, version, early]), Some("early frames")),
        ("obfs=http at a route's path", request("/routed", &[key]), Some("raw")),
        ("HTTPUpgrade at a route's path", request("/%72outed", &[]), Some("raw")),
        ("WebSocket at a route's path", request("/routed?ed=1", &[key, version]), Some("frames")),
        ("the website's own WebSocket", request("/chat", &[key, version]), None),
        ("obfs=tls", hello("www.example.com"), Some("fake TLS")),
        ("real TLS", real_hello(), Some("TLS")),
        ("TLS that is none", b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00".to_vec(), None),
        ("a page", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), cfg!(feature = "grpc").then_some("HTTP/2")),
        ("HTTP/1 with a method like HTTP/2", b"PRO * HTTP/2.0\r\n\r\n".to_vec(), None),
        ("anything", b"\x05\x01\x00".to_vec(), None),
    ]
}

fn kind(verdict: &Detection) -> Option<&'static str> {
    match verdict {
        Detection::Client(ClientKind::Http(upgrade) | ClientKind::Web(upgrade)) => {
            Some(match (upgrade.versioned, &upgrade.protocol) {
                (true, Some(_)) => "early frames",
                (false, Some(_)) => "early",
                (true, None) => "frames",
                (false, None) => "raw",
            })
        }
        Detection::Client(ClientKind::FakeTls(_)) => Some("fake TLS"),
        Detection::Tls(_) => Some("TLS"),
        Detection::H2 => Some("HTTP/2"),
        Detection::Visitor => None,
        Detection::NeedMore => Some("undecided"),
    }
}

#[test]
fn every_kind_is_told_from_the_others() {
    for (name, bytes, wanted) in kinds() {
        assert_eq!(kind(&detection(&auto(), &bytes)), wanted, "{name}");
        // What follows changes nothing.
        let more = [&bytes[..], b"more of it, whatever it is"].concat();
        assert_eq!(kind(&detection(&auto(), &more)), wanted, "{name}");
    }
}

/// What is wrong with a request, and how much of it a web server needs to see to refuse it.
fn refused() -> Vec<(String, usize)> {
    let ends = |start: &str, more: &str| (format!("{start}{more}"), start.len());
    let rest = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    let mut all: Vec<(String, usize)> = [
        "Host: a\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "If-Match: a\r\nX: y\r\nIf-Match: a\r\n",
    ]
    .iter()
    .map(|fields| ends(&format!("{line}{fields}"), rest))
    .collect();
    for path in ["/..", "/a/../..", "/%00", "/a%", "/%zz"] {
        all.push(ends(&format!("GET {path} HTTP/1.1\r\n"), &format!("Host: a\r\n{rest}")));
    }
    for host in ["a b", "a/b", "a..b", ":80", ""] {
        all.push(ends(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), rest));
    }
    all.push(ends("GET / HTTP/1.1\r\nHost: a\r\nX: a\0", &format!("\r\n{rest}")));
    all.push(ends(&format!("{line}X: {}\r\n\r!", "a".repeat(128)), rest));
    all
}

#[test]
fn what_a_web_server_refuses_is_a_visitors_at_that_byte() {
    let rules = rules(true, None);
    for (text, refused) in refused() {
        let bytes = text.as_bytes();
        for end in 0..=bytes.len() {
            let wanted = if end < refused { Detection::NeedMore } else { Detection::Visitor };
            assert_eq!(detect(&bytes[..end], &rules), wanted, "{:?}", &text[..end]);
        }
        let mut detector = Detector::default();
        for end in 0..=refused {
            let wanted = if end < refused { Detection::NeedMore } else { Detection::Visitor };
            assert_eq!(detector.detect(&bytes[..end], &rules), wanted, "{:?}", &text[..end]);
        }
    }
}

/// Where the operator has named a path, it is a client's, though no web server would take it.
#[test]
fn a_path_of_the_operators_own_is_not_judged() {
    let odd = "/a/%zz/../../..";
    let mut rules = rules(true, None);
    rules.http.as_mut().unwrap().path = Some(odd.into());
    let request = request(odd, &[]);
    assert_eq!(kind(&detection(&rules, &request)), Some("raw"));
    let rule = rules.http.as_mut().unwrap();
    (rule.path, rule.routes) = (Some("/own".into()), PathTable::new([odd].into_iter()));
    assert_eq!(kind(&detection(&rules, &request)), Some("raw"));
    rules.http.as_mut().unwrap().path = None;
    assert_eq!(kind(&detection(&rules, &request)), Some("raw"));
    let twice = [&request[..request.len() - 2], b"Host: a\r\n\r\n"].concat();
    assert_eq!(detection(&rules, &twice), Detection::Visitor);
}

/// The first read tells whom the method tells, however much it brings.
#[test]
fn a_long_first_read_is_looked_at() {
    for rules in [auto(), rules(true, None)] {
        for bytes in [vec![0x95; 517], vec![b'A'; 5000], b"POST /".repeat(100), b"GET x".repeat(100)] {
            let told = Detector::default().detect(&bytes, &rules);
            assert_eq!(told, detect(&bytes, &rules), "{}", bytes.escape_ascii());
            assert_eq!(told, Detection::Visitor, "{}", bytes.escape_ascii());
        }
    }
}

/// Each byte of a long head or hello in a read of its own: what that costs does not grow with what came
/// before.
#[test]
fn single_bytes_are_not_read_from_the_beginning() {
    let rule = &auto().http.unwrap();
    let mut http = UpgradeDetector::default();
    let head = [&b"GET /stream HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'a'; 8000]].concat();
    for end in 0..=head.len() {
        assert_eq!(http.detect(&head[..end], rule), UpgradeParse::NeedMore);
    }
    // Not even where each of them matters.
    let spaces = [&b"GET /stream"[..], &[b' '; 8000]].concat();
    let mut http = UpgradeDetector::default();
    let told = (0..=spaces.len()).find(|&end| http.detect(&spaces[..end], rule) == UpgradeParse::Other);
    assert!(told.is_some_and(|end| end < 300), "{told:?}");
    let mut hello = Vec::new();
    SentHello::new(&mut rand::rng(), 0).encode("a", &[0; 40_000], &mut hello).unwrap();
    let mut records = Records::default();
    let looks = (1..=hello.len()).filter(|&end| records.may_decide(end - 1, &hello[..end])).count();
    assert!(looks < Records::FEW + 10, "{looks}");
}

#[test]
fn where_tls_is_demanded_nothing_is_taken_in_the_clear() {
    let alone = Rules { tls_alone: true, ..auto() };
    for (name, bytes, wanted) in kinds() {
        let wanted = wanted.filter(|kind| matches!(*kind, "fake TLS" | "TLS"));
        assert_eq!(kind(&detection(&alone, &bytes)), wanted, "{name}");
    }
    assert_eq!(kind(&detection(&alone.in_the_clear(), &request("/stream", &[]))), None);
    assert_eq!(kind(&detection(&alone.inside_tls(), &request("/stream", &[]))), Some("raw"));
    assert_eq!(kind(&detection(&auto().in_the_clear(), &request("/stream", &[]))), Some("raw"));
}

#[test]
fn inside_tls_there_is_no_tls() {
    let inside = auto().inside_tls();
    assert_eq!(detection(&inside, &real_hello()), Detection::Visitor);
    assert_eq!(detection(&inside, &hello("a")), Detection::Visitor);
    assert_eq!(kind(&detection(&inside, &request("/stream", &[]))), Some("raw"));
}

proptest! {
    /// Looking on tells what looking at all of it tells, whatever the pieces, and never anything else.
    #[test]
    fn looking_on_is_like_looking_anew(
        which in 0..16_usize,
        flip in proptest::option::of((0..600_usize, any::<u8>())),
        cuts in proptest::collection::vec(1..300_usize, 1..20),
        long in 0..9000_usize,
    ) {
        let mut bytes = match kinds().get(which) {
            Some((_, bytes, _)) => bytes.clone(),
            None => request("/stream", &[&format!("X: {}", "x".repeat(long))]),
        };
        if let Some((at, byte)) = flip {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let rules = auto();
        let mut detector = Detector::default();
        let (mut end, mut cuts) = (0, cuts.iter().cycle());
        let mut told = Detection::NeedMore;
        while told == Detection::NeedMore && end < bytes.len() {
            end = bytes.len().min(end + cuts.next().unwrap());
            told = detector.detect(&bytes[..end], &rules);
        }
        let whole = detect(&bytes, &rules);
        if told != Detection::NeedMore {
            prop_assert_eq!(&told, &whole);
        }
        // No client is overlooked; of visitors no more than a line, or a record, is waited for.
        if told == Detection::NeedMore && whole != Detection::NeedMore {
            prop_assert_eq!(&whole, &Detection::Visitor);
            let inside = bytes[0] == 0x16 || !bytes.ends_with(b"\n");
            prop_assert!(inside, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn no_bytes_panic_and_no_cut_changes_a_verdict(
        which in 0..18_usize,
        spoilt in proptest::collection::vec((0..600_usize, any::<u8>()), 0..4),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = kinds().swap_remove(which).1;
        for (at, byte) in spoilt {
            if let Some(old) = bytes.get_mut(at) { *old = byte; }
        }
        bytes.extend(noise);
        detection(&auto(), &bytes);
    }

    #[test]
    fn nor_do_bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        detection(&auto(), &bytes);
    }
}

#[test]
fn silence_is_taken_for_what_the_port_is_for() {
    assert_eq!(rules(true, Some("")).guess_protocol(b""), VisitorProtocol::Plain);
    assert_eq!(rules(false, Some("")).guess_protocol(b""), VisitorProtocol::Tls);
    assert_eq!(rules(true, None).guess_protocol(b"\x16"), VisitorProtocol::Tls);
    assert_eq!(rules(false, Some("")).guess_protocol(b"G"), VisitorProtocol::Plain);
}
