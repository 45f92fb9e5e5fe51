//! What is followed, what is unclear, and that neither depends on the pieces.

use super::*;
use crate::wire::http::chunked::Chunks;
use proptest::prelude::*;

/// Follows requests to the end of `bytes`, which come in pieces of these lengths (the last one again and
/// again). Returns where each ended, and why it was given up.
fn follow_requests(bytes: &[u8], pieces: &[usize]) -> (Vec<usize>, Option<FramingError>) {
    let mut asked = PendingRequests::default();
    follow(bytes, pieces, MessageHead::of_request, |head| {
        let request = RequestFraming::of(head)?;
        asked.ask(&request)?;
        asked.answered();
        Ok(Some(request.body))
    })
}

/// The same for answers to requests with these methods.
fn follow_answers(bytes: &[u8], methods: &[&str], pieces: &[usize]) -> (Vec<usize>, Option<FramingError>) {
    let mut asked = asked(methods);
    follow(bytes, pieces, MessageHead::of_answer, |head| {
        let body = asked.answer(head)?;
        if body.is_some() {
            asked.answered();
        }
        Ok(body)
    })
}

fn follow(
    bytes: &[u8],
    pieces: &[usize],
    new: fn() -> MessageHead,
    mut ended: impl FnMut(&MessageHead) -> Result<Option<MessageBody>, FramingError>,
) -> (Vec<usize>, Option<FramingError>) {
    let (mut ends, mut head, mut body, mut at) = (Vec::new(), new(), None::<MessageBody>, 0);
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(*pieces.last().unwrap()));
    while at < bytes.len() {
        let piece = &bytes[at..bytes.len().min(at + pieces.next().unwrap().max(1))];
        let mut used = 0;
        let mut go = || -> Result<(), FramingError> {
            while used < piece.len() {
                let rest = &piece[used..];
                match &mut body {
                    Some(reading) => match reading.read(rest)? {
                        Some(n) => {
                            used += n;
                            ends.push(at + used);
                            body = None;
                        }
                        None => used = piece.len(),
                    },
                    None => match head.read(rest)? {
                        Some(n) => {
                            used += n;
                            match ended(&std::mem::replace(&mut head, new()))? {
                                Some(next) if next.is_over() => ends.push(at + used),
                                next => body = next,
                            }
                        }
                        None => used = piece.len(),
                    },
                }
            }
            Ok(())
        };
        if let Err(why) = go() {
            return (ends, Some(why));
        }
        at += piece.len();
    }
    (ends, None)
}

fn asked(methods: &[&str]) -> PendingRequests {
    let mut asked = PendingRequests::default();
    for method in methods {
        let mut head = MessageHead::of_request();
        head.read(format!("{method} / HTTP/1.1\r\n\r\n").as_bytes()).unwrap().unwrap();
        asked.ask(&RequestFraming::of(&head).unwrap()).unwrap();
    }
    asked
}

/// What is said of one request, which must be the same whole and byte by byte.
fn request(text: &str) -> (Vec<usize>, Option<FramingError>) {
    let whole = follow_requests(text.as_bytes(), &[usize::MAX / 2]);
    assert_eq!(follow_requests(text.as_bytes(), &[1]), whole, "{text:?}");
    whole
}

fn answer(text: &str, methods: &[&str]) -> (Vec<usize>, Option<FramingError>) {
    let whole = follow_answers(text.as_bytes(), methods, &[usize::MAX / 2]);
    assert_eq!(follow_answers(text.as_bytes(), methods, &[1]), whole, "{text:?}");
    whole
}

#[test]
fn clear_requests_are_followed_to_their_last_byte() {
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET /a?b=\u{e9} HTTP/1.1\r\nHost: a\r\nX:\r\nY: a\tb \r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\ncontent-LENGTH:005 \t\r\n\r\nhello",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding:  CHUNKED \r\n\r\n5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00005 \t; a\r\nhello\r\n000\r\nX: y\r\nZ:\r\n\r\n",
        "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HEAD / HTTP/1.1\r\nConnection: closed\r\nX: close\r\n\r\n",
    ] {
        assert_eq!(request(text), (vec![text.len()], None), "{text:?}");
        let two = text.repeat(2);
        assert_eq!(request(&two), (vec![text.len(), two.len()], None), "{text:?}");
    }
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_unclear() {
    let head = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let chunked = |body: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for (text, why) in [
        ("\r\nGET / HTTP/1.1\r\n".into(), FramingError::StartLine),
        ("GET  / HTTP/1.1\r\n".into(), FramingError::StartLine),
        ("GET / HTTP/1.1 \r\n".into(), FramingError::StartLine),
        ("GET / HTTP/1.1\n".into(), FramingError::StartLine),
        ("GET / HTTP/1.0\r\n".into(), FramingError::StartLine),
        ("GET / HTTP/1.2\r\n".into(), FramingError::StartLine),
        ("GET / http/1.1\r\n".into(), FramingError::StartLine),
        ("GET /\r\n".into(), FramingError::StartLine),
        (" / HTTP/1.1\r\n".into(), FramingError::StartLine),
        ("G\u{e9}T / HTTP/1.1\r\n".into(), FramingError::StartLine),
        ("PRI * HTTP/2.0\r\n".into(), FramingError::StartLine),
        ("\x16\x03\x01".into(), FramingError::StartLine),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), FramingError::StartLine),
        ("CONNECT a:443 ".into(), FramingError::Connect),
        ("GET / HTTP/1.1\r\r\n".into(), FramingError::Field),
        (head("X: a\n"), FramingError::Field),
        (head("X: a\rb\r\n"), FramingError::Field),
        (head("X: a\r\n b\r\n"), FramingError::Field),
        (head(" X: a\r\n"), FramingError::Field),
        (head("X : a\r\n"), FramingError::Field),
        (head("X\r\n"), FramingError::Field),
        (head(": a\r\n"), FramingError::Field),
        (head("X: a\0b\r\n"), FramingError::Field),
        (head("X\u{e9}: a\r\n"), FramingError::Field),
        (head("Content-Length: 3\r\nContent-Length: 3\r\n"), FramingError::Length),
        (head("Content-Length: 3, 3\r\n"), FramingError::Length),
        (head("Content-Length: 3,\r\n"), FramingError::Length),
        (head("Content-Length: \r\n"), FramingError::Length),
        (head("Content-Length: +3\r\n"), FramingError::Length),
        (head("Content-Length: -3\r\n"), FramingError::Length),
        (head("Content-Length: 3 3\r\n"), FramingError::Length),
        (head("Content-Length: 0x3\r\n"), FramingError::Length),
        (head("Content-Length: 3;\r\n"), FramingError::Length),
        (head("Content-Length: 18446744073709551616\r\n"), FramingError::Length),
        (head("Content-Length: 000000000000000000003\r\n"), FramingError::Length),
        (head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), FramingError::Both),
        (head("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), FramingError::Both),
        (head("Transfer-Encoding: gzip, chunked\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: chunked, chunked\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: chunked;q=1\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: \x0bchunked\r\n"), FramingError::Field),
        (head("Transfer-Encoding: xchunked\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: chunked x\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding:\r\n"), FramingError::Encoding),
        (head("Transfer-Encoding: identity\r\n"), FramingError::Encoding),
        (head("Connection: Close\r\n"), FramingError::Last),
        (head("Connection: keep-alive , close\r\n"), FramingError::Last),
        (chunked("\r\n"), FramingError::Chunk),
        (chunked("g\r\n"), FramingError::Chunk),
        (chunked("-1\r\n"), FramingError::Chunk),
        (chunked("0x1\r\n"), FramingError::Chunk),
        (chunked(" 1\r\n"), FramingError::Chunk),
        (chunked("1 \r\n"), FramingError::Chunk),
        (chunked("1\nx"), FramingError::Chunk),
        (chunked("1;a\nx"), FramingError::Chunk),
        (chunked("1\r\nxy\r\n"), FramingError::Chunk),
        (chunked("1\r\nx\n"), FramingError::Chunk),
        (chunked("1\r\nx\r\r\n"), FramingError::Chunk),
        (chunked("00000000000000001\r\n"), FramingError::Chunk),
        (chunked(&format!("1;{}\r\n", "a".repeat(5000))), FramingError::Chunk),
        (chunked("0\r\nX\r\n"), FramingError::Field),
        (chunked("0\r\n X: y\r\n"), FramingError::Field),
        (chunked("0\r\nContent-Length: 3\r\n\r\n"), FramingError::NoBody),
        (chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"), FramingError::NoBody),
        (chunked(&format!("0\r\n{}", "X: y\r\n".repeat(7000))), FramingError::LongHead),
    ] {
        assert_eq!(request(&text), (vec![], Some(why)), "{:?}", &text[..text.len().min(200)]);
    }
}

#[test]
fn a_head_is_long_at_the_first_byte_too_many() {
    let start = "GET / HTTP/1.1\r\nX: ";
    for (fill, long) in [(MAX_HEAD - start.len() - 4, false), (MAX_HEAD - start.len() - 3, true)] {
        let text = format!("{start}{}\r\n\r\n", "x".repeat(fill));
        assert_eq!(request(&text).1, long.then_some(FramingError::LongHead), "{fill}");
    }
}

#[test]
fn answers_have_the_bodies_that_the_rfc_gives_them() {
    for (text, method) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET"),
        ("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "GET"),
        ("HTTP/1.1 404 Not \u{e9}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
        ("HTTP/1.1 200 OK\r\n\r\n", "HEAD"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "GET"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 \r\n\r\n",
            "PUT",
        ),
    ] {
        assert_eq!(answer(text, &[method]), (vec![text.len()], None), "{text:?}");
    }
}

#[test]
fn unclear_answers_are_given_up() {
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    for (text, why) in [
        ("HTTP/1.0 200 OK\r\n".into(), FramingError::StartLine),
        ("HTTP/1.1  200 OK\r\n".into(), FramingError::StartLine),
        ("HTTP/1.1 99 \r\n".into(), FramingError::StartLine),
        ("HTTP/1.1 099 \r\n".into(), FramingError::StartLine),
        ("HTTP/1.1 600 \r\n".into(), FramingError::StartLine),
        ("HTTP/1.1 200\r\n".into(), FramingError::StartLine),
        ("HTTP/1.1 2000 \r\n".into(), FramingError::StartLine),
        ("<html>".into(), FramingError::StartLine),
        (head(""), FramingError::UntilClose),
        (head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), FramingError::Both),
        (head("Transfer-Encoding: gzip\r\n"), FramingError::Encoding),
        (head("Content-Length: 1\r\nConnection: close\r\n"), FramingError::Last),
        (head("X: a\r\n b\r\n"), FramingError::Field),
        ("HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n".into(), FramingError::Switched),
        ("HTTP/1.1 100 \r\nContent-Length: 1\r\n\r\n".into(), FramingError::NoBody),
        ("HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n".into(), FramingError::NoBody),
    ] {
        assert_eq!(answer(&text, &["GET"]), (vec![], Some(why)), "{text:?}");
    }
    let one = "HTTP/1.1 204 \r\n\r\n";
    assert_eq!(answer(&one.repeat(2), &["GET"]), (vec![one.len()], Some(FramingError::Unasked)));
    assert_eq!(answer("HTTP/1.1 100 \r\n\r\n", &[]), (vec![], Some(FramingError::Unasked)));
}

#[test]
fn each_answer_belongs_to_its_request() {
    let empty = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let full = format!("{empty}abc");
    let text = format!("{full}{empty}{empty}{full}");
    let ends: Vec<_> = [full.len(), empty.len(), empty.len(), full.len()]
        .iter()
        .scan(0, |at, n| {
            *at += n;
            Some(*at)
        })
        .collect();
    assert_eq!(answer(&text, &["GET", "HEAD", "HEAD", "POST"]), (ends, None));
}

#[test]
fn only_so_many_requests_wait_for_their_answers() {
    let mut asked = asked(&["HEAD"; MAX_PENDING]);
    let mut head = MessageHead::of_request();
    head.read(b"GET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
    let request = RequestFraming::of(&head).unwrap();
    assert_eq!(asked.ask(&request), Err(FramingError::TooMany));
    asked.answered();
    assert_eq!(asked.ask(&request), Ok(()));
    for _ in 0..MAX_PENDING - 1 {
        asked.answered();
        assert!(!asked.is_empty());
    }
    // The last one is the GET.
    let mut head = MessageHead::of_answer();
    head.read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").unwrap().unwrap();
    assert!(!asked.answer(&head).unwrap().unwrap().is_over());
}

/// A body that was announced and not asked for may come or not.
#[test]
fn an_answer_in_place_of_a_100_is_unclear() {
    let head = |bytes: &[u8], mut head: MessageHead| {
        head.read(bytes).unwrap().unwrap();
        head
    };
    let put = head(
        b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        MessageHead::of_request(),
    );
    let put = RequestFraming::of(&put).unwrap();
    let done = head(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", MessageHead::of_answer());
    let go_on = head(b"HTTP/1.1 100 Continue\r\n\r\n", MessageHead::of_answer());
    let mut asked = asked(&["GET"]);
    asked.ask(&put).unwrap();
    // The first answer, and an interim one before it, are the GET's.
    assert!(asked.answer(&go_on).unwrap().is_none());
    assert!(asked.answer(&done).unwrap().is_some());
    asked.answered();
    assert_eq!(asked.answer(&done).unwrap_err(), FramingError::Expected);
    assert!(asked.answer(&go_on).unwrap().is_none());
    assert!(asked.answer(&done).unwrap().is_some());
    asked.answered();
    asked.ask(&put).unwrap();
    asked.body_comes();
    assert!(asked.answer(&done).unwrap().is_some());
}

#[test]
fn what_need_not_be_looked_at_may_be_skipped() {
    let mut body = MessageBody::Sized(u64::MAX);
    assert_eq!(body.read(&[0; 100]), Ok(None));
    assert_eq!(body.passthrough_len(), u64::MAX - 100);
    body.skip(u64::MAX - 102);
    assert_eq!(body.read(b"x"), Ok(None));
    assert_eq!(body.read(b"xy"), Ok(Some(1)));
    assert_eq!((body.is_over(), body.read(b"y")), (true, Ok(Some(0))));
    let mut body = MessageBody::chunked();
    assert_eq!(body.read(b"10000;a\r\nab"), Ok(None));
    assert_eq!(body.passthrough_len(), 0xfffe);
    body.skip(0xfffe);
    assert!(body.passthrough_len() == 0 && !body.is_over());
    assert_eq!(body.read(b"\r\n0\r\n\r\nGET"), Ok(Some(7)));
    let mut body = MessageBody::Chunked(Chunks::lenient());
    assert_eq!(body.read(b"1\na\n0\nA: b\n"), Ok(None));
    assert_eq!((body.read(b"\nGET"), body.is_over()), (Ok(Some(1)), true));
}

/// A body of each kind, as it stands behind the headers that announce it.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let sized = bytes().prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body));
    let chunk = (prop::collection::vec(any::<u8>(), 1..20), "(;[a-z]{1,5}(=[0-9]{1,3})?)?");
    let trailers = "(X-[a-z]{1,5}: [a-z ]{0,9}\r\n){0,3}";
    let chunked = (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Vec::new();
        for (data, extension) in chunks {
            body.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        ("Transfer-Encoding: chunked\r\n".to_owned(), body)
    });
    prop_oneof![sized, chunked]
}

fn message(start: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let headers = || "(X-[A-Za-z-]{1,9}: [ -~]{0,20}\r\n){0,3}";
    (start, headers(), body(), headers()).prop_map(|(start, a, (length, body), b)| {
        [format!("{start}{a}{length}{b}\r\n").into_bytes(), body].concat()
    })
}

fn ends_of(messages: &[Vec<u8>]) -> Vec<usize> {
    messages
        .iter()
        .scan(0, |at, message| {
            *at += message.len();
            Some(*at)
        })
        .collect()
}

proptest! {
    #[test]
    fn valid_requests_are_followed_exactly(
        messages in prop::collection::vec(message("(GET|HEAD|POST|BREW) /[!-~]{0,20} HTTP/1[.]1\r\n"), 1..6),
        pieces in prop::collection::vec(1..50_usize, 1..20),
    ) {
        prop_assert_eq!(follow_requests(&messages.concat(), &pieces), (ends_of(&messages), None));
    }

    #[test]
    fn valid_answers_are_followed_exactly(
        messages in prop::collection::vec(message("HTTP/1[.]1 (200|206|301|404|503) [ -~]{0,20}\r\n"), 1..6),
        pieces in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let methods = vec!["GET"; messages.len()];
        prop_assert_eq!(follow_answers(&messages.concat(), &methods, &pieces), (ends_of(&messages), None));
    }

    #[test]
    fn pieces_make_no_difference(
        messages in prop::collection::vec(message("(GET|HEAD) /x HTTP/1[.]1\r\n"), 1..4),
        broken in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\r\n :;,0a\0"[..])), 0..4),
        pieces in prop::collection::vec(1..30_usize, 1..20),
    ) {
        let mut bytes = messages.concat();
        for (at, byte) in broken {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = follow_requests(&bytes, &[usize::MAX / 2]);
        prop_assert_eq!(follow_requests(&bytes, &pieces), whole);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        pieces in prop::collection::vec(1..30_usize, 1..20),
    ) {
        let whole = follow_requests(&bytes, &[usize::MAX / 2]);
        prop_assert_eq!(follow_requests(&bytes, &pieces), whole);
        let whole = follow_answers(&bytes, &["GET", "HEAD"], &[usize::MAX / 2]);
        prop_assert_eq!(follow_answers(&bytes, &["GET", "HEAD"], &pieces), whole);
        let chunked = [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
        let whole = follow_requests(&chunked, &[usize::MAX / 2]);
        prop_assert_eq!(follow_requests(&chunked, &pieces), whole);
    }
}
