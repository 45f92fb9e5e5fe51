//! What is held back and what is ours, on bytes alone.

use super::requests::{HOLD, MAX_HELD};
use super::*;
use crate::detect::HttpRule;
use Direction::{Down, Up};
use proptest::prelude::*;
use std::sync::LazyLock;
use tokio::time::{Instant, sleep_until};

static BUDGET: LazyLock<Budget> = LazyLock::new(|| Budget::new(1 << 30));

fn rules(path: Option<&str>) -> Rules {
    let path = path.map(str::to_owned);
    Rules {
        http: Some(HttpRule {
            method: "GET".into(),
            path,
            host: None,
            web_path: None,
            routes: Default::default(),
        }),
        ..Rules::default()
    }
}

const UPGRADE: &str = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const PAGE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn pass(follow: &mut Follow<'_>, direction: Direction, input: &[u8]) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut pieces = Pieces::default();
    let length = follow.forward(direction, &mut input, &mut pieces).unwrap();
    let passed: Vec<u8> = pieces.slices(&input).flatten().copied().collect();
    assert_eq!(passed.len(), length, "what passes is counted");
    passed
}

/// What became of a stream of requests.
#[derive(Debug, PartialEq, Eq)]
struct Followed {
    /// Where the upgrade begins, if there is one for us.
    claim: Option<usize>,
    unclear: Option<FramingError>,
}

/// Follows a stream that comes in pieces of these lengths, with each answer complete as soon as its
/// request is, and checks that no byte is lost.
fn follow(rules: &Rules, bytes: &[u8], pieces: &[usize]) -> Followed {
    let mut follow = Follow::new(rules, &BUDGET, false);
    let mut lengths = pieces.iter().copied().chain(std::iter::repeat(*pieces.last().unwrap()));
    let (mut passed, mut at) = (Vec::new(), 0);
    while at < bytes.len() && !follow.wants_handoff() {
        let piece = lengths.next().unwrap().clamp(1, follow.read_limit(Up)).min(bytes.len() - at);
        passed.extend(pass(&mut follow, Up, &bytes[at..at + piece]));
        at += piece;
        while !follow.exchange.pending.is_empty() {
            follow.exchange.pending.answered();
        }
        assert!(bytes.starts_with(&passed), "only what came passes");
        assert!(at - passed.len() <= MAX_HELD);
    }
    let unclear = follow.unclear();
    match follow.into_upgrade() {
        Some((held, _)) => {
            assert_eq!([&passed[..], &held].concat(), &bytes[..at]);
            Followed { claim: Some(passed.len()), unclear }
        }
        None => {
            assert!(unclear.is_none() || passed == bytes, "what is unclear passes");
            Followed { claim: None, unclear }
        }
    }
}

fn found(rules: &Rules, text: &str) -> Followed {
    let whole = follow(rules, text.as_bytes(), &[usize::MAX]);
    for piece in 1..text.len().min(40) {
        assert_eq!(follow(rules, text.as_bytes(), &[piece]), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn an_upgrade_behind_any_clear_request_is_ours() {
    for before in [
        "",
        PAGE,
        "HEAD / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /other HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /tunnel HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for count in 1..3 {
            let before = before.repeat(count);
            let text = format!("{before}{UPGRADE}payload");
            let whole = Followed { claim: Some(before.len()), unclear: None };
            assert_eq!(found(&rules(Some("/tunnel")), &text), whole, "{text:?}");
        }
    }
}

#[test]
fn an_upgrade_that_is_not_at_a_clear_boundary_is_the_websites() {
    let n = UPGRADE.len();
    for (text, unclear) in [
        (format!("POST / HTTP/1.1\r\nContent-Length: {n}\r\n\r\n{UPGRADE}"), None),
        (format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{UPGRADE}\r\n"), None),
        (
            format!("POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n{UPGRADE}"),
            Some(FramingError::Length),
        ),
        (
            format!("POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{UPGRADE}"),
            Some(FramingError::Both),
        ),
        (
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n{UPGRADE}"),
            Some(FramingError::Chunk),
        ),
        (format!("GET / HTTP/1.1\r\nConnection: close\r\n\r\n{UPGRADE}"), Some(FramingError::Last)),
        (format!("GET / HTTP/1.0\r\n\r\n{UPGRADE}"), Some(FramingError::StartLine)),
        (format!("{PAGE}\r\n{UPGRADE}"), Some(FramingError::StartLine)),
        (format!("{PAGE}{}", UPGRADE.replace("\r\n\r\n", "\r\n x\r\n\r\n")), Some(FramingError::Field)),
        (format!("{PAGE}{}", UPGRADE.replace("\r\n", "\n")), Some(FramingError::StartLine)),
        (
            format!(
                "{PAGE}{}",
                UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
            ),
            Some(FramingError::Length),
        ),
        (format!("\x16\x03\x01{UPGRADE}"), Some(FramingError::StartLine)),
        (format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{UPGRADE}"), Some(FramingError::StartLine)),
        (format!("CONNECT a:1 HTTP/1.1\r\n\r\n{UPGRADE}"), Some(FramingError::Connect)),
    ] {
        for rules in [rules(None), rules(Some("/tunnel"))] {
            assert_eq!(found(&rules, &text), Followed { claim: None, unclear }, "{text:?}");
        }
    }
}

#[test]
fn a_head_that_is_decided_is_the_websites_and_the_next_is_not() {
    let rules = rules(None);
    let mut follow = Follow::new(&rules, &BUDGET, true);
    let (start, rest) = UPGRADE.as_bytes().split_at(30);
    assert_eq!(pass(&mut follow, Up, start), start);
    assert_eq!(pass(&mut follow, Up, rest), rest);
    assert_eq!(pass(&mut follow, Up, UPGRADE.as_bytes()), b"");
    assert!(!follow.wants_handoff(), "the website has not answered");
    follow.exchange.pending.answered();
    assert!(follow.wants_handoff() && follow.read_limit(Up) == 0);
    assert_eq!(follow.into_upgrade(), Some((UPGRADE.into(), 1)));
}

/// Only what may be a client's waits, and no longer than that.
#[tokio::test]
async fn the_beginning_of_a_head_is_held_for_a_second() {
    let rules = rules(Some("/tunnel"));
    let mut follow = Follow::new(&rules, &BUDGET, false);
    let began = Instant::now();
    assert_eq!(pass(&mut follow, Up, b"GET /t"), b"");
    let deadline = follow.deadline(Up).unwrap();
    assert!(deadline >= began + HOLD);
    assert_eq!(pass(&mut follow, Up, b"un"), b"");
    assert_eq!(follow.deadline(Up), Some(deadline), "more bytes buy no time");
    sleep_until(deadline).await;
    assert!(follow.release_is_due(Up));
    let mut out = Vec::new();
    assert_eq!(follow.release(Up, &mut out), 8);
    assert_eq!(out, b"GET /tun");
    assert!(follow.deadline(Up).is_none() && !follow.release_is_due(Up));
    // The rest of it is the website's, and so is not what comes then.
    let rest = &UPGRADE.as_bytes()[8..];
    assert_eq!(pass(&mut follow, Up, rest), rest);
    assert_eq!(pass(&mut follow, Up, UPGRADE.as_bytes()), b"");

    let mut follow = Follow::new(&rules, &BUDGET, false);
    for (input, passed) in
        [("GET", ""), (" /", ""), ("x", ""), (" ", "GET /x "), ("HTTP/1.1\r\n", "HTTP/1.1\r\n")]
    {
        assert_eq!(pass(&mut follow, Up, input.as_bytes()), passed.as_bytes());
        assert_eq!(follow.deadline(Up).is_some(), passed.is_empty());
    }
}

#[test]
fn what_is_held_is_released_when_the_website_says_something_unclear() {
    for (said, why) in [
        ("HTTP/1.1 101 \r\n\r\n", FramingError::Switched),
        ("HTTP/1.1 200 OK\r\n\r\n", FramingError::UntilClose),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", FramingError::Last),
        ("HTTP/1.0 200 OK\r\n", FramingError::StartLine),
        (&format!("{OK}{OK}"), FramingError::Unasked),
    ] {
        let rules = rules(None);
        let mut follow = Follow::new(&rules, &BUDGET, true);
        assert_eq!(pass(&mut follow, Up, format!("{PAGE}{UPGRADE}").as_bytes()), PAGE.as_bytes());
        assert_eq!(pass(&mut follow, Up, b"payload"), b"");
        assert_eq!(pass(&mut follow, Down, said.as_bytes()), said.as_bytes());
        assert_eq!(follow.unclear(), Some(why));
        assert!(
            follow.release_is_due(Up) && !follow.wants_handoff() && follow.passthrough_len(Up) != u64::MAX
        );
        let mut out = Vec::new();
        follow.release(Up, &mut out);
        assert_eq!(out, format!("{UPGRADE}payload").as_bytes());
        assert!([Up, Down].map(|direction| follow.passthrough_len(direction)) == [u64::MAX; 2]);
        assert_eq!(pass(&mut follow, Up, UPGRADE.as_bytes()), UPGRADE.as_bytes());
        assert!(follow.into_upgrade().is_none());
    }
}

#[test]
fn an_upgrade_waits_for_the_last_byte_of_the_last_answer() {
    for answers_to in
        [&[OK, OK][..], &["HTTP/1.1 100 \r\n\r\n", OK, "HTTP/1.1 103 \r\n\r\n", "HTTP/1.1 304 \r\n\r\n"]]
    {
        let rules = rules(None);
        let mut follow = Follow::new(&rules, &BUDGET, true);
        pass(&mut follow, Up, format!("{PAGE}{PAGE}{UPGRADE}").as_bytes());
        let text = answers_to.concat();
        for byte in text.as_bytes() {
            assert!(!follow.wants_handoff());
            assert_eq!(pass(&mut follow, Down, &[*byte]), [*byte]);
        }
        assert!(follow.wants_handoff());
        assert_eq!(follow.unclear(), None);
        // A word too many, and it is not ours any more.
        pass(&mut follow, Down, b"H");
        assert!(!follow.wants_handoff() && follow.release_is_due(Up));
    }
}

#[test]
fn only_so_much_is_held() {
    let rules = rules(None);
    let mut follow = Follow::new(&rules, &BUDGET, true);
    assert_eq!(follow.read_limit(Up), MAX_HELD);
    pass(&mut follow, Up, format!("{PAGE}{UPGRADE}").as_bytes());
    assert_eq!(follow.read_limit(Up), MAX_HELD - UPGRADE.len());
    while follow.read_limit(Up) > 0 {
        let piece = vec![7; follow.read_limit(Up).min(10_000)];
        assert_eq!(pass(&mut follow, Up, &piece), b"");
    }
    assert!(!follow.wants_handoff());
    assert_eq!(follow.into_upgrade().map(|(bytes, _)| bytes.len()), Some(MAX_HELD));
}

#[test]
fn ends_release_what_is_held() {
    for end in [Up, Down] {
        for held in ["GET /", UPGRADE] {
            let rules = rules(None);
            let mut follow = Follow::new(&rules, &BUDGET, true);
            pass(&mut follow, Up, format!("{PAGE}{held}").as_bytes());
            follow.end(end).unwrap();
            assert!(follow.release_is_due(Up));
            let mut out = Vec::new();
            follow.release(Up, &mut out);
            assert_eq!(out, held.as_bytes());
        }
    }
    let rules = rules(None);
    let mut follow = Follow::new(&rules, &BUDGET, true);
    pass(&mut follow, Up, format!("{PAGE}{UPGRADE}").as_bytes());
    let mut out = Vec::new();
    follow.release_on_error(Up, &mut out);
    assert_eq!(out, UPGRADE.as_bytes());
}

#[test]
fn bodies_need_not_be_looked_at() {
    let rules = rules(None);
    let mut follow = Follow::new(&rules, &BUDGET, true);
    pass(&mut follow, Up, b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx");
    assert_eq!((follow.passthrough_len(Up), follow.read_limit(Up)), (999_999, 999_999 + MAX_HELD));
    follow.skip(Up, 999_999);
    assert_eq!((follow.passthrough_len(Up), follow.read_limit(Up)), (0, MAX_HELD));
    pass(&mut follow, Up, UPGRADE.as_bytes());
    pass(&mut follow, Down, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx");
    assert_eq!(follow.passthrough_len(Down), 999_999);
    follow.skip(Down, 999_998);
    assert!(!follow.wants_handoff());
    follow.skip(Down, 1);
    assert!(follow.wants_handoff() && follow.unclear().is_none());
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just(UPGRADE.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..60),
        "[ -~]{0,30}(\r\n){0,2}".prop_map(String::into_bytes),
    ];
    let headers = "(X-[a-z]{1,5}: [ -~]{0,9}\r\n){0,2}";
    (prop::sample::select(&["GET", "POST", "HEAD", "PUT"][..]), headers, text, any::<bool>()).prop_map(
        |(method, headers, body, chunked)| {
            let (length, body) = if chunked && !body.is_empty() {
                let chunk = [format!("{:X}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                ("Transfer-Encoding: chunked".to_owned(), chunk)
            } else {
                (format!("Content-Length: {}", body.len()), body)
            };
            let head = format!("{method} /page HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n\r\n");
            [head.into_bytes(), body].concat()
        },
    )
}

proptest! {
    #[test]
    fn the_first_upgrade_behind_valid_requests_is_ours_whatever_the_pieces(
        before in prop::collection::vec(request(), 0..6),
        behind in prop::collection::vec(any::<u8>(), 0..50),
        pieces in prop::collection::vec(1..60_usize, 1..20),
        path in prop::sample::select(&[None, Some("/tunnel")][..]),
    ) {
        let before = before.concat();
        let bytes = [&before, UPGRADE.as_bytes(), &behind].concat();
        let ours = Followed { claim: Some(before.len()), unclear: None };
        prop_assert_eq!(follow(&rules(path), &bytes, &pieces), ours);
    }

    #[test]
    fn a_takeover_never_depends_on_the_pieces(
        messages in prop::collection::vec(request(), 0..4),
        broken in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&b"\r\n :;,0aG\0"[..])), 0..4),
        pieces in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut bytes = [&messages.concat(), UPGRADE.as_bytes(), b"behind"].concat();
        for (at, byte) in broken {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = follow(&rules(None), &bytes, &[usize::MAX]);
        prop_assert_eq!(follow(&rules(None), &bytes, &pieces), whole);
    }

    #[test]
    fn any_bytes_pass_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        pieces in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let whole = follow(&rules(None), &bytes, &[usize::MAX]);
        prop_assert_eq!(follow(&rules(None), &bytes, &pieces), whole);
        let rules = rules(None);
        let mut follow = Follow::new(&rules, &BUDGET, true);
        pass(&mut follow, Up, PAGE.as_bytes());
        prop_assert_eq!(pass(&mut follow, Down, &bytes), bytes);
    }
}
