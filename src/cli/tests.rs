//! Command lines, read as a whole.

use super::*;
use crate::config::{ClientDisguise, Config, Half, RoleReason};
use crate::net::addr::HostPort;
use crate::telemetry::LogLevel;
use std::time::Duration;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn config(line: &str, env: &ProcessEnv) -> Config {
    match read(&words(line), env) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn addresses(list: &[HostPort]) -> Vec<String> {
    list.iter().map(HostPort::to_string).collect()
}

#[test]
fn the_command_line_wins() {
    let vars = [
        ("SS_REMOTE_HOST", "203.0.113.1"),
        ("SS_REMOTE_PORT", "8388"),
        ("SS_LOCAL_HOST", "127.0.0.1"),
        ("SS_LOCAL_PORT", "1984"),
        ("SS_PLUGIN_OPTIONS", "obfs-host=env.example;t=5"),
    ];
    let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let env = ProcessEnv { vars, parent: None };
    let config = config("obfs-rs client --obfs-host cli.example --remote 198.51.100.7:80", &env);
    assert_eq!(config.tunnel.idle_timeout, Duration::from_secs(5));
    assert_eq!(config.role_reason, RoleReason::Subcommand);
    let Half::Client(client) = config.half else { panic!("not a client") };
    assert!(matches!(&client.disguise, ClientDisguise::Http(request, _) if request.host == "cli.example"));
    assert_eq!(addresses(&client.servers), ["198.51.100.7:80"]);
    assert_eq!(addresses(&client.listen), ["127.0.0.1:1984"]);
}

#[test]
fn the_command_line_alone_is_enough() {
    let args = "obfs-rs server --listen 0.0.0.0:80 --backend [::1]:9000 --fallback 127.0.0.1:8080 -t 9 -v";
    let config = config(args, &ProcessEnv::default());
    assert!(!config.hosted);
    assert_eq!((config.log_level, config.tunnel.idle_timeout), (LogLevel::Debug, Duration::from_secs(9)));
    let Half::Server(server) = config.half else { panic!("not a server") };
    assert_eq!(server.failover.plain.to_string(), "127.0.0.1:8080");
}

#[test]
fn help_and_version_are_printed() {
    for (args, wanted) in [
        ("obfs-rs --version", env!("CARGO_PKG_VERSION")),
        ("obfs-rs --help", "--plugin-opts"),
        ("obfs-rs client --help", "obfs-rs client --listen"),
        ("obfs-rs server --help", "--failover"),
    ] {
        match read(&words(args), &ProcessEnv::default()) {
            Ok(Command::Print(text)) => assert!(text.contains(wanted), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_wrong_flag_is_told_in_one_line() {
    for args in [
        "obfs-rs client --obfs-hots x",
        "obfs-rs frob",
        "obfs-rs client --remote",
        "obfs-rs client --remote x",
    ] {
        let message = read(&words(args), &ProcessEnv::default()).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
    }
}
