//! The head of a request: its lines put together, within the limits and with the checks of nginx.

use super::buffers::HeaderBuffers;
use super::line::{Field, HttpVersion, Method, Stop, header_line, request_line};
use super::target::Target;
use crate::wire::http::chunked::Chunks;
use crate::wire::http::framing::MessageBody;

/// What of a request decides how its answer is written, as far as it is known when something is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseStyle {
    /// HTTP/0.9: an answer is its body.
    pub bare: bool,
    /// HEAD: an answer has no body.
    pub head_only: bool,
    /// Error pages are padded for browsers that would show their own in the place of short ones.
    pub padded: bool,
}

/// A whole head.
#[derive(Debug)]
pub struct Request {
    /// Its length in bytes.
    pub length: usize,
    /// What is asked for.
    pub method: Method,
    /// Of what.
    pub target: Target,
    /// The name that the visitor came for, in lower case, without a port.
    pub host: Option<Vec<u8>>,
    /// Whether the visitor expects to send another request.
    pub keep_alive: bool,
    /// How the answer is written.
    pub style: ResponseStyle,
    /// What follows the head.
    pub body: MessageBody,
    /// `Expect: 100-continue`.
    pub expects: bool,
    fields: Fields,
}

impl Request {
    /// The value of a header that this server knows.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.get(name)
    }
}

/// A head that is answered with an error, whatever is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// How the answer is written.
    pub style: ResponseStyle,
    /// Bytes that have been understood.
    pub consumed: usize,
    /// What follows the head, as far as that is known.
    pub body: MessageBody,
}

impl Refusal {
    /// Whether more of the head is to be expected than is wanted.
    pub fn is_too_large(&self) -> bool {
        self.status == TOO_LARGE
    }
}

/// Header lines that may come once.
const ONCE: [&str; 11] = [
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "if-match",
    "if-none-match",
    "if-range",
    "content-length",
    "content-range",
    "transfer-encoding",
    "expect",
    "authorization",
];

/// Header lines of which the first counts.
const FIRST: [&str; 2] = ["range", "user-agent"];

/// The values of headers that something depends on.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Vec<u8>)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }
}

/// A head that is being read.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// As far as they are filled.
    pub buffers: HeaderBuffers,
    /// Bytes that have been understood.
    at: usize,
    line: Option<(Method, HttpVersion, Target)>,
    /// The host in the request line, or else in the header.
    host: Option<Vec<u8>>,
    keep_alive: Option<bool>,
    style: ResponseStyle,
    fields: Fields,
    /// What the head says is not kept: all that matters is whether it is refused.
    judges_only: bool,
    /// The request line is taken as it is.
    any_line: bool,
    /// The last line has come.
    ended: bool,
}

impl RequestReader {
    /// A reader for a head that goes into these buffers.
    pub fn new(buffers: HeaderBuffers) -> RequestReader {
        RequestReader { buffers, ..RequestReader::default() }
    }

    /// A reader that only says whether the first head on a connection is [refused](Self::is_refused). With
    /// `any_line` the request line is taken as it is.
    pub fn for_judging(any_line: bool) -> RequestReader {
        RequestReader { judges_only: true, any_line, ..RequestReader::default() }
    }

    /// Whether a web server refuses these bytes, all of the head that have come, however they go on. It
    /// answers a wrong line as soon as the line is complete, so we must not wait for the end of the head.
    pub fn is_refused(&mut self, bytes: &[u8]) -> bool {
        self.lines(bytes).is_err()
    }

    /// How many bytes at the beginning are line ends in front of a request, which mean nothing. They are
    /// to be taken away.
    pub fn skip(&mut self, bytes: &[u8]) -> usize {
        if self.line.is_some() {
            return 0;
        }
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.buffers.skip(blank);
        blank
    }

    /// Reads on in all bytes of the head that have come. `None` when it has not ended.
    ///
    /// # Errors
    ///
    /// Something is wrong with it, however it goes on.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Request>, Refusal> {
        if self.lines(bytes)? { self.whole().map(Some) } else { Ok(None) }
    }

    /// Reads on in the lines. Returns whether the last of them is among them.
    fn lines(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        if self.ended {
            return Ok(true);
        }
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let rest = rest.get(..HeaderBuffers::LINE).unwrap_or(rest);
            let stop = match self.line {
                None if self.any_line => {
                    let Some(end) = bytes.iter().position(|&b| b == b'\n') else { return Ok(false) };
                    // The caller bounds the length of this line.
                    self.buffers.take(end + 1, true);
                    self.line = Some((Method::Get, HttpVersion::V11, Target::default()));
                    Ok((end + 1, false))
                }
                None => self.request_line(rest).map(|length| (length, false)),
                Some(_) => self.header_line(rest),
            };
            match stop {
                Ok((length, is_last)) => {
                    self.at += length;
                    self.ended = is_last || matches!(self.line, Some((_, HttpVersion::V09, _)));
                    if self.ended {
                        return Ok(true);
                    }
                }
                Err(Stop::More) if self.buffers.clone().take(rest.len(), false) => return Ok(false),
                Err(Stop::More) if self.line.is_none() => return Err(self.refuse(414)),
                Err(Stop::More) => return Err(self.refuse(TOO_LARGE)),
                Err(Stop::Refuse(status)) => return Err(self.refuse(status)),
            }
        }
    }

    fn refuse(&self, status: u16) -> Refusal {
        Refusal { status, style: self.style, consumed: self.at, body: MessageBody::Sized(0) }
    }

    /// Returns the length of the line.
    fn request_line(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let style = &mut self.style;
        let (line, length) = request_line(bytes, |method| style.head_only = method == Method::Head)?;
        if !self.buffers.take(length, true) {
            return Err(Stop::Refuse(414));
        }
        if line.version == HttpVersion::V09 {
            self.style.bare = true;
            if line.method != Method::Get {
                return Err(Stop::Refuse(400));
            }
        }
        let target = Target::parse(line.target).ok_or(Stop::Refuse(400))?;
        if let Some(host) = line.host {
            self.host = Some(host_name(host).ok_or(Stop::Refuse(400))?).filter(|_| !self.judges_only);
        }
        let target = if self.judges_only { Target::default() } else { target };
        self.line = Some((line.method, line.version, target));
        Ok(length)
    }

    /// Returns the length of the line, and whether it is the empty one.
    fn header_line(&mut self, bytes: &[u8]) -> Result<(usize, bool), Stop> {
        let (field, length) = header_line(bytes)?;
        if !self.buffers.take(length, true) {
            return Err(Stop::Refuse(TOO_LARGE));
        }
        if let Field::Named(name, value) = field {
            self.field(name, value)?;
        }
        Ok((length, field == Field::End))
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Stop> {
        if name.eq_ignore_ascii_case(b"connection") {
            if contains_ignore_case(value, b"close") {
                self.keep_alive = Some(false);
            } else if contains_ignore_case(value, b"keep-alive") {
                self.keep_alive = Some(true);
            }
            return Ok(());
        }
        let known = |names: &'static [&str]| {
            names.iter().copied().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        };
        let (name, once) = match (known(&ONCE), known(&FIRST)) {
            (Some(name), _) => (name, true),
            (None, Some(name)) => (name, false),
            (None, None) => return Ok(()),
        };
        match (self.fields.get(name), once) {
            (Some(_), true) => return Err(Stop::Refuse(400)),
            (Some(_), false) => return Ok(()),
            (None, _) => {
                let value = if self.judges_only { &[] } else { value };
                self.fields.0.push((name, value.to_vec()));
            }
        }
        match name {
            "host" => {
                let host = host_name(value).ok_or(Stop::Refuse(400))?;
                if !self.judges_only {
                    self.host.get_or_insert(host);
                }
            }
            "user-agent" => self.style.padded = shows_pages_of_its_own(value),
            _ => {}
        }
        Ok(())
    }

    /// What can be said of a head when all of it has come.
    fn whole(&mut self) -> Result<Request, Refusal> {
        let Some((method, version, target)) = self.line.take() else { return Err(self.refuse(400)) };
        let fields = std::mem::take(&mut self.fields);
        if version > HttpVersion::V10 && fields.get("host").is_none() {
            return Err(self.refuse(400));
        }
        let mut body = match fields.get("content-length").map(length) {
            None => MessageBody::Sized(0),
            Some(Some(length)) => MessageBody::Sized(length),
            Some(None) => return Err(self.refuse(400)),
        };
        let refuse = |status, body| Err(Refusal { body, ..self.refuse(status) });
        if let Some(coding) = fields.get("transfer-encoding") {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            if version < HttpVersion::V11 || (is_chunked && fields.get("content-length").is_some()) {
                return refuse(400, body);
            }
            if !is_chunked {
                return refuse(501, body);
            }
            body = MessageBody::Chunked(Chunks::lenient());
        }
        if matches!(method, Method::Connect | Method::Trace) {
            return refuse(405, body);
        }
        let expect = fields.get("expect").unwrap_or_default();
        Ok(Request {
            length: self.at,
            method,
            target,
            host: self.host.take(),
            keep_alive: self.keep_alive.unwrap_or(version > HttpVersion::V10),
            style: self.style,
            body,
            expects: version > HttpVersion::V10 && expect.eq_ignore_ascii_case(b"100-continue"),
            fields,
        })
    }
}

/// nginx's own number for headers that are too large. The answer is a 400 with a text of its own.
const TOO_LARGE: u16 = 494;

/// A number of bytes: digits, no more than a file can have.
fn length(value: &[u8]) -> Option<u64> {
    let digits_only = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok()?.parse::<i64>().ok()?;
    u64::try_from(number).ok().filter(|_| digits_only)
}

/// The name in a `Host` header without its port, in lower case; `None` if it is none.
fn host_name(value: &[u8]) -> Option<Vec<u8>> {
    let forbidden = |b: &u8| matches!(b, 0..=b' ' | 0x7f | b'/');
    if value.iter().any(forbidden) || value.windows(2).any(|pair| pair == b"..") {
        return None;
    }
    let end = match value {
        // Without its bracket an address goes on to the end.
        [b'[', ..] => value.iter().position(|&b| b == b']').map(|at| at + 1),
        _ => value.iter().position(|&b| b == b':'),
    };
    let name = value.get(..end.unwrap_or(value.len()))?;
    let rooted =
        name.strip_suffix(b".").filter(|_| !value.get(name.len()..).unwrap_or_default().contains(&b'.'));
    let name = rooted.unwrap_or(name);
    if name.is_empty() { None } else { Some(name.to_ascii_lowercase()) }
}

/// Old Internet Explorers, and Chromes, as they name themselves.
fn shows_pages_of_its_own(user_agent: &[u8]) -> bool {
    let at = |word: &[u8]| user_agent.windows(word.len()).position(|window| window == word);
    let names = |word: &[u8]| at(word).is_some();
    if names(b"Opera") {
        return false;
    }
    let explorer = at(b"MSIE ").is_some_and(|start| start + 7 < user_agent.len());
    explorer || (names(b"Chrome/") && !names(b"Gecko/"))
}

fn contains_ignore_case(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
