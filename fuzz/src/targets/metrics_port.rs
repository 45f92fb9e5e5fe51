//! Who asks for metrics, and who is asked whether it is ready: one answer at the most, that any client reads.

use super::pieces::{cuts, pieces};
use super::sockets;
use obfs_rs::exporter::{Readiness, judge, serve};
use std::future::ready;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::yield_now;

/// The most that a request may be long: beyond it, how much is read before it is refused depends on the pieces.
const MOST: usize = 8 * 1024;

pub fn check(bytes: &[u8]) {
    let asked = &bytes[..bytes.len().min(MOST)];
    let [whole, others @ ..] = cuts(asked);
    let status = status(asked, &ask(asked, &whole));
    for ends in others {
        assert_eq!(self::status(asked, &ask(asked, &ends)), status, "in pieces that end at {ends:?}");
    }
    // What it says is understood by who asks, in front of anything.
    for (path, wanted) in [("/readyz", true), ("/healthz", true), ("/metrics", false)] {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut answer = ask(request.as_bytes(), &[request.len()]);
        assert_eq!(judge(&answer).is_ok(), wanted);
        answer.extend_from_slice(bytes);
        assert_eq!(judge(&answer).is_ok(), wanted);
    }
    match judge(bytes) {
        Ok(()) => {
            assert!(bytes.starts_with(b"HTTP/1.") || bytes.starts_with(b"\r") || bytes.starts_with(b"\n"))
        }
        Err(Some(line)) => assert!(!line.is_empty() && !line.contains('\n')),
        Err(None) => {}
    }
}

/// All that is said to these bytes.
fn ask(bytes: &[u8], ends: &[usize]) -> Vec<u8> {
    sockets::run(async {
        let (near, far) = duplex(1 << 20);
        let (mut answers, mut requests) = tokio::io::split(far);
        let readiness = Readiness::new(|| Box::pin(ready(Ok(()))));
        let client = async {
            for piece in pieces(bytes, ends) {
                // It may have closed.
                let _ = requests.write_all(piece).await;
                yield_now().await;
            }
            let _ = requests.shutdown().await;
        };
        let reader = async {
            let mut said = Vec::new();
            let _ = answers.read_to_end(&mut said).await;
            said
        };
        tokio::join!(client, reader, serve(near, &readiness, || {})).1
    })
}

/// The status of the one answer to a request, if there is one.
fn status(asked: &[u8], said: &[u8]) -> Option<u16> {
    if said.is_empty() {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut answer = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = answer.parse(said) else {
        panic!("no whole head: {}", said.escape_ascii());
    };
    let status = answer.code.expect("a status");
    assert!(matches!(status, 200 | 400 | 404 | 405 | 414 | 431), "{status}");
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |header| {
        std::str::from_utf8(header.value).expect("digits").parse::<usize>().expect("a number")
    });
    let body = said.len() - head;
    assert!(
        body == length || (body == 0 && asked.windows(4).any(|word| word == b"HEAD")),
        "{body} of {length}"
    );
    // To what is no request hyper says so, or nothing where it comes in pieces.
    Some(status).filter(|status| !matches!(status, 400 | 414 | 431))
}
