//! Parts of a file (RFC 9110 section 14), chosen as nginx chooses them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A part of a file: from a byte to before another. It is never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub start: u64,
    pub end: u64,
}

/// What a `Range` header comes to for a file of some length.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file: there is nothing to choose from, or the parts would be more than the whole.
    Whole,
    /// These parts, in the order in which they are asked for.
    Parts(Vec<Part>),
    /// There is nothing of what is asked for, or the header says nothing: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of so many bytes.
pub fn select(header: &[u8], length: u64) -> Selection {
    let Some((unit, list)) = header.split_at_checked(6) else { return Selection::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") || list.is_empty() {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut sum = 0_u64;
    for item in list.split(|&b| b == b',') {
        match part(item, length) {
            None => return Selection::Unsatisfiable,
            Some(Part { start, end }) if start < end => {
                sum = sum.saturating_add(end - start);
                parts.push(Part { start, end });
            }
            // Nothing, from the beginning on: an empty file is sent as it is.
            Some(Part { start: 0, .. }) => return Selection::Whole,
            Some(_) => {}
        }
    }
    match parts.len() {
        0 => Selection::Unsatisfiable,
        _ if sum > length => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// One item of the list, cut to what there is of the file; it may be nothing. `None` if it is none.
fn part(item: &[u8], length: u64) -> Option<Part> {
    let dash = item.iter().position(|&b| b == b'-')?;
    let (first, last) = item.split_at_checked(dash)?;
    let last = last.get(1..)?;
    // Spaces may stand around everything but between the dash and the digits of a suffix.
    let is_suffix = first.iter().all(|&b| b == b' ');
    if is_suffix {
        let count = if last.starts_with(b" ") { return None } else { number(last)? };
        return Some(Part { start: length.saturating_sub(count), end: length });
    }
    let start = number(first)?;
    if last.iter().all(|&b| b == b' ') {
        return Some(Part { start, end: length });
    }
    let end = number(last)?;
    Some(Part { start, end: if end >= length { length } else { end + 1 } })
}

/// Digits with spaces around, no more than a file can have bytes.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches(' ');
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<i64>().ok().filter(|_| digits_only).and_then(|number| u64::try_from(number).ok())
}

/// Several parts in one answer (RFC 9110 section 14.6).
#[derive(Debug, Clone, Copy)]
pub struct Multipart {
    boundary: usize,
    content_type: &'static str,
    length: u64,
}

impl Multipart {
    /// Parts of a file of this type and length. The boundaries of a process are numbered, as nginx's are.
    pub fn new(content_type: &'static str, length: u64) -> Multipart {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let boundary = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Multipart { boundary, content_type, length }
    }

    /// The type of the whole answer.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={:020}", self.boundary)
    }

    /// What stands in front of a part.
    pub fn head(&self, part: Part) -> String {
        let range = content_range(part, self.length);
        format!(
            "\r\n--{:020}\r\nContent-Type: {}\r\nContent-Range: {range}\r\n\r\n",
            self.boundary, self.content_type
        )
    }

    /// What stands behind the last.
    pub fn tail(&self) -> String {
        format!("\r\n--{:020}--\r\n", self.boundary)
    }

    /// The length of the whole.
    pub fn total(&self, parts: &[Part]) -> u64 {
        let sum: u64 = parts.iter().map(|part| self.head(*part).len() as u64 + part.end - part.start).sum();
        sum + self.tail().len() as u64
    }
}

/// The value of `Content-Range` for a part of a file of so many bytes.
pub fn content_range(part: Part, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(list: &[(u64, u64)]) -> Selection {
        Selection::Parts(list.iter().map(|&(start, end)| Part { start, end }).collect())
    }

    #[test]
    fn ranges_of_a_hundred_bytes() {
        for (header, wanted) in [
            ("bytes=0-9", parts(&[(0, 10)])),
            ("Bytes=0-9", parts(&[(0, 10)])),
            ("bytes=10-", parts(&[(10, 100)])),
            ("bytes=-10", parts(&[(90, 100)])),
            ("bytes=-1000", parts(&[(0, 100)])),
            ("bytes=99-99", parts(&[(99, 100)])),
            ("bytes=0-1000", parts(&[(0, 100)])),
            ("bytes= 0 - 9 ", parts(&[(0, 10)])),
            ("bytes=0-0,2-2,-1", parts(&[(0, 1), (2, 3), (99, 100)])),
            ("bytes=0-9, 200-300", parts(&[(0, 10)])),
            ("bytes=50-59,0-9", parts(&[(50, 60), (0, 10)])),
            // more than the whole
            ("bytes=0-99,0-0", Selection::Whole),
            ("bytes=0-,0-", Selection::Whole),
            // other units
            ("bytes", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("lines=0-9", Selection::Whole),
            ("bytes =0-9", Selection::Whole),
            // nothing of it
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=100-200,300-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=9-5", Selection::Unsatisfiable),
            ("bytes=x", Selection::Unsatisfiable),
            ("bytes=0", Selection::Unsatisfiable),
            ("bytes=-", Selection::Unsatisfiable),
            ("bytes=0-9,", Selection::Unsatisfiable),
            ("bytes=0-9;1-2", Selection::Unsatisfiable),
            ("bytes=0--9", Selection::Unsatisfiable),
            ("bytes=- 9", Selection::Unsatisfiable),
            ("bytes=+1-2", Selection::Unsatisfiable),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
        ] {
            assert_eq!(select(header.as_bytes(), 100), wanted, "{header}");
        }
    }

    #[test]
    fn ranges_of_nothing() {
        for (header, wanted) in [
            ("bytes=0-0", Selection::Whole),
            ("bytes=-5", Selection::Whole),
            ("bytes=0-", Selection::Whole),
            ("bytes=1-", Selection::Unsatisfiable),
        ] {
            assert_eq!(select(header.as_bytes(), 0), wanted, "{header}");
        }
    }

    #[test]
    fn the_length_of_several_parts_is_that_of_what_is_sent() {
        let multipart = Multipart::new("text/css", 100);
        let parts = [Part { start: 0, end: 10 }, Part { start: 99, end: 100 }];
        let text: String = parts.iter().map(|part| multipart.head(*part)).collect();
        assert!(text.contains("\r\nContent-Range: bytes 99-99/100\r\n\r\n"), "{text}");
        assert_eq!(multipart.total(&parts), (text.len() + 11 + multipart.tail().len()) as u64);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_file(header in "bytes=[0-9, -]{0,20}", length in 0..200_u64) {
            if let Selection::Parts(parts) = select(header.as_bytes(), length) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= length);
            }
        }
    }
}
