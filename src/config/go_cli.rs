//! The command line of v2ray-plugin: Go's flags, with one dash or two, `-flag value` or `-flag=value`.
//!
//! Source: v2ray-plugin 1.3.1, `main.go`, and the documentation of Go's package `flag`.

use super::cli::{Cli, Parsed};
use super::endpoints::{Addresses, Setting};
use super::error::ConfigError;
use super::options::{self, Kind};
use super::role::Role;
use super::sip003::PluginOption;
use std::ffi::OsString;

/// The names under which the program has this command line.
const PROGRAMS: &[&str] = &["v2ray-plugin", "xray-plugin", "ss-v2ray-plugin"];

/// What v2ray-plugin has where nothing is said, on the client half and, with the two addresses in
/// each other's place, on the server half.
const DEFAULTS: [(&str, &str); 4] =
    [("remoteAddr", "127.0.0.1"), ("remotePort", "1080"), ("localAddr", "127.0.0.1"), ("localPort", "1984")];

/// Whether a program of this name has this command line.
pub fn is_meant(program: &str) -> bool {
    // Packages of releases have the platform in the name: v2ray-plugin_linux_amd64.
    PROGRAMS
        .iter()
        .any(|name| program.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
}

/// Reads the command line.
///
/// # Errors
///
/// A flag that does not exist or lacks its value.
pub fn parse(args: &[OsString]) -> Result<Parsed, ConfigError> {
    let fail = |text: String| Err(ConfigError::CommandLine(text));
    let mut cli = Cli::default();
    let mut parts: [Option<String>; 4] = Default::default();
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let Some(arg) = arg.to_str() else {
            return fail(format!("`{}` is not text in UTF-8", arg.to_string_lossy()));
        };
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|f| !f.is_empty())
        else {
            return fail(format!("unexpected argument `{arg}`"));
        };
        let (name, mut value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match name {
            "version" => return Ok(Parsed::Print(super::cli::version())),
            "h" | "help" => return Ok(Parsed::Print(help())),
            _ => {}
        }
        let spec = options::find(name);
        if spec.is_none() {
            return fail(format!("unknown flag `-{name}`"));
        }
        if value.is_none() && spec.is_some_and(|spec| !matches!(spec.kind, Kind::Flag | Kind::FlagOr(_))) {
            match args.next().and_then(|value| value.to_str()) {
                Some(next) => value = Some(next.to_owned()),
                None => return fail(format!("flag `-{name}` needs a value")),
            }
        }
        match DEFAULTS.iter().position(|(part, _)| *part == name) {
            Some(part) => parts[part] = value,
            None => cli.options.push(PluginOption { key: name.to_owned(), value }),
        }
    }
    let server = cli.options.iter().any(|option| {
        option.key == "server"
            && !matches!(option.value.as_deref(), Some("0" | "false" | "f" | "F" | "FALSE"))
    });
    let mut named = DEFAULTS;
    if server {
        // On a server v2ray-plugin's local address is where it listens.
        parts.rotate_left(2);
        named.rotate_left(2);
    }
    // What nobody says is as v2ray-plugin has it; the environment goes before that.
    let mut settings = parts
        .into_iter()
        .zip(named)
        .map(|(part, (name, _))| part.map(|value| Setting::new(format!("-{name}"), value)));
    let mut next = || settings.next().flatten();
    cli.addresses = Addresses {
        remote_host: next(),
        remote_port: next(),
        local_host: next(),
        local_port: next(),
        ..Addresses::default()
    };
    Ok(Parsed::Run(Box::new(cli)))
}

/// The flags, as Go lists them.
fn help() -> String {
    let mut text = "Usage of v2ray-plugin, as obfs-rs plays it:\n".to_owned();
    for spec in options::OPTIONS {
        let value = match spec.kind {
            Kind::Flag => String::new(),
            Kind::FlagOr(word) => format!("[={word}]"),
            Kind::Value(name) | Kind::Values(name) => format!(" {name}"),
        };
        text.push_str(&format!("  -{}{value}\n    \t{}\n", spec.name, spec.help));
    }
    text.push_str("  -version\n    \tPrint the version.\n");
    text
}

/// The addresses where nobody says them.
pub fn defaults(role: Role) -> Addresses {
    let mut defaults = DEFAULTS;
    if role == Role::Server {
        defaults.rotate_left(2);
    }
    let [remote_host, remote_port, local_host, local_port] =
        defaults.map(|(name, value)| Some(Setting::new(format!("-{name}"), value)));
    Addresses { remote_host, remote_port, local_host, local_port, ..Addresses::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(line: &str) -> Cli {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match parse(&args).unwrap() {
            Parsed::Run(cli) => *cli,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_come_with_one_dash_or_two_and_in_both_forms() {
        for line in [
            "v2ray-plugin -server -host x -path /y -mux=0",
            "v2ray-plugin --server --host=x --path /y -mux 0",
        ] {
            let keys: Vec<_> =
                cli(line).options.into_iter().map(|option| (option.key, option.value)).collect();
            let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
            assert_eq!(
                keys,
                [("server".to_owned(), None), pair("host", "x"), pair("path", "/y"), pair("mux", "0")]
            );
        }
    }

    #[test]
    fn a_servers_local_address_is_where_it_listens() {
        for (line, remote, local) in [
            ("v2ray-plugin -localPort 1 -remotePort 2", ("-remotePort", "2"), ("-localPort", "1")),
            ("v2ray-plugin -server -localPort 1 -remotePort 2", ("-localPort", "1"), ("-remotePort", "2")),
        ] {
            let Addresses { remote_port, local_port, .. } = cli(line).addresses;
            let pair = |setting: Option<Setting>| setting.map(|setting| (setting.name, setting.value));
            assert_eq!(pair(remote_port), Some((remote.0.into(), remote.1.into())));
            assert_eq!(pair(local_port), Some((local.0.into(), local.1.into())));
        }
    }

    #[test]
    fn what_is_no_flag_is_an_error() {
        for line in ["p -nonsense", "p word", "p -host", "p -"] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(parse(&args).is_err(), "{line}");
        }
    }

    #[test]
    fn only_v2ray_plugins_names_have_it() {
        assert!(
            is_meant("v2ray-plugin") && is_meant("ss-v2ray-plugin") && is_meant("v2ray-plugin_linux_amd64")
        );
        assert!(!is_meant("obfs-rs") && !is_meant("v2ray") && !is_meant("v2ray-plugins"));
    }
}
