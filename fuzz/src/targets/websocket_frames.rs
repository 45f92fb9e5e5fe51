//! WebSocket frames of either role: what is found in them does not depend on their pieces, and what we write is read.

use super::pieces::{Decoded, Numbers, cuts, decode};
use obfs_rs::wire::websocket::{
    CONTROL_PAYLOAD, Control, Decoder, Encoder, Error, Role, close, frame_in_place, ping, pong,
};

/// What comes in frames: payload, and control frames with theirs.
type Found = Decoded<(Control, Vec<u8>), Error>;

fn read(role: Role, bytes: &[u8], ends: &[usize]) -> Found {
    decode(Decoder::new(role), bytes, ends, |decoder, control| {
        assert!(decoder.control().len() <= CONTROL_PAYLOAD);
        (control, decoder.control().to_vec())
    })
}

pub fn check(bytes: &[u8]) {
    assert!(
        size_of::<Decoder>() <= 256,
        "a decoder holds no more than the head of a frame and a control frame"
    );
    for role in [Role::Client, Role::Server] {
        let whole = read(role, bytes, &[bytes.len()]);
        for ends in cuts(bytes) {
            assert_eq!(read(role, bytes, &ends), whole);
        }
        assert!(whole.payload.len() <= bytes.len());
        for (control, payload) in whole.events.iter().map(|(_, event)| event) {
            if let Control::Close(code) = control {
                assert_eq!(code.is_some(), payload.len() >= 2);
                assert!(code.is_none_or(|code| (1000..5000).contains(&code)));
            }
        }
        let closes = whole.events.iter().filter(|(_, (control, _))| matches!(control, Control::Close(_)));
        assert!(closes.count() <= 1, "what follows a close frame is void");
    }
    written(bytes);
}

/// The bytes as payload, in messages and with control frames between them, both ways.
fn written(payload: &[u8]) {
    for (sender, receiver) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let mut numbers = Numbers::new(payload);
        let (mut stream, mut events, mut rest, mut sent) = (Vec::new(), Vec::new(), payload, 0);
        while !rest.is_empty() && events.len() < 64 {
            let (piece, behind) = rest.split_at(1 + numbers.below(rest.len()));
            let mut frame = [&[0xee; Encoder::HEAD][..], piece].concat();
            let key = (numbers.below(1 << 32) as u32).to_be_bytes();
            let start =
                frame_in_place(&mut frame, (sender == Role::Client).then_some(key)).expect("room for a head");
            stream.extend_from_slice(&frame[start..]);
            sent += piece.len();
            let word = &piece[..piece.len().min(CONTROL_PAYLOAD)];
            let (control, frame) = match numbers.below(3) {
                0 => (Control::Ping, ping(sender, piece)),
                _ => (Control::Pong, pong(sender, piece)),
            };
            stream.extend_from_slice(frame.as_bytes());
            events.push((sent, (control, word.to_vec())));
            rest = behind;
        }
        let reason = String::from_utf8_lossy(payload);
        stream.extend_from_slice(close(sender, Some(1000), &reason).as_bytes());
        for ends in cuts(&stream) {
            let mut found = read(receiver, &stream, &ends);
            let (at, (control, said)) = found.events.pop().expect("the close frame");
            assert_eq!(
                (at, control, &said[..2]),
                (sent, Control::Close(Some(1000)), &1000_u16.to_be_bytes()[..])
            );
            assert!(reason.as_bytes().starts_with(&said[2..]));
            assert_eq!((&found.payload[..], &found.events, found.error), (&payload[..sent], &events, None));
        }
    }
}
