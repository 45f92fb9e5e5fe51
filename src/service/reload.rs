//! The settings are read anew while connections go on: those that come from now on are served by the new ones.

use crate::config::{self, Config, TunnelConfig};
use crate::os::service_manager::ServiceManager;
use crate::runtime::blocking;
use crate::telemetry::{self, access_log};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{info, warn};

/// How long the files may take: a disk may be away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the settings from where they were read at the start.
pub type ReadConfig = dyn Fn() -> Result<Config, String> + Send + Sync;

/// What can have other settings from now on.
pub trait Renew: Send + Sync {
    /// Connections that come from now on are served with these. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// They cannot be: everything stays as it was.
    fn renew(&self, half: config::Half, tunnel: &TunnelConfig) -> Result<(), String>;
}

/// The settings of the process, and where they come from.
pub struct Reloader {
    read: Arc<ReadConfig>,
    now: Mutex<Arc<Config>>,
}

impl Reloader {
    /// These settings, which were read so.
    pub fn new(config: Config, read: Arc<ReadConfig>) -> Reloader {
        Reloader { read, now: Mutex::new(Arc::new(config)) }
    }

    fn now(&self) -> Arc<Config> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long tunnels may go on when the process is asked to end.
    pub(super) fn drain(&self) -> Option<Duration> {
        self.now().process.drain
    }

    /// Reads everything anew, and tells.
    pub(super) async fn reload(&self, half: Arc<dyn Renew>, manager: Option<&ServiceManager>) {
        if let Some(manager) = manager {
            manager.reloading();
        }
        access_log::reopen();
        let (read, before, runtime) = (Arc::clone(&self.read), self.now(), Handle::current());
        // Files may be on a slow disk.
        let reloading = blocking::FILES.run_or_inline(move || {
            let _runtime = runtime.enter();
            renew(&*half, &before, &*read)
        });
        let renewed = match timeout(PATIENCE, reloading).await {
            Ok(renewed) => renewed.map_err(|error| error.to_string()).and_then(|renewed| renewed),
            Err(_) => Err(format!("a file could not be read within {} s", PATIENCE.as_secs())),
        };
        match renewed {
            Ok(config) => *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config),
            Err(error) => {
                warn!("nothing is reloaded but the access log, everything else stays as it was: {error}")
            }
        }
    }
}

fn renew(half: &dyn Renew, before: &Config, read: &ReadConfig) -> Result<Config, String> {
    let config = read()?;
    if config.role() != before.role() {
        return Err(format!("they are for a {} now, which needs a restart", config.role()));
    }
    log_warnings(&config);
    half.renew(config.half.clone(), &config.tunnel)?;
    telemetry::set_level(config.log_level);
    let stays = before.needs_restart(&config);
    if !stays.is_empty() {
        warn!("what has changed of these needs a restart, and stays as it was: {}", stays.join(", "));
    }
    let file = config.file.as_ref().map(|file| format!("{}, ", file.display())).unwrap_or_default();
    let (certificate, described, secrets) = match &config.half {
        config::Half::Client(client) => ("certificates, ", client.to_string(), client.secrets()),
        config::Half::Server(server) if server.tls.is_some() => {
            ("certificate and key, ", server.to_string(), server.secrets())
        }
        config::Half::Server(server) => ("", server.to_string(), server.secrets()),
    };
    info!("reloaded: {file}{certificate}names of hosts, access log; for new connections: {described}");
    telemetry::log_secrets(&secrets);
    Ok(Config {
        process: config::ProcessConfig { drain: config.process.drain, ..before.process.clone() },
        ..config
    })
}

/// Warns of options that change nothing.
pub fn log_warnings(config: &Config) {
    for warning in config.all_warnings() {
        warn!("{warning}");
    }
}
