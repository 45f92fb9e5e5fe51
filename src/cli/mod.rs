//! Command lines. The name by which the program was started says whose words it takes:
//!
//! | name | words |
//! | --- | --- |
//! | `obfs-local`, `obfs-server` | simple-obfs's (`simple_obfs`) |
//! | `v2ray-plugin` and its like | v2ray-plugin's (`v2ray_plugin`) |
//! | any other | our own (`own`), with `check`, `probe`, `ready` and `share` among the subcommands, each in a file of its own |
//!
//! Each fills [`Settings`](crate::config::Settings), and [`config`](crate::config) makes a configuration of
//! them, with the environment and the file.

mod check;
mod command;
mod flags;
mod own;
#[cfg_attr(not(feature = "probe"), path = "no_probe.rs")]
mod probe;
#[cfg_attr(not(feature = "metrics"), path = "no_ready.rs")]
mod ready;
#[cfg_attr(not(feature = "share"), path = "no_share.rs")]
mod share;
mod simple_obfs;
mod suggest;
mod v2ray_plugin;
mod version;

pub use command::{Command, CommandError};

use crate::config::{ProcessEnv, Role};
use std::ffi::OsString;
use std::path::Path;

/// Reads everything that was said: the arguments, the program's own name first, and the environment.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn read(args: &[OsString], env: &ProcessEnv) -> Result<Command, CommandError> {
    let program = args.first().and_then(|path| Path::new(path).file_stem()).unwrap_or_default();
    let mut program = program.to_string_lossy();
    if cfg!(windows) {
        // There it is the same file.
        program = program.to_lowercase().into();
    }
    match simple_obfs::role_of(&program) {
        Some(role) => simple_obfs::read(&program, role, args, env),
        None if v2ray_plugin::is_meant(&program) => v2ray_plugin::read(args, env),
        None => own::read(args, env),
    }
}

/// Every command line that has a manual page, with the page's name.
pub fn manuals() -> Vec<(String, clap::Command)> {
    let subcommand = |name: &str, command: clap::Command| {
        let page = format!("obfs-rs-{name}");
        // As the page shows it: the words that start it.
        (page.clone(), command.bin_name(format!("obfs-rs {name}")).display_name(page))
    };
    let halves = [Role::Client, Role::Server];
    [
        ("check", check::command()),
        ("demo", own::demo_command()),
        ("probe", probe::command()),
        ("ready", ready::command()),
        ("share", share::command()),
    ]
    .map(|(name, command)| subcommand(name, command))
    .into_iter()
    .chain(halves.map(|role| subcommand(&role.to_string(), own::half(role))))
    .chain(programs())
    .collect()
}

/// Every program whose command line a shell can complete.
pub fn programs() -> Vec<(String, clap::Command)> {
    [own::command(), simple_obfs::command(Role::Client), simple_obfs::command(Role::Server)]
        .map(|command| (command.get_name().to_owned(), command))
        .into()
}

#[cfg(test)]
mod tests;
