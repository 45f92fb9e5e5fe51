//! Visitors who take their time.

use super::{LAST, request, says};
use crate::fallback::compare::{Probe, Step};
use Step::{Pause, Send};

/// What is only seen with patience.
pub fn slow() -> Vec<Probe> {
    let steps = |name: &str, steps: Vec<Step>| Probe { name: name.to_owned(), steps };
    let unfinished = request("POST /none", "Content-Length: 10\r\n") + "hello";
    let closing = request("POST /none", "Content-Length: 10\r\nConnection: close\r\n") + "hello";
    vec![
        steps("silence", vec![]),
        says("half a request line", "GET /"),
        says("half a head", "GET / HTTP/1.1\r\nHost: a\r\n"),
        steps(
            "half a head, later the other half of it",
            vec![Send(b"GET / HT".into()), Pause(20_000), Send(b"TP/1.1\r\n".into())],
        ),
        says("kept alive", request("GET /none", "")),
        says("kept alive in HTTP/1.0", "GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        steps(
            "kept alive, half a second request",
            vec![Send(request("GET /none", "").into()), Pause(3000), Send(b"GET".into())],
        ),
        says("two requests, half of the second", request("GET /none", "") + "GET / HTTP/1.1\r\n"),
        says("half a body", &unfinished),
        says("half a body, then a close", &closing),
        says(
            "too large a body, half of it",
            request("POST /none", "Content-Length: 2000000\r\n") + &"b".repeat(9000),
        ),
        steps(
            "a body in drops",
            vec![
                Send(unfinished.clone().into()),
                Pause(3000),
                Send(b"w".into()),
                Pause(3000),
                Send(b"orld".into()),
                Pause(100),
                Send(LAST.into()),
            ],
        ),
        says("half a chunk", request("POST /none", "Transfer-Encoding: chunked\r\n") + "5\r\nhe"),
        steps(
            "a wrong chunk, late",
            vec![
                Send(request("POST /none", "Transfer-Encoding: chunked\r\n").into()),
                Pause(500),
                Send(b"x".into()),
            ],
        ),
        says("an empty line", "\r\n"),
    ]
}
