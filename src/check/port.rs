//! The ports that are to be listened on: each is taken for a moment, and given back.

use super::report::Report;
use crate::net::addr::HostPort;
use crate::net::handed_over::HandedOver;
use crate::net::listen::{ListenError, Listeners};
use crate::net::options::SocketOptions;
use crate::os::holders::{Holder, holders};
use std::io;

const STEP: &str = "listen";

/// Which of the two a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Takes the ports, and gives them back.
pub(super) fn check(addresses: &[HostPort], over: Transport, sockets: &SocketOptions, report: &mut Report) {
    let bind = || match over {
        Transport::Tcp => Listeners::bind(addresses, sockets, HandedOver::default()).map(drop),
        Transport::Udp => crate::net::udp::bind(addresses).map(drop),
    };
    let mut bound = bind();
    if let Err(error) = &bound
        && let Some(address) = in_use(error)
        && cfg!(target_os = "linux")
        && holders(address.port, over == Transport::Udp).is_empty()
    {
        // Another check had it for a moment, perhaps.
        bound = bind();
    }
    // (what the system has not, such as Fast Open)
    report.odd_ones(STEP);
    let shown = addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", ");
    let udp = if over == Transport::Udp { "UDP " } else { "" };
    match bound {
        Ok(()) => report.ok(STEP, format!("{udp}{shown} can be had")),
        Err(error) => match in_use(&error) {
            Some(address) => taken(address, over, &error, report),
            None => report.fails(STEP, error),
        },
    }
}

/// The address that somebody else has, where that is the reason.
fn in_use(error: &ListenError) -> Option<&HostPort> {
    match error {
        ListenError::Address { address, error } | ListenError::Udp { address, error } => {
            (error.kind() == io::ErrorKind::AddrInUse).then_some(address)
        }
        ListenError::HandedOver(_) => None,
    }
}

/// Tells who has a port. The plugin that is checked may run already.
fn taken(address: &HostPort, over: Transport, error: &ListenError, report: &mut Report) {
    let udp = if over == Transport::Udp { "UDP " } else { "" };
    let holders = holders(address.port, over == Transport::Udp);
    let names: Vec<_> = holders.iter().map(Holder::to_string).collect();
    if holders.iter().any(Holder::is_service_manager) {
        let what = "systemd has it, for the socket unit's service: it hands it over at the start";
        return report.odd(STEP, format!("{udp}{address}: {what}"));
    }
    if !holders.is_empty() && holders.iter().all(|holder| holder.is_this_program) {
        let names = names.join(" and ");
        let what = "if that is this plugin, it runs; if it is another one, this one cannot start";
        return report.odd(STEP, format!("{udp}{address} is taken by {names}: {what}"));
    }
    if holders.is_empty() {
        return report.fails(STEP, format!("{error}; if the plugin runs already, it is the plugin itself"));
    }
    report.fails(STEP, format!("{udp}{address} is taken by {}", names.join(" and ")));
}
