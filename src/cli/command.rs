//! What the program is to do.

#[cfg(feature = "metrics")]
use crate::config::MetricsAddress;
use crate::config::{Config, ConfigError, ProcessEnv, SaidAddresses, Settings};
#[cfg(feature = "probe")]
use crate::probe::ProbeConfig;
#[cfg(feature = "share")]
use crate::share::Share;
use thiserror::Error;

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Be a half of the plugin.
    Run(Box<Config>),
    /// Show on this machine that it works.
    #[cfg(all(feature = "client", feature = "server"))]
    Demo {
        /// Go on until somebody has looked at the website.
        stay: bool,
    },
    /// Compare a server with the website behind it.
    #[cfg(feature = "probe")]
    Probe(Box<ProbeConfig>),
    /// Ask a half that runs whether it is ready, or only whether it goes on.
    #[cfg(feature = "metrics")]
    Ready {
        /// Where its metrics are.
        address: MetricsAddress,
        /// Only whether it goes on.
        live: bool,
    },
    /// Print what the users of a server enter.
    #[cfg(feature = "share")]
    Share(Box<Share>),
    /// Look whether a half could start and work, without being it.
    Check(Box<Config>, SaidAddresses),
    /// Print this text and end well: `--help`, `--version`.
    Print(String),
}

impl Command {
    /// To be the half that a command line and the environment ask for.
    pub(super) fn run(settings: Settings, env: &ProcessEnv) -> Result<Command, CommandError> {
        Ok(Command::Run(Box::new(crate::config::read(settings, env)?)))
    }
}

/// Why it is not clear what the program is to do.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// What was said cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line is not one.
    #[error("command line: {0} (see --help)")]
    CommandLine(String),
    /// Nothing was said at all. The text says how the program is used.
    ///
    /// For somebody at a prompt it is the help that was wanted. A service, a container or a host that passes no
    /// variables must not take it for a success: to them it is a configuration that cannot work.
    #[error("SS_REMOTE_HOST is not set: this is a plugin, which a Shadowsocks program starts")]
    NothingSaid(String),
}
