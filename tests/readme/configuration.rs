//! The example of the configuration file, read as the program reads a file.

use crate::blocks::{Block, blocks};
use crate::commands;
use obfs_rs::cli::Command;
use obfs_rs::config::Half;

const PAGE: &str = "docs/configuration-file.md";

/// A folder of a test's own, gone with it.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_example_is_read() {
    let folder = Folder(std::env::temp_dir().join(format!("obfs-rs-configuration-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let found = blocks(PAGE);
    let mut halves = Vec::new();
    for file in found.iter().filter(|block| block.language == "json") {
        let name = file.file().unwrap_or_else(|| panic!("{}: what is it called?", file.at()));
        let path = folder.0.join(name);
        std::fs::write(&path, &file.text).expect("a file");
        let path = path.display().to_string();
        let (block, words) = command_with(&found, name);
        let words: Vec<_> =
            words.iter().map(|word| if word == name { path.as_str() } else { word }).collect();
        let Command::Run(config) = commands::check(&words, block) else { panic!("{words:?} runs nothing") };
        assert!(config.unknown.is_empty(), "{}: {:?}", file.at(), config.unknown);
        halves.push(match config.half {
            Half::Server(_) => "server",
            Half::Client(_) => "client",
        });
    }
    assert_eq!(halves, ["server", "client"]);
}

/// The command that reads the file of this name.
#[track_caller]
fn command_with<'a>(found: &'a [Block], name: &str) -> (&'a Block, Vec<String>) {
    for block in found {
        for command in block.commands() {
            if command.ends_with(&format!("-c {name}")) {
                return (block, command.split(' ').map(str::to_owned).collect());
            }
        }
    }
    panic!("{PAGE}: no command reads {name}");
}
