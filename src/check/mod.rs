//! `obfs-rs check`: a dry run. It says what the options ask for and what is odd about it, and tries what a half needs, step
//! by step: as a client the way to the server up to the tunnel, as a server its port, its certificate and what is behind.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `report` | the lines, and what they come to |
//! | `port` | the ports that are to be listened on |
//! | `client`, `follow` | the way to the server, and how far it has been gone |
//! | `others` | the further servers of a client |
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
#[cfg(feature = "metrics")]
use crate::net::options::SocketOptions;
use crate::os::user::User;
use crate::service::log_warnings;
use crate::telemetry::keep_warnings;
use port::Ports;
#[cfg(feature = "metrics")]
use port::Transport;
use report::Report;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long one step may take: a little longer than what it is made of, which has the better words.
pub const STEP: Duration = Duration::from_secs(11);

/// How long names may take to be looked up: a system waits for half a minute.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Checks a half with these settings, of whose addresses some may be stand-ins, and prints what is found. Success if
/// nothing fails.
pub async fn run(config: Config, said: SaidAddresses) -> ExitCode {
    let mut report = Report::new(keep_warnings());
    let reason = config.role_reason.to_string();
    report.ok("role", format!("{} ({})", config.role(), reason.strip_prefix("role ").unwrap_or(&reason)));
    log_warnings(&config);
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
    let access_log = config.process.access_log.as_ref().and_then(|log| log.file());
    for (name, path) in [("access log", access_log), ("pid file", config.process.pid_file.as_deref())] {
        if let Some(path) = path {
            file(name, path, &mut report);
        }
    }
    #[cfg_attr(not(feature = "metrics"), expect(unused_mut, reason = "there is no port of metrics"))]
    let mut ports = Ports::default();
    #[cfg(feature = "metrics")]
    match &config.process.metrics {
        Some(MetricsAddress::Tcp(address)) => {
            let addresses = std::slice::from_ref(address);
            ports.check(addresses, Transport::Tcp, &SocketOptions::default(), &mut report).await;
        }
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

/// The folder in which a file is.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this user may write there. (It is not opened: a pipe would wait for its reader.)
fn may_write(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(Into::into)
    }
    #[cfg(not(unix))]
    match path.metadata()?.permissions().readonly() && !path.is_dir() {
        true => Err(ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// Where a file is made that is opened by this path: a link may lead to where nothing is yet.
fn end_of_links(path: &Path) -> PathBuf {
    /// As Linux.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(target) = path.read_link() else { break };
        path = folder_of(&path).join(target);
    }
    path
}

/// Looks whether a file can be written that a half keeps, without making it.
fn file(name: &str, path: &Path, report: &mut Report) {
    let end = end_of_links(path);
    let folder = folder_of(&end);
    let shown = match end == path {
        true => path.display().to_string(),
        false => format!("{} (a link to {})", path.display(), end.display()),
    };
    match (path.metadata(), folder.metadata()) {
        (Ok(found), _) if found.is_dir() => report.fails(name, format!("{shown} is a folder")),
        (Ok(_), _) => match may_write(path) {
            Ok(()) => report.ok(name, shown),
            Err(error) => report.fails(name, format!("cannot write to {shown}: {error}")),
        },
        (Err(error), _) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            report.fails(name, format!("cannot write to {shown}: {error}"));
        }
        (Err(_), Ok(found)) if found.is_dir() => match may_write(folder) {
            Ok(()) => report.ok(name, format!("{shown}, which is not there yet")),
            Err(error) => report.fails(name, format!("cannot write to {}: {error}", folder.display())),
        },
        (Err(_), _) => report.fails(name, format!("{shown}: there is no folder {}", folder.display())),
    }
}
