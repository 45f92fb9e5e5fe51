//! UDP on the client half: who says something at the local port, and what carries it.

use crate::config::ClientDisguise;
use crate::mux::Pool;
use crate::net::Dialer;
use crate::relay::Timeouts;
use crate::service::StartError;
#[cfg(feature = "grpc")]
use crate::transport::GrpcOpener;
use crate::transport::{QuicPackets, WebOpener};
use crate::udp::{PacketSocket, Port, Source, Sources};
use std::future::poll_fn;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

mod connections;

use connections::Connections;

/// The sessions of UDP in one connection of Mux.Cool: they take little.
pub(super) const SESSIONS: usize = 64;

/// What carries the sessions.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Sessions of Mux.Cool, in WebSocket. The connections are others than those of TCP: neither waits for the other.
    Session(Arc<Pool<WebOpener>>),
    /// WebSocket connections without mux, one a source.
    Connection(Arc<Connections>),
    /// The same in gRPC.
    #[cfg(feature = "grpc")]
    GrpcSession(Arc<Pool<GrpcOpener>>),
    /// Datagrams of QUIC.
    Quic(Arc<QuicPackets>),
}

impl Carrier {
    /// What carries UDP with this disguise to the server that is dialled.
    pub(super) fn new(
        disguise: &ClientDisguise,
        dialer: Dialer,
        timeouts: Timeouts,
    ) -> Result<Carrier, StartError> {
        Ok(match disguise.clone() {
            #[cfg(feature = "grpc")]
            ClientDisguise::Grpc(grpc) => {
                let opener = GrpcOpener::new(grpc, dialer)?;
                Carrier::GrpcSession(Arc::new(Pool::new(opener, SESSIONS, 0, timeouts)))
            }
            ClientDisguise::Web(web) => {
                let is_mux = web.mux > 0;
                let opener = WebOpener::new(web, dialer)?;
                if !is_mux {
                    return Ok(Carrier::Connection(Arc::new(Connections::new(opener))));
                }
                Carrier::Session(Arc::new(Pool::new(opener, SESSIONS, 0, timeouts)))
            }
            ClientDisguise::Quic(quic) => Carrier::Quic(Arc::new(QuicPackets::new(quic, dialer)?)),
            _ => return Err(StartError::LeftOut),
        })
    }

    /// Carries what a source says, and hears.
    pub(super) fn carry(&self, source: Source) {
        let peer = source.remote().address;
        match self {
            Carrier::Session(pool) => pool.carry_packets(Port::from(source), peer),
            Carrier::Connection(connections) => connections.carry(source),
            #[cfg(feature = "grpc")]
            Carrier::GrpcSession(pool) => pool.carry_packets(Port::from(source), peer),
            Carrier::Quic(quic) => quic.carry(Port::from(source)),
        }
    }

    /// Tells servers that the process ends, where the system does not do that.
    pub(super) async fn close(&self) {
        match self {
            Carrier::Quic(quic) => quic.close().await,
            #[cfg(feature = "grpc")]
            Carrier::GrpcSession(_) => {}
            Carrier::Session(_) | Carrier::Connection(_) => {}
        }
    }

    /// No further sessions are begun.
    pub(super) fn retire(&self) {
        match self {
            Carrier::Session(pool) => pool.retire(),
            // (a connection is for one source)
            Carrier::Connection(_) => {}
            #[cfg(feature = "grpc")]
            Carrier::GrpcSession(pool) => pool.retire(),
            Carrier::Quic(quic) => quic.retire(),
        }
    }
}

/// Serves these sockets until they are to be closed; then their sessions end. `carry` gives each source a session.
pub(super) async fn serve(
    carry: impl Fn(Source) + Clone + Send + 'static,
    sockets: Vec<UdpSocket>,
    closing: impl Future<Output = ()>,
) {
    let mut receiving = JoinSet::new();
    for socket in sockets {
        match PacketSocket::new(socket) {
            Ok(socket) => drop(receiving.spawn(receive(carry.clone(), Arc::new(socket)))),
            Err(error) => error!(%error, "cannot wait for UDP packets"),
        }
    }
    closing.await;
    receiving.shutdown().await;
}

/// Gives each source that says something a session.
async fn receive(carry: impl Fn(Source), socket: Arc<PacketSocket>) {
    /// After so many errors in a row there is a pause.
    const ERRORS: usize = 64;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut sources = Sources::new(Arc::clone(&socket));
    let mut new = Vec::new();
    let mut errors = 0;
    loop {
        let now = Instant::now();
        let received =
            poll_fn(|cx| socket.poll_recv(cx, |from, packet| new.extend(sources.take(from, packet, now))))
                .await;
        match received {
            Ok(_) => errors = 0,
            // (where nobody hears an answer any more, some systems tell so here)
            Err(error) => {
                debug!(%error, "cannot receive over UDP");
                errors += 1;
                if errors % ERRORS == 0 {
                    sleep(PAUSE).await;
                }
            }
        }
        new.drain(..).for_each(&carry);
    }
}
