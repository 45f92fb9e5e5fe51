//! The settings as a command line of our own: every plugin option is a flag of the same name.

use super::command::{self, CommandError};
use super::flags::{self, option_args};
use super::version::{VERSION, version};
use super::{check, probe, ready};
use crate::config::{Addresses, ConfigError, Dialect, ProcessEnv, Role, RoleReason, Settings, split_address};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::ffi::OsString;

const ABOUT: &str = "A Shadowsocks plugin (SIP003) that makes connections look like web traffic.";

const TOP_HELP: &str = "\
As a plugin it is started by the Shadowsocks program, which passes its settings in SS_* variables:
  ss-local  … --plugin obfs-rs --plugin-opts \"obfs=http;obfs-uri=/a-path-of-your-own\"
  ss-server … --plugin obfs-rs --plugin-opts \"obfs=http;obfs-uri=/a-path-of-your-own;failover=127.0.0.1:8080\"
The options in --plugin-opts have the names of the flags in `obfs-rs client --help` and
`obfs-rs server --help`. To see it work on this machine: obfs-rs demo";

const CLIENT_EXAMPLE: &str = "\
Example: disguise what comes in on port 1984 and send it to a server half:
  obfs-rs client --listen 127.0.0.1:1984 --remote server.example.com:80 --obfs http --obfs-uri /path
The same with a file (-c FILE):
  {\"server\": \"server.example.com\", \"server_port\": 80, \"local_port\": 1984, \"obfs\": \"http\", \"obfs-uri\": \"/path\"}";

const SERVER_EXAMPLE: &str = "\
Example: take tunnels on port 80 for the Shadowsocks server on port 9000, with a website behind:
  obfs-rs server --listen 0.0.0.0:80 --backend 127.0.0.1:9000 --obfs http --obfs-uri /path --failover 127.0.0.1:8080
The same with a file (-c FILE):
  {\"server\": \"0.0.0.0\", \"server_port\": 80, \"dst_addr\": \"127.0.0.1:9000\", \"failover\": \"127.0.0.1:8080\"}";

/// The whole command line, from which `--help`, manual pages and completions are made.
pub(super) fn command() -> Command {
    Command::new("obfs-rs")
        .version(VERSION.as_str())
        .about(ABOUT)
        .after_help(TOP_HELP)
        .disable_version_flag(true)
        .arg(Arg::new("version").long("version").action(ArgAction::Version).help("Print the version."))
        // Some hosts append arguments to a plugin's command: its options are taken there too.
        .args(option_args(None).map(|arg| arg.hide(true)))
        .subcommand(half(Role::Client))
        .subcommand(half(Role::Server))
        .subcommand(Command::new("demo").about(
            "Show that it works: site, echo, server and client in one process, 100 MB through the tunnel.",
        ))
        .subcommand(check::command())
        .subcommand(probe::command())
        .subcommand(ready::command())
}

pub(super) fn half(role: Role) -> Command {
    let address = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("HOST:PORT").value_hint(ValueHint::Hostname).help(help)
    };
    let (about, example, listen, far) = match role {
        Role::Client => (
            "The client half: takes plain connections, sends them disguised to a server half.",
            CLIENT_EXAMPLE,
            address("listen", "Where plain connections come in (SS_LOCAL_HOST, SS_LOCAL_PORT)."),
            address("remote", "The server half; several hosts with `|` (SS_REMOTE_HOST, SS_REMOTE_PORT)."),
        ),
        Role::Server => (
            "The server half: takes disguised connections for Shadowsocks, hands all others to a website.",
            SERVER_EXAMPLE,
            address("listen", "The public address; several hosts with `|` (SS_REMOTE_HOST, SS_REMOTE_PORT)."),
            address("backend", "Where Shadowsocks listens (SS_LOCAL_HOST, SS_LOCAL_PORT)."),
        ),
    };
    Command::new(match role {
        Role::Client => "client",
        Role::Server => "server",
    })
    .about(about)
    .after_help(StyledStr::from(example))
    .args([listen, far])
    .args(option_args(Some(role)))
}

/// Reads the command line.
pub(super) fn read(args: &[OsString], env: &ProcessEnv) -> Result<command::Command, CommandError> {
    // What is asked by somebody who tries the program out at a prompt: with nothing, or one letter.
    let words: Vec<_> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    match words.as_slice() {
        _ if env.has_plugin_variables() => {}
        ["-V"] => return Ok(command::Command::Print(version())),
        [] | ["-v"] if args.len() <= 2 => {
            return Err(CommandError::NothingSaid(command().render_help().to_string()));
        }
        _ => {}
    }
    let matches = match flags::matches(command(), args)? {
        Ok(matches) => matches,
        Err(printed) => return Ok(printed),
    };
    let (matches, role) = match matches.subcommand() {
        Some(("demo", _)) => return demo(),
        Some(("check", found)) => return check::read(found, env),
        Some(("probe", found)) => return probe::read(found),
        Some(("ready", found)) => return ready::read(found),
        Some(("client", found)) => (found, Some(Role::Client)),
        Some(("server", found)) => (found, Some(Role::Server)),
        _ => (&matches, None),
    };
    let settings = Settings {
        dialect: Dialect::Own,
        role: role.map(|role| (role, RoleReason::Subcommand)),
        options: flags::options(matches, role),
        addresses: addresses(matches, role)?,
    };
    command::Command::run(settings, env)
}

#[cfg(all(feature = "client", feature = "server"))]
fn demo() -> Result<command::Command, CommandError> {
    Ok(command::Command::Demo)
}

/// It is of both halves.
#[cfg(not(all(feature = "client", feature = "server")))]
fn demo() -> Result<command::Command, CommandError> {
    use crate::config::Feature;
    let missing = if cfg!(feature = "client") { Feature::Server } else { Feature::Client };
    Err(ConfigError::LeftOut { asked: "demo".to_owned(), feature: missing }.into())
}

fn addresses(matches: &ArgMatches, role: Option<Role>) -> Result<Addresses, ConfigError> {
    let address = |name: &str| match matches.get_one::<String>(name) {
        Some(text) => split_address(&format!("--{name}"), text),
        None => Ok((None, None)),
    };
    let ((remote_host, remote_port), (local_host, local_port)) = match role {
        Some(Role::Client) => (address("remote")?, address("listen")?),
        Some(Role::Server) => (address("listen")?, address("backend")?),
        None => return Ok(Addresses::default()),
    };
    Ok(Addresses { remote_host, remote_port, local_host, local_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_reads_of_itself() {
        let help = |role| flags::help_for("As ever. Client: the one. Server: the other.", role);
        assert_eq!(help(Some(Role::Client)), "As ever. The one.");
        assert_eq!(help(Some(Role::Server)), "As ever. The other.");
        assert_eq!(flags::help_for("Both: all of it.", Some(Role::Server)), "Both: all of it.");
        for (role, not) in [(Role::Client, "Server: "), (Role::Server, "Client: ")] {
            let shown = half(role).render_help().to_string();
            for heading in ["Disguise:", "TLS:", "Connections:", "Process:"] {
                assert!(shown.contains(heading), "{shown}");
            }
            assert!(!shown.contains(not), "{shown}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
