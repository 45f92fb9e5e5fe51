//! The bytes of a handshake, which come in any order.

use super::Malformed;

/// The longest hello that is read to its end, in bytes. Those of browsers have 2 KiB, with post-quantum keys.
pub const MOST_HELLO: usize = 8 * 1024;

/// What has come of the handshake, each byte at its place.
#[derive(Debug, Default)]
pub(super) struct HelloBytes {
    bytes: Vec<u8>,
    /// For each byte whether it has come.
    has_come: Vec<bool>,
    /// So many have come from the beginning on.
    complete: usize,
}

impl HelloBytes {
    /// Takes what stands at this place. What has come before may come again, if it is the same.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Malformed> {
        let end = usize::try_from(offset).ok().and_then(|start| start.checked_add(bytes.len()));
        let end = end.filter(|&end| end <= MOST_HELLO).ok_or(Malformed::TooLong)?;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.has_come.resize(end, false);
        }
        let places = self.bytes.iter_mut().zip(&mut self.has_come).skip(end - bytes.len());
        for ((place, has_come), &byte) in places.zip(bytes) {
            if *has_come && *place != byte {
                return Err(Malformed::Contradiction);
            }
            (*place, *has_come) = (byte, true);
        }
        self.complete += self.has_come.iter().skip(self.complete).take_while(|has_come| **has_come).count();
        Ok(())
    }

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The beginning, up to the first byte that is missing.
    pub(super) fn complete(&self) -> &[u8] {
        self.bytes.get(..self.complete).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_bounded() {
        let mut hello = HelloBytes::default();
        assert_eq!(hello.take(MOST_HELLO as u64 - 1, b"a"), Ok(()));
        assert_eq!(hello.take(MOST_HELLO as u64, b""), Ok(()));
        for (offset, bytes) in
            [(MOST_HELLO as u64 - 1, &b"ab"[..]), (MOST_HELLO as u64 + 1, b""), (u64::MAX, b"a")]
        {
            assert_eq!(hello.take(offset, bytes), Err(Malformed::TooLong), "{offset}");
        }
        assert!(hello.bytes.len() <= MOST_HELLO && hello.complete().is_empty());
    }

    proptest! {
        /// Whatever the pieces, their order and how they overlap: what is there is what has come without a hole.
        #[test]
        fn pieces_come_in_any_order(
            whole in prop::collection::vec(any::<u8>(), 1..200),
            pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..30),
            lie in any::<Option<prop::sample::Index>>(),
        ) {
            let mut hello = HelloBytes::default();
            let mut known = vec![false; whole.len()];
            for (start, end) in pieces {
                let start = start.index(whole.len());
                let end = start + end.index(whole.len() - start + 1);
                prop_assert_eq!(hello.take(start as u64, &whole[start..end]), Ok(()));
                known[start..end].fill(true);
                let complete = known.iter().take_while(|known| **known).count();
                prop_assert_eq!(hello.complete(), &whole[..complete]);
            }
            if let Some(lie) = lie {
                let at = lie.index(whole.len());
                let contradicts = hello.take(at as u64, &[!whole[at]]) == Err(Malformed::Contradiction);
                prop_assert_eq!(contradicts, known[at]);
            }
        }
    }
}
