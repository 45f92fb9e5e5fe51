//! The names and paths of requests: how a client writes them, and how a server compares them.
//!
//! Sources: RFC 3986 section 2 (percent-encoding), RFC 5890 and UTS 46 (names beyond ASCII), Go 1.19
//! `net/url` (which characters of a path v2ray-plugin's client escapes).

use std::fmt::Write as _;

/// The longest name that is looked at, in bytes (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// Reads a name beyond ASCII as it stands in DNS: its labels in Punycode. An ASCII name stays as it is.
/// `None` if it is no name.
pub fn ascii_name(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.to_owned());
    }
    if name.len() > 4 * MAX_NAME {
        return None;
    }
    let ascii = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let is_name = !ascii.is_empty()
        && ascii.len() <= MAX_NAME
        && ascii.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    is_name.then(|| ascii.into_owned())
}

/// Whether a request's `Host`, or a hello's name, is the wanted one: without its port, in any case.
/// `wanted` is ASCII and in lower case. simple-obfs sends names beyond ASCII as they are, browsers and
/// v2ray-plugin in Punycode: both are compared as Punycode.
pub fn is_host(sent: &[u8], wanted: &str) -> bool {
    let Ok(sent) = std::str::from_utf8(sent) else { return false };
    let name = without_port(sent.trim());
    name.eq_ignore_ascii_case(wanted)
        || (!name.is_ascii() && wanted.contains("xn--") && ascii_name(name).as_deref() == Some(wanted))
}

/// A `Host` header's name without its port.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of a bare IPv6 address are not a port's.
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// A request target's path without its query.
pub fn without_query(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Whether a request's target has the wanted path: both without their queries, and decoded, as Go's and
/// nginx's servers compare paths.
pub fn is_path(sent: &str, wanted: &str) -> bool {
    let (sent, wanted) = (without_query(sent), without_query(wanted));
    sent == wanted || decoded(sent).eq(decoded(wanted))
}

/// The bytes that a text with percent escapes stands for. What is no escape stands for itself.
pub fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, behind) = match rest {
            [b'%', high, low, behind @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', rest.get(1..)?),
            },
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        rest = behind;
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}

/// A request target as v2ray-plugin's client writes it: a path that needs no escapes, or has its own,
/// stays as it is; in any other all but the plainest characters are escaped.
pub fn escape_as_go(target: &str) -> String {
    let (path, query) = target.split_at(without_query(target).len());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b);
    let escapes = path.bytes().filter(|&b| b == b'%').count();
    // Every escape that is one takes two bytes off.
    let all_are_escapes = decoded(path).count() + 2 * escapes == path.len();
    let mut escaped = String::with_capacity(target.len() + 16);
    if all_are_escapes && path.bytes().all(|b| plain(b) || b"!'()*[]%".contains(&b)) {
        escaped.push_str(path);
    } else {
        decoded(path).for_each(|byte| push_escaped(&mut escaped, byte, plain(byte)));
    }
    escaped + &escape_unprintable(query)
}

/// A request target with escapes for what cannot stand in a request line: spaces, controls, and bytes
/// beyond ASCII.
pub fn escape_unprintable(target: &str) -> String {
    let mut escaped = String::with_capacity(target.len());
    target.bytes().for_each(|byte| push_escaped(&mut escaped, byte, byte.is_ascii_graphic()));
    escaped
}

/// Appends a byte, as an escape where it is not plain.
pub(super) fn push_escaped(escaped: &mut String, byte: u8, plain: bool) {
    if plain {
        escaped.push(char::from(byte));
    } else {
        let _ = write!(escaped, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_beyond_ascii_are_punycode() {
        for (name, wanted) in [
            ("例子.测试", Some("xn--fsqu00a.xn--0zwm56d")),
            ("BÜCHER.example", Some("xn--bcher-kva.example")),
            ("ｗｗｗ.example", Some("www.example")),
            ("www.example", Some("www.example")),
            ("例子。测试", Some("xn--fsqu00a.xn--0zwm56d")),
            ("a；b.example", None),
            ("a\u{3000}b", None),
            ("例/子", None),
        ] {
            assert_eq!(ascii_name(name).as_deref(), wanted, "{name}");
        }
        assert_eq!(ascii_name(&"例".repeat(5000)), None);
    }

    #[test]
    fn hosts_are_compared_without_port_and_case_in_both_spellings() {
        for sent in ["例子.测试", "例子.测试:8080", "xn--fsqu00a.XN--0zwm56d:80", " 例子.测试 "] {
            assert!(is_host(sent.as_bytes(), "xn--fsqu00a.xn--0zwm56d"), "{sent}");
        }
        assert!(is_host(b"WWW.example.com:443", "www.example.com"));
        for sent in [&b"www.example.org"[..], b"", b"\xff\xfe", "例子.测".as_bytes()] {
            assert!(!is_host(sent, "www.example.com") && !is_host(sent, "xn--fsqu00a.xn--0zwm56d"));
        }
    }

    #[test]
    fn paths_are_compared_decoded_and_without_their_queries() {
        for (sent, wanted) in [
            ("/%E4%B8%AD%e6%96%87", "/中文"),
            ("/中文?x", "/%E4%B8%AD%E6%96%87"),
            ("/a%20b?ed=2048", "/a b"),
            ("/a%7Cb%5Ec", "/a|b^c"),
            ("/%61", "/a?b"),
            ("/%zz", "/%zz"),
            ("/%25zz", "/%zz"),
            ("/100%", "/100%25"),
        ] {
            assert!(is_path(sent, wanted) && is_path(wanted, sent), "{sent} {wanted}");
        }
        for (sent, wanted) in [("/a+b", "/a b"), ("/a%2520b", "/a%20b"), ("/a", "/A"), ("/a/", "/a")] {
            assert!(!is_path(sent, wanted), "{sent} {wanted}");
        }
    }

    /// Measured at v2ray-plugin 1.3.1.
    #[test]
    fn targets_are_written_as_go_writes_them() {
        for (path, wanted) in [
            ("/", "/"),
            ("/stream?ed=2048", "/stream?ed=2048"),
            ("/中文", "/%E4%B8%AD%E6%96%87"),
            ("/a b", "/a%20b"),
            ("/a%20b", "/a%20b"),
            ("/a!b", "/a!b"),
            ("/a|b!c", "/a%7Cb%21c"),
            ("/a%41 b", "/aA%20b"),
            ("/a#b", "/a%23b"),
            ("/%zz", "/%25zz"),
            ("/a?b=c d", "/a?b=c%20d"),
        ] {
            assert_eq!(escape_as_go(path), wanted, "{path}");
        }
        assert_eq!(escape_unprintable("/a|b 中"), "/a|b%20%E4%B8%AD");
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_compared(path in "/.{0,40}") {
            let path = without_query(&path);
            prop_assert!(is_path(&escape_as_go(path), path));
            prop_assert!(escape_as_go(path).bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn no_bytes_panic(sent in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
            is_host(&sent, "xn--fsqu00a.xn--0zwm56d");
            let _ = ascii_name(&text);
            is_path(&text, "/a");
        }
    }
}
