//! WebSocket on sockets: the stream becomes binary messages, and control frames find their way from
//! the direction in which they come to the one in which they are answered.
//!
//! WebSocket has no half-close: after a close frame neither end sends data. So the close frame comes
//! last, when both directions have ended, and the end of one direction is told by a ping. Its payload
//! is derived from the key of the handshake, so it looks like any other; our own peers know it, shut
//! that direction down and answer with another payload, which tells us that they do. (In Mux.Cool the
//! session's id follows the mark.) All other peers answer as to any ping. With these the direction that
//! is still open is waited for no longer than they do it among themselves, and then the connection is
//! closed:
//!
//! - by a client when nothing has come from the server for [`CLIENT_GRACE`];
//! - by a server when nothing has come from the client for [`SERVER_GRACE`]. Not sooner: v2ray's client
//!   takes the close frame for an error and throws away what it has not passed on by then.

mod accept;
mod handoff;

pub(super) use accept::accept;
pub use handoff::{Handoff, Received};

use crate::relay::{Codec, CodecError, Pieces};
use crate::wire::websocket::{
    CLOSE_NORMAL, Control, ControlFrame, Decoder, Encoder, Role, close, ping, pong,
};
use crate::wire::{Decoder as _, Encoder as _, FrameSizeError, Step};
use sha1::{Digest as _, Sha1};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a client whose application has ended waits for data from a foreign server: v2ray's
/// `downlinkOnly` (v2ray-core 4, `features/policy`).
pub const CLIENT_GRACE: Duration = Duration::from_secs(5);

/// How long a server whose backend has ended waits for data from a foreign client: v2ray's `uplinkOnly`.
pub const SERVER_GRACE: Duration = Duration::from_secs(2);

/// Bytes of the pings' payload.
const MARK: usize = 8;

/// What both directions know of one another.
#[derive(Debug)]
struct Talk {
    role: Role,
    /// Whether there is something to be said, so that nobody takes the lock to find that out.
    urgent: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The payloads of the ping that says the end of a direction, and of the pong that answers it.
    mark: [u8; MARK],
    answer: [u8; MARK],
    /// Control frames to be sent. A pong that has not gone out is replaced by a newer one (RFC 6455
    /// section 5.5.3), so a peer that sends pings and reads nothing costs nothing.
    pong: Option<Vec<u8>>,
    end_due: bool,
    /// The peer has said that it knows half-closes.
    peer_is_ours: bool,
    /// The code of our close frame, where there is a reason for another than "done".
    code: Option<u16>,
    /// The peer has closed.
    closed: bool,
    said_close: bool,
    /// The peer has answered a ping.
    pong_came: bool,
}

impl Talk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two directions of a WebSocket connection whose handshake had this `Sec-WebSocket-Key`.
pub fn directions(role: Role, key: &[u8]) -> (Receive, Send) {
    let mut mark = [0; MARK];
    let mut answer = [0; MARK];
    let digest = Sha1::new().chain_update(key).chain_update(b"half-closed").finalize();
    for (to, from) in mark.iter_mut().chain(&mut answer).zip(digest) {
        *to = from;
    }
    let talk = Arc::new(Talk {
        role,
        urgent: AtomicBool::new(false),
        state: Mutex::new(State {
            mark,
            answer,
            pong: None,
            end_due: false,
            peer_is_ours: false,
            code: None,
            closed: false,
            said_close: false,
            pong_came: false,
        }),
    });
    let receive = Receive { decoder: Decoder::new(role), talk: Arc::clone(&talk) };
    (receive, Send { encoder: Encoder::new(role), talk })
}

/// Frames from the peer become payload.
#[derive(Debug)]
pub struct Receive {
    decoder: Decoder,
    talk: Arc<Talk>,
}

impl Receive {
    /// The connection has ended, with a close frame or without. That is the end of both directions:
    /// foreign peers close both at once, ours say so.
    pub fn connection_ended(&mut self) {
        self.talk.lock().closed = true;
    }

    /// Whether the peer has closed the connection, and not only its own direction.
    pub fn has_closed(&self) -> bool {
        self.talk.lock().closed
    }

    /// The next thing that concerns the stream. Control frames are seen to here.
    ///
    /// # Errors
    ///
    /// The bytes are not what RFC 6455 says; [`Send::last_words`] tells the peer.
    pub fn step(&mut self, input: &mut [u8], at: &mut usize) -> Result<Found, CodecError> {
        loop {
            let step = self.decoder.decode(input, at).inspect_err(|error| {
                self.talk.lock().code = Some(error.close_code());
            })?;
            match step {
                Step::NeedMore => return Ok(Found::NeedMore),
                Step::Payload(range) => return Ok(Found::Data(range)),
                Step::Event(Control::Ping) => {
                    let mut state = self.talk.lock();
                    let payload = self.decoder.control();
                    let ended = payload.strip_prefix(&state.mark);
                    let answer = match ended {
                        Some(session) => [&state.answer, session].concat(),
                        None => payload.to_vec(),
                    };
                    state.pong = Some(pong(self.talk.role, &answer).as_bytes().to_vec());
                    self.talk.urgent.store(true, Ordering::Release);
                    match ended {
                        Some([]) => {
                            state.peer_is_ours = true;
                            return Ok(Found::End);
                        }
                        Some([high, low]) => {
                            state.peer_is_ours = true;
                            return Ok(Found::SessionEnd(u16::from_be_bytes([*high, *low])));
                        }
                        _ => {}
                    }
                }
                Step::Event(Control::Pong) => {
                    let mut state = self.talk.lock();
                    state.pong_came = true;
                    let payload = self.decoder.control();
                    if payload.starts_with(&state.answer) {
                        state.peer_is_ours = true;
                    }
                }
                Step::Event(Control::Close(code)) => {
                    let mut state = self.talk.lock();
                    state.closed = true;
                    state.code = state.code.or(code);
                    return Ok(Found::End);
                }
            }
        }
    }
}

/// What a step has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// All of the input is used.
    NeedMore,
    /// Payload, where it is in the input.
    Data(std::ops::Range<usize>),
    /// The peer sends nothing more.
    End,
    /// The peer sends nothing more in this session of Mux.Cool.
    SessionEnd(u16),
}

impl Codec for Receive {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        let (mut at, mut payload_len) = (0, 0);
        loop {
            match self.step(input, &mut at)? {
                Found::Data(range) => {
                    payload_len += range.len();
                    out.input(range);
                }
                Found::SessionEnd(_) => {}
                Found::NeedMore => return Ok(payload_len),
                Found::End => {
                    out.finish();
                    return Ok(payload_len);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), CodecError> {
        self.connection_ended();
        Ok(())
    }

    fn ends_both(&self) -> bool {
        self.has_closed()
    }
}

/// Payload becomes frames, one of each piece that is read.
#[derive(Debug)]
pub struct Send {
    encoder: Encoder,
    talk: Arc<Talk>,
}

impl Send {
    /// The head of a frame around `payload`, which is masked where this end masks.
    pub fn head(&mut self, payload: &mut [u8], out: &mut Vec<u8>) {
        self.encoder.encode(payload, out);
    }

    /// A binary message of `frame[Encoder::HEAD..]`, in place. Returns where in `frame` it begins.
    ///
    /// # Errors
    ///
    /// `frame` has no room for the head.
    pub fn encode(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        self.encoder.encode_in_place(frame)
    }

    /// The ping that tells a peer of ours that one session of Mux.Cool has ended in this direction.
    pub fn session_end(&self, id: u16) -> ControlFrame {
        let mark = self.talk.lock().mark;
        ping(self.talk.role, &[&mark[..], &id.to_be_bytes()].concat())
    }

    /// A ping that asks whether the peer is there. It looks like those that say an end, and means nothing.
    pub fn ping(&self) -> ControlFrame {
        let mark = self.talk.lock().mark;
        loop {
            let payload: [u8; MARK] = rand::random();
            if payload != mark {
                return ping(self.talk.role, &payload);
            }
        }
    }

    /// Whether the peer has answered a ping.
    pub fn pong_came(&self) -> bool {
        self.talk.lock().pong_came
    }

    /// Whether the peer has shown that it knows half-closes.
    pub fn peer_is_ours(&self) -> bool {
        self.talk.lock().peer_is_ours
    }

    /// Whether a control frame waits to be sent.
    pub fn is_urgent(&self) -> bool {
        self.talk.urgent.load(Ordering::Acquire)
    }

    /// Appends the control frames that wait to be sent.
    pub fn urgent(&mut self, out: &mut Vec<u8>) {
        self.talk.urgent.store(false, Ordering::Release);
        let mut state = self.talk.lock();
        if let Some(pong) = state.pong.take() {
            out.extend_from_slice(&pong);
        }
        if std::mem::take(&mut state.end_due) {
            out.extend_from_slice(ping(self.talk.role, &state.mark).as_bytes());
        }
    }

    /// The close frame, once. `code` is what it says where nothing else has been the reason.
    pub fn close(&mut self, code: u16) -> Vec<u8> {
        let mut state = self.talk.lock();
        if std::mem::replace(&mut state.said_close, true) {
            return Vec::new();
        }
        let code = state.code.unwrap_or(code);
        close(self.talk.role, Some(code), "").as_bytes().to_vec()
    }
}

impl Codec for Send {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        out.head(|head| self.encoder.encode(input, head));
        out.input(0..input.len());
        Ok(input.len())
    }

    fn end(&mut self) -> Result<(), CodecError> {
        self.talk.lock().end_due = true;
        self.talk.urgent.store(true, Ordering::Release);
        Ok(())
    }

    fn wants_to_speak(&self) -> bool {
        self.is_urgent()
    }

    fn interject(&mut self, out: &mut Vec<u8>) -> usize {
        self.urgent(out);
        0
    }

    fn says_end(&self) -> bool {
        true
    }

    fn grace(&self) -> Option<Duration> {
        match (self.talk.lock().peer_is_ours, self.talk.role) {
            (true, _) => None,
            (false, Role::Client) => Some(CLIENT_GRACE),
            (false, Role::Server) => Some(SERVER_GRACE),
        }
    }

    fn last_words(&mut self) -> Option<Vec<u8>> {
        Some(self.close(CLOSE_NORMAL))
    }
}
