//! `docs/man` and `docs/completions` are what the command lines are now. To write them anew:
//!
//! ```sh
//! UPDATE_DOCS=1 cargo test --test docs
//! ```
#![cfg(all(feature = "probe", feature = "metrics", feature = "share"))]

use clap_complete::Shell;
use obfs_rs::cli::{manuals, programs};
use std::collections::BTreeMap;
use std::path::Path;

/// A command line without what differs from machine to machine: its version is the number alone.
fn of_all_machines(command: clap::Command) -> clap::Command {
    let versioned = command.get_version().is_some();
    if versioned { command.version(env!("CARGO_PKG_VERSION")) } else { command }
}

/// Compares a folder with what it is to hold, or makes it hold that.
#[track_caller]
fn check(folder: &str, wanted: &BTreeMap<String, Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(folder);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in wanted {
            std::fs::write(folder.join(name), text).expect("a file");
        }
    }
    let files = std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let found: BTreeMap<_, _> = files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file"))
        })
        .collect();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(wanted), "{}: see the top of tests/docs.rs", folder.display());
    for (name, text) in wanted {
        let same = found.get(name) == Some(text);
        assert!(same, "{}/{name} is out of date: UPDATE_DOCS=1 cargo test --test docs", folder.display());
    }
}

#[test]
fn manual_pages_are_true() {
    let page = |(name, command): (String, clap::Command)| {
        let mut text = Vec::new();
        clap_mangen::Man::new(of_all_machines(command)).render(&mut text).expect("a page");
        (format!("{name}.1"), text)
    };
    let pages: BTreeMap<_, _> = manuals().into_iter().map(page).collect();
    for (page, words) in [
        ("obfs-rs.1", &["obfs\\-rs", "demo"][..]),
        ("obfs-rs-check.1", &["obfs\\-rs check", "\\-\\-remote", "plugin_opts"]),
        ("obfs-rs-probe.1", &["obfs\\-rs probe", "\\-\\-site"]),
        ("obfs-rs-ready.1", &["obfs\\-rs ready", "\\-\\-live"]),
        ("obfs-rs-share.1", &["obfs\\-rs share", "\\-\\-format"]),
        ("obfs-rs-client.1", &["obfs\\-rs client", "\\-\\-handshake", "\\-\\-remote"]),
        ("obfs-rs-server.1", &["obfs\\-rs server", "\\-\\-failover", "\\-\\-backend"]),
        ("obfs-local.1", &["obfs\\-local", "\\-\\-obfs\\-host", "\\fB\\-l\\fR"]),
        ("obfs-server.1", &["obfs\\-server", "\\-\\-failover", "\\fB\\-r\\fR"]),
    ] {
        let roff = String::from_utf8_lossy(&pages[page]);
        for word in words {
            assert!(roff.contains(word), "{page} lacks {word}:\n{roff}");
        }
    }
    check("man", &pages);
}

#[test]
fn completions_are_true() {
    let mut files = BTreeMap::new();
    for (program, command) in programs() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut of_all_machines(command.clone()), &program, &mut text);
            let name = match shell {
                Shell::Zsh => format!("_{program}"),
                _ => format!("{program}.{shell}"),
            };
            files.insert(name, text);
        }
    }
    check("completions", &files);
}
