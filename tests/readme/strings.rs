//! Option strings, as a Shadowsocks program hands them over.

use crate::PAGES;
use crate::blocks::{Block, blocks};
use obfs_rs::config::Half;

/// What the program makes of a Shadowsocks program's option string.
#[track_caller]
pub fn hosted(parent: &str, options: &str) -> Half {
    crate::hosted::hosted(parent, options).unwrap_or_else(|error| panic!("{error}")).half
}

/// Whether a program is a server's.
#[track_caller]
fn is_server(program: &str, block: &Block) -> bool {
    match program {
        "ss-server" | "ssserver" => true,
        "ss-local" | "sslocal" => false,
        other => panic!("{}: who is {other}?", block.at()),
    }
}

/// Reads it as the half that it is for.
#[track_caller]
pub fn check(options: &str, server: bool, block: &Block) {
    let half = hosted(if server { "ssserver" } else { "sslocal" }, options);
    assert_eq!(matches!(half, Half::Server(_)), server, "{}: {options}", block.at());
}

/// Those of command lines.
#[test]
fn every_option_string_of_a_command_is_read() {
    let mut seen = (0, 0);
    for block in PAGES.iter().flat_map(|page| blocks(page)) {
        for command in block.commands() {
            let Some(rest) = command.split_once("--plugin-opts \"") else { continue };
            let options = rest.1.split('"').next().unwrap_or_default();
            let words: Vec<_> = command.split(' ').filter(|word| *word != "sudo").collect();
            let server = is_server(words[0], &block);
            check(options, server, &block);
            if server {
                seen.0 += 1;
            } else {
                seen.1 += 1;
            }
        }
    }
    assert!(seen.0 >= 4 && seen.1 >= 3, "{seen:?}");
}

/// Those that stand alone: a line each, behind which a comment may stand.
#[test]
fn every_option_string_alone_is_read() {
    let mut seen = 0;
    for block in PAGES.iter().flat_map(|page| blocks(page)).filter(|block| block.language.is_empty()) {
        for line in block.text.lines() {
            let options = line.split(" # ").next().unwrap_or_default().trim();
            let server = ["failover", "limit-"].iter().any(|word| options.contains(word));
            check(options, server, &block);
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}
