//! `obfs-rs probe` in a build without it: understood, and refused with that reason.

use super::command::{self, CommandError};
use crate::config::{Feature, require};
use clap::{Arg, ArgMatches, Command};

/// The subcommand, with whatever it is given.
pub(super) fn command() -> Command {
    Command::new("probe").hide(true).arg(Arg::new("any").num_args(..).allow_hyphen_values(true))
}

/// Refuses it.
pub(super) fn read(_: &ArgMatches) -> Result<command::Command, CommandError> {
    require(Feature::Probe, || "probe".to_owned())?;
    Ok(command::Command::Print(String::new()))
}
