//! The command line of v2ray-plugin: Go's flags, with one dash or two, `-flag value` or `-flag=value`.
//!
//! Source: v2ray-plugin 1.3.1, `main.go`, and the documentation of Go's package `flag`.

use super::command::{Command, CommandError};
use super::version::version;
use crate::config::options::{self, Kind, OPTIONS, OptionSpec};
use crate::config::{Addresses, Dialect, PluginOption, ProcessEnv, Setting, Settings, TEXT};
use std::ffi::OsString;

/// The names under which the program has this command line.
const PROGRAMS: &[&str] = &["v2ray-plugin", "xray-plugin", "ss-v2ray-plugin"];

/// Whether a program of this name has this command line.
pub(super) fn is_meant(program: &str) -> bool {
    // Packages of releases have the platform in the name: v2ray-plugin_linux_amd64.
    PROGRAMS
        .iter()
        .any(|name| program.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
}

/// Reads the command line.
pub(super) fn read(args: &[OsString], env: &ProcessEnv) -> Result<Command, CommandError> {
    match flags(args)? {
        Ok(options) => Command::run(settings(options), env),
        Err(text) => Ok(Command::Print(text)),
    }
}

/// The flags in their order, or what is to be printed instead.
fn flags(args: &[OsString]) -> Result<Result<Vec<PluginOption>, String>, CommandError> {
    let fail = |text: String| Err(CommandError::CommandLine(text));
    let mut options = Vec::new();
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let Some(arg) = arg.to_str() else {
            return fail(format!("`{}` is not {TEXT}", arg.to_string_lossy()));
        };
        let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
        let Some(flag) = flag.filter(|flag| !flag.is_empty()) else {
            return fail(format!("unexpected argument `{arg}`"));
        };
        let (name, mut value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match name {
            "version" => return Ok(Err(version())),
            "h" | "help" => return Ok(Err(help())),
            _ => {}
        }
        let Some(spec) = options::find(name) else {
            let meant = options::nearest(name);
            let meant = meant.map_or(String::new(), |meant| format!(": did you mean `-{meant}`?"));
            return fail(format!("unknown flag `-{name}`{meant}"));
        };
        if value.is_none() && matches!(spec.kind, Kind::Value(_) | Kind::Values(_)) {
            match args.next().and_then(|value| value.to_str()) {
                Some(next) => value = Some(next.to_owned()),
                None => return fail(format!("flag `-{name}` needs a value")),
            }
        }
        options.push(PluginOption { key: name.to_owned(), value });
    }
    Ok(Ok(options))
}

/// What the flags say. On a server v2ray-plugin's local address is where it listens.
fn settings(mut options: Vec<PluginOption>) -> Settings {
    let is =
        |option: &PluginOption, name: &str| options::find(&option.key).is_some_and(|spec| spec.name == name);
    let mut part = |name: &str| {
        let setting = |option: &PluginOption| {
            Setting::new(format!("-{name}"), option.value.clone().unwrap_or_default())
        };
        let last = options.iter().rfind(|option| is(option, name)).map(setting);
        options.retain(|option| !is(option, name));
        last
    };
    let remote = [part("remoteAddr"), part("remotePort")];
    let local = [part("localAddr"), part("localPort")];
    let no = |value: &str| matches!(value, "0" | "false" | "f" | "F" | "FALSE");
    let server =
        options.iter().any(|option| is(option, "server") && !option.value.as_deref().is_some_and(no));
    let (remote, local) = if server { (local, remote) } else { (remote, local) };
    let ([remote_host, remote_port], [local_host, local_port]) = (remote, local);
    let addresses = Addresses { remote_host, remote_port, local_host, local_port };
    Settings { dialect: Dialect::V2rayPlugin, role: None, options, addresses }
}

/// The flags that v2ray-plugin itself has.
const OWN: &[&str] = &[
    "V",
    "cert",
    "certRaw",
    "fast-open",
    "fwmark",
    "host",
    "key",
    "localAddr",
    "localPort",
    "loglevel",
    "mode",
    "mux",
    "path",
    "remoteAddr",
    "remotePort",
    "server",
    "tls",
];

/// The flags as Go lists them: v2ray-plugin's own in the order of their names, then ours.
fn help() -> String {
    let mut text = "Usage of v2ray-plugin, as obfs-rs plays it:\n".to_owned();
    for spec in OWN.iter().filter_map(|name| options::find(name)) {
        text.push_str(&flag_help(spec));
    }
    text.push_str("  -version\n    \tPrint the version.\n");
    text.push_str("\nFlags that v2ray-plugin does not have:\n");
    let mut group = None;
    for spec in OPTIONS.iter().filter(|spec| !OWN.contains(&spec.name)) {
        if group.replace(spec.group) != Some(spec.group) {
            text.push_str(&format!("\n{}:\n", spec.group));
        }
        text.push_str(&flag_help(spec));
    }
    text
}

fn flag_help(spec: &OptionSpec) -> String {
    let value = match spec.kind {
        Kind::Flag => String::new(),
        Kind::FlagOr(word) => format!("[={word}]"),
        Kind::Value(name) | Kind::Values(name) => format!(" {name}"),
    };
    let half = spec.half.map_or(String::new(), |half| format!("({half}) "));
    format!("  -{}{value}\n    \t{half}{}\n", spec.name, spec.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(line: &str) -> Settings {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        settings(flags(&args).unwrap().unwrap())
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
            assert!(flags(&args).is_err(), "{line}");
        }
    }

    #[test]
    fn help_begins_with_the_flags_of_v2ray_plugin() {
        let text = help();
        let (own, ours) = text.split_once("does not have").unwrap();
        for name in OWN {
            assert!(own.contains(&format!("\n  -{name}")), "{name}: {own}");
        }
        assert!(own.contains("\n  -key FILE\n    \t(server) "), "{own}");
        assert!(ours.contains("\nWebsite:\n  -failover WEBSITE\n"), "{ours}");
        assert!(OPTIONS.iter().all(|spec| text.matches(&format!("\n  -{}", spec.name)).count() >= 1));
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        for (flag, meant) in [("-locaPort", "`-localPort`"), ("--hots", "`-host`")] {
            let args = ["v2ray-plugin", flag].map(OsString::from);
            let error = flags(&args).unwrap_err().to_string();
            assert!(error.contains(meant), "{error}");
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
