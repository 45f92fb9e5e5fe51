//! What becomes of bytes on their way.

use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// Why a codec cannot go on.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// What becomes of bytes on their way from one stream to the other.
pub trait Codec {
    /// Turns `input`, the next bytes of the stream, into the pieces that are to be written, and says
    /// how many payload bytes they carry.
    ///
    /// # Errors
    ///
    /// The bytes are not what the format says; the tunnel ends when the pieces that came before are
    /// written.
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError>;

    /// Whether all that is still to come passes as it is, so that nobody needs to look at it.
    fn is_identity(&self) -> bool {
        false
    }

    /// How many of the next bytes pass as they are, though nobody has seen them yet. The kernel may carry
    /// these; the codec is told that they have [passed by](Self::passed_by).
    fn untouched(&self) -> u64 {
        if self.is_identity() { u64::MAX } else { 0 }
    }

    /// So many of the [untouched](Self::untouched) bytes have passed by.
    fn passed_by(&mut self, _n: u64) {}

    /// The most bytes that may be read at once, which bounds what a codec holds back. While there is no
    /// room nothing is read, until the other direction has brought something or the
    /// [deadline](Self::deadline) is there.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// When the codec [wants to speak](Self::wants_to_speak) at the latest, if it holds something back.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The flow breaks off. Appends what was held back: what had come before its source broke.
    fn let_go(&mut self, _out: &mut Vec<u8>) {}

    /// Whether the stream from the near side is not for the far side any more:
    /// [`Relay::run_or_give_back`](super::Relay::run_or_give_back) ends as soon as all that passed is
    /// written in both directions. What is held back goes with the codec.
    fn wants_out(&self) -> bool {
        false
    }

    /// The stream has ended.
    ///
    /// # Errors
    ///
    /// It must not end here.
    fn end(&mut self) -> Result<(), CodecError> {
        Ok(())
    }

    /// Whether there is something to [say](Self::interject) now, though the stream brings nothing.
    fn wants_to_speak(&self) -> bool {
        false
    }

    /// Appends what the codec has to say of its own, such as the answer to a ping, or what it held back.
    /// It is written between two pieces of the stream. Returns how many payload bytes it carries.
    fn interject(&mut self, _out: &mut Vec<u8>) -> usize {
        0
    }

    /// Whether the codec says the end of the stream itself, in its own terms: the connection stays open
    /// for what may come the other way and for its [last words](Self::last_words).
    fn says_end(&self) -> bool {
        false
    }

    /// How long the other direction may stand still once this one has ended, where that is not for the
    /// relay to say.
    fn grace(&self) -> Option<Duration> {
        None
    }

    /// Whether with this direction the other one has ended too.
    fn ends_both(&self) -> bool {
        false
    }

    /// What the sink is told before its connection is closed. `None` for a codec that says nothing.
    fn last_words(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// Bytes pass as they are.
#[derive(Debug, Default)]
pub struct Identity;

impl Codec for Identity {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        out.input(0..input.len());
        Ok(input.len())
    }

    fn is_identity(&self) -> bool {
        true
    }
}

/// What a codec wants written: parts of its input, and heads of its own between them.
#[derive(Debug, Default)]
pub struct Pieces {
    pub(super) list: Vec<Piece>,
    heads: Vec<u8>,
    pub(super) finished: bool,
}

#[derive(Debug)]
pub(super) enum Piece {
    Input(Range<usize>),
    Head(Range<usize>),
}

impl Pieces {
    /// A part of the input comes next.
    pub fn input(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.list.push(Piece::Input(range));
        }
    }

    /// Bytes of the codec's own come next: those that `write` appends.
    pub fn head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.heads.len();
        write(&mut self.heads);
        self.list.push(Piece::Head(start..self.heads.len()));
    }

    /// The stream ends with these pieces, as the format says; what follows in the input is void.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// How many bytes of the input are in the pieces.
    pub(super) fn input_len(&self) -> usize {
        self.list.iter().map(|piece| if let Piece::Input(range) = piece { range.len() } else { 0 }).sum()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.heads.clear();
        self.finished = false;
    }

    /// The pieces as slices. A range that a codec got wrong is cut, not trusted.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.list.iter().map(move |piece| match piece {
            Piece::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Piece::Head(range) => self.heads.get(range.clone()).unwrap_or_default(),
        })
    }
}
