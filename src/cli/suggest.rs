//! What a wrong word on the command line may have meant, where clap does not know it: a flag of another subcommand, and
//! the subcommand behind `help`.

use crate::config::options::closest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};
use std::ffi::OsString;

/// What may have been meant, as the end of a sentence. `None` leaves it to clap.
pub(super) fn meant(error: &Error, command: &Command, args: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = text(ContextKind::InvalidArg)?.strip_prefix("--")?;
            flag_elsewhere(flag.split('=').next().unwrap_or(flag), command, used(command, args))
        }
        ErrorKind::InvalidSubcommand if error.get(ContextKind::SuggestedSubcommand).is_none() => {
            let names = visible(command).map(Command::get_name);
            let (_, name) = closest(text(ContextKind::InvalidSubcommand)?, names)?;
            Some(format!(": a similar subcommand exists: '{name}'"))
        }
        _ => None,
    }
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The subcommand that is in use.
fn used<'a>(command: &'a Command, args: &[OsString]) -> Option<&'a Command> {
    args.iter().skip(1).find_map(|arg| command.find_subcommand(arg))
}

/// Names of flags, also those that are not shown.
fn flags(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(|arg| arg.get_long())
}

fn flag_elsewhere(flag: &str, command: &Command, used: Option<&Command>) -> Option<String> {
    let program = command.get_name();
    let here = used.unwrap_or(command);
    let others = || visible(command).filter(|other| other.get_name() != here.get_name());
    let owners: Vec<_> = others()
        .filter(|other| flags(other).any(|known| known == flag))
        .map(|other| format!("`{program} {}`", other.get_name()))
        .collect();
    if !owners.is_empty() {
        return Some(format!(": it is a flag of {}", owners.join(" and ")));
    }
    let own = closest(flag, flags(here));
    let other = others()
        .filter_map(|other| closest(flag, flags(other)).map(|(far, known)| (far, other.get_name(), known)))
        .min_by_key(|(far, _, _)| *far);
    match (own, other) {
        (Some((far, known)), Some((further, _, _))) if far <= further => Some(similar(known)),
        (Some((_, known)), None) => Some(similar(known)),
        (_, Some((_, other, known))) => Some(format!(": did you mean `{program} {other} --{known}`?")),
        // clap takes more for similar: fit for a subcommand with a few flags, not for all there are.
        (None, None) => used.is_none().then(String::new),
    }
}

fn similar(flag: &str) -> String {
    format!(": a similar argument exists: '--{flag}'")
}
