//! The ports that are to be listened on: each is taken for a moment, all at the same time, and given back.

use super::LOOK_UP;
use super::report::Report;
use crate::net::addr::{Host, HostPort};
use crate::net::handed_over::HandedOver;
use crate::net::listen::{ListenError, Listeners};
use crate::net::options::SocketOptions;
use crate::os::holders::{Holder, excludes, holders};
use crate::runtime::blocking;
use std::fmt::Display;
use std::io;
use std::net::UdpSocket;
use tokio::time::timeout;

const STEP: &str = "listen";

/// Which of the two a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// What stands in front of an address of it.
    fn prefix(self) -> &'static str {
        match self {
            Transport::Tcp => "",
            Transport::Udp => "UDP ",
        }
    }
}

/// Ports that are held until all have been asked for: one half cannot have the same port twice.
#[derive(Default)]
pub(super) struct Ports {
    held: Vec<Sockets>,
    asked: Vec<(HostPort, Transport)>,
}

/// What listens.
enum Sockets {
    Tcp { _held: Listeners },
    Udp { _held: Vec<UdpSocket> },
}

impl Ports {
    /// Takes these.
    pub(super) async fn check(
        &mut self,
        addresses: &[HostPort],
        over: Transport,
        sockets: &SocketOptions,
        report: &mut Report,
    ) {
        self.asked.extend(addresses.iter().map(|address| (address.clone(), over)));
        let mut bound = bind(addresses, over, sockets).await;
        if let Ok(Err(error)) = &bound
            && let Some(address) = in_use(error)
            && self.rival(address, addresses, over).is_none()
            && cfg!(target_os = "linux")
            && holders(address.ip(), address.port, over == Transport::Udp).is_empty()
        {
            // Another check had it for a moment, perhaps.
            bound = bind(addresses, over, sockets).await;
        }
        // (what the system has not, such as Fast Open)
        report.odd_ones(STEP);
        let shown = addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", ");
        let udp = over.prefix();
        match bound {
            Ok(Ok(sockets)) => {
                self.held.push(sockets);
                report.ok(STEP, format!("{udp}{shown} can be had"));
            }
            Ok(Err(error)) => match in_use(&error) {
                Some(address) => match self.rival(address, addresses, over) {
                    Some(rival) => {
                        let why = "these options ask for both, and one of them alone can be had";
                        report.fails(STEP, format!("{udp}{rival} and {udp}{address}: {why}"));
                    }
                    None => taken(address, over, &error, report),
                },
                None => report.fails(STEP, error),
            },
            Err(why) => report.fails(STEP, why),
        }
    }

    /// Another address that has been asked for, beside which this one of a list cannot be had.
    fn rival(&self, address: &HostPort, list: &[HostPort], over: Transport) -> Option<&HostPort> {
        let ip = address.ip()?;
        let is_in_the_way = |other: &&HostPort| {
            other.port == address.port
                && other.ip().is_some_and(|held| {
                    // (both in one list are two halves of everywhere)
                    let halves =
                        held.is_unspecified() && ip.is_unspecified() && held.is_ipv4() != ip.is_ipv4();
                    excludes(held, ip) && !(halves && list.contains(other))
                })
        };
        let asked = self.asked.iter().filter(|(_, of)| *of == over).map(|(other, _)| other);
        // (this one stands among them, and may do so twice)
        let found: Vec<_> = asked.filter(is_in_the_way).collect();
        found.iter().copied().find(|other| *other != address).or_else(|| found.get(1).copied())
    }
}

/// Listens. Where there are names, they are looked up elsewhere, and not waited for as long as the system does: the text
/// says so.
async fn bind(
    addresses: &[HostPort],
    over: Transport,
    sockets: &SocketOptions,
) -> Result<Result<Sockets, ListenError>, String> {
    let names: Vec<_> = addresses
        .iter()
        .filter_map(|address| match &address.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Ip(_) => None,
        })
        .collect();
    let (to_bind, sockets) = (addresses.to_vec(), sockets.clone());
    let bind = move || match over {
        Transport::Tcp => {
            Listeners::bind(&to_bind, &sockets, HandedOver::default()).map(|_held| Sockets::Tcp { _held })
        }
        Transport::Udp => crate::net::udp::bind(&to_bind).map(|_held| Sockets::Udp { _held }),
    };
    if names.is_empty() {
        return Ok(bind());
    }
    let names = names.join(", ");
    match timeout(LOOK_UP, blocking::NAMES.run(bind)).await {
        Ok(Ok(bound)) => Ok(bound),
        Ok(Err(error)) => Err(format!("cannot look up {names}: {error}")),
        Err(_) => Err(format!("cannot look up {names}: no answer within {} s", LOOK_UP.as_secs())),
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
    let udp = over.prefix();
    let holders = holders(address.ip(), address.port, over == Transport::Udp);
    if holders.iter().any(Holder::is_service_manager) {
        let what = "systemd has it, for the socket unit's service: it hands it over at the start";
        return report.odd(STEP, format!("{udp}{address}: {what}"));
    }
    let otherwise = "this one cannot start";
    tell_holders(STEP, &format!("{udp}{address}"), &holders, error, otherwise, report);
}

/// Tells who has what is to be listened on, and what becomes of a start beside another plugin. Where nobody is known, the
/// error says it.
pub(super) fn tell_holders(
    step: &str,
    what: &str,
    holders: &[Holder],
    error: &dyn Display,
    otherwise: &str,
    report: &mut Report,
) {
    let names = holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(" and ");
    if holders.is_empty() {
        report.fails(step, format!("{error}; if the plugin runs already, it is the plugin itself"));
    } else if holders.iter().all(|holder| holder.is_this_program) {
        let then = format!("if that is this plugin, it runs; if it is another one, {otherwise}");
        report.odd(step, format!("{what} is taken by {names}: {then}"));
    } else {
        report.fails(step, format!("{what} is taken by {names}"));
    }
}
