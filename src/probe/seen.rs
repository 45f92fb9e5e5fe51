//! What a visitor saw on one connection.

use std::time::Duration;

/// What a visitor saw. Times count from when the connection was there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What came: over the wire, or inside TLS where that is where the visitor was.
    pub bytes: Vec<u8>,
    /// When it came: the time, and how many bytes had come by then.
    pub arrivals: Vec<(Duration, usize)>,
    /// How many bytes had come at the end of each [`Action::Listen`](super::script::Action::Listen).
    pub marks: Vec<usize>,
    pub end: End,
    /// When it ended, or until when it was watched.
    pub until: Duration,
    /// The session id in the hello that the visitor sent, if it did: a server may send it back.
    pub session_id: Vec<u8>,
    /// What there was to see of TLS by one who made a handshake.
    pub tls: Option<Handshake>,
    /// What came over UDP, part by part, each with its time; `None` where there was a connection.
    pub datagrams: Option<Vec<(Duration, String)>>,
    /// What of it shows the server's library.
    pub style: Vec<(&'static str, String)>,
}

/// How a connection ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum End {
    /// The other side ended its direction.
    Fin,
    /// The other side broke it off.
    Reset,
    /// There is no connection over UDP, and the network says of the port that nobody can be reached there.
    Unreachable(String),
    /// Not at all, for as long as it was watched.
    #[default]
    Open,
    /// The visitor had enough: the rest of a long answer is not read.
    Unread,
    /// The visitor left.
    Left,
    /// There was no connection, or it failed for a reason of the network.
    Failed(String),
}

/// A TLS handshake as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// What was agreed on is compared; otherwise only whether there was an agreement.
    pub is_subject: bool,
    /// What was agreed on, or why nothing was.
    pub outcome: Result<Agreed, String>,
    /// What came over the wire until then.
    pub flight: Vec<u8>,
    /// How many session tickets came (TLS 1.3).
    pub tickets: u32,
    /// The alert that came after the handshake.
    pub alert: Option<String>,
    /// `close_notify` came.
    pub close_notify: bool,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub version: String,
    pub suite: String,
    /// The group of the key exchange.
    pub group: String,
    pub alpn: Option<String>,
    /// The certificates as they were sent, the server's own first.
    pub certificates: Vec<Vec<u8>>,
}

impl Seen {
    /// A visit that did not come to be.
    pub fn failed(why: impl Into<String>) -> Seen {
        Seen { end: End::Failed(why.into()), ..Seen::default() }
    }

    /// What there is to see over UDP where nobody listens.
    pub fn of_nobody(until: Duration) -> Seen {
        Seen { datagrams: Some(Vec::new()), until, ..Seen::default() }
    }

    /// Why the visit did not come to be, or broke off.
    pub fn failure(&self) -> Option<&str> {
        match &self.end {
            End::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// Whether nothing came, neither inside TLS nor over the wire.
    pub fn is_silent(&self) -> bool {
        self.bytes.is_empty()
            && self.tls.as_ref().is_none_or(|tls| tls.flight.is_empty())
            && self.datagrams.as_ref().is_none_or(Vec::is_empty)
    }

    /// What came over the wire in the clear: where there was no handshake, its remains.
    pub fn visible(&self) -> &[u8] {
        match &self.tls {
            Some(Handshake { outcome: Err(_), flight, .. }) => flight,
            _ => &self.bytes,
        }
    }

    pub fn first_byte(&self) -> Option<Duration> {
        self.arrivals.first().map(|&(time, _)| time)
    }

    /// How many bytes had come before a time.
    pub fn length_before(&self, time: Duration) -> usize {
        self.arrivals.iter().take_while(|&&(at, _)| at < time).last().map_or(0, |&(_, length)| length)
    }

    /// The same, had it been watched no longer than until this time.
    pub fn until(&self, time: Duration) -> Seen {
        let mut early = self.clone();
        early.bytes.truncate(self.length_before(time));
        if let Some(datagrams) = &mut early.datagrams {
            datagrams.retain(|(at, _)| *at < time);
        }
        early
    }

    /// Whether the other side ended it in any way.
    pub fn ended(&self) -> bool {
        matches!(self.end, End::Fin | End::Reset)
    }
}
