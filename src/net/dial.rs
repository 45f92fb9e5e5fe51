//! Dialling: every address of every host, raced as RFC 8305 has it, the one that worked first.

use super::circle::OwnAddresses;
use super::outgoing;
use crate::config::{Host, HostPort, SocketOptions};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a name may take to be looked up.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long looked-up addresses are used.
const RESOLVE_LIFETIME: Duration = Duration::from_secs(60);

/// The head start of one attempt before the next (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// How long an address that failed, or that had not answered when another did, stands behind the others.
const DEAD_FOR: Duration = Duration::from_secs(60);

/// Why nothing could be dialled.
#[derive(Debug, Error)]
pub enum DialError {
    /// No name gave an address.
    #[error("cannot look up {0}")]
    Lookup(String),
    /// The family of the source address is none of theirs.
    #[error("none of {0} can be dialled from {1}")]
    Family(String, IpAddr),
    /// It leads back to this process.
    #[error("{0} leads back to this process, which listens on {1}")]
    Circle(SocketAddr, SocketAddr),
    /// No address answered; each with what it said.
    #[error("cannot connect to {0}")]
    Connect(String),
}

/// Dials one of several hosts, and remembers what worked.
#[derive(Debug)]
pub struct Dialer {
    targets: Vec<HostPort>,
    options: SocketOptions,
    /// Addresses that would lead back to this process.
    own: OwnAddresses,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The addresses of the targets in their order, and when they were looked up.
    resolved: Option<(Instant, Vec<SocketAddr>)>,
    /// The address that answered last.
    preferred: Option<SocketAddr>,
    /// Addresses that failed, and when.
    dead: HashMap<SocketAddr, Instant>,
}

impl Dialer {
    /// A dialer for these hosts, the preferred one first.
    pub fn new(targets: Vec<HostPort>, options: SocketOptions) -> Dialer {
        Dialer { targets, options, own: OwnAddresses::default(), memory: Mutex::default() }
    }

    /// The same, which does not dial these addresses, though a name may lead to them.
    pub fn without(self, own: OwnAddresses) -> Dialer {
        Dialer { own, ..self }
    }

    /// A connection to the first address that answers.
    ///
    /// # Errors
    ///
    /// None of them did.
    pub async fn connect(&self) -> Result<TcpStream, DialError> {
        Ok(self.connect_with(&[]).await?.0)
    }

    /// A connection to the first address that answers, for one who already knows what to say: with Fast
    /// Open, as much of `first` as fits travels in the SYN. Returns how many bytes of it are on their
    /// way and must not be sent again.
    ///
    /// # Errors
    ///
    /// No address answered.
    pub async fn connect_with(&self, first: &[u8]) -> Result<(TcpStream, usize), DialError> {
        let candidates = self.candidates().await?;
        let mut failures = Vec::new();
        match self.race(&candidates, first, &mut failures).await {
            Some((address, stream, sent)) => {
                let mut memory = self.memory();
                memory.preferred = Some(address);
                memory.dead.remove(&address);
                Ok((stream, sent))
            }
            None => Err(DialError::Connect(failures.join("; "))),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses to try, in the order in which to try them.
    async fn candidates(&self) -> Result<Vec<SocketAddr>, DialError> {
        let known = self.memory().resolved.clone();
        let addresses = match known {
            Some((at, addresses)) if at.elapsed() < RESOLVE_LIFETIME => addresses,
            stale => match self.resolve().await {
                Ok(addresses) => {
                    self.memory().resolved = Some((Instant::now(), addresses.clone()));
                    addresses
                }
                // Old addresses are better than none while the name server is away.
                Err(error) => stale.map(|(_, addresses)| addresses).ok_or(error)?,
            },
        };
        let mut addresses = addresses;
        if let Some((address, own)) = self.own.remove_from(&mut addresses) {
            return Err(DialError::Circle(address, own));
        }
        let mut memory = self.memory();
        memory.dead.retain(|_, since| since.elapsed() < DEAD_FOR);
        let rank = |address: &SocketAddr| match (memory.preferred == Some(*address), memory.dead.get(address))
        {
            (_, Some(_)) => 2,
            (true, None) => 0,
            (false, None) => 1,
        };
        let mut candidates = addresses;
        if let Some(source) = self.options.source {
            let all: Vec<_> = candidates.iter().map(ToString::to_string).collect();
            candidates.retain(|address| address.is_ipv4() == source.is_ipv4());
            if candidates.is_empty() {
                return Err(DialError::Family(all.join(", "), source));
            }
        }
        candidates.sort_by_key(rank);
        Ok(candidates)
    }

    /// Looks all names up.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut failures = Vec::new();
        for HostPort { host, port } in &self.targets {
            match host {
                Host::Ip(ip) => addresses.push(SocketAddr::new(*ip, *port)),
                Host::Name(name) => {
                    let lookup = tokio::net::lookup_host((name.as_str(), *port));
                    match timeout(RESOLVE_TIMEOUT, lookup).await {
                        Ok(Ok(found)) => addresses.extend(interleave(found, self.options.ipv6_first)),
                        Ok(Err(error)) => failures.push(format!("{name}: {error}")),
                        Err(_) => failures.push(format!("{name}: no answer")),
                    }
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        if addresses.is_empty() { Err(DialError::Lookup(failures.join("; "))) } else { Ok(addresses) }
    }

    /// Tries one address after the other, each with a head start, until one answers.
    ///
    /// `first` goes with the first attempt alone: the same bytes at two addresses of one server would
    /// look to it like somebody who repeats what he has overheard.
    async fn race(
        &self,
        candidates: &[SocketAddr],
        first: &[u8],
        failures: &mut Vec<String>,
    ) -> Option<(SocketAddr, TcpStream, usize)> {
        let mut waiting = candidates.iter().copied();
        let favourite_address = waiting.next()?;
        // The common case, one attempt that answers soon, needs no tasks.
        let mut favourite = pin!(outgoing::connect(favourite_address, &self.options, first));
        let early = if candidates.len() == 1 {
            Some(favourite.as_mut().await)
        } else {
            timeout(STAGGER, favourite.as_mut()).await.ok()
        };
        let mut running = JoinSet::new();
        // Those whose head start is over: if another wins now, they are slow.
        let mut overdue = Vec::new();
        let mut favourite_runs = early.is_none();
        match early {
            Some(Ok((stream, sent))) => return Some((favourite_address, stream, sent)),
            Some(Err(error)) => self.note_failure(favourite_address, &error, failures),
            None => overdue.push(favourite_address),
        }
        let mut latest = None;
        loop {
            if let Some(next) = waiting.next() {
                let options = self.options.clone();
                running.spawn(async move { (next, outgoing::connect(next, &options, &[]).await) });
                latest = Some(next);
            } else if running.is_empty() && !favourite_runs {
                return None;
            }
            let stagger = tokio::time::sleep(STAGGER);
            let (address, result) = tokio::select! {
                result = favourite.as_mut(), if favourite_runs => {
                    favourite_runs = false;
                    (favourite_address, result)
                }
                Some(Ok(ended)) = running.join_next() => ended,
                () = stagger, if waiting.len() > 0 => {
                    overdue.extend(latest);
                    continue;
                }
            };
            match result {
                Ok((stream, sent)) => {
                    let slow = overdue.into_iter().filter(|slow| *slow != address);
                    self.memory().dead.extend(slow.map(|slow| (slow, Instant::now())));
                    return Some((address, stream, sent));
                }
                Err(error) => self.note_failure(address, &error, failures),
            }
        }
    }

    fn note_failure(&self, address: SocketAddr, error: &io::Error, failures: &mut Vec<String>) {
        failures.push(format!("{address}: {error}"));
        self.memory().dead.insert(address, Instant::now());
    }
}

/// A name's addresses with the families by turns, so that one family that leads nowhere costs one head
/// start (RFC 8305 section 4). The system's first choice stays first unless IPv6 is asked for.
fn interleave(found: impl Iterator<Item = SocketAddr>, ipv6_first: bool) -> Vec<SocketAddr> {
    let found: Vec<SocketAddr> = found.collect();
    let v6_leads = ipv6_first || found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut leading, mut other) =
        found.iter().copied().partition::<std::collections::VecDeque<_>, _>(|it| it.is_ipv6() == v6_leads);
    let mut ordered = Vec::with_capacity(found.len());
    while !leading.is_empty() || !other.is_empty() {
        ordered.extend(leading.pop_front());
        ordered.extend(other.pop_front());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        for (found, v6_first, wanted) in [
            ("1.0.0.1 1.0.0.2 [::1]", false, "1.0.0.1 [::1] 1.0.0.2"),
            ("1.0.0.1 1.0.0.2 [::1]", true, "[::1] 1.0.0.1 1.0.0.2"),
            ("[::1] [::2] [::3] 1.0.0.1", false, "[::1] 1.0.0.1 [::2] [::3]"),
            ("1.0.0.1 1.0.0.2", true, "1.0.0.1 1.0.0.2"),
        ] {
            let parse = |text: &str| -> Vec<SocketAddr> {
                text.split(' ').map(|host| format!("{host}:80").parse().unwrap()).collect()
            };
            assert_eq!(interleave(parse(found).into_iter(), v6_first), parse(wanted));
        }
    }
}
