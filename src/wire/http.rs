//! The HTTP upgrade of simple-obfs's `obfs=http`, of HTTPUpgrade and of RFC 6455's opening handshake:
//! the heads of a request and its answer, as pure functions of bytes.
//!
//! Sources: RFC 9112 (HTTP/1.1 messages), RFC 9110 section 7.8 (Upgrade), RFC 6455 section 4
//! (opening handshake), simple-obfs 0.0.5 (which headers, in which order).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, SystemTime};

pub mod framing;
pub mod host;
pub(crate) mod request;

/// More headers than any tunnel's request has, proxies in front included.
const MAX_HEADERS: usize = 96;

/// The longest head that is read to its end, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The longest single line of a head, in bytes. Web servers refuse a longer one as soon as they have
/// seen so much of it, so waiting for its end would show.
const MAX_LINE: usize = 8 * 1024;

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// The whole value of `Host`.
    pub host: &'a str,
    /// The product that `User-Agent` names.
    pub user_agent: &'a str,
    /// 16 random bytes (RFC 6455 section 4.1).
    pub nonce: [u8; 16],
    /// The number of payload bytes that follow in the same flight. `None` leaves `Content-Length` out.
    pub content_length: Option<usize>,
}

impl Request<'_> {
    /// The head, its empty line included, with the headers and their order of simple-obfs.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = String::with_capacity(320);
        let key = STANDARD.encode(self.nonce);
        let Request { method, path, host, user_agent, .. } = self;
        // Writing to a String cannot fail.
        let _ = write!(
            head,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        );
        if let Some(length) = self.content_length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Which upgrade requests are taken.
#[derive(Debug, Clone, Copy)]
pub struct Accept<'a> {
    /// The one method.
    pub method: &'a str,
    /// The one path, compared decoded and without its query; `None` takes any.
    pub path: Option<&'a str>,
    /// The one path of WebSocket and HTTPUpgrade, where that is another matter. simple-obfs's requests
    /// are told from theirs by having a key and no version.
    pub web_path: Option<&'a str>,
    /// The one host, without a port, in lower case; `None` takes any.
    pub host: Option<&'a str>,
}

impl Accept<'_> {
    /// Whether a request with this path is taken, of WebSocket and HTTPUpgrade (`web`) or of simple-obfs.
    fn takes_path(&self, path: &str, web: bool) -> bool {
        let wanted = match self.web_path {
            Some(wanted) if web => Some(wanted),
            _ => self.path,
        };
        wanted.is_none_or(|wanted| host::is_path(path, wanted))
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeParse {
    /// Not decided: the bytes could still become an upgrade request.
    NeedMore,
    /// An upgrade request that is taken.
    Upgrade(Upgrade),
    /// Anything else.
    Other,
}

/// An upgrade request that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The length of the head in bytes; payload begins there.
    pub head_len: usize,
    /// Where the value of `Sec-WebSocket-Key` stands, an opaque string: deployed clients send URL-safe
    /// base64, and HTTPUpgrade sends none.
    pub key: Option<Range<usize>>,
    /// Whether there is a `Sec-WebSocket-Version`: WebSocket frames follow then, and else the raw
    /// stream.
    pub versioned: bool,
    /// Where the value of `Sec-WebSocket-Protocol` stands, which may hold the first bytes of the stream.
    pub protocol: Option<Range<usize>>,
}

impl Upgrade {
    /// The value of `Sec-WebSocket-Key` in the bytes that this was read from.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.key.clone().and_then(|range| bytes.get(range))
    }

    /// The value of `Sec-WebSocket-Protocol` in the bytes that this was read from.
    pub fn protocol<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.protocol.clone().and_then(|range| bytes.get(range))
    }
}

/// Decides what the first bytes of a connection are, as early as they allow.
///
/// More bytes never change a verdict other than [`UpgradeParse::NeedMore`].
pub fn detect_upgrade(bytes: &[u8], accept: &Accept<'_>) -> UpgradeParse {
    if !may_start_with(bytes, accept.method.as_bytes(), b" ") {
        return UpgradeParse::Other;
    }
    // Only the head is looked at, or what follows it could change the verdict.
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    if let Some(path) = request.path
        && !accept.takes_path(path, false)
        && !accept.takes_path(path, true)
    {
        return UpgradeParse::Other;
    }
    if request.version.is_some_and(|version| version != 1) {
        return UpgradeParse::Other;
    }
    // What a web server refuses before its end is not ours when it has ended.
    if request::Judge::new(accept).refuses(head) {
        return UpgradeParse::Other;
    }
    match parsed {
        Err(_) => UpgradeParse::Other,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD || has_long_line(head) => {
            UpgradeParse::Other
        }
        Ok(httparse::Status::Partial) => UpgradeParse::NeedMore,
        Ok(httparse::Status::Complete(head_len)) => match head.get(..head_len) {
            Some(head) if !has_long_line(head) && is_upgrade(request.headers, accept) => {
                let value = |name| header(request.headers, name).map(|value| range_in(head, value));
                let versioned = header(request.headers, "sec-websocket-version").is_some();
                let (key, protocol) = (value("sec-websocket-key"), value("sec-websocket-protocol"));
                if !accept.takes_path(request.path.unwrap_or_default(), versioned || key.is_none()) {
                    return UpgradeParse::Other;
                }
                UpgradeParse::Upgrade(Upgrade { head_len, key, versioned, protocol })
            }
            _ => UpgradeParse::Other,
        },
    }
}

/// The first bytes of a connection as they come, looked at no more often than they can change the verdict.
/// In single bytes a head would be read from its beginning thousands of times.
#[derive(Debug)]
pub struct UpgradeDetector {
    judge: request::Judge,
    /// Bytes that were looked at.
    seen: usize,
    /// Where the last line among them begins.
    line: usize,
    /// What of that line tells which bytes matter behind it.
    so_far: LineSoFar,
}

/// A line that has not ended.
#[derive(Debug, Default)]
struct LineSoFar {
    spaces: usize,
    colon: bool,
    judged: usize,
}

impl LineSoFar {
    /// Notes more bytes of it. Whether they may be such that it is refused for them: behind the colon of a
    /// header, and in its name and in a target, most bytes are as good as any other.
    fn note(&mut self, is_first: bool, more: &[u8]) -> bool {
        if more.is_empty() {
            return false;
        }
        let matters = |&b: &u8| match (is_first, self.colon) {
            (false, true) => matches!(b, 0 | b'\r'),
            _ => b <= b' ' || b == 0x7f,
        };
        let in_version = is_first && self.spaces > 1;
        let matter = self.judged == 0 || in_version || more.iter().any(matters);
        self.colon |= more.contains(&b':');
        self.spaces += more.iter().filter(|&&b| b == b' ').count();
        self.judged += usize::from(matter);
        matter
    }
}

impl UpgradeDetector {
    /// As long as there were no more, all are looked at: they tell most visitors from clients.
    const FEW: usize = 128;
    /// How often a line is judged while it comes. A client's has few bytes that matter; of a line with
    /// more, such as many spaces behind the target, no upgrade is taken.
    const JUDGED: usize = 64;

    /// One for connections of which nothing has come.
    pub fn new(accept: &Accept<'_>) -> UpgradeDetector {
        UpgradeDetector { judge: request::Judge::new(accept), seen: 0, line: 0, so_far: LineSoFar::default() }
    }

    /// The verdict on all bytes that have come, which begin with those of the last time. It is the same as
    /// [`detect_upgrade`] gives, at the latest at the end of a line; and what a web server would refuse at once is
    /// known at once.
    pub fn detect(&mut self, bytes: &[u8], accept: &Accept<'_>) -> UpgradeParse {
        let new = bytes.get(self.seen..).unwrap_or_default();
        let line_end = new.iter().rposition(|&b| b == b'\n');
        if let Some(at) = line_end {
            self.line = self.seen + at + 1;
            self.so_far = LineSoFar::default();
        }
        let more = bytes.get(self.line.max(self.seen)..).unwrap_or_default();
        let matters = self.so_far.note(self.line == 0, more);
        let were_few = self.seen <= Self::FEW;
        self.seen = bytes.len();
        let too_long = bytes.len() >= MAX_HEAD || bytes.len() - self.line > MAX_LINE;
        if line_end.is_some() || too_long || were_few {
            return detect_upgrade(bytes, accept);
        }
        let refused = matters && (self.so_far.judged > Self::JUDGED || self.judge.refuses(bytes));
        if refused { UpgradeParse::Other } else { UpgradeParse::NeedMore }
    }
}

/// Whether bytes that begin like `bytes` can still begin with `word` and then `next`.
fn may_start_with(bytes: &[u8], word: &[u8], next: &[u8]) -> bool {
    bytes.iter().zip(word.iter().chain(next)).all(|(a, b)| a == b)
}

fn has_long_line(head: &[u8]) -> bool {
    head.split(|&b| b == b'\n').any(|line| line.len() > MAX_LINE)
}

/// Whether complete headers ask for the upgrade that is taken.
fn is_upgrade(headers: &[httparse::Header<'_>], accept: &Accept<'_>) -> bool {
    // RFC 9112 section 3.2: exactly one Host, or a web server answers 400.
    let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    accept.host.is_none_or(|wanted| host::is_host(host.value, wanted))
        && has_token(headers, "connection", "upgrade")
        && has_token(headers, "upgrade", "websocket")
        // A chunked body is not a raw stream: whoever sends this is not a client of ours.
        && header(headers, "transfer-encoding").is_none()
}

/// The value of the first header of that name.
fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Where in `whole` a part of it stands.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Whether a list-valued header (RFC 9110 section 5.6.1) has this token, in any case.
fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(|&b| b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The request of v2ray's WebSocket and HTTPUpgrade clients: the headers, and their order, of Go's HTTP
/// client (Go 1.19 `net/http`, which sorts all but the first two by name).
#[derive(Debug, Clone, Copy)]
pub struct WebRequest<'a> {
    /// The path, with its query.
    pub path: &'a str,
    /// The whole value of `Host`.
    pub host: &'a str,
    /// The whole value of `User-Agent`.
    pub user_agent: &'a str,
    /// Further headers: names and values.
    pub headers: &'a [(String, String)],
    /// `Sec-WebSocket-Key`; `None` for HTTPUpgrade, which has no version either.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`, where it carries the first bytes.
    pub protocol: Option<&'a str>,
}

impl WebRequest<'_> {
    /// The head, its empty line included. What the fields hold has been checked: nothing here ends a
    /// line.
    pub fn encode(&self) -> Vec<u8> {
        let WebRequest { path, host, user_agent, headers, key, protocol } = self;
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\n");
        let fixed = [
            ("Connection", Some("Upgrade")),
            ("Sec-WebSocket-Key", *key),
            ("Sec-WebSocket-Protocol", *protocol),
            ("Sec-WebSocket-Version", key.map(|_| "13")),
            ("Upgrade", Some("websocket")),
        ];
        let fixed = fixed.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
        let mut lines: Vec<(&str, &str)> =
            fixed.chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect();
        lines.sort_by_key(|(name, _)| *name);
        for (name, value) in lines {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// A time as HTTP writes it. The clock of a machine may say anything, and only the years from 1970 to 9999
/// can be written.
pub fn date(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since.min(LAST))
}

/// The answer to an upgrade request, its empty line included. `protocol` is echoed; it must have been
/// found to be harmless.
pub fn switching_protocols(key: Option<&[u8]>, protocol: Option<&str>, now: SystemTime) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: nginx\r\nDate: {}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n",
        date(now)
    );
    if let Some(key) = key {
        let _ = write!(head, "Sec-WebSocket-Accept: {}\r\n", websocket_accept(key));
    }
    if let Some(protocol) = protocol {
        let _ = write!(head, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2). The key is hashed as it is.
pub fn websocket_accept(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// What a client finds in front of the stream from its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The head has not ended.
    NeedMore,
    /// The upgrade is granted; the raw stream begins after so many bytes.
    Switched(usize),
    /// Anything else. The text is the first line, cut short and cleaned for a log.
    Refused(String),
}

/// Reads a server's answer to an upgrade request.
pub fn answer(bytes: &[u8]) -> Answer {
    answer_to(bytes, None)
}

/// Reads a server's answer to the request with this `Sec-WebSocket-Key`: the answer must show that it
/// was read (RFC 6455 section 4.1), or some cache may have given it.
pub fn answer_to(bytes: &[u8], key: Option<&str>) -> Answer {
    if !may_start_with(bytes, b"HTTP/1.1", b" ") {
        return Answer::Refused(first_line(bytes));
    }
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Answer::NeedMore,
        Ok(httparse::Status::Complete(head_len))
            if response.code == Some(101) && has_token(response.headers, "upgrade", "websocket") =>
        {
            let accepted = header(response.headers, "sec-websocket-accept").map(<[u8]>::trim_ascii);
            match key {
                Some(key) if accepted != Some(websocket_accept(key.as_bytes()).as_bytes()) => {
                    Answer::Refused(format!("{} (with another Sec-WebSocket-Accept)", first_line(bytes)))
                }
                _ => Answer::Switched(head_len),
            }
        }
        _ => Answer::Refused(first_line(bytes)),
    }
}

/// The first line of what a peer sent, fit for a log line.
pub fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.get(..120).unwrap_or(line);
    String::from_utf8_lossy(line).trim_end().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
