//! HTTP/2: requests of browsers and of gRPC's clients, and frames of all kinds that should not come.

mod frames;

use super::{ProbeContext, Speech};
use crate::probe::http2::frame::{PAYLOAD, PREFACE, flag, frame, kind, setting, settings};
use crate::probe::http2::hpack;
use crate::probe::script::{Action, Probe, says, says_slowly};
use std::time::Duration;

use Action::{Fin, Leave, Listen, Pause, Send};

/// The first stream that a client opens.
const FIRST: u32 = 1;

/// A header field.
type Field<'a> = (&'a str, &'a str);

/// What a client says before its first request: its SETTINGS and window are curl's.
pub fn opening() -> Vec<u8> {
    let settings = settings(&[
        (setting::MAX_CONCURRENT_STREAMS, 100),
        (setting::INITIAL_WINDOW_SIZE, 32 << 20),
        (setting::ENABLE_PUSH, 0),
    ]);
    [PREFACE, &settings, &window_update(0, 33_488_897)].concat()
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// "I have your settings."
fn acknowledgement() -> Vec<u8> {
    frame(kind::SETTINGS, flag::ACK, 0, &[])
}

fn cancel(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, payload)
}

/// A header block.
fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::write(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

/// A request's head, in as many frames as it takes.
fn headers(stream: u32, flags: u8, fields: &[Field<'_>]) -> Vec<u8> {
    let block = block(fields);
    let mut chunks = block.chunks(PAYLOAD).peekable();
    let (mut out, mut kind, mut flags) = (Vec::new(), kind::HEADERS, flags);
    while let Some(chunk) = chunks.next() {
        let end = if chunks.peek().is_none() { flag::END_HEADERS } else { 0 };
        out.extend(frame(kind, flags | end, stream, chunk));
        (kind, flags) = (kind::CONTINUATION, 0);
    }
    out
}

/// Who asks, and in which words.
struct Visitor<'a> {
    context: &'a ProbeContext,
    scheme: &'static str,
}

impl<'a> Visitor<'a> {
    fn new(context: &'a ProbeContext, speech: Speech) -> Visitor<'a> {
        Visitor { context, scheme: if speech == Speech::Tls { "https" } else { "http" } }
    }

    /// What every request begins with.
    fn asks<'b>(&'b self, method: &'b str, path: &'b str) -> Vec<Field<'b>> {
        let authority = self.context.host.as_str();
        vec![(":method", method), (":scheme", self.scheme), (":authority", authority), (":path", path)]
    }

    /// A request of curl's, with more header fields.
    fn curl<'b>(&'b self, method: &'b str, path: &'b str, more: &[Field<'b>]) -> Vec<Field<'b>> {
        [&self.asks(method, path)[..], &[("user-agent", "curl/7.88.1"), ("accept", "*/*")], more].concat()
    }

    /// A request of grpc-go's client, with what it says of its body.
    fn grpc<'b>(&'b self, method: &'b str, path: &'b str, more: &[Field<'b>]) -> Vec<Field<'b>> {
        [&self.asks(method, path)[..], more, &[("user-agent", "grpc-go/1.41.0")]].concat()
    }

    /// A request for WebSocket (RFC 8441), as Chromium's.
    fn websocket<'b>(&'b self, protocol: &'b str, path: &'b str) -> Vec<Field<'b>> {
        let mut fields = self.asks("CONNECT", path);
        fields.push((":protocol", protocol));
        fields.extend([("sec-websocket-version", "13"), ("user-agent", "Mozilla/5.0")]);
        fields
    }

    /// Whether a client of the tunnel asks for this path. Of a gRPC service there may be a second method.
    fn is_the_tunnels(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        self.context.tunnel.as_deref().is_some_and(|tunnel| {
            tunnel == path || path.strip_suffix("Multi").is_some_and(|path| path == tunnel)
        })
    }
}

/// One who asks with these frames, hears the answer and leaves.
fn asks(name: impl AsRef<str>, frames: impl AsRef<[u8]>) -> Probe {
    let first = [&opening(), frames.as_ref()].concat();
    Probe::new(called(name), vec![Send(first), Listen, Send(acknowledgement()), Leave])
}

/// One who asks for a tunnel, which it would leave so: whether an answer comes before that is no question of time.
fn asks_and_cancels(name: impl AsRef<str>, frames: impl AsRef<[u8]>) -> Probe {
    let first = [&opening(), frames.as_ref()].concat();
    let last = [acknowledgement(), cancel(FIRST)].concat();
    Probe::new(called(name), vec![Send(first), Listen, Send(last), Listen, Leave])
}

/// One who says something else in the place of an opening, and ends there or does not. A server of HTTP/2 says its
/// settings first, and is given the time to do so.
fn instead(name: impl AsRef<str>, bytes: impl AsRef<[u8]>, end: Option<Action>) -> Probe {
    let mut steps = vec![Pause(SETTINGS), Send(bytes.as_ref().to_vec())];
    steps.extend(end);
    Probe::new(called(name), steps)
}

/// How long it takes a server to say its settings.
const SETTINGS: Duration = Duration::from_millis(300);

/// One who says these frames when it has the server's settings, and waits. A server that ends the connection may or
/// may not have said all of what it says first.
fn then(name: impl AsRef<str>, frames: impl AsRef<[u8]>) -> Probe {
    let frames = [&acknowledgement(), frames.as_ref()].concat();
    Probe::new(called(name), vec![Send(opening()), Listen, Send(frames)])
}

/// The same, who hears the answer and leaves.
fn asks_then(name: impl AsRef<str>, frames: impl AsRef<[u8]>) -> Probe {
    let mut probe = then(name, frames);
    probe.steps.extend([Listen, Leave]);
    probe
}

/// One who says these frames behind its opening, hears what there is to hear, and ends.
fn breaks_off(name: impl AsRef<str>, frames: impl AsRef<[u8]>) -> Probe {
    Probe::new(called(name), vec![Send([&opening(), frames.as_ref()].concat()), Listen, Fin])
}

fn called(name: impl AsRef<str>) -> String {
    format!("HTTP/2: {}", name.as_ref())
}

/// All of them, for who speaks HTTP/2.
pub fn all(context: &mut ProbeContext, speech: Speech) -> Vec<Probe> {
    let hunk = hunk(&context.noise.bytes(60));
    let word = context.noise.word(9);
    let of_frames = frames::all(context, speech);
    let visitor = Visitor::new(context, speech);
    let mut all = few(&visitor, &hunk);
    all.extend(ordinary(&visitor));
    all.extend(several(&visitor));
    all.extend(odd(&visitor));
    all.extend(long(&visitor));
    all.extend(grpc(&visitor, &hunk, &word));
    all.extend(websocket(&visitor));
    all.extend(unfinished(&visitor));
    all.extend(of_frames);
    all
}

/// Some of them, for who may not speak it.
pub fn strangers(context: &mut ProbeContext, speech: Speech) -> Vec<Probe> {
    let hunk = hunk(&context.noise.bytes(60));
    few(&Visitor::new(context, speech), &hunk)
}

fn few(visitor: &Visitor<'_>, hunk: &[u8]) -> Vec<Probe> {
    let get = headers(FIRST, flag::END_STREAM, &visitor.curl("GET", "/", &[]));
    let nowhere = format!("{}/Tun", visitor.context.nowhere);
    let of_grpc = headers(FIRST, 0, &visitor.grpc("POST", &nowhere, &GRPC));
    let half = PREFACE.get(..PREFACE.len() / 2).unwrap_or_default();
    vec![
        Probe::new(
            called("GET"),
            vec![Send([&opening()[..], &get].concat()), Listen, Send(acknowledgement())],
        )
        .patiently(),
        asks_and_cancels("gRPC, to a random path", [&of_grpc[..], &data(FIRST, 0, hunk)].concat()),
        says(called("half a preface"), half).patiently(),
        instead("half a preface, then the end", half, Some(Fin)),
        instead("a preface with a wrong end", b"PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n", None),
    ]
}

fn ordinary(visitor: &Visitor<'_>) -> Vec<Probe> {
    let nowhere = visitor.context.nowhere.as_str();
    let request = |name: &str, method: &str, path: &str, more: &[Field<'_>]| {
        asks(name, headers(FIRST, flag::END_STREAM, &visitor.curl(method, path, more)))
    };
    let browser: &[Field<'_>] = &[
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("upgrade-insecure-requests", "1"),
        ("te", "trailers"),
    ];
    let of_browser = block(&[&visitor.asks("GET", "/")[..], browser].concat());
    // It depends on another stream, and has a weight (RFC 9113 section 6.2).
    let of_browser = frame(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS | flag::PRIORITY,
        15,
        &[&[0, 0, 0, 13, 41], &of_browser[..]].concat(),
    );
    let post = |more: &[Field<'_>]| headers(FIRST, 0, &visitor.curl("POST", nowhere, more));
    let body = data(FIRST, flag::END_STREAM, b"hello=world");
    vec![
        asks("GET as a browser sends it", of_browser),
        request("GET of nothing", "GET", nowhere, &[]),
        request("GET with a query", "GET", "/?a=1&b=%20", &[]),
        request("HEAD", "HEAD", "/", &[]),
        request("OPTIONS", "OPTIONS", "/", &[]),
        request("OPTIONS *", "OPTIONS", "*", &[]),
        request("TRACE", "TRACE", "/", &[]),
        request("DELETE of nothing", "DELETE", nowhere, &[]),
        request("an unknown method", "BREW", nowhere, &[]),
        request("Range", "GET", "/", &[("range", "bytes=1-9")]),
        request("If-None-Match", "GET", "/", &[("if-none-match", "*")]),
        request("a cookie in pieces", "GET", "/", &[("cookie", "a=b"), ("cookie", "c=d")]),
        asks("CONNECT", headers(FIRST, 0, &[(":method", "CONNECT"), (":authority", "www.example.com:443")])),
        asks("POST", [post(&[("content-length", "11")]), body.clone()].concat()),
        asks("POST without a length", [post(&[]), body].concat()),
        asks(
            "POST in two frames and an empty one",
            [post(&[]), data(FIRST, 0, b"hello"), data(FIRST, 0, b"=x"), data(FIRST, flag::END_STREAM, b"")]
                .concat(),
        ),
        asks(
            "POST with trailers",
            [post(&[]), data(FIRST, 0, b"hello"), headers(FIRST, flag::END_STREAM, &[("x-sum", "1")])]
                .concat(),
        ),
        asks_and_cancels(
            "POST that is cancelled",
            [post(&[("content-length", "100")]), data(FIRST, 0, b"hello")].concat(),
        ),
        asks("a body with padding", {
            let padded = [&[5][..], b"hello=world", &[0; 5]].concat();
            [post(&[]), data(FIRST, flag::END_STREAM | flag::PADDED, &padded)].concat()
        }),
        Probe::new(
            called("Expect: 100-continue"),
            vec![
                Send([opening(), post(&[("content-length", "5"), ("expect", "100-continue")])].concat()),
                Listen,
                Send([acknowledgement(), data(FIRST, flag::END_STREAM, b"hello")].concat()),
                Listen,
                Leave,
            ],
        ),
    ]
}

fn several(visitor: &Visitor<'_>) -> Vec<Probe> {
    let nowhere = visitor.context.nowhere.as_str();
    let get = |stream, path: &str| headers(stream, flag::END_STREAM, &visitor.curl("GET", path, &[]));
    let one = [opening(), get(FIRST, nowhere)].concat();
    let (start, rest) = one.split_at(one.len() - 20);
    vec![
        asks("two requests at once", [get(FIRST, nowhere), get(3, "/")].concat()),
        Probe::new(
            called("two requests, one after the other"),
            vec![Send(one.clone()), Listen, Send([acknowledgement(), get(3, "/")].concat()), Listen, Leave],
        ),
        Probe::new(
            called("a request, a PING behind its answer"),
            vec![
                Send(one.clone()),
                Listen,
                Send([acknowledgement(), frames::ping()].concat()),
                Listen,
                Leave,
            ],
        ),
        Probe::new(
            called("a request, garbage behind its answer"),
            vec![Send(one.clone()), Listen, Send(b"GET / HTTP/1.1\r\n\r\n".to_vec())],
        ),
        says_slowly(called("eight bytes at a time"), &one, 8, Duration::from_millis(15)),
        Probe::new(
            called("a request in two pieces"),
            vec![Send(start.to_vec()), Pause(Duration::from_millis(500)), Send(rest.to_vec()), Listen, Leave],
        ),
        Probe::new(
            called("a preface, a request half a second later"),
            vec![
                Send(PREFACE.to_vec()),
                Pause(Duration::from_millis(500)),
                Send(one.get(PREFACE.len()..).unwrap_or_default().to_vec()),
                Listen,
                Leave,
            ],
        ),
    ]
}

/// Requests that are none (RFC 9113 section 8).
fn odd(visitor: &Visitor<'_>) -> Vec<Probe> {
    let scheme = (":scheme", visitor.scheme);
    let authority = (":authority", visitor.context.host.as_str());
    let (get, root) = ((":method", "GET"), (":path", "/"));
    let with = |field: Field<'static>| visitor.curl("GET", "/", &[field]);
    let all: Vec<(&str, Vec<Field<'_>>)> = vec![
        ("no :method", vec![scheme, authority, root]),
        ("no :scheme", vec![get, authority, root]),
        ("no :path", vec![get, scheme, authority]),
        ("an empty :path", vec![get, scheme, authority, (":path", "")]),
        ("a path without a slash", vec![get, scheme, authority, (":path", "x")]),
        ("an absolute URI", vec![get, scheme, authority, (":path", "http://www.example.com/")]),
        ("no :authority", vec![get, scheme, root]),
        ("host in the place of :authority", vec![get, scheme, root, ("host", &visitor.context.host)]),
        ("a foreign :authority", vec![get, scheme, (":authority", "foreign.example"), root]),
        ("host and another :authority", with(("host", "foreign.example"))),
        (":path twice", vec![get, scheme, authority, root, root]),
        ("a pseudo-header behind a header", vec![get, scheme, authority, ("x", "y"), root]),
        ("an unknown pseudo-header", vec![get, scheme, authority, root, (":x", "y")]),
        (":status in a request", vec![get, scheme, authority, root, (":status", "200")]),
        (":protocol without CONNECT", vec![get, scheme, authority, root, (":protocol", "websocket")]),
        ("another scheme", vec![get, (":scheme", "ftp"), authority, root]),
        ("a header in capitals", with(("X-Y", "z"))),
        ("a header without a name", with(("", "z"))),
        ("a space in a header's name", with(("x y", "z"))),
        ("a NUL in a header", with(("x", "a\0b"))),
        ("a line break in a header", with(("x", "a\r\nb: c"))),
        ("a space around a value", with(("x", " a "))),
        ("connection: close", with(("connection", "close"))),
        ("transfer-encoding: chunked", with(("transfer-encoding", "chunked"))),
        ("upgrade: websocket", with(("upgrade", "websocket"))),
        ("te: gzip", with(("te", "gzip"))),
        ("a content-length without a body", with(("content-length", "5"))),
        ("no header at all", vec![]),
    ];
    let mut all: Vec<_> = all
        .into_iter()
        .map(|(name, fields)| {
            let head = frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, FIRST, &block(&fields));
            asks_then(name, head)
        })
        .collect();
    let post = headers(FIRST, 0, &visitor.curl("POST", &visitor.context.nowhere, &[("content-length", "2")]));
    all.push(asks_then(
        "more bytes than the body has",
        [post, data(FIRST, flag::END_STREAM, b"abcdef")].concat(),
    ));
    all
}

/// Around the limits that web servers have.
fn long(visitor: &Visitor<'_>) -> Vec<Probe> {
    let get =
        |path: &str, more: &[Field<'_>]| headers(FIRST, flag::END_STREAM, &visitor.curl("GET", path, more));
    let letters = |kilobytes: usize| "a".repeat(kilobytes << 10);
    let names: Vec<_> = (0..150).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    vec![
        asks_then("a URI of 7 KiB", get(&format!("/{}", letters(7)), &[])),
        asks_then("a URI of 20 KiB", get(&format!("/{}", letters(20)), &[])),
        asks_then("a header of 7 KiB", get("/", &[("x", &letters(7))])),
        asks_then("a header of 40 KiB", get("/", &[("x", &letters(40))])),
        asks_then("150 headers", get("/", &many)),
    ]
}

/// What a gRPC client says of its body.
const GRPC: [Field<'static>; 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// Payload as v2ray's gRPC clients send it: a message, and in it one field of bytes.
fn hunk(payload: &[u8]) -> Vec<u8> {
    // (short enough for lengths of one byte)
    let message = [&[0x0a, payload.len() as u8][..], payload].concat();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

fn grpc(visitor: &Visitor<'_>, hunk: &[u8], word: &str) -> Vec<Probe> {
    let nowhere = format!("/{word}/Tun");
    let said = data(FIRST, 0, hunk);
    let to = |path: &str, method: &str, fields: &[Field<'_>]| {
        [headers(FIRST, 0, &visitor.grpc(method, path, fields)), said.clone()].concat()
    };
    let mut paths: Vec<(String, String)> = [
        "/GunService/Tun",
        "/GunService/TunMulti",
        "/x/Tun",
        "//Tun",
        "/Tun",
        "/grpc.health.v1.Health/Check",
    ]
    .map(|path| (format!("gRPC, to {path}"), path.to_owned()))
    .into();
    if let Some(tunnel) = visitor.context.tunnel.as_deref().filter(|tunnel| tunnel.len() > 1) {
        let capitals = tunnel.to_ascii_uppercase();
        paths.extend([
            ("gRPC, to a path longer than the tunnel's".to_owned(), format!("{tunnel}x")),
            (
                "gRPC, to a path below the tunnel's".to_owned(),
                format!("{}/Tun/", tunnel.trim_end_matches('/')),
            ),
            ("gRPC, with the tunnel's path in the query".to_owned(), format!("{nowhere}?{tunnel}")),
        ]);
        if capitals != tunnel {
            paths.push(("gRPC, to the tunnel's path in capitals".to_owned(), capitals));
        }
    }
    let paths = paths.into_iter().filter(|(_, path)| !visitor.is_the_tunnels(path));
    let mut all: Vec<_> =
        paths.map(|(name, path)| asks_and_cancels(name, to(&path, "POST", &GRPC))).collect();
    let (content_type, te) = (GRPC[0], GRPC[1]);
    let typed = |value| [("content-type", value), te];
    let unary = headers(FIRST, 0, &visitor.grpc("POST", &nowhere, &GRPC));
    all.extend([
        asks_and_cancels("gRPC without te", to(&nowhere, "POST", &[content_type])),
        asks_and_cancels("gRPC with te: gzip", to(&nowhere, "POST", &[content_type, ("te", "gzip")])),
        asks_and_cancels("gRPC without a content type", to(&nowhere, "POST", &[te])),
        asks_and_cancels(
            "gRPC of content type application/grpc+proto",
            to(&nowhere, "POST", &typed("application/grpc+proto")),
        ),
        asks_and_cancels(
            "gRPC of content type application/grpc-web",
            to(&nowhere, "POST", &typed("application/grpc-web")),
        ),
        asks_and_cancels(
            "gRPC of content type application/json",
            to(&nowhere, "POST", &typed("application/json")),
        ),
        asks_and_cancels("gRPC by GET", to(&nowhere, "GET", &GRPC)),
        asks_and_cancels("gRPC by PUT", to(&nowhere, "PUT", &GRPC)),
        asks_and_cancels(
            "gRPC with a time-out",
            to(&nowhere, "POST", &[content_type, te, ("grpc-timeout", "1S")]),
        ),
        asks("gRPC, whole", [unary.clone(), data(FIRST, flag::END_STREAM, hunk)].concat()),
        asks("gRPC without a body", headers(FIRST, flag::END_STREAM, &visitor.grpc("POST", &nowhere, &GRPC))),
        asks(
            "gRPC with a message that is none",
            [unary.clone(), data(FIRST, flag::END_STREAM, &[0xff; 30])].concat(),
        ),
        Probe::new(
            called("gRPC, its message behind an answer"),
            vec![
                Send([opening(), unary.clone()].concat()),
                Listen,
                Send([acknowledgement(), data(FIRST, 0, hunk)].concat()),
                Listen,
                Leave,
            ],
        ),
        Probe::new(
            called("gRPC behind an answer"),
            vec![
                Send([opening(), headers(FIRST, flag::END_STREAM, &visitor.curl("GET", "/", &[]))].concat()),
                Listen,
                Send([acknowledgement(), headers(3, 0, &visitor.grpc("POST", &nowhere, &GRPC))].concat()),
                Listen,
                Leave,
            ],
        ),
        then("gRPC that goes on", [unary, data(FIRST, 0, hunk)].concat()),
    ]);
    all
}

fn websocket(visitor: &Visitor<'_>) -> Vec<Probe> {
    let nowhere = visitor.context.nowhere.as_str();
    // "hello", masked with zeros (RFC 6455 section 5.2).
    let message = data(FIRST, 0, b"\x81\x85\0\0\0\0hello");
    let to = |protocol: &str, path: &str| headers(FIRST, 0, &visitor.websocket(protocol, path));
    let mut all: Vec<_> = ["/", "/ws", nowhere]
        .into_iter()
        .filter(|path| !visitor.is_the_tunnels(path))
        .map(|path| {
            let name = if path == nowhere {
                "WebSocket, to a random path"
            } else {
                &format!("WebSocket, to {path}")
            };
            asks_and_cancels(name, to("websocket", path))
        })
        .collect();
    all.extend([
        asks_and_cancels("WebSocket with a message", [to("websocket", nowhere), message].concat()),
        asks_and_cancels("another protocol by CONNECT", to("connect-udp", nowhere)),
        asks("WebSocket that is ended at once", {
            headers(FIRST, flag::END_STREAM, &visitor.websocket("websocket", nowhere))
        }),
    ]);
    all
}

/// Nothing, or not all of it.
fn unfinished(visitor: &Visitor<'_>) -> Vec<Probe> {
    let post =
        headers(FIRST, 0, &visitor.curl("POST", &visitor.context.nowhere, &[("content-length", "100")]));
    let get = headers(FIRST, flag::END_STREAM, &visitor.curl("GET", "/", &[]));
    let half = get.get(..get.len() / 2).unwrap_or_default();
    vec![
        Probe::new(called("silence"), vec![]).patiently(),
        Probe::new(called("nothing, then the end"), vec![Pause(SETTINGS), Fin]),
        says(called("a preface, then silence"), PREFACE).patiently(),
        then("settings, then silence", []).patiently(),
        instead("a preface, then the end", PREFACE, Some(Fin)),
        breaks_off("settings, then the end", []),
        breaks_off("a request, then the end", &get),
        then("half a HEADERS frame", half).patiently(),
        breaks_off("half a HEADERS frame, then the end", half),
        asks_then("half a frame's head", get.get(..5).unwrap_or_default()),
        then(
            "HEADERS that are not ended",
            frame(kind::HEADERS, flag::END_STREAM, FIRST, &block(&visitor.asks("GET", "/"))),
        ),
        then("half a body", [&post[..], &data(FIRST, 0, b"hello")].concat()).patiently(),
        breaks_off("half a body, then the end", [&post[..], &data(FIRST, 0, b"hello")].concat()),
    ]
}
