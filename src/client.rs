//! The client half: accept, dial, open the disguise, relay.

use crate::metrics::{self, Failure};
use crate::mux::Pool;
use crate::net::Names;
use crate::net::conn_info::ConnInfo;
use crate::relay::{self, Timeouts};
use crate::service::{Current, Serve};
use crate::telemetry::{Record, Target};
#[cfg(feature = "grpc")]
use crate::transport::GrpcOpener;
use crate::transport::{NotAccepted, Opener, WebOpener};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

mod start;
mod udp;

use udp::Carrier;

/// How long the request waits for the application's first bytes. Shadowsocks speaks at once; where the
/// far end speaks first, the request goes out alone after this.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(100);

/// The most that travels with the request.
const FIRST_BYTES: usize = 16 * 1024;

/// The client half: what all its connections share.
#[derive(Debug)]
pub struct Client {
    opener: Opening,
    /// What carries UDP, where that is taken.
    udp: Option<Carrier>,
    timeouts: Timeouts,
    /// What is known of the names of the servers.
    names: Arc<Names>,
}

/// Into what an application's connection goes.
#[derive(Debug)]
enum Opening {
    /// Into a tunnel of its own.
    Tunnel(Box<Opener>),
    /// Into a connection that it may share with others.
    Session(Arc<Pool<WebOpener>>),
    /// The same, into a stream of an HTTP/2 connection.
    #[cfg(feature = "grpc")]
    GrpcSession(Arc<Pool<GrpcOpener>>),
}

impl Serve for Client {
    async fn serve_udp(
        current: Arc<Current<Client>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        let carry = move |source| {
            if let Some(carrier) = &current.get().udp {
                carrier.carry(source);
            }
        };
        udp::serve(carry, sockets, closing).await;
    }

    async fn serve(self: Arc<Client>, mut app: TcpStream, peer: SocketAddr) {
        let mut record = Record::new(ConnInfo::new(peer));
        let Some(first) = first_bytes(&mut app).await else {
            debug!(%peer, "closed before sending anything");
            metrics::connection_failed(Failure::Empty);
            return record.failed("gone", &NotAccepted::Empty);
        };
        let spoke = Instant::now();
        let opener = match &self.opener {
            Opening::Session(pool) => {
                drop(record.unlisted());
                return pool.carry(app, first, peer);
            }
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => {
                drop(record.unlisted());
                return pool.carry(app, first, peer);
            }
            Opening::Tunnel(opener) => opener,
        };
        record.kind = opener.kind();
        record.target = Some(Target { role: "server", address: Arc::clone(opener.server()) });
        // On the heap, and gone when the tunnel stands, which does not carry it through its life.
        match Box::pin(opener.open(first)).await {
            Ok(tunnel) => {
                record.stands(spoke.elapsed());
                let mut outcome = tunnel.relay(app, self.timeouts).await;
                record.ended(&outcome);
                outcome.close().await;
            }
            Err(error) => {
                // Its end in order would look like that of an answer.
                relay::reset(&app);
                warn!(%peer, stage = error.stage(), %error, "tunnel failed");
                metrics::connection_failed(error.failure());
                record.failed("failed", &error);
            }
        }
    }
}

/// What the application says at first; nothing, if it waits for the other end to speak. `None` if it
/// closes before it has said anything, as hosts do that only look whether somebody listens.
async fn first_bytes(app: &mut TcpStream) -> Option<Vec<u8>> {
    let mut first = Vec::new();
    match timeout(FIRST_BYTES_WAIT, relay::read_some(app, &mut first, FIRST_BYTES)).await {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(_)) | Err(_) => Some(first),
    }
}
