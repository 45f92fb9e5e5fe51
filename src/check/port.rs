//! The ports that are to be listened on: each is taken for a moment, all at the same time, and given back.

use super::report::Report;
use crate::net::addr::{Host, HostPort};
use crate::net::handed_over::HandedOver;
use crate::net::listen::{ListenError, Listeners};
use crate::net::options::SocketOptions;
use crate::os::holders::{Holder, excludes, holders};
use crate::runtime::blocking;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;
use tokio::time::timeout;

const STEP: &str = "listen";

/// How long names may take to be looked up: a system waits for half a minute.
pub(super) const LOOK_UP: Duration = Duration::from_secs(5);

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
    Tcp {
        _held: Listeners,
    },
    Udp {
        _held: Vec<UdpSocket>,
    },
    #[cfg(feature = "metrics")]
    Metrics {
        _held: crate::exporter::Held,
    },
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
        let bind = || {
            let (to_bind, sockets) = (addresses.to_vec(), sockets.clone());
            on_time(addresses, move || match over {
                Transport::Tcp => Listeners::bind(&to_bind, &sockets, HandedOver::default())
                    .map(|_held| Sockets::Tcp { _held }),
                Transport::Udp => crate::net::udp::bind(&to_bind).map(|_held| Sockets::Udp { _held }),
            })
        };
        let mut bound = bind().await;
        if let Ok(Err(error)) = &bound
            && let Some(address) = in_use(error)
            && cfg!(target_os = "linux")
            && others(address, over).is_empty()
            && self.rival(address, addresses, over).is_none()
        {
            // Another check had it for a moment, perhaps.
            bound = bind().await;
        }
        // (what the system has not, such as Fast Open)
        report.odd_ones(STEP);
        match bound {
            Ok(Ok(sockets)) => {
                self.held.push(sockets);
                let shown = addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", ");
                report.ok(STEP, format!("{}{shown} can be had", over.prefix()));
            }
            Ok(Err(error)) => match in_use(&error) {
                Some(address) => self.taken(address, addresses, over, &error, report),
                None => report.fails(STEP, error),
            },
            Err(why) => report.fails(STEP, why),
        }
    }

    /// Takes that of the metrics, without which a start goes on where somebody else has it.
    #[cfg(feature = "metrics")]
    pub(super) async fn check_metrics(&mut self, address: &HostPort, report: &mut Report) {
        const STEP: &str = "metrics";
        self.asked.push((address.clone(), Transport::Tcp));
        let to_bind = address.clone();
        let bind = move || crate::exporter::try_address(&to_bind).map(|_held| Sockets::Metrics { _held });
        match on_time(std::slice::from_ref(address), bind).await {
            Ok(Ok(sockets)) => {
                self.held.push(sockets);
                report.ok(STEP, format!("{address} can be had"));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                let holders = others(address, Transport::Tcp);
                let who = match holders.is_empty() {
                    true => String::new(),
                    false => format!(" by {}", names(&holders)),
                };
                let then = "a start goes on without metrics, and tries again until it has it";
                report.odd(STEP, format!("{address} is taken{who}: {then}"));
            }
            Ok(Err(error)) => report.fails(STEP, format!("cannot listen on {address}: {error}")),
            Err(why) => report.fails(STEP, why),
        }
    }

    /// Tells who has a port. The plugin that is checked may run already.
    fn taken(
        &self,
        address: &HostPort,
        list: &[HostPort],
        over: Transport,
        error: &ListenError,
        report: &mut Report,
    ) {
        let udp = over.prefix();
        let holders = others(address, over);
        if holders.iter().any(Holder::is_service_manager) {
            let what = "systemd has it, for the socket unit's service: it hands it over at the start";
            return report.odd(STEP, format!("{udp}{address}: {what}"));
        }
        if holders.is_empty()
            && let Some(rival) = self.rival(address, list, over)
        {
            let why = "these options ask for both, and one of them alone can be had";
            return report.fails(STEP, format!("{udp}{rival} and {udp}{address}: {why}"));
        }
        tell_holders(&format!("{udp}{address}"), &holders, error, report);
    }

    /// Another address that has been asked for, beside which this one of a list cannot be had. Of names it is not known.
    fn rival(&self, address: &HostPort, list: &[HostPort], over: Transport) -> Option<&HostPort> {
        let is_in_the_way = |other: &&HostPort| {
            let ips = other.ip().zip(address.ip());
            // (the two halves of everywhere are had together, in one list)
            let halves = |held: IpAddr, wanted: IpAddr| {
                held.is_unspecified() && wanted.is_unspecified() && held.is_ipv4() != wanted.is_ipv4()
            };
            other.port == address.port
                && ips.is_none_or(|(held, wanted)| {
                    excludes(held, wanted) && !(halves(held, wanted) && list.contains(other))
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
async fn on_time<T: Send + 'static>(
    addresses: &[HostPort],
    bind: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let names: Vec<_> = addresses
        .iter()
        .filter_map(|address| match &address.host {
            Host::Name(name) => Some(name.as_str()),
            Host::Ip(_) => None,
        })
        .collect();
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

/// Who else has a port.
fn others(address: &HostPort, over: Transport) -> Vec<Holder> {
    let mut holders = holders(address.ip(), address.port, over == Transport::Udp);
    holders.retain(|holder| holder.id != std::process::id());
    holders
}

fn names(holders: &[Holder]) -> String {
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(" and ")
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

/// Tells who has a port, and what becomes of a start beside another plugin. Where nobody is known, the error says it.
fn tell_holders(what: &str, holders: &[Holder], error: &dyn Display, report: &mut Report) {
    let names = names(holders);
    if holders.is_empty() {
        report.fails(STEP, format!("{error}; if the plugin runs already, it is the plugin itself"));
    } else if holders.iter().all(|holder| holder.is_this_program) {
        let then = "if that is this plugin, it runs; if it is another one, this one cannot start";
        report.odd(STEP, format!("{what} is taken by {names}: {then}"));
    } else {
        report.fails(STEP, format!("{what} is taken by {names}"));
    }
}
