//! A visitor's requests and the website's answers, followed on their way through.
//!
//! Browsers, and proxies that pool their upstream connections, send several requests on one connection,
//! and one that is for us may be any of them. So the relay to the website looks at where messages begin
//! and end ([`framing`](crate::wire::http::framing)) and touches nothing. The bytes pass as they come,
//! but for those of a head that may yet turn out to be a client's: they are held back until that is
//! known, or for [`HOLD`](requests::HOLD). When it is, and the website has answered all that was asked before it, the
//! relay hands the visitor off.
//!
//! Whatever is unclear makes the connection the website's for good. Nothing is looked at from there on,
//! and what was held back goes on its way: it is as if we were not there.

mod answers;
mod requests;
#[cfg(test)]
mod tests;

use super::visitors::Visitors;
use crate::detect::Rules;
use crate::net::budget::Budget;
use crate::net::conn_info::ConnInfo;
use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::wire::http::framing::FramingError;
use answers::{Answers, Exchange};
use requests::Requests;
use tokio::time::Instant;

/// Follows what a visitor and a website say, and holds back what may be for us.
#[derive(Debug)]
pub struct Follow<'r> {
    requests: Requests<'r>,
    answers: Answers,
    exchange: Exchange,
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

    /// What its later requests miss that look like a client's is told of this visitor.
    pub fn telling(mut self, visitors: &'r Visitors, info: ConnInfo) -> Follow<'r> {
        self.requests.tell_misses(visitors, info);
        self
    }

    /// Why the connection is the website's for good, if it is.
    pub fn unclear(&self) -> Option<FramingError> {
        self.exchange.unclear
    }

    /// All bytes from the first of the request for an upgrade on, and how many requests the website got before
    /// it. `None` if there was none.
    pub fn into_upgrade(self) -> Option<(Vec<u8>, u64)> {
        self.requests.into_upgrade()
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
