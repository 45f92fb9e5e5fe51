//! What the README and the pages of `docs` tell to do, done: the commands and files are taken from their text, and run by
//! the programs that they are for, on a machine of the test's own (`support::deployed`).

use crate::blocks::{Block, blocks};
use crate::support::child::Child;
use crate::support::deployed::{Machine, NAME};
use crate::support::hosts::curl;
use std::os::unix::fs::PermissionsExt;

mod clients;
mod configuration;
mod recommended;
mod simple;

/// What the website of a test says.
const PAGE: &str = "a shop for garden chairs\n";

/// The program that a file is for, with its configuration on the machine and its page in the folder of all recipes.
#[track_caller]
fn nginx(machine: &Machine, ports: &[u16]) -> Child {
    machine.put("/var/www/html/index.html", PAGE);
    machine.serve("nginx", ports, &["nginx", "-g", "daemon off; master_process on;"])
}

/// A program of a test's own in `/usr/local/bin`.
#[track_caller]
fn script(machine: &Machine, name: &str, text: &str) {
    let path = machine.put(&format!("/usr/local/bin/{name}"), format!("#!/bin/sh\n{text}"));
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("an executable");
}

/// The block of a page that is this file.
#[track_caller]
fn file_of(page: &str, name: &str) -> Block {
    let found = blocks(page).into_iter().find(|block| block.file().is_some_and(|file| file.ends_with(name)));
    found.unwrap_or_else(|| panic!("{page} has no {name}"))
}

/// The only command of a page that begins so, without `sudo` and a comment behind it.
#[track_caller]
fn command_of(page: &str, start: &str) -> String {
    let commands = blocks(page).iter().flat_map(Block::commands).collect::<Vec<_>>();
    let commands = commands.iter().map(|command| command.split(" # ").next().unwrap_or_default().trim());
    let commands = commands.map(|command| command.trim_start_matches("sudo "));
    let found: Vec<_> = commands.filter(|command| command.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{page}: {start}: {found:?}");
    found[0].to_owned()
}

/// The website as anybody sees it, from the port that carries the tunnels.
#[track_caller]
fn assert_website(scheme: &str) {
    let page = curl(&[&format!("{scheme}://{NAME}/")]);
    assert_eq!((page.status.as_str(), String::from_utf8_lossy(&page.body).as_ref()), ("200", PAGE));
}
