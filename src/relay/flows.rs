//! A tunnel before it is joined to the other stream.

use super::flow::Flow;
use super::outcome::EndSeen;
use super::protocol::{Direction, Protocol};
use super::write_buffer::WriteBuffer;

/// Both directions of a tunnel, and the protocol that they share. Each may begin with bytes that were read
/// before.
#[derive(Debug)]
pub struct Flows<P> {
    pub(super) protocol: P,
    pub(super) up: Flow,
    pub(super) down: Flow,
}

impl<P: Protocol> Flows<P> {
    /// A tunnel in which nothing has passed yet.
    pub fn new(protocol: P) -> Flows<P> {
        Flows { protocol, up: Flow::new(Direction::Up), down: Flow::new(Direction::Down) }
    }

    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// A direction begins with these bytes for its sink, `payload` of them payload. They do not go through
    /// the protocol.
    pub fn with_pending(
        mut self,
        direction: Direction,
        bytes: impl Into<WriteBuffer>,
        payload: usize,
    ) -> Self {
        self.flow(direction).put(bytes.into(), payload);
        self
    }

    /// The same with nothing but payload.
    pub fn with_payload(self, direction: Direction, payload: Vec<u8>) -> Self {
        let payload_len = payload.len();
        self.with_pending(direction, payload, payload_len)
    }

    /// Takes bytes of a direction's source that were read before, through the protocol. Bytes that are not what
    /// the format says end the direction as they do later: behind what came before them.
    pub fn feed(&mut self, direction: Direction, input: &mut [u8]) {
        let Flows { protocol, up, down } = self;
        let flow = if direction == Direction::Up { up } else { down };
        flow.feed(protocol, input);
    }

    /// The source of a direction has ended so, behind the bytes that it begins with.
    pub fn ended(mut self, direction: Direction, end: Option<EndSeen>) -> Self {
        if let Some(end) = end {
            self.flow(direction).set_ended(end);
        }
        self
    }

    /// Counts the payload with which both directions begin; what comes later is counted as it comes.
    pub(super) fn count_beginning(&self) {
        self.up.count(0);
        self.down.count(0);
    }

    /// For peers that are not known to take much: no more is fetched at once than can be kept for each of
    /// many such.
    pub fn modest(mut self) -> Self {
        self.up.set_modest();
        self.down.set_modest();
        self
    }
}
