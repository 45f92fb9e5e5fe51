//! A tunnel that stands: all that is left of the stages that opened it, each of which is larger than it is.

use crate::relay::{Flows, Outcome, Protocol, Relay, RelayStream, Side, Timeouts};
use std::io;
use std::pin::Pin;
use tokio::net::TcpStream;

/// A stream with its disguise, to be joined to a stream without: Shadowsocks, or its application.
pub struct Tunnel(Box<dyn Join + Send>);

/// A relay that runs.
pub type Relaying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Tunnel {
    /// On a connection that was dialled: the application's bytes go `up`.
    pub fn dialled<S, P>(stream: S, flows: Flows<P>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        P: Protocol + Send + 'static,
    {
        Tunnel(Box::new(Dialled { stream, flows }))
    }

    /// On a connection that was accepted: its bytes go `up`. It may be known by a `write_error` that it
    /// takes nothing more; what it had sent before is passed on all the same, and then the error.
    pub fn accepted<S, P>(stream: S, flows: Flows<P>, write_error: Option<io::Error>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        P: Protocol + Send + 'static,
    {
        Tunnel(Box::new(Accepted { stream, flows, write_error }))
    }

    /// Passes everything on between the tunnel and the other stream until both have ended.
    pub fn relay(self, other: TcpStream, timeouts: Timeouts) -> Relaying {
        self.0.join(other, timeouts)
    }

    /// Closes the tunnel with a reset, so that its peer does not take that for an end in order.
    pub fn abort(mut self) {
        self.0.abort();
    }
}

trait Join {
    fn join(self: Box<Self>, other: TcpStream, timeouts: Timeouts) -> Relaying;
    fn abort(&mut self);
}

struct Dialled<S, P> {
    stream: S,
    flows: Flows<P>,
}

impl<S, P> Join for Dialled<S, P>
where
    S: RelayStream + Send + 'static,
    P: Protocol + Send + 'static,
{
    fn join(self: Box<Self>, app: TcpStream, timeouts: Timeouts) -> Relaying {
        let Dialled { stream, flows } = *self;
        Box::pin(Relay::new(app, stream, flows, timeouts).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}

struct Accepted<S, P> {
    stream: S,
    flows: Flows<P>,
    write_error: Option<io::Error>,
}

impl<S, P> Join for Accepted<S, P>
where
    S: RelayStream + Send + 'static,
    P: Protocol + Send + 'static,
{
    fn join(self: Box<Self>, backend: TcpStream, timeouts: Timeouts) -> Relaying {
        let Accepted { stream, flows, write_error } = *self;
        Box::pin(Relay::new(stream, backend, flows, timeouts).broken(Side::Accepted, write_error).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}
