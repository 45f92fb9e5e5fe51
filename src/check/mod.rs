//! `obfs-rs check`: a dry run. It says what the options ask for and what is odd about it, and tries what a half needs, step
//! by step: as a client the way to the server up to the tunnel, as a server its port, its certificate and what is behind.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `report` | the lines, and what they come to |
//! | `port` | the ports that are to be listened on |
//! | `client`, `follow` | the way to the server, and how far it has been gone |
//! | `others` | the further servers of a client |
//! | `kept_file` | the files that a half writes |
//! | `server`, `certificate` | what a server needs |
//! | `user` | what the user can reach that a half goes on as |
//! | `metrics` | the socket of the metrics |
//!
//! It serves nobody, leaves nothing behind, and stays who it is. What it sends to a server is what a client sends whose
//! application has said nothing yet. No step takes longer than [`STEP`].

#[cfg(all(feature = "server", feature = "tls"))]
mod certificate;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod follow;
mod kept_file;
#[cfg(all(feature = "metrics", unix))]
mod metrics;
#[cfg(feature = "client")]
mod others;
mod port;
mod report;
#[cfg(feature = "server")]
mod server;
mod user;

#[cfg(feature = "metrics")]
use crate::config::MetricsAddress;
use crate::config::{Config, Half, SaidAddresses};
use crate::net::check_device;
use crate::os::process::limit_open_files;
use crate::os::user::User;
use crate::service::log_warnings;
use crate::telemetry::keep_warnings;
use port::Ports;
use report::Report;
use std::process::ExitCode;
use std::time::Duration;

/// How long one step may take: a little longer than what it is made of, which has the better words.
pub const STEP: Duration = Duration::from_secs(11);

/// Checks a half with these settings, of whose addresses some may be stand-ins, and prints what is found. Success if
/// nothing fails.
pub async fn run(config: Config, said: SaidAddresses) -> ExitCode {
    let mut report = Report::new(keep_warnings());
    let reason = config.role_reason.to_string();
    report.ok("role", format!("{} ({})", config.role(), reason.strip_prefix("role ").unwrap_or(&reason)));
    log_warnings(&config);
    if let Some(number) = config.process.open_files {
        // It is this process's own limit alone. What it warns of, a start warns of.
        limit_open_files(Some(number));
    }
    report.odd_ones("options");
    if let Some(name) = &config.tunnel.sockets.interface
        && let Err(error) = check_device(name)
    {
        report.fails("interface", format!("cannot use `{}`: {error}", name.escape_debug()));
    }
    match config.process.user.as_deref().map(User::find) {
        Some(Err(error)) => report.fails("user", error),
        Some(Ok(user)) => user::check(&user, &config, &mut report),
        None => {}
    }
    if let Some(path) = config.process.access_log.as_ref().and_then(|log| log.file()) {
        kept_file::access_log(path, &mut report);
    }
    if let Some(path) = config.process.pid_file.as_deref() {
        kept_file::pid_file(path, &mut report);
    }
    #[cfg_attr(not(feature = "metrics"), expect(unused_mut, reason = "there is no port of metrics"))]
    let mut ports = Ports::default();
    #[cfg(feature = "metrics")]
    match &config.process.metrics {
        Some(MetricsAddress::Tcp(address)) => ports.check_metrics(address, &mut report).await,
        #[cfg(unix)]
        Some(MetricsAddress::Unix(path)) => metrics::check(path, &mut report).await,
        _ => {}
    }
    match config.half {
        #[cfg(feature = "client")]
        Half::Client(client) => client::check(*client, &config.tunnel, said, ports, &mut report).await,
        #[cfg(feature = "server")]
        Half::Server(server) => server::check(*server, &config.tunnel, said, ports, &mut report).await,
        // The configuration refuses a half that was left out.
        #[cfg(not(all(feature = "client", feature = "server")))]
        _ => {
            let _ = (said, ports);
        }
    }
    report.end()
}
