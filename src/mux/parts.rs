//! Parts of a buffer that are written where they are.

use std::ops::Range;

/// The parts as slices. `None` where one is not in the buffer: what would be lost then must not be lost in
/// silence.
pub(super) fn slices<'a>(
    buffer: &'a [u8],
    parts: &'a [Range<usize>],
) -> Option<impl ExactSizeIterator<Item = &'a [u8]> + Clone> {
    let all_there = parts.iter().all(|part| buffer.get(part.clone()).is_some());
    debug_assert!(all_there, "{parts:?} are not all in {} bytes", buffer.len());
    all_there.then(|| parts.iter().map(|part| &buffer[part.clone()]))
}
