//! The formats on the wire, as pure functions of bytes: no sockets, no clocks, no tasks.
//!
//! A format that cuts the stream into frames is an [`Encoder`] for one direction and a
//! [`Decoder`] for the other. Both leave the payload in the buffer that it was read into: it is
//! never copied, and a decoder remembers no more than the head of one frame.

use std::convert::Infallible;
use std::ops::Range;

pub mod fake_tls;
pub mod forwarded_for;
pub mod grpc;
pub mod h2;
pub mod http;
pub mod mux;
pub mod proxy_protocol;
#[cfg(feature = "quic")]
pub mod quic;
mod reader;
pub mod tls;
pub mod websocket;

pub use reader::Reader;

/// Turns payload into frames.
pub trait Encoder {
    /// The most payload bytes that one frame carries.
    const PAYLOAD: usize;

    /// Appends to `head` what stands in front of `payload` on the wire. The payload stays where it
    /// is, to be written behind the head; a format that masks it does so in place.
    ///
    /// `payload` has 1 to [`PAYLOAD`](Self::PAYLOAD) bytes: no payload makes no frame.
    fn encode(&mut self, payload: &mut [u8], head: &mut Vec<u8>);
}

/// Finds the payload in frames, in place, whatever pieces they come in.
pub trait Decoder {
    /// What the format says beside payload; [`Infallible`] where that is nothing.
    type Event;
    /// What is wrong with the peer's bytes.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads on in `input` from `*at` and moves `*at` past what it has used.
    ///
    /// It is called again with the same `input` until it returns [`Step::NeedMore`]; then all of
    /// `input` is used, and the next call may bring a new one. A head that is cut is kept in
    /// the decoder.
    ///
    /// # Errors
    ///
    /// The peer's bytes are not the format. There is no way on from here: neither the decoder
    /// nor the connection is of further use.
    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Self::Event>, Self::Error>;
}

/// What a decoder has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<Event = Infallible> {
    /// These bytes of `input` are payload, at least one. They may be a part of a frame.
    Payload(Range<usize>),
    /// Something else that the format says.
    Event(Event),
    /// All of `input` is used.
    NeedMore,
}

/// A buffer in which no frame can be made: it has no room for the head, or more payload than a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no frame can be made in a buffer of {0} bytes")]
pub struct FrameSizeError(pub usize);
