//! The README in English and in Chinese: the same headings, code, tables and links.

use crate::blocks::{Block, blocks, headings, read};

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";

/// A block's code: without comments, which are in the page's language.
fn code(block: &Block) -> String {
    let lines = block.text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim_end());
    lines.filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The rows of all tables, each as its number of cells.
fn tables(page: &str) -> Vec<usize> {
    let text = read(page);
    text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches(" |").count()).collect()
}

/// The words in backticks of a table's cells, sorted: options, files, values.
fn code_in_tables(page: &str) -> Vec<String> {
    let text = read(page);
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let mut words: Vec<_> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    words.sort();
    words
}

#[test]
fn both_have_the_same_headings() {
    let depths = |page| headings(page).into_iter().map(|(depth, _)| depth).collect::<Vec<_>>();
    assert_eq!(depths(ENGLISH), depths(CHINESE));
    for ((_, english), (_, chinese)) in headings(ENGLISH).into_iter().zip(headings(CHINESE)) {
        // What is code in one is code in the other.
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(quoted(&english), quoted(&chinese), "{english} / {chinese}");
    }
}

#[test]
fn both_have_the_same_code() {
    let (english, chinese) = (blocks(ENGLISH), blocks(CHINESE));
    assert_eq!(english.len(), chinese.len());
    for (english, chinese) in english.iter().zip(&chinese) {
        assert_eq!(english.language, chinese.language, "{} / {}", english.at(), chinese.at());
        assert_eq!(code(english), code(chinese), "{} / {}", english.at(), chinese.at());
        assert_eq!(english.file(), chinese.file(), "{} / {}", english.at(), chinese.at());
    }
}

#[test]
fn both_have_the_same_tables() {
    assert_eq!(tables(ENGLISH), tables(CHINESE));
    assert_eq!(code_in_tables(ENGLISH), code_in_tables(CHINESE));
    let numbers = |page| {
        let text = read(page);
        let rows = text
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains("Gbit") || line.contains("**obfs-rs"));
        rows.flat_map(|row| {
            row.split(|c: char| !c.is_ascii_digit() && c != '.')
                .filter(|n| n.len() > 1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(numbers(ENGLISH), numbers(CHINESE));
}

#[test]
fn both_have_the_same_links() {
    let links = |page| {
        let text = read(page);
        let mut found: Vec<_> = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            // A page or a picture may be there in both languages.
            .map(|target| target.replace(".zh-CN.", "."))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    assert_eq!(links(ENGLISH), links(CHINESE));
}

#[test]
fn both_are_short() {
    for page in [ENGLISH, CHINESE] {
        let lines = read(page).lines().count();
        assert!(lines < 200, "{page} has {lines} lines");
    }
}

/// The picture is drawn once for each language: everything but the words is the same.
#[test]
fn both_pictures_are_the_same() {
    let drawn = |name: &str| {
        let text = read(name);
        let parts = text.split('<').map(|part| part.split('>').next().unwrap_or_default().to_owned());
        parts.collect::<Vec<_>>()
    };
    assert_eq!(drawn("docs/overview.svg"), drawn("docs/overview.zh-CN.svg"));
}
