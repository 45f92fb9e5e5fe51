//! What is told of one connection: a line in the log, and one in the access log.

use super::access_log::{self, Line};
use crate::metrics::{self, Direction, Flow, Open, TunnelEnd, TunnelKind};
use crate::net::conn_info::ConnInfo;
use crate::relay::{End, Outcome, Side};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// What a connection turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has not been found out.
    Unknown,
    /// A tunnel, or what is counted as one.
    Tunnel(TunnelKind),
    /// A WebSocket connection that carries sessions of Mux.Cool.
    Mux,
    /// A visitor of the website.
    Visitor,
}

impl Kind {
    /// A session in a connection that carries several.
    pub const SESSION: Kind = Kind::Tunnel(TunnelKind::Session);
    /// What one source says over UDP.
    pub const UDP: Kind = Kind::Tunnel(TunnelKind::Udp);

    /// What the log says has ended.
    const fn event(self) -> &'static str {
        match self {
            Kind::Unknown => "connection",
            Kind::SESSION => "session",
            Kind::UDP => "UDP session",
            Kind::Tunnel(_) | Kind::Mux => "tunnel",
            Kind::Visitor => "visitor",
        }
    }

    /// Its name in the access log.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Unknown => "unknown",
            Kind::Tunnel(kind) => kind.name(),
            Kind::Mux => "mux",
            Kind::Visitor => "visitor",
        }
    }
}

/// Which path an HTTP request asks for. The path itself may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathClass {
    /// The one that is set.
    Ours,
    /// One of several, where any is taken.
    Any,
    /// Another one.
    Other,
}

impl PathClass {
    const fn name(self) -> &'static str {
        match self {
            PathClass::Ours => "ours",
            PathClass::Any => "any",
            PathClass::Other => "other",
        }
    }
}

/// Where a connection went.
#[derive(Debug, Clone)]
pub struct Target {
    /// As what it stands in the options: `backend`, `server`, `failover`, `failover-tls`, `sni`, ...
    pub role: &'static str,
    /// Its address; or, of what is served from here, what it is.
    pub address: Arc<str>,
}

/// What a website of our own has done for a visitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// How many requests it has answered.
    pub requests: u64,
    /// Bytes from the visitor.
    pub up: u64,
    /// Bytes to it.
    pub down: u64,
}

/// What is known of a connection, from its beginning to its end. Each has one line in the access log: also one that
/// breaks off because the process ends or the code has a fault.
#[derive(Debug)]
pub struct Record {
    /// Where it came from, and through whom.
    pub info: ConnInfo,
    /// When it came.
    pub began: Instant,
    /// What it is.
    pub kind: Kind,
    /// Whether it came in TLS that ended here.
    pub tls: bool,
    /// For which path it asked.
    pub path: Option<PathClass>,
    /// Where it went.
    pub target: Option<Target>,
    /// Counted as long as it stands.
    open: Option<Open>,
    is_told: bool,
}

impl Record {
    /// Of a connection that has just come.
    pub fn new(info: ConnInfo) -> Record {
        Record::of(Kind::Unknown, info, Instant::now())
    }

    /// Of one of which it is known what it is.
    pub fn of(kind: Kind, info: ConnInfo, began: Instant) -> Record {
        Record { info, began, kind, tls: false, path: None, target: None, open: None, is_told: false }
    }

    /// It goes there.
    pub fn to(mut self, target: Target) -> Record {
        self.target = Some(target);
        self
    }

    /// It was not accepted but made here, or another record goes on with it: it has no line in the access log.
    pub fn unlisted(mut self) -> Record {
        self.is_told = true;
        self
    }

    /// A tunnel, or a connection for sessions, stands, so long after it was asked for.
    pub fn stands(&mut self, took: Duration) {
        self.open = match self.kind {
            // Which is counted where its packets are.
            Kind::UDP => None,
            Kind::Tunnel(kind) => Some(metrics::tunnel_opened(kind, took)),
            Kind::Mux => Some(metrics::mux_connection_opened(took)),
            Kind::Unknown | Kind::Visitor => None,
        };
    }

    /// It was joined to something else, and has ended.
    pub fn ended(mut self, Outcome { up, down, end, .. }: &Outcome) {
        self.note_outage(*down, end);
        self.log_end(*up, *down, end);
        let counted = match end {
            End::Closed => Some(TunnelEnd::Closed),
            End::Reset(..) => Some(TunnelEnd::Reset),
            End::Idle(_) => Some(TunnelEnd::Idle),
            End::Stalled(_) => Some(TunnelEnd::Stalled),
            End::Malformed(..) => Some(TunnelEnd::Malformed),
            End::HandedOff => None,
        };
        let cause = (!matches!(end, End::Closed | End::HandedOff)).then_some(end as &dyn Display);
        let name = counted.map_or("handed off", TunnelEnd::name);
        if let Some(end) = counted.filter(|_| matches!(self.kind, Kind::Tunnel(_))) {
            metrics::tunnel_ended(end);
        }
        self.tell(Some((*up, *down)), None, name, cause);
    }

    /// A client whose tunnels are all reset before anything comes through them learns that of the log: the server
    /// grants them, so it seems that Shadowsocks behind it does not answer. A single one says little; what it was
    /// for may not have answered either.
    fn note_outage(&self, down: u64, end: &End) {
        /// So many in a row are no chance.
        const MANY: u32 = 3;
        static IN_A_ROW: AtomicU32 = AtomicU32::new(0);
        let Some(server) = self.target.as_ref().filter(|target| target.role == "server") else { return };
        match end {
            _ if down > 0 => IN_A_ROW.store(0, Ordering::Relaxed),
            // (a custom error was told where it came from)
            End::Reset(Side::Dialled, error)
                if error.get_ref().is_none() && IN_A_ROW.fetch_add(1, Ordering::Relaxed) + 1 == MANY =>
            {
                warn!(
                    server = &*server.address,
                    "the server grants tunnels and resets them before anything comes through, {MANY} in a row: does \
                     Shadowsocks answer behind it?"
                );
            }
            _ => {}
        }
    }

    /// A website of our own has answered it.
    pub fn answered(mut self, Answered { requests, up, down }: Answered) {
        debug!(peer = %self.info, requests, up, down, "visitor of our own website");
        metrics::moved(Flow::Visitor, Direction::Up, up);
        metrics::moved(Flow::Visitor, Direction::Down, down);
        self.tell(Some((up, down)), Some(requests), "closed", None);
    }

    /// It breaks off, because the process ends or the code has a fault, after so many bytes up and down.
    pub fn cut(mut self, bytes: (u64, u64)) {
        self.tell_cut(Some(bytes));
    }

    fn tell_cut(&mut self, bytes: Option<(u64, u64)>) {
        let cause = if std::thread::panicking() { "a fault in this program" } else { "the process ends" };
        self.tell(bytes, None, "cut", Some(&cause));
    }

    /// Nothing came of it: `end` in a word, and why.
    pub fn failed(mut self, end: &'static str, cause: &dyn Display) {
        self.tell(None, None, end, Some(cause));
    }

    fn log_end(&self, up: u64, down: u64, end: &End) {
        let (peer, kind, what) = (&self.info, self.kind.name(), self.kind.event());
        let seconds = format_args!("{:.3}", self.began.elapsed().as_secs_f64()).to_string();
        match end {
            // Somebody has set something up wrongly: this is to be seen without asking for it.
            End::Malformed(..) => warn!(%peer, up, down, seconds, kind, %end, "{what} ended"),
            _ => debug!(%peer, up, down, seconds, kind, %end, "{what} ended"),
        }
    }

    fn tell(
        &mut self,
        bytes: Option<(u64, u64)>,
        requests: Option<u64>,
        end: &'static str,
        cause: Option<&dyn Display>,
    ) {
        if std::mem::replace(&mut self.is_told, true) || !access_log::is_on() {
            return;
        }
        let (from, via) = self.info.from_and_via();
        access_log::write(&Line {
            after: self.began.elapsed(),
            from,
            via,
            kind: self.kind.name(),
            tls: self.tls,
            path: self.path.map(PathClass::name),
            to: self.target.as_ref().map(|target| target.role),
            address: self.target.as_ref().map(|target| &*target.address),
            up: bytes.map(|(up, _)| up),
            down: bytes.map(|(_, down)| down),
            requests,
            end,
            cause: cause.map(ToString::to_string),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.tell_cut(None);
    }
}
