//! How a stream, a relay, or one of its directions ends.

use super::close::close_gracefully;
use super::protocol::ProtocolError;
use super::stream::RelayStream;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

/// One of the two streams of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The stream that was accepted.
    Accepted,
    /// The stream that was dialled.
    Dialled,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Accepted => "accepted side",
            Side::Dialled => "dialled side",
        })
    }
}

/// How a stream ended that a stage before the relay has read to its end.
#[derive(Debug)]
pub enum EndSeen {
    /// In order. The protocol knows already, if there is something about it to know.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// The bytes were not what the format says.
    Malformed(ProtocolError),
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions were closed in order.
    Closed,
    /// One side reset its connection, or it broke; the other was reset too.
    Reset(Side, io::Error),
    /// Nothing moved for too long.
    Idle(Duration),
    /// The accepted side took nothing of what was there for it for too long.
    Stalled(Duration),
    /// One side's bytes were not what its format says.
    Malformed(Side, ProtocolError),
    /// The accepted stream is handed off: what it brings now is not for the dialled one.
    HandedOff,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed"),
            End::Reset(side, error) => write!(f, "{side}: {error}"),
            End::Idle(time) => write!(f, "idle for {} s", time.as_secs()),
            End::Stalled(time) => {
                write!(f, "{}: nothing was taken for {} s", Side::Accepted, time.as_secs())
            }
            End::Malformed(side, error) => write!(f, "{side}: {error}"),
            End::HandedOff => f.write_str("handed off"),
        }
    }
}

/// What a relay did.
#[derive(Debug)]
pub struct Outcome {
    /// Payload bytes from the accepted to the dialled side.
    pub up: u64,
    /// Payload bytes from the dialled to the accepted side.
    pub down: u64,
    /// Why it ended.
    pub end: End,
    /// What is left to be done on the connection of a tunnel that is over.
    pub closing: Option<Closing>,
}

impl Outcome {
    /// Closes the connection in order; the tunnel is over, and nobody has to wait for that.
    pub async fn close(&mut self) {
        if let Some(Closing(closing)) = self.closing.take() {
            closing.await;
        }
    }
}

/// A connection that is being closed, in the manner of its format. Who drops it closes it at once.
pub struct Closing(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Closing {
    /// Says these bytes before the end; the peer has that patience.
    pub(super) fn of<S: RelayStream + Send + 'static>(
        mut stream: S,
        last: Vec<u8>,
        patience: Duration,
    ) -> Self {
        Closing(Box::pin(async move { close_gracefully(&mut stream, last, patience).await }))
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

/// Why a direction broke off.
#[derive(Debug)]
pub(super) enum FlowError {
    /// Its source.
    Read(io::Error),
    /// Its sink.
    Write(io::Error),
    /// The bytes.
    Protocol(ProtocolError),
}
