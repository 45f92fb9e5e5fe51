//! From the website to the visitor.

use super::{Message, Talk};
use crate::relay::{Codec, CodecError, Pieces};
use crate::wire::http::framing::{FramingError, MessageHead};
use std::sync::Arc;

/// Follows the answers of a website. They pass untouched and at once.
#[derive(Debug)]
pub struct Answers {
    talk: Arc<Talk>,
    message: Message,
}

impl Answers {
    pub(super) fn new(talk: Arc<Talk>) -> Answers {
        Answers { talk, message: Message::Head(MessageHead::of_answer()) }
    }

    fn follow(&mut self, input: &[u8]) -> Result<(), FramingError> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let used = match &mut self.message {
                Message::Head(head) => {
                    let mut asked = self.talk.asked();
                    if asked.is_empty() {
                        return Err(FramingError::Unasked);
                    }
                    let ended = head.read(rest)?;
                    if ended.is_some() {
                        self.message = match asked.answer(head)? {
                            None => Message::Head(MessageHead::of_answer()),
                            Some(body) => Message::Body(body),
                        };
                    }
                    ended
                }
                Message::Body(body) => body.read(rest)?,
            };
            self.note_end();
            let Some(used) = used else { return Ok(()) };
            at += used;
        }
        Ok(())
    }

    /// Takes note of it if the answer is complete.
    fn note_end(&mut self) {
        if let Message::Body(body) = &self.message
            && body.is_over()
        {
            self.talk.asked().answered();
            self.message = Message::Head(MessageHead::of_answer());
        }
    }
}

impl Codec for Answers {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        out.input(0..input.len());
        if !self.is_identity()
            && let Err(why) = self.follow(input)
        {
            self.talk.give_up(why);
        }
        Ok(input.len())
    }

    fn is_identity(&self) -> bool {
        self.talk.unclear().is_some()
    }

    fn untouched(&self) -> u64 {
        if self.is_identity() { u64::MAX } else { self.message.untouched() }
    }

    fn passed_by(&mut self, n: u64) {
        if let Message::Body(body) = &mut self.message {
            body.skip(n);
            self.note_end();
        }
    }

    fn end(&mut self) -> Result<(), CodecError> {
        self.talk.give_up(FramingError::Ended);
        Ok(())
    }

    fn let_go(&mut self, _: &mut Vec<u8>) {
        self.talk.give_up(FramingError::Ended);
    }
}
