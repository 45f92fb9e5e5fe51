//! Command lines of the program, under each of its names.

use crate::PAGES;
use crate::blocks::{Block, blocks};
use obfs_rs::cli::{Command, read};
use obfs_rs::config::ProcessEnv;

/// The words of a command line of ours: without `sudo`, a comment behind it, or what has cargo run it.
pub fn ours(command: &str) -> Option<Vec<&str>> {
    let command = command.split(" # ").next().unwrap_or_default();
    let words: Vec<_> = command.split(' ').filter(|word| *word != "sudo").collect();
    let own = |word: &&str| matches!(*word, "obfs-rs" | "obfs-server" | "obfs-local");
    match words.first() {
        Some(first) if own(first) => Some(words),
        // That of a release file, in its folder.
        Some(&"./obfs-rs") => Some([&["obfs-rs"], &words[1..]].concat()),
        Some(&"cargo") if words.get(1) == Some(&"run") => {
            let rest = words.split(|word| *word == "--").nth(1)?;
            Some([&["obfs-rs"], rest].concat())
        }
        _ => None,
    }
}

/// Reads it. `SERVER` stands for an address.
#[track_caller]
pub fn check(words: &[&str], block: &Block) -> Command {
    let args: Vec<_> = words.iter().map(|word| word.replace("SERVER", "192.0.2.1").into()).collect();
    match read(&args, &ProcessEnv::default()) {
        Ok(command) => command,
        Err(error) => panic!("{}: {words:?}: {error}", block.at()),
    }
}

#[test]
fn every_command_line_is_read() {
    let mut seen = 0;
    for block in PAGES.iter().flat_map(|page| blocks(page)) {
        for command in block.commands() {
            let Some(words) = ours(&command) else { continue };
            // Their file is in another block: `configuration` reads both.
            if !words.contains(&"-c") {
                check(&words, &block);
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// The first recipe is the recommended one, and names no site of somebody else.
#[test]
fn the_first_recipe_is_a_true_one() {
    for page in ["README.md", "README.zh-CN.md"] {
        let found = blocks(page);
        let first =
            found.iter().flat_map(|block| block.quoted("\"plugin_opts\": \"")).next().expect("a recipe");
        for part in ["mode=websocket;tls;", "path=/", "failover-tls=127.0.0.1:"] {
            assert!(first.contains(part), "{page}: {first} lacks {part}");
        }
        for block in &found {
            assert!(!block.text.contains("bing.com"), "{}", block.at());
        }
    }
}
