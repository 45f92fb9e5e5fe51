//! The two ends of a WebSocket connection, in any order of what they say and hear; and an end that hears anything.

use super::pieces::{cuts, pieces};
use obfs_rs::relay::{Pieces, Protocol as _};
use obfs_rs::transport::websocket::{Event, OpenWebSocket, WebSocket};
use obfs_rs::wire::Step;
use obfs_rs::wire::websocket::{Encoder, Role};

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// The most that an end has to say by itself at a time: an answer to a ping, the end of its direction, a ping.
const MOST_CONTROL: usize = 3 * (2 + 4 + 125);

pub fn check(bytes: &[u8]) {
    two_ends(bytes);
    for role in [Role::Client, Role::Server] {
        anything(role, bytes);
    }
}

/// One end, as far as its stream and its bytes on the way to the other are concerned.
struct Side {
    websocket: WebSocket,
    said: Vec<u8>,
    ended: bool,
    wire: Vec<u8>,
    heard: Vec<u8>,
    heard_end: bool,
}

impl Side {
    fn new(role: Role) -> Side {
        let websocket = WebSocket::new(role, KEY);
        Side {
            websocket,
            said: Vec::new(),
            ended: false,
            wire: Vec::new(),
            heard: Vec::new(),
            heard_end: false,
        }
    }

    fn say(&mut self, payload: &[u8]) {
        if self.ended || payload.is_empty() {
            return;
        }
        let (mut input, mut out) = (payload.to_vec(), Pieces::default());
        let direction = self.websocket.encoded();
        let length = self.websocket.forward(direction, &mut input, &mut out).expect("payload is no error");
        assert_eq!(length, payload.len());
        self.wire.extend(out.slices(&input).flatten());
        self.said.extend_from_slice(payload);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let direction = self.websocket.encoded();
            self.websocket.end(direction).expect("it may end anywhere");
        }
    }

    fn answer(&mut self) {
        let (mut out, waits) = (Vec::new(), self.websocket.has_control_frames());
        self.websocket.take_control_frames(&mut out);
        assert!(waits != out.is_empty() && out.len() <= MOST_CONTROL);
        assert!(!self.websocket.has_control_frames());
        self.wire.extend(out);
    }

    fn hear(&mut self, frames: &mut [u8]) {
        let mut at = 0;
        loop {
            match self.websocket.decode(frames, &mut at).expect("the other end is one of ours") {
                Step::NeedMore => break,
                Step::Payload(range) => {
                    assert!(!self.heard_end, "payload behind the end");
                    self.heard.extend_from_slice(&frames[range]);
                }
                Step::Event(Event::End) => self.heard_end = true,
                Step::Event(Event::SessionEnd(id)) => assert_eq!(id, 7),
            }
        }
        assert_eq!(at, frames.len());
    }
}

/// What one end says the other hears, all of it and nothing else, and each learns that the other has ended.
fn two_ends(mut script: &[u8]) {
    let mut sides = [Side::new(Role::Client), Side::new(Role::Server)];
    while let [what, rest @ ..] = script {
        script = rest;
        let [one, other] = &mut sides;
        let (near, far) = if what & 1 == 0 { (one, other) } else { (other, one) };
        let count = usize::from(what >> 4);
        match what >> 1 & 7 {
            0 | 1 => {
                let (payload, rest) = script.split_at(script.len().min(count * count));
                near.say(payload);
                script = rest;
            }
            2..=4 => {
                let mut piece: Vec<u8> =
                    near.wire.drain(..near.wire.len().min(count * count + count)).collect();
                far.hear(&mut piece);
            }
            5 => near.answer(),
            // Both mean nothing to a bare stream.
            6 if count < 8 => near.wire.extend_from_slice(near.websocket.ping().as_bytes()),
            6 => near.wire.extend_from_slice(near.websocket.session_end(7).as_bytes()),
            _ => near.end(),
        }
    }
    sides.iter_mut().for_each(Side::end);
    // An answer to the end may be one more.
    for _ in 0..6 {
        let [near, far] = &mut sides;
        near.answer();
        far.hear(&mut std::mem::take(&mut near.wire));
        sides.reverse();
    }
    let [one, other] = &sides;
    for (near, far) in [(one, other), (other, one)] {
        assert_eq!(near.said, far.heard);
        assert!(far.heard_end && !far.websocket.peer_is_foreign() && !far.websocket.peer_has_closed());
    }
    let [one, other] = &mut sides;
    let mut last = one.websocket.close_frame(1000);
    other.hear(&mut last);
    assert!(other.websocket.peer_has_closed() && one.websocket.close_frame(1000).is_empty());
}

/// An end that hears anything holds no more than one answer, and hears the same in any pieces.
fn anything(role: Role, bytes: &[u8]) {
    let hear = |ends: &[usize]| {
        let mut open = OpenWebSocket::new((), WebSocket::new(role, KEY), Vec::new());
        for piece in pieces(bytes, ends) {
            open.take(&mut piece.to_vec());
            let mut out = Vec::new();
            open.framing.take_control_frames(&mut out);
            assert!(out.len() <= MOST_CONTROL);
        }
        let received = open.received;
        assert!(received.payload.len() <= bytes.len());
        assert!(received.session_ends.iter().all(|&(at, _)| at <= received.payload.len()));
        assert!(received.first_message.is_none_or(|at| at <= received.payload.len()));
        let end = received.end_seen.map(|end| format!("{end:?}"));
        (received.payload, received.session_ends, received.first_message, end)
    };
    let whole = hear(&[bytes.len()]);
    for ends in cuts(bytes) {
        assert_eq!(hear(&ends), whole);
    }
    // A message of our own, in place.
    let mut frame = [&[0; Encoder::HEAD][..], bytes].concat();
    let start = WebSocket::new(role, KEY).encode_in_place(&mut frame).expect("room for a head");
    assert!(start < Encoder::HEAD);
}
