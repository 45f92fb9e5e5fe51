//! Requests: those of browsers and crawlers, and malformed ones.

use super::ProbeContext;
use crate::probe::script::{Action, Probe};
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
        Probe::says("GET", request("GET /", "")).patiently(),
        Probe::says("GET as a browser sends it", request("GET /", browser)),
        Probe::says("GET, Connection: close", request("GET /", "Connection: close\r\n")),
        Probe::says("GET of nothing", request(&format!("GET {nowhere}"), "")),
        Probe::says("GET with a query", request("GET /?a=1&b=%20", "Connection: close\r\n")),
        Probe::says("HEAD", request("HEAD /", "")),
        Probe::says("OPTIONS", request("OPTIONS /", "")),
        Probe::says("OPTIONS *", request("OPTIONS *", "")),
        Probe::says("TRACE", request("TRACE /", "")),
        Probe::says("CONNECT", request("CONNECT www.example.com:443", "")),
        Probe::says("DELETE of nothing", request(&format!("DELETE {nowhere}"), "")),
        Probe::says("an unknown method", request(&format!("BREW {nowhere}"), "")),
        Probe::says("an absolute URI", request(&format!("GET http://{}/", context.host), "")),
        Probe::says("Range", request("GET /", "Range: bytes=1-9\r\n")),
        Probe::says("a Range behind the end", request("GET /", "Range: bytes=99999999-\r\n")),
        Probe::says(
            "If-Modified-Since",
            request("GET /", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
        ),
        Probe::says("If-None-Match", request("GET /", "If-None-Match: *\r\n")),
        Probe::says("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        Probe::says(
            "HTTP/1.0, kept alive",
            format!("GET / HTTP/1.0\r\nHost: {}\r\nConnection: keep-alive\r\n\r\n", context.host),
        ),
        Probe::says("HTTP/0.9", "GET /\r\n"),
    ]
}

/// To where there is nothing: a site is to be looked at, not to be changed.
fn bodies(context: &mut ProbeContext) -> Vec<Probe> {
    let noise = context.noise.bytes(100_000);
    let post = |headers: &str| context.request(&format!("POST {}", context.nowhere), headers);
    let chunked = post("Transfer-Encoding: chunked\r\n");
    vec![
        Probe::says("POST", post("Content-Length: 11\r\n") + "hello=world"),
        Probe::says("POST without a length", post("")),
        Probe::says("POST of 100 KB", [post("Content-Length: 100000\r\n").as_bytes(), &noise].concat()),
        Probe::says("PUT", post("Content-Length: 1\r\n").replacen("POST", "PUT", 1) + "x"),
        Probe::says("chunked", chunked.clone() + "5\r\nhello\r\n0\r\n\r\n"),
        Probe::says("chunked, with a size that is none", chunked.clone() + "zz\r\nhello\r\n0\r\n\r\n"),
        Probe::says("chunked, with a chunk too long", chunked.clone() + "3\r\nhello\r\n0\r\n\r\n"),
        Probe::says("chunked, with a size of 2^64", chunked + "10000000000000000\r\nhello\r\n"),
        Probe::new(
            "Expect: 100-continue",
            vec![
                Send(post("Content-Length: 5\r\nExpect: 100-continue\r\n").into()),
                Listen,
                Send(b"hello".to_vec()),
            ],
        ),
        Probe::says("Expect: something else", post("Content-Length: 1\r\nExpect: x\r\n") + "a"),
        Probe::says("two Content-Lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n") + "ab"),
        Probe::says(
            "Content-Length and chunked",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        Probe::says("a Content-Length that is no number", post("Content-Length: x\r\n")),
        Probe::says("a negative Content-Length", post("Content-Length: -1\r\n")),
        Probe::says("more bytes than the body has", post("Content-Length: 1\r\n") + "abcdef"),
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
        Probe::says("three requests at once", nothing.clone() + &context.request("HEAD /", "") + &last),
        Probe::says("a request behind Connection: close", last + &nothing),
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
        Probe::says("HTTP/1.2", line("GET / HTTP/1.2")),
        Probe::says("HTTP/2.0 in the request line", line("GET / HTTP/2.0")),
        Probe::says("HTTP/9.9", line("GET / HTTP/9.9")),
        Probe::says("a version that is none", line("GET / HTTX/1.1")),
        Probe::says("no path", line("GET HTTP/1.1")),
        Probe::says("a path without a slash", request("GET x", "")),
        Probe::says("a path with dots", request("GET /../../etc/passwd", "")),
        Probe::says("a path with an encoded NUL", request("GET /%00", "")),
        Probe::says("a path with a NUL", request("GET /\0", "")),
        Probe::says("a method in lower case", request("get /", "")),
        Probe::says("two spaces", request("GET  /", "")),
        Probe::says("a space in front", request(" GET /", "")),
        Probe::says("empty lines in front", "\r\n\r\n".to_owned() + &request("GET /", "")),
        Probe::says("bare line feeds", format!("GET / HTTP/1.1\nHost: {host}\n\n")),
        Probe::says("bare carriage returns", format!("GET / HTTP/1.1\rHost: {host}\r\r")),
    ]
}

fn odd_headers(context: &ProbeContext) -> Vec<Probe> {
    let with = |headers: &str| context.request("GET /", headers);
    let mut eight_bits = with("X: @@\r\n").into_bytes();
    for byte in eight_bits.iter_mut().filter(|byte| **byte == b'@') {
        *byte = 0xfe;
    }
    vec![
        Probe::says("no Host", "GET / HTTP/1.1\r\n\r\n"),
        Probe::says("two Hosts", with("Host: b.example\r\n")),
        Probe::says("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        Probe::says("a Host that is none", "GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n"),
        Probe::says("a foreign Host", "GET / HTTP/1.1\r\nHost: foreign.example\r\n\r\n"),
        Probe::says("a space in front of the colon", with("X : y\r\n")),
        Probe::says("a folded header", with("X: a\r\n b\r\n")),
        Probe::says("a header without a colon", with("Nonsense\r\n")),
        Probe::says("a header without a name", with(": x\r\n")),
        Probe::says("a NUL in a header", with("X: a\0b\r\n")),
        Probe::says("8-bit bytes in a header", eight_bits),
    ]
}

/// Around the limits that web servers have, and this program.
fn long(context: &ProbeContext) -> Vec<Probe> {
    let letters = |kilobytes: usize| "a".repeat(kilobytes << 10);
    let header = |kilobytes| format!("X: {}\r\n", letters(kilobytes));
    let many: String = (0..150).map(|i| format!("X-{i}: {i}\r\n")).collect();
    vec![
        Probe::says("a URI of 7 KiB", context.request(&format!("GET /{}", letters(7)), "")),
        Probe::says("a URI of 9 KiB", context.request(&format!("GET /{}", letters(9)), "")),
        Probe::says("a URI of 40 KiB", context.request(&format!("GET /{}", letters(40)), "")),
        Probe::says("a URI of 20 KiB, unfinished", format!("GET /{}", letters(20))),
        Probe::says("a header of 7 KiB", context.request("GET /", &header(7))),
        Probe::says("a header of 20 KiB", context.request("GET /", &header(20))),
        Probe::says("headers of 28 KiB", context.request("GET /", &header(7).repeat(4))),
        Probe::says("headers of 70 KiB", context.request("GET /", &header(7).repeat(10))),
        Probe::says("150 headers", context.request("GET /", &many)),
    ]
}

fn slow(context: &ProbeContext) -> Vec<Probe> {
    let request = context.request("GET /", "Connection: close\r\n");
    let (start, rest) = request.split_at(request.len() / 2);
    let pieces =
        |pause: u64| vec![Send(start.into()), Action::Pause(Duration::from_millis(pause)), Send(rest.into())];
    vec![
        Probe::slowly("one byte at a time", &request, 1, Duration::from_millis(15)),
        Probe::slowly("line by line", &request, 20, Duration::from_millis(150)),
        Probe::new("half a head, the rest after half a second", pieces(500)),
        Probe::new("half a head, the rest after two seconds", pieces(2000)),
    ]
}
