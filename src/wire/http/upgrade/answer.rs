//! The answer to an upgrade request.

use crate::wire::http::syntax::{MAX_HEAD, MAX_HEADERS, date, first_line, has_token, header};
use crate::wire::websocket::accept_key;
use std::time::SystemTime;

/// The answer to an upgrade request, its empty line included. `protocol` is echoed; it must have been
/// found to be harmless.
pub fn switching_protocols(key: Option<&[u8]>, protocol: Option<&str>, now: SystemTime) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: nginx\r\nDate: {}\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n",
        date(now)
    );
    if let Some(key) = key {
        head.extend(["Sec-WebSocket-Accept: ", &accept_key(key), "\r\n"]);
    }
    if let Some(protocol) = protocol {
        head.extend(["Sec-WebSocket-Protocol: ", protocol, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// What a client finds in front of the stream from its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeAnswer {
    /// The head has not ended.
    NeedMore,
    /// The upgrade is granted; the stream begins after so many bytes.
    Switched(usize),
    /// Anything else. The text is the first line, cut short and cleaned for a log.
    Refused(String),
}

impl UpgradeAnswer {
    /// Reads a server's answer to an upgrade request. Where the request has a `Sec-WebSocket-Key` and the
    /// answer must show that it was read (RFC 6455 section 4.1), or some cache may have given it, that is `key`.
    pub fn read(bytes: &[u8], key: Option<&str>) -> UpgradeAnswer {
        const VERSION: &[u8] = b"HTTP/1.1 ";
        if !bytes.iter().zip(VERSION).all(|(a, b)| a == b) {
            return UpgradeAnswer::Refused(first_line(bytes));
        }
        let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(head) {
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => UpgradeAnswer::NeedMore,
            Ok(httparse::Status::Complete(head_len))
                if response.code == Some(101) && has_token(response.headers, "upgrade", "websocket") =>
            {
                let accepted = header(response.headers, "sec-websocket-accept").map(<[u8]>::trim_ascii);
                match key {
                    Some(key) if accepted != Some(accept_key(key.as_bytes()).as_bytes()) => {
                        let line = first_line(bytes);
                        UpgradeAnswer::Refused(format!("{line} (with another Sec-WebSocket-Accept)"))
                    }
                    _ => UpgradeAnswer::Switched(head_len),
                }
            }
            _ => UpgradeAnswer::Refused(first_line(bytes)),
        }
    }
}
