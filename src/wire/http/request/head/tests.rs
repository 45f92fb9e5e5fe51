//! Heads, whole and in pieces.

use super::*;
use proptest::prelude::*;

/// Reads a head, which must come out the same however it is cut.
fn read(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let at_once = read_in_pieces(bytes, bytes.len().max(1));
    // Long ones in larger pieces, or it would take long.
    let in_pieces = read_in_pieces(bytes, 1 + bytes.len() / 500);
    match (&in_pieces, &at_once) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some(a)), Ok(Some(b))) => assert_eq!(format!("{a:?}"), format!("{b:?}")),
        (Err(a), Err(b)) => assert_eq!(a, b),
        other => panic!("{other:?}"),
    }
    at_once
}

/// As a connection does it.
fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Option<Request>, Refusal> {
    let mut reading = RequestReader::new(HeaderBuffers::default());
    let mut come = Vec::new();
    for piece in bytes.chunks(piece) {
        come.extend_from_slice(piece);
        come.drain(..reading.skip(&come));
        if let Some(request) = reading.advance(&come)? {
            return Ok(Some(request));
        }
    }
    Ok(None)
}

fn status(head: &str) -> u16 {
    match read(head.as_bytes()) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(refusal) => refusal.status,
    }
}

#[test]
fn heads_are_judged_as_nginx_judges_them() {
    for (lines, wanted) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET /\r\n", 200),
        ("POST /\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /.. HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nRange: a\r\nRange: b\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a\r\nExpect: b\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
    ] {
        assert_eq!(status(lines), wanted, "{lines:?}");
    }
}

#[test]
fn long_heads_are_refused_where_nginx_refuses_them() {
    let line = |length: usize| format!("X: {}\r\n", "a".repeat(length - 5));
    let head = |target: usize, lines: String| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n{lines}\r\n", "a".repeat(target))
    };
    // A request line, or a header line, of 8192 bytes is the longest.
    let request_line = "GET / HTTP/1.1\r\n".len();
    assert_eq!(status(&head(8192 - request_line, String::new())), 200);
    assert_eq!(status(&head(8193 - request_line, String::new())), 414);
    assert_eq!(status(&format!("GET /{}", "a".repeat(8187))), 414);
    assert_eq!(status(&format!("GET /{}", "a".repeat(8186))), 0);
    assert_eq!(status(&head(0, line(8192))), 200);
    assert_eq!(status(&head(0, line(8193))), 494);
    // Four large buffers, of which none holds two of these.
    assert_eq!(status(&head(0, line(7000).repeat(4))), 200);
    assert_eq!(status(&head(0, line(7000).repeat(5))), 494);
    assert_eq!(status(&head(7000, line(7000).repeat(3))), 200);
    assert_eq!(status(&head(7000, line(7000).repeat(4))), 494);
    // Lines that fill theirs to the last byte leave none for the empty line.
    assert_eq!(status(&head(0, line(8192).repeat(3))), 200);
    assert_eq!(status(&head(0, line(8192).repeat(4))), 494);
    // Line ends in front take room in the small one, again and again.
    let blank = |count: usize, target: usize| "\n".repeat(count) + &head(target, line(8192).repeat(3));
    assert_eq!(status(&blank(900, 50)), 200);
    assert_eq!(status(&blank(1000, 50)), 494);
    assert_eq!(status(&blank(1024 + 900, 50)), 200);
}

#[test]
fn names_of_hosts() {
    for (value, wanted) in [
        ("WWW.Example.com:80", Some("www.example.com")),
        ("a.:80", Some("a")),
        ("a.", Some("a")),
        ("[::1]:80", Some("[::1]")),
        ("a:b:c", Some("a")),
        ("a_b", Some("a_b")),
        ("", None),
        (".", None),
        (":80", None),
        ("a..b", None),
        ("a b", None),
        ("a/b", None),
    ] {
        assert_eq!(host_name(value.as_bytes()), wanted.map(Into::into), "{value}");
    }
}

#[test]
fn what_decides_how_to_answer() {
    let request = |head: &str| read(head.as_bytes()).unwrap().unwrap();
    for (version, connection, wanted) in [
        ("1.1", "", true),
        ("1.0", "", false),
        ("1.1", "Connection: Close, x\r\n", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", true),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(request(&head).keep_alive, wanted, "{head:?}");
    }
    for (agent, wanted) in [
        ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1)", true),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", true),
        ("Mozilla/5.0 (X11; rv:109.0) Gecko/20100101 Firefox/115.0", false),
        ("Opera/9.80 MSIE 7.0", false),
        ("MSIE 7", false),
        ("curl/7.88.1", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
        assert_eq!(request(&head).style.padded, wanted, "{agent}");
    }
    let refused = |head: &str| read(head.as_bytes()).unwrap_err().style;
    assert!(refused("HEAD *").head_only);
    assert!(refused("HEAD /\r\n").bare);
    assert!(!refused("GET /\rx").bare);
    let head = "GET http://B.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(request(head).host.as_deref(), Some(&b"b.example"[..]));
}

proptest! {
    #[test]
    fn the_pieces_change_nothing(
        head in "(GET|POST|get) /[a.%/?]{0,4} HTTP/1.[01]\r?\n([HX]:? ?[a\u{0}]{0,3}\r?\n){0,3}\r?\n?",
    ) {
        let _ = read(head.as_bytes());
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}
