//! Conditional requests (RFC 9110 section 13), as nginx evaluates them: a date is compared for equality.

use std::time::UNIX_EPOCH;

/// What identifies the state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag, with its quotation marks.
    pub etag: String,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

impl Validators {
    /// nginx's: the tag says when the file was changed and how long it is, in hexadecimal.
    pub fn new(modified: i64, length: u64) -> Validators {
        Validators { etag: format!("\"{modified:x}-{length:x}\""), modified }
    }
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// They are met.
    Met,
    /// The visitor has the file as it is: 304.
    NotModified,
    /// A condition for doing anything is not met: 412.
    Failed,
}

/// Evaluates the conditions of a request, whose header values `field` returns.
pub fn judge<'a>(field: impl Fn(&str) -> Option<&'a [u8]>, file: &Validators) -> Precondition {
    if field("if-unmodified-since").is_some_and(|value| date(value).is_none_or(|date| date < file.modified)) {
        return Precondition::Failed;
    }
    if field("if-match").is_some_and(|list| !names(list, &file.etag, false)) {
        return Precondition::Failed;
    }
    let same_date = field("if-modified-since").map(|value| date(value) == Some(file.modified));
    let same_tag = field("if-none-match").map(|list| names(list, &file.etag, true));
    match (same_date, same_tag) {
        (None, None) | (Some(false), _) | (_, Some(false)) => Precondition::Met,
        _ => Precondition::NotModified,
    }
}

/// Whether a range may be answered with a part: `If-Range` is not there, or names the file as it is.
pub fn permits_range(if_range: Option<&[u8]>, file: &Validators) -> bool {
    match if_range {
        None => true,
        Some([_, .., b'"']) => if_range == Some(file.etag.as_bytes()),
        Some(value) => date(value) == Some(file.modified),
    }
}

/// Whether a list of entity tags names this one.
fn names(list: &[u8], etag: &str, weakly: bool) -> bool {
    list == b"*"
        || list.split(|&b| b == b',').any(|item| {
            let item = item.trim_ascii();
            let item = if weakly { item.strip_prefix(b"W/").unwrap_or(item) } else { item };
            item == etag.as_bytes()
        })
}

/// A date in any of the three forms (RFC 9110 section 5.6.7), in seconds since 1970.
fn date(value: &[u8]) -> Option<i64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";
    const TAG: &[u8] = b"\"2ebc98a1-64\"";
    const WEAK: &[u8] = b"W/\"2ebc98a1-64\"";

    fn file() -> Validators {
        Validators::new(784_111_777, 100)
    }

    #[test]
    fn the_tag_is_made_of_date_and_length() {
        assert_eq!(file().etag.as_bytes(), TAG);
    }

    #[test]
    fn dates_in_three_forms() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(date(text.as_bytes()), Some(784_111_777), "{text}");
        }
        for text in ["", "yesterday", "784111777", "Sun, 31 Feb 1994 08:49:37 GMT"] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn conditions() {
        use Precondition::{Failed, Met, NotModified};
        for (headers, wanted) in [
            (&[][..], Met),
            (&[("if-modified-since", DAY)], NotModified),
            (&[("if-modified-since", BEFORE)], Met),
            (&[("if-modified-since", AFTER)], Met),
            (&[("if-modified-since", b"then")], Met),
            (&[("if-none-match", TAG)], NotModified),
            (&[("if-none-match", WEAK)], NotModified),
            (&[("if-none-match", b"*")], NotModified),
            (&[("if-none-match", b"\"a\", W/\"b\" ,\"2ebc98a1-64\"")], NotModified),
            (&[("if-none-match", b"\"a\"")], Met),
            (&[("if-none-match", b"2ebc98a1-64")], Met),
            (&[("if-none-match", b"")], Met),
            (&[("if-none-match", TAG), ("if-modified-since", DAY)], NotModified),
            (&[("if-none-match", TAG), ("if-modified-since", BEFORE)], Met),
            (&[("if-none-match", b"\"a\""), ("if-modified-since", DAY)], Met),
            (&[("if-unmodified-since", DAY)], Met),
            (&[("if-unmodified-since", AFTER)], Met),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", b"then")], Failed),
            (&[("if-match", TAG)], Met),
            (&[("if-match", b"*")], Met),
            (&[("if-match", WEAK)], Failed),
            (&[("if-match", b"\"a\"")], Failed),
            (&[("if-match", b"\"a\""), ("if-none-match", TAG)], Failed),
        ] {
            let field = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            assert_eq!(judge(field, &file()), wanted, "{headers:?}");
        }
    }

    #[test]
    fn a_part_is_sent_of_what_the_visitor_has() {
        for (value, wanted) in [(None, true), (Some(TAG), true), (Some(DAY), true)] {
            assert_eq!(permits_range(value, &file()), wanted);
        }
        for value in [WEAK, b"\"a\"", BEFORE, AFTER, b"", b"\"", b"*"] {
            assert!(!permits_range(Some(value), &file()), "{value:?}");
        }
    }
}
