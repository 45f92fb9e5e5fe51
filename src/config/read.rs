//! From what was said to a configuration.

use super::cli;
use super::client::{self, ClientConfig};
use super::disguise::disguises;
use super::endpoints::Addresses;
use super::env::ProcessEnv;
use super::error::ConfigError;
use super::file::File;
use super::go_cli;
use super::options::{Kind, OPTIONS, Options, UnknownOption};
use super::probe::ProbeConfig;
use super::process::{ProcessConfig, log_level, nameserver, process};
use super::role::{self, Role, RoleReason};
use super::server::{self, ServerConfig};
use super::sip003;
use super::tunnel::{TunnelConfig, tunnel};
use super::values::{flag, value};
use crate::telemetry::LogLevel;
use std::path::PathBuf;

/// A half with its settings.
#[derive(Debug, Clone)]
pub enum Half {
    /// The client half.
    Client(Box<ClientConfig>),
    /// The server half.
    Server(Box<ServerConfig>),
}

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The half and its settings.
    pub half: Half,
    /// What both halves have.
    pub tunnel: TunnelConfig,
    /// What the process is asked to be.
    pub process: ProcessConfig,
    /// Why this half.
    pub role_reason: RoleReason,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Whether a Shadowsocks program started us, so that we end when it does.
    pub hosted: bool,
    /// What nobody knows and the log warns about.
    pub unknown: Vec<UnknownOption>,
    /// What was odd and is taken all the same, for the log to warn of.
    pub warnings: Vec<String>,
    /// The name server that was asked for, and that the log says is not asked.
    pub nameserver: Option<String>,
}

impl Config {
    /// The files of certificates and keys that are read anew when they change.
    pub fn certificate_files(&self) -> Vec<PathBuf> {
        let Half::Server(server) = &self.half else { return Vec::new() };
        let candidates = server.tls.iter().flat_map(|tls| &tls.candidates);
        candidates.flat_map(|(certificate, key)| [certificate.clone(), key.clone()]).collect()
    }

    /// The half this is for.
    pub fn role(&self) -> Role {
        match self.half {
            Half::Client(_) => Role::Client,
            Half::Server(_) => Role::Server,
        }
    }
}

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Be a half of the plugin.
    Run(Box<Config>),
    /// Show on this machine that it works.
    Demo,
    /// Compare a server with the website behind it.
    Probe(Box<ProbeConfig>),
    /// Write the manual pages into this folder.
    Manuals(PathBuf),
    /// Print this text and end well: `--help`, `--version`.
    Print(String),
}

/// Reads everything that was said and checks it.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn read(env: &ProcessEnv) -> Result<Command, ConfigError> {
    let program = env.program();
    if let Some(answer) = without_settings(env, &program) {
        return answer;
    }
    let cli = match cli::parse(&program, &env.args)? {
        cli::Parsed::Print(text) => return Ok(Command::Print(text)),
        cli::Parsed::Demo => return Ok(Command::Demo),
        cli::Parsed::Probe(config) => return Ok(Command::Probe(config)),
        cli::Parsed::Manuals(folder) => return Ok(Command::Manuals(folder)),
        cli::Parsed::Run(cli) => *cli,
    };
    let plugin_options = env.var(sip003::PLUGIN_OPTIONS)?;
    let (from_host, notes) = sip003::parse_with_notes(plugin_options.as_deref().unwrap_or_default())?;
    // The first of a name wins, so what the command line says stands in front, and the file behind.
    let mut options = Options::new(cli.options.into_iter().chain(from_host.iter().cloned()));
    notes.into_iter().for_each(|note| options.warn(note));
    options.warn_of_repeats(&from_host);
    let file = match value(&options, "c", "the name of a file")? {
        Some((_, path)) => Some(File::read(path)?),
        None => None,
    };
    let as_v2ray_plugin = go_cli::is_meant(&program);
    options.check_understood(&from_host, as_v2ray_plugin || file.is_some())?;
    let of_string = options.len();
    if let Some(file) = &file {
        file.notes.iter().for_each(|note| options.warn(note.clone()));
        for (option, place) in &file.options {
            options.add_from_file(option.clone(), place);
        }
    }

    // v2ray-plugin's options of the same meaning go before the variables.
    let mut addresses =
        cli.addresses.or(Addresses::from_options(&options)?).or(Addresses::from_environment(env)?);
    let remote_host = addresses.remote_host.as_ref().or(file.as_ref().and_then(|file| file.server.as_ref()));
    let evidence = role::Evidence {
        subcommand: cli.role,
        program: &program,
        remote_host: remote_host.map(|setting| setting.value.as_str()),
        parent: env.parent.as_deref(),
    };
    let (role, role_reason) = role::decide(&options, &evidence)?;
    options.warn_of_other_half(of_string, role, &role_reason);
    if let Some(file) = file {
        addresses = addresses.or(file.addresses(role)?);
    }
    if as_v2ray_plugin {
        addresses = addresses.or(go_cli::defaults(role));
    }
    for spec in OPTIONS.iter().filter(|spec| spec.kind == Kind::Flag) {
        flag(&options, spec.name)?;
    }
    let disguises = disguises(&options, role, as_v2ray_plugin)?;
    let hosted = [sip003::REMOTE_HOST, sip003::LOCAL_HOST]
        .iter()
        .all(|name| env.vars.iter().any(|(key, _)| key == name));

    let half = match role {
        Role::Client => Half::Client(Box::new(client::client(&options, &addresses, &disguises)?)),
        Role::Server => {
            let home = env.var("HOME")?;
            Half::Server(Box::new(server::server(&options, &addresses, &disguises, home.as_deref())?))
        }
    };
    Ok(Command::Run(Box::new(Config {
        half,
        tunnel: tunnel(&options)?,
        process: process(&options)?,
        role_reason,
        log_level: log_level(&options)?,
        hosted,
        nameserver: nameserver(&options)?,
        warnings: options.take_warnings(),
        unknown: options.unknown,
    })))
}

/// What is asked by somebody who tries the program out at a prompt: with nothing, or one letter.
fn without_settings(env: &ProcessEnv, program: &str) -> Option<Result<Command, ConfigError>> {
    let by_a_host = env.vars.iter().any(|(name, _)| name.to_string_lossy().starts_with("SS_"));
    let drop_in = go_cli::is_meant(program) || matches!(program, "obfs-local" | "obfs-server");
    if by_a_host || drop_in {
        return None;
    }
    let arguments: Vec<_> = env.args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
    match arguments.iter().map(AsRef::as_ref).collect::<Vec<&str>>().as_slice() {
        [] | ["-v"] => Some(Err(ConfigError::NothingSaid(cli::usage()))),
        ["-V"] => Some(Ok(Command::Print(cli::version()))),
        _ => None,
    }
}
