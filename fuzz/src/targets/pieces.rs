//! The pieces in which bytes come.

use obfs_rs::wire::{Decoder, Step};
use std::fmt::Debug;

/// The most pieces into which bytes are cut: beyond that a longer input only takes longer.
const MOST: usize = 100;

/// Numbers that follow from some bytes.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: &[u8]) -> Numbers {
        // FNV-1a
        Numbers(seed.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    /// One below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % (end.max(1) as u64)) as usize
    }
}

/// Ways in which bytes may come, each as the places at which its pieces end: as a whole, byte by byte (where they are
/// not too many), in two pieces, and in pieces of any lengths.
pub fn cuts(bytes: &[u8]) -> [Vec<usize>; 4] {
    let end = bytes.len();
    let mut numbers = Numbers::new(bytes);
    let step = end.div_ceil(MOST).max(1);
    let mut all = [
        Vec::new(),
        (1..end).step_by(step).collect(),
        vec![numbers.below(end)],
        (0..numbers.below(8)).map(|_| numbers.below(end)).collect(),
    ];
    for cuts in &mut all {
        cuts.push(end);
        cuts.retain(|&cut| cut > 0 || end == 0);
        cuts.sort_unstable();
        cuts.dedup();
    }
    all
}

/// The pieces that end at these places.
pub fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, &end)| &bytes[start..end])
}

/// Asks for the verdict on ever more of the bytes. Once it is not `open` any more it must not change. Returns the
/// length at which it was there, and that on all bytes.
#[track_caller]
pub fn settled<'a, T: PartialEq + Debug>(
    bytes: &'a [u8],
    open: &T,
    mut verdict: impl FnMut(&'a [u8]) -> T,
) -> (usize, T) {
    let whole = verdict(bytes);
    let mut at = bytes.len();
    let [_, steps, ..] = cuts(bytes);
    for end in std::iter::once(0).chain(steps).rev() {
        let found = verdict(&bytes[..end]);
        if found == *open {
            break;
        }
        assert_eq!(found, whole, "{end} bytes, and all {}", bytes.len());
        at = end;
    }
    (at, whole)
}

/// What a decoder has found: payload in one, and where something else came between.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<Event, Error> {
    pub payload: Vec<u8>,
    /// Each with how much of the payload came before it.
    pub events: Vec<(usize, Event)>,
    pub error: Option<Error>,
}

/// Decodes what comes in pieces. `event` turns an event into something that can be compared.
#[track_caller]
pub fn decode<D: Decoder, Event>(
    mut decoder: D,
    bytes: &[u8],
    ends: &[usize],
    mut event: impl FnMut(&D, D::Event) -> Event,
) -> Decoded<Event, D::Error> {
    let mut decoded = Decoded { payload: Vec::new(), events: Vec::new(), error: None };
    for piece in pieces(bytes, ends) {
        let (mut input, mut at) = (piece.to_vec(), 0);
        loop {
            let before = at;
            match decoder.decode(&mut input, &mut at) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Payload(range)) => {
                    assert!(
                        !range.is_empty() && before <= range.start && range.end == at,
                        "{range:?} of {before}..{at}"
                    );
                    decoded.payload.extend_from_slice(&input[range]);
                }
                Ok(Step::Event(found)) => {
                    decoded.events.push((decoded.payload.len(), event(&decoder, found)))
                }
                Err(error) => {
                    assert!(at <= input.len());
                    decoded.error = Some(error);
                    return decoded;
                }
            }
        }
        assert_eq!(at, input.len(), "more is asked for, and not all is used");
    }
    decoded
}
