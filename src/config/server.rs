//! What the server half needs to know, and its reading.

use super::backends::{self, BackendRoutes};
use super::disguise::{self, Disguise};
use super::error::ConfigError;
use super::limits::limits;
use super::names::{self, NameRoute};
use super::options::Options;
use super::proxy::proxy;
use super::quic::{self, QuicServerConfig};
use super::tls::{Tls, TlsServerConfig, tls, tls_server};
use super::trusted::trusted_proxies;
use super::udp::udp;
use super::values::handshake;
use super::web;
use super::website::{Failover, Website, check_folder, failover};
use crate::detect::Rules;
use crate::net::addr::HostPort;
use crate::net::limits::LimitOptions;
use crate::net::network::TrustedProxies;
use std::fmt;

/// What the server half needs to know beyond the sockets.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The public addresses.
    pub listen: Vec<HostPort>,
    /// Shadowsocks.
    pub backend: HostPort,
    /// Those who go to another one.
    pub routes: BackendRoutes,
    /// Whether every kind of client is taken.
    pub auto: bool,
    /// Which connections are ours.
    pub rules: Rules,
    /// The websites behind the server.
    pub failover: Failover,
    /// The TLS of our own name.
    pub tls: Option<TlsServerConfig>,
    /// QUIC, where it is taken.
    pub quic: Option<QuicServerConfig>,
    /// Where TLS for other names goes.
    pub names: Vec<NameRoute>,
    /// Who stands in front, and is believed.
    pub fronts: TrustedProxies,
    /// How much there may be.
    pub limits: LimitOptions,
    /// gRPC was asked for by name: it is taken inside TLS though no website speaks HTTP/2.
    pub grpc_alone: bool,
    /// Whether UDP goes on to Shadowsocks.
    pub udp: bool,
}

impl ServerConfig {
    /// What is dialled, each with what says it in messages.
    pub fn behind(&self) -> impl Iterator<Item = (&'static str, &HostPort)> {
        let Failover { plain, tls, h2, clear, .. } = &self.failover;
        [
            ("failover", plain.port()),
            ("failover-tls", tls.as_ref()),
            ("failover-http", clear.as_ref().and_then(Website::port)),
            ("failover-h2", h2.as_ref()),
            ("failover-quic", self.quic.as_ref().and_then(|quic| quic.website.as_ref())),
            ("the backend", Some(&self.backend)),
        ]
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .chain(self.names.iter().map(|route| ("sni", &route.site)))
        .chain(self.routes.backends().map(|backend| ("route", backend)))
    }
}

impl fmt::Display for ServerConfig {
    /// What the start-up line says of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend {}, {}disguise {}", self.backend, self.routes, self.disguises())
    }
}

/// What a server takes, and where visitors go.
struct Disguises<'a>(&'a ServerConfig);

impl fmt::Display for Disguises<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disguises(it) = self;
        if it.auto {
            f.write_str("auto: ")?;
        }
        if let Some(quic) = &it.quic {
            f.write_str("quic")?;
            if let Some(website) = &quic.website {
                write!(f, " (failover {website})")?;
            }
            if quic.alone {
                f.write_str(if it.udp { ", UDP of clients" } else { "" })?;
                return it.limits.fmt(f);
            }
            f.write_str(", ")?;
        }
        disguise::fmt_rules(&it.rules, it.tls.is_some(), f)?;
        it.failover.fmt(f)?;
        for route in &it.names {
            write!(f, ", {route}")?;
        }
        it.fronts.fmt(f)?;
        f.write_str(if it.udp { ", UDP of clients" } else { "" })?;
        it.limits.fmt(f)
    }
}

impl ServerConfig {
    /// What the start-up line says of what it takes, and of where visitors go.
    pub fn disguises(&self) -> impl fmt::Display {
        Disguises(self)
    }

    /// Whether HTTP/2 is offered inside TLS: to visitors who have a website that speaks it, and to clients of gRPC.
    pub fn offers_h2(&self) -> bool {
        self.failover.h2.is_some() || self.grpc_alone
    }

    /// Whether clients with `obfs=tls` are not taken for the lack of a name of theirs, though the server is
    /// one for every kind of client.
    pub fn fake_tls_is_left_out(&self) -> bool {
        self.auto && !self.rules.tls_alone && self.rules.fake_tls.is_none()
    }

    /// The paths and names that only clients are to know. [`Display`](fmt::Display) leaves them out.
    pub fn secrets(&self) -> String {
        let all = [disguise::rule_secrets(&self.rules), self.routes.secrets()];
        all.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the settings of a server half for this Shadowsocks.
pub(super) fn server(
    options: &Options,
    listen: Vec<HostPort>,
    backend: HostPort,
    disguises: &[Disguise],
    home: Option<&str>,
) -> Result<ServerConfig, ConfigError> {
    options.check_website()?;
    // A client's options in a server's string are checked all the same: it is the string of both.
    handshake(options)?;
    web::mux(options, 1)?;
    web::headers(options)?;
    proxy(options)?;
    web::keep_alive(options)?;
    let takes = |disguise| disguises.contains(&disguise);
    let auto = takes(Disguise::Auto);
    let demand = match disguises {
        [Disguise::Quic] => Some(Tls::Only),
        _ => tls(options)?,
    };
    let tls = demand.map(|_| tls_server(options, home)).transpose()?;
    if tls.is_none() && options.get("cert").is_some() && options.get("key").is_some() {
        options.warn("options `cert` and `key` are not used: `tls` is missing".to_owned());
    }
    let quic = quic::server(options, disguises == [Disguise::Quic], auto, demand)?;
    let names = names::routes(options)?;
    if tls.is_none()
        && !takes(Disguise::FakeTls)
        && let Some(sni) = names::first(options, true)
    {
        return Err(ConfigError::needs_tls(sni));
    }
    let routes = backends::routes(options, &names, tls.is_some())?;
    let rules = disguise::rules(options, disguises, demand, !names.is_empty(), &routes)?;
    let in_the_clear = rules.grpc.is_some() && !rules.tls_alone;
    let failover = failover(options, tls.is_some(), auto && !rules.tls_alone, in_the_clear)?;
    let grpc_alone = takes(Disguise::Grpc);
    warn_of_visitors_without_website(options, &rules, &failover, tls.is_some(), grpc_alone);
    check_folder(options, &failover.plain)?;
    let fronts = trusted_proxies(options)?;
    let limits = limits(options)?;
    Ok(ServerConfig {
        listen,
        backend,
        routes,
        auto,
        rules,
        failover,
        tls,
        quic,
        names,
        fronts,
        limits,
        grpc_alone,
        udp: udp(options, disguises.iter().any(|disguise| disguise.row().udp))?,
    })
}

/// Warns where clients of gRPC and visitors over HTTP/2 cannot both be served.
fn warn_of_visitors_without_website(
    options: &Options,
    rules: &Rules,
    failover: &Failover,
    tls: bool,
    grpc_alone: bool,
) {
    if rules.grpc.is_none() || failover.h2.is_some() {
        return;
    }
    let site = if tls { failover.clear.as_ref().unwrap_or(&failover.plain) } else { &failover.plain };
    let site = site.port().filter(|_| !rules.tls_alone);
    if tls && !grpc_alone {
        options.warn(
            "option `serviceName`: clients of gRPC are not taken in TLS, since there is no website for visitors who speak \
             HTTP/2 there: name one with `failover-h2`"
                .to_owned(),
        );
    } else if tls && (failover.plain != Website::Bare || failover.tls.is_some()) {
        options.warn(
            "visitors who speak HTTP/2 in TLS, as browsers do, find no website: name one with `failover-h2`"
                .to_owned(),
        );
    }
    if let Some(site) = site {
        options.warn(format!(
            "clients of gRPC that wait for a server's first word, as v2ray's do, come in the clear only if the website at \
             {site} speaks HTTP/2 there: name one that does with `failover-h2`"
        ));
    }
}
