//! Requests: those of browsers and crawlers, and malformed ones.

use super::ProbeContext;
use crate::probe::script::{Action, Probe, says, says_slowly};
use std::time::Duration;

use Action::{Fin, Listen, Send};

pub fn all(context: &mut ProbeContext) -> Vec<Probe> {
    let mut all = ordinary(context);
    all.extend(bodies(context));
    all.extend(one_after_the_other(context));
    all.extend(odd_lines(context));
    all.extend(odd_headers(context));
    all.extend(long(context));
    all.extend(slow(context));
    all
}

fn ordinary(context: &ProbeContext) -> Vec<Probe> {
    let nowhere = &context.nowhere;
    let request = |line: &str, headers: &str| context.request(line, headers);
    let browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
        Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
        Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n";
    vec![
        says("GET", request("GET /", "")).patiently(),
        says("GET as a browser sends it", request("GET /", browser)),
        says("GET, Connection: close", request("GET /", "Connection: close\r\n")),
        says("GET of nothing", request(&format!("GET {nowhere}"), "")),
        says("GET with a query", request("GET /?a=1&b=%20", "Connection: close\r\n")),
        says("HEAD", request("HEAD /", "")),
        says("OPTIONS", request("OPTIONS /", "")),
        says("OPTIONS *", request("OPTIONS *", "")),
        says("TRACE", request("TRACE /", "")),
        says("CONNECT", request("CONNECT www.example.com:443", "")),
        says("DELETE of nothing", request(&format!("DELETE {nowhere}"), "")),
        says("an unknown method", request(&format!("BREW {nowhere}"), "")),
        says("an absolute URI", request(&format!("GET http://{}/", context.host), "")),
        says("Range", request("GET /", "Range: bytes=1-9\r\n")),
        says("a Range behind the end", request("GET /", "Range: bytes=99999999-\r\n")),
        says("If-Modified-Since", request("GET /", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n")),
        says("If-None-Match", request("GET /", "If-None-Match: *\r\n")),
        says("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        says(
            "HTTP/1.0, kept alive",
            format!("GET / HTTP/1.0\r\nHost: {}\r\nConnection: keep-alive\r\n\r\n", context.host),
        ),
        says("HTTP/0.9", "GET /\r\n"),
    ]
}

/// To where there is nothing: a site is to be looked at, not to be changed.
fn bodies(context: &mut ProbeContext) -> Vec<Probe> {
    let noise = context.noise.bytes(100_000);
    let post = |headers: &str| context.request(&format!("POST {}", context.nowhere), headers);
    let chunked = post("Transfer-Encoding: chunked\r\n");
    vec![
        says("POST", post("Content-Length: 11\r\n") + "hello=world"),
        says("POST without a length", post("")),
        says("POST of 100 KB", [post("Content-Length: 100000\r\n").as_bytes(), &noise].concat()),
        says("PUT", post("Content-Length: 1\r\n").replacen("POST", "PUT", 1) + "x"),
        says("chunked", chunked.clone() + "5\r\nhello\r\n0\r\n\r\n"),
        says("chunked, with a size that is none", chunked.clone() + "zz\r\nhello\r\n0\r\n\r\n"),
        says("chunked, with a chunk too long", chunked.clone() + "3\r\nhello\r\n0\r\n\r\n"),
        says("chunked, with a size of 2^64", chunked + "10000000000000000\r\nhello\r\n"),
        Probe::new(
            "Expect: 100-continue",
            vec![
                Send(post("Content-Length: 5\r\nExpect: 100-continue\r\n").into()),
                Listen,
                Send(b"hello".to_vec()),
            ],
        ),
        says("Expect: something else", post("Content-Length: 1\r\nExpect: x\r\n") + "a"),
        says("two Content-Lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n") + "ab"),
        says(
            "Content-Length and chunked",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        says("a Content-Length that is no number", post("Content-Length: x\r\n")),
        says("a negative Content-Length", post("Content-Length: -1\r\n")),
        says("more bytes than the body has", post("Content-Length: 1\r\n") + "abcdef"),
    ]
}

fn one_after_the_other(context: &ProbeContext) -> Vec<Probe> {
    let nothing = context.request(&format!("GET {}", context.nowhere), "");
    let last = context.request("GET /", "Connection: close\r\n");
    vec![
        Probe::new(
            "two requests, kept alive",
            vec![Send(nothing.clone().into()), Listen, Send(last.clone().into())],
        ),
        says("three requests at once", nothing.clone() + &context.request("HEAD /", "") + &last),
        says("a request behind Connection: close", last + &nothing),
        Probe::new(
            "a request, garbage behind its answer",
            vec![Send(nothing.clone().into()), Listen, Send(b"\x00\x01garbage\r\n\r\n".to_vec())],
        ),
        Probe::new("a request, the end behind its answer", vec![Send(nothing.into()), Listen, Fin]),
    ]
}

fn odd_lines(context: &ProbeContext) -> Vec<Probe> {
    let host = &context.host;
    let request = |line: &str, headers: &str| context.request(line, headers);
    let line = |line: &str| format!("{line}\r\nHost: {host}\r\n\r\n");
    vec![
        says("HTTP/1.2", line("GET / HTTP/1.2")),
        says("HTTP/2.0 in the request line", line("GET / HTTP/2.0")),
        says("HTTP/9.9", line("GET / HTTP/9.9")),
        says("a version that is none", line("GET / HTTX/1.1")),
        says("no path", line("GET HTTP/1.1")),
        says("a path without a slash", request("GET x", "")),
        says("a path with dots", request("GET /../../etc/passwd", "")),
        says("a path with an encoded NUL", request("GET /%00", "")),
        says("a path with a NUL", request("GET /\0", "")),
        says("a method in lower case", request("get /", "")),
        says("two spaces", request("GET  /", "")),
        says("a space in front", request(" GET /", "")),
        says("empty lines in front", "\r\n\r\n".to_owned() + &request("GET /", "")),
        says("bare line feeds", format!("GET / HTTP/1.1\nHost: {host}\n\n")),
        says("bare carriage returns", format!("GET / HTTP/1.1\rHost: {host}\r\r")),
    ]
}

fn odd_headers(context: &ProbeContext) -> Vec<Probe> {
    let with = |headers: &str| context.request("GET /", headers);
    let mut eight_bits = with("X: @@\r\n").into_bytes();
    for byte in eight_bits.iter_mut().filter(|byte| **byte == b'@') {
        *byte = 0xfe;
    }
    vec![
        says("no Host", "GET / HTTP/1.1\r\n\r\n"),
        says("two Hosts", with("Host: b.example\r\n")),
        says("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        says("a Host that is none", "GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n"),
        says("a foreign Host", "GET / HTTP/1.1\r\nHost: foreign.example\r\n\r\n"),
        says("a space in front of the colon", with("X : y\r\n")),
        says("a folded header", with("X: a\r\n b\r\n")),
        says("a header without a colon", with("Nonsense\r\n")),
        says("a header without a name", with(": x\r\n")),
        says("a NUL in a header", with("X: a\0b\r\n")),
        says("8-bit bytes in a header", eight_bits),
    ]
}

/// Around the limits that web servers have, and this program.
fn long(context: &ProbeContext) -> Vec<Probe> {
    let letters = |kilobytes: usize| "a".repeat(kilobytes << 10);
    let header = |kilobytes| format!("X: {}\r\n", letters(kilobytes));
    let many: String = (0..150).map(|i| format!("X-{i}: {i}\r\n")).collect();
    vec![
        says("a URI of 7 KiB", context.request(&format!("GET /{}", letters(7)), "")),
        says("a URI of 9 KiB", context.request(&format!("GET /{}", letters(9)), "")),
        says("a URI of 40 KiB", context.request(&format!("GET /{}", letters(40)), "")),
        says("a URI of 20 KiB, unfinished", format!("GET /{}", letters(20))),
        says("a header of 7 KiB", context.request("GET /", &header(7))),
        says("a header of 20 KiB", context.request("GET /", &header(20))),
        says("headers of 28 KiB", context.request("GET /", &header(7).repeat(4))),
        says("headers of 70 KiB", context.request("GET /", &header(7).repeat(10))),
        says("150 headers", context.request("GET /", &many)),
    ]
}

fn slow(context: &ProbeContext) -> Vec<Probe> {
    let request = context.request("GET /", "Connection: close\r\n");
    let (start, rest) = request.split_at(request.len() / 2);
    let pieces =
        |pause: u64| vec![Send(start.into()), Action::Pause(Duration::from_millis(pause)), Send(rest.into())];
    vec![
        says_slowly("one byte at a time", &request, 1, Duration::from_millis(15)),
        says_slowly("line by line", &request, 20, Duration::from_millis(150)),
        Probe::new("half a head, the rest after half a second", pieces(500)),
        Probe::new("half a head, the rest after two seconds", pieces(2000)),
    ]
}
