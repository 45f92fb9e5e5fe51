//! The server half: its ports, its certificate, and what is behind it.

#[cfg(feature = "tls")]
use super::certificate;
use super::port::{Ports, Transport};
use super::report::Report;
use crate::config::{NamePattern, SaidAddresses, ServerConfig, TunnelConfig, Website};
use crate::net::own_addresses::OwnAddresses;
use crate::server::{Server, Target, Visited};
use crate::service::{Half as _, StartError};
use tokio::task::JoinSet;

/// Checks a server half.
pub(super) async fn check(
    config: ServerConfig,
    tunnel: &TunnelConfig,
    said: SaidAddresses,
    mut ports: Ports,
    report: &mut Report,
) {
    report.ok("disguise", config.disguises());
    if said.remote {
        if config.quic.as_ref().is_none_or(|quic| !quic.alone) {
            ports.check(&config.listen, Transport::Tcp, &tunnel.sockets, report).await;
        }
        if config.quic.is_some() {
            ports.check(&config.listen, Transport::Udp, &tunnel.sockets, report).await;
        }
    } else {
        report.unknown("listen", "no public address is given (`--listen HOST:PORT`)");
    }
    drop(ports);
    let tls = match Server::acceptor(&config) {
        Ok(tls) => tls,
        Err(error) => {
            report.fails("certificate", StartError::from(error));
            None
        }
    };
    #[cfg(feature = "tls")]
    if let Some(tls) = &tls {
        certificate::check(tls, config.tls.as_ref().and_then(|tls| tls.name.as_deref()), report);
    }
    let own = if said.remote { OwnAddresses::to_be(&config.listen) } else { OwnAddresses::default() };
    let server = match Server::unbound(config.clone(), tunnel, tls, &own) {
        Ok(server) => server,
        Err(error) => return report.fails("addresses", error),
    };
    server.log_hints();
    report.odd_ones("options");
    // (whoever comes in TLS meets that of `failover-tls`)
    let is_plain_met = config.failover.plain != Website::Bare || config.failover.tls.is_none();
    if is_plain_met && let Some(text) = own_website(&config.failover.plain) {
        report.ok("website", text);
    }
    behind(&config, &server, said, report).await;
    if config.quic.as_ref().is_some_and(|quic| quic.website.is_some()) {
        report
            .unknown("the website of the option `failover-quic`", "whether it answers over UDP is not asked");
    }
}

/// What there is to say of a website that is served from here.
fn own_website(site: &Website) -> Option<String> {
    match site {
        Website::Port(_) => None,
        Website::Bare => Some("there is none (`failover`): visitors meet an empty nginx".to_owned()),
        other => Some(format!("{other}, served by this program")),
    }
}

/// Visits all that is behind, at the same time, and tells of them in their order.
async fn behind(config: &ServerConfig, server: &Server, said: SaidAddresses, report: &mut Report) {
    let mut visits = JoinSet::new();
    let mut found = Vec::new();
    for target in server.targets() {
        if !said.local && target.is_shadowsocks() && *target.address() == config.backend {
            let lacks = "no address of Shadowsocks is given (`--backend HOST:PORT`); a host chooses one";
            report.unknown("Shadowsocks", lacks);
            continue;
        }
        let name = name_for(config, &target);
        let (place, udp) = (found.len(), config.udp && *target.address() == config.backend);
        found.push(None);
        visits.spawn(async move {
            let visited = target.visit(name.as_deref()).await;
            let lacks_udp = if udp { target.lacks_udp() } else { None };
            (place, target.what().to_owned(), visited, lacks_udp)
        });
    }
    while let Some(visit) = visits.join_next().await {
        if let Ok((place, what, visited, lacks_udp)) = visit
            && let Some(slot) = found.get_mut(place)
        {
            *slot = Some((what, visited, lacks_udp));
        }
    }
    // (what a visit has said stands in its line)
    drop(report.take_warnings());
    for (what, visited, lacks_udp) in found.into_iter().flatten() {
        match visited {
            Visited::Fine(text) => report.ok(&what, text),
            Visited::Odd(text) => report.odd(&what, text),
            Visited::Fails(text) => report.fails(&what, text),
        }
        if let Some(text) = lacks_udp {
            report.odd("udp", text);
        }
    }
}

/// The name that visitors of this one ask for.
fn name_for(config: &ServerConfig, target: &Target) -> Option<String> {
    let of_route = config.names.iter().find(|route| route.site == *target.address());
    match of_route.map(|route| &route.pattern) {
        Some(NamePattern::Exact(name)) => Some(name.clone()),
        Some(NamePattern::Below(suffix)) => Some(format!("www{suffix}")),
        None => config.tls.as_ref().and_then(|tls| tls.name.clone()),
    }
}
