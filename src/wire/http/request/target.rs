//! Request targets: which path is meant, decoded once and without dots, and how a path is written.

use crate::wire::http::host::push_escaped;

/// The target of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// As it was written: a path and its query.
    pub written: Vec<u8>,
    /// The path that is meant: it begins with a slash, and no part of it is empty, `.` or `..`, but
    /// that it may end with a slash.
    pub path: Vec<u8>,
    /// What stands behind the question mark.
    pub query: Vec<u8>,
}

impl Target {
    /// Reads a target: percent signs are decoded once (RFC 3986 section 2.1), then `.` and `..` are
    /// taken out (section 5.2.4) and slashes merged. `None` if it leads above the root, or has an
    /// encoding that is none, or a NUL.
    pub fn parse(written: &[u8]) -> Option<Target> {
        let end = written.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(written.len());
        let (path, rest) = written.split_at_checked(end)?;
        let query = match rest {
            [b'?', query @ ..] => query.split(|&b| b == b'#').next().unwrap_or_default(),
            _ => &[],
        };
        let path = without_dots(&decode(path)?)?;
        Some(Target { written: written.to_vec(), path, query: query.to_vec() })
    }

    /// The ending of the file's name, without its dot.
    pub fn extension(path: &[u8]) -> Option<&[u8]> {
        let name = path.rsplit(|&b| b == b'/').next()?;
        let dot = name.iter().rposition(|&b| b == b'.')?;
        let (before, after) = name.split_at_checked(dot)?;
        // nginx takes the first dots of a name for those of a path.
        let hidden = dot <= 2 && before.iter().all(|&b| b == b'.');
        if hidden { None } else { after.get(1..).filter(|extension| !extension.is_empty()) }
    }
}

fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let byte = u8::try_from(digit()? * 16 + digit()?).ok()?;
                if byte == 0 {
                    return None;
                }
                byte
            }
            byte => byte,
        });
    }
    Some(decoded)
}

fn without_dots(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut is_folder = true;
    for part in path.split(|&b| b == b'/') {
        is_folder = matches!(part, b"" | b"." | b"..");
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let mut clean = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        clean.push(b'/');
        clean.extend_from_slice(part);
    }
    if is_folder {
        clean.push(b'/');
    }
    Some(clean)
}

/// A path as it stands in a URL.
pub fn encode(path: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !br##""#%<>?\^`{|}"##.contains(&b);
    let mut encoded = String::with_capacity(path.len());
    path.iter().for_each(|&byte| push_escaped(&mut encoded, byte, plain(byte)));
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(written: &str) -> Option<String> {
        Target::parse(written.as_bytes()).map(|target| String::from_utf8(target.path).unwrap())
    }

    #[test]
    fn paths_are_made_plain() {
        for (written, wanted) in [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/%61%2fb", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2f..%2fb", "/b"),
            ("/a/%252e%252e/b", "/a/%2e%2e/b"),
            ("/a%3Fb%23c%25", "/a?b#c%"),
            ("/a...b/..c/...", "/a...b/..c/..."),
            ("/a?b/../..", "/a"),
            ("/a#b?c", "/a"),
            ("?b", "/"),
        ] {
            assert_eq!(path(written).as_deref(), Some(wanted), "{written}");
        }
        for written in [
            "/..",
            "/../",
            "/../../etc/passwd",
            "/a/../..",
            "/%2e%2e/x",
            "/.%2e",
            "/a/..%2f..%2fx",
            "/%00",
            "/a%00.html",
            "/%",
            "/%2",
            "/%zz",
            "/%2?x",
        ] {
            assert_eq!(path(written), None, "{written}");
        }
    }

    #[test]
    fn a_query_ends_before_a_fragment() {
        for (written, wanted) in
            [("/a", ""), ("/a?", ""), ("/a?b=c?d", "b=c?d"), ("/a?b#c", "b"), ("/a#b?c", ""), ("/a%3Fb", "")]
        {
            let target = Target::parse(written.as_bytes()).unwrap();
            assert_eq!((target.query, target.written), (wanted.into(), written.into()));
        }
    }

    #[test]
    fn extensions() {
        for (path, wanted) in [
            ("/a.html", Some("html")),
            ("/a.tar.gz", Some("gz")),
            ("/a.b/c", None),
            ("/a.", None),
            ("/.htaccess", None),
            ("/.a.html", Some("html")),
            ("/..html", None),
            ("/a..html", Some("html")),
            ("/", None),
        ] {
            assert_eq!(Target::extension(path.as_bytes()), wanted.map(str::as_bytes), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out(written in "/[a.%2ef/]{0,24}") {
            if let Some(target) = Target::parse(written.as_bytes()) {
                prop_assert!(target.path.starts_with(b"/"));
                let parts: Vec<&[u8]> = target.path[1..].split(|&b| b == b'/').collect();
                let (last, before) = parts.split_last().unwrap();
                prop_assert!(before.iter().all(|part| !matches!(*part, b"" | b"." | b"..")));
                prop_assert!(!matches!(*last, b"." | b".."));
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(path in proptest::collection::vec(1_u8.., 0..40)) {
            prop_assert_eq!(decode(encode(&path).as_bytes()), Some(path));
        }
    }
}
