//! `obfs-rs probe` in a build without it: understood, and refused with that reason.

use super::command::{self, CommandError};
use crate::config::{ConfigError, Feature};
use clap::{Arg, ArgMatches, Command};

/// The subcommand, with whatever it is given.
pub(super) fn command() -> Command {
    Command::new("probe").hide(true).arg(Arg::new("any").num_args(..).allow_hyphen_values(true))
}

/// Refuses it.
pub(super) fn read(_: &ArgMatches) -> Result<command::Command, CommandError> {
    Err(ConfigError::LeftOut { asked: "probe".to_owned(), feature: Feature::Probe }.into())
}
