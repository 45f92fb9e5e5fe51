//! The HTTP upgrade of simple-obfs's `obfs=http`, of HTTPUpgrade and of RFC 6455's opening handshake: the
//! heads of a request and its answer.
//!
//! Sources: RFC 9112 (HTTP/1.1 messages), RFC 9110 section 7.8 (Upgrade), RFC 6455 section 4 (opening
//! handshake), simple-obfs 0.0.5 and Go 1.19 `net/http` (which headers, in which order).

mod answer;
mod detect;
mod missed;
mod path_table;
#[cfg(test)]
mod tests;

pub use answer::{UpgradeAnswer, switching_protocols};
pub use detect::{HttpRule, Upgrade, UpgradeDetector, UpgradeParse, is_of_packets};
pub use missed::{MissedUpgrade, UpgradeMiss};
pub use path_table::PathTable;

/// A client's request for an upgrade. What the fields hold has been checked: nothing in them ends a line.
#[derive(Debug, Clone, Copy)]
pub struct UpgradeRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// The whole value of `Host`.
    pub host: &'a str,
    /// The whole value of `User-Agent`.
    pub user_agent: &'a str,
    /// `Sec-WebSocket-Key`; `None` for HTTPUpgrade.
    pub key: Option<&'a str>,
    /// Whether `Sec-WebSocket-Version` asks for WebSocket frames.
    pub versioned: bool,
    /// `Sec-WebSocket-Protocol`, where it carries the first bytes.
    pub protocol: Option<&'a str>,
    /// The number of payload bytes that follow in the same flight. `None` leaves `Content-Length` out.
    pub content_length: Option<usize>,
    /// Further headers: names and values.
    pub headers: &'a [(String, String)],
    /// The order of all headers.
    pub order: HeaderOrder,
}

/// The order in which a program writes its headers: those that are listed come first, as they are listed,
/// then the others by name.
#[derive(Debug, Clone, Copy)]
pub struct HeaderOrder(&'static [&'static str]);

impl HeaderOrder {
    /// The order of simple-obfs's client.
    pub const SIMPLE_OBFS: HeaderOrder =
        HeaderOrder(&["Host", "User-Agent", "Upgrade", "Connection", "Sec-WebSocket-Key", "Content-Length"]);

    /// The order of Go's HTTP client, in which v2ray's clients are written.
    pub const GO: HeaderOrder = HeaderOrder(&["Host", "User-Agent"]);

    fn rank(self, name: &str) -> usize {
        self.0.iter().position(|listed| *listed == name).unwrap_or(self.0.len())
    }
}

impl UpgradeRequest<'_> {
    /// The head, its empty line included.
    pub fn encode(&self) -> Vec<u8> {
        let content_length = self.content_length.map(|length| length.to_string());
        let fixed = [
            ("Host", Some(self.host)),
            ("User-Agent", Some(self.user_agent)),
            ("Connection", Some("Upgrade")),
            ("Upgrade", Some("websocket")),
            ("Sec-WebSocket-Key", self.key),
            ("Sec-WebSocket-Protocol", self.protocol),
            ("Sec-WebSocket-Version", self.versioned.then_some("13")),
            ("Content-Length", content_length.as_deref()),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let further = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut headers: Vec<(&str, &str)> = fixed.chain(further).collect();
        headers.sort_by_key(|&(name, _)| (self.order.rank(name), name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}
