//! A client's tunnel, and which Shadowsocks server it leads to.

use super::packets;
use crate::config::ServerConfig;
use crate::detect::{ClientKind, Handoff};
use crate::metrics::To;
use crate::mux;
use crate::net::addr::HostPort;
use crate::net::dial::Dialer;
use crate::net::limits::{SessionLimits, Slot, hold};
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
use crate::telemetry::{Kind, PathClass, Record, Target, TunnelKind};
use crate::transport::{self, Accepted, NotAccepted, Relaying, Stream};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// All backends.
#[derive(Debug)]
pub(super) struct Backends {
    main: Arc<Dialer>,
    /// By the number of a path.
    by_path: Vec<Arc<Dialer>>,
    /// By a name in hellos, in lower case.
    by_name: HashMap<String, Arc<Dialer>>,
    /// Each once.
    all: Vec<Arc<Dialer>>,
    timeouts: Timeouts,
    /// Whether UDP is taken.
    udp: bool,
    /// Whether clients of simple-obfs may ask for any path.
    takes_any_http_path: bool,
}

impl Backends {
    /// Those of this configuration. None leads back to `own`.
    pub(super) fn new(
        config: &ServerConfig,
        sockets: &SocketOptions,
        timeouts: Timeouts,
        own: &OwnAddresses,
    ) -> Backends {
        // One dialer for each address: it remembers what it knows of it.
        let mut dialers = HashMap::new();
        let mut dialer = |address: &HostPort| {
            let new = || {
                let dialer = Dialer::new(vec![address.clone()], sockets.clone()).to(To::Backend);
                Arc::new(dialer.without(own.clone()))
            };
            Arc::clone(dialers.entry(address.clone()).or_insert_with(new))
        };
        Backends {
            main: dialer(&config.backend),
            by_path: config.routes.by_path.iter().map(|(_, backend)| dialer(backend)).collect(),
            by_name: config
                .routes
                .by_name
                .iter()
                .map(|(name, backend)| (name.clone(), dialer(backend)))
                .collect(),
            all: dialers.into_values().collect(),
            timeouts,
            udp: config.udp,
            takes_any_http_path: config.rules.takes_any_http_path(),
        }
    }

    /// The one of all who have no route of their own.
    pub(super) fn main(&self) -> &Arc<Dialer> {
        &self.main
    }

    /// Those of routes, each with its address.
    pub(super) fn of_routes<'a>(
        &'a self,
        config: &'a ServerConfig,
    ) -> impl Iterator<Item = (&'a HostPort, &'a Arc<Dialer>)> {
        let by_path =
            config.routes.by_path.iter().zip(&self.by_path).map(|((_, address), dialer)| (address, dialer));
        let by_name = config.routes.by_name.iter();
        by_path.chain(by_name.filter_map(|(name, address)| Some((address, self.by_name.get(name)?))))
    }

    /// The one that this client's tunnel leads to, and by which option. A path says more than a name: it is the client's own, while the
    /// name may be what all of a website's visitors ask for.
    pub(super) fn of(&self, kind: &ClientKind, client: &Stream) -> (&'static str, &Arc<Dialer>) {
        let by_path = kind.route().and_then(|number| self.by_path.get(number));
        match by_path.or_else(|| self.by_name(client.server_name()?)) {
            Some(backend) => ("route", backend),
            None => ("backend", &self.main),
        }
    }

    /// The one that a tunnel leads to that asks for the path of this number, in a connection that asked for this name.
    #[cfg(feature = "grpc")]
    pub(super) fn of_path_or_name(
        &self,
        route: Option<usize>,
        name: Option<&str>,
    ) -> (&'static str, &Arc<Dialer>) {
        match route.and_then(|number| self.by_path.get(number)) {
            Some(backend) => ("route", backend),
            None => self.of_name(name),
        }
    }

    /// The one that tunnels lead to whose connection asked for this name.
    #[cfg(any(feature = "quic", feature = "grpc"))]
    pub(super) fn of_name(&self, name: Option<&str>) -> (&'static str, &Arc<Dialer>) {
        match name.and_then(|name| self.by_name(name)) {
            Some(backend) => ("route", backend),
            None => ("backend", &self.main),
        }
    }

    /// Whether this name has a route of its own.
    #[cfg(feature = "quic")]
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.by_name(name).is_some()
    }

    /// Whether any of them can be connected to; if not, why. Which one a client wants is not known, and where one of
    /// several is away, the others still serve theirs.
    pub(super) async fn check(&self) -> Result<(), String> {
        let mut checks = JoinSet::new();
        for dialer in &self.all {
            let dialer = Arc::clone(dialer);
            checks.spawn(async move { dialer.check().await.map(drop) });
        }
        let mut missing = Vec::new();
        while let Some(checked) = checks.join_next().await {
            match checked {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => missing.push(error.to_string()),
                Err(_) => {}
            }
        }
        Err(format!("Shadowsocks: {}", missing.join("; ")))
    }

    /// What dials them.
    pub(super) fn dialers(&self) -> impl Iterator<Item = &Dialer> {
        self.all.iter().map(|dialer| &**dialer)
    }

    /// Opens a tunnel for a client, which is to be run. It has its slot, where there is one, to its end.
    pub(super) async fn tunnel(
        &self,
        c: Handoff<Stream>,
        kind: ClientKind,
        slot: Option<Slot>,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (io, read_buf) = c.into_parts();
        let (role, backend) = self.of(&kind, &io);
        let target = Target { role, address: Arc::clone(backend.shown()) };
        record.kind = transport::kind(&kind);
        let may_be_any = self.takes_any_http_path && record.kind == Kind::Tunnel(TunnelKind::Http);
        record.path = kind.upgrade().map(|upgrade| match upgrade.route {
            None if may_be_any => PathClass::Any,
            _ => PathClass::Ours,
        });
        record.target = Some(target.clone());
        let accepted = Box::pin(transport::accept(io, kind, read_buf, backend)).await?;
        self.relaying(accepted, slot, backend, target, record).await
    }

    /// Joins what a client was granted to the backend.
    pub(super) async fn relaying(
        &self,
        accepted: Accepted,
        slot: Option<Slot>,
        backend: &Arc<Dialer>,
        target: Target,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (tunnel, dialled) = match accepted {
            Accepted::Tunnel(tunnel, dialled) => (tunnel, dialled),
            Accepted::Mux(open, dialled) => {
                record.kind = Kind::Mux;
                let limits = slot.map(|slot| SessionLimits::new(slot, record.info));
                let backend = mux::Backend::new(Arc::clone(backend), dialled, limits, record.info, target)
                    .with_udp(self.udp);
                return Ok(mux::serve(open, backend, self.timeouts));
            }
            Accepted::Packets(open) => {
                record.kind = Kind::UDP;
                let packets = packets::serve(*open, backend, slot.as_ref(), self.udp);
                return Ok(hold(slot, packets));
            }
        };
        let backend = match dialled {
            Some(backend) => Ok(backend),
            None => Box::pin(backend.connect()).await,
        };
        match backend {
            Ok(backend) => Ok(hold(slot, tunnel.relay(backend, self.timeouts))),
            Err(error) => {
                // The client would take the end of the connection for that of an answer.
                tunnel.abort();
                Err(NotAccepted::Backend(error))
            }
        }
    }

    fn by_name(&self, name: &str) -> Option<&Arc<Dialer>> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(&name.trim_end_matches('.').to_ascii_lowercase())
    }
}
