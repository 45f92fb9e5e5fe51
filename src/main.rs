//! The door: arguments and environment become a configuration, which runs until it is asked to end.

use obfs_rs::cli::{self, Command, CommandError};
use obfs_rs::config::{Config, Half, ProcessEnv};
use obfs_rs::exporter::Exporter;
use obfs_rs::metrics;
use obfs_rs::net::handed_over::HandedOver;
use obfs_rs::os::daemon::{self, DaemonSide};
use obfs_rs::os::parent::Parent;
use obfs_rs::os::pid_file::PidFile;
use obfs_rs::os::process;
use obfs_rs::os::service_manager::{self, ServiceManager};
use obfs_rs::os::shutdown::CaughtSignals;
use obfs_rs::os::stderr::print_error;
use obfs_rs::os::stdout;
use obfs_rs::os::{privileged, randomness, user::User};
use obfs_rs::runtime::{admission, buffers, watchdog};
use obfs_rs::service::{self, Process, ReadConfig, Reloader, Run, StartError};
use obfs_rs::telemetry::{self, AccessLogConfig, Destination};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::{info, warn};

/// The exit code of a configuration that cannot work, so that a service manager can tell it from a
/// crash (v2ray-plugin has the same).
const BAD_CONFIGURATION: u8 = 23;

/// The standard library allocates before `main` begins; what stands here is called before it.
// SAFETY: the section holds functions of this kind, which the C library calls once, when it is ready itself. This one sets a
// number.
#[cfg(all(target_os = "linux", target_env = "musl"))]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_ALL: extern "C" fn() = obfs_rs::os::allocator::take_little;

fn main() -> ExitCode {
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "arm", target_arch = "aarch64", target_arch = "x86", target_arch = "x86_64")
    ))]
    obfs_rs::os::unknown_calls::fail();
    watchdog::log_panics();
    // (before all else: even a table of the standard library needs them)
    if let Err(error) = randomness::check() {
        print_error(&error);
        return ExitCode::FAILURE;
    }
    let parent = Parent::remember();
    let env = ProcessEnv { vars: std::env::vars_os().collect(), parent: parent.name() };
    #[cfg(windows)]
    if env.has_plugin_variables() {
        obfs_rs::os::windows::console::leave_own(parent.name().as_deref());
    }
    let args: Vec<_> = std::env::args_os().collect();
    match cli::read(&args, &env) {
        Ok(Command::Print(text)) => {
            if stdout::print(&text) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        #[cfg(all(feature = "client", feature = "server"))]
        Ok(Command::Demo { stay }) => {
            obfs_rs::runtime::block_on(tokio::runtime::Builder::new_multi_thread(), obfs_rs::demo::run(stay))
                .unwrap_or_else(|error| fail(&StartError::Runtime(error)))
        }
        #[cfg(feature = "probe")]
        Ok(Command::Probe(config)) => obfs_rs::runtime::block_on(
            tokio::runtime::Builder::new_current_thread(),
            obfs_rs::probe::run(*config),
        )
        .unwrap_or_else(|error| fail(&StartError::Runtime(error))),
        #[cfg(feature = "share")]
        Ok(Command::Share(share)) => obfs_rs::share::run(&share),
        Ok(Command::Check(config, said)) => obfs_rs::runtime::block_on(
            tokio::runtime::Builder::new_current_thread(),
            obfs_rs::check::run(*config, said),
        )
        .unwrap_or_else(|error| fail(&StartError::Runtime(error))),
        #[cfg(feature = "metrics")]
        Ok(Command::Ready { address, live }) => obfs_rs::runtime::block_on(
            tokio::runtime::Builder::new_current_thread(),
            obfs_rs::exporter::ask(address, live),
        )
        .unwrap_or_else(|error| fail(&StartError::Runtime(error))),
        Ok(Command::Run(config)) => {
            let read = read_again(args, env);
            start(*config, &parent, read).unwrap_or_else(|error| fail(&error))
        }
        Err(error) => {
            print_error(&error);
            if let CommandError::NothingSaid(help) = error {
                let _ = std::io::stdout().write_all(help.as_bytes());
            }
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
fn start(config: Config, parent: &Parent, read: Arc<ReadConfig>) -> Result<ExitCode, StartError> {
    process::ignore_unexpected_signals();
    // What a plugin finds in these variables is its host's.
    let handed_over = match config.hosted {
        true => Vec::new(),
        false => service_manager::take_sockets().map_err(StartError::HandedOver)?,
    };
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
    service::log_warnings(&config);
    if let Some(user) = &user
        && let Err(error) = privileged::start(config.files(), user)
    {
        warn!(%error, "a renewed certificate, and another `c` file, may need a restart: nobody keeps the right to read it");
    }
    let open_files = process::limit_open_files(config.process.open_files);
    process::keep_heap_together();
    admission::set_limit(open_files);
    buffers::set_limit(config.process.buffers);
    let hosted = config.hosted && background.is_none();
    let role = config.role();
    let metrics = &config.process.metrics;
    let metrics = metrics.as_ref().map(|address| Exporter::bind(address, user.as_ref())).transpose()?;
    // The pid file goes when this function ends.
    let reloader = Reloader::new(config.clone(), read);
    let access_log = config.process.access_log.clone();
    let Bound { service, signals, pid_file: _pid_file } =
        bind(config, open_files, HandedOver::new(handed_over))?;
    if let (Some(user), Some(path)) = (&user, access_log.as_ref().and_then(AccessLogConfig::file))
        && let Err(error) = user.give(path)
    {
        warn!(%error, "the access log stays root's, and cannot be opened anew on SIGHUP");
    }
    metrics::note_start(env!("CARGO_PKG_VERSION"), role);
    if let Some(metrics) = &metrics {
        if let Some(user) = &user {
            metrics.wait_as_root(user);
        }
        metrics.tell();
    }
    if let Some(user) = user {
        user.drop_privileges()?;
    }
    if let Some(background) = background {
        telemetry::warn_without_syslog();
        background.ready().map_err(StartError::Daemon)?;
        telemetry::switch_to_syslog();
    }
    let manager = (!hosted).then(ServiceManager::of_this_process);
    let parent = hosted.then_some(parent);
    service::run(&*service, &Process { parent, manager, metrics: metrics.as_ref(), reloader }, signals)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads what was said at the start once more.
fn read_again(args: Vec<OsString>, env: ProcessEnv) -> Arc<ReadConfig> {
    let directory = std::env::current_dir();
    Arc::new(move || {
        // A process in the background has gone to another one, while names of files are as they were written.
        let elsewhere = std::env::current_dir().ok();
        if let Ok(directory) = &directory {
            let _ = std::env::set_current_dir(directory);
        }
        let read = cli::read(&args, &env);
        if let Some(elsewhere) = elsewhere {
            let _ = std::env::set_current_dir(elsewhere);
        }
        match read {
            Ok(Command::Run(config)) => Ok(*config),
            Ok(_) => Err("the command line asks for something else".to_owned()),
            // Other than at the start it goes to the log.
            Err(CommandError::Config(error)) => Err(error.without_secret().to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

/// What a process has that listens.
struct Bound {
    service: Box<dyn Run>,
    signals: CaughtSignals,
    pid_file: Option<PidFile>,
}

/// Listens, writes the pid file once signals may come, and says so.
fn bind(config: Config, open_files: Option<u64>, handed_over: HandedOver) -> Result<Bound, StartError> {
    let role = config.role();
    let Config { half, tunnel, role_reason, process, .. } = config;
    let (described, secrets) = match &half {
        Half::Client(settings) => (settings.to_string(), settings.secrets()),
        Half::Server(settings) => (settings.to_string(), settings.secrets()),
    };
    let service: Box<dyn Run> = match half {
        #[cfg(feature = "client")]
        Half::Client(settings) => Box::new(obfs_rs::client::Client::bind(*settings, &tunnel, handed_over)?),
        #[cfg(feature = "server")]
        Half::Server(settings) => Box::new(obfs_rs::server::Server::bind(*settings, &tunnel, handed_over)?),
        #[cfg(not(all(feature = "client", feature = "server")))]
        _ => return Err(StartError::LeftOut),
    };
    if let Some(access_log) = process.access_log {
        telemetry::access_log::start(access_log)?;
    }
    // The pid file tells where to send them.
    let signals = CaughtSignals::catch().map_err(StartError::Signals)?;
    let pid_file = process.pid_file.as_deref().map(PidFile::claim).transpose()?;
    let listening = service.listening();
    let version = env!("CARGO_PKG_VERSION");
    let buffers_mb = buffers::limit().map(|bytes| bytes / (1024 * 1024));
    info!(
        open_files,
        buffers_mb, "obfs-rs {version} {role} ({role_reason}), listening on {listening}, {described}"
    );
    telemetry::log_secrets(&secrets);
    service.log_hints();
    Ok(Bound { service, signals, pid_file })
}
