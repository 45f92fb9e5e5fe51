//! What both halves share: how they start, and how each connection gets to them.

use crate::exporter::{Exporter, ExporterError, Readiness};
use crate::net::listen::{ListenError, Listeners};
use crate::os::pid_file::PidFileError;
use crate::os::process::{self, Parent};
use crate::os::user::UserError;
use crate::runtime::watchdog;
use crate::telemetry::{self, AccessLogError, access_log};
use crate::transport::tls::TlsError;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tracing::{error, info, warn};

/// Why a half cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// One of its addresses cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics cannot be had where they are to be.
    #[error(transparent)]
    Metrics(#[from] ExporterError),
    /// Its TLS cannot be set up: a certificate, a key or a root is not what it should be.
    #[error("tls: {0}")]
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
    /// All sockets have failed.
    #[error("nothing listens any more")]
    Deaf,
}

impl StartError {
    /// Whether only another configuration helps. What else is in the way may be gone at the next start.
    pub fn is_about_the_configuration(&self) -> bool {
        match self {
            StartError::Listen(_)
            | StartError::Daemon(_)
            | StartError::Runtime(_)
            | StartError::Signals(_)
            | StartError::Deaf => false,
            StartError::Tls(_)
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

/// A half of the plugin: what becomes of one connection.
pub trait Half: Send + Sync + 'static {
    /// Serves a connection to its end.
    fn serve(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send;

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
}

/// A half that listens.
pub struct Service<H> {
    listeners: Listeners,
    half: Arc<H>,
}

impl<H: Half> Service<H> {
    /// Serves these sockets.
    pub fn new(listeners: Listeners, half: H) -> Service<H> {
        Service { listeners, half: Arc::new(half) }
    }
}

/// A service of either half, to be run on one thread.
pub trait Run: Send + Sync {
    /// The addresses that are listened on.
    fn addresses(&self) -> Vec<SocketAddr>;

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

    /// Serves connections until it is dropped.
    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<H: Half> Run for Service<H> {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    fn log_hints(&self) {
        self.half.log_hints();
    }

    fn readiness(&self) -> Readiness {
        let half = Arc::clone(&self.half);
        Readiness::new(move || {
            let half = Arc::clone(&half);
            Box::pin(async move { half.check().await })
        })
    }

    fn log_rest(&self) {
        self.half.log_rest();
    }

    fn for_other_cores(&self) -> io::Result<Vec<Box<dyn Run>>> {
        let service =
            |listeners| Box::new(Service { listeners, half: Arc::clone(&self.half) }) as Box<dyn Run>;
        Ok(self.listeners.for_other_cores()?.into_iter().map(service).collect())
    }

    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.half.start();
            let half = Arc::clone(&self.half);
            self.listeners.serve(move |tcp, peer| Arc::clone(&half).serve(tcp, peer)).await;
        })
    }
}

/// Starts a thread for each further core. They sleep until there is more to do than this one can.
fn start_other_threads(service: &dyn Run) {
    let start = |service: Box<dyn Run>| {
        std::thread::Builder::new().name("obfs-rs".into()).spawn(move || run_other_thread(&*service))
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
}

/// Serves on a further thread. Nothing ends it but a fault: then it begins again.
fn run_other_thread(service: &dyn Run) {
    /// Whatever ends it may do so at once again.
    const PAUSE: Duration = Duration::from_secs(1);
    let event_loop = match watchdog::EventLoop::new(false) {
        Ok(event_loop) => event_loop,
        Err(error) => return warn!(%error, "not all cores can be used"),
    };
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| event_loop.block_on(service.run())));
        error!(panicked = ended.is_err(), "a thread that serves has ended; it begins again");
        #[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
        std::thread::sleep(PAUSE);
    }
}

/// Serves on this thread, which is watched, and on one for each further core, until a signal or the parent's
/// end. The metrics are had from this thread.
///
/// # Errors
///
/// There is no event loop, or nothing to serve.
pub fn run(service: &dyn Run, parent: Option<&Parent>, metrics: Option<&Exporter>) -> Result<(), StartError> {
    telemetry::start_limiting();
    start_other_threads(service);
    let event_loop = watchdog::EventLoop::new(true).map_err(StartError::Runtime)?;
    watchdog::start();
    let ended = event_loop.block_on(until_shutdown(service, parent, metrics));
    service.log_rest();
    telemetry::report_rest_of_suppressed();
    // Tunnels that are open end with the process; none of them may hold it up.
    event_loop.shut_down();
    access_log::finish();
    telemetry::flush();
    ended
}

async fn until_shutdown(
    service: &dyn Run,
    parent: Option<&Parent>,
    metrics: Option<&Exporter>,
) -> Result<(), StartError> {
    let exported = async {
        match metrics {
            Some(metrics) => metrics.run(service.readiness()).await,
            None => std::future::pending().await,
        }
    };
    let parent_exited = async {
        match parent {
            Some(parent) => parent.exited().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = telemetry::report_suppressed() => {}
        () = telemetry::run_syslog() => {}
        () = exported => {}
        () = service.run() => return Err(StartError::Deaf),
        signal = process::shutdown_signal() => match signal {
            Ok(signal) => info!("ending: {signal}"),
            Err(error) => return Err(StartError::Signals(error)),
        },
        () = parent_exited => info!("ending: the program that started us is gone"),
    }
    Ok(())
}
