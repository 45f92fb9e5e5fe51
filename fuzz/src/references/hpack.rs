//! Header fields beside loona-hpack.

use loona_hpack::Decoder;
use loona_hpack::decoder::DecoderError;
use obfs_rs::probe::http2::hpack;

/// The size of the dynamic table (RFC 9113 section 6.5.2).
const TABLE: usize = 4096;

/// More than any input has.
const ROOM: usize = 1 << 30;

/// A block is what it is there, or is none to either.
pub fn check(block: &[u8]) {
    let mut theirs = Decoder::new();
    theirs.set_max_allowed_table_size(TABLE);
    match (hpack::Decoder::new(ROOM).decode(block), theirs.decode(block)) {
        (Ok(ours), Ok(theirs)) => {
            let ours = ours.into_iter().filter_map(|item| match item {
                hpack::Item::Field { name, value, .. } => Some((name, value)),
                hpack::Item::TableSize(_) => None,
            });
            assert_eq!(ours.collect::<Vec<_>>(), theirs);
        }
        (Err(_), Err(_)) => {}
        // What is to be told of a server is told where it comes too late, too (RFC 7541 section 4.2).
        (Ok(_), Err(DecoderError::SizeUpdateAtEnd)) => {}
        (ours, theirs) => panic!("{ours:?}, {theirs:?}"),
    }
}
