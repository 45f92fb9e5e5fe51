//! `obfs-rs ready` in a build without metrics: understood, and refused with that reason.

use super::command::{self, CommandError};
use crate::config::{ConfigError, Feature};
use clap::{Arg, ArgMatches, Command};

/// The subcommand, with whatever it is given.
pub(super) fn command() -> Command {
    Command::new("ready").hide(true).arg(Arg::new("any").num_args(..).allow_hyphen_values(true))
}

/// Refuses it.
pub(super) fn read(_: &ArgMatches) -> Result<command::Command, CommandError> {
    Err(ConfigError::LeftOut { asked: "ready".to_owned(), feature: Feature::Metrics }.into())
}
