//! What the program makes of an option string that a Shadowsocks program hands over.

use obfs_rs::cli::{Command, read};
use obfs_rs::config::{Config, ProcessEnv};

/// The configuration that an option string leads to, under a parent of this name.
pub fn hosted(parent: &str, options: &str) -> Result<Box<Config>, String> {
    let vars = [
        ("SS_REMOTE_HOST", "192.0.2.1"),
        ("SS_REMOTE_PORT", "443"),
        ("SS_LOCAL_HOST", "127.0.0.1"),
        ("SS_LOCAL_PORT", "9000"),
        ("SS_PLUGIN_OPTIONS", options),
        ("HOME", "/root"),
    ];
    let env = ProcessEnv {
        vars: vars.map(|(name, value)| (name.into(), value.into())).into(),
        parent: Some(parent.to_owned()),
    };
    match read(&["obfs-rs".into()], &env) {
        Ok(Command::Run(config)) if config.unknown.is_empty() => Ok(config),
        Ok(Command::Run(config)) => Err(format!("{options}: {:?}", config.unknown)),
        other => Err(format!("{options}: {other:?}")),
    }
}
