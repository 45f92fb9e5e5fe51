use super::*;
use crate::probe::tls_fingerprint::notes;
use crate::wire::tls::{content_type, record};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A visit that got these pieces at these times, and how it ended.
fn visit(pieces: &[(u64, &[u8])], end: End, until: u64) -> Seen {
    let mut seen = Seen { end, until: millis(until), ..Seen::failed("") };
    for (time, piece) in pieces {
        seen.bytes.extend_from_slice(piece);
        seen.arrivals.push((millis(*time), seen.bytes.len()));
    }
    seen
}

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\npage";
const LATER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:41 GMT\r\n\r\npage";
const REFUSED: &[u8] = b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

fn differences(site: &Seen, server: &Seen) -> Vec<Difference> {
    let found = compare(site, server, &Mask::new());
    // The same things differ when the two change places.
    let kinds = |found: &Comparison| found.differences.iter().map(|d| d.kind).collect::<Vec<_>>();
    let turned = compare(server, site, &Mask::new());
    assert_eq!((kinds(&turned), turned.at_the_edge), (kinds(&found), found.at_the_edge));
    found.differences
}

fn kinds(site: &Seen, server: &Seen) -> Vec<DifferenceKind> {
    differences(site, server).into_iter().map(|difference| difference.kind).collect()
}

#[test]
fn the_same_page_at_another_second_is_the_same() {
    let (site, server) = (visit(&[(2, PAGE)], End::Fin, 3), visit(&[(200, LATER)], End::Fin, 210));
    assert_eq!(compare(&site, &server, &Mask::new()), Comparison::default());
}

#[test]
fn another_answer_is_shown_where_it_begins() {
    let site = visit(&[(2, PAGE)], End::Fin, 3);
    let found = differences(&site, &visit(&[(2, REFUSED)], End::Fin, 3));
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.kind, found.what.as_str()), (DifferenceKind::Answer, "the answer, from byte 9"));
    assert!(found.site.starts_with("\"HTTP/1.1 200 OK\\r\\nDate:*"), "{}", found.site);
    assert!(found.server.starts_with("\"HTTP/1.1 404 Not Found"), "{}", found.server);
    assert!(found.for_good, "time would not help");
    // What is missing may still come.
    let found = differences(&site, &visit(&[], End::Fin, 3));
    assert_eq!(found.len(), 1);
    assert!(!found[0].for_good);
    assert_eq!(found[0].server, "nothing");
}

#[test]
fn a_clock_that_is_hours_off_shows() {
    let site = visit(&[(2, PAGE)], End::Fin, 3);
    let wrong = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 10:49:37 GMT\r\n\r\npage";
    let found = differences(&site, &visit(&[(2, wrong)], End::Fin, 3));
    assert_eq!(found[0].server, "7200 s apart from it");
}

#[test]
fn ends_are_compared() {
    let ended = |end| visit(&[(2, PAGE)], end, 3);
    assert_eq!(kinds(&ended(End::Fin), &ended(End::Reset)), [DifferenceKind::End]);
    assert_eq!(kinds(&ended(End::Fin), &visit(&[(2, PAGE)], End::Open, 3000)), [DifferenceKind::End]);
    let failed = Seen::failed("connection refused");
    assert_eq!(kinds(&ended(End::Fin), &failed), [DifferenceKind::Connection]);
    assert_eq!(kinds(&failed, &failed), []);
}

/// One was watched until just before it would have ended, the other saw the end.
#[test]
fn what_happens_at_the_edge_is_no_difference() {
    let open = visit(&[(2, PAGE)], End::Open, 3002);
    for at in [2100, 3000, 3300] {
        let found = compare(&open, &visit(&[(2, PAGE)], End::Fin, at), &Mask::new());
        assert_eq!(found, Comparison { differences: Vec::new(), at_the_edge: true }, "{at}");
    }
    assert_eq!(kinds(&open, &visit(&[(2, PAGE)], End::Fin, 1900)), [DifferenceKind::End]);
    // An answer to the time-out came with the end.
    let silent = visit(&[], End::Open, 3000);
    let told = visit(&[(2990, REFUSED)], End::Fin, 2991);
    assert!(compare(&silent, &told, &Mask::new()).at_the_edge);
    assert_eq!(kinds(&silent, &told), []);
    assert_eq!(
        kinds(&silent, &visit(&[(1500, REFUSED)], End::Fin, 2991)),
        [DifferenceKind::Answer, DifferenceKind::End]
    );
}

#[test]
fn times_are_compared_in_classes() {
    let answered = |time| visit(&[(time, PAGE)], End::Fin, time);
    for (a, b, same) in [
        (0, 999, true),
        (900, 1600, true),
        (200, 1200, false),
        (1100, 3900, true),
        (3900, 4500, true),
        (3000, 5000, false),
        (13_000, 16_000, true),
        (13_000, 20_000, false),
    ] {
        let found = kinds(&answered(a), &answered(b));
        assert_eq!(found.is_empty(), same, "{a} {b}");
        assert!(found.iter().all(|kind| *kind == DifferenceKind::Time), "{found:?}");
    }
}

fn agreed() -> Agreed {
    Agreed {
        version: "TLSv1_3".into(),
        suite: "TLS13_AES_128_GCM_SHA256".into(),
        group: "X25519".into(),
        alpn: Some("http/1.1".into()),
        certificates: vec![vec![1], vec![2]],
    }
}

fn in_tls(outcome: Result<Agreed, String>, flight: &[u8]) -> Seen {
    let handshake = Handshake {
        is_subject: true,
        outcome,
        flight: flight.to_vec(),
        tickets: 2,
        alert: None,
        close_notify: true,
    };
    Seen { tls: Some(handshake), ..visit(&[(2, PAGE)], End::Fin, 3) }
}

#[test]
fn what_a_handshake_agreed_on_is_compared_where_it_is_the_subject() {
    let site = in_tls(Ok(agreed()), &[]);
    assert_eq!(kinds(&site, &site), []);
    let others = [
        ("TLS version", Agreed { version: "TLSv1_2".into(), ..agreed() }),
        ("cipher suite", Agreed { suite: "another".into(), ..agreed() }),
        ("key exchange", Agreed { group: "secp256r1".into(), ..agreed() }),
        ("ALPN", Agreed { alpn: None, ..agreed() }),
        ("certificate", Agreed { certificates: vec![vec![3], vec![2]], ..agreed() }),
        ("certificates behind the first", Agreed { certificates: vec![vec![1]], ..agreed() }),
    ];
    for (what, other) in others {
        let mut server = in_tls(Ok(other), &[]);
        let found = differences(&site, &server);
        assert_eq!(found.iter().map(|d| d.what.as_str()).collect::<Vec<_>>(), [what]);
        let mut site = site.clone();
        for seen in [&mut site, &mut server] {
            seen.tls.as_mut().unwrap().is_subject = false;
        }
        assert_eq!(kinds(&site, &server), []);
    }
    let failed = in_tls(Err("alert ProtocolVersion".into()), &[]);
    assert!(kinds(&site, &failed).contains(&DifferenceKind::Handshake));
    let mut without = site.clone();
    without.tls.as_mut().unwrap().close_notify = false;
    assert_eq!(kinds(&site, &without), [DifferenceKind::End]);
}

/// A handshake that fails with the same alert, but from behind a ServerHello.
#[test]
fn the_remains_of_a_failed_handshake_are_compared() {
    let alert = record(content_type::ALERT, 0x0303, &[2, 120]);
    let late = [record(content_type::CHANGE_CIPHER_SPEC, 0x0303, &[1]), alert.clone()].concat();
    let why = || Err("alert NoApplicationProtocol".to_owned());
    let silent = |flight: &[u8]| Seen { bytes: Vec::new(), arrivals: Vec::new(), ..in_tls(why(), flight) };
    assert_eq!(kinds(&silent(&alert), &silent(&alert)), []);
    assert_eq!(kinds(&silent(&alert), &silent(&late)), [DifferenceKind::Answer]);
}

#[test]
fn tls_answers_are_compared_by_what_they_say() {
    let alert = |level, description| {
        visit(&[(1, &record(content_type::ALERT, 0x0303, &[level, description]))], End::Fin, 2)
    };
    assert_eq!(kinds(&alert(2, 40), &alert(2, 40)), []);
    let found = differences(&alert(2, 40), &alert(2, 50));
    assert_eq!(found[0].site, "alert fatal HandshakeFailure");
    assert_eq!(found[0].server, "alert fatal DecodeError");
    assert_eq!(kinds(&alert(2, 40), &visit(&[(1, REFUSED)], End::Fin, 2)), [DifferenceKind::Answer]);
}

/// A ServerHello of TLS 1.3 with its two extensions in one order or the other, and encrypted records.
fn flight(versions_first: bool, encrypted: &[usize]) -> Vec<u8> {
    let (versions, share) = (&[0, 43, 0, 2, 3, 4][..], &[0, 51, 0, 4, 0, 29, 0, 0][..]);
    let extensions = if versions_first { [versions, share].concat() } else { [share, versions].concat() };
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0x13, 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    let mut flight = record(content_type::HANDSHAKE, 0x0303, &message);
    for length in encrypted {
        flight.extend(record(content_type::APPLICATION_DATA, 0x0303, &vec![0; *length]));
    }
    flight
}

#[test]
fn the_library_is_a_note_and_no_difference() {
    let site = in_tls(Ok(agreed()), &flight(true, &[40, 600, 90]));
    let near = in_tls(Ok(agreed()), &flight(true, &[40, 603, 91]));
    assert_eq!(notes(&site, &near), []);
    let mut other = in_tls(Ok(agreed()), &flight(false, &[730]));
    other.tls.as_mut().unwrap().tickets = 1;
    assert_eq!(kinds(&site, &other), []);
    let found = notes(&site, &other);
    assert_eq!(
        found.iter().map(|note| (note.site.as_str(), note.server.as_str())).collect::<Vec<_>>(),
        [("43 51", "51 43"), ("40 600 90", "730"), ("2", "1")]
    );
    // The same over the bare wire.
    let wire = |bytes: &[u8]| visit(&[(1, bytes)], End::Open, 3000);
    let (a, b) = (wire(&flight(true, &[40, 600])), wire(&flight(false, &[640])));
    assert_eq!(kinds(&a, &b), []);
    assert_eq!(notes(&a, &b).len(), 2);
    assert_eq!(notes(&wire(PAGE), &a), []);
}

/// Over UDP there is no connection, and what came is told in parts.
fn udp(told: &[(u64, &str)], end: End, until: u64) -> Seen {
    let told: Vec<_> = told.iter().map(|(time, what)| (millis(*time), (*what).to_owned())).collect();
    let arrivals = told.first().map(|(time, _)| (*time, 0)).into_iter().collect();
    Seen { datagrams: Some(told), arrivals, end, until: millis(until), ..Seen::default() }
}

#[test]
fn what_came_over_udp_is_compared_part_by_part() {
    let site = udp(&[(1, "Retry"), (2, "ALPN h3")], End::Open, 3000);
    assert_eq!(differences(&site, &udp(&[(9, "Retry"), (20, "ALPN h3")], End::Open, 3100)), []);
    let found = differences(&site, &udp(&[(1, "Retry"), (2, "no ALPN")], End::Open, 3000));
    let [difference] = &found[..] else { panic!("{found:?}") };
    assert_eq!((difference.what.as_str(), difference.for_good), ("the answer, part 2", true));
    assert_eq!((difference.site.as_str(), difference.server.as_str()), ("ALPN h3", "no ALPN"));
    assert_eq!(kinds(&site, &udp(&[(1, "Retry")], End::Open, 3000)), [DifferenceKind::Answer]);
    assert_eq!(kinds(&site, &udp(&[], End::Open, 3000)), [DifferenceKind::Answer]);
    // A part that came when the other was not watched any more.
    let late = udp(&[(1, "Retry"), (2, "ALPN h3"), (3500, "an end")], End::Open, 6500);
    assert_eq!(differences(&site, &late), []);
    let closed = udp(&[], End::Unreachable("closed".into()), 1);
    assert_eq!(kinds(&udp(&[], End::Open, 3000), &closed), [DifferenceKind::End]);
    assert_eq!(ending(&closed), "closed");
    assert_eq!(ending(&site), "then silence");
}

/// However short the watch is, what comes at once is no question of time.
#[test]
fn an_answer_at_once_is_told_from_silence_also_in_a_second() {
    let silent = visit(&[], End::Open, 1000);
    assert_eq!(kinds(&silent, &visit(&[(5, PAGE)], End::Open, 1005)), [DifferenceKind::Answer]);
    assert_eq!(kinds(&silent, &visit(&[], End::Fin, 5)), [DifferenceKind::End]);
    let at_the_end = compare(&silent, &visit(&[(900, PAGE)], End::Open, 1900), &Mask::new());
    assert!(at_the_end.at_the_edge && at_the_end.differences.is_empty());
}

/// SETTINGS, and an answer of one header field and a body.
fn http2(time: u64, server: &str, body: &[u8]) -> Seen {
    use crate::probe::http2::frame::{flag, frame, kind, settings};
    let mut block = vec![0x88];
    crate::probe::http2::hpack::write(b"server", server.as_bytes(), &mut block);
    let said = [
        settings(&[(3, 100)]),
        frame(kind::HEADERS, flag::END_HEADERS, 1, &block),
        frame(kind::DATA, flag::END_STREAM, 1, body),
    ];
    visit(&[(time, &said.concat())], End::Open, 3000)
}

#[test]
fn what_came_over_http2_is_compared_frame_by_frame() {
    let site = http2(2, "nginx", b"page");
    assert_eq!(differences(&site, &http2(3, "nginx", b"page")), []);
    let found = differences(&site, &http2(2, "Caddy", b"page"));
    let [difference] = &found[..] else { panic!("{found:?}") };
    assert_eq!((difference.what.as_str(), difference.for_good), ("the answer, part 4", true));
    assert!(difference.site.starts_with("stream 1: server: nginx "), "{difference:?}");
    assert!(difference.server.starts_with("stream 1: server: Caddy "), "{difference:?}");
    assert_eq!(kinds(&site, &http2(2, "nginx", b"pagE")), [DifferenceKind::Answer]);
    // Where one does not speak it, bytes are compared.
    assert_eq!(kinds(&site, &visit(&[(1, REFUSED)], End::Open, 3000)), [DifferenceKind::Answer]);
}
