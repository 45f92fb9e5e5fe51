//! Requests as our own website reads them, beside httparse.

use super::pieces::cuts;
use obfs_rs::wire::http::framing::MessageBody;
use obfs_rs::wire::http::request::head::{Refusal, Request, RequestReader};
use obfs_rs::wire::http::request::line::Method;
use obfs_rs::wire::http::request::target::{Target, encode};

/// All that a head says, to be compared.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    More,
    Request(String),
    Refused(Refusal),
}

impl From<Result<Option<Request>, Refusal>> for Read {
    fn from(result: Result<Option<Request>, Refusal>) -> Read {
        match result {
            Ok(None) => Read::More,
            Ok(Some(request)) => Read::Request(format!("{request:?}")),
            Err(refusal) => Read::Refused(refusal),
        }
    }
}

pub fn check(bytes: &[u8]) {
    target(bytes);
    let blank = RequestReader::default().skip(bytes);
    assert!(bytes[..blank].iter().all(|b| matches!(b, b'\r' | b'\n')));
    let bytes = &bytes[blank..];
    if bytes.is_empty() {
        return;
    }
    let whole = RequestReader::default().advance(bytes);
    match &whole {
        Ok(None) => assert!(bytes.len() < 64 * 1024, "nginx has no room for {} bytes", bytes.len()),
        Ok(Some(request)) => {
            assert!(request.length <= bytes.len() && request.target.path.starts_with(b"/"));
            assert!(!matches!(request.method, Method::Connect | Method::Trace));
            beside_httparse(bytes, request);
        }
        Err(refusal) => {
            assert!(refusal.consumed <= bytes.len());
            assert!(matches!(refusal.status, 400 | 405 | 414 | 494 | 501 | 505), "{refusal:?}");
        }
    }
    let whole = Read::from(whole);
    for ends in cuts(bytes) {
        let (mut reader, mut judge) = (RequestReader::default(), RequestReader::for_judging(false));
        let (mut found, mut refused) = (Read::More, false);
        for end in ends {
            assert_eq!(found, Read::More);
            found = reader.advance(&bytes[..end]).into();
            refused = judge.is_refused(&bytes[..end]);
            if found != Read::More {
                break;
            }
        }
        assert_eq!(found, whole, "in pieces, and as a whole");
        // What depends on all of the head, such as a missing Host, is not judged.
        assert!(!refused || matches!(found, Read::Refused(_)));
    }
}

/// What both take they take alike. Either takes what the other does not, on purpose. nginx, and so our own website:
/// any control character but NUL in a value; a name without a colon; several carriage returns at the end of a
/// line; names that are no tokens, which it passes over; HTTP/0.9, and minor versions up to 999. httparse: methods in
/// small letters, targets that are no paths, and a request that lacks a Host.
fn beside_httparse(bytes: &[u8], request: &Request) {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = theirs.parse(bytes) else { return };
    assert_eq!(request.length, length);
    let (method, path) = (theirs.method.expect("a method"), theirs.path.expect("a path"));
    assert_eq!(request.method == Method::Get, method == "GET");
    assert_eq!(request.method == Method::Head, method == "HEAD");
    assert_eq!(request.style.head_only, method == "HEAD");
    assert!(!request.style.bare);
    if path.starts_with('/') {
        assert_eq!(request.target.written, path.as_bytes());
    }
    for name in
        ["host", "content-length", "transfer-encoding", "range", "if-none-match", "expect", "user-agent"]
    {
        // Of those that may come more than once, the first counts.
        let value = theirs.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let value = value.map(|header| header.value.trim_ascii());
        assert_eq!(request.field(name).map(<[u8]>::trim_ascii), value, "{name}");
    }
    let number = |name: &str| Some(std::str::from_utf8(request.field(name)?).ok()?.parse::<u64>().ok());
    match (&request.body, request.field("transfer-encoding")) {
        (MessageBody::Sized(length), None) => {
            assert_eq!(number("content-length").unwrap_or(Some(0)), Some(*length))
        }
        (MessageBody::Chunked(_), Some(coding)) => assert!(coding.eq_ignore_ascii_case(b"chunked")),
        (body, coding) => panic!("{body:?} with {coding:?}"),
    }
}

/// A target never leads out of its folder, and a path that is written is read as itself.
fn target(written: &[u8]) {
    // No request line has a NUL.
    let Some(target) = Target::parse(written).filter(|_| !written.contains(&0)) else { return };
    assert_eq!(target.written, written);
    let parts: Vec<&[u8]> = target.path.split(|&b| b == b'/').collect();
    let [b"", before @ .., last] = &parts[..] else { panic!("{:?}", target.path) };
    assert!(before.iter().all(|part| !matches!(*part, b"" | b"." | b"..")) && !matches!(*last, b"." | b".."));
    let again = Target::parse(encode(&target.path).as_bytes()).expect("a path");
    assert_eq!((again.path, again.query), (target.path, Vec::new()));
}
