//! What a protocol wants written, without a copy of it.

use std::ops::Range;

/// What a protocol wants written: parts of its input, and heads of its own between them.
#[derive(Debug, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    heads: Vec<u8>,
    /// Where the last part of the input ends that is in the list.
    input_end: usize,
    finished: bool,
}

#[derive(Debug)]
enum Piece {
    Input(Range<usize>),
    Head(Range<usize>),
}

impl Pieces {
    /// A part of the input comes next.
    pub fn input(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.input_end = self.input_end.max(range.end);
            self.list.push(Piece::Input(range));
        }
    }

    /// Bytes of the protocol's own come next: those that `write` appends.
    pub fn head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.heads.len();
        write(&mut self.heads);
        self.list.push(Piece::Head(start..self.heads.len()));
    }

    /// The stream ends with these pieces, as the format says; what follows in the input is void.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether the stream ends with these pieces.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// How many bytes of the input are in the pieces.
    pub(crate) fn input_len(&self) -> usize {
        self.list.iter().map(|piece| if let Piece::Input(range) = piece { range.len() } else { 0 }).sum()
    }

    /// Whether the pieces are parts of an input of this length.
    pub(crate) fn fit(&self, input_len: usize) -> bool {
        self.input_end <= input_len
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.heads.clear();
        self.input_end = 0;
        self.finished = false;
    }

    /// The pieces as slices.
    ///
    /// # Panics
    ///
    /// If they are not those of this input.
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        self.list.iter().map(move |piece| match piece {
            Piece::Input(range) => &input[range.clone()],
            Piece::Head(range) => &self.heads[range.clone()],
        })
    }
}
