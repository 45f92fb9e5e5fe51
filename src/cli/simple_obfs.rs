//! The command lines of simple-obfs's programs, `obfs-local` and `obfs-server`.

use super::command::{self, CommandError};
use super::flags::{self, option_args};
use super::version::VERSION;
use crate::config::{
    Addresses, ConfigError, Dialect, ProcessEnv, Role, RoleReason, Setting, Settings, split_address,
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;

/// The half that a program of this name is.
pub(super) fn role_of(program: &str) -> Option<Role> {
    match program {
        "obfs-local" => Some(Role::Client),
        "obfs-server" => Some(Role::Server),
        _ => None,
    }
}

/// What `-h` shows of the option table: what simple-obfs's own usage text has.
const COMMON: &[&str] = &[
    "obfs",
    "obfs-host",
    "obfs-uri",
    "http-method",
    "failover",
    "a",
    "f",
    "t",
    "c",
    "n",
    "v",
    "fast-open",
    "mptcp",
    "b",
    "6",
    "d",
];

/// Reads the command line of a program of this name, which is this half.
pub(super) fn read(
    program: &str,
    role: Role,
    args: &[OsString],
    env: &ProcessEnv,
) -> Result<command::Command, CommandError> {
    // (simple-obfs's own takes it so, too)
    let help = [args.first().cloned().unwrap_or_default(), "--help".into()];
    let args = if args.len() == 2 && args[1] == "-help" { &help } else { args };
    let matches = match flags::matches(command(role), args)? {
        Ok(matches) => matches,
        Err(printed) => return Ok(printed),
    };
    if let Some(text) = flags::short_help(&matches, command(role), COMMON) {
        return Ok(command::Command::Print(text));
    }
    let settings = Settings {
        dialect: Dialect::SimpleObfs,
        role: Some((role, RoleReason::ProgramName(program.to_owned()))),
        options: flags::options(&matches, Some(role)),
        addresses: addresses(&matches, role)?,
    };
    command::Command::run(settings, env)
}

/// The command line of simple-obfs's program for this half, with its letters, and our options behind.
pub(super) fn command(role: Role) -> Command {
    let given = |id: &'static str, letter: char, value: &'static str, help: &'static str| {
        Arg::new(id).short(letter).value_name(value).help(help)
    };
    let (name, about, example) = match role {
        Role::Client => (
            "obfs-local",
            "simple-obfs's client, as obfs-rs plays it: takes plain connections, sends them disguised.",
            "Example:\n  obfs-local -s server.example.com -p 8388 -l 1984 --obfs http --obfs-host www.bing.com",
        ),
        Role::Server => (
            "obfs-server",
            "simple-obfs's server, as obfs-rs plays it: takes disguised connections, hands others to a website.",
            "Example:\n  obfs-server -s 0.0.0.0 -p 8388 -r 127.0.0.1:9000 --obfs http --failover 127.0.0.1:8080",
        ),
    };
    // One of our options has the name `host`.
    let host = given(
        "address",
        's',
        "HOST",
        match role {
            Role::Client => "The server's name or address; may be given several times.",
            Role::Server => "Listen on this address (default: all); may be given several times.",
        },
    );
    let port = given(
        "port",
        'p',
        "PORT",
        match role {
            Role::Client => "The server's port.",
            Role::Server => "Listen on this port.",
        },
    );
    let command = Command::new(name)
        .version(VERSION.as_str())
        .about(about)
        .after_help(example)
        // As getopt has it: a name may be cut where it is clear all the same.
        .infer_long_args(true)
        .disable_version_flag(true)
        .disable_help_flag(true)
        .arg(Arg::new("version").long("version").action(ArgAction::Version).help("Print the version."))
        .arg(host.action(ArgAction::Append))
        .arg(port.overrides_with("port"));
    let command = match role {
        Role::Client => command
            .arg(given("local-port", 'l', "PORT", "Listen on this port.").overrides_with("local-port"))
            .arg(
                given("local-address", 'b', "ADDRESS", "Listen on this address (default: 127.0.0.1).")
                    .overrides_with("local-address"),
            ),
        Role::Server => command
            .arg(
                given("destination", 'r', "HOST:PORT", "Where Shadowsocks listens.")
                    .overrides_with("destination"),
            )
            // It stands in simple-obfs's usage text and does nothing there either.
            .arg(given("local-port", 'l', "PORT", "Taken for old command lines.").hide(true)),
    };
    // The client's -b is where it listens.
    let options = option_args(Some(role)).map(move |arg| match (role, arg.get_short()) {
        (Role::Client, Some('b')) => arg.short(None),
        // The one name that simple-obfs spells so.
        _ if arg.get_id() == "reverse-proxy" => arg.alias("reverse_proxy"),
        _ => arg,
    });
    command.args(options).args(flags::help_args())
}

fn addresses(matches: &ArgMatches, role: Role) -> Result<Addresses, ConfigError> {
    let setting = |id: &str, flag: &str| matches.get_one::<String>(id).map(|text| Setting::new(flag, text));
    let hosts = matches.get_many::<String>("address");
    let hosts = hosts.map(|hosts| hosts.map(String::as_str).collect::<Vec<_>>().join("|"));
    let (local_host, local_port) = match role {
        Role::Client => (setting("local-address", "-b"), setting("local-port", "-l")),
        Role::Server => match setting("destination", "-r") {
            Some(Setting { name, value }) => split_address(&name, &value)?,
            None => (None, None),
        },
    };
    Ok(Addresses {
        remote_host: hosts.map(|hosts| Setting::new("-s", hosts)),
        remote_port: setting("port", "-p"),
        local_host,
        local_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        for role in [Role::Client, Role::Server] {
            command(role).debug_assert();
        }
    }
}
