//! The table of options as flags, and what all command lines that clap reads have in common.

use super::command::{Command, CommandError};
use crate::config::options::{Kind, OPTIONS, OptionSpec};
use crate::config::{PluginOption, Role};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};
use std::ffi::OsString;

/// A command line as clap reads it, or what it has printed instead.
pub(super) fn matches(
    command: clap::Command,
    args: &[OsString],
) -> Result<Result<ArgMatches, Command>, CommandError> {
    match command.try_get_matches_from(args) {
        Ok(matches) => Ok(Ok(matches)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Err(Command::Print(error.render().to_string())))
        }
        Err(error) => Err(one_line_error(&error)),
    }
}

/// The options that can be flags: a subcommand says which half it is.
fn known(role: Option<Role>) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(move |spec| role.is_none() || !matches!(spec.name, "server" | "client"))
}

/// The flags of the option table. Those of the other half are taken but not shown: one string of
/// options is often handed to both.
pub(super) fn option_args(role: Option<Role>) -> impl Iterator<Item = Arg> {
    known(role).map(move |spec| {
        let other = role.is_some() && spec.half.is_some() && spec.half != role;
        let mut arg =
            Arg::new(spec.name).help(help_for(spec.help, role)).help_heading(spec.heading()).hide(other);
        if !matches!(spec.kind, Kind::Values(_)) {
            arg = arg.overrides_with(spec.name);
        }
        if let Some(letter) = spec.short {
            arg = arg.short(letter);
        }
        let mut names = std::iter::once(&spec.name)
            .chain(spec.aliases)
            .filter(|name| name.len() > 1 && !name.starts_with('_'));
        if let Some(name) = names.next() {
            arg = arg.long(*name).visible_aliases(names);
        }
        match spec.kind {
            Kind::Flag => arg.action(ArgAction::SetTrue),
            Kind::FlagOr(word) => {
                arg.value_name(word).num_args(0..=1).require_equals(true).default_missing_value("true")
            }
            Kind::Value(name) => arg.value_name(name),
            Kind::Values(name) => arg.value_name(name).action(ArgAction::Append),
        }
    })
}

/// What a half's `--help` says of an option: of a text for both halves, only what is about this one.
pub(super) fn help_for(help: &'static str, role: Option<Role>) -> String {
    const SERVER: &str = "Server: ";
    let client = ["WebSocket client: ", "Client: "]
        .iter()
        .filter_map(|mark| Some((help.find(mark)?, help.find(mark)? + mark.len())))
        .next();
    let (Some(role), Some((start, end)), Some(server)) = (role, client, help.find(SERVER)) else {
        return help.to_owned();
    };
    let part = match role {
        Role::Client => help.get(end..server),
        Role::Server => help.get(server + SERVER.len()..),
    };
    let mut chars = part.unwrap_or(help).trim().chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{}{first}{}", help.get(..start).unwrap_or_default(), chars.as_str())
}

/// The options among the flags.
pub(super) fn options(matches: &ArgMatches, role: Option<Role>) -> Vec<PluginOption> {
    let mut options = Vec::new();
    for spec in known(role) {
        match spec.kind {
            Kind::Flag if matches.get_flag(spec.name) => {
                options.push(PluginOption { key: spec.name.into(), value: None });
            }
            Kind::Flag => {}
            Kind::FlagOr(_) | Kind::Value(_) | Kind::Values(_) => options.extend(
                matches
                    .get_many::<String>(spec.name)
                    .into_iter()
                    .flatten()
                    .map(|value| PluginOption { key: spec.name.into(), value: Some(value.clone()) }),
            ),
        }
    }
    options
}

/// clap explains itself on several lines; a host's log wants one.
fn one_line_error(error: &clap::Error) -> CommandError {
    let text = error.render().to_string();
    // What is wrong may be listed below the line that says so; an empty line ends it. What may have been
    // meant stands below that.
    let mut lines = text.lines().map(str::trim);
    let what: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tips = lines.filter_map(|line| line.strip_prefix("tip: ")).map(|tip| format!(": {tip}"));
    let tips: String = tips.collect();
    CommandError::CommandLine(format!("{}{tips}", what.join(" ").trim_start_matches("error: ")))
}
