//! HTTP/2 on the server half: a connection is the website's until its first request shows that it is a client's; then
//! each request has its own way. Connections of proxies that are trusted are served here from the start, since theirs
//! are the requests of many.

use super::error::Error;
use super::{Opened, Server};
use crate::config::Layer;
use crate::detect::{Handoff, Rules, UpstreamId};
use crate::fallback::{Begun, H2Website};
use crate::metrics::{self, Failure, VisitorClass};
use crate::net::conn_info::ConnInfo;
use crate::net::limits::Slot;
use crate::net::room::Room;
use crate::runtime::{balance, watchdog};
use crate::telemetry::{Kind, PathClass, Record, Target, TunnelKind};
use crate::transport::h2::{Arrived, Asked, Beginning, Extended, H2Connection, Requests};
use crate::transport::{Stream, grpc, websocket};
use crate::wire::grpc::Method;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::debug;

/// What all requests of a connection share.
struct Connection {
    server: Arc<Server>,
    info: ConnInfo,
    /// It is that of a proxy that is trusted.
    is_front: bool,
    layer: Layer,
    /// The name in its hello.
    name: Option<String>,
    site: Option<UpstreamId>,
    website: H2Website,
}

impl Server {
    /// Whether requests of ours may come over HTTP/2 in this layer. In the clear, WebSockets over HTTP/2 come from
    /// proxies alone.
    pub(super) fn takes_h2(&self, layer: Layer, info: &ConnInfo) -> bool {
        let rules = self.rules_of(layer);
        rules.takes_h2()
            && (layer == Layer::Tls || rules.grpc.is_some() || self.config.fronts.trust(info.visitor.ip()))
    }

    pub(super) fn rules_of(&self, layer: Layer) -> &Rules {
        if layer == Layer::Tls { &self.inside } else { &self.config.rules }
    }

    /// Opens a connection that speaks HTTP/2. Visitors are seen through here; a connection with a client's request is to
    /// be run.
    pub(super) async fn open_h2(
        self: &Arc<Server>,
        c: Handoff<Stream>,
        layer: Layer,
        site: Option<UpstreamId>,
        record: &mut Record,
    ) -> Result<Opened, Error> {
        let is_front = self.config.fronts.trust(c.info.visitor.ip());
        let name = c.io.server_name().map(str::to_owned);
        let info = c.info;
        let (c, beginning) = match site {
            Some(id) if !is_front => {
                record.kind = Kind::Visitor;
                record.target = self.fallback.target(id);
                let requests = Requests(self.rules_of(layer));
                let is_ours = |request: &http::Request<()>| requests.is_ours(request);
                match Box::pin(self.fallback.until_request(c, id, is_ours)).await.map_err(Error::NoVisit)? {
                    Begun::Visit(visit) => return Ok(Opened::Visit(visit)),
                    Begun::Ours(c, taken) => (*c, Beginning::TakenOver(taken)),
                    Begun::Untouched(c) => untouched(*c),
                }
            }
            _ => untouched(c),
        };
        let connection = Arc::new(Connection {
            server: Arc::clone(self),
            info,
            is_front,
            layer,
            name,
            site,
            website: H2Website::new(info),
        });
        Ok(Opened::Requests(Box::pin(connection.serve(c.io, beginning))))
    }
}

impl Connection {
    /// Serves all requests of the connection.
    async fn serve(self: Arc<Self>, io: Stream, beginning: Beginning) {
        let peer = self.info.visitor;
        let takes_websockets =
            self.server.rules_of(self.layer).http.as_ref().is_some_and(|rule| rule.web_path.is_some());
        let mut connection = match H2Connection::begin(io, beginning, takes_websockets).await {
            Ok(connection) => connection,
            Err(error) => {
                debug!(%peer, %error, "HTTP/2 has not begun");
                return metrics::connection_failed(Failure::Gone);
            }
        };
        let (room, mut retired) = (Arc::new(Room::default()), self.server.retired.subscribe());
        loop {
            let next = tokio::select! {
                biased;
                next = connection.next() => next,
                _ = until_retired(&mut retired), if !connection.ends() => {
                    connection.end();
                    continue;
                }
            };
            match next {
                Some(Ok(arrived)) => {
                    let (connection, room) = (Arc::clone(&self), Arc::clone(&room));
                    // (it waits alone: what is here drives all the others)
                    let request = async move {
                        room.wait().await;
                        connection.request(arrived).await;
                    };
                    balance::spawn(watchdog::watched(Some(peer), request));
                }
                Some(Err(error)) => {
                    debug!(%peer, %error, "HTTP/2 connection broke");
                    break;
                }
                None => break,
            }
        }
    }

    /// Serves one request to its end.
    async fn request(self: Arc<Self>, arrived: Arrived) {
        let server = &self.server;
        let mut info = self.info;
        info.read_forwarded_for(&forwarded_for(&arrived), &server.config.fronts);
        let mut record = Record::new(info);
        record.tls = self.layer == Layer::Tls;
        let asked = Requests(server.rules_of(self.layer)).asked(&arrived.request);
        // Who gets no place is a visitor, as from every other server that takes no such request.
        let slot = match asked {
            Asked::Other => None,
            _ => server.slot(&info).await,
        };
        match (asked, slot) {
            (Asked::Tunnel(method), Some(slot)) => self.tunnel(arrived, method, slot, record).await,
            (Asked::WebSocket(extended), Some(slot)) => self.websocket(arrived, extended, slot, record).await,
            (asked, _) => {
                record.path = Some(if asked == Asked::Other { PathClass::Other } else { PathClass::Ours });
                self.visit(arrived, record).await;
            }
        }
    }

    async fn tunnel(&self, arrived: Arrived, method: Method, slot: Option<Slot>, mut record: Record) {
        (record.kind, record.path) = (Kind::Tunnel(TunnelKind::Grpc), Some(PathClass::Ours));
        let (role, backend) = self.server.backends.of_name(self.name.as_deref());
        let target = Target { role, address: Arc::clone(backend.shown()) };
        record.target = Some(target.clone());
        let by_proxy = self.is_front || says_proxy(&arrived);
        let accepted = Box::pin(grpc::accept(arrived, method, by_proxy, backend)).await;
        self.server.serve_accepted(accepted, slot, backend, target, record).await;
    }

    async fn websocket(&self, arrived: Arrived, extended: Extended, slot: Option<Slot>, mut record: Record) {
        (record.kind, record.path) = (Kind::Tunnel(TunnelKind::WebSocket), Some(PathClass::Ours));
        let (role, backend) = self.server.backends.of_path_or_name(extended.route, self.name.as_deref());
        let target = Target { role, address: Arc::clone(backend.shown()) };
        record.target = Some(target.clone());
        let accepted = Box::pin(websocket::accept_extended(arrived, extended, backend)).await;
        self.server.serve_accepted(accepted, slot, backend, target, record).await;
    }

    /// Has the website answer.
    async fn visit(&self, arrived: Arrived, mut record: Record) {
        record.kind = Kind::Visitor;
        let Some(id) = self.site else {
            arrived.refuse();
            return record.failed("refused", &"there is no website that speaks HTTP/2");
        };
        record.target = self.server.fallback.target(id);
        let _open = self.server.fallback.visitors().count(VisitorClass::H2, id);
        match Box::pin(self.server.fallback.answer(id, &self.website, arrived)).await {
            Ok(answered) => record.answered(answered),
            Err(error) => {
                debug!(peer = %record.info, %error, "a visitor's request has no answer");
                record.failed("failed", &error);
            }
        }
    }
}

/// A connection that nobody has answered.
fn untouched(mut c: Handoff<Stream>) -> (Handoff<Stream>, Beginning) {
    let read = std::mem::take(&mut c.read_buf);
    (c, Beginning::Fresh(read))
}

/// Waits until another server is in this one's place.
async fn until_retired(retired: &mut watch::Receiver<bool>) {
    if retired.wait_for(|retired| *retired).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the request says that a proxy stands in between, trusted or not.
fn says_proxy(arrived: &Arrived) -> bool {
    const NAMES: [&str; 6] =
        ["via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "x-request-id"];
    NAMES.iter().any(|name| arrived.request.headers().contains_key(*name))
}

/// For whom the request says that it comes, as a head of HTTP/1.
fn forwarded_for(arrived: &Arrived) -> Vec<u8> {
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    for value in arrived.request.headers().get_all("x-forwarded-for") {
        head.extend_from_slice(b"X-Forwarded-For: ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
