//! Frames that should not come, or not so (RFC 9113 sections 3.4, 4, 5 and 6).

use super::{
    FIRST, Visitor, acknowledgement, asks_then, block, called, cancel, data, headers, instead, opening, then,
    window_update,
};
use crate::probe::http2::frame::{HEAD, PAYLOAD, PREFACE, flag, frame, head, kind, setting, settings};
use crate::probe::probes::{ProbeContext, Speech};
use crate::probe::script::{Probe, says};

/// What is asked in a PING, and has to be answered.
const OPAQUE: &[u8; 8] = b"\x02\x04\x10\x10\x09\x0e\x07\x07";

/// The largest window (section 6.9.1).
const WINDOW: u32 = (1 << 31) - 1;

/// A type that nobody has.
const UNKNOWN: u8 = 0xbe;

pub fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, OPAQUE)
}

pub fn all(context: &mut ProbeContext, speech: Speech) -> Vec<Probe> {
    let noise = context.noise.bytes(60);
    let visitor = Visitor::new(context, speech);
    let mut all = openings(&visitor);
    all.extend(of_settings(&visitor));
    all.extend(of_streams(&visitor));
    all.extend(of_windows(&visitor));
    all.extend(of_blocks(&visitor, &noise));
    all.extend(others(&visitor));
    all
}

fn get(visitor: &Visitor<'_>, stream: u32) -> Vec<u8> {
    headers(stream, flag::END_STREAM, &visitor.curl("GET", &visitor.context.nowhere, &[]))
}

/// A request whose body is to come.
fn post(visitor: &Visitor<'_>) -> Vec<u8> {
    headers(FIRST, 0, &visitor.curl("POST", &visitor.context.nowhere, &[]))
}

fn openings(visitor: &Visitor<'_>) -> Vec<Probe> {
    let get = get(visitor, FIRST);
    let [mut no_settings, ping] = [PREFACE.to_vec(), ping()];
    no_settings.extend(&get);
    vec![
        instead("no preface", [settings(&[]), get.clone()].concat(), None),
        says(called("a preface twice"), [PREFACE, &opening()].concat()),
        says(called("a request without settings"), no_settings),
        says(called("a PING without settings"), [PREFACE, &ping].concat()),
        says(called("an acknowledgement without settings"), [PREFACE, &acknowledgement()].concat()),
        says(called("a preface, then HTTP/1.1"), [PREFACE, b"GET / HTTP/1.1\r\n\r\n"].concat()),
        instead("HTTP/1.1", visitor.context.request("GET /", "Connection: close\r\n"), None),
        says(called("empty settings and a request"), [PREFACE, &settings(&[]), &get].concat()),
    ]
}

fn of_settings(visitor: &Visitor<'_>) -> Vec<Probe> {
    let get = get(visitor, FIRST);
    let with = |id, value| [settings(&[(id, value)]), get.clone()].concat();
    let raw = |flags, stream, payload: &[u8]| frame(kind::SETTINGS, flags, stream, payload);
    vec![
        then("SETTINGS of five bytes", raw(0, 0, &[0, 4, 0, 1, 0])),
        then("SETTINGS on a stream", raw(0, FIRST, &[])),
        then("an acknowledgement with a payload", raw(flag::ACK, 0, &[0, 4, 0, 1, 0, 0])),
        asks_then("two acknowledgements", [acknowledgement(), acknowledgement()].concat()),
        asks_then("SETTINGS with unknown flags", [raw(0xfe, 0, &[]), get.clone()].concat()),
        then("ENABLE_PUSH 2", with(setting::ENABLE_PUSH, 2)),
        then("INITIAL_WINDOW_SIZE 2^31", with(setting::INITIAL_WINDOW_SIZE, WINDOW + 1)),
        asks_then("INITIAL_WINDOW_SIZE 0", with(setting::INITIAL_WINDOW_SIZE, 0)),
        asks_then("INITIAL_WINDOW_SIZE 7", with(setting::INITIAL_WINDOW_SIZE, 7)),
        then("MAX_FRAME_SIZE 1", with(setting::MAX_FRAME_SIZE, 1)),
        then("MAX_FRAME_SIZE 2^24", with(setting::MAX_FRAME_SIZE, 1 << 24)),
        asks_then("MAX_HEADER_LIST_SIZE 1", with(setting::MAX_HEADER_LIST_SIZE, 1)),
        asks_then("HEADER_TABLE_SIZE 0", with(setting::HEADER_TABLE_SIZE, 0)),
        asks_then("ENABLE_CONNECT_PROTOCOL 2", with(setting::ENABLE_CONNECT_PROTOCOL, 2)),
        asks_then("an unknown setting", with(0x6a6a, 1)),
    ]
}

fn of_streams(visitor: &Visitor<'_>) -> Vec<Probe> {
    let get = |stream| get(visitor, stream);
    let post = post(visitor);
    let reset = |stream, payload: &[u8]| frame(kind::RST_STREAM, 0, stream, payload);
    let padding = [&[200][..], b"hello"].concat();
    vec![
        then("DATA on the connection", data(0, 0, b"hello")),
        asks_then("DATA on an idle stream", data(FIRST, 0, b"hello")),
        asks_then("DATA on a stream of the server's", data(2, 0, b"hello")),
        then("HEADERS on the connection", get(0)),
        then("HEADERS on an even stream", get(2)),
        asks_then("HEADERS on the last stream", get(WINDOW)),
        then("streams that count back", [get(3), get(FIRST)].concat()),
        then("a stream twice", [get(FIRST), get(FIRST)].concat()),
        asks_then("DATA behind the end", [get(FIRST), data(FIRST, 0, b"hello")].concat()),
        then("DATA with too much padding", [post.clone(), data(FIRST, flag::PADDED, &padding)].concat()),
        then("DATA padded by nothing at all", [post.clone(), data(FIRST, flag::PADDED, &[])].concat()),
        then("trailers that do not end the stream", [post, headers(FIRST, 0, &[("x", "y")])].concat()),
        then("RST_STREAM of the connection", reset(0, &[0, 0, 0, 8])),
        asks_then("RST_STREAM of an idle stream", cancel(FIRST)),
        then("RST_STREAM of three bytes", [get(FIRST), reset(FIRST, &[0, 0, 8])].concat()),
    ]
}

fn of_windows(visitor: &Visitor<'_>) -> Vec<Probe> {
    let (get, post) = (get(visitor, FIRST), post(visitor));
    vec![
        then("WINDOW_UPDATE by 0", window_update(0, 0)),
        then("WINDOW_UPDATE by 0 of a stream", [post.clone(), window_update(FIRST, 0)].concat()),
        then("WINDOW_UPDATE that overflows", window_update(0, WINDOW)),
        then("WINDOW_UPDATE that overflows a stream", [post, window_update(FIRST, WINDOW)].concat()),
        asks_then("WINDOW_UPDATE of an idle stream", window_update(FIRST, 1)),
        then("WINDOW_UPDATE of three bytes", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1])),
        asks_then("WINDOW_UPDATE behind the end", [get, window_update(FIRST, 1)].concat()),
    ]
}

/// Header blocks (section 4.3), and what is in them (RFC 7541).
fn of_blocks(visitor: &Visitor<'_>, noise: &[u8]) -> Vec<Probe> {
    let block_of = |bytes: &[u8]| frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, FIRST, bytes);
    let usual = block(&visitor.curl("GET", &visitor.context.nowhere, &[]));
    let behind = |bytes: &[u8]| block_of(&[&usual, bytes].concat());
    let (start, rest) = usual.split_at(usual.len() / 2);
    let begun = frame(kind::HEADERS, flag::END_STREAM, FIRST, start);
    let goes_on = |stream, bytes: &[u8]| frame(kind::CONTINUATION, flag::END_HEADERS, stream, bytes);
    let interrupted = |by: Vec<u8>| [begun.clone(), by, goes_on(FIRST, rest)].concat();
    let prioritised = |stream: u32| {
        let payload = [&stream.to_be_bytes()[..], &[15], &usual].concat();
        frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS | flag::PRIORITY, FIRST, &payload)
    };
    vec![
        asks_then("HEADERS in two frames", [begun.clone(), goes_on(FIRST, rest)].concat()),
        then("HEADERS and an empty CONTINUATION", {
            [frame(kind::HEADERS, flag::END_STREAM, FIRST, &usual), goes_on(FIRST, &[])].concat()
        }),
        then("CONTINUATION without HEADERS", goes_on(FIRST, &usual)),
        then("CONTINUATION behind whole HEADERS", [block_of(&usual), goes_on(FIRST, &usual)].concat()),
        then("CONTINUATION of another stream", [begun.clone(), goes_on(3, rest)].concat()),
        then("a PING in a header block", interrupted(ping())),
        then("an unknown frame in a header block", interrupted(frame(UNKNOWN, 0, FIRST, b"x"))),
        then("HEADERS of random bytes", block_of(noise)),
        then("HEADERS of nothing", block_of(&[])),
        then("HPACK: entry 0", behind(&[0x80])),
        then("HPACK: an entry that is not there", behind(&[0xff, 0x20])),
        then("HPACK: a number without an end", behind(&[0xff; 12])),
        then("HPACK: half a string", behind(&[0, 1, b'x', 20, b'y'])),
        then("HPACK: a code that is filled up with zeros", behind(&[0, 1, b'x', 0x81, 0])),
        then("HPACK: the end of a string in it", behind(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff])),
        then("HPACK: a table that is too large", block_of(&[&[0x3f, 0xe2, 0x1f], &usual[..]].concat())),
        asks_then("HPACK: a table's size behind a field", behind(&[0x20])),
        asks_then("HEADERS with padding", {
            let padded = [&[3], &usual[..], &[0; 3]].concat();
            frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS | flag::PADDED, FIRST, &padded)
        }),
        then("HEADERS with too much padding", {
            let padded = [&[0xff], usual.get(..40).unwrap_or_default()].concat();
            frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS | flag::PADDED, FIRST, &padded)
        }),
        then("HEADERS that depend on themselves", prioritised(FIRST)),
        asks_then("HEADERS that depend on another stream", prioritised(7)),
        asks_then("HEADERS with unknown flags", {
            frame(kind::HEADERS, 0xd2 | flag::END_STREAM | flag::END_HEADERS, FIRST, &usual)
        }),
    ]
}

fn others(visitor: &Visitor<'_>) -> Vec<Probe> {
    let (get, post) = (get(visitor, FIRST), post(visitor));
    let zeros = vec![0; PAYLOAD + 1];
    let depends =
        |stream: u32, on: u32| frame(kind::PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[15]].concat());
    let promise = [&[0, 0, 0, 2], &block(&visitor.asks("GET", "/"))[..]].concat();
    let reserved = {
        let mut bytes = get.clone();
        if let Some(byte) = bytes.get_mut(HEAD - 4) {
            *byte |= 0x80;
        }
        bytes
    };
    vec![
        then("DATA longer than the longest", [post.clone(), data(FIRST, 0, &zeros)].concat()),
        then("HEADERS longer than the longest", {
            frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, FIRST, &zeros)
        }),
        asks_then("an unknown frame longer than the longest", frame(UNKNOWN, 0, 0, &zeros)),
        then(
            "the head of a frame of 16 MiB",
            [&post[..], &head((1 << 24) - 1, kind::DATA, 0, FIRST)].concat(),
        ),
        asks_then("an unknown frame", [frame(UNKNOWN, 0xff, 0, b"hello"), get.clone()].concat()),
        asks_then(
            "an unknown frame on an idle stream",
            [frame(UNKNOWN, 0, 5, b"hello"), get.clone()].concat(),
        ),
        asks_then("a reserved bit", reserved),
        asks_then("a PING", ping()),
        asks_then("a PING that is an answer", frame(kind::PING, flag::ACK, 0, OPAQUE)),
        then("a PING of seven bytes", frame(kind::PING, 0, 0, &[0; 7])),
        then("a PING on a stream", frame(kind::PING, 0, FIRST, OPAQUE)),
        asks_then("ten PINGs", ping().repeat(10)),
        asks_then("PRIORITY of an idle stream", [depends(3, 0), get.clone()].concat()),
        then("PRIORITY on itself", depends(FIRST, FIRST)),
        then("PRIORITY of the connection", depends(0, FIRST)),
        then("PRIORITY of four bytes", frame(kind::PRIORITY, 0, 3, &[0; 4])),
        then(
            "PUSH_PROMISE",
            [&post[..], &frame(kind::PUSH_PROMISE, flag::END_HEADERS, FIRST, &promise)].concat(),
        ),
        then("GOAWAY", frame(kind::GOAWAY, 0, 0, &[0; 8])),
        then("GOAWAY, then a request", [frame(kind::GOAWAY, 0, 0, &[0; 8]), get].concat()),
        then("GOAWAY on a stream", frame(kind::GOAWAY, 0, FIRST, &[0; 8])),
        then("GOAWAY of seven bytes", frame(kind::GOAWAY, 0, 0, &[0; 7])),
    ]
}
