//! The settings as a command line: every plugin option is a flag of the same name. Called `obfs-local`
//! or `obfs-server`, the program takes the command lines of simple-obfs's programs of these names.

use super::endpoints::{Addresses, Setting, Style, split_address};
use super::error::ConfigError;
use super::go_cli;
use super::options::{Kind, OPTIONS, OptionSpec, Scope};
use super::probe::{self, ProbeConfig};
use super::role::Role;
use super::sip003::PluginOption;
use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

/// What a command line says.
#[derive(Debug)]
pub enum Parsed {
    /// Print this and end.
    Print(String),
    /// `obfs-rs demo`.
    Demo,
    /// `obfs-rs probe`.
    Probe(Box<ProbeConfig>),
    /// `obfs-rs man`: write the manual pages into this folder.
    Manuals(PathBuf),
    /// Be a half.
    Run(Box<Cli>),
}

/// The settings of a command line.
#[derive(Debug, Default)]
pub struct Cli {
    /// The subcommand's role.
    pub role: Option<Role>,
    /// The options among the flags, in the form in which plugin options come.
    pub options: Vec<PluginOption>,
    /// The addresses among the flags.
    pub addresses: Addresses,
}

const ABOUT: &str = "A Shadowsocks plugin (SIP003) that makes connections look like web traffic.";

const TOP_HELP: &str = "\
As a plugin it is started by the Shadowsocks program, which passes its settings in SS_* variables:
  ss-local  … --plugin obfs-rs --plugin-opts \"obfs=http;obfs-uri=/a-path-of-your-own\"
  ss-server … --plugin obfs-rs --plugin-opts \"obfs=http;obfs-uri=/a-path-of-your-own;failover=127.0.0.1:8080\"
The options in --plugin-opts have the names of the flags in `obfs-rs client --help` and
`obfs-rs server --help`. To see it work on this machine: obfs-rs demo";

/// What the version is of, too: reports of faults need it.
static VERSION: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!("{} ({}, {})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
});

/// The program's name and version as `--version` shows them.
pub fn version() -> String {
    format!("obfs-rs {}\n", VERSION.as_str())
}

/// How the program is used, in short.
pub fn usage() -> String {
    command().render_help().to_string()
}

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

/// The whole command line, from which `--help` and the manual pages are made.
pub fn command() -> Command {
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
        .subcommand(probe::command())
        .subcommand(
            Command::new("man").about("Write the manual pages into a folder.").arg(
                Arg::new("folder")
                    .value_name("FOLDER")
                    .required(true)
                    .value_parser(clap::value_parser!(PathBuf))
                    .value_hint(ValueHint::DirPath)
                    .help("Where to."),
            ),
        )
}

fn half(role: Role) -> Command {
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

/// The options that can be flags: a subcommand says which half it is.
fn known(role: Option<Role>) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(move |spec| role.is_none() || !matches!(spec.name, "server" | "client"))
}

/// The flags of the option table. Those of the other half are taken but not shown: one string of
/// options is often handed to both.
fn option_args(role: Option<Role>) -> impl Iterator<Item = Arg> {
    known(role).map(move |spec| {
        let other = match spec.scope {
            Scope::Both => false,
            Scope::Client => role == Some(Role::Server),
            Scope::Server => role == Some(Role::Client),
        };
        let mut arg =
            Arg::new(spec.name).help(help_for(spec.help, role)).help_heading(heading(spec.name)).hide(other);
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

/// Under which heading of `--help` an option stands.
fn heading(name: &str) -> &'static str {
    match name {
        "obfs" | "mode" | "host" | "obfs-host" | "obfs-uri" | "path" | "http-method" | "handshake"
        | "mux" | "header" | "user-agent" => "Disguise",
        "tls" | "sni" | "cert" | "certRaw" | "key" => "TLS",
        "proxy-protocol" | "trusted" | "reverse-proxy" => "Website and proxies",
        name if name.starts_with("failover") => "Website and proxies",
        "t" | "fast-open" | "mptcp" | "i" | "b" | "6" | "d" | "V" | "fwmark" => "Connections",
        "c" | "a" | "f" | "n" | "loglevel" | "v" => "Process",
        _ => "Further options",
    }
}

/// What a half's `--help` says of an option: of a text for both halves, only what is about this one.
fn help_for(help: &'static str, role: Option<Role>) -> String {
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

/// The command line of simple-obfs's program for this half, with its letters, and our options behind.
fn simple_obfs(role: Role) -> Command {
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
    command.args(option_args(Some(role)).map(move |arg| match (role, arg.get_short()) {
        (Role::Client, Some('b')) => arg.short(None),
        // The one name that simple-obfs spells so.
        _ if arg.get_id() == "reverse-proxy" => arg.alias("reverse_proxy"),
        _ => arg,
    }))
}

/// Every command line there is, with the name of its manual page.
pub fn manuals() -> Vec<(String, Command)> {
    let own = command();
    let halves = [Role::Client, Role::Server].map(|role| {
        let name = format!("obfs-rs-{role}");
        // As the page shows it: the words that start it.
        (name.clone(), half(role).bin_name(format!("obfs-rs {role}")).display_name(name))
    });
    let drop_ins = [Role::Client, Role::Server].map(|role| {
        let command = simple_obfs(role);
        (command.get_name().to_owned(), command)
    });
    let probe = "obfs-rs-probe".to_owned();
    let probe = (probe.clone(), probe::command().bin_name("obfs-rs probe").display_name(probe));
    let own = (own.get_name().to_owned(), own);
    [own, probe].into_iter().chain(halves).chain(drop_ins).collect()
}

/// Reads a command line. `program` is the name the program was started by.
///
/// # Errors
///
/// A flag that does not exist or lacks its value.
pub fn parse(program: &str, args: &[OsString]) -> Result<Parsed, ConfigError> {
    if go_cli::is_meant(program) {
        return go_cli::parse(args);
    }
    let drop_in = match program {
        "obfs-local" => Some(Role::Client),
        "obfs-server" => Some(Role::Server),
        _ => None,
    };
    let matches = match drop_in.map_or_else(command, simple_obfs).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Parsed::Print(error.render().to_string()));
        }
        Err(error) => return Err(one_line_error(&error)),
    };
    if let Some(role) = drop_in {
        let addresses = simple_obfs_addresses(&matches, role)?;
        return Ok(Parsed::Run(Box::new(Cli {
            role: None,
            options: options(&matches, Some(role)),
            addresses,
        })));
    }
    let (matches, role) = match matches.subcommand() {
        Some(("demo", _)) => return Ok(Parsed::Demo),
        Some(("probe", found)) => return Ok(Parsed::Probe(Box::new(probe::parse(found)?))),
        Some(("man", found)) => {
            return Ok(Parsed::Manuals(found.get_one::<PathBuf>("folder").cloned().unwrap_or_default()));
        }
        Some(("client", found)) => (found, Some(Role::Client)),
        Some(("server", found)) => (found, Some(Role::Server)),
        _ => (&matches, None),
    };
    let options = options(matches, role);
    Ok(Parsed::Run(Box::new(Cli { role, options, addresses: own_addresses(matches, role)? })))
}

/// The options among the flags.
fn options(matches: &ArgMatches, role: Option<Role>) -> Vec<PluginOption> {
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

fn own_addresses(matches: &ArgMatches, role: Option<Role>) -> Result<Addresses, ConfigError> {
    let address = |name: &str| match matches.get_one::<String>(name) {
        Some(text) => split_address(&format!("--{name}"), text),
        None => Ok((None, None)),
    };
    let ((remote_host, remote_port), (local_host, local_port)) = match role {
        Some(Role::Client) => (address("remote")?, address("listen")?),
        Some(Role::Server) => (address("listen")?, address("backend")?),
        None => return Ok(Addresses::default()),
    };
    Ok(Addresses { remote_host, remote_port, local_host, local_port, ..Addresses::default() })
}

fn simple_obfs_addresses(matches: &ArgMatches, role: Role) -> Result<Addresses, ConfigError> {
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
        style: Style::SimpleObfs,
        lenient: true,
    })
}

/// clap explains itself on several lines; a host's log wants one.
fn one_line_error(error: &clap::Error) -> ConfigError {
    let text = error.render().to_string();
    // What is wrong may be listed below the line that says so; an empty line ends it. What may have been
    // meant stands below that.
    let mut lines = text.lines().map(str::trim);
    let what: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tips = lines.filter_map(|line| line.strip_prefix("tip: ")).map(|tip| format!(": {tip}"));
    let tips: String = tips.collect();
    ConfigError::CommandLine(format!("{}{tips}", what.join(" ").trim_start_matches("error: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_reads_of_itself() {
        let help = |role| help_for("As ever. Client: the one. Server: the other.", role);
        assert_eq!(help(Some(Role::Client)), "As ever. The one.");
        assert_eq!(help(Some(Role::Server)), "As ever. The other.");
        assert_eq!(help_for("Both: all of it.", Some(Role::Server)), "Both: all of it.");
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
        for role in [Role::Client, Role::Server] {
            simple_obfs(role).debug_assert();
        }
    }
}
