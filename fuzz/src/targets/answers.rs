//! What a client finds in front of the stream from its server, and from a proxy before it.

use super::pieces::settled;
use obfs_rs::wire::http::connect::{ConnectAnswer, connect_request};
use obfs_rs::wire::http::{MAX_HEAD, UpgradeAnswer, switching_protocols};
use obfs_rs::wire::websocket::accept_key;
use std::time::{Duration, SystemTime};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// As far as it is the same in pieces: of a first line that has not ended, a shorter part is shown.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    More,
    Begins(usize),
    Refused,
}

fn upgrade(bytes: &[u8], key: Option<&str>) -> Answer {
    match UpgradeAnswer::read(bytes, key) {
        UpgradeAnswer::NeedMore => Answer::More,
        UpgradeAnswer::Switched(at) => Answer::Begins(at),
        UpgradeAnswer::Refused(line) => {
            for_a_log(&line);
            Answer::Refused
        }
    }
}

fn connect(bytes: &[u8]) -> Answer {
    match ConnectAnswer::read(bytes) {
        ConnectAnswer::NeedMore => Answer::More,
        ConnectAnswer::Connected(at) => Answer::Begins(at),
        ConnectAnswer::Refused { line, schemes, code } => {
            for_a_log(&line);
            assert!(schemes.iter().all(|scheme| (1..=20).contains(&scheme.len())));
            assert!(!(200..300).contains(&code));
            Answer::Refused
        }
        ConnectAnswer::Malformed(line) => {
            for_a_log(&line);
            Answer::Refused
        }
        ConnectAnswer::TooLong => Answer::Refused,
    }
}

/// A line of a log has an end, and holds nothing that moves a cursor.
fn for_a_log(line: &str) {
    assert!(line.len() <= 2048 && !line.chars().any(char::is_control), "{line:?}");
}

pub fn check(bytes: &[u8]) {
    for key in [None, Some(KEY)] {
        let (_, found) = settled(bytes, &Answer::More, |bytes| upgrade(bytes, key));
        match found {
            Answer::More => assert!(bytes.len() < MAX_HEAD),
            Answer::Refused => {}
            Answer::Begins(at) => {
                let head = &bytes[..at];
                assert!(head.starts_with(b"HTTP/1.1 101") && at <= MAX_HEAD);
                let accept = accept_key(KEY.as_bytes());
                assert!(key.is_none() || head.windows(accept.len()).any(|part| part == accept.as_bytes()));
            }
        }
    }
    let (_, found) = settled(bytes, &Answer::More, connect);
    match found {
        Answer::More => assert!(bytes.len() < MAX_HEAD),
        Answer::Begins(at) => assert!(at <= MAX_HEAD && bytes[..at].ends_with(b"\n")),
        Answer::Refused => {}
    }
    // Our own answers, with whatever comes behind them.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(*bytes.first().unwrap_or(&0)) << 32);
    let mut ours = switching_protocols(Some(KEY.as_bytes()), Some("AAAA"), time);
    let length = ours.len();
    ours.extend_from_slice(bytes);
    assert_eq!(UpgradeAnswer::read(&ours, Some(KEY)), UpgradeAnswer::Switched(length));
    // And our own request to a proxy.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let request = connect_request("www.example.com:443", Some((text, text)));
        let mut headers = [httparse::EMPTY_HEADER; 4];
        let mut read = httparse::Request::new(&mut headers);
        assert_eq!(read.parse(request.as_bytes()), Ok(httparse::Status::Complete(request.len())));
    }
}
