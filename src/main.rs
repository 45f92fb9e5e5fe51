//! The door: arguments and environment become a configuration, which runs until it is asked to end.

use obfs_rs::cli::{self, Command};
use obfs_rs::config::{Config, Half, ProcessEnv};
use obfs_rs::exporter::Exporter;
use obfs_rs::metrics;
use obfs_rs::os::daemon::{self, DaemonSide};
use obfs_rs::os::pid_file::PidFile;
use obfs_rs::os::process::{self, Parent};
use obfs_rs::os::stderr::print_error;
use obfs_rs::os::{privileged, user::User};
use obfs_rs::runtime::{buffers, watchdog};
use obfs_rs::service::{self, Run, StartError};
use obfs_rs::telemetry::{self, Destination};
use std::io::Write as _;
use std::process::ExitCode;
use tracing::{debug, info, warn};

/// The exit code of a configuration that cannot work, so that a service manager can tell it from a
/// crash (v2ray-plugin has the same).
const BAD_CONFIGURATION: u8 = 23;

fn main() -> ExitCode {
    watchdog::log_panics();
    let parent = Parent::remember();
    let env = ProcessEnv { vars: std::env::vars_os().collect(), parent: process::parent_name() };
    let args: Vec<_> = std::env::args_os().collect();
    match cli::read(&args, &env) {
        Ok(Command::Print(text)) => {
            // A reader that has seen enough (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        #[cfg(all(feature = "client", feature = "server"))]
        Ok(Command::Demo) => {
            obfs_rs::runtime::block_on(tokio::runtime::Builder::new_multi_thread(), obfs_rs::demo::run())
                .unwrap_or_else(|error| fail(&StartError::Runtime(error)))
        }
        #[cfg(feature = "probe")]
        Ok(Command::Probe(config)) => obfs_rs::runtime::block_on(
            tokio::runtime::Builder::new_current_thread(),
            obfs_rs::probe::run(*config),
        )
        .unwrap_or_else(|error| fail(&StartError::Runtime(error))),
        Ok(Command::Run(config)) => start(*config, &parent).unwrap_or_else(|error| fail(&error)),
        Err(error) => {
            // Behind an error there may be a help text of ours, which has lines.
            let text = error.to_string();
            let (first, help) = text.split_once("\n\n").unwrap_or((&text, ""));
            print_error(&first);
            let _ = std::io::stderr().write_all(help.as_bytes());
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Says why there is nothing to serve.
fn fail(error: &StartError) -> ExitCode {
    print_error(error);
    if error.is_about_the_configuration() { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::FAILURE }
}

/// Becomes what the configuration asks for, step by step while there is one thread, and then serves.
fn start(config: Config, parent: &Parent) -> Result<ExitCode, StartError> {
    process::ignore_unexpected_signals();
    if let Some(name) = &config.tunnel.sockets.interface {
        obfs_rs::net::check_device(name)
            .map_err(|error| StartError::Interface { name: name.clone(), error })?;
    }
    let user = config.process.user.as_deref().map(User::find).transpose()?;
    // A host takes a plugin that leaves for one that has ended.
    let background = match &config.process.pid_file {
        Some(_) if !config.hosted => match daemon::detach().map_err(StartError::Daemon)? {
            DaemonSide::Started(code) => return Ok(code),
            DaemonSide::Background(background) => Some(background),
        },
        _ => None,
    };
    let destination = if background.is_some() { Destination::Syslog } else { Destination::Stderr };
    telemetry::init(config.log_level, destination, config.role());
    warn_about_ignored_options(&config);
    if let Some(user) = &user
        && let Err(error) = privileged::start(config.certificate_files(), user)
    {
        warn!(%error, "a renewed certificate may need a restart: nobody keeps the right to read it");
    }
    let open_files = process::limit_open_files(config.process.open_files);
    if let Some(bytes) = config.process.buffers {
        buffers::set_limit(bytes);
    }
    let hosted = config.hosted && background.is_none();
    let role = config.role();
    let metrics = &config.process.metrics;
    let metrics = metrics.as_ref().map(|address| Exporter::bind(address, user.as_ref())).transpose()?;
    // The pid file goes when this function ends.
    let (service, _pid_file) = bind(config, open_files)?;
    metrics::note_start(env!("CARGO_PKG_VERSION"), role);
    if let Some(metrics) = &metrics {
        info!("metrics are at {metrics}");
    }
    if let Some(user) = user {
        user.drop_privileges()?;
    }
    if let Some(background) = background {
        telemetry::warn_without_syslog();
        background.ready().map_err(StartError::Daemon)?;
        telemetry::switch_to_syslog();
    }
    service::run(&*service, hosted.then_some(parent), metrics.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

/// Warns of options that change nothing.
fn warn_about_ignored_options(config: &Config) {
    for unknown in &config.unknown {
        match unknown.nearest {
            Some(nearest) => {
                warn!("unknown option `{}`: did you mean `{nearest}`? It is ignored", unknown.name);
            }
            None => warn!("unknown option `{}`: it is ignored", unknown.name),
        }
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Some(server) = &config.nameserver {
        warn!("the name server {server} is not asked: names are looked up the way the system is set up");
    }
}

/// Listens, writes the pid file, and says so.
fn bind(config: Config, open_files: Option<u64>) -> Result<(Box<dyn Run>, Option<PidFile>), StartError> {
    let role = config.role();
    let Config { half, tunnel, role_reason, process, .. } = config;
    let (described, secrets) = match &half {
        Half::Client(settings) => (settings.to_string(), settings.secrets()),
        Half::Server(settings) => (settings.to_string(), settings.secrets()),
    };
    let service: Box<dyn Run> = match half {
        #[cfg(feature = "client")]
        Half::Client(settings) => Box::new(obfs_rs::client::Client::bind(*settings, &tunnel)?),
        #[cfg(feature = "server")]
        Half::Server(settings) => Box::new(obfs_rs::server::Server::bind(*settings, &tunnel)?),
        #[cfg(not(all(feature = "client", feature = "server")))]
        _ => return Err(StartError::LeftOut),
    };
    if let Some(access_log) = process.access_log {
        telemetry::access_log::start(access_log)?;
    }
    let pid_file = process.pid_file.as_deref().map(PidFile::claim).transpose()?;
    let listening = service.addresses();
    let version = env!("CARGO_PKG_VERSION");
    info!(open_files, "obfs-rs {version} {role} ({role_reason}), listening on {listening:?}, {described}");
    debug!("only clients are to know: {secrets}");
    service.log_hints();
    Ok((service, pid_file))
}
