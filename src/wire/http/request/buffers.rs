//! How long the head of a request may be.

/// How much head nginx has room for: a buffer of 1 KiB, then up to four of 8 KiB. A line stands in one of
/// them: the part of it that is at the end of one moves to the next.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBuffers {
    /// Where the next line begins in its buffer.
    at: usize,
    size: usize,
    large: usize,
}

/// The buffers for a request that comes alone.
impl Default for HeaderBuffers {
    fn default() -> HeaderBuffers {
        HeaderBuffers { at: 0, size: HeaderBuffers::SMALL, large: 0 }
    }
}

impl HeaderBuffers {
    /// The longest line, in bytes with its end.
    pub const LINE: usize = 8 * 1024;
    const SMALL: usize = 1024;
    const MOST: usize = 4;

    /// The buffers for the next request, of which bytes have come with this one.
    pub fn for_next(self) -> HeaderBuffers {
        let large = usize::from(self.large > 0);
        if self.at < self.size { HeaderBuffers { large, ..self } } else { HeaderBuffers::default() }
    }

    /// How many bytes nginx would have read beyond the head, at the most.
    pub fn left(&self) -> usize {
        self.size - self.at
    }

    /// Skips line ends in front of a request: they fill a buffer again and again.
    pub fn skip(&mut self, blank: usize) {
        self.at = (self.at + blank) % self.size;
    }

    /// Takes room for a line of so many bytes. A line that has not ended needs room for one more.
    pub fn take(&mut self, length: usize, ended: bool) -> bool {
        while self.at + length + usize::from(!ended) > self.size {
            let alone = self.at == 0 && self.size == HeaderBuffers::LINE;
            if alone || self.large == HeaderBuffers::MOST {
                return false;
            }
            *self = HeaderBuffers { at: 0, size: HeaderBuffers::LINE, large: self.large + 1 };
        }
        self.at += length;
        true
    }
}
