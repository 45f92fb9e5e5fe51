//! QUIC on the server half: each stream of a connection is a tunnel. (What is not for us never comes here.)

mod packets;

use super::Server;
use crate::metrics::{self, Failure};
use crate::net::conn_info::ConnInfo;
use crate::net::room::Room;
use crate::relay::{Flows, Identity};
use crate::runtime::{balance, watchdog};
use crate::service::Current;
use crate::telemetry::{Kind, Record, Target, TunnelKind};
use crate::transport::Tunnel;
use crate::transport::quic::demux::Rules;
use crate::transport::quic::{
    Arriving, Listener, QuicConnection, QuicStream, Refusal, Settings, asks_for_us, offers_as_ours,
};
use crate::wire::tls::ClientHello;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, info};

/// Serves these sockets until they are to be closed.
pub(super) async fn serve(
    current: Arc<Current<Server>>,
    sockets: Vec<UdpSocket>,
    closing: impl Future<Output = ()>,
) {
    let Some(settings) = current.get().quic.clone() else { return closing.await };
    let mut listeners = Vec::new();
    for socket in sockets {
        match Listener::new(socket, &settings, rules(&current)) {
            Ok(listener) => listeners.push(Arc::new(listener)),
            Err(error) => error!(%error, "cannot wait for QUIC connections"),
        }
    }
    let mut accepting = JoinSet::new();
    let room = Arc::new(Room::default());
    for listener in &listeners {
        accepting.spawn(accept(Arc::clone(&current), Arc::clone(listener), Arc::clone(&room)));
    }
    closing.await;
    accepting.shutdown().await;
    for listener in listeners {
        listener.close().await;
    }
}

/// Whose connections are whose: as the half says that serves now.
fn rules(current: &Arc<Current<Server>>) -> Rules {
    let website = current.get().quic_website.clone();
    let welcome = {
        let current = Arc::clone(current);
        move || current.get().fallback.visitors().count_quic()
    };
    let (current, has_website) = (Arc::clone(current), website.is_some());
    let strangers = Strangers::default();
    let is_ours = move |hello: &ClientHello<'_>, local: Option<IpAddr>| {
        let server = current.get();
        // A name with a route of its own is no website's.
        let has_route =
            |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| server.backends.has_name(name));
        let h3_is_ours = !has_website || hello.server_name.is_some_and(has_route);
        let is_our_name = |name: &[u8]| server.tls.as_ref().is_some_and(|tls| tls.is_for(name));
        let asks_for_us = asks_for_us(hello, local, is_our_name);
        if !has_website && !asks_for_us && hello.has_alpn() && offers_as_ours(hello, false) {
            strangers.note(hello.server_name.unwrap_or_default());
        }
        asks_for_us && offers_as_ours(hello, h3_is_ours)
    };
    Rules { is_ours: Box::new(is_ours), website, welcome: Arc::new(welcome) }
}

/// Clients that may be ours but for the name that they ask for. They get no answer, so nobody but the log tells.
#[derive(Debug, Default)]
struct Strangers(Mutex<(Option<Instant>, u64)>);

impl Strangers {
    /// One more. The first is told at once, others once a minute.
    fn note(&self, name: &[u8]) {
        const EVERY: Duration = Duration::from_secs(60);
        debug!(name = %name.escape_ascii(), "a QUIC client asks for another name");
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, more) = &mut *told;
        *more += 1;
        if at.is_none_or(|at| at.elapsed() >= EVERY) {
            info!(
                clients = std::mem::take(more),
                "QUIC for a name that the certificate does not have is not answered: is a client's option `host` (or \
                 `sni`) wrong?"
            );
            *at = Some(Instant::now());
        }
    }
}

/// Gives each connection a task of its own.
async fn accept(current: Arc<Current<Server>>, listener: Arc<Listener>, room: Arc<Room>) {
    while let Some(arriving) = listener.accept().await {
        metrics::accepted();
        let Some(settings) = current.get().quic.clone() else { continue };
        tokio::spawn(watchdog::watched(
            None,
            connection(Arc::clone(&current), arriving, settings, Arc::clone(&room)),
        ));
    }
}

/// Makes the handshake, and gives each stream a task of its own.
async fn connection(current: Arc<Current<Server>>, arriving: Arriving, settings: Settings, room: Arc<Room>) {
    let peer = arriving.peer();
    let connection = match arriving.establish(&settings).await {
        Ok(connection) => connection,
        // It comes again.
        Err(Refusal::Retry) => return,
        Err(error) => {
            debug!(%peer, %error, "QUIC handshake failed");
            metrics::connection_failed(Failure::Tls);
            return Record::new(ConnInfo::new(peer)).failed("refused", &error);
        }
    };
    let name: Option<Arc<str>> = connection.server_name().map(Into::into);
    let connection = Arc::new(connection);
    if let Some(ways) = connection.packets() {
        let (current, connection, name) = (Arc::clone(&current), Arc::clone(&connection), name.clone());
        let packets = async move { packets::serve(&current, &connection, name.as_deref(), ways).await };
        tokio::spawn(watchdog::watched(Some(peer), packets));
    }
    let ended = loop {
        room.wait().await;
        match connection.next_stream().await {
            Ok(stream) => serve_stream(&current, &connection, stream, name.clone()),
            Err(error) => break error,
        }
    };
    debug!(%peer, %ended, "QUIC connection ended");
}

fn serve_stream(
    current: &Current<Server>,
    connection: &QuicConnection,
    stream: QuicStream,
    name: Option<Arc<str>>,
) {
    let (server, peer) = (current.get(), connection.peer());
    let tunnel = async move { server.serve_stream(stream, ConnInfo::new(peer), name.as_deref()).await };
    balance::spawn(watchdog::watched(Some(peer), tunnel));
}

impl Server {
    /// Serves a tunnel to its end.
    async fn serve_stream(&self, stream: QuicStream, info: ConnInfo, name: Option<&str>) {
        let mut record = Record::new(info);
        (record.kind, record.tls) = (Kind::Tunnel(TunnelKind::Quic), true);
        let tunnel = Tunnel::accepted(stream, Flows::new(Identity), None);
        let Some(slot) = self.slot(&info).await else {
            // Its client is not to take that for an end in order.
            tunnel.abort();
            return record.failed("refused", &"there are as many tunnels as there may be");
        };
        let (role, backend) = self.backends.of_name(name);
        record.target = Some(Target { role, address: Arc::clone(backend.shown()) });
        self.serve_tunnel(tunnel, slot, backend, record).await;
    }
}
