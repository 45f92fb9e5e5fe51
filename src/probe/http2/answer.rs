//! What a server says over HTTP/2, frame by frame, without what differs between any two answers of one site.
//!
//! Each stream has lines of its own, and so have the frames of each type on the connection: how they come between one
//! another is a matter of threads. So is how a body is cut into DATA frames, and a window is opened again.

use super::frame::{self, Frame, HEAD, PAYLOAD, flag, kind, setting};
use super::hpack::{Decoder, Form, Item};
use crate::probe::http_answer::Mask;
use crate::probe::tls_answer::digest;
use crate::wire::Reader;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

/// The most bytes of header fields that are read of an answer.
const FIELDS: usize = 256 * 1024;

/// How much is shown of a value, of other bytes, and how many settings.
const VALUE: usize = 200;
const EXCERPT: usize = 40;
const SETTINGS: usize = 20;

/// The most SETTINGS that a server begins with, in bytes: more is no HTTP/2.
const MOST_SETTINGS: usize = 1024;

/// How many things a headline tells.
const HEADLINE: usize = 12;

/// An answer, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Http2Answer {
    /// What belongs together, in its order.
    lanes: BTreeMap<Lane, Vec<Part>>,
    /// What came, in short and in its order.
    told: Vec<Told>,
}

/// A stream, 0 for the connection, and of what is not kept in one order with the rest of it its type.
type Lane = (u32, u8);

fn lane(stream: u32, kind: u8) -> Lane {
    let apart = stream == 0 || kind == kind::WINDOW_UPDATE;
    (stream, if apart { kind } else { kind::HEADERS })
}

/// Something that a server said, in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// What is told in these words.
    Said(String),
    /// A header field, and how it is written.
    Field { name: Vec<u8>, value: Vec<u8>, form: Form },
    /// A piece of a body, and what is told of its last frame.
    Body { bytes: Vec<u8>, end: bool },
    /// By how much a window was opened in all.
    Window(u64),
}

/// What a headline tells.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Word(String),
    Body(u32, usize),
}

/// Whether what came is HTTP/2: it begins with a frame with which a server may begin.
pub fn is_http2(bytes: &[u8]) -> bool {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return false };
    let [high, middle, low, kind, flags, stream @ ..] = *head;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let is_short = match kind {
        kind::SETTINGS => length.is_multiple_of(6) && length <= MOST_SETTINGS,
        kind::GOAWAY => (8..=PAYLOAD).contains(&length),
        _ => false,
    };
    is_short && flags == 0 && stream == [0; 4]
}

/// Reads an answer.
pub fn read(bytes: &[u8]) -> Http2Answer {
    let mut reader =
        AnswerReader { answer: Http2Answer::default(), fields: Some(Decoder::new(FIELDS)), block: None };
    let mut rest = bytes;
    while let Some((frame, behind)) = frame::next(rest) {
        reader.frame(frame);
        rest = behind;
    }
    if !rest.is_empty() {
        // How much of it has come is a matter of time.
        reader.broken("the start of a frame");
    }
    reader.answer
}

impl Http2Answer {
    /// All of it, line by line, with a fixed text for the values that are masked, and for every `date` that is one.
    pub fn lines(&self, mask: &Mask) -> Vec<String> {
        let mut number = 0;
        let line = |((stream, _), part): (Lane, &Part)| match part {
            Part::Said(text) => on(stream, text),
            Part::Field { name, value, form } => {
                let is_masked = mask.contains(&number) || date(name, value).is_some();
                number += 1;
                let text = if is_masked {
                    format!("{}: *", name.escape_ascii())
                } else {
                    format!("{}: {} ({form})", shown(name, VALUE), shown(value, VALUE))
                };
                on(stream, &text)
            }
            Part::Body { bytes, end } => {
                let mut text = format!("DATA, {} bytes", bytes.len());
                if *end {
                    text.push_str(", END_STREAM");
                }
                if !bytes.is_empty() {
                    let _ = write!(text, ", {} \"{}\"", digest(bytes), shown(bytes, EXCERPT));
                }
                on(stream, &text)
            }
            Part::Window(sum) => on(stream, &format!("WINDOW_UPDATE by {sum}")),
        };
        self.parts().map(line).collect()
    }

    /// What came, in a line and in the order in which it came.
    pub fn headline(&self) -> String {
        let mut words: Vec<_> = self
            .told
            .iter()
            .take(HEADLINE)
            .map(|told| match told {
                Told::Word(word) => word.clone(),
                Told::Body(_, length) => format!("{length} bytes"),
            })
            .collect();
        if let more @ 1.. = self.told.len().saturating_sub(HEADLINE) {
            words.push(format!("{more} more"));
        }
        format!("HTTP/2 {}", words.join(", "))
    }

    /// The time in the first `date`.
    pub fn date(&self) -> Option<SystemTime> {
        self.parts().find_map(|(_, part)| match part {
            Part::Field { name, value, .. } => date(name, value),
            _ => None,
        })
    }

    /// Whether something in it is gRPC's.
    pub fn is_grpc(&self) -> bool {
        self.parts().any(|(_, part)| match part {
            Part::Field { name, value, .. } => {
                name == b"content-type" && value.starts_with(b"application/grpc")
                    || name.starts_with(b"grpc-")
            }
            _ => false,
        })
    }

    fn parts(&self) -> impl Iterator<Item = (Lane, &Part)> {
        self.lanes.iter().flat_map(|(lane, parts)| parts.iter().map(move |part| (*lane, part)))
    }
}

/// The header fields whose values differ between two answers of a site, by their numbers: those in front of where
/// anything else does but bodies.
pub fn varying(one: &Http2Answer, other: &Http2Answer) -> Mask {
    let mut mask = Mask::new();
    let mut number = 0;
    for ((a, one), (b, other)) in one.parts().zip(other.parts()) {
        match (one, other) {
            _ if a != b => break,
            (Part::Field { name, value, .. }, Part::Field { name: n, value: v, .. }) if name == n => {
                if value != v {
                    mask.insert(number);
                }
                number += 1;
            }
            (Part::Body { .. }, Part::Body { .. }) | (Part::Window(_), Part::Window(_)) => {}
            (one, other) if one == other => {}
            _ => break,
        }
    }
    mask
}

fn date(name: &[u8], value: &[u8]) -> Option<SystemTime> {
    if name != b"date" {
        return None;
    }
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

fn on(stream: u32, text: &str) -> String {
    if stream == 0 { text.to_owned() } else { format!("stream {stream}: {text}") }
}

/// The start of some bytes; where that is not all, also what tells the rest.
fn shown(bytes: &[u8], most: usize) -> String {
    match bytes.get(..most) {
        Some(start) if bytes.len() > most => {
            format!("{}… ({} bytes, {})", start.escape_ascii(), bytes.len(), digest(bytes))
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

struct AnswerReader {
    answer: Http2Answer,
    /// What reads header blocks, as long as all of them could be read.
    fields: Option<Decoder>,
    /// A header block that goes on in the next frame.
    block: Option<(u32, Vec<u8>)>,
}

impl AnswerReader {
    fn lane(&mut self, lane: Lane) -> &mut Vec<Part> {
        self.answer.lanes.entry(lane).or_default()
    }

    fn say(&mut self, lane: Lane, text: String, word: Option<String>) {
        self.lane(lane).push(Part::Said(text));
        self.answer.told.extend(word.map(Told::Word));
    }

    fn broken(&mut self, words: &str) {
        self.say((0, u8::MAX), words.to_owned(), Some(words.to_owned()));
    }

    fn frame(&mut self, frame: Frame<'_>) {
        let Frame { kind, stream, payload, .. } = frame;
        if self.block.as_ref().is_some_and(|(of, _)| kind != kind::CONTINUATION || *of != stream) {
            // (section 6.10)
            self.broken("a header block that is not ended");
            (self.block, self.fields) = (None, None);
        }
        match kind {
            kind::DATA => self.data(frame),
            kind::HEADERS | kind::PUSH_PROMISE => self.headers(frame),
            kind::CONTINUATION => self.continuation(frame),
            _ => {
                let (name, what) = (name(kind), what(frame));
                let ack = if is_ack(frame) { " ACK" } else { "" };
                let word = match (kind, code(frame)) {
                    (kind::RST_STREAM | kind::GOAWAY, Some(code)) => format!("{name} {}", error(code)),
                    _ => format!("{name}{ack}"),
                };
                let (flags, lane) = (flags(frame), lane(stream, kind));
                if let (kind::WINDOW_UPDATE, 0, Ok(increment)) = (kind, frame.flags, payload.try_into()) {
                    let increment = u64::from(u32::from_be_bytes(increment) & 0x7fff_ffff);
                    match self.lane(lane).last_mut() {
                        Some(Part::Window(sum)) => *sum += increment,
                        _ => self.lane(lane).push(Part::Window(increment)),
                    }
                    return self.answer.told.push(Told::Word(word));
                }
                let said = Part::Said(format!("{name}{flags}{}", what.unwrap_or(malformed(payload))));
                // One acknowledgement may stand for all settings that have come.
                let again = (kind, payload) == (kind::SETTINGS, &[]) && self.lane(lane).last() == Some(&said);
                if !(again && is_ack(frame)) {
                    self.lane(lane).push(said);
                }
                self.answer.told.push(Told::Word(word));
            }
        }
    }

    fn data(&mut self, frame: Frame<'_>) {
        let Frame { stream, .. } = frame;
        let lane = lane(stream, kind::DATA);
        let flags = Frame { flags: frame.flags & !flag::END_STREAM, ..frame };
        let Some(data) = unpadded(frame) else {
            let text = format!("DATA{}{}", self::flags(frame), malformed(frame.payload));
            return self.say(lane, text, Some("DATA".to_owned()));
        };
        if flags.flags != 0 {
            self.say(lane, format!("DATA{}", self::flags(flags)), None);
        }
        let end = frame.has(flag::END_STREAM);
        match self.lane(lane).last_mut() {
            // An end that has a frame of its own is seen as such.
            Some(Part::Body { bytes, end: before }) if !*before && !data.is_empty() && !bytes.is_empty() => {
                bytes.extend_from_slice(data);
                *before = end;
            }
            _ => self.lane(lane).push(Part::Body { bytes: data.to_vec(), end }),
        }
        match self.answer.told.last_mut() {
            Some(Told::Body(of, length)) if *of == stream => *length += data.len(),
            _ => self.answer.told.push(Told::Body(stream, data.len())),
        }
    }

    fn headers(&mut self, frame: Frame<'_>) {
        let Frame { stream, payload, .. } = frame;
        let (name, lane) = (name(frame.kind), lane(stream, frame.kind));
        let skipped = match frame.kind {
            kind::PUSH_PROMISE => 4,
            _ if frame.has(flag::PRIORITY) => 5,
            _ => 0,
        };
        self.say(lane, format!("{name}{}", flags(frame)), None);
        match unpadded(frame).and_then(|content| content.split_at_checked(skipped)) {
            Some((before, block)) => {
                if !before.is_empty() {
                    let text = format!("it is for {}", before.escape_ascii());
                    self.say(lane, text, None);
                }
                self.block(stream, block.to_vec(), frame.has(flag::END_HEADERS));
            }
            None => {
                self.fields = None;
                self.say(lane, format!("{name}{}", malformed(payload)), Some(name));
            }
        }
    }

    fn continuation(&mut self, frame: Frame<'_>) {
        let Frame { stream, payload, .. } = frame;
        let is_next = self.block.is_some();
        let word = (!is_next).then(|| name(frame.kind));
        self.say(lane(stream, kind::HEADERS), format!("CONTINUATION{}", flags(frame)), word);
        if let Some((_, mut block)) = self.block.take() {
            block.extend_from_slice(payload);
            self.block(stream, block, frame.has(flag::END_HEADERS));
        }
    }

    fn block(&mut self, stream: u32, block: Vec<u8>, is_whole: bool) {
        if !is_whole {
            self.block = Some((stream, block));
            return;
        }
        let lane = lane(stream, kind::HEADERS);
        let items = self.fields.as_mut().and_then(|fields| fields.decode(&block).ok());
        let Some(items) = items else {
            self.fields = None;
            let text = format!("a header block that cannot be read, {}", shown(&block, EXCERPT));
            return self.say(lane, text, Some("HEADERS that cannot be read".to_owned()));
        };
        let status = items.iter().find_map(|item| match item {
            Item::Field { name, value, .. } if name == b":status" => Some(shown(value, EXCERPT)),
            _ => None,
        });
        self.answer.told.push(Told::Word(status.unwrap_or_else(|| "trailers".to_owned())));
        for item in items {
            match item {
                Item::Field { name, value, form } => self.lane(lane).push(Part::Field { name, value, form }),
                Item::TableSize(size) => self.say(lane, format!("the table gets {size} bytes"), None),
            }
        }
    }
}

/// The content of a frame that may be padded (section 6.1).
fn unpadded(frame: Frame<'_>) -> Option<&[u8]> {
    if !frame.has(flag::PADDED) {
        return Some(frame.payload);
    }
    let (&padding, content) = frame.payload.split_first()?;
    content.get(..content.len().checked_sub(padding.into())?)
}

fn malformed(payload: &[u8]) -> String {
    format!(" of {} bytes, malformed", payload.len())
}

fn is_ack(frame: Frame<'_>) -> bool {
    matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.has(flag::ACK)
}

/// The flags, each behind a comma.
fn flags(frame: Frame<'_>) -> String {
    let known: &[(u8, &str)] = match frame.kind {
        kind::DATA => &[(flag::END_STREAM, "END_STREAM"), (flag::PADDED, "PADDED")],
        kind::HEADERS => &[
            (flag::END_STREAM, "END_STREAM"),
            (flag::END_HEADERS, "END_HEADERS"),
            (flag::PADDED, "PADDED"),
            (flag::PRIORITY, "PRIORITY"),
        ],
        kind::SETTINGS | kind::PING => &[(flag::ACK, "ACK")],
        kind::PUSH_PROMISE => &[(flag::END_HEADERS, "END_HEADERS"), (flag::PADDED, "PADDED")],
        kind::CONTINUATION => &[(flag::END_HEADERS, "END_HEADERS")],
        _ => &[],
    };
    let mut text = String::new();
    let mut rest = frame.flags;
    for (flag, name) in known.iter().filter(|(flag, _)| frame.has(*flag)) {
        let _ = write!(text, ", {name}");
        rest &= !flag;
    }
    if rest != 0 {
        let _ = write!(text, ", flags {rest:#04x}");
    }
    text
}

/// The error that a frame tells.
fn code(frame: Frame<'_>) -> Option<u32> {
    let mut reader = Reader(frame.payload);
    if frame.kind == kind::GOAWAY {
        reader.take(4)?;
    }
    reader.array().map(u32::from_be_bytes)
}

/// What a frame says that has neither a header block nor a body; nothing if it has not the length that it must have.
fn what(frame: Frame<'_>) -> Option<String> {
    let Frame { kind, payload, .. } = frame;
    let number = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
    match (kind, payload) {
        (kind::SETTINGS, []) => Some(String::new()),
        (kind::SETTINGS, _) if !is_ack(frame) => {
            let (settings, []) = payload.as_chunks::<6>() else { return None };
            let told = settings.iter().take(SETTINGS).map(|[a, b, value @ ..]| {
                format!(" {} {}", setting_name(u16::from_be_bytes([*a, *b])), number(value))
            });
            let told: Vec<_> = told.collect();
            let more = if settings.len() > SETTINGS {
                format!(", {} in all, {}", settings.len(), digest(payload))
            } else {
                String::new()
            };
            Some(told.join(",") + &more)
        }
        (kind::WINDOW_UPDATE, _) => {
            let increment: &[u8; 4] = payload.try_into().ok()?;
            Some(format!(" by {}", number(increment) & 0x7fff_ffff))
        }
        (kind::RST_STREAM, _) => {
            let code: &[u8; 4] = payload.try_into().ok()?;
            Some(format!(" {}", error(number(code))))
        }
        (kind::GOAWAY, _) => {
            let (last, rest) = payload.split_first_chunk::<4>()?;
            let (code, debug) = rest.split_first_chunk::<4>()?;
            let mut text =
                format!(" {}, the last stream is {}", error(number(code)), number(last) & 0x7fff_ffff);
            if !debug.is_empty() {
                let _ = write!(text, ", \"{}\"", shown(debug, VALUE));
            }
            Some(text)
        }
        // What a server asks by itself may be random; what it answers is what it was asked.
        (kind::PING, [_, _, _, _, _, _, _, _]) if !is_ack(frame) => Some(String::new()),
        (kind::PING, [_, _, _, _, _, _, _, _]) => Some(format!(" {}", payload.escape_ascii())),
        (kind::SETTINGS | kind::PING, _) => None,
        (kind::PRIORITY, [_, _, _, _, _]) => Some(format!(" {}", payload.escape_ascii())),
        (kind::PRIORITY, _) => None,
        _ if payload.is_empty() => Some(String::new()),
        _ => {
            Some(format!(" of {} bytes, {} \"{}\"", payload.len(), digest(payload), shown(payload, EXCERPT)))
        }
    }
}

fn name(kind: u8) -> String {
    const NAMES: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    match NAMES.get(usize::from(kind)) {
        Some(name) => (*name).to_owned(),
        None => format!("a frame of type {kind:#04x}"),
    }
}

fn setting_name(id: u16) -> String {
    let name = match id {
        setting::HEADER_TABLE_SIZE => "HEADER_TABLE_SIZE",
        setting::ENABLE_PUSH => "ENABLE_PUSH",
        setting::MAX_CONCURRENT_STREAMS => "MAX_CONCURRENT_STREAMS",
        setting::INITIAL_WINDOW_SIZE => "INITIAL_WINDOW_SIZE",
        setting::MAX_FRAME_SIZE => "MAX_FRAME_SIZE",
        setting::MAX_HEADER_LIST_SIZE => "MAX_HEADER_LIST_SIZE",
        setting::ENABLE_CONNECT_PROTOCOL => "ENABLE_CONNECT_PROTOCOL",
        setting::NO_RFC7540_PRIORITIES => "NO_RFC7540_PRIORITIES",
        _ => return format!("{id:#06x}"),
    };
    name.to_owned()
}

/// An error by its name (section 7).
fn error(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    match usize::try_from(code).ok().and_then(|code| NAMES.get(code)) {
        Some(name) => (*name).to_owned(),
        None => format!("{code:#x}"),
    }
}

#[cfg(test)]
mod tests;
