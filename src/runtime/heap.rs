//! What a crowd of connections leaves in the heap goes back to the system when most of them have ended.
//!
//! An allocator keeps what it has had, for those who come next: on a small machine that is memory which others miss,
//! and a host that counts it takes it for a leak.

use super::drain;

/// So many connections are a crowd. Fewer leave little.
const CROWD: usize = 32;

/// What is left of a crowd is small by then.
const PART: usize = 4;

/// Sees crowds come and go.
#[derive(Debug, Default)]
pub(super) struct CrowdDetector {
    /// How many connections there were at the most since the last crowd went.
    most: usize,
}

impl CrowdDetector {
    /// Looks at how many connections are open. Gives back what a crowd has left when it has gone.
    pub(super) fn look(&mut self) {
        self.most = self.most.max(drain::take_most());
        if self.has_gone(drain::open()) {
            crate::os::memory::give_back();
        }
    }

    fn has_gone(&mut self, open: usize) -> bool {
        self.most = self.most.max(open);
        let gone = self.most >= CROWD && open <= self.most / PART;
        if gone {
            self.most = open;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_goes_once() {
        let mut crowd = CrowdDetector::default();
        let steps =
            [(0, false), (31, false), (0, false), (32, false), (9, false), (8, true), (0, false), (8, false)];
        for (open, gone) in steps {
            assert_eq!(crowd.has_gone(open), gone, "{open}");
        }
        for (open, gone) in
            [(1000, false), (251, false), (250, true), (63, false), (62, true), (16, false), (0, true)]
        {
            assert_eq!(crowd.has_gone(open), gone, "{open}");
        }
    }
}
