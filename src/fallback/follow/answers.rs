//! From the website to the visitor, and what both directions need to know.

use crate::wire::http::framing::{FramingError, MessageBody, MessageHead, PendingRequests};

/// What is known from both directions.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) pending: PendingRequests,
    /// Why the connection is the website's for good, if it is.
    pub(super) unclear: Option<FramingError>,
}

impl Exchange {
    /// The connection is the website's for good. The first reason counts.
    pub(super) fn give_up(&mut self, why: FramingError) {
        self.unclear.get_or_insert(why);
    }

    pub(super) fn is_clear(&self) -> bool {
        self.unclear.is_none()
    }
}

/// The message that comes.
#[derive(Debug)]
pub(super) enum Message {
    Head(MessageHead),
    Body(MessageBody),
}

impl Message {
    /// Bytes of it that need not be looked at.
    pub(super) fn passthrough_len(&self) -> u64 {
        match self {
            Message::Head(_) => 0,
            Message::Body(body) => body.passthrough_len(),
        }
    }
}

/// Follows the answers of a website. They pass untouched and at once.
#[derive(Debug)]
pub(super) struct Answers {
    message: Message,
}

impl Answers {
    pub(super) fn new() -> Answers {
        Answers { message: Message::Head(MessageHead::of_answer()) }
    }

    /// Looks at what passes.
    pub(super) fn forward(&mut self, exchange: &mut Exchange, input: &[u8]) {
        if exchange.is_clear()
            && let Err(why) = self.follow(exchange, input)
        {
            exchange.give_up(why);
        }
    }

    fn follow(&mut self, exchange: &mut Exchange, input: &[u8]) -> Result<(), FramingError> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let used = match &mut self.message {
                Message::Head(head) => {
                    if exchange.pending.is_empty() {
                        return Err(FramingError::Unasked);
                    }
                    let ended = head.read(rest)?;
                    if ended.is_some() {
                        self.message = match exchange.pending.answer(head)? {
                            None => Message::Head(MessageHead::of_answer()),
                            Some(body) => Message::Body(body),
                        };
                    }
                    ended
                }
                Message::Body(body) => body.read(rest)?,
            };
            self.note_end(exchange);
            let Some(used) = used else { return Ok(()) };
            at += used;
        }
        Ok(())
    }

    /// Takes note of it if the answer is complete.
    fn note_end(&mut self, exchange: &mut Exchange) {
        if let Message::Body(body) = &self.message
            && body.is_over()
        {
            exchange.pending.answered();
            self.message = Message::Head(MessageHead::of_answer());
        }
    }

    /// How many of the next bytes need not be looked at.
    pub(super) fn passthrough_len(&self, exchange: &Exchange) -> u64 {
        if exchange.is_clear() { self.message.passthrough_len() } else { u64::MAX }
    }

    /// So many of these have passed.
    pub(super) fn skip(&mut self, exchange: &mut Exchange, n: u64) {
        if let Message::Body(body) = &mut self.message {
            body.skip(n);
            self.note_end(exchange);
        }
    }
}
