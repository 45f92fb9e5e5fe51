//! Where messages begin and end: as those that follow a connection read them (strictly), as nginx does (leniently),
//! and as httparse does. A message that two of them cut in two ways would be a way to smuggle requests.

use super::pieces::{cuts, pieces};
use obfs_rs::wire::http::chunked::{Chunks, MalformedChunk};
use obfs_rs::wire::http::framing::{FramingError, MessageBody, MessageHead, PendingRequests, RequestFraming};
use obfs_rs::wire::http::request::head::RequestReader;

pub fn check(bytes: &[u8]) {
    if let Some((head, length)) = head(MessageHead::of_request(), bytes) {
        request(bytes, &head, length);
    }
    if let Some((head, length)) = head(MessageHead::of_answer(), bytes) {
        answer(bytes, &head, length);
    }
    chunks(bytes);
}

/// Reads a head, whatever its pieces. Returns it and its length, if it ends.
fn head(begin: MessageHead, bytes: &[u8]) -> Option<(MessageHead, usize)> {
    let read = |ends: &[usize]| {
        let (mut head, mut before) = (begin.clone(), 0);
        for piece in pieces(bytes, ends) {
            match head.read(piece) {
                Ok(None) => before += piece.len(),
                Ok(Some(n)) => return Ok(Some((head, before + n))),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = read(&[bytes.len()]);
    for ends in cuts(bytes) {
        assert_eq!(read(&ends), whole);
    }
    if let Ok(None) = whole {
        assert!(bytes.len() <= 32 * 1024);
    }
    let (head, length) = whole.ok()??;
    assert!(length <= bytes.len() && bytes[..length].ends_with(b"\r\n"));
    Some((head, length))
}

/// Values of a header, as httparse reads them.
fn values<'a>(headers: &[httparse::Header<'a>], name: &str) -> Vec<&'a [u8]> {
    let named = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii()).collect()
}

/// What is read strictly is read so by the others.
fn request(bytes: &[u8], head: &MessageHead, length: usize) {
    let framing = RequestFraming::of(head);
    let mut headers = [httparse::EMPTY_HEADER; 512];
    let mut theirs = httparse::Request::new(&mut headers);
    match theirs.parse(bytes) {
        Ok(httparse::Status::Complete(n)) => {
            assert_eq!(n, length);
            if let Ok(framing) = &framing {
                body_is(&framing.body, theirs.headers, 0);
            }
        }
        // A target is any bytes here but white space, so that what browsers send passes; there only UTF-8.
        Err(httparse::Error::Token) if !bytes[..length].is_ascii() => {}
        Err(httparse::Error::TooManyHeaders) => {}
        other => panic!("{other:?} of {}", bytes[..length].escape_ascii()),
    }
    let Ok(mut framing) = framing else { return };
    let mut pending = PendingRequests::default();
    pending.ask(&framing).expect("room for one");
    assert!(!pending.is_empty());
    // Our own website (and nginx) may refuse it, but not take it for more or for less.
    if let Ok(Some(request)) = RequestReader::default().advance(&bytes[..length]) {
        assert_eq!(request.length, length);
        match (&framing.body, &request.body) {
            (MessageBody::Sized(one), MessageBody::Sized(other)) => assert_eq!(one, other),
            (MessageBody::Chunked(_), MessageBody::Chunked(_)) => {}
            (one, other) => panic!("{one:?}, and {other:?}"),
        }
    }
    body(&mut framing.body, &bytes[length..]);
}

fn answer(bytes: &[u8], head: &MessageHead, length: usize) {
    let mut headers = [httparse::EMPTY_HEADER; 512];
    let mut theirs = httparse::Response::new(&mut headers);
    match theirs.parse(bytes) {
        Ok(httparse::Status::Complete(n)) => assert_eq!(n, length),
        Err(httparse::Error::TooManyHeaders) => return,
        other => panic!("{other:?} of {}", bytes[..length].escape_ascii()),
    }
    let status = theirs.code.expect("a status");
    assert_eq!(PendingRequests::default().answer(head), Err(FramingError::Unasked));
    for method in ["GET", "HEAD"] {
        let mut asked = MessageHead::of_request();
        let request = format!("{method} / HTTP/1.1\r\n\r\n");
        assert_eq!(asked.read(request.as_bytes()), Ok(Some(request.len())));
        let mut pending = PendingRequests::default();
        pending.ask(&RequestFraming::of(&asked).expect("a request")).expect("room for one");
        match pending.answer(head) {
            Ok(None) => assert!((100..200).contains(&status) && status != 101),
            Ok(Some(mut answer)) => {
                assert!(status >= 200);
                if method == "HEAD" || matches!(status, 204 | 304) {
                    assert!(answer.is_over());
                } else {
                    body_is(&answer, theirs.headers, u64::MAX);
                }
                pending.answered();
                assert!(pending.is_empty());
                body(&mut answer, &bytes[length..]);
            }
            Err(_) => {}
        }
    }
}

/// A body is what exactly one header says; without any it has `length`.
fn body_is(body: &MessageBody, headers: &[httparse::Header<'_>], length: u64) {
    let (lengths, codings) = (values(headers, "content-length"), values(headers, "transfer-encoding"));
    match (body, &lengths[..], &codings[..]) {
        (MessageBody::Sized(n), [], []) => assert_eq!(*n, length),
        (MessageBody::Sized(n), [text], []) => {
            assert_eq!(std::str::from_utf8(text).expect("digits").parse(), Ok(*n));
        }
        (MessageBody::Chunked(_), [], [coding]) => assert!(coding.eq_ignore_ascii_case(b"chunked")),
        other => panic!("{other:?}"),
    }
}

/// A body ends at the same byte whatever its pieces, and whether what need not be looked at is.
fn body(begin: &mut MessageBody, bytes: &[u8]) {
    let read = |ends: &[usize], skips: bool| {
        let (mut body, mut before) = (begin.clone(), 0);
        for piece in pieces(bytes, ends) {
            let mut piece = piece;
            if skips {
                let n = piece.len().min(usize::try_from(body.passthrough_len()).unwrap_or(usize::MAX));
                body.skip(n as u64);
                before += n;
                piece = &piece[n..];
            }
            match body.read(piece) {
                Ok(None) => before += piece.len(),
                Ok(Some(n)) => {
                    assert!(body.is_over() && body.passthrough_len() == 0);
                    return Ok(Some(before + n));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    let whole = read(&[bytes.len()], false);
    for ends in cuts(bytes) {
        assert_eq!(read(&ends, false), whole);
        assert_eq!(read(&ends, true), whole);
    }
    if let Ok(Some(length)) = whole {
        assert!(length <= bytes.len());
    }
    // What is read strictly ends where nginx takes it to end.
    if let (MessageBody::Chunked(_), Ok(Some(length))) = (&*begin, whole) {
        assert_eq!(MessageBody::Chunked(Chunks::lenient()).read(bytes), Ok(Some(length)));
    }
}

/// Chunks, whatever their pieces; each size as httparse reads it.
fn chunks(bytes: &[u8]) {
    for begin in [Chunks::strict(), Chunks::lenient()] {
        let read = |ends: &[usize]| {
            let (mut chunks, mut taken) = (begin, 0);
            for piece in pieces(bytes, ends) {
                let n = chunks.read(piece)?;
                assert!(n == piece.len() || chunks.is_over());
                taken += n;
            }
            Ok::<_, MalformedChunk>((taken, chunks))
        };
        let whole = read(&[bytes.len()]);
        for ends in cuts(bytes) {
            assert_eq!(read(&ends), whole);
        }
    }
    let (mut chunks, mut at) = (Chunks::strict(), 0);
    while !chunks.is_over() && at < bytes.len() {
        let line = at;
        while chunks.data_left() == 0 && !chunks.is_over() {
            let Some(byte) = bytes.get(at..at + 1) else { return };
            let Ok(_) = chunks.read(byte) else { return };
            at += 1;
        }
        // It allows no more than 15 digits, and no white space beside an extension.
        let size = chunks.data_left();
        if let Ok(httparse::Status::Complete(found)) = httparse::parse_chunk_size(&bytes[line..at]) {
            assert_eq!(found, (at - line, size));
        }
        let data = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len() - at);
        chunks.skip(data as u64);
        at += data;
        // Between the data and the next size.
        while chunks.data_left() == 0 && at < bytes.len() && matches!(bytes[at], b'\r' | b'\n') && data > 0 {
            let Ok(_) = chunks.read(&bytes[at..=at]) else { return };
            at += 1;
        }
    }
}
