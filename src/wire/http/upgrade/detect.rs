//! Whether the first bytes of a connection, or of a later request, ask for a tunnel.

use super::path_table::PathTable;
use crate::wire::http::host;
use crate::wire::http::request::head::RequestReader;
use crate::wire::http::request::target::Target;
use crate::wire::http::syntax::{MAX_HEAD, MAX_HEADERS, has_token, header};
use std::ops::Range;

/// The longest single line of a head, in bytes. Web servers refuse a longer one as soon as they have
/// seen so much of it, so waiting for its end would show.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// Which upgrade requests a server takes as its own.
#[derive(Debug, Clone, Default)]
pub struct HttpRule {
    /// The one method.
    pub method: String,
    /// The one path (compared decoded and without its query); `None` takes any. Where there is a
    /// [`web_path`](Self::web_path), this is the path of simple-obfs's requests alone.
    pub path: Option<String>,
    /// The one path of WebSocket and HTTPUpgrade; frames follow requests with a `Sec-WebSocket-Version`.
    /// It is never any path: a website may have WebSockets of its own. A request of simple-obfs has
    /// a key and no version. A server that replaces simple-obfs's has `None`: it takes requests with a version
    /// like the others, and the raw stream follows all of them.
    pub web_path: Option<String>,
    /// Further paths, on which requests of every kind are taken. They go before the two above.
    pub routes: PathTable,
    /// The one host, in lower case (compared without port and case); `None` takes any.
    pub host: Option<String>,
}

impl HttpRule {
    /// Whether a request with this path is taken, of WebSocket and HTTPUpgrade (`web`) or of simple-obfs.
    pub(super) fn takes_path(&self, path: &str, web: bool) -> bool {
        let wanted = match &self.web_path {
            Some(wanted) if web => Some(wanted),
            _ => self.path.as_ref(),
        };
        self.routes.find(path).is_some() || wanted.is_none_or(|wanted| host::is_path(path, wanted))
    }

    /// Whether an extended CONNECT (RFC 8441) to WebSocket on this path of this host is taken.
    #[cfg(feature = "grpc")]
    pub fn takes_extended_connect(&self, path: &str, host: &[u8]) -> bool {
        self.web_path.is_some()
            && self.takes_path(path, true)
            && self.host.as_ref().is_none_or(|wanted| host::is_host(host, wanted))
    }

    /// Whether the operator has named a request line, which is taken though no web server may take it.
    fn names_request_line(&self) -> bool {
        let odd_path = |path: &String| Target::parse(path.as_bytes()).is_none();
        let odd_method = |b: u8| !(b.is_ascii_uppercase() || matches!(b, b'_' | b'-'));
        self.path.is_some()
            || self.web_path.as_ref().is_some_and(odd_path)
            || self.routes.any_is_odd()
            || self.method.bytes().any(odd_method)
    }

    /// Whether the headers have the one host that is taken.
    pub(super) fn takes_host(&self, headers: &[httparse::Header<'_>]) -> bool {
        // RFC 9112 section 3.2: exactly one Host, or a web server answers 400.
        let mut hosts = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        self.host.as_ref().is_none_or(|wanted| host::is_host(host.value, wanted))
    }

    /// Whether complete headers ask for the upgrade that is taken.
    pub(super) fn takes_headers(&self, headers: &[httparse::Header<'_>]) -> bool {
        self.takes_host(headers)
            && has_token(headers, "connection", "upgrade")
            && has_token(headers, "upgrade", "websocket")
            // A chunked body is not a raw stream: no client of ours sends one.
            && header(headers, "transfer-encoding").is_none()
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
    /// The number of its path among the rule's [`routes`](HttpRule::routes), if it is one of them.
    pub route: Option<usize>,
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
    /// Whether each message is a packet of UDP: `X-Sock-Type: udp`, where frames follow.
    pub packets: bool,
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

/// Decides what the first bytes of a connection are while they come, as early as they allow. More bytes never
/// change a verdict other than [`UpgradeParse::NeedMore`]. It parses no more often than the new
/// bytes can change the verdict: parsed at each of its bytes, a head would be read thousands of times.
#[derive(Debug, Default)]
pub struct UpgradeDetector {
    /// Reads along, once the method fits.
    judge: Option<RequestReader>,
    /// Bytes that were looked at.
    seen: usize,
    /// Where the last line among them begins.
    line: usize,
    /// What decides which further bytes of that line matter.
    so_far: LineSoFar,
}

/// A line that has not ended.
#[derive(Debug, Default)]
struct LineSoFar {
    spaces: usize,
    colon: bool,
    /// Its last byte so far is a CR, behind which web servers want the LF at once.
    ends_in_cr: bool,
    judged: usize,
}

impl LineSoFar {
    /// Notes more bytes of the line. Returns whether they may be such that a web server refuses the line for
    /// them: behind the colon of a header, and in its name and in a target, most bytes are as good as any other.
    fn note(&mut self, is_first: bool, more: &[u8]) -> bool {
        if more.is_empty() {
            return false;
        }
        let matters = |&b: &u8| match (is_first, self.colon) {
            (false, true) => matches!(b, 0 | b'\r'),
            _ => b <= b' ' || b == 0x7f,
        };
        let in_version = is_first && self.spaces > 1;
        let matter = self.judged == 0 || in_version || self.ends_in_cr || more.iter().any(matters);
        self.colon |= more.contains(&b':');
        self.spaces += more.iter().filter(|&&b| b == b' ').count();
        self.ends_in_cr = more.ends_with(b"\r");
        self.judged += usize::from(matter);
        matter
    }
}

impl UpgradeDetector {
    /// The verdict is sought at each read as long as there were no more bytes: they tell most visitors from
    /// clients.
    const FEW: usize = 128;
    /// How often a line is judged while it comes. A client's has few bytes that matter; of a line with
    /// more, such as many spaces behind the target, no upgrade is taken.
    const JUDGED: usize = 64;

    /// The verdict on all bytes that have come; they begin with those of the last call, which had the same rule.
    /// A verdict that a whole line brings comes at its end, and what a web server would
    /// refuse at once is known at once.
    pub fn detect(&mut self, bytes: &[u8], rule: &HttpRule) -> UpgradeParse {
        debug_assert!(self.seen <= bytes.len(), "these are not the bytes of the last call");
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
            return self.parse(bytes, rule);
        }
        let refused = matters && (self.so_far.judged > Self::JUDGED || self.is_refused(bytes, rule));
        if refused { UpgradeParse::Other } else { UpgradeParse::NeedMore }
    }

    fn is_refused(&mut self, head: &[u8], rule: &HttpRule) -> bool {
        let new = || RequestReader::for_judging(rule.names_request_line());
        self.judge.get_or_insert_with(new).is_refused(head)
    }

    fn parse(&mut self, bytes: &[u8], rule: &HttpRule) -> UpgradeParse {
        if !bytes.iter().zip(rule.method.bytes().chain([b' '])).all(|(&a, b)| a == b) {
            return UpgradeParse::Other;
        }
        // Only the head is looked at, or what follows it could change the verdict.
        let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(head);
        if let Some(path) = request.path
            && !rule.takes_path(path, false)
            && !rule.takes_path(path, true)
        {
            return UpgradeParse::Other;
        }
        if request.version.is_some_and(|version| version != 1) {
            return UpgradeParse::Other;
        }
        // What a web server refuses before its end is not ours when it has ended.
        if self.is_refused(head, rule) {
            return UpgradeParse::Other;
        }
        let head_len = match parsed {
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD && !has_long_line(head) => {
                return UpgradeParse::NeedMore;
            }
            Ok(httparse::Status::Complete(head_len)) => head_len,
            Ok(httparse::Status::Partial) | Err(_) => return UpgradeParse::Other,
        };
        if head.get(..head_len).is_none_or(has_long_line) || !rule.takes_headers(request.headers) {
            return UpgradeParse::Other;
        }
        let value = |name| header(request.headers, name).map(|value| range_in(head, value));
        let versioned = header(request.headers, "sec-websocket-version").is_some();
        let (key, protocol) = (value("sec-websocket-key"), value("sec-websocket-protocol"));
        let takes_path = |path: &&str| rule.takes_path(path, versioned || key.is_none());
        let Some(path) = request.path.filter(takes_path) else { return UpgradeParse::Other };
        let route = rule.routes.find(path);
        let packets = versioned && header(request.headers, "x-sock-type").is_some_and(is_of_packets);
        UpgradeParse::Upgrade(Upgrade { route, head_len, key, versioned, protocol, packets })
    }
}

/// Whether this value of `X-Sock-Type` says that the messages are packets of UDP.
pub fn is_of_packets(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"udp")
}

fn has_long_line(head: &[u8]) -> bool {
    head.split(|&b| b == b'\n').any(|line| line.len() > MAX_LINE)
}

/// Where in `whole` a part of it stands.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}
