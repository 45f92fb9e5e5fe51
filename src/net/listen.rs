//! Listening sockets, and the threads that accept from them.

use super::accept::{self, LONGEST_PAUSE, TcpAcceptor};
#[cfg(windows)]
use super::exclusive;
use super::gate::Part;
use super::handed_over::{HandedOver, NotTaken};
use super::refused_port::{self, TCP, UDP, is_low_port_refused};
use super::resolve;
use super::room::PAUSE;
use super::tcp;
use crate::metrics;
use crate::net::addr::{Host, HostPort};
use crate::net::options::SocketOptions;
use crate::runtime::balance;
use crate::runtime::watchdog;
use crate::runtime::workers::Workers;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// Connections that may wait to be accepted. The system cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// Why it cannot be listened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {error}{}", refused_port::hint(TCP, address.port, error))]
    Address {
        /// The address as it was configured.
        address: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// The UDP port of an address cannot be had.
    #[error("cannot listen on UDP {address}: {error}{}", refused_port::hint(UDP, address.port, error))]
    Udp {
        /// The address as it was configured.
        address: HostPort,
        /// What the system says.
        error: io::Error,
    },
    /// A socket was handed over that has none of the addresses.
    #[error(transparent)]
    HandedOver(#[from] NotTaken),
}

/// The sockets of one half.
#[derive(Debug)]
pub struct Listeners {
    /// Not yet the reactor's: they are bound before there is one, while the process has a single thread
    /// and may still be about to change its user. None once they are closed.
    listeners: Mutex<Vec<Arc<Listener>>>,
    workers: Arc<Workers>,
    /// The number of the thread among the workers.
    index: usize,
    gate: Part,
}

/// A socket of this thread.
#[derive(Debug)]
struct Listener {
    socket: std::net::TcpListener,
    /// It was handed over by somebody who has it as well, and gives it to the next process.
    is_handed_over: bool,
}

impl Listeners {
    /// Listens on every address; on all addresses of a name. Where a socket was handed over that has the address, that
    /// one is taken.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had. Of a name's addresses one is enough. Or a socket was handed over that has
    /// none of them.
    pub fn bind(
        addresses: &[HostPort],
        options: &SocketOptions,
        mut handed_over: HandedOver,
    ) -> Result<Listeners, ListenError> {
        let mut listeners = Vec::new();
        let mut listen = |address: SocketAddr, only_v6, options: &SocketOptions| match handed_over
            .find(address, options)
        {
            true => Ok(None),
            false => listen(address, only_v6, options).map(Some),
        };
        for address in addresses {
            let fail = |error| ListenError::Address { address: address.clone(), error };
            match &address.host {
                Host::Ip(ip) => {
                    let only_v6 = *ip == Ipv6Addr::UNSPECIFIED && addresses.iter().any(is_v4_wildcard);
                    match listen(SocketAddr::new(*ip, address.port), only_v6, options) {
                        // Both wildcards mean "everywhere", also where IPv6 is switched off.
                        Err(error) if only_v6 && lacks_family(&error) => {
                            debug!(%address, %error, "there is no IPv6 here");
                        }
                        listener => listeners.extend(listener.map_err(fail)?),
                    }
                }
                Host::Name(name) => {
                    let found = resolve::addresses(name, address.port).map_err(fail)?;
                    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
                    let mut any = false;
                    for address in found {
                        match listen(address, false, options) {
                            Ok(listener) => {
                                listeners.extend(listener);
                                any = true;
                            }
                            Err(error) => {
                                debug!(%address, %error, "one address of {name} cannot be listened on");
                                refused = error;
                            }
                        }
                    }
                    if !any {
                        return Err(fail(refused));
                    }
                }
            }
        }
        let bound = listeners.into_iter().map(|socket| Listener { socket, is_handed_over: false });
        let handed_over = handed_over.into_found()?;
        let handed_over = handed_over.map(|socket| Listener { socket, is_handed_over: true });
        let listeners = Mutex::new(bound.chain(handed_over).map(Arc::new).collect());
        Ok(Listeners { listeners, workers: Workers::new(), index: 0, gate: Part::first() })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets().iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    /// Those of them that no service manager listens on as well.
    pub fn addresses_of_our_own(&self) -> Vec<SocketAddr> {
        let sockets = self.sockets();
        let ours = sockets.iter().filter(|listener| !listener.is_handed_over);
        ours.filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    /// All of them, and whether the socket leaves IPv4 to others.
    pub(super) fn addresses_and_families(&self) -> impl Iterator<Item = (SocketAddr, bool)> + use<> {
        self.sockets().into_iter().filter_map(|listener| {
            let only_v6 = SockRef::from(&listener.socket).only_v6().unwrap_or(false);
            Some((listener.socket.local_addr().ok()?, only_v6))
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
            let clone = |listener: &Arc<Listener>| {
                let (socket, is_handed_over) = (listener.socket.try_clone()?, listener.is_handed_over);
                Ok(Arc::new(Listener { socket, is_handed_over }))
            };
            let listeners = self.sockets().iter().map(clone).collect::<io::Result<_>>()?;
            let (workers, gate) = (Arc::clone(&self.workers), self.gate.another());
            Ok(Listeners { listeners: Mutex::new(listeners), workers, index, gate })
        };
        (1..self.workers.size()).map(clone).collect()
    }

    /// One more who has to have closed what it listens on before [`closed`](Self::closed) returns.
    pub(crate) fn another_part(&self) -> Part {
        self.gate.another()
    }

    fn sockets(&self) -> Vec<Arc<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has all threads close the sockets. What they serve goes on.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Waits until all threads have closed them.
    pub async fn closed(&self) {
        self.gate.all_closed().await;
    }

    /// Accepts from all sockets and gives every connection a task of its own, until it is dropped, or the sockets
    /// are to be [closed](Self::close). A thread that is not needed leaves the accepting to the others.
    pub async fn serve<S, C>(&self, serve: S)
    where
        S: Fn(TcpStream, SocketAddr) -> C + Clone + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let _worker = balance::join(&self.workers, self.index);
        let mut acceptors = JoinSet::new();
        tokio::select! {
            () = self.accept(&serve, &mut acceptors) => return,
            () = self.gate.is_to_close() => acceptors.shutdown().await,
        }
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        for Listener { socket, .. } in
            listeners.iter().map(|listener| &**listener).filter(|it| !it.is_handed_over)
        {
            // Who has been let in by the system already would be reset.
            for (stream, peer) in accept::waiting(socket).take(BACKLOG as usize) {
                balance::spawn(watchdog::watched(Some(peer), serve(stream, peer)));
            }
        }
        drop(listeners);
        self.gate.note_closed();
        std::future::pending().await
    }

    /// Accepts until it is dropped. Returns where there is nothing to accept from.
    async fn accept<S, C>(&self, serve: &S, acceptors: &mut JoinSet<()>)
    where
        S: Fn(TcpStream, SocketAddr) -> C + Clone + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let mut began = false;
        loop {
            self.workers.until(self.index, true).await;
            let listeners = self.start_accepting(serve, acceptors);
            // Without its first thread a half is deaf; without another it is only slower.
            if acceptors.is_empty() && listeners > 0 && self.index == 0 && !began {
                return;
            }
            began = true;
            tokio::select! {
                () = self.workers.until(self.index, false) => {}
                // There may be descriptors again.
                () = tokio::time::sleep(LONGEST_PAUSE), if acceptors.len() < listeners => {}
                // Nothing ends an acceptor but a fault. The others end with it, and all begin again.
                Some(ended) = acceptors.join_next() => {
                    let why = ended.err().map(|error| error.to_string());
                    error!(why, "an acceptor has ended; it begins again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            acceptors.shutdown().await;
        }
    }

    /// Starts to accept. Returns from how many sockets that is to be.
    fn start_accepting<S, C>(&self, serve: &S, acceptors: &mut JoinSet<()>) -> usize
    where
        S: Fn(TcpStream, SocketAddr) -> C + Clone + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let listeners = self.sockets();
        for listener in &listeners {
            // A clone: what the reactor has seen it would tell of even when nobody listens to it.
            let listener = match listener.socket.try_clone().and_then(TcpListener::from_std) {
                Ok(listener) => listener,
                Err(error) => {
                    error!(%error, "cannot wait for connections");
                    continue;
                }
            };
            let (serve, workers) = (serve.clone(), Arc::clone(&self.workers));
            acceptors.spawn(watchdog::watched(None, async move {
                let mut acceptor = TcpAcceptor::new(listener);
                loop {
                    let (stream, peer) = acceptor.accept().await;
                    metrics::accepted();
                    balance::spawn(watchdog::watched(Some(peer), serve(stream, peer)));
                    workers.rebalance();
                }
            }));
        }
        listeners.len()
    }
}

pub(super) fn is_v4_wildcard(address: &HostPort) -> bool {
    matches!(address.host, Host::Ip(std::net::IpAddr::V4(ip)) if ip.is_unspecified())
}

/// Whether the system does without this kind of addresses.
pub(super) fn lacks_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::AFNOSUPPORT) {
        return true;
    }
    #[cfg(windows)]
    if error.raw_os_error() == Some(windows_sys::Win32::Networking::WinSock::WSAEAFNOSUPPORT) {
        return true;
    }
    error.kind() == io::ErrorKind::AddrNotAvailable
}

fn listen(address: SocketAddr, only_v6: bool, options: &SocketOptions) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = match options.mptcp.then(|| tcp::multipath(domain)).flatten() {
        Some(socket) => socket,
        None => {
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            // Accepted sockets inherit these on Linux, which saves the calls for each of them.
            tcp::prepare(&socket);
            socket
        }
    };
    // Connections of an earlier process that still fade away do not keep the port. (On Windows the
    // option would let others take the port, and is not needed.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(windows)]
    exclusive::keep_from_others(&socket);
    if only_v6 {
        // `::` would take IPv4 too, and the `0.0.0.0` beside it could not be had.
        socket.set_only_v6(true)?;
    } else if cfg!(windows) && address.is_ipv6() {
        // There it would not, unless it is told to.
        tcp::tuned("IPV6_V6ONLY", socket.set_only_v6(false));
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

/// Takes up the right to listen on low ports, where the program's file gives it to the process and leaves
/// it to the program to use it. (A file that had the system take it up at the start could not be run at all
/// where a service may not have that right.)
fn claim_low_ports() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let right = CapabilitySet::NET_BIND_SERVICE;
        capabilities(None).is_ok_and(|mut sets| {
            let is_new = sets.permitted.contains(right) && !sets.effective.contains(right);
            sets.effective |= right;
            is_new && set_capabilities(None, sets).is_ok()
        })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tokio::io::AsyncReadExt as _;

    fn on_loopback() -> (Listeners, SocketAddr) {
        let address = HostPort { host: Host::Ip([127, 0, 0, 1].into()), port: 0 };
        let listeners =
            Listeners::bind(&[address], &SocketOptions::default(), HandedOver::default()).unwrap();
        let address = listeners.addresses()[0];
        (listeners, address)
    }

    #[tokio::test]
    async fn an_acceptor_that_panics_begins_again() {
        static PANICKED: AtomicBool = AtomicBool::new(false);
        let (listeners, address) = on_loopback();
        let serve = |stream, _| {
            // Not in the connection's task, but where it is made.
            assert!(PANICKED.swap(true, Ordering::SeqCst), "as the test wants it");
            async move { drop::<TcpStream>(stream) }
        };
        tokio::spawn(async move { listeners.serve(serve).await });
        for _ in 0..2 {
            let mut visitor = TcpStream::connect(address).await.unwrap();
            let read = tokio::time::timeout(Duration::from_secs(20), visitor.read(&mut [0])).await;
            assert!(!matches!(read.expect("the end"), Ok(1..)));
        }
        assert!(PANICKED.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone() {
        let (listeners, address) = on_loopback();
        let serve = |mut stream: TcpStream, _| async move {
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte).await {
                assert_ne!(byte, *b"!", "as the test wants it");
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &byte).await;
            }
        };
        tokio::spawn(async move { listeners.serve(serve).await });
        let ask = async |visitor: &mut TcpStream, byte: &[u8; 1]| {
            tokio::io::AsyncWriteExt::write_all(visitor, byte).await.unwrap();
            let mut answer = [0];
            let read = tokio::time::timeout(Duration::from_secs(20), visitor.read(&mut answer)).await;
            read.expect("an answer or the end").unwrap_or(0)
        };
        let mut other = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut other, b"a").await, 1);
        let mut unlucky = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut unlucky, b"!").await, 0);
        assert_eq!(ask(&mut other, b"b").await, 1);
        assert_eq!(ask(&mut TcpStream::connect(address).await.unwrap(), b"c").await, 1);
    }
}
