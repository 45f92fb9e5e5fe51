//! From what was said to a configuration.

use super::client::{self, ClientConfig};
use super::dialect::Dialect;
use super::disguise::{Disguise, disguises};
use super::endpoints::{Addresses, SaidAddresses};
use super::env::ProcessEnv;
use super::error::ConfigError;
use super::evidence::{self, Evidence};
use super::file::File;
use super::left_out;
use super::metrics::check_not_behind;
use super::options::{Kind, OPTIONS, Options, UnknownOption};
use super::process::{ProcessConfig, log_level, nameserver, process};
use super::role::{Role, RoleReason};
use super::server::{self, ServerConfig};
use super::settings::Settings;
use super::sip003::{self, PluginOption};
use super::tunnel::{TunnelConfig, tunnel};
use super::udp;
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
    /// The file that was read.
    pub file: Option<PathBuf>,
}

impl Config {
    /// The files of certificates and keys that are read anew when they change.
    fn certificate_files(&self) -> Vec<PathBuf> {
        let Half::Server(server) = &self.half else { return Vec::new() };
        let candidates = server.tls.iter().flat_map(|tls| &tls.candidates);
        candidates.flat_map(|(certificate, key)| [certificate.clone(), key.clone()]).collect()
    }

    /// All files that may be read anew.
    pub fn files(&self) -> Vec<PathBuf> {
        self.certificate_files().into_iter().chain(self.file.clone()).collect()
    }

    /// Everything that is odd and taken all the same, in words.
    pub fn all_warnings(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|unknown| match unknown.nearest {
            Some(nearest) => {
                format!("unknown option `{}`: did you mean `{nearest}`? It is ignored", unknown.name)
            }
            None => format!("unknown option `{}`: it is ignored", unknown.name),
        });
        let nameserver = self.nameserver.iter().map(|server| {
            format!("the name server {server} is not asked: names are looked up the way the system is set up")
        });
        unknown.chain(self.warnings.iter().cloned()).chain(nameserver).collect()
    }

    /// The half this is for.
    pub fn role(&self) -> Role {
        match self.half {
            Half::Client(_) => Role::Client,
            Half::Server(_) => Role::Server,
        }
    }
}

/// Reads everything that was said and checks it.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn read(settings: Settings, env: &ProcessEnv) -> Result<Config, ConfigError> {
    read_with(settings, env, false).map(|(config, _)| config)
}

/// The same for one who only looks at it: an address that nobody says is none to complain of. Returns which were said;
/// in the place of the others are stand-ins.
///
/// # Errors
///
/// As above.
pub fn read_to_check(settings: Settings, env: &ProcessEnv) -> Result<(Config, SaidAddresses), ConfigError> {
    read_with(settings, env, true)
}

fn read_with(
    settings: Settings,
    env: &ProcessEnv,
    may_lack_addresses: bool,
) -> Result<(Config, SaidAddresses), ConfigError> {
    let Settings { dialect, role: command_line, options, addresses } = settings;
    let (options, file) = gather(options, dialect, env)?;
    // v2ray-plugin's options of the same meaning go before the variables.
    let addresses = addresses.or(Addresses::from_options(&options)?).or(Addresses::from_environment(env)?);
    let of_file = file.as_ref().and_then(|file| file.server.as_ref());
    let remote_host = addresses.remote_host.as_ref().or(of_file).map(|setting| setting.value.as_str());
    let parent = env.parent.as_deref();
    let (role, role_reason) = evidence::decide(&options, Evidence { command_line, remote_host, parent })?;
    options.warn_of_other_half(role, &role_reason);
    left_out::check(&options, role, &role_reason)?;
    for spec in OPTIONS.iter().filter(|spec| spec.kind == Kind::Flag) {
        flag(&options, spec.name)?;
    }
    let defaults = Addresses::defaults(dialect, role, file.is_some());
    let of_file = file.map(|file| file.addresses(role)).transpose()?.unwrap_or_default();
    let disguises = disguises(&options, role, dialect)?;
    let mut addresses = addresses.or(of_file).or(defaults);
    let mut said = SaidAddresses { remote: true, local: true };
    if may_lack_addresses {
        said = addresses.fill_in(role);
    }
    let (remote, mut local) = addresses.endpoints(dialect, role)?;
    let half = match role {
        Role::Client => {
            let disguise = disguises.first().copied().unwrap_or(Disguise::Auto);
            Half::Client(Box::new(client::client(&options, remote, local, disguise)?))
        }
        Role::Server => {
            let (home, backend) = (env.home()?, local.swap_remove(0));
            let server = server::server(&options, remote, backend, &disguises, home.as_deref())?;
            Half::Server(Box::new(server))
        }
    };
    let takes_udp = match &half {
        Half::Client(client) => client.udp,
        Half::Server(server) => server.udp,
    };
    if let Some(parent) = parent.filter(|_| takes_udp) {
        udp::warn_of_host(&options, parent);
    }
    let process = process(&options)?;
    if let Half::Server(server) = &half {
        check_not_behind(server, process.metrics.as_ref())?;
    }
    let config = Config {
        half,
        tunnel: tunnel(&options)?,
        process,
        role_reason,
        log_level: log_level(&options)?,
        hosted: env.is_hosted(),
        nameserver: nameserver(&options)?,
        file: value(&options, "c", "the name of a file")?.map(|(_, path)| PathBuf::from(path)),
        warnings: options.take_warnings(),
        unknown: options.unknown,
    };
    Ok((config, said))
}

/// All options, in the order in which they count: the first of a name wins, so those of the command line
/// stand in front, then those of the host's string, then those of the file that one of these names.
fn gather(
    command_line: Vec<PluginOption>,
    dialect: Dialect,
    env: &ProcessEnv,
) -> Result<(Options, Option<File>), ConfigError> {
    let string = env.var(sip003::PLUGIN_OPTIONS)?.unwrap_or_default();
    let (string, notes) = sip003::parse_with_notes(&string)?;
    let mut options = Options::new(command_line.into_iter().chain(string.iter().cloned()));
    notes.into_iter().for_each(|note| options.warn(note));
    options.warn_of_repeats(&string);
    let file = value(&options, "c", "the name of a file")?.map(|(_, path)| File::read(path)).transpose()?;
    options.check_understood(&string, dialect == Dialect::V2rayPlugin || file.is_some())?;
    if let Some(file) = &file {
        file.notes.iter().for_each(|note| options.warn(note.clone()));
        for (option, place) in &file.options {
            options.add_from_file(option.clone(), place);
        }
    }
    options.check_path()?;
    Ok((options, file))
}
