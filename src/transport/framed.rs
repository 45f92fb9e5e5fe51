//! A connection whose frames are open, on its way from one stage to the next.

use super::framing::{Event, Framing};
use crate::relay::{EndSeen, Flows, WriteBuffer, read_some};
use crate::wire::Step;
use std::future::poll_fn;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// An open connection on its way from one stage to the next, and all that has been read of it and not been used.
///
/// A stage reads more than it was meant to: behind an answer, or in the read in which it found out what it wanted
/// to know, there may be payload, the end of a session, the end of the stream. All of that is here, in its order,
/// and the stage that comes next gets it as if it had read it itself.
#[derive(Debug)]
pub struct Framed<S, F> {
    /// The connection.
    pub io: S,
    /// What its bytes mean.
    pub framing: F,
    /// What has come.
    pub received: Received,
    /// Control frames of which the connection has not taken all; the front of one may be gone.
    pub write_buf: WriteBuffer,
    /// The connection could not be written to. What the peer has said before is still read.
    pub write_error: Option<io::Error>,
}

/// What has come on such a connection.
#[derive(Debug, Default)]
pub struct Received {
    /// The stream, as far as it has come.
    pub payload: Vec<u8>,
    /// Sessions of Mux.Cool in which the peer sends nothing more, each with how much of the payload came
    /// before it said so.
    pub session_ends: Vec<(usize, u16)>,
    /// How the stream ended, if it has. That came behind all of the payload.
    pub end_seen: Option<EndSeen>,
    /// How much of the payload came before the end of the first message that has any.
    pub first_message: Option<usize>,
    /// The number of the message with the first payload.
    message: Option<u32>,
}

impl<S, F: Framing> Framed<S, F> {
    /// A connection whose handshake is done. `early` came with the handshake.
    pub fn new(io: S, framing: F, early: Vec<u8>) -> Framed<S, F> {
        let received = Received { payload: early, ..Received::default() };
        Framed { io, framing, received, write_buf: WriteBuffer::default(), write_error: None }
    }

    /// The connection, its two directions for a relay, and why it takes nothing more if it does not. Which
    /// sessions have ended is of no concern to a bare stream.
    pub fn into_flows(self) -> (S, Flows<F>, Option<io::Error>) {
        let Framed { io, framing, received, write_buf, write_error } = self;
        let (encoded, decoded) = (framing.encoded(), framing.decoded());
        let flows = Flows::new(framing)
            .with_payload(decoded, received.payload)
            .ended(decoded, received.end_seen)
            .with_pending(encoded, write_buf, 0);
        (io, flows, write_error)
    }

    /// Takes frames that have been read. What follows an end is void.
    pub fn take(&mut self, frames: &mut [u8]) {
        let received = &mut self.received;
        let (mut at, mut more) = (0, true);
        while more && received.end_seen.is_none() {
            let found = self.framing.decode(frames, &mut at);
            let message = self.framing.messages();
            let is_over = received.message.is_some_and(|first| first != message)
                || (received.message.is_some() && self.framing.is_between_messages());
            match found {
                Ok(Step::Payload(range)) => {
                    if received.message.is_some_and(|first| first != message) {
                        received.first_message.get_or_insert(received.payload.len());
                    }
                    received.message.get_or_insert(message);
                    received.payload.extend_from_slice(&frames[range]);
                    continue;
                }
                Ok(Step::Event(Event::SessionEnd(id))) => {
                    received.session_ends.push((received.payload.len(), id))
                }
                Ok(Step::NeedMore) => more = false,
                Ok(Step::Event(Event::End)) => received.end_seen = Some(EndSeen::Closed),
                Err(error) => received.end_seen = Some(EndSeen::Malformed(error)),
            }
            if is_over {
                received.first_message.get_or_insert(received.payload.len());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: Framing> Framed<S, F> {
    /// Reads once, at most `most` bytes, and writes what control frames there are to be sent before that.
    /// Nothing is lost when it is dropped and called again.
    pub async fn read(&mut self, most: usize) {
        if let Err(error) = self.answer().await {
            self.write_buf.clear();
            self.write_error.get_or_insert(error);
        }
        let mut frames = Vec::new();
        match read_some(&mut self.io, &mut frames, most).await {
            Ok(0) => {
                let ended = self.framing.end(self.framing.decoded());
                // An error is reported once. A peer that could not be written to did not end in order.
                self.received.end_seen = Some(match (self.write_error.take(), ended) {
                    (Some(error), _) => EndSeen::Broken(error),
                    (None, Err(error)) => EndSeen::Malformed(error),
                    (None, Ok(())) => EndSeen::Closed,
                });
            }
            Ok(_) => self.take(&mut frames),
            Err(error) => self.received.end_seen = Some(EndSeen::Broken(error)),
        }
    }

    /// Writes the control frames that wait to be sent.
    async fn answer(&mut self) -> io::Result<()> {
        if self.write_error.is_some() {
            return Ok(());
        }
        let Framed { io, framing, write_buf, .. } = self;
        let direction = framing.encoded();
        if framing.has_control_frames(direction) {
            write_buf.append(|out| framing.take_control_frames(direction, out));
        }
        while !write_buf.is_empty() {
            poll_fn(|cx| write_buf.poll_write(cx, io)).await?;
        }
        self.io.flush().await
    }
}
