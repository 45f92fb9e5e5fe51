//! Dialling: every address of every host, raced as RFC 8305 has it, the one that worked first.

mod datagrams;

use super::names::Names;
use super::outgoing;
use super::own_addresses::OwnAddresses;
use super::proxy::{Proxy, Through};
use super::reached::{self, Reached};
use crate::metrics;
use crate::net::addr::HostPort;
use crate::net::options::SocketOptions;
use crate::runtime::watchdog;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
#[cfg(feature = "quic")]
use std::{future::poll_fn, pin::Pin, task::Poll};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long a name may take to be looked up where nothing is known of it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long names that are not known yet are waited for where other hosts could be dialled meanwhile.
const RESOLVE_HEAD_START: Duration = Duration::from_secs(2);

/// How long the answer is waited for when all known addresses have failed.
const RESOLVE_AGAIN: Duration = Duration::from_secs(3);

/// After this long without an answer from any known address, their name is asked for again.
const SILENCE: Duration = Duration::from_secs(2);

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
    /// There are no descriptors for another connection.
    #[error("there are no descriptors for another connection (option `n`, `ulimit -n`, or the memory)")]
    NoDescriptors,
    /// No address answered; each with what it said.
    #[error("cannot connect to {0}")]
    Connect(String),
    /// The proxy cannot be dialled, or leads nowhere.
    #[error("the proxy {0}: {1}")]
    Proxy(String, String),
}

/// Dials one of several hosts, or a proxy that leads to them, and remembers what worked.
#[derive(Debug)]
pub struct Dialer {
    names: Arc<Names>,
    options: SocketOptions,
    /// The hosts, as they are shown.
    shown: Arc<str>,
    /// Addresses that would lead back to this process.
    own: OwnAddresses,
    /// What is dialled is a proxy, which is to be joined to one of the servers behind it.
    through: Option<Through>,
    memory: Mutex<Memory>,
    /// Who these hosts are, for those who count.
    to: metrics::To,
}

#[derive(Debug, Default)]
struct Memory {
    /// The address that answered last.
    preferred: Option<SocketAddr>,
    /// Addresses that failed, and when.
    dead: HashMap<SocketAddr, Instant>,
}

impl Dialer {
    /// A dialer for these hosts, the preferred one first: a client's servers.
    pub fn new(targets: Vec<HostPort>, options: SocketOptions) -> Dialer {
        let shown = all(&targets);
        let names = Names::new(targets, options.ipv6_first);
        Dialer {
            names,
            options,
            shown,
            own: OwnAddresses::default(),
            through: None,
            memory: Mutex::default(),
            to: metrics::To::Server,
        }
    }

    /// The same for others than servers.
    pub fn to(self, to: metrics::To) -> Dialer {
        Dialer { to, ..self }
    }

    /// A dialler for these hosts, the preferred one first, that reaches them through a proxy.
    pub fn through(proxy: Proxy, targets: Vec<HostPort>, options: SocketOptions) -> Dialer {
        let dialer = Dialer::new(vec![proxy.address.clone()], options);
        Dialer { shown: all(&targets), through: Some(Through::new(proxy, targets)), ..dialer }
    }

    /// The same, which does not dial these addresses, though a name may lead to them.
    pub fn without(self, own: OwnAddresses) -> Dialer {
        Dialer { own, ..self }
    }

    /// What is known of the names of the hosts.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The hosts, for people.
    pub fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// Whether the sockets are asked to leave in a certain way, in which not everything may be reached that is there.
    pub fn is_restricted(&self) -> bool {
        let SocketOptions { interface, source, mark, .. } = &self.options;
        interface.is_some() || source.is_some() || mark.is_some()
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
    /// Open, as much of `first` as fits travels in the SYN; through a proxy, nothing of it. Returns how many
    /// bytes of it are on their way and must not be sent again.
    ///
    /// # Errors
    ///
    /// No address answered, or none that the proxy was asked for.
    pub async fn connect_with(&self, first: &[u8]) -> Result<(TcpStream, usize), DialError> {
        let began = Instant::now();
        let connected = match &self.through {
            None => self.dial(first).await,
            Some(through) => {
                // On the heap: who dials without a proxy is not to carry it.
                let joined = Box::pin(self.connect_through(through)).await;
                joined
                    .map(|stream| (stream, 0))
                    .map_err(|why| DialError::Proxy(through.proxy.to_string(), why))
            }
        };
        match &connected {
            Ok(_) => metrics::dialled(self.to, began.elapsed()),
            Err(_) => metrics::dial_failed(self.to),
        }
        connected
    }

    /// Whether they can be dialled: a connection that does not count.
    ///
    /// # Errors
    ///
    /// No address answered.
    pub async fn check(&self) -> Result<TcpStream, DialError> {
        Ok(self.dial(&[]).await?.0)
    }

    /// A connection to the proxy, joined to the first server that it reaches.
    async fn connect_through(&self, through: &Through) -> Result<TcpStream, String> {
        let proxy = &through.proxy;
        let mut failures = Vec::new();
        for (number, server) in through.in_order() {
            let first = proxy.first_bytes(server);
            let (stream, sent) = self.dial(&first).await.map_err(|error| error.to_string())?;
            watchdog::stage("proxy");
            match proxy.join(stream, server, first.get(sent..).unwrap_or_default()).await {
                Ok(stream) => {
                    through.reached(number);
                    reached::note(|| Reached::Joined(server.to_string()));
                    return Ok(stream);
                }
                Err(error) if error.is_for_all() => return Err(error.to_string()),
                Err(error) => failures.push(format!("to {server}: {error}")),
            }
        }
        Err(failures.join("; "))
    }

    /// The first connection that `connect` makes to one of the addresses, where that is none of TCP.
    ///
    /// # Errors
    ///
    /// None of them answered.
    #[cfg(feature = "quic")]
    pub(crate) async fn dial_with<T, C>(&self, connect: impl Fn(SocketAddr) -> C) -> Result<T, DialError>
    where
        C: Future<Output = io::Result<T>>,
    {
        let began = Instant::now();
        watchdog::stage("dial");
        let (candidates, _) = self.candidates().await?;
        let mut failures = Vec::new();
        let mut waiting: VecDeque<SocketAddr> = candidates.into();
        let mut running: Vec<(SocketAddr, Pin<Box<C>>)> = Vec::new();
        loop {
            match waiting.pop_front() {
                Some(next) => running.push((next, Box::pin(connect(next)))),
                None if running.is_empty() => {
                    metrics::dial_failed(self.to);
                    // The next one finds what is new.
                    self.names.ask_anew(began);
                    return Err(DialError::Connect(failures.join("; ")));
                }
                None => {}
            }
            let first_of_all = poll_fn(|cx| {
                let ready = running.iter_mut().enumerate().find_map(|(index, (_, attempt))| {
                    match attempt.as_mut().poll(cx) {
                        Poll::Ready(result) => Some((index, result)),
                        Poll::Pending => None,
                    }
                });
                ready.map_or(Poll::Pending, Poll::Ready)
            });
            let ended = if waiting.is_empty() {
                Some(first_of_all.await)
            } else {
                timeout(STAGGER, first_of_all).await.ok()
            };
            let Some((index, result)) = ended else { continue };
            let (address, _) = running.swap_remove(index);
            match result {
                Ok(connection) => {
                    let mut memory = self.memory();
                    memory.preferred = Some(address);
                    memory.dead.remove(&address);
                    memory.dead.extend(running.iter().map(|(slow, _)| (*slow, Instant::now())));
                    metrics::dialled(self.to, began.elapsed());
                    reached::note(|| Reached::Connected(address));
                    return Ok(connection);
                }
                Err(error) => self.note_failure(address, &error, &mut failures),
            }
        }
    }

    /// A UDP socket from which this address can be reached.
    ///
    /// # Errors
    ///
    /// What was asked of sockets cannot be had.
    #[cfg(feature = "quic")]
    pub(crate) async fn udp_socket(&self, address: SocketAddr) -> io::Result<std::net::UdpSocket> {
        outgoing::udp_socket(address, &self.options).await
    }

    async fn dial(&self, first: &[u8]) -> Result<(TcpStream, usize), DialError> {
        watchdog::stage("dial");
        let (candidates, asking) = self.candidates().await?;
        let mut failures = Vec::new();
        let raced = self.race(candidates, asking, first, &mut failures).await;
        let (address, stream, sent) = raced.ok_or_else(|| DialError::Connect(failures.join("; ")))?;
        let mut memory = self.memory();
        memory.preferred = Some(address);
        memory.dead.remove(&address);
        reached::note(|| Reached::Connected(address));
        Ok((stream, sent))
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses to try, in the order in which to try them. Who knows some does not wait for a name
    /// server. True if it may say something newer soon.
    async fn candidates(&self) -> Result<(Vec<SocketAddr>, bool), DialError> {
        let mut asking = self.names.refresh();
        if asking && self.names.lacks_some() {
            self.names.answers(RESOLVE_HEAD_START, RESOLVE_TIMEOUT).await;
            asking = false;
        }
        let addresses = self.names.addresses();
        if addresses.is_empty() {
            return Err(DialError::Lookup(self.names.errors()));
        }
        Ok((self.in_order(addresses)?, asking))
    }

    /// Leaves what cannot be dialled out, and puts first what answered last.
    fn in_order(&self, mut candidates: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, DialError> {
        if let Some((address, own)) = self.own.remove_from(&mut candidates) {
            return Err(DialError::Circle(address, own));
        }
        let mut memory = self.memory();
        memory.dead.retain(|_, since| since.elapsed() < DEAD_FOR);
        if let Some(source) = self.options.source {
            let all: Vec<_> = candidates.iter().map(ToString::to_string).collect();
            candidates.retain(|address| address.is_ipv4() == source.is_ipv4());
            if candidates.is_empty() {
                return Err(DialError::Family(all.join(", "), source));
            }
        }
        candidates.sort_by_key(|address| {
            let dead = memory.dead.contains_key(address);
            (dead, !dead && memory.preferred != Some(*address))
        });
        Ok(candidates)
    }

    /// Addresses that the name server tells of while others are tried.
    async fn news(&self, most: Duration) -> Vec<SocketAddr> {
        self.names.all_answers(most).await;
        self.in_order(self.names.addresses()).unwrap_or_default()
    }

    /// Tries one address after the other, each with a head start, until one answers.
    ///
    /// `first` goes with the first attempt alone: the same bytes at two addresses of one server would
    /// look to it like somebody who repeats what he has overheard.
    /// While the name server is `asking`ed, and when all addresses have failed, its answer may bring others.
    async fn race(
        &self,
        candidates: Vec<SocketAddr>,
        asking: bool,
        first: &[u8],
        failures: &mut Vec<String>,
    ) -> Option<(SocketAddr, TcpStream, usize)> {
        let began = Instant::now();
        let mut tried: Vec<SocketAddr> = candidates.clone();
        let mut waiting: VecDeque<SocketAddr> = candidates.into();
        let favourite_address = waiting.pop_front()?;
        // The common case, one attempt that answers soon, needs no tasks.
        let mut favourite = pin!(outgoing::connect(favourite_address, &self.options, first));
        let early = if waiting.is_empty() && !self.names.any() {
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
        let mut news = asking.then(|| Box::pin(self.news(RESOLVE_AGAIN)));
        // What is asked already is as new as can be.
        let mut may_ask = !asking;
        let mut latest = None;
        loop {
            if let Some(next) = waiting.pop_front() {
                let options = self.options.clone();
                running.spawn(async move { (next, outgoing::connect(next, &options, &[]).await) });
                latest = Some(next);
            } else if running.is_empty() && !favourite_runs && news.is_none() {
                if !std::mem::take(&mut may_ask) || !self.names.ask_anew(began) {
                    return None;
                }
                news = Some(Box::pin(self.news(RESOLVE_AGAIN)));
            }
            let stagger = tokio::time::sleep(STAGGER);
            let silence = tokio::time::sleep_until(began + SILENCE);
            let (address, result) = tokio::select! {
                result = favourite.as_mut(), if favourite_runs => {
                    favourite_runs = false;
                    (favourite_address, result)
                }
                Some(ended) = running.join_next() => match ended {
                    Ok(ended) => ended,
                    // An attempt that panicked has failed.
                    Err(_) => continue,
                },
                Some(found) = async { Some(news.as_mut()?.await) } => {
                    news = None;
                    for address in found {
                        if !tried.contains(&address) {
                            tried.push(address);
                            waiting.push_back(address);
                        }
                    }
                    continue;
                }
                () = stagger, if !waiting.is_empty() => {
                    overdue.extend(latest);
                    continue;
                }
                () = silence, if may_ask && news.is_none() && self.names.any() => {
                    may_ask = false;
                    news = self.names.ask_anew(began).then(|| Box::pin(self.news(RESOLVE_AGAIN)));
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

/// Hosts, for people.
fn all(targets: &[HostPort]) -> Arc<str> {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::addr::Host;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream as StdStream};
    use std::sync::{Condvar, Mutex};

    fn dialer(addresses: &[SocketAddr]) -> Dialer {
        let target = |address: &SocketAddr| HostPort { host: Host::Ip(address.ip()), port: address.port() };
        Dialer::new(addresses.iter().map(target).collect(), SocketOptions::default())
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address at which a connection is refused.
    fn refusing() -> SocketAddr {
        listener().1
    }

    /// An address at which nobody answers, until what is returned is dropped: its queue is full.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn silent() -> (socket2::Socket, StdStream, SocketAddr) {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let waiting = StdStream::connect(address).unwrap();
        (socket, waiting, address)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_one_head_start_and_stands_behind_the_others_for_a_while() {
        let (_full, _waiting, silent) = silent();
        let (_open, open) = listener();
        let dialer = dialer(&[silent, open]);
        for head_start in [STAGGER, Duration::ZERO] {
            let began = Instant::now();
            assert_eq!(dialer.connect().await.unwrap().peer_addr().unwrap(), open);
            let took = began.elapsed();
            assert!((head_start..head_start + STAGGER / 2).contains(&took), "{took:?}");
        }
        dialer.memory().preferred = None;
        assert_eq!(dialer.in_order(vec![silent, open]).unwrap(), [open, silent]);
        tokio::time::advance(DEAD_FOR).await;
        assert_eq!(dialer.in_order(vec![silent, open]).unwrap(), [silent, open]);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_refuse_are_not_waited_for_and_each_is_named() {
        let (one, other) = (refusing(), refusing());
        let began = Instant::now();
        let error = dialer(&[one, other]).connect().await.unwrap_err().to_string();
        assert!(error.contains(&one.to_string()) && error.contains(&other.to_string()), "{error}");
        assert!(began.elapsed() < STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_name_server_costs_a_head_start_where_another_host_is_known() {
        static END: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let look_up = |_: &str, _| {
            drop(END.1.wait_while(END.0.lock().unwrap(), |end| !*end).unwrap());
            Err(io::ErrorKind::TimedOut.into())
        };
        let name = HostPort::parse("www.example.com:80").unwrap();
        let (_open, open) = listener();
        let known = HostPort { host: Host::Ip(open.ip()), port: open.port() };
        for (targets, wait) in
            [(vec![name.clone(), known], RESOLVE_HEAD_START), (vec![name], RESOLVE_TIMEOUT)]
        {
            let answers = targets.len() > 1;
            let names = Names::with(targets, false, look_up);
            let dialer = Dialer { names, ..dialer(&[]) };
            let began = Instant::now();
            match dialer.connect().await {
                Ok(stream) => assert!(answers && stream.peer_addr().unwrap() == open),
                Err(error) => assert!(!answers && matches!(error, DialError::Lookup(_)), "{error}"),
            }
            let took = began.elapsed();
            assert!((wait..wait + STAGGER).contains(&took), "{took:?}");
        }
        *END.0.lock().unwrap() = true;
        END.1.notify_all();
    }

    #[test]
    fn what_cannot_be_dialled_is_left_out_or_said() {
        let (v4, v6) = (SocketAddr::from(([192, 0, 2, 1], 80)), SocketAddr::from((Ipv6Addr::LOCALHOST, 80)));
        let options = SocketOptions { source: Some(Ipv4Addr::LOCALHOST.into()), ..SocketOptions::default() };
        let from_v4 = Dialer { options, ..dialer(&[]) };
        assert_eq!(from_v4.in_order(vec![v6, v4]).unwrap(), [v4]);
        assert!(matches!(from_v4.in_order(vec![v6]), Err(DialError::Family(..))));
        let own = OwnAddresses::to_be(&[HostPort { host: Host::Ip(v6.ip()), port: 80 }]);
        let not_itself = dialer(&[]).without(own);
        assert_eq!(not_itself.in_order(vec![v6, v4]).unwrap(), [v4]);
        assert!(matches!(not_itself.in_order(vec![v6]), Err(DialError::Circle(..))));
    }
}
