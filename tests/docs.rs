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

/// A page whose examples (lines that begin with blanks) are to be copied: they are not filled, and no word is hyphenated.
fn as_written(roff: &str) -> String {
    let mut page = String::new();
    let mut in_example = false;
    for line in roff.lines() {
        if line.starts_with("  ") != in_example {
            page.push_str(if in_example { ".fi\n" } else { ".nf\n" });
            in_example = !in_example;
        }
        page.push_str(line);
        page.push('\n');
        if line.starts_with(".TH") {
            page.push_str(".nh\n");
        }
    }
    page
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
        // (there is no page of `help`)
        let command = of_all_machines(command).disable_help_subcommand(true);
        let page = clap_mangen::Man::new(command).source(concat!("obfs-rs ", env!("CARGO_PKG_VERSION")));
        page.render(&mut text).expect("a page");
        (format!("{name}.1"), as_written(&String::from_utf8(text).expect("text")).into_bytes())
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
            if shell == Shell::Bash {
                // It writes a hyphen of the program's name in two ways, which do not find each other.
                let script = String::from_utf8(text).expect("text");
                text = script.replace("obfs__subcmd__rs__", "obfs__rs__").into_bytes();
            }
            let name = match shell {
                Shell::Zsh => format!("_{program}"),
                _ => format!("{program}.{shell}"),
            };
            files.insert(name, text);
        }
    }
    check("completions", &files);
}

/// What bash offers behind these words.
fn offered(words: &[&str]) -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/completions/obfs-rs.bash");
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n\
                  _obfs__rs obfs-rs \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash").args(["-c", script, "bash", file]).args(words).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_subcommands_and_their_flags() {
    assert_eq!(offered(&["obfs-rs", "serv"]), ["server"]);
    let flags = offered(&["obfs-rs", "server", "--failover-t"]);
    assert!(flags.contains(&"--failover-tls".to_owned()), "{flags:?}");
    assert_eq!(offered(&["obfs-rs", "probe", "--sit"]), ["--site"]);
}
