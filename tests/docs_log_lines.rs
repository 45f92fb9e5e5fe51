//! Each line of a log that `docs/troubleshooting.md` quotes is one that the program has in it: a message that is worded
//! anew, and not there, fails here. In a quoted line `…` stands for what differs from case to case. Lines of hosts are
//! compared with real ones by the black-box tests (`deploy::pages`).

#[path = "common/blocks.rs"]
mod blocks;

use blocks::{blocks, root};
use std::path::{Path, PathBuf};

const PAGES: [&str; 2] = ["docs/troubleshooting.md", "docs/troubleshooting.zh-CN.md"];

/// The least that a quoted line is to have in one piece.
const TELLING: usize = 10;

/// The most pieces of the program's texts that one quoted piece may be put together from.
const JOINED: usize = 4;

/// The string literals of a source file, without its comments. Not of a library's depth: raw strings, escapes and
/// continued lines are read, byte strings are taken for strings.
fn literals(source: &str) -> Vec<String> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or_default();
    let mut found = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < text.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            // A character, as in '"' and '\''; a lifetime has no second quote there.
            ('\'', '\\') => i += 3,
            ('\'', _) if at(i + 2) == '\'' => i += 2,
            ('r', '#' | '"') if !at(i.wrapping_sub(1)).is_alphanumeric() && at(i.wrapping_sub(1)) != '_' => {
                let hashes = text[i + 1..].iter().take_while(|letter| **letter == '#').count();
                if at(i + 1 + hashes) == '"' {
                    let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let rest: String = text[i + 2 + hashes..].iter().collect();
                    let literal = rest.split(&end).next().unwrap_or_default().to_owned();
                    i += 1 + hashes + literal.chars().count() + end.len();
                    found.push(literal);
                }
            }
            ('"', _) => {
                let mut literal = String::new();
                i += 1;
                while i < text.len() && at(i) != '"' {
                    if at(i) == '\\' {
                        i += 1;
                        match at(i) {
                            '\n' => {
                                while at(i + 1).is_whitespace() {
                                    i += 1;
                                }
                            }
                            'n' => literal.push('\n'),
                            other => literal.push(other),
                        }
                    } else {
                        literal.push(at(i));
                    }
                    i += 1;
                }
                found.push(literal);
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// What stands between the placeholders of a format string.
fn between_placeholders(literal: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = pieces.last_mut().expect("a piece");
        match letter {
            '{' | '}' if letters.peek() == Some(&letter) => {
                last.push(letter);
                letters.next();
            }
            '{' => {
                let _placeholder = letters.by_ref().find(|letter| *letter == '}');
                pieces.push(String::new());
            }
            other => last.push(other),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    // (tests quote lines, too)
    below
        .filter(|path| !path.components().any(|part| part.as_os_str().to_string_lossy().contains("tests")))
        .collect()
}

/// All that the program may say, in pieces.
fn said() -> Vec<String> {
    let mut pieces = Vec::new();
    for file in sources(&root().join("src")) {
        let source = std::fs::read_to_string(&file).expect("a source");
        let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        pieces.extend(literals(source).iter().flat_map(|literal| between_placeholders(literal)));
    }
    // The system's words, which the program repeats.
    for code in [libc_code::ADDRESS_IN_USE, libc_code::PERMISSION_DENIED, libc_code::CONNECTION_REFUSED] {
        pieces.push(std::io::Error::from_raw_os_error(code).to_string());
    }
    // musl's, where they are others.
    pieces.push("Address in use (os error 98)".to_owned());
    pieces.sort();
    pieces.dedup();
    pieces
}

/// Linux's, whose words the page has.
mod libc_code {
    pub(super) const ADDRESS_IN_USE: i32 = 98;
    pub(super) const PERMISSION_DENIED: i32 = 13;
    pub(super) const CONNECTION_REFUSED: i32 = 111;
}

/// Whether the program may say this: a part of one of its pieces, or the end of one and the beginning of the next.
fn may_be_said(quoted: &str, said: &[String]) -> bool {
    fn goes_on(rest: &str, said: &[String], most: usize) -> bool {
        said.iter().any(|piece| {
            piece.starts_with(rest)
                || (most > 0
                    && rest.strip_prefix(piece.as_str()).is_some_and(|rest| goes_on(rest, said, most - 1)))
        })
    }
    said.iter().any(|piece| piece.contains(quoted))
        || quoted.char_indices().skip(1).any(|(at, _)| {
            let (begin, rest) = quoted.split_at(at);
            said.iter().any(|piece| piece.ends_with(begin)) && goes_on(rest, said, JOINED - 2)
        })
}

/// The quoted lines of a page: who says it, what, and where it stands.
fn quoted(page: &str) -> Vec<(String, String, String)> {
    let log = blocks(page).into_iter().filter(|block| block.language == "log");
    log.flat_map(|block| {
        let of_line = |line: &str| {
            let (who, what) =
                line.split_once(": ").unwrap_or_else(|| panic!("{}: who says `{line}`?", block.at()));
            (who.to_owned(), what.to_owned(), block.at())
        };
        block.text.lines().map(of_line).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn each_quoted_line_is_one_of_the_programs() {
    let said = said();
    let mut wrong = Vec::new();
    for page in PAGES {
        let lines = quoted(page);
        assert!(lines.len() > 60, "{page}: {} lines", lines.len());
        for (who, line, at) in lines {
            match who.as_str() {
                "client" | "server" | "plugin" => {
                    let pieces: Vec<_> =
                        line.split('…').map(str::trim).filter(|piece| !piece.is_empty()).collect();
                    let telling = pieces.iter().map(|piece| piece.len()).sum::<usize>() >= TELLING;
                    if !telling || !pieces.iter().all(|piece| may_be_said(piece, &said)) {
                        wrong.push(format!("{at}: {line}"));
                    }
                }
                // Compared with the hosts themselves.
                "host" => {}
                other => panic!("{at}: who is {other}?"),
            }
        }
    }
    assert!(wrong.is_empty(), "the program says none of these:\n{}", wrong.join("\n"));
}

#[test]
fn a_line_that_nobody_says_is_found() {
    let said = said();
    for line in [
        "the server did not change protocols, it answered",
        "the certificate of the server is wrong",
        "has an unknown problem, by the server or by somebody on the way",
    ] {
        assert!(!may_be_said(line, &said), "{line}");
    }
    let source = "let a = \"one {b} two \\\n         three\"; // \"four\"\nlet c = r#\"five \"six\"\"#; let d = '\"'; \"seven {{e}}\"";
    let pieces: Vec<_> = literals(source).iter().flat_map(|literal| between_placeholders(literal)).collect();
    assert_eq!(pieces, ["one ", " two three", "five \"six\"", "seven {e}"]);
    let pieces = ["it answered `", "`", ": is it there?"].map(str::to_owned);
    assert!(may_be_said("answered `", &pieces) && may_be_said("`: is it", &pieces));
    assert!(!may_be_said("`: was it", &pieces));
}
