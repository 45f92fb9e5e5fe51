//! A tunnel that stands: all that is left of the stages that opened it, each of which is larger than it is.

use crate::relay::{Codec, Flow, Outcome, Relay, RelayStream, Side, Timeouts};
use std::io;
use std::pin::Pin;
use tokio::net::TcpStream;

/// A stream with its disguise, to be joined to a stream without: Shadowsocks, or its application.
pub struct Tunnel(Box<dyn Join + Send>);

/// A relay that runs.
pub type Relaying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Tunnel {
    /// On a connection that was dialled: the application's bytes go `up`.
    pub fn dialled<S, U, D>(stream: S, up: Flow<U>, down: Flow<D>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        U: Codec + Send + 'static,
        D: Codec + Send + 'static,
    {
        Tunnel(Box::new(Dialled { stream, up, down }))
    }

    /// On a connection that was accepted: its bytes go `up`. It may be known by a `write_error` that it
    /// takes nothing more; what it had sent before is passed on all the same, and then the error.
    pub fn accepted<S, U, D>(stream: S, up: Flow<U>, down: Flow<D>, write_error: Option<io::Error>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        U: Codec + Send + 'static,
        D: Codec + Send + 'static,
    {
        Tunnel(Box::new(Accepted { stream, up, down, write_error }))
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

struct Dialled<S, U, D> {
    stream: S,
    up: Flow<U>,
    down: Flow<D>,
}

impl<S, U, D> Join for Dialled<S, U, D>
where
    S: RelayStream + Send + 'static,
    U: Codec + Send + 'static,
    D: Codec + Send + 'static,
{
    fn join(self: Box<Self>, app: TcpStream, timeouts: Timeouts) -> Relaying {
        let Dialled { stream, up, down } = *self;
        Box::pin(Relay::new(app, stream, up, down, timeouts).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}

struct Accepted<S, U, D> {
    stream: S,
    up: Flow<U>,
    down: Flow<D>,
    write_error: Option<io::Error>,
}

impl<S, U, D> Join for Accepted<S, U, D>
where
    S: RelayStream + Send + 'static,
    U: Codec + Send + 'static,
    D: Codec + Send + 'static,
{
    fn join(self: Box<Self>, backend: TcpStream, timeouts: Timeouts) -> Relaying {
        let Accepted { stream, up, down, write_error } = *self;
        Box::pin(Relay::new(stream, backend, up, down, timeouts).broken(Side::Near, write_error).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}
