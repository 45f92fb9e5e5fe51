//! The settings as a command line of our own: every plugin option is a flag of the same name.

use super::command::{self, CommandError};
use super::flags::{self, option_args};
use super::version::{VERSION, version};
use super::{check, probe, ready, share};
use crate::config::options::Group;
use crate::config::{Addresses, ConfigError, Dialect, ProcessEnv, Role, RoleReason, Settings, split_address};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::ffi::OsString;

const ABOUT: &str = "A Shadowsocks plugin (SIP003) that makes connections look like web traffic.";

const TOP_HELP: &str = "\
A Shadowsocks program starts it, with options in one string:
  ss-server … --plugin obfs-rs --plugin-opts \"tls;host=example.com;cert=FILE;key=FILE;path=/mine;failover=127.0.0.1:80\"
  ss-local  … --plugin obfs-rs --plugin-opts \"tls;host=example.com;path=/mine\"
The options are the flags of `obfs-rs help server` and `obfs-rs help client`, without dashes.
To see it work on this machine: obfs-rs demo";

const CLIENT_EXAMPLE: &str = "\
Example: disguise what comes in on port 1984 and send it to a server half:
  obfs-rs client --listen 127.0.0.1:1984 --remote example.com:80 --mode websocket --path /mine
The same with a file (-c FILE):
  {\"server\": \"example.com\", \"server_port\": 80, \"local_port\": 1984,
   \"mode\": \"websocket\", \"path\": \"/mine\"}";

const SERVER_EXAMPLE: &str = "\
Example: take tunnels on port 80 for the Shadowsocks server on port 9000, with a website behind:
  obfs-rs server --listen [::]:80 --backend 127.0.0.1:9000 --path /mine --failover 127.0.0.1:8080
The same with a file (-c FILE):
  {\"server\": \"::\", \"server_port\": 80, \"dst_addr\": \"127.0.0.1:9000\",
   \"path\": \"/mine\", \"failover\": \"127.0.0.1:8080\"}";

/// What `-h` of a half shows of the option table.
const COMMON: &[&str] = &[
    "mode",
    "obfs",
    "host",
    "path",
    "obfs-host",
    "obfs-uri",
    "tls",
    "cert",
    "key",
    "sni",
    "failover",
    "failover-tls",
    "trusted",
    "mux",
    "udp",
    "proxy",
    "c",
    "loglevel",
];

/// The whole command line, from which `--help`, manual pages and completions are made.
pub(super) fn command() -> Command {
    Command::new("obfs-rs")
        .version(VERSION.as_str())
        .about(ABOUT)
        .after_help(TOP_HELP)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version, the target and the features (also: -V alone)."),
        )
        // Some hosts append arguments to a plugin's command: its options are taken there too.
        .args(option_args(None).map(|arg| arg.hide(true)))
        .subcommand(half(Role::Client))
        .subcommand(half(Role::Server))
        .subcommand(demo_command())
        .subcommand(check::command())
        .subcommand(probe::command())
        .subcommand(ready::command())
        .subcommand(share::command())
}

pub(super) fn demo_command() -> Command {
    Command::new("demo")
        .about("Show on this machine that it works: website, server and client, 100 MB through them.")
        .arg(Arg::new("stay").long("stay").action(ArgAction::SetTrue).help(
            "Then go on, so that a browser can look at the website behind the server; Enter ends it, and so does the \
             end of standard input.",
        ))
}

pub(super) fn half(role: Role) -> Command {
    let address = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("HOST:PORT")
            .value_hint(ValueHint::Hostname)
            .help(help)
            .help_heading(Group::Addresses.heading())
    };
    let (about, example, listen, far) = match role {
        Role::Client => (
            "The client half: takes plain connections, sends them disguised to a server half.",
            CLIENT_EXAMPLE,
            address(
                "listen",
                "Listen here for plain connections. Default: SS_LOCAL_HOST and SS_LOCAL_PORT, which a Shadowsocks \
                 program sets.",
            ),
            address(
                "remote",
                "The address of the server half; several hosts are separated by `|`. Default: SS_REMOTE_HOST and \
                 SS_REMOTE_PORT.",
            ),
        ),
        Role::Server => (
            "The server half: takes disguised connections, passes all others on to a website.",
            SERVER_EXAMPLE,
            address(
                "listen",
                "Listen on this public address; several hosts are separated by `|`. Default: SS_REMOTE_HOST and \
                 SS_REMOTE_PORT, which a Shadowsocks program sets.",
            ),
            address("backend", "The address of Shadowsocks. Default: SS_LOCAL_HOST and SS_LOCAL_PORT."),
        ),
    };
    Command::new(match role {
        Role::Client => "client",
        Role::Server => "server",
    })
    .about(about)
    .after_help(StyledStr::from(example))
    .disable_help_flag(true)
    .args([listen, far])
    .args(option_args(Some(role)))
    .args(flags::help_args())
}

/// Reads the command line.
pub(super) fn read(args: &[OsString], env: &ProcessEnv) -> Result<command::Command, CommandError> {
    // What is asked by somebody who tries the program out at a prompt: with nothing, or one letter.
    let words: Vec<_> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    match words.as_slice() {
        _ if env.has_plugin_variables() => {}
        ["-V"] => return Ok(command::Command::Print(version())),
        [] | ["-v"] if args.len() == words.len() + 1 => {
            return Err(CommandError::NothingSaid(command().render_help().to_string()));
        }
        _ => {}
    }
    let of_help = of_help(args);
    let args = of_help.as_deref().unwrap_or(args);
    let matches = match flags::matches(command(), args)? {
        Ok(matches) => matches,
        Err(printed) => return Ok(printed),
    };
    let (matches, role) = match matches.subcommand() {
        Some(("demo", found)) => return demo(found.get_flag("stay")),
        Some(("check", found)) => return check::read(found, env),
        Some(("probe", found)) => return probe::read(found),
        Some(("ready", found)) => return ready::read(found),
        Some(("share", found)) => return share::read(found, env),
        Some(("client", found)) => (found, Some(Role::Client)),
        Some(("server", found)) => (found, Some(Role::Server)),
        _ => (&matches, None),
    };
    if let Some(role) = role {
        let command = half(role).bin_name(format!("obfs-rs {role}"));
        if let Some(text) = flags::short_help(matches, command, COMMON) {
            return Ok(command::Command::Print(text));
        }
    }
    let settings = Settings {
        dialect: Dialect::Own,
        role: role.map(|role| (role, RoleReason::Subcommand)),
        options: flags::options(matches, role),
        addresses: addresses(matches, role)?,
    };
    command::Command::run(settings, env)
}

/// Words that ask `help` for help, as `help` takes them: to clap a flag behind it is the name of no subcommand.
fn of_help(args: &[OsString]) -> Option<Vec<OsString>> {
    let is_flag = |arg: &OsString| arg == "-h" || arg == "--help";
    let [program, help, rest @ ..] = args else { return None };
    if help != "help" || !rest.iter().any(is_flag) {
        return None;
    }
    let mut words = vec![program.clone(), help.clone()];
    words.extend(rest.iter().filter(|arg| !is_flag(arg)).cloned());
    if words.len() == 2 {
        words.push(help.clone());
    }
    Some(words)
}

#[cfg(all(feature = "client", feature = "server"))]
fn demo(stay: bool) -> Result<command::Command, CommandError> {
    Ok(command::Command::Demo { stay })
}

/// It is of both halves.
#[cfg(not(all(feature = "client", feature = "server")))]
fn demo(_: bool) -> Result<command::Command, CommandError> {
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
        let help = |role| flags::help_for("As ever. Client: The one. Server: The other.", role);
        assert_eq!(help(Some(Role::Client)), "As ever. The one.");
        assert_eq!(help(Some(Role::Server)), "As ever. The other.");
        assert_eq!(flags::help_for("Both: all of it.", Some(Role::Server)), "Both: all of it.");
        for (role, not) in [(Role::Client, "Server: "), (Role::Server, "Client: ")] {
            let shown = half(role).render_help().to_string();
            for heading in
                ["Addresses:", "Disguise:", "TLS and QUIC:", "Tuning:", "Process and log:", "Compatibility:"]
            {
                assert!(shown.contains(heading), "{shown}");
            }
            assert!(!shown.contains(not), "{shown}");
        }
    }

    #[test]
    fn each_subcommand_has_its_help() {
        let command = command();
        for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let name = subcommand.get_name();
            for flag in ["-h", "--help"] {
                let args = ["obfs-rs", name, flag].map(OsString::from);
                match read(&args, &ProcessEnv::default()) {
                    Ok(command::Command::Print(text)) => {
                        assert!(text.contains(&format!("Usage: obfs-rs {name}")), "{text}");
                    }
                    other => panic!("{name} {flag}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
