//! A visitor's requests and the website's answers, followed on their way through.
//!
//! Browsers, and proxies that pool their upstream connections, send several requests on one connection,
//! and one that is for us may be any of them. So the relay to the website looks at where messages begin
//! and end ([`framing`](crate::wire::http::framing)) and touches nothing. The bytes pass as they come,
//! but for those of a head that may yet turn out to be a client's: they are held back until that is
//! known, or for [`HOLD`]. When it is, and the website has answered all that was asked before it, the
//! relay hands the visitor off.
//!
//! Whatever is unclear makes the connection the website's for good. Nothing is looked at from there on,
//! and what was held back goes on its way: it is as if we were not there.

mod answers;
mod requests;
#[cfg(test)]
mod tests;

use crate::detect::Rules;
use crate::net::budget::Budget;
use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::wire::http::Upgrade;
use crate::wire::http::framing::{FramingError, MessageBody, MessageHead, PendingRequests};
use answers::Answers;
use requests::Requests;
use std::time::Duration;
use tokio::time::Instant;

/// How long the beginning of a head that may be a client's is held back. A client's head comes in one go,
/// or nearly so; whoever takes longer is a visitor.
pub const HOLD: Duration = Duration::from_secs(1);

/// The most bytes that are held back.
pub const MAX_HELD: usize = 64 * 1024;

/// Follows what a visitor and a website say, and holds back what may be for us.
#[derive(Debug)]
pub struct Follow<'r> {
    requests: Requests<'r>,
    answers: Answers,
    exchange: Exchange,
}

/// What is known from both directions.
#[derive(Debug, Default)]
struct Exchange {
    pending: PendingRequests,
    /// Why the connection is the website's for good, if it is.
    unclear: Option<FramingError>,
}

impl Exchange {
    /// The connection is the website's for good. The first reason counts.
    fn give_up(&mut self, why: FramingError) {
        self.unclear.get_or_insert(why);
    }

    fn is_clear(&self) -> bool {
        self.unclear.is_none()
    }
}

impl<'r> Follow<'r> {
    /// Follows a visitor from its first byte on. `decided` says that the head which comes first is the
    /// website's in any case.
    pub fn new(rules: &'r Rules, undecided: &'r Budget, decided: bool) -> Follow<'r> {
        Follow {
            requests: Requests::new(rules, undecided.share(), decided),
            answers: Answers::new(),
            exchange: Exchange::default(),
        }
    }

    /// Why the connection is the website's for good, if it is.
    pub fn unclear(&self) -> Option<FramingError> {
        self.exchange.unclear
    }

    /// The upgrade that was asked for, all bytes from its first on, and how many requests the website got
    /// before it. `None` if there was none.
    pub fn into_claim(self) -> Option<(Upgrade, Vec<u8>, u64)> {
        self.requests.into_claim()
    }
}

impl Protocol for Follow<'_> {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        Ok(match direction {
            Direction::Up => self.requests.forward(&mut self.exchange, input, out),
            Direction::Down => {
                self.answers.forward(&mut self.exchange, input);
                out.input(0..input.len());
                input.len()
            }
        })
    }

    fn passthrough_len(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Up => self.requests.passthrough_len(&self.exchange),
            Direction::Down => self.answers.passthrough_len(&self.exchange),
        }
    }

    fn skip(&mut self, direction: Direction, n: u64) {
        match direction {
            Direction::Up => self.requests.skip(&mut self.exchange, n),
            Direction::Down => self.answers.skip(&mut self.exchange, n),
        }
    }

    fn end(&mut self, _: Direction) -> Result<(), ProtocolError> {
        self.exchange.give_up(FramingError::Ended);
        Ok(())
    }

    fn read_limit(&self, direction: Direction) -> usize {
        match direction {
            Direction::Up => self.requests.read_limit(&self.exchange),
            Direction::Down => usize::MAX,
        }
    }

    fn deadline(&self, direction: Direction) -> Option<Instant> {
        match direction {
            Direction::Up => self.requests.deadline(),
            Direction::Down => None,
        }
    }

    fn release_is_due(&self, direction: Direction) -> bool {
        direction == Direction::Up && self.requests.release_is_due(&self.exchange)
    }

    fn release(&mut self, _: Direction, out: &mut Vec<u8>) -> usize {
        self.requests.release(out)
    }

    fn release_on_error(&mut self, direction: Direction, out: &mut Vec<u8>) {
        self.exchange.give_up(FramingError::Ended);
        if direction == Direction::Up {
            self.requests.release(out);
        }
    }

    fn wants_handoff(&self) -> bool {
        self.requests.wants_handoff(&self.exchange)
    }
}

/// The message that comes.
#[derive(Debug)]
enum Message {
    Head(MessageHead),
    Body(MessageBody),
}

impl Message {
    /// Bytes of it that need not be looked at.
    fn passthrough_len(&self) -> u64 {
        match self {
            Message::Head(_) => 0,
            Message::Body(body) => body.passthrough_len(),
        }
    }
}
