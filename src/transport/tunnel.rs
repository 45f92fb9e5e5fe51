//! A tunnel that stands: all that is left of the stages that opened it, each of which is larger than it is. And
//! why there is none.

use super::answer::UpgradeError;
use super::grpc::GrpcError;
use super::quic::QuicError;
use super::tls::ConnectError;
use crate::metrics::Failure;
use crate::net::dial::DialError;
use crate::relay::{Flows, Outcome, Protocol, ProtocolError, Relay, RelayStream, Side, Timeouts};
use std::io;
use std::pin::Pin;
use thiserror::Error;
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

/// Why a client has no tunnel.
#[derive(Debug, Error)]
pub enum NotOpened {
    /// There is no connection to the server.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS with the server failed.
    #[error(transparent)]
    Tls(#[from] ConnectError),
    /// The QUIC connection has no stream.
    #[error(transparent)]
    Quic(#[from] QuicError),
    /// The HTTP/2 connection has no stream.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
    /// The server did not grant the upgrade.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The disguise has no room for what is asked of it.
    #[error("{0}")]
    Malformed(ProtocolError),
}

impl NotOpened {
    /// Where it failed, for the log.
    pub fn stage(&self) -> &'static str {
        match self {
            NotOpened::Dial(DialError::Proxy(..)) => "proxy",
            NotOpened::Dial(_) => "dial",
            NotOpened::Tls(_) => "tls",
            NotOpened::Quic(_) | NotOpened::Grpc(_) | NotOpened::Upgrade(_) | NotOpened::Malformed(_) => {
                "open"
            }
        }
    }

    /// The same, for those who count.
    pub fn failure(&self) -> Failure {
        match self {
            NotOpened::Dial(_) => Failure::Server,
            NotOpened::Tls(_) => Failure::Tls,
            NotOpened::Quic(_) | NotOpened::Grpc(_) | NotOpened::Upgrade(_) => Failure::Upgrade,
            NotOpened::Malformed(_) => Failure::Malformed,
        }
    }
}

/// Why a server has no tunnel.
#[derive(Debug, Error)]
pub enum NotAccepted {
    /// The client's connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The backend was dialled before it was known what comes, and cannot be reached.
    #[error("Shadowsocks: {0}")]
    Backend(DialError),
    /// The client's bytes are not what its format says.
    #[error("{0}")]
    Malformed(ProtocolError),
    /// The client closed before it had said anything.
    #[error("closed before its first byte")]
    Empty,
}

impl NotAccepted {
    /// Where it failed, for the log.
    pub fn stage(&self) -> &'static str {
        if matches!(self, NotAccepted::Backend(_)) { "dial" } else { "open" }
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
