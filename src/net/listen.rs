//! Listening sockets, and accepting from them come what may.

use super::balance;
use super::crew::Crew;
use super::tcp;
use crate::config::{Host, HostPort, SocketOptions};
use crate::transport::tls::TlsError;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// Connections that may wait to be accepted. The system cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {error}{}", hint(*port, error))]
pub struct ListenError {
    /// The address as it was configured.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// What the system says.
    pub error: io::Error,
}

/// Why a half cannot start.
#[derive(Debug, Error)]
pub enum BindError {
    /// One of its addresses cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its TLS cannot be set up: a certificate, a key or a root is not what it should be.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// It would dial itself.
    #[error("{0} leads back to this process, which listens on {1}")]
    Circle(String, SocketAddr),
    /// The pid file cannot be had.
    #[cfg(unix)]
    #[error(transparent)]
    PidFile(#[from] super::pid_file::PidFileError),
}

impl BindError {
    /// Whether only another configuration helps. What else is in the way may be gone at the next start.
    pub fn is_about_the_configuration(&self) -> bool {
        match self {
            BindError::Listen(_) => false,
            BindError::Tls(_) | BindError::Circle(..) => true,
            #[cfg(unix)]
            BindError::PidFile(error) => !matches!(error, super::pid_file::PidFileError::Taken(..)),
        }
    }
}

/// The sockets of one half.
#[derive(Debug)]
pub struct Listeners {
    /// Not yet the reactor's: they are bound before there is one, while the process has a single thread
    /// and may still be about to change its user.
    listeners: Vec<std::net::TcpListener>,
    crew: Arc<Crew>,
    /// The number of the thread among the crew.
    index: usize,
}

impl Listeners {
    /// Listens on every address; on all addresses of a name.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had. Of a name's addresses one is enough.
    pub fn bind(addresses: &[HostPort], options: &SocketOptions) -> Result<Listeners, ListenError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let fail = |error| ListenError { address: address.to_string(), port: address.port, error };
            match &address.host {
                Host::Ip(ip) => {
                    let only_v6 = *ip == Ipv6Addr::UNSPECIFIED && addresses.iter().any(is_v4_wildcard);
                    match listen(SocketAddr::new(*ip, address.port), only_v6, options) {
                        // Both wildcards mean "everywhere", also where IPv6 is switched off.
                        Err(error) if only_v6 && lacks_family(&error) => {
                            debug!(%address, %error, "there is no IPv6 here");
                        }
                        listener => listeners.push(listener.map_err(fail)?),
                    }
                }
                Host::Name(name) => {
                    let found = (name.as_str(), address.port).to_socket_addrs().map_err(fail)?;
                    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
                    let before = listeners.len();
                    for address in found {
                        match listen(address, false, options) {
                            Ok(listener) => listeners.push(listener),
                            Err(error) => {
                                debug!(%address, %error, "one address of {name} cannot be listened on");
                                refused = error;
                            }
                        }
                    }
                    if listeners.len() == before {
                        return Err(fail(refused));
                    }
                }
            }
        }
        Ok(Listeners { listeners, crew: Crew::new(), index: 0 })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The same, and whether the socket leaves IPv4 to others.
    pub(super) fn addresses_and_families(&self) -> impl Iterator<Item = (SocketAddr, bool)> {
        self.listeners.iter().filter_map(|listener| {
            let only_v6 = SockRef::from(listener).only_v6().unwrap_or(false);
            Some((listener.local_addr().ok()?, only_v6))
        })
    }

    /// The same sockets once more for each further core, to be served on a thread of its own.
    ///
    /// Whichever thread has time takes a connection, so they share the work without `SO_REUSEPORT`, with
    /// which a second process could take the same address unnoticed.
    ///
    /// # Errors
    ///
    /// There are no descriptors left.
    pub fn for_other_cores(&self) -> io::Result<Vec<Listeners>> {
        let clone = |index| {
            let listeners = self.listeners.iter().map(std::net::TcpListener::try_clone);
            let listeners = listeners.collect::<io::Result<_>>()?;
            Ok(Listeners { listeners, crew: Arc::clone(&self.crew), index })
        };
        (1..self.crew.size()).map(clone).collect()
    }

    /// Accepts from all sockets and gives every connection a task of its own, until it is dropped. A
    /// thread that is not needed leaves the accepting to the others.
    pub async fn serve<S, C>(self, serve: S)
    where
        S: Fn(TcpStream, SocketAddr) -> C + Clone + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let _worker = balance::join(&self.crew, self.index);
        loop {
            self.crew.until(self.index, true).await;
            let _accepting = match self.start_accepting(&serve) {
                Some(acceptors) => acceptors,
                // Without its first thread a half is deaf; without another it is only slower.
                None if self.index == 0 => return,
                None => JoinSet::new(),
            };
            self.crew.until(self.index, false).await;
        }
    }

    /// Accepts until what is returned is dropped. `None` if there is nothing to accept from.
    fn start_accepting<S, C>(&self, serve: &S) -> Option<JoinSet<()>>
    where
        S: Fn(TcpStream, SocketAddr) -> C + Clone + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let mut acceptors = JoinSet::new();
        for listener in &self.listeners {
            // A clone: what the reactor has seen it would tell of even when nobody listens to it.
            let listener = match listener.try_clone().and_then(TcpListener::from_std) {
                Ok(listener) => listener,
                Err(error) => {
                    error!(%error, "cannot wait for connections");
                    continue;
                }
            };
            let (serve, crew) = (serve.clone(), Arc::clone(&self.crew));
            acceptors.spawn(async move {
                let mut acceptor = Acceptor { listener, warned: None };
                loop {
                    let (stream, peer) = acceptor.accept().await;
                    balance::spawn(serve(stream, peer));
                    crew.look();
                }
            });
        }
        (!acceptors.is_empty()).then_some(acceptors)
    }
}

fn is_v4_wildcard(address: &HostPort) -> bool {
    matches!(address.host, Host::Ip(std::net::IpAddr::V4(ip)) if ip.is_unspecified())
}

/// Whether the system does without this kind of addresses.
fn lacks_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let lacking = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
        error.raw_os_error().is_some_and(|code| lacking.iter().any(|errno| errno.raw_os_error() == code))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::AddrNotAvailable
    }
}

fn listen(address: SocketAddr, only_v6: bool, options: &SocketOptions) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = match options.mptcp.then(|| tcp::multipath(domain)).flatten() {
        Some(socket) => socket,
        None => {
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            // Accepted sockets inherit these on Linux, which saves the calls for each of them.
            tcp::prepare(&socket)?;
            socket
        }
    };
    // Connections of an earlier process that still fade away do not keep the port. (On Windows the
    // option would let others take the port, and is not needed.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if only_v6 {
        // `::` would take IPv4 too, and the `0.0.0.0` beside it could not be had.
        socket.set_only_v6(true)?;
    }
    match socket.bind(&address.into()) {
        Err(error) if is_low_port_refused(address.port(), &error) && claim_low_ports() => {
            socket.bind(&address.into())?;
        }
        bound => bound?,
    }
    if options.fast_open
        && let Err(error) = tcp::listen_fast_open(&socket)
    {
        warn!(%address, %error, "TCP Fast Open cannot be had; listening without");
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether a port was refused because it takes a right to listen there. Which ports these are is a setting
/// on Linux.
fn is_low_port_refused(port: u16, error: &io::Error) -> bool {
    cfg!(unix) && port < 1024 && error.kind() == io::ErrorKind::PermissionDenied
}

/// What helps against a port that is refused.
fn hint(port: u16, error: &io::Error) -> String {
    if !is_low_port_refused(port, error) {
        return String::new();
    }
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return " (ports below 1024 are root's)".to_owned();
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "obfs-rs".into());
    format!(
        " (a port below 1024 takes root, or a capability of the program's file: setcap \
         cap_net_bind_service=ep {})",
        program.display()
    )
}

/// Takes up the right to listen on low ports, where the program's file gives it to the process and leaves
/// it to the program to use it. (A file that had the system take it up at the start could not be run at all
/// where a service may not have that right.)
#[cfg(any(target_os = "linux", target_os = "android"))]
fn claim_low_ports() -> bool {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let Ok(mut sets) = capabilities(None) else { return false };
    let right = CapabilitySet::NET_BIND_SERVICE;
    if !sets.permitted.contains(right) || sets.effective.contains(right) {
        return false;
    }
    sets.effective |= right;
    set_capabilities(None, sets).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn claim_low_ports() -> bool {
    false
}

/// A listening socket that gives connections for as long as it lives.
struct Acceptor {
    listener: TcpListener,
    /// When the lack of descriptors was last logged.
    warned: Option<Instant>,
}

impl Acceptor {
    /// The next connection. Errors are passed over: a connection that broke while it waited concerns
    /// nobody, and where descriptors lack, accepting pauses until some are free.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if cfg!(not(any(target_os = "linux", target_os = "android")))
                        && let Err(error) = tcp::prepare(&stream)
                    {
                        debug!(%peer, %error, "a socket option was refused");
                    }
                    return (stream, peer);
                }
                Err(error) if is_exhaustion(&error) => {
                    // Freed descriptors are taken at once and lack again: say it once a minute.
                    if self.warned.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                        warn!(%error, "accepting pauses until there are resources for more connections");
                        self.warned = Some(Instant::now());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => debug!(%error, "a connection broke before it was accepted"),
            }
        }
    }
}

/// Whether the process or the system has run out of what a connection needs.
fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        error.raw_os_error().is_some_and(|code| lacking.iter().any(|errno| errno.raw_os_error() == code))
    }
    #[cfg(not(unix))]
    {
        /// WSAEMFILE and WSAENOBUFS.
        const LACKING: [i32; 2] = [10024, 10055];
        error.raw_os_error().is_some_and(|code| LACKING.contains(&code))
    }
}
