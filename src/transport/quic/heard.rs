//! Whether the server of a connection can be thought to be there.

use crate::transport::question::Question;
use quinn::Connection;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Heard {
    connection: Connection,
    question: Question,
}

impl Heard {
    pub(super) fn new(connection: Connection) -> Heard {
        Heard { connection, question: Question::default() }
    }

    fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Something is said in a tunnel.
    pub(super) fn note_said(&self) {
        self.question.ask(|| self.received());
    }

    /// Something has come in a tunnel.
    pub(super) fn note_heard(&self) {
        self.question.note_answer();
    }

    /// Whether the server answers, as far as it was asked.
    pub(super) fn answers(&self) -> bool {
        self.question.is_in_time(|| self.received())
    }
}
