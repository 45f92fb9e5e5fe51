//! WebSocket on sockets: the stream becomes binary messages, and control frames find their way from
//! the direction in which they come to the one in which they are answered.
//!
//! WebSocket has no half-close: after a close frame neither end sends data. So the close frame comes
//! last, when both directions have ended, and the end of one direction is told by a ping. Its payload
//! is derived from the key of the handshake, so it looks like any other; our own peers know it, shut
//! that direction down and answer with another payload, which tells us that they do. (In Mux.Cool the
//! session's id follows the mark.) All other peers answer as to any ping. Until an answer comes there is
//! nothing to be known: the ping may wait behind bytes that nobody reads yet. After the answer of another peer
//! the direction that is still open is waited for no longer than such do it among themselves, and then the
//! connection is closed:
//!
//! - by a client when nothing has come from the server for [`CLIENT_GRACE`];
//! - by a server when nothing has come from the client for [`SERVER_GRACE`]. Not sooner: v2ray's client
//!   takes the close frame for an error and throws away what it has not passed on by then.

mod accept;
mod framing;
mod keep_alive;
#[cfg(test)]
mod keep_alive_tests;
mod open;
#[cfg(test)]
mod open_tests;
mod packets;
mod protocol;
#[cfg(test)]
mod tests;

pub use super::framing::Event;
pub(super) use accept::accept;
#[cfg(all(feature = "grpc", feature = "server"))]
pub(crate) use accept::accept_extended;
pub use open::WebOpener;
pub use packets::PacketStream;

use super::framed::Framed;
use crate::relay::ProtocolError;
use crate::wire::websocket::{Control, ControlFrame, Decoder, Encoder, Role, close, ping, pong};
use crate::wire::{Decoder as _, FrameSizeError, Step};
use keep_alive::KeepAlive;
use sha1::{Digest as _, Sha1};
use std::time::Duration;
use tokio::time::Instant;

/// How long a client whose application has ended waits for data from a foreign server: v2ray's
/// `downlinkOnly` (v2ray-core 4, `features/policy`).
pub const CLIENT_GRACE: Duration = Duration::from_secs(5);

/// How long a server whose backend has ended waits for data from a foreign client: v2ray's `uplinkOnly`.
pub const SERVER_GRACE: Duration = Duration::from_secs(2);

/// Bytes of the pings' payload.
const MARK: usize = 8;

/// An open connection on its way from one stage to the next.
pub type OpenWebSocket<S> = Framed<S, WebSocket>;

/// A WebSocket connection whose handshake is done: what becomes of the bytes of both directions, and the
/// control frames between them.
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    decoder: Decoder,
    encoder: Encoder,
    /// The payloads of the ping that says the end of a direction, and of the pong that answers it.
    mark: [u8; MARK],
    answer: [u8; MARK],
    /// The pong that is to be sent. One that has not gone out is replaced by a newer one (RFC 6455
    /// section 5.5.3), so a peer that sends pings and reads nothing costs nothing.
    pong: Option<Vec<u8>>,
    state: State,
    peer: Peer,
    /// When this end sends a ping of its own, if it does so while nothing passes.
    keep_alive: Option<KeepAlive>,
}

/// How near the connection is to its close.
///
/// ```text
///         our stream ends           the ping goes out
///  Open ──────────────────► EndDue ──────────────────► EndSent
///    │                        │                           │
///    └────────────────────────┼───────────────────────────┘
///                             │ the peer's close frame, or its end without one;
///                             │ or it says what no peer may say
///                             ▼
///                        Closing(code)
///                             │ our close frame goes out: from here, or from any of the others once
///                             ▼ both directions have ended
///                           Closed
/// ```
///
/// That the peer has ended its direction alone is no state of the connection: it is the end of the flow that
/// comes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Payload goes out.
    Open,
    /// Our direction has ended, and the peer is to be told.
    EndDue,
    /// The peer was told.
    EndSent,
    /// The peer sends nothing more and wants nothing more. Our close frame has this code, if there is a reason
    /// for another than "done".
    Closing(Option<u16>),
    /// Our close frame was sent.
    Closed,
}

/// What the peer has shown that it is; the later says more than the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// Nothing beyond frames.
    Unknown,
    /// It answers pings.
    AnswersPings,
    /// It has answered the end of a direction as any ping.
    IsForeign,
    /// It is one of ours.
    KnowsHalfCloses,
}

impl WebSocket {
    /// A connection whose handshake had this `Sec-WebSocket-Key`.
    pub fn new(role: Role, key: &[u8]) -> WebSocket {
        let mut mark = [0; MARK];
        let mut answer = [0; MARK];
        let digest = Sha1::new().chain_update(key).chain_update(b"half-closed").finalize();
        for (to, from) in mark.iter_mut().chain(&mut answer).zip(digest) {
            *to = from;
        }
        WebSocket {
            role,
            decoder: Decoder::new(role),
            encoder: Encoder::new(role),
            mark,
            answer,
            pong: None,
            state: State::Open,
            peer: Peer::Unknown,
            keep_alive: None,
        }
    }

    /// Has pings [due](Self::ping_due_at) while nothing passes for so long.
    pub fn kept_alive(self, every: Option<Duration>) -> WebSocket {
        WebSocket { keep_alive: every.map(KeepAlive::new), ..self }
    }

    /// Bytes were sent.
    pub fn note_sent(&mut self) {
        if let Some(alive) = &mut self.keep_alive {
            alive.note_sent();
        }
    }

    /// Bytes have come.
    pub fn note_heard(&mut self) {
        if let Some(alive) = &mut self.keep_alive {
            alive.note_heard();
        }
    }

    /// A [ping](Self::ping) was sent.
    pub fn note_asked(&mut self) {
        if let Some(alive) = &mut self.keep_alive {
            alive.note_asked();
        }
    }

    /// There was no need to keep the connection alive until now.
    pub fn begin_silence(&mut self, now: Instant) {
        if let Some(alive) = &mut self.keep_alive {
            alive.begin_anew(now);
        }
    }

    /// When a ping is due, if nothing passes until then.
    pub fn ping_due_at(&self) -> Option<Instant> {
        self.keep_alive.as_ref().filter(|_| !self.peer_has_closed()).map(KeepAlive::due)
    }

    /// Has a ping wait among the [control frames](Self::take_control_frames), as one is due. Returns how long
    /// the peer has been silent at least, if that is so long that the way to it may be dead.
    pub fn reach_ping(&mut self, now: Instant) -> Option<Duration> {
        self.keep_alive.as_mut()?.reach(now)
    }

    /// The next thing in the peer's frames that concerns the stream. Control frames are seen to here.
    ///
    /// # Errors
    ///
    /// The bytes are not what RFC 6455 says; the [close frame](Self::close_frame) tells the peer.
    pub fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Event>, ProtocolError> {
        loop {
            let step = self.decoder.decode(input, at).inspect_err(|error| {
                if self.state != State::Closed {
                    self.state = State::Closing(Some(error.close_code()));
                }
            })?;
            let event = match step {
                Step::NeedMore => return Ok(Step::NeedMore),
                Step::Payload(range) => return Ok(Step::Payload(range)),
                Step::Event(Control::Ping) => self.ping_came(),
                Step::Event(Control::Pong) => {
                    let payload = self.decoder.control();
                    self.peer_knows(if payload.starts_with(&self.answer) {
                        Peer::KnowsHalfCloses
                    } else if payload.starts_with(&self.mark) {
                        Peer::IsForeign
                    } else {
                        Peer::AnswersPings
                    });
                    None
                }
                Step::Event(Control::Close(code)) => {
                    self.closing(code);
                    Some(Event::End)
                }
            };
            if let Some(event) = event {
                return Ok(Step::Event(event));
            }
        }
    }

    /// A ping is answered, and may be the end of something.
    fn ping_came(&mut self) -> Option<Event> {
        let payload = self.decoder.control();
        let Some(session) = payload.strip_prefix(&self.mark) else {
            self.pong = Some(pong(self.role, payload).as_bytes().to_vec());
            return None;
        };
        self.pong = Some(pong(self.role, &[&self.answer, session].concat()).as_bytes().to_vec());
        let event = match *session {
            [] => Some(Event::End),
            [high, low] => Some(Event::SessionEnd(u16::from_be_bytes([high, low]))),
            // It asks whether we are of its kind.
            _ => None,
        };
        self.peer_knows(Peer::KnowsHalfCloses);
        event
    }

    fn peer_knows(&mut self, what: Peer) {
        self.peer = self.peer.max(what);
    }

    fn closing(&mut self, code: Option<u16>) {
        if !matches!(self.state, State::Closing(Some(_)) | State::Closed) {
            self.state = State::Closing(code);
        }
    }

    /// The connection has ended without a close frame. That is the end of both directions: foreign peers close
    /// both at once, ours say so.
    pub fn connection_ended(&mut self) {
        self.closing(None);
    }

    /// Whether the peer has closed the connection, and not only its own direction.
    pub fn peer_has_closed(&self) -> bool {
        matches!(self.state, State::Closing(_) | State::Closed)
    }

    /// The code with which the peer has closed the connection, if it gave one.
    pub fn close_code(&self) -> Option<u16> {
        if let State::Closing(code) = self.state { code } else { None }
    }

    /// A binary message of `frame[Encoder::HEAD..]`, in place. Returns where in `frame` it begins.
    ///
    /// # Errors
    ///
    /// `frame` has no room for the head.
    pub fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        self.encoder.encode_in_place(frame)
    }

    /// The ping that tells a peer of ours that one session of Mux.Cool has ended in this direction.
    pub fn session_end(&self, id: u16) -> ControlFrame {
        ping(self.role, &[&self.mark[..], &id.to_be_bytes()].concat())
    }

    /// The ping that asks whether the peer is one of ours, and says that this end is one. A mark with a single byte behind
    /// it is no end of anything.
    pub fn question(&self) -> ControlFrame {
        ping(self.role, &[&self.mark[..], &[0]].concat())
    }

    /// Whether the peer is known to be one of ours.
    pub fn peer_is_ours(&self) -> bool {
        self.peer == Peer::KnowsHalfCloses
    }

    /// A ping that asks whether the peer is there. It looks like those that say an end, and means nothing.
    pub fn ping(&self) -> ControlFrame {
        loop {
            let payload: [u8; MARK] = rand::random();
            if payload != self.mark {
                return ping(self.role, &payload);
            }
        }
    }

    /// Whether the peer has answered a ping.
    pub fn peer_answers_pings(&self) -> bool {
        self.peer >= Peer::AnswersPings
    }

    /// Whether the peer has shown that it knows no half-closes.
    pub fn peer_is_foreign(&self) -> bool {
        self.peer == Peer::IsForeign
    }

    /// Whether a control frame waits to be sent.
    pub fn has_control_frames(&self) -> bool {
        self.pong.is_some() || self.state == State::EndDue || self.ping_is_due()
    }

    fn ping_is_due(&self) -> bool {
        self.keep_alive.as_ref().is_some_and(|alive| alive.ping_due)
    }

    /// Appends the control frames that wait to be sent.
    pub fn take_control_frames(&mut self, out: &mut Vec<u8>) {
        if let Some(pong) = self.pong.take() {
            out.extend_from_slice(&pong);
        }
        if self.state == State::EndDue {
            self.state = State::EndSent;
            out.extend_from_slice(ping(self.role, &self.mark).as_bytes());
        }
        if self.ping_is_due() {
            out.extend_from_slice(self.ping().as_bytes());
        }
        if let Some(alive) = &mut self.keep_alive {
            alive.ping_due = false;
            alive.note_sent();
        }
    }

    /// The close frame, once. `code` is what it says where nothing else has been the reason.
    pub fn close_frame(&mut self, code: u16) -> Vec<u8> {
        let code = match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => return Vec::new(),
            State::Closing(Some(reason)) => reason,
            _ => code,
        };
        close(self.role, Some(code), "").as_bytes().to_vec()
    }
}
