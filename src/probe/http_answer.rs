//! Answers of a web server, without what differs between any two of them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Where values of headers are not compared: the numbers of these headers, counted through the answers.
pub type Mask = BTreeSet<usize>;

/// The `Date` of two answers may lie so far apart: clocks of two machines.
const CLOCKS: Duration = Duration::from_secs(120);

/// What stands in the place of a value that is not compared.
const MASKED: &[u8] = b"*";

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// A header: its name with the colon, the value, the end of the line.
    Header { name: &'a [u8], value: &'a [u8], end: &'a [u8] },
    /// Anything else: status lines, empty lines, bodies, what is no HTTP.
    Other(&'a [u8]),
}

/// Cuts answers into parts, which put together are the answers.
fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(start) = heads(rest).next() {
        let (before, head) = rest.split_at(start);
        let (status, mut lines) = split_line(head);
        parts.extend([Part::Other(before), Part::Other(status)]);
        loop {
            let (line, behind) = split_line(lines);
            lines = behind;
            match header(line) {
                Some(header) => parts.push(header),
                None => {
                    parts.push(Part::Other(line));
                    break;
                }
            }
        }
        rest = lines;
    }
    parts.push(Part::Other(rest));
    parts.retain(|part| *part != Part::Other(&[]));
    parts
}

/// Where status lines are: also behind bodies, whose lengths are not known here.
fn heads(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let windows = bytes.windows(b"HTTP/1.1 200".len()).enumerate();
    windows.filter_map(|(at, window)| match window {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', code @ ..] => {
            code.iter().all(u8::is_ascii_digit).then_some(at)
        }
        _ => None,
    })
}

/// The first line with its end, and what is behind.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.split_at(end)
}

fn header(line: &[u8]) -> Option<Part<'_>> {
    let content = line.strip_suffix(b"\n")?;
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    let colon = content.iter().position(|&byte| byte == b':')?;
    let (name, value) = content.split_at(colon + 1);
    Some(Part::Header { name, value, end: line.get(content.len()..).unwrap_or_default() })
}

fn time(name: &[u8], value: &[u8]) -> Option<SystemTime> {
    if !name.eq_ignore_ascii_case(b"date:") {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    httpdate::parse_http_date(text.strip_prefix(' ')?).ok()
}

/// The headers whose values differ between two answers of a site: those in front of where anything else
/// does, since behind that it is not clear which belong together.
pub fn varying(one: &[u8], other: &[u8]) -> Mask {
    let mut mask = Mask::new();
    let mut number = 0;
    for (one, other) in parts(one).into_iter().zip(parts(other)) {
        match (one, other) {
            (Part::Header { name, value, end }, Part::Header { name: n, value: v, end: e })
                if name == n && end == e =>
            {
                if value != v {
                    mask.insert(number);
                }
                number += 1;
            }
            (one, other) if one == other => {}
            _ => break,
        }
    }
    mask
}

/// The answers with a fixed text for what is masked, and for every `Date` that is one.
pub fn without_varying(bytes: &[u8], mask: &Mask) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut number = 0;
    for part in parts(bytes) {
        match part {
            Part::Header { name, value, end } => {
                out.extend_from_slice(name);
                if mask.contains(&number) || time(name, value).is_some() {
                    out.extend_from_slice(MASKED);
                } else {
                    out.extend_from_slice(value);
                }
                out.extend_from_slice(end);
                number += 1;
            }
            Part::Other(bytes) => out.extend_from_slice(bytes),
        }
    }
    out
}

/// How far the clocks behind the first `Date` of two answers are apart, where that is too far.
pub fn clocks_apart(one: &[u8], other: &[u8]) -> Option<Duration> {
    apart(date(one)?, date(other)?)
}

/// The time in the first `Date`.
pub fn date(bytes: &[u8]) -> Option<SystemTime> {
    parts(bytes).into_iter().find_map(|part| match part {
        Part::Header { name, value, .. } => time(name, value),
        Part::Other(_) => None,
    })
}

/// How far two clocks are apart, where that is too far.
pub fn apart(one: SystemTime, other: SystemTime) -> Option<Duration> {
    let apart = one.duration_since(other).or_else(|_| other.duration_since(one)).ok()?;
    (apart > CLOCKS).then_some(apart)
}

/// The first status line, and how many there are.
pub fn status(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let start = heads(bytes).next()?;
    let line = split_line(bytes.get(start..)?).0.trim_ascii_end();
    Some((line, heads(bytes).count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\nbody";
    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:39 GMT\r\nX-Id: 22\r\n\r\nbody";

    #[test]
    fn values_that_vary_are_masked_by_their_place() {
        let mask = varying(ONE, TWO);
        assert_eq!(mask, Mask::from([0, 1]));
        let masked = without_varying(ONE, &mask);
        assert_eq!(masked, b"HTTP/1.1 200 OK\r\nDate:*\r\nX-Id:*\r\n\r\nbody");
        assert_eq!(masked, without_varying(TWO, &mask));
        // The time in Date is masked in any case, other values are not.
        assert_eq!(without_varying(ONE, &Mask::new()), b"HTTP/1.1 200 OK\r\nDate:*\r\nX-Id: 1\r\n\r\nbody");
    }

    #[test]
    fn structure_is_never_masked() {
        for other in [
            &b"HTTP/1.1 200 OK\r\nX-Id: 1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nbody"[..],
            b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\nbody",
            b"HTTP/1.1 200 Ok\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\nbodY",
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\nX-Id: 1\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Id: 1\r\n\r\nbodyHTTP/1.1 400 Bad\r\n\r\n",
            b"",
        ] {
            let mask = varying(ONE, other);
            let (one, masked) = (without_varying(ONE, &mask), without_varying(other, &mask));
            assert_ne!(one, masked, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_date_that_is_none_is_compared() {
        let bytes = b"HTTP/1.1 200 OK\r\nDate: Sunday\r\nDate:Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(without_varying(bytes, &Mask::new()), bytes);
    }

    #[test]
    fn clocks_are_compared_coarsely() {
        assert_eq!(clocks_apart(ONE, TWO), None);
        let wrong = ONE.escape_ascii().to_string().replace("08:49", "09:49");
        let wrong = wrong.replace("\\r\\n", "\r\n");
        assert_eq!(clocks_apart(ONE, wrong.as_bytes()), Some(Duration::from_secs(3600)));
        assert_eq!(clocks_apart(ONE, b"nothing"), None);
    }

    #[test]
    fn status_lines_are_found_behind_bodies() {
        let two = [ONE, b"HTTP/1.1 404 Not Found\r\n\r\n"].concat();
        assert_eq!(status(&two), Some((&b"HTTP/1.1 200 OK"[..], 2)));
        assert_eq!(status(b"SSH-2.0"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(bytes: Vec<u8>, lines: Vec<String>) {
            for bytes in [bytes, format!("HTTP/1.1 200 OK\r\n{}", lines.join("\r\n")).into_bytes()] {
                let mut again = Vec::new();
                for part in parts(&bytes) {
                    match part {
                        Part::Header { name, value, end } => again.extend([name, value, end].concat()),
                        Part::Other(bytes) => again.extend(bytes),
                    }
                }
                assert_eq!(again, bytes);
                assert_eq!(varying(&bytes, &bytes), Mask::new());
            }
        }
    }
}
