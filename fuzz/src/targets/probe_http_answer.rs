//! What the probe compares of the answers of a website and of a server, of which either may be hostile; beside httparse.

use super::SWITCH;
use obfs_rs::probe::http_answer::{Mask, clocks_apart, status, varying, without_varying};

/// More headers than an input has.
const HEADERS: usize = 2048;

pub fn check(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == SWITCH);
    let (one, other) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    alone(bytes);
    alone(one);
    together(one, other);
    together(one, bytes);
}

fn alone(bytes: &[u8]) {
    assert_eq!(varying(bytes, bytes), Mask::new());
    assert_eq!(clocks_apart(bytes, bytes), None);
    for mask in [Mask::new(), Mask::from([0, 2]), (0..HEADERS).collect()] {
        let masked = without_varying(bytes, &mask);
        // A header that is masked had at least its colon and the end of its line.
        assert!(masked.len() <= bytes.len() * 3 / 2);
        assert_eq!(without_varying(&masked, &mask), masked, "what is masked stays so");
    }
    if let Some((line, count)) = status(bytes) {
        assert!(line.starts_with(b"HTTP/1.") && !line.contains(&b'\n') && count <= bytes.len() / 12);
    }
    beside_httparse(bytes);
}

/// The headers of what is an answer to httparse are ours, each by its name.
fn beside_httparse(bytes: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut theirs = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = theirs.parse(bytes) else { return };
    let (line, _) = status(bytes).expect("a status line");
    let code = format!("{:03}", theirs.code.expect("a status"));
    assert_eq!(line.get(9..12), Some(code.as_bytes()));
    let masked = without_varying(&bytes[..length], &(0..HEADERS).collect());
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut ours = httparse::Response::new(&mut headers);
    assert_eq!(ours.parse(&masked), Ok(httparse::Status::Complete(masked.len())));
    assert_eq!((ours.code, ours.reason), (theirs.code, theirs.reason));
    assert!(
        ours.headers.iter().map(|header| header.name).eq(theirs.headers.iter().map(|header| header.name))
    );
    assert!(ours.headers.iter().all(|header| header.value == b"*"));
}

fn together(one: &[u8], other: &[u8]) {
    let mask = varying(one, other);
    assert_eq!(mask, varying(other, one));
    assert_eq!(clocks_apart(one, other), clocks_apart(other, one));
    let masked = [one, other].map(|bytes| without_varying(bytes, &mask));
    assert_eq!(varying(&masked[0], &masked[1]), Mask::new(), "what varies is masked");
    if one == other {
        assert_eq!(masked[0], masked[1]);
    }
}
