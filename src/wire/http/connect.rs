//! `CONNECT` (RFC 9110 section 9.3.6): what is asked of an HTTP proxy, and what it answers.

use super::syntax::{MAX_HEAD, MAX_HEADERS, first_line, is_token_byte};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The request for a tunnel to `target`, a host and a port. A user and a password go with it (Basic, RFC 7617).
pub fn connect_request(target: &str, login: Option<(&str, &str)>) -> String {
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = login {
        head += &format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")));
    }
    head + "\r\n"
}

/// What a client finds in front of the stream through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectAnswer {
    /// The head has not ended.
    NeedMore,
    /// The tunnel stands; it begins after so many bytes.
    Connected(usize),
    /// There is none.
    Refused {
        /// The status.
        code: u16,
        /// The first line, cut short and cleaned for a log.
        line: String,
        /// The ways to log in that are offered (RFC 9110 section 11.7.1).
        schemes: Vec<String>,
    },
    /// It is not HTTP. The text is its first line, as above.
    Malformed(String),
    /// The head is longer than any.
    TooLong,
}

impl ConnectAnswer {
    /// Reads a proxy's answer. What it says first and does not mean yet (`100 Continue`) is passed over.
    pub fn read(bytes: &[u8]) -> ConnectAnswer {
        // Only what may be a head is looked at, or what follows it could change the verdict.
        let most = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut at = 0;
        loop {
            let rest = most.get(at..).unwrap_or_default();
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            match (response.parse(rest), response.code) {
                (Ok(httparse::Status::Partial), _) if bytes.len() < MAX_HEAD => {
                    return ConnectAnswer::NeedMore;
                }
                (Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders), _) => {
                    return ConnectAnswer::TooLong;
                }
                (Ok(httparse::Status::Complete(len)), Some(100 | 102..=199)) => at += len,
                (Ok(httparse::Status::Complete(len)), Some(200..=299)) => {
                    return ConnectAnswer::Connected(at + len);
                }
                (Ok(httparse::Status::Complete(_)), Some(code)) => {
                    let schemes = schemes(response.headers);
                    return ConnectAnswer::Refused { code, line: first_line(rest), schemes };
                }
                (Ok(httparse::Status::Complete(_)), None) | (Err(_), _) => {
                    return ConnectAnswer::Malformed(first_line(rest));
                }
            }
        }
    }
}

/// The schemes of all challenges: in a list of them and of their parameters, the words without `=`.
fn schemes(headers: &[httparse::Header<'_>]) -> Vec<String> {
    /// The longest name of one.
    const LONGEST: usize = 20;
    let challenges = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"));
    let items = challenges.flat_map(|header| header.value.split(|&b| b == b','));
    items
        .filter_map(|item| item.trim_ascii().split(|&b| b == b' ').next())
        .filter(|word| (1..=LONGEST).contains(&word.len()) && word.iter().all(|&b| is_token_byte(b)))
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(code: u16, line: &str, schemes: &[&str]) -> ConnectAnswer {
        let schemes = schemes.iter().map(|&scheme| scheme.to_owned()).collect();
        ConnectAnswer::Refused { code, line: line.to_owned(), schemes }
    }

    #[test]
    fn what_is_asked() {
        assert_eq!(
            connect_request("[2001:db8::1]:443", None),
            "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
        );
        // The example of RFC 7617.
        let with_login = connect_request("a.example:80", Some(("Aladdin", "open sesame")));
        assert!(
            with_login.ends_with("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
            "{with_login}"
        );
    }

    #[test]
    fn answers() {
        let ok = "HTTP/1.1 200 Connection established\r\nProxy-Agent: x\r\nContent-Length: 5\r\n\r\n";
        let ntlm = "HTTP/1.1 407 Login\r\nProxy-Authenticate: Negotiate, NTLM\r\n\r\n";
        let list = "HTTP/1.1 407 Login\r\nproxy-authenticate: Digest realm=\"a, b\", nonce=\"x\"\r\n\
                    Proxy-Authenticate: basic\r\n\r\n";
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(MAX_HEADERS + 1));
        for (bytes, wanted) in [
            ("HTTP/1.0 200\r\n\r\n", ConnectAnswer::Connected(16)),
            ("HTTP/1.1 204 No\r\n\r\nfirst bytes", ConnectAnswer::Connected(19)),
            (ok, ConnectAnswer::Connected(ok.len())),
            (&format!("HTTP/1.1 100 Continue\r\n\r\n{ok}x"), ConnectAnswer::Connected(25 + ok.len())),
            ("HTTP/1.1 100 Continue\r\n\r\n", ConnectAnswer::NeedMore),
            ("", ConnectAnswer::NeedMore),
            ("HTTP/1.1 200 OK\r\nX: y\r\n", ConnectAnswer::NeedMore),
            ("HTTP/1.1 101 Go\r\n\r\n", refused(101, "HTTP/1.1 101 Go", &[])),
            ("HTTP/1.0 403 Filtered\r\n\r\n", refused(403, "HTTP/1.0 403 Filtered", &[])),
            (ntlm, refused(407, "HTTP/1.1 407 Login", &["Negotiate", "NTLM"])),
            (list, refused(407, "HTTP/1.1 407 Login", &["Digest", "basic"])),
            ("SSH-2.0-OpenSSH_9.2\r\n", ConnectAnswer::Malformed("SSH-2.0-OpenSSH_9.2".into())),
            ("HTTP/1.1 2x0 OK\r\n\r\n", ConnectAnswer::Malformed("HTTP/1.1 2x0 OK".into())),
            (&endless, ConnectAnswer::TooLong),
            (&many, ConnectAnswer::TooLong),
        ] {
            assert_eq!(ConnectAnswer::read(bytes.as_bytes()), wanted, "{bytes:.60}");
        }
    }

    /// Whatever the pieces in which it comes: the last one brings the end of the head here.
    #[test]
    fn a_head_is_too_long_however_much_of_it_has_come() {
        let head = |length: usize| {
            let begin = "HTTP/1.1 200 OK\r\nX: ";
            format!("{begin}{}\r\n\r\n", "x".repeat(length - begin.len() - 4))
        };
        assert_eq!(ConnectAnswer::read(head(MAX_HEAD).as_bytes()), ConnectAnswer::Connected(MAX_HEAD));
        let long = head(MAX_HEAD + 1);
        assert_eq!(ConnectAnswer::read(&long.as_bytes()[..MAX_HEAD]), ConnectAnswer::TooLong);
        assert_eq!(ConnectAnswer::read(long.as_bytes()), ConnectAnswer::TooLong);
        // What is said before counts, too.
        let interim = format!("HTTP/1.1 100 Continue\r\n\r\n{}", head(MAX_HEAD));
        assert_eq!(ConnectAnswer::read(interim.as_bytes()), ConnectAnswer::TooLong);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_are_waited_for_without_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = ConnectAnswer::read(&bytes);
            let mut long = b"HTTP/1.1 200 OK\r\n".to_vec();
            while long.len() < MAX_HEAD {
                long.extend_from_slice(&bytes);
                long.push(b'x');
            }
            prop_assert_ne!(ConnectAnswer::read(&long), ConnectAnswer::NeedMore);
        }

        #[test]
        fn the_tunnel_begins_where_the_head_ends(cut in 0_usize..39, behind in proptest::collection::vec(any::<u8>(), 0..16)) {
            let head = b"HTTP/1.1 200 Connected\r\nVia: proxy\r\n\r\n";
            prop_assert_eq!(ConnectAnswer::read(&head[..cut.min(head.len() - 1)]), ConnectAnswer::NeedMore);
            let whole = [head, behind.as_slice()].concat();
            prop_assert_eq!(ConnectAnswer::read(&whole), ConnectAnswer::Connected(head.len()));
        }
    }
}
