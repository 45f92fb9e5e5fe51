//! The small parts that all messages have: tokens, header values, dates (RFC 9110 section 5).

use std::time::{Duration, SystemTime};

/// The longest head that is read to its end, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// More headers than any tunnel's request has, those of proxies in front included.
pub(super) const MAX_HEADERS: usize = 96;

/// Whether a byte can stand in a token: `tchar` (RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a byte can stand in a header's value (RFC 9110 section 5.5): no control character but the tab.
pub fn is_value_byte(byte: u8) -> bool {
    const DEL: u8 = 0x7f;
    byte == b'\t' || (byte >= b' ' && byte != DEL)
}

/// Whether this can be the name of a header that we send.
pub fn is_header_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_token_byte)
}

/// Whether this can be the value of a header that we send: printable ASCII, so that nothing in it ends the line.
pub fn is_header_value(text: &str) -> bool {
    (1..=1024).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// The value of the first header of that name.
pub(super) fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Whether a list-valued header (RFC 9110 section 5.6.1) has this token, in any case.
pub(super) fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(|&b| b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A time as HTTP writes it. The clock of a machine may say anything, and only the years from 1970 to 9999
/// can be written.
pub fn date(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since.min(LAST))
}

/// The first line of what a peer sent, fit for a log line. Of a request no more than its method is shown: somebody
/// sends back what was sent to it, and its path may be a secret.
pub fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.get(..120).unwrap_or(line);
    let mut words = line.splitn(2, |&b| b == b' ');
    if let (Some(method), Some(target)) = (words.next(), words.next())
        && target.starts_with(b"/")
        && method.iter().all(|&b| is_token_byte(b))
    {
        return format!("{} /…", String::from_utf8_lossy(method));
    }
    String::from_utf8_lossy(line).trim_end().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_clock_can_be_written() {
        let day = Duration::from_secs(86_400);
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(date(epoch + day), "Fri, 02 Jan 1970 00:00:00 GMT");
        assert_eq!(date(epoch - day), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(epoch + day * 365 * 9000), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_log_line_holds_no_control_characters() {
        assert_eq!(first_line(b"\x1b[31mred\r\nsecond"), "\\u{1b}[31mred");
        assert!(first_line(&[b'x'; 5000]).len() <= 120);
        assert_eq!(first_line(b"GET /s3cret HTTP/1.1\r\n"), "GET /…");
        assert_eq!(first_line(b"HTTP/1.1 404 Not Found\r\n"), "HTTP/1.1 404 Not Found");
    }

    #[test]
    fn nothing_ends_a_header_that_we_send() {
        assert!(is_header_name("X-Real-IP") && is_header_value("a b; c=\"d\""));
        for text in ["", "a b", "a:", "é", "a\r\n", "a\0"] {
            assert!(!is_header_name(text), "{text:?}");
        }
        for text in ["", "a\r\nb", "a\tb", "é", "a\x7f"] {
            assert!(!is_header_value(text), "{text:?}");
        }
        assert!(!is_header_name(&"a".repeat(65)) && !is_header_value(&"a".repeat(1025)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = first_line(&bytes);
        }
    }
}
