//! The command line of `obfs-rs share`.

use super::command::{self, CommandError};
use super::{simple_obfs, v2ray_plugin};
use crate::config::{ConfigError, Dialect, ProcessEnv, TEXT};
use crate::net::addr::parse_port;
use crate::share::{self, Format, Kind, Plugin, Request};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::path::Path;

const ABOUT: &str =
    "Print what a server's users enter: the link, a QR code, and the configuration of each app.";

const EXPLANATION: &str = "\
Print what a server's users enter: the link, a QR code, and the configuration of each app.\n\n\
It reads what the server was configured with: the file of the Shadowsocks server (shadowsocks-rust's or -libev's, with \
the server half's options in it), or flags and SERVER-OPTIONS. What clients need follows from that: the \
disguise, the name, the path. What is only the server's (keys, files, websites) is not told. Where the server takes \
several disguises, each app is given the best one that it knows; where it knows none, that is said.\n\n\
The address 0.0.0.0 says nothing to a client: --host gives the public one. The output has the password in it. A \
password on the command line is seen by everybody on the machine: leave it in the file, or give it with \
--password-file or in the variable OBFS_RS_PASSWORD.\n\n\
Exit code: 0, 1 where the app that was asked for has none of what the server takes, 23 where something is wrong or \
missing.";

const EXAMPLES: &str = "\
Examples, on the machine of the server:
  obfs-rs share --config /etc/shadowsocks-libev/server.json --host www.example.com
  obfs-rs share --config /etc/shadowsocks-libev/server.json --host www.example.com --format qr
  obfs-rs share --host www.example.com --port 443 --method aes-256-gcm --password-file key.txt \\
      \"mode=websocket;tls;cert=c.pem;key=k.pem;path=/a-path-of-your-own\"
nginx or a CDN ends TLS in front of the server:
  obfs-rs share --config server.json --host www.example.com --port 443 --tls";

/// The password, where it is nowhere else.
const PASSWORD: &str = "OBFS_RS_PASSWORD";

/// The subcommand.
pub(super) fn command() -> Command {
    let value = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(name).help(help)
    };
    Command::new("share")
        .args_override_self(true)
        .about(ABOUT)
        .long_about(EXPLANATION)
        .after_help(StyledStr::from(EXAMPLES))
        .arg(
            Arg::new("options")
                .value_name("SERVER-OPTIONS")
                .help("The server half's options, as in --plugin-opts; by default those of the file."),
        )
        .arg(
            value("config", "FILE", "The configuration of the Shadowsocks server; - is standard input.")
                .short('c')
                .value_hint(ValueHint::FilePath),
        )
        .arg(
            value("host", "NAME", "The name or address that clients connect to.")
                .visible_alias("server")
                .value_hint(ValueHint::Hostname),
        )
        .arg(value("port", "PORT", "The port that clients connect to."))
        .arg(value("method", "METHOD", "Shadowsocks's method."))
        .arg(value("password", "PASSWORD", "Shadowsocks's password: everybody on this machine sees it here."))
        .arg(
            value(
                "password-file",
                "FILE",
                "A file with the password on its first line; - is standard input.",
            )
            .value_hint(ValueHint::FilePath)
            .conflicts_with("password"),
        )
        .arg(value("name", "NAME", "What users see in their lists (default: the host)."))
        .arg(
            Arg::new("tls")
                .long("tls")
                .action(ArgAction::SetTrue)
                .help("TLS ends in front of the server, at a web server or a CDN; --port is the port there."),
        )
        .arg(
            value("disguise", "KIND", "Of the disguises that the server takes, only this one.")
                .value_parser(Kind::ALL.map(Kind::name)),
        )
        .arg(value("route", "PATH", "For the users of a route: its path, or its name."))
        .arg(
            value("format", "FORMAT", "Print this alone (default: all; the QR code only on a terminal).")
                .value_parser(Format::ALL.map(Format::name)),
        )
        .arg(
            value("plugin", "PLUGIN", "The client's plugin in links and JSON (default: obfs-rs in JSON).")
                .value_parser(Plugin::ALL.map(Plugin::name)),
        )
}

/// The program whose options a plugin of this name, or path, has.
fn dialect_of(plugin: &str) -> Option<Dialect> {
    // (a path of Windows on any machine, too)
    let file = plugin.rsplit(['/', '\\']).next().unwrap_or(plugin);
    let name = file.strip_suffix(".exe").unwrap_or(file).to_ascii_lowercase();
    let name = Path::new(&name).to_string_lossy();
    if name.starts_with("obfs-rs") {
        Some(Dialect::Own)
    } else if simple_obfs::role_of(&name).is_some() || name == "simple-obfs" {
        Some(Dialect::SimpleObfs)
    } else {
        v2ray_plugin::is_meant(&name).then_some(Dialect::V2rayPlugin)
    }
}

/// Reads the subcommand's flags.
pub(super) fn read(matches: &ArgMatches, env: &ProcessEnv) -> Result<command::Command, CommandError> {
    let request = request(matches, env)?;
    Ok(command::Command::Share(Box::new(share::prepare(&request, dialect_of)?)))
}

fn request(matches: &ArgMatches, env: &ProcessEnv) -> Result<Request, ConfigError> {
    let value = |name: &str| matches.get_one::<String>(name).cloned();
    let port = value("port").map(|text| {
        parse_port(&text).ok_or_else(|| ConfigError::variable("--port", &text, "a port from 1 to 65535"))
    });
    let first_line =
        |text: String| text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default().to_owned();
    let password = match value("password-file") {
        Some(path) => Some(first_line(share::read_limited(&path)?)),
        None => value("password"),
    };
    let file = match value("config") {
        Some(path) => {
            let text = share::read_limited(&path)?;
            Some((path, text))
        }
        None => None,
    };
    let named = |name: &str| value(name).unwrap_or_default();
    Ok(Request {
        file,
        host: value("host"),
        port: port.transpose()?,
        method: value("method"),
        password,
        password_otherwise: variable(env, PASSWORD)?,
        options: value("options"),
        name: value("name"),
        tls_in_front: matches.get_flag("tls"),
        disguise: Kind::ALL.into_iter().find(|kind| kind.name() == named("disguise")),
        route: value("route"),
        format: Format::ALL.into_iter().find(|format| format.name() == named("format")),
        plugin: Plugin::ALL.into_iter().find(|plugin| plugin.name() == named("plugin")),
        home: variable(env, "HOME")?,
    })
}

/// A variable of the environment.
fn variable(env: &ProcessEnv, name: &str) -> Result<Option<String>, ConfigError> {
    let Some((_, value)) = env.vars.iter().find(|(key, _)| key == name) else { return Ok(None) };
    match value.to_str() {
        Some(text) => Ok(Some(text.to_owned())),
        // (what it holds may be a password)
        None => Err(ConfigError::variable(name, "…", TEXT)),
    }
}
