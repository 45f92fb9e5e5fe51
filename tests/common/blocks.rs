//! The code blocks of the project's pages, for tests that run them.
//!
//! A test program takes this file with `#[path = "common/blocks.rs"] mod blocks;`.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};

/// A fenced code block of a page.
#[derive(Debug, Clone)]
pub struct Block {
    /// The page, from the project's folder: `README.md`, `docs/options.md`.
    pub page: String,
    /// The line of its opening fence, counted from 1.
    pub line: usize,
    /// The first word behind the fence (`sh`, `json`, …), or nothing.
    pub language: String,
    /// The heading above it, without `#`.
    pub heading: String,
    /// The last line of text above it, in the same section, or nothing.
    pub intro: String,
    /// What is between the fences, without the indentation of the fence.
    pub text: String,
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page's text.
#[track_caller]
pub fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Every page for users: those in the project's folder and below `docs`, sorted.
#[track_caller]
pub fn pages() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![PathBuf::new(), PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                if folder.starts_with("docs") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path.to_str().expect("a name in Unicode").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The blocks of a page, in order.
#[track_caller]
pub fn blocks(page: &str) -> Vec<Block> {
    blocks_of(page, &read(page))
}

/// The blocks of a text that stands for a page.
#[track_caller]
pub fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let (mut heading, mut intro) = (String::new(), String::new());
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(info) = line.strip_prefix("```") {
            let fence = &line[..line.len() - info.trim_start_matches('`').len()];
            let language = info.trim_start_matches('`').split_whitespace().next().unwrap_or_default();
            let mut block = Block {
                page: page.to_owned(),
                line: at + 1,
                language: language.to_owned(),
                heading: heading.clone(),
                intro: intro.clone(),
                text: String::new(),
            };
            loop {
                let Some((_, line)) = lines.next() else { panic!("{}: no end", block.at()) };
                if line.trim() == fence {
                    break;
                }
                let spaces = line.len() - line.trim_start().len();
                block.text.push_str(&line[spaces.min(indent)..]);
                block.text.push('\n');
            }
            found.push(block);
        } else if line.starts_with('#') && line.trim_start_matches('#').starts_with(' ') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
            intro.clear();
        } else if !line.is_empty() {
            line.clone_into(&mut intro);
        }
    }
    found
}

/// The headings of a page, each with its depth.
#[track_caller]
pub fn headings(page: &str) -> Vec<(usize, String)> {
    let text = read(page);
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let rest = line.trim_start_matches('#');
        let depth = line.len() - rest.len();
        if !fenced && depth > 0 && rest.starts_with(' ') {
            found.push((depth, rest.trim().to_owned()));
        }
    }
    found
}

impl Block {
    /// Where it stands, for messages.
    pub fn at(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// The file that the line above names: its first word in backticks that is a path, or a name with an ending (and no
    /// address).
    pub fn file(&self) -> Option<&str> {
        let words = self.intro.split('`').skip(1).step_by(2);
        let mut names = words.filter(|word| !word.contains(|c: char| c.is_whitespace() || c == ':'));
        names.find(|word| word.starts_with('/') || word.contains('.'))
    }

    /// The commands of a block for a shell, each on one line: continued lines are joined, comments and empty lines
    /// left out, words are one space apart.
    pub fn commands(&self) -> Vec<String> {
        if !matches!(self.language.as_str(), "sh" | "bash" | "shell") {
            return Vec::new();
        }
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    /// The text between `start` and the next quotation mark, for every `start` in the block.
    pub fn quoted<'a>(&'a self, start: &str) -> Vec<&'a str> {
        self.text.split(start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }
}
