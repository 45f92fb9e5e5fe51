//! The table of options as flags, and what all command lines that clap reads have in common.

use super::command::{Command, CommandError};
use super::suggest;
use crate::config::options::{Kind, OPTIONS, OptionSpec};
use crate::config::{PluginOption, Role};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};
use std::ffi::OsString;

/// A command line as clap reads it, or what it has printed instead.
pub(super) fn matches(
    mut command: clap::Command,
    args: &[OsString],
) -> Result<Result<ArgMatches, Command>, CommandError> {
    match command.try_get_matches_from_mut(args) {
        Ok(matches) => Ok(Ok(matches)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Err(Command::Print(error.render().to_string())))
        }
        Err(error) => Err(one_line_error(&error, &command, args)),
    }
}

/// The name of the flag `-h` among the matches of a command with [`help_args`].
const SHORT_HELP: &str = "short-help";

/// `-h` for what is used most, `--help` for everything.
pub(super) fn help_args() -> [Arg; 2] {
    const HEADING: &str = "Help";
    [
        Arg::new(SHORT_HELP)
            .short('h')
            .action(ArgAction::SetTrue)
            .help("Print the options that are used most."),
        Arg::new("help").long("help").action(ArgAction::HelpShort).help("Print all options."),
    ]
    .map(|arg| arg.help_heading(HEADING))
}

/// The short help of a command with [`help_args`], if it is asked for: of the options in the table, the `common` ones.
pub(super) fn short_help(
    matches: &ArgMatches,
    mut command: clap::Command,
    common: &[&str],
) -> Option<String> {
    let is_left_out = |arg: &Arg| {
        let id = arg.get_id().as_str();
        OPTIONS.iter().any(|spec| spec.name == id) && !common.contains(&id)
    };
    let asked_for = matches.get_flag(SHORT_HELP);
    asked_for.then(|| {
        command = command.mut_args(|arg| if is_left_out(&arg) { arg.hide(true) } else { arg });
        command.render_help().to_string()
    })
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
            Arg::new(spec.name).help(help(spec, role)).help_heading(spec.group.heading()).hide(other);
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

/// What a half's `--help` says of an option, and whether the other half has it, too: one string of options is often
/// handed to both.
fn help(spec: &OptionSpec, role: Option<Role>) -> String {
    let text = help_for(spec.help, role);
    match spec.half {
        Some(half) if role.is_some() => format!("{text} [{half} only]"),
        _ => text,
    }
}

/// Of a text for both halves, only what is about this one.
pub(super) fn help_for(help: &'static str, role: Option<Role>) -> String {
    const CLIENT: &str = "Client: ";
    const SERVER: &str = "Server: ";
    let client = help.find(CLIENT).map(|start| (start, start + CLIENT.len()));
    let (Some(role), Some((start, end)), Some(server)) = (role, client, help.find(SERVER)) else {
        return help.to_owned();
    };
    let part = match role {
        Role::Client => help.get(end..server),
        Role::Server => help.get(server + SERVER.len()..),
    };
    format!("{}{}", help.get(..start).unwrap_or_default(), part.unwrap_or(help).trim())
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
fn one_line_error(error: &clap::Error, command: &clap::Command, args: &[OsString]) -> CommandError {
    let text = error.render().to_string();
    // What is wrong may be listed below the line that says so; an empty line ends it. What may have been
    // meant stands below that.
    let mut lines = text.lines().map(str::trim);
    let what: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let meant = suggest::meant(error, command, args).unwrap_or_else(|| {
        let tips = lines.filter_map(|line| line.strip_prefix("tip: "));
        tips.map(|tip| format!(": {tip}")).collect()
    });
    CommandError::CommandLine(format!("{}{meant}", what.join(" ").trim_start_matches("error: ")))
}
