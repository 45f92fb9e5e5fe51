//! What a request for an upgrade lacks that is not taken: for whoever set up the client, or the proxy between.

use super::HttpRule;
use crate::wire::http::syntax::{MAX_HEAD, MAX_HEADERS, has_token, header};

/// Why an upgrade request is not taken: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpgradeMiss {
    /// It has another method.
    Method,
    /// It has another path.
    Path,
    /// It is not HTTP/1.1, as proxies ask that are not told to.
    HttpVersion,
    /// It lacks `Upgrade: websocket` or `Connection: Upgrade`, as behind a proxy that does not pass them on.
    UpgradeHeaders,
    /// It has another host.
    Host,
    /// Its head is none that a web server takes, or its body is chunked.
    Head,
}

/// An upgrade request that is not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct MissedUpgrade {
    /// Why; `None` where the rule would take it.
    pub missed: Option<UpgradeMiss>,
    /// What it asks for, fit for a log that may hold secrets.
    pub asked: String,
}

impl HttpRule {
    /// What the request lacks that these bytes begin with. `None` for what asks for no upgrade to WebSocket, as far
    /// as it has come.
    pub fn missed(&self, bytes: &[u8]) -> Option<MissedUpgrade> {
        let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let head = head.get(..end.unwrap_or(head.len())).unwrap_or_default();
        if !head.windows(b"websocket".len()).any(|word| word.eq_ignore_ascii_case(b"websocket")) {
            return None;
        }
        let mut so_far;
        let whole = if end.is_some() {
            head
        } else {
            // Its path may be known to be another before all of it has come: then no more is read here.
            let lines = head.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            so_far = head.get(..lines).unwrap_or_default().to_vec();
            so_far.extend_from_slice(b"\r\n");
            &so_far
        };
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(_)) = request.parse(whole) else { return None };
        let (method, path) = (request.method?, request.path?);
        let is_there = |name| header(request.headers, name).is_some();
        let upgrades = has_token(request.headers, "upgrade", "websocket");
        let (key, versioned) = (is_there("sec-websocket-key"), is_there("sec-websocket-version"));
        if !upgrades && !key && !versioned {
            return None;
        }
        let missed = if method != self.method {
            Some(UpgradeMiss::Method)
        } else if !self.takes_path(path, versioned || !key) {
            Some(UpgradeMiss::Path)
        } else if request.version != Some(1) {
            Some(UpgradeMiss::HttpVersion)
        } else if end.is_none() {
            return None;
        } else if !upgrades || !has_token(request.headers, "connection", "upgrade") {
            Some(UpgradeMiss::UpgradeHeaders)
        } else if !self.takes_host(request.headers) {
            Some(UpgradeMiss::Host)
        } else {
            (!self.takes_headers(request.headers)).then_some(UpgradeMiss::Head)
        };
        let host = header(request.headers, "host").unwrap_or_default();
        let asked = format!("{} {}, host {}", method, cut(path.as_bytes()), cut(host));
        Some(MissedUpgrade { missed, asked })
    }
}

/// As much of it as a line has room for.
fn cut(value: &[u8]) -> impl std::fmt::Display {
    value.get(..200).unwrap_or(value).escape_ascii()
}
