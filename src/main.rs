//! The door: arguments and environment become a configuration, which runs until it is asked to end.

use obfs_rs::cli::{self, Command};
use obfs_rs::config::{Config, Half, ProcessEnv};
#[cfg(unix)]
use obfs_rs::os::pid_file::PidFile;
use obfs_rs::os::process::{self, Parent};
use obfs_rs::os::stderr;
#[cfg(unix)]
use obfs_rs::os::{daemon, privileged, user::User};
use obfs_rs::runtime::watchdog;
use obfs_rs::service::{self, StartError};
use obfs_rs::telemetry::{self, Destination};
use obfs_rs::{client, demo, net, probe, server};
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use tracing::{debug, error, info, warn};

/// The exit code of a configuration that cannot work, so that a service manager can tell it from a
/// crash (v2ray-plugin has the same).
const BAD_CONFIGURATION: u8 = 23;

fn main() -> ExitCode {
    watchdog::tell_of_panics();
    let parent = Parent::remember();
    let env = ProcessEnv { vars: std::env::vars_os().collect(), parent: process::parent_name() };
    let args: Vec<_> = std::env::args_os().collect();
    match cli::read(&args, &env) {
        Ok(Command::Print(text)) => {
            // A reader that has seen enough (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Demo) => with_runtime(tokio::runtime::Builder::new_multi_thread(), demo::run()),
        Ok(Command::Probe(config)) => {
            with_runtime(tokio::runtime::Builder::new_current_thread(), probe::run(*config))
        }
        Ok(Command::Run(config)) => {
            #[cfg(unix)]
            process::ignore_unexpected_signals();
            start(*config, &parent)
        }
        Err(error) => {
            // Behind an error there may be a help text of ours, which has lines.
            let text = error.to_string();
            let (first, help) = text.split_once("\n\n").unwrap_or((&text, ""));
            complain(&first);
            let _ = std::io::stderr().write_all(help.as_bytes());
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Says on stderr why the program ends, in one line and one write, whatever the log level.
fn complain(error: &dyn Display) {
    stderr::write(&format!("obfs-rs: {error}"));
}

fn with_runtime(mut builder: tokio::runtime::Builder, work: impl Future<Output = ExitCode>) -> ExitCode {
    match builder.enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // Tunnels that are open end with the process; none of them may hold it up.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            complain(&format_args!("cannot start the runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a half on this thread, which is watched.
fn serve(work: impl Future<Output = ExitCode>) -> ExitCode {
    match watchdog::Loop::new(true) {
        Ok(event_loop) => {
            watchdog::start();
            let code = event_loop.block_on(work);
            // Tunnels that are open end with the process; none of them may hold it up.
            event_loop.shut_down();
            code
        }
        Err(error) => {
            complain(&format_args!("cannot start the runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Becomes what the configuration asks for, step by step while there is one thread, and then runs.
fn start(config: Config, parent: &Parent) -> ExitCode {
    let refuse = |error: &dyn Display| {
        complain(error);
        ExitCode::from(BAD_CONFIGURATION)
    };
    if let Some(name) = &config.tunnel.sockets.interface
        && let Err(error) = net::check_device(name)
    {
        return refuse(&format_args!("cannot use the network interface `{}`: {error}", name.escape_debug()));
    }
    #[cfg(unix)]
    let user = match config.process.user.as_deref().map(User::find).transpose() {
        Ok(user) => user,
        Err(error) => return refuse(&error),
    };
    // A host takes a plugin that leaves for one that has ended.
    #[cfg(unix)]
    let background = match &config.process.pid_file {
        None => None,
        Some(_) if config.hosted => None,
        Some(_) => match daemon::detach() {
            Ok(daemon::Side::Started(code)) => return code,
            Ok(daemon::Side::Background(background)) => Some(background),
            Err(error) => return refuse(&error),
        },
    };
    #[cfg(not(unix))]
    if config.process.user.is_some() || config.process.pid_file.is_some() {
        return refuse(
            &"this system has neither users to go on as (`a`) nor a background with a pid file (`f`)",
        );
    }
    #[cfg(not(unix))]
    let background: Option<()> = None;
    let destination = if background.is_some() { Destination::Syslog } else { Destination::Stderr };
    telemetry::init(config.log_level, destination);
    tell_what_is_ignored(&config);
    #[cfg(unix)]
    if let Some(user) = &user
        && let Err(error) = privileged::keep(config.certificate_files(), user)
    {
        warn!(%error, "a renewed certificate may need a restart: nobody keeps the right to read it");
    }
    let open_files = process::limit_open_files(config.process.open_files);
    let hosted = config.hosted && background.is_none();
    // The pid file goes when this function ends.
    let (half, _pid_file) = match bind(config, open_files) {
        Ok(bound) => bound,
        Err(error) if error.is_about_the_configuration() => return refuse(&error),
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    #[cfg(unix)]
    if let Some(user) = user
        && let Err(error) = user.become_it()
    {
        return refuse(&error);
    }
    #[cfg(unix)]
    if let Some(background) = background {
        telemetry::look_for_syslog();
        if let Err(error) = background.ready() {
            complain(&format_args!("cannot go into the background: {error}"));
            return ExitCode::FAILURE;
        }
        telemetry::went_into_background();
    }
    telemetry::serving();
    service::start_other_threads(&*half);
    serve(run(half, hosted.then_some(parent)))
}

/// Warns of what was said and changes nothing.
fn tell_what_is_ignored(config: &Config) {
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

/// There is none: it is refused with the configuration.
#[cfg(not(unix))]
type PidFile = std::convert::Infallible;

/// Listens, writes the pid file, and says so.
fn bind(
    config: Config,
    open_files: Option<u64>,
) -> Result<(Box<dyn service::Run>, Option<PidFile>), StartError> {
    let role = config.role();
    #[cfg(unix)]
    let pid_path = config.process.pid_file.clone();
    let Config { half, tunnel, role_reason, .. } = config;
    let (described, secrets) = match &half {
        Half::Client(settings) => (settings.to_string(), settings.secrets()),
        Half::Server(settings) => (settings.to_string(), settings.secrets()),
    };
    let mut server = None;
    let service: Box<dyn service::Run> = match half {
        Half::Client(settings) => Box::new(client::Client::bind(*settings, &tunnel)?),
        Half::Server(settings) => {
            let bound = server::Server::bind(*settings, &tunnel)?;
            server = Some(bound.half());
            Box::new(bound)
        }
    };
    #[cfg(unix)]
    let pid_file = pid_path.as_deref().map(PidFile::claim).transpose()?;
    #[cfg(not(unix))]
    let pid_file = None;
    let listening = service.addresses();
    let version = env!("CARGO_PKG_VERSION");
    info!(open_files, "obfs-rs {version} {role} ({role_reason}), listening on {listening:?}, {described}");
    debug!("only clients are to know: {secrets}");
    if let Some(server) = server {
        server.tell_about_fake_tls();
    }
    Ok((service, pid_file))
}

/// Runs a half until a signal or the parent's end.
async fn run(half: Box<dyn service::Run>, parent: Option<&Parent>) -> ExitCode {
    let orphaned = async {
        match parent {
            Some(parent) => parent.gone().await,
            None => std::future::pending().await,
        }
    };
    let code = tokio::select! {
        () = telemetry::tell_what_is_left_out() => ExitCode::FAILURE,
        () = telemetry::keep_sending() => ExitCode::FAILURE,
        () = half.run() => {
            complain(&"nothing listens any more");
            ExitCode::FAILURE
        }
        signal = process::asked_to_end() => match signal {
            Ok(signal) => {
                info!("ending: {signal}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                error!(%error, "cannot listen for signals");
                ExitCode::FAILURE
            }
        },
        () = orphaned => {
            info!("ending: the program that started us is gone");
            ExitCode::SUCCESS
        }
    };
    telemetry::tell_the_rest();
    code
}
