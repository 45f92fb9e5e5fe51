//! `obfs-rs share` in a build without it: understood, and refused with that reason.

use super::command::{self, CommandError};
use crate::config::{ConfigError, Feature, ProcessEnv};
use clap::{Arg, ArgMatches, Command};

/// The subcommand, with whatever it is given.
pub(super) fn command() -> Command {
    Command::new("share").hide(true).arg(Arg::new("any").num_args(..).allow_hyphen_values(true))
}

/// Refuses it.
pub(super) fn read(_: &ArgMatches, _: &ProcessEnv) -> Result<command::Command, CommandError> {
    Err(ConfigError::LeftOut { asked: "share".to_owned(), feature: Feature::Share }.into())
}
