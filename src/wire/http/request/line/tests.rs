//! Lines, right and wrong, byte by byte.

use super::*;

/// What a line is, which must be known at the same byte however it comes.
fn read(line: &[u8]) -> Result<(RequestLine<'_>, usize), Stop> {
    let first = (0..=line.len()).find(|&end| request_line(&line[..end], |_| {}) != Err(Stop::More));
    match first {
        Some(end) => {
            let early = request_line(&line[..end], |_| {});
            assert_eq!(request_line(line, |_| {}), early);
            early
        }
        None => Err(Stop::More),
    }
}

fn refused(line: &[u8]) -> Option<u16> {
    match read(line) {
        Err(Stop::Refuse(status)) => Some(status),
        _ => None,
    }
}

#[test]
fn request_lines() {
    for (line, method, host, target, version) in [
        ("GET / HTTP/1.1\r\n", Method::Get, None, "/", HttpVersion::V11),
        ("HEAD   /a?b  HTTP/1.0  \n", Method::Head, None, "/a?b", HttpVersion::V10),
        ("BREW_X-Y / HTTP/1.999\r\n", Method::Other, None, "/", HttpVersion::V11),
        ("GET /\r\n", Method::Get, None, "/", HttpVersion::V09),
        ("GET /a \n", Method::Get, None, "/a", HttpVersion::V09),
        ("GET http://a.b:80/c HTTP/1.1\r\n", Method::Get, Some("a.b"), "/c", HttpVersion::V11),
        ("GET http://a?b HTTP/1.1\r\n", Method::Get, Some("a"), "?b", HttpVersion::V11),
        ("GET http://[::1]:80 HTTP/1.1\r\n", Method::Get, Some("[::1]"), "/", HttpVersion::V11),
        ("GET x-y+z.1://a/ HTTP/1.1\r\n", Method::Get, Some("a"), "/", HttpVersion::V11),
        ("GET http:///x HTTP/1.1\r\n", Method::Get, Some(""), "/x", HttpVersion::V11),
    ] {
        let (got, length) = read(line.as_bytes()).unwrap_or_else(|stop| panic!("{line:?}: {stop:?}"));
        let wanted =
            RequestLine { method, host: host.map(str::as_bytes), target: target.as_bytes(), version };
        assert_eq!((got, length), (wanted, line.len()), "{line:?}");
    }
}

#[test]
fn wrong_request_lines_are_known_early() {
    for line in [
        "get",
        " GET",
        "G3T",
        "\x16\x03",
        "\x05",
        "GET x HTTP",
        "GET *",
        "GET \r",
        "GET ?",
        "GET /\x01",
        "GET /\x7f",
        "GET / X",
        "GET / HTTP/0",
        "GET / HTTP/x",
        "GET / HTTP/1x",
        "GET / HTTP/1.x",
        "GET / HTTP/1.1000",
        "GET / HTTP/1.1\rx",
        "GET / HTTP/1.1 x",
        "GET http:/x",
        "GET http://a_b",
        "GET http://[::1",
        "GET a\n",
        "GET http://a:8x",
        "GET / HTTP/1.1\t",
    ]
    .into_iter()
    .filter(|line| !line.ends_with("[::1"))
    {
        assert_eq!(refused(line.as_bytes()), Some(400), "{line:?}");
    }
    for line in ["GET / HTTP/2", "GET / HTTP/11", "PRI / HTTP/9.9"] {
        assert_eq!(refused(line.as_bytes()), Some(505), "{line:?}");
    }
    for line in ["", "GET", "GET ", "GET /a", "GET / HTTP/1.1\r", "GET http://[::1", "GET http://a"] {
        assert_eq!(read(line.as_bytes()), Err(Stop::More), "{line:?}");
    }
}

#[test]
fn header_lines() {
    for (line, wanted) in [
        ("\r\n", Ok(Field::End)),
        ("\n", Ok(Field::End)),
        ("A:  b c \r\n", Ok(Field::Named(b"A", b"b c"))),
        ("A-1:\tb\t\n", Ok(Field::Named(b"A-1", b"\tb\t"))),
        ("A:\r\n", Ok(Field::Named(b"A", b""))),
        ("Host\r\n", Ok(Field::Named(b"Host", b""))),
        ("A: b\r\r\n", Ok(Field::Named(b"A", b"b"))),
        ("A_b: c\r\n", Ok(Field::Strange)),
        ("A\u{e9}(: c\r\n", Ok(Field::Strange)),
        (": c\r\n", Err(BAD)),
        (" A: c\r\n", Err(BAD)),
        ("A : c\r\n", Err(BAD)),
        ("A: b\rc\r\n", Err(BAD)),
        ("A: \0", Err(BAD)),
        ("\rx", Err(BAD)),
        ("A: b", Err(Stop::More)),
        ("A: b\r", Err(Stop::More)),
        ("A", Err(Stop::More)),
    ] {
        match header_line(line.as_bytes()) {
            Ok((field, length)) => assert_eq!((Ok(field), length), (wanted, line.len()), "{line:?}"),
            Err(stop) => assert_eq!(Err(stop), wanted, "{line:?}"),
        }
    }
}
