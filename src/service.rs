//! What both halves share: how they start, and how each connection gets to them.

use crate::config::{self, TunnelConfig};
use crate::exporter::{Exporter, ExporterError, Readiness};
use crate::net::gate::Part;
use crate::net::listen::{ListenError, Listeners};
use crate::net::own_addresses::OwnAddresses;
use crate::os::parent::Parent;
use crate::os::pid_file::PidFileError;
use crate::os::service_manager::ServiceManager;
use crate::os::shutdown::CaughtSignals;
use crate::os::user::UserError;
use crate::runtime::watchdog;
use crate::telemetry::{self, AccessLogError, access_log};
use crate::transport::tls::TlsError;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{error, warn};

mod life;
mod reload;

pub use reload::{ReadConfig, Reloader, Renew, log_warnings};

/// Why a half cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// One of its addresses cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics cannot be had where they are to be.
    #[error(transparent)]
    Metrics(#[from] ExporterError),
    /// What a service manager hands over cannot be listened on.
    #[error("cannot take what the service manager hands over (LISTEN_FDS): {0}")]
    HandedOver(io::Error),
    /// Its TLS cannot be set up: a certificate, a key or a root is not what it should be.
    #[error("tls (options `cert` and `key`): {0}")]
    Tls(#[from] TlsError),
    /// It would dial itself.
    #[error("{0} leads back to this process, which listens on {1}")]
    Circle(String, SocketAddr),
    /// There is no such network interface.
    #[error("cannot use the network interface `{}`: {error}", name.escape_debug())]
    Interface {
        /// Its name.
        name: String,
        /// What the system says.
        error: io::Error,
    },
    /// It cannot go on as the user.
    #[error(transparent)]
    User(#[from] UserError),
    /// It cannot go into the background.
    #[error("cannot go into the background: {0}")]
    Daemon(io::Error),
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The pid file cannot be had.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// There is no event loop.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// No signal would be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// A build without this half has none to start.
    #[error("this half was left out of the program")]
    LeftOut,
    /// The settings that were read anew are those of the other half.
    #[error("the settings are now those of the other half, which needs a restart")]
    OtherHalf,
    /// All sockets have failed.
    #[error("nothing listens any more")]
    Deaf,
}

impl StartError {
    /// Whether only another configuration helps. What else is in the way may be gone at the next start.
    pub fn is_about_the_configuration(&self) -> bool {
        match self {
            StartError::Listen(error) => matches!(error, ListenError::HandedOver(_)),
            StartError::Daemon(_) | StartError::Runtime(_) | StartError::Signals(_) | StartError::Deaf => {
                false
            }
            StartError::Tls(_)
            | StartError::HandedOver(_)
            | StartError::OtherHalf
            | StartError::LeftOut
            | StartError::Circle(..)
            | StartError::Interface { .. }
            | StartError::User(_) => true,
            StartError::AccessLog(error) => error.is_about_the_configuration(),
            StartError::PidFile(error) => error.is_about_the_configuration(),
            StartError::Metrics(error) => error.is_about_the_configuration(),
        }
    }
}

/// What becomes of one connection.
pub trait Serve: Send + Sync + 'static {
    /// Serves a connection to its end.
    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send;

    /// Serves what comes over UDP, for as long as it is not dropped. The connections that come are those of the `current`
    /// half. When `closing` is over, the port is given back.
    fn serve_udp(
        current: Arc<Current<Self>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        let _ = current;
        async {
            closing.await;
            drop(sockets);
        }
    }
}

/// A half of the plugin: it serves, starts, is given other settings, and ends.
pub trait Half: Serve {
    /// Starts what runs beside the connections. Called on each thread.
    fn start(&self) {}

    /// Whether what it cannot do without can be reached; if not, what.
    fn check(&self) -> impl Future<Output = Result<(), String>> + Send {
        std::future::ready(Ok(()))
    }

    /// Logs what an operator may want to know of the settings, behind the line that says them.
    fn log_hints(&self) {}

    /// Logs what was counted and not told yet: the process ends.
    fn log_rest(&self) {}

    /// The same with other settings, for the connections that come from now on. It takes over what it can of what this
    /// one knows, and listens at its `own` addresses. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// These settings cannot be.
    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Self, StartError>
    where
        Self: Sized;

    /// Tells peers that the process ends, where the system does not do that. `None` where it does.
    fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        None
    }

    /// Ends what runs beside the connections: new ones come to the `next` one.
    fn retire(&self, next: &Self);
}

/// The half that serves the connections which come now.
pub struct Current<H> {
    half: RwLock<Arc<H>>,
    /// The addresses that it listens on.
    own: OwnAddresses,
}

impl<H: Half> Current<H> {
    fn new(half: H, own: OwnAddresses) -> Current<H> {
        Current { half: RwLock::new(Arc::new(half)), own }
    }

    /// That half.
    pub fn get(&self) -> Arc<H> {
        Arc::clone(&self.half.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<H: Half> Renew for Current<H> {
    fn renew(&self, half: config::Half, tunnel: &TunnelConfig) -> Result<(), String> {
        let before = self.get();
        let next = Arc::new(before.renewed(half, tunnel, &self.own).map_err(|error| error.to_string())?);
        *self.half.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        before.retire(&next);
        next.start();
        next.log_hints();
        Ok(())
    }
}

/// A half that listens.
pub struct Service<H> {
    listeners: Listeners,
    udp: Option<Udp>,
    current: Arc<Current<H>>,
}

/// UDP ports, which the first thread serves.
struct Udp {
    /// None once they are closed.
    sockets: Mutex<Vec<UdpSocket>>,
    gate: Part,
}

impl Udp {
    fn addresses(&self) -> Vec<SocketAddr> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves them until they are to be closed, and then nothing.
    async fn serve<H: Half>(&self, current: Arc<Current<H>>) {
        let sockets = std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        H::serve_udp(current, sockets, self.gate.is_to_close()).await;
        self.gate.note_closed();
        std::future::pending().await
    }
}

impl<H: Half> Service<H> {
    /// Serves these sockets.
    pub fn new(listeners: Listeners, half: H) -> Service<H> {
        let current = Arc::new(Current::new(half, OwnAddresses::of(&listeners)));
        Service { listeners, udp: None, current }
    }

    /// The same, which serves these sockets, too.
    pub fn with_udp(self, sockets: Vec<UdpSocket>) -> Service<H> {
        let gate = self.listeners.another_part();
        Service { udp: Some(Udp { sockets: Mutex::new(sockets), gate }), ..self }
    }
}

/// A service of either half, to be run on one thread.
pub trait Run: Send + Sync {
    /// The addresses that are listened on.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// The same for people: what is UDP is said.
    fn listening(&self) -> String;

    /// Those on which another process can listen once this one does not.
    fn addresses_of_our_own(&self) -> Vec<SocketAddr>;

    /// Logs the half's [hints](Half::log_hints).
    fn log_hints(&self);

    /// What tells whether it can serve.
    fn readiness(&self) -> Readiness;

    /// Logs the half's [rest](Half::log_rest).
    fn log_rest(&self);

    /// The same service once more for each further core.
    ///
    /// # Errors
    ///
    /// There are no descriptors left.
    fn for_other_cores(&self) -> io::Result<Vec<Box<dyn Run>>>;

    /// What can have other settings.
    fn to_renew(&self) -> Arc<dyn Renew>;

    /// Accepts no more connections, on any thread.
    fn close(&self);

    /// Waits until no thread listens any more.
    fn closed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Tells peers that the process ends, where the system does not do that: over UDP nobody hears of it. To be run
    /// beside [`run`](Self::run). `None` where there are none such.
    fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>>;

    /// Serves connections until it is dropped.
    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<H: Half> Run for Service<H> {
    fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.addresses();
        match &self.udp {
            // (beside TCP they are the same)
            Some(udp) if addresses.is_empty() => udp.addresses(),
            _ => addresses,
        }
    }

    fn listening(&self) -> String {
        let (tcp, udp) = (self.listeners.addresses(), self.udp.as_ref().map(Udp::addresses));
        match udp {
            Some(udp) if tcp.is_empty() => format!("UDP {udp:?}"),
            Some(udp) => format!("{tcp:?} and UDP {udp:?}"),
            None => format!("{tcp:?}"),
        }
    }

    fn addresses_of_our_own(&self) -> Vec<SocketAddr> {
        self.listeners.addresses_of_our_own()
    }

    fn log_hints(&self) {
        self.current.get().log_hints();
    }

    fn readiness(&self) -> Readiness {
        let current = Arc::clone(&self.current);
        Readiness::new(move || {
            let half = current.get();
            Box::pin(async move { half.check().await })
        })
    }

    fn log_rest(&self) {
        self.current.get().log_rest();
    }

    fn for_other_cores(&self) -> io::Result<Vec<Box<dyn Run>>> {
        let service = |listeners| {
            Box::new(Service { listeners, udp: None, current: Arc::clone(&self.current) }) as Box<dyn Run>
        };
        Ok(self.listeners.for_other_cores()?.into_iter().map(service).collect())
    }

    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.current.get().start();
            let current = Arc::clone(&self.current);
            let tcp = self.listeners.serve(move |tcp, peer| current.get().serve(tcp, peer));
            match &self.udp {
                None => tcp.await,
                Some(udp) => tokio::select! {
                    () = tcp => {}
                    () = udp.serve(Arc::clone(&self.current)) => {}
                },
            }
        })
    }

    fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        let half = self.current.get();
        if self.udp.is_none() {
            drop(half.farewell()?);
        }
        // The port is the next process's.
        self.close();
        Some(Box::pin(async move {
            if let Some(farewell) = half.farewell() {
                farewell.await;
            }
            if self.udp.is_some() {
                self.closed().await;
            }
        }))
    }

    fn to_renew(&self) -> Arc<dyn Renew> {
        Arc::clone(&self.current) as Arc<dyn Renew>
    }

    fn close(&self) {
        self.listeners.close();
    }

    fn closed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.listeners.closed())
    }
}

/// The threads of further cores. They sleep until there is more to do than the first one can.
struct OtherThreads {
    /// They end when this is dropped.
    end: watch::Sender<()>,
    /// What they hold to their end.
    all_ended: mpsc::Receiver<()>,
}

impl OtherThreads {
    fn start(service: &dyn Run) -> OtherThreads {
        let (end, ending) = watch::channel(());
        let (held, all_ended) = mpsc::channel();
        let start = |service: Box<dyn Run>| {
            let (ending, held) = (ending.clone(), held.clone());
            let run = move || {
                // It goes when the thread's connections are gone.
                let _held = held;
                run_other_thread(&*service, ending);
            };
            std::thread::Builder::new().name("obfs-rs".into()).spawn(run)
        };
        let started = service.for_other_cores().and_then(|services| {
            services.into_iter().try_for_each(|service| {
                start(service)?;
                Ok(())
            })
        });
        if let Err(error) = started {
            warn!(%error, "not all cores can be used");
        }
        OtherThreads { end, all_ended }
    }

    /// Lets go of their connections, each of which has a line in the access log.
    fn end(self) {
        /// A thread that is stuck is not waited for any longer.
        const LAST_LINES: Duration = Duration::from_millis(300);
        drop(self.end);
        // An error either way: nobody sends anything.
        let _ = self.all_ended.recv_timeout(LAST_LINES);
    }
}

/// Serves on a further thread. Nothing ends it before the process but a fault: then it begins again.
fn run_other_thread(service: &dyn Run, mut ending: watch::Receiver<()>) {
    /// Whatever ends it may do so at once again.
    const PAUSE: Duration = Duration::from_secs(1);
    let event_loop = match watchdog::EventLoop::new(false) {
        Ok(event_loop) => event_loop,
        Err(error) => return warn!(%error, "not all cores can be used"),
    };
    loop {
        let serve = async {
            tokio::select! {
                _ = ending.changed() => true,
                () = service.run() => false,
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| event_loop.block_on(serve)));
        if matches!(ended, Ok(true)) {
            return event_loop.shut_down();
        }
        error!(panicked = ended.is_err(), "a thread that serves has ended; it begins again");
        #[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
        std::thread::sleep(PAUSE);
    }
}

/// What a process has beside its half.
pub struct Process<'a> {
    /// The program that started it, if it is to end with that.
    pub parent: Option<&'a Parent>,
    /// The service manager that started it, if one did.
    pub manager: Option<ServiceManager>,
    /// Where its metrics are had, from this thread.
    pub metrics: Option<&'a Exporter>,
    /// Its settings, and where they come from.
    pub reloader: Reloader,
}

/// Serves on this thread, which is watched, and on one for each further core, until a signal or the parent's
/// end. The metrics are had from this thread, and the signals are heard on it.
///
/// # Errors
///
/// There is no event loop, or nothing to serve.
pub fn run(service: &dyn Run, process: &Process<'_>, signals: CaughtSignals) -> Result<(), StartError> {
    telemetry::start_limiting();
    let other_threads = OtherThreads::start(service);
    let event_loop = watchdog::EventLoop::new(true).map_err(StartError::Runtime)?;
    watchdog::start();
    let ended = event_loop.block_on(life::until_the_end(service, process, signals));
    service.log_rest();
    telemetry::report_rest_of_suppressed();
    // Tunnels that are open end with the process; none of them may hold it up.
    event_loop.shut_down();
    other_threads.end();
    access_log::finish();
    telemetry::flush();
    ended
}
