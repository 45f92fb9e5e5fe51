//! Which flows the kernel is to carry.

/// A read of so many bytes is one of a flow that keeps coming: what waits for its turn is shorter.
const LARGE: usize = 32 * 1024;

/// The kernel is not asked to carry fewer bytes than that: they cost less as they are.
pub(super) const WORTH_SPLICING: u64 = LARGE as u64;

/// How much a flow moves at a time, by which it is decided whether the kernel is to carry it.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// Large reads in a row.
    large_reads: u8,
    /// Steps of splicing in a row that moved less than half of a large read.
    small_moves: u8,
    on: bool,
}

impl Bulk {
    /// Two of them are a beginning: pages, pictures and handshakes are smaller.
    const LARGE_READS: u8 = 2;
    /// A pause of the sender shows as one small move; a flow that has become an exchange, as many.
    const SMALL_MOVES: u8 = 8;

    /// Whether the kernel is to carry what comes.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// So much has been read at once.
    pub(super) fn note_read(&mut self, n: usize) {
        self.large_reads = if n >= LARGE { self.large_reads + 1 } else { 0 };
        if self.large_reads >= Self::LARGE_READS {
            *self = Bulk { on: true, ..Bulk::default() };
        }
    }

    /// So much has been carried at once.
    pub(super) fn note_splice(&mut self, n: usize) {
        self.small_moves = if n < LARGE / 2 { self.small_moves + 1 } else { 0 };
        if self.small_moves >= Self::SMALL_MOVES {
            *self = Bulk::default();
        }
    }
}
