//! Whatever the pieces in which frames are read, the next stage gets the same.

use super::*;
use crate::relay::EndSeen;
use crate::transport::framed::Received;
use crate::wire::websocket::{Role, mask};
use proptest::prelude::*;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// What a client says.
#[derive(Debug, Clone)]
enum Word {
    /// A message in these fragments.
    Message(Vec<Vec<u8>>),
    Ping,
    SessionEnd(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    None,
    HalfClose,
    Close,
    Garbage,
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut masked = payload.to_vec();
    mask(key, &mut masked);
    [&[first, 0x80 | payload.len() as u8][..], &key, &masked].concat()
}

fn mark(handoff: &OpenWebSocket<()>) -> Vec<u8> {
    handoff.framing.mark.to_vec()
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let fragments = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 1..4);
    let word = prop_oneof![
        4 => fragments.prop_map(Word::Message),
        1 => Just(Word::Ping),
        1 => any::<u16>().prop_map(Word::SessionEnd),
    ];
    prop::collection::vec(word, 0..8)
}

fn endings() -> impl Strategy<Value = Ending> {
    prop::sample::select(vec![Ending::None, Ending::HalfClose, Ending::Close, Ending::Garbage])
}

proptest! {
    #[test]
    fn nothing_is_lost_nor_swapped_whatever_the_pieces(
        early in prop::collection::vec(any::<u8>(), 0..4),
        words in words(),
        ending in endings(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let fresh = || OpenWebSocket::new((), WebSocket::new(Role::Server, KEY), early.clone());
        let mark = mark(&fresh());
        let mut bytes = Vec::new();
        let (mut payload, mut session_ends, mut first_message) = (early.clone(), Vec::new(), None);
        for word in &words {
            match word {
                Word::Message(fragments) => {
                    let before = payload.len();
                    for (index, fragment) in fragments.iter().enumerate() {
                        let fin = if index + 1 == fragments.len() { 0x80 } else { 0 };
                        bytes.extend(frame(fin | if index == 0 { 2 } else { 0 }, fragment));
                        payload.extend(fragment);
                        // Control frames may stand between the fragments of a message.
                        bytes.extend(frame(0x8a, b"x"));
                    }
                    if payload.len() > before {
                        first_message.get_or_insert(payload.len());
                    }
                }
                Word::Ping => bytes.extend(frame(0x89, b"are you there?")),
                Word::SessionEnd(id) => {
                    bytes.extend(frame(0x89, &[&mark[..], &id.to_be_bytes()].concat()));
                    session_ends.push((payload.len(), *id));
                }
            }
        }
        match ending {
            Ending::None => {}
            Ending::HalfClose => bytes.extend(frame(0x89, &mark)),
            Ending::Close => bytes.extend(frame(0x88, &1000_u16.to_be_bytes())),
            Ending::Garbage => bytes.extend([0xc2, 0x80, 0, 0, 0, 0]),
        }
        if ending != Ending::None {
            // What follows an end is void.
            bytes.extend(frame(0x82, b"more"));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut handoff = fresh();
        for piece in cuts.windows(2) {
            handoff.take(&mut bytes[piece[0]..piece[1]].to_vec());
        }
        let Received { payload: got, session_ends: ends, end_seen, first_message: first, .. } =
            handoff.received;
        prop_assert_eq!(got, payload);
        prop_assert_eq!(ends, session_ends);
        prop_assert_eq!(first, first_message);
        let end = match end_seen {
            None => Ending::None,
            Some(EndSeen::Closed) if handoff.framing.peer_has_closed() => Ending::Close,
            Some(EndSeen::Closed) => Ending::HalfClose,
            Some(EndSeen::Malformed(_)) => Ending::Garbage,
            Some(EndSeen::Broken(error)) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert_eq!(end, ending);
    }
}
