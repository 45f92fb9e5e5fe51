//! The command line of `obfs-rs check`.

use super::command::{self, CommandError};
use crate::config::shadowsocks_file::{self, Entry};
use crate::config::{
    self, Addresses, Dialect, ProcessEnv, Role, RoleReason, Settings, sip003, split_address,
};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

const ABOUT: &str = "Dry run: say what options ask for and what is odd, and try what they need.";

const EXPLANATION: &str = "\
OPTIONS is what stands in plugin_opts, in one argument (in quotes, for the shell's sake); without it, SS_PLUGIN_OPTIONS \
counts. With --config FILE the file of the Shadowsocks program says options and address. A half, and addresses, are taken \
from the flags, from the SS_* variables, or from obfs-rs's own file (the option `c`); \
without an address, everything else is checked.

As a client it looks up the server, connects (through `proxy` too), makes the TLS handshake and asks for the tunnel, as \
far as the disguise has an answer: with `obfs=tls`, and with servers that answer `obfs=http` late, more cannot be known. It \
sends what a client sends whose application has said nothing yet, and nothing of Shadowsocks.

As a server it tries the port (and gives it back at once), reads the certificate and the key, asks each website for its \
first page or for TLS, and connects to Shadowsocks. It serves nobody, leaves nothing behind, and stays who it is.

Each line is a step: ok, odd (it works all the same; the log of a start says the same), fails, or unknown.

Exit code: 0 nothing fails, 1 a step fails, 23 the options cannot be taken.";

const EXAMPLES: &str = "\
Examples:
  obfs-rs check --config client.json
  obfs-rs check --remote server.example.com:443 \"mode=websocket;tls;host=server.example.com;path=/a-path\"
  obfs-rs check --server --listen 0.0.0.0:443 --backend 127.0.0.1:9000 \"tls;cert=FILE;key=FILE;failover=127.0.0.1:8080\"";

/// The subcommand.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let address = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("HOST:PORT").value_hint(ValueHint::Hostname).help(help)
    };
    Command::new("check")
        .args_override_self(true)
        .about(ABOUT)
        .long_about(format!("{ABOUT}\n\n{EXPLANATION}"))
        .after_help(StyledStr::from(EXAMPLES))
        .arg(Arg::new("options").value_name("OPTIONS").help("What stands in plugin_opts, in quotes."))
        .arg(
            Arg::new("config").short('c').long("config").value_name("FILE").value_hint(ValueHint::FilePath).help(
                "The configuration file of the Shadowsocks program: its plugin_opts, server and server_port count.",
            ),
        )
        .arg(flag("client", "They are a client's.").conflicts_with("server"))
        .arg(flag("server", "They are a server's."))
        .arg(
            address("remote", "A client's: the server half; several hosts with `|`.")
                .conflicts_with_all(["server", "backend"]),
        )
        .arg(address("listen", "Where the half listens; several hosts with `|`."))
        .arg(address("backend", "A server's: where Shadowsocks listens.").conflicts_with("client"))
}

/// Reads the subcommand's flags, and the settings that it is to check.
pub(super) fn read(matches: &ArgMatches, env: &ProcessEnv) -> Result<command::Command, CommandError> {
    let value = |name: &str| matches.get_one::<String>(name);
    let file = value("config").map(|path| entry(path)).transpose()?;
    let options = value("options").or(file.as_ref().and_then(|file| file.plugin_opts.as_ref()));
    if options.is_none()
        && let Some(path) = value("config")
    {
        let lacks = format!("{path} has no `plugin_opts`: give check the options, too");
        return Err(CommandError::CommandLine(lacks));
    }
    if options.is_none()
        && !env.has_plugin_variables()
        && value("remote").is_none()
        && value("backend").is_none()
    {
        let lacks = "check needs OPTIONS: what stands in plugin_opts, in quotes";
        return Err(CommandError::CommandLine(lacks.to_owned()));
    }
    // They are what a host would pass. (Who started this is no host.)
    let mut vars = env.vars.clone();
    if let Some(options) = options {
        vars.retain(|(name, _)| name != sip003::PLUGIN_OPTIONS);
        vars.push((sip003::PLUGIN_OPTIONS.into(), options.into()));
    }
    if let Some(Entry { hosts, port, .. }) = &file {
        let of_remote = [sip003::REMOTE_HOST, sip003::REMOTE_PORT];
        vars.retain(|(name, _)| !of_remote.iter().any(|of_remote| name == of_remote));
        vars.push((sip003::REMOTE_HOST.into(), hosts.join("|").into()));
        vars.extend(port.map(|port| (sip003::REMOTE_PORT.into(), port.to_string().into())));
    }
    let env = ProcessEnv { vars, parent: None };
    let given = asked_role(matches);
    // Nobody but a client says where that listens. (Files of servers that do so are known by the rest.)
    let of_file = file.filter(|file| !file.has_local).map(|_| Role::Server);
    let settings = |addresses| Settings {
        dialect: Dialect::Own,
        role: given.map(|(role, _)| role).or(of_file).map(|role| (role, RoleReason::Subcommand)),
        options: Vec::new(),
        addresses,
    };
    // Which address `--listen` is, the half says.
    let (found, _) = config::read_to_check(settings(addresses(matches, None)?), &env)?;
    let role = found.role();
    if let Some((given, flag)) = given
        && given != role
    {
        return Err(CommandError::CommandLine(format!(
            "{flag} is for a {given}, and the options are a {role}'s ({})",
            found.role_reason
        )));
    }
    let (config, said) = config::read_to_check(settings(addresses(matches, Some(role))?), &env)?;
    Ok(command::Command::Check(Box::new(config), said))
}

/// The one server of a Shadowsocks program's file.
fn entry(path: &str) -> Result<Entry, CommandError> {
    let mut entries = shadowsocks_file::parse(path, &shadowsocks_file::read_limited(path)?)?;
    match (entries.pop(), entries.is_empty()) {
        (Some(entry), true) => Ok(entry),
        _ => Err(CommandError::CommandLine(format!(
            "{path} has several servers: give check the options of one"
        ))),
    }
}

/// The half that a flag says, and the flag.
fn asked_role(matches: &ArgMatches) -> Option<(Role, &'static str)> {
    let is_given = |name: &str| matches.get_one::<String>(name).is_some();
    match () {
        () if matches.get_flag("client") => Some((Role::Client, "--client")),
        () if matches.get_flag("server") => Some((Role::Server, "--server")),
        () if is_given("remote") => Some((Role::Client, "--remote")),
        () if is_given("backend") => Some((Role::Server, "--backend")),
        () => None,
    }
}

/// The addresses among the flags, for this half; without one, those that say it themselves.
fn addresses(matches: &ArgMatches, role: Option<Role>) -> Result<Addresses, CommandError> {
    let parts = |id: &str| match matches.get_one::<String>(id) {
        Some(text) => split_address(&format!("--{id}"), text),
        None => Ok((None, None)),
    };
    let (remote, local) = match role {
        None => (parts("remote")?, parts("backend")?),
        Some(Role::Client) => (parts("remote")?, parts("listen")?),
        Some(Role::Server) => (parts("listen")?, parts("backend")?),
    };
    let ((remote_host, remote_port), (local_host, local_port)) = (remote, local);
    Ok(Addresses { remote_host, remote_port, local_host, local_port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Half, SaidAddresses};

    fn check(words: &[&str], vars: &[(&str, &str)]) -> Result<(Config, SaidAddresses), String> {
        let vars = vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let matches = command().try_get_matches_from([&["check"], words].concat());
        let matches = matches.map_err(|error| error.to_string())?;
        match read(&matches, &ProcessEnv { vars, parent: Some("ss-server".to_owned()) }) {
            Ok(command::Command::Check(config, said)) => Ok((*config, said)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_half_is_known_by_flags_and_options() {
        for (words, role) in [
            (&["obfs=http"][..], Role::Client),
            (&["obfs=http;failover=127.0.0.1:80"], Role::Server),
            (&["--client", "obfs=http;failover=127.0.0.1:80"], Role::Client),
            (&["--server", "obfs=http"], Role::Server),
            (&["--backend", "127.0.0.1:9000", "obfs=http"], Role::Server),
            (&["--remote", "a.example:80", "failover=127.0.0.1:80"], Role::Client),
            (&["server;obfs=http"], Role::Server),
            (&["--remote", "a.example:80"], Role::Client),
        ] {
            assert_eq!(check(words, &[]).unwrap().0.role(), role, "{words:?}");
        }
    }

    #[test]
    fn what_is_not_said_is_known_to_be_so() {
        let said = |words: &[&str], vars: &[(&str, &str)]| {
            let said = check(words, vars).unwrap().1;
            (said.remote, said.local)
        };
        assert_eq!(said(&["mode=websocket;tls"], &[]), (false, false));
        assert_eq!(said(&["--listen", "127.0.0.1:1984", "obfs=http"], &[]), (false, true));
        assert_eq!(said(&["--server", "--listen", "0.0.0.0:80", "obfs=http"], &[]), (true, false));
        let host = [
            ("SS_REMOTE_HOST", "192.0.2.1"),
            ("SS_REMOTE_PORT", "80"),
            ("SS_LOCAL_HOST", "127.0.0.1"),
            ("SS_LOCAL_PORT", "1984"),
            ("SS_PLUGIN_OPTIONS", "obfs=tls"),
        ];
        assert_eq!(said(&[], &host), (true, true));
        let (config, _) = check(&["--remote", "a.example:443", "mode=websocket"], &host).unwrap();
        let Half::Client(client) = config.half else { panic!("no client") };
        assert_eq!(client.servers[0].to_string(), "a.example:443");
        assert!(client.disguise.to_string().starts_with("websocket"), "{}", client.disguise);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (words, part) in [
            (&["obfs=htp"][..], "obfs"),
            (&["obfs=tls;tls"], "exclude each other"),
            (&["--client", "server;obfs=http"], "--client is for a client"),
            (&["--remote", "a.example:80", "server"], "--remote is for a client"),
            (&["--remote", "a.example", "obfs=http"], "--remote"),
            (&["--remote", "a.example:0", "obfs=http"], "port"),
            (&["--client", "--server", "obfs=http"], "cannot be used"),
            (&["--remote", "a:1", "--backend", "b:2", "x"], "cannot be used"),
            (&["a", "b"], "unexpected argument"),
            (&[], "check needs OPTIONS"),
            (&["--config", "/nowhere/client.json"], "/nowhere/client.json: "),
        ] {
            let error = check(words, &[]).unwrap_err();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
