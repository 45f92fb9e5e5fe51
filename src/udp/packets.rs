//! Packets in a row.

use std::ops::Range;

/// The most bytes that the system sends as several packets with one call: those of the largest IP packet.
const RUN: usize = 65_000;

/// What an empty row keeps of its memory.
const KEPT: usize = 16 * 1024;

/// Packets in a row, in one piece of memory, each with its boundaries. The last one may be unfinished.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
    /// Where each packet ends.
    ends: Vec<usize>,
    /// How many of them have been taken.
    taken: usize,
}

impl Packets {
    /// Appends a packet.
    pub fn push(&mut self, packet: &[u8]) {
        self.extend(packet);
        self.finish();
    }

    /// Appends a part to the packet that is not finished.
    pub fn extend(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// How many bytes the packet has that is not finished.
    pub fn unfinished(&self) -> usize {
        self.bytes.len() - self.ends.last().copied().unwrap_or(0)
    }

    /// The packet that was begun is none.
    pub fn abandon(&mut self) {
        self.bytes.truncate(self.bytes.len() - self.unfinished());
    }

    /// The packet that was begun is complete. Without a part it is empty.
    pub fn finish(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Whether there is no packet that is complete.
    pub fn is_empty(&self) -> bool {
        self.taken == self.ends.len()
    }

    /// How many packets there are that are complete.
    pub fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// How many bytes they have, and the one that is not.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start(self.taken)
    }

    /// The first packet.
    pub fn first(&self) -> Option<&[u8]> {
        self.ends.get(self.taken)?;
        self.bytes.get(self.range(self.taken, 1))
    }

    /// The packets.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (self.taken..self.ends.len()).map(|index| &self.bytes[self.range(index, 1)])
    }

    /// The first packets, at most so many, that one call of the system can send: all have the size of the first one, but
    /// for the last one, which may be smaller.
    pub fn run(&self, most: usize) -> Option<Run<'_>> {
        let size = self.first()?.len();
        let mut count = 1;
        let mut total = size;
        while size > 0 && count < most.max(1) && self.taken + count < self.ends.len() {
            let next = self.range(self.taken + count, 1).len();
            if next == 0 || next > size || total + next > RUN {
                break;
            }
            (count, total) = (count + 1, total + next);
            if next < size {
                break;
            }
        }
        Some(Run { bytes: &self.bytes[self.range(self.taken, count)], size, count })
    }

    /// The first packets were taken.
    pub fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.ends.len());
        if self.is_empty() {
            self.bytes.drain(..self.start(self.taken));
            self.ends.clear();
            self.taken = 0;
            if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
                self.ends = Vec::new();
            }
        }
    }

    /// All packets that are complete were taken.
    pub fn clear(&mut self) {
        self.take(self.len());
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    fn range(&self, index: usize, count: usize) -> Range<usize> {
        self.start(index)..self.start(index + count)
    }
}

/// Packets that one call of the system can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// All of their bytes.
    pub bytes: &'a [u8],
    /// The size of each but the last one.
    pub size: usize,
    /// How many there are.
    pub count: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(sizes: &[usize]) -> Packets {
        let mut packets = Packets::default();
        for (index, size) in sizes.iter().enumerate() {
            packets.push(&vec![u8::try_from(index).unwrap(); *size]);
        }
        packets
    }

    fn runs(sizes: &[usize], most: usize) -> Vec<(usize, usize)> {
        let mut packets = of(sizes);
        let mut runs = Vec::new();
        while let Some(Run { bytes, size, count }) = packets.run(most) {
            runs.push((count, bytes.len()));
            assert!(count == 1 || bytes.len() > size * (count - 1));
            packets.take(count);
        }
        runs
    }

    #[test]
    fn a_run_is_of_one_size_but_for_its_last_packet() {
        assert_eq!(runs(&[9, 9, 9, 4, 9, 9], 64), [(4, 31), (2, 18)]);
        assert_eq!(runs(&[9, 10, 10, 0, 0, 10], 64), [(1, 9), (2, 20), (1, 0), (1, 0), (1, 10)]);
        assert_eq!(runs(&[9; 5], 2), [(2, 18), (2, 18), (1, 9)]);
        assert_eq!(runs(&[9; 2], 0), [(1, 9), (1, 9)]);
        assert_eq!(runs(&[40_000, 40_000, 20_000], 64), [(1, 40_000), (2, 60_000)]);
    }

    #[test]
    fn a_packet_that_is_not_finished_is_none() {
        let mut packets = of(&[3]);
        packets.extend(b"be");
        assert_eq!((packets.len(), packets.bytes(), packets.unfinished()), (1, 5, 2));
        packets.clear();
        assert_eq!((packets.len(), packets.bytes(), packets.first()), (0, 2, None));
        packets.extend(b"gun");
        packets.finish();
        packets.finish();
        packets.extend(b"never");
        packets.abandon();
        assert_eq!(packets.unfinished(), 0);
        assert_eq!(packets.iter().collect::<Vec<_>>(), [&b"begun"[..], b""]);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(sizes in prop::collection::vec(0..3000_usize, 0..60), most in 0..9_usize) {
            let mut packets = of(&sizes);
            let wanted: Vec<u8> = of(&sizes).iter().flatten().copied().collect();
            let (mut bytes, mut count) = (Vec::new(), 0);
            while let Some(run) = packets.run(most) {
                bytes.extend_from_slice(run.bytes);
                count += run.count;
                let run = run.count;
                packets.take(run);
            }
            prop_assert_eq!((bytes, count), (wanted, sizes.len()));
            prop_assert_eq!((packets.bytes(), packets.len()), (0, 0));
        }
    }
}
