//! The command line of `obfs-rs ready`.

use super::command::{self, CommandError};
use crate::config::MetricsAddress;
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command};

const ABOUT: &str = "Ask a half that runs whether it is ready: for a health check.";

const EXPLANATION: &str = "\
Ask a half that runs whether it is ready: for a health check.\n\n\
It asks for /readyz at the address that the half has in its option `metrics`, and waits for an answer for at most \
3 s. A server that cannot connect to Shadowsocks is not ready, nor is a half that drains.\n\n\
Exit code: 0 it is ready, 1 it is not, or nobody answers (the reason is on standard error), 23 a wrong command line.";

const EXAMPLES: &str = "\
Examples:
  obfs-rs ready 127.0.0.1:9180
  obfs-rs ready /run/obfs-rs/metrics.sock";

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("ready")
        .about(ABOUT)
        .long_about(EXPLANATION)
        .after_help(StyledStr::from(EXAMPLES))
        .arg(
            Arg::new("address")
                .value_name("ADDRESS")
                .required(true)
                .help("Where its metrics are: 127.0.0.1:9180, or the path of a Unix socket."),
        )
        .arg(
            Arg::new("live").long("live").action(ArgAction::SetTrue).help(
                "Ask only whether it goes on (/healthz): also where it drains, or Shadowsocks is away.",
            ),
        )
}

/// Reads the subcommand's words.
pub(super) fn read(matches: &ArgMatches) -> Result<command::Command, CommandError> {
    let text = matches.get_one::<String>("address").map(String::as_str).unwrap_or_default();
    let address = MetricsAddress::read("ADDRESS", text)?;
    Ok(command::Command::Ready { address, live: matches.get_flag("live") })
}
