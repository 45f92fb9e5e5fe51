//! A probe played on a connection, and what is seen of it.

use super::quic::{self, Terms};
use super::script::{Action, Entry, Probe};
use super::seen::{End, Seen};
use super::tls::Layer;
use super::tls_answer;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a connection may take to be there.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read.
pub const MAX_ANSWER: usize = 256 * 1024;

/// However much comes, and however slowly: a connection is watched no longer than this behind its
/// pauses, and the time for which nothing has to happen.
pub const LONGEST: Duration = Duration::from_secs(15);

/// An answer has come to its end when nothing more of it came for so long…
const LULL: Duration = Duration::from_millis(250);

/// …and is not waited for any longer than this.
const NO_ANSWER: Duration = Duration::from_secs(3);

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// How much of what is sent is kept, to find the session id in it.
const SAID: usize = 128;

/// Plays a probe: speaks and listens at the same time, until the other side ends the connection, or
/// nothing has happened on it for `watch`.
pub async fn play(address: SocketAddr, probe: &Probe, server_name: Option<&str>, watch: Duration) -> Seen {
    let longest = probe.pauses() + LONGEST + watch;
    let layer = match &probe.entry {
        Entry::Udp(visit) => {
            return quic::play(address, probe, visit, &Terms { server_name, watch, longest }).await;
        }
        Entry::Wire => None,
        Entry::Handshake(offer) | Entry::Inside(offer) => match Layer::new(offer, server_name) {
            Ok(layer) => Some(layer),
            Err(error) => return Seen::failed(error.to_string()),
        },
    };
    let tcp = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Seen::failed(reason(&error)),
        Err(_) => return Seen::failed("no connection in time"),
    };
    // What is said in pieces has to leave in pieces.
    let _ = tcp.set_nodelay(true);
    let now = Instant::now();
    let visit = Visit {
        tcp,
        layer,
        about_handshake: matches!(probe.entry, Entry::Handshake(_)),
        steps: probe.steps.iter(),
        next: Next::Due(now),
        out: Vec::new(),
        fin: false,
        said: Vec::new(),
        began: now,
        deadline: now + longest,
        last_arrival: now,
        watch,
        seen: Seen::default(),
    };
    visit.run().await
}

/// Why there was no connection, in the words of the system.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// What is done next.
enum Next {
    /// The next step, at this time.
    Due(Instant),
    /// Nothing before an answer has come: since when, and how many bytes were there then.
    Answered(Instant, usize),
    /// Nothing more, since then.
    Over(Instant),
    /// Nothing, not even to listen.
    Left,
}

struct Visit<'a> {
    tcp: TcpStream,
    layer: Option<Layer>,
    about_handshake: bool,
    steps: std::slice::Iter<'a, Action>,
    next: Next,
    /// What is still to be sent, and whether our direction ends behind it.
    out: Vec<u8>,
    fin: bool,
    /// The first bytes that were sent.
    said: Vec<u8>,
    began: Instant,
    deadline: Instant,
    last_arrival: Instant,
    watch: Duration,
    seen: Seen,
}

impl Visit<'_> {
    async fn run(mut self) -> Seen {
        let end = loop {
            self.advance();
            if matches!(self.next, Next::Left) {
                break End::Left;
            }
            let wake = self.wake();
            tokio::select! {
                ready = self.tcp.readable() => {
                    let end = match ready {
                        Ok(()) => self.read(),
                        Err(error) => Some(ended_by(&error)),
                    };
                    if let Some(end) = end {
                        break end;
                    }
                }
                _ = self.tcp.writable(), if !self.out.is_empty() => self.write(),
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= self.deadline || now >= self.quiet_at() {
                        break End::Open;
                    }
                }
            }
        };
        let mut seen = self.seen;
        seen.end = end;
        seen.until = self.began.elapsed();
        seen.session_id = tls_answer::session_id_of(&self.said).to_vec();
        seen.tls = self.layer.map(|layer| layer.seen(self.about_handshake));
        seen
    }

    /// When it has been quiet for long enough.
    fn quiet_at(&self) -> Instant {
        match self.next {
            Next::Over(since) => since.max(self.last_arrival) + self.watch,
            // The other side does not take what is said, or go on with the handshake.
            _ if !self.out.is_empty() || self.is_waiting_for_tls() => self.last_arrival + self.watch,
            _ => self.deadline,
        }
    }

    fn is_waiting_for_tls(&self) -> bool {
        self.layer.as_ref().is_some_and(|layer| !layer.is_open())
    }

    /// When there is something to do even if nothing comes.
    fn wake(&self) -> Instant {
        let next = match self.next {
            _ if !self.out.is_empty() || self.is_waiting_for_tls() => self.deadline,
            Next::Due(time) => time,
            Next::Answered(since, had) if self.seen.bytes.len() > had => {
                (self.last_arrival + LULL).min(since + NO_ANSWER)
            }
            Next::Answered(since, _) => since + NO_ANSWER,
            Next::Over(_) | Next::Left => self.deadline,
        };
        next.min(self.quiet_at()).min(self.deadline)
    }

    /// Does what is to be done by now.
    fn advance(&mut self) {
        if let Some(layer) = &mut self.layer {
            layer.take_wire(&mut self.out);
            if layer.has_failed() && !matches!(self.next, Next::Over(_)) {
                self.next = Next::Over(Instant::now());
            }
        }
        while self.out.is_empty() && !self.is_waiting_for_tls() {
            let now = Instant::now();
            if std::mem::take(&mut self.fin) {
                let _ = socket2::SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write);
            }
            match self.next {
                Next::Due(time) if time <= now => self.step(now),
                Next::Answered(..) if self.wake() <= now => {
                    self.seen.marks.push(self.seen.bytes.len());
                    self.next = Next::Due(now);
                }
                _ => break,
            }
        }
    }

    fn step(&mut self, now: Instant) {
        match self.steps.next() {
            None => self.next = Next::Over(now),
            Some(Action::Leave) => self.next = Next::Left,
            Some(Action::Pause(length)) => self.next = Next::Due(now + *length),
            Some(Action::Listen) => self.next = Next::Answered(now, self.seen.bytes.len()),
            Some(Action::Send(bytes)) => match &mut self.layer {
                None => self.out.extend_from_slice(bytes),
                Some(layer) => {
                    layer.say(bytes);
                    layer.take_wire(&mut self.out);
                }
            },
            Some(Action::Fin) => {
                if let Some(layer) = &mut self.layer {
                    layer.close();
                    layer.take_wire(&mut self.out);
                }
                self.fin = true;
            }
        }
    }

    fn write(&mut self) {
        match self.tcp.try_write(&self.out) {
            Ok(sent) => {
                let room = SAID.saturating_sub(self.said.len());
                self.said.extend(self.out.drain(..sent).take(room));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                // Nothing more can be said; how it ended, the reader sees.
                self.out.clear();
                self.steps = [].iter();
                self.next = Next::Over(Instant::now());
            }
        }
    }

    /// Reads what is there; the end, if it has come.
    fn read(&mut self) -> Option<End> {
        let mut buffer = [0; CHUNK];
        let read = match self.tcp.try_read(&mut buffer) {
            Ok(0) => return Some(End::Fin),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(ended_by(&error)),
        };
        self.last_arrival = Instant::now();
        let had = self.seen.bytes.len();
        match &mut self.layer {
            None => self.seen.bytes.extend_from_slice(read),
            Some(layer) => layer.receive(read, &mut self.seen.bytes),
        }
        if self.seen.bytes.len() > had {
            let length = self.seen.bytes.len().min(MAX_ANSWER);
            self.seen.arrivals.push((self.began.elapsed(), length));
        }
        if self.seen.bytes.len() > MAX_ANSWER {
            self.seen.bytes.truncate(MAX_ANSWER);
            return Some(End::Unread);
        }
        None
    }
}

fn ended_by(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            End::Reset
        }
        _ => End::Failed(error.to_string()),
    }
}
