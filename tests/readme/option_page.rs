//! `docs/options.md` against the option table.

use crate::blocks::read;
use obfs_rs::config::Role;
use obfs_rs::config::options::{Kind, OPTIONS, OptionSpec};
use std::collections::BTreeMap;

const PAGE: &str = "docs/options.md";

/// The half of an option, as the page says it.
fn half(spec: &OptionSpec) -> &'static str {
    match spec.half {
        None => "both",
        Some(Role::Client) => "client",
        Some(Role::Server) => "server",
    }
}

/// The words in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the page's tables of options: the cells of each.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let tables = text.split("| option | half | also | meaning | default |\n").skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(1).take_while(|line| line.starts_with('|')));
    rows.map(|row| {
        let cells = row.strip_prefix('|').and_then(|row| row.strip_suffix('|')).expect("bars at both ends");
        cells.split('|').map(str::trim).collect()
    })
    .collect()
}

#[test]
fn the_page_has_every_option_and_no_other() {
    let text = read(PAGE);
    let mut found = BTreeMap::new();
    for row in rows(&text) {
        let [name, half, also, meaning, default] = row[..] else { panic!("{} cells: {row:?}", row.len()) };
        let shown = quoted(name);
        assert_eq!(shown.len(), 1, "one name in each row: {name}");
        assert!(!meaning.is_empty(), "{name}");
        let key = shown[0].split('=').next().expect("a name");
        let before = found.insert(key, (shown[0], half, quoted(also), default));
        assert!(before.is_none(), "{key} stands there twice");
    }
    for spec in OPTIONS {
        let Some((shown, half_shown, also, _)) = found.remove(spec.name) else {
            panic!("{} is not there", spec.name)
        };
        assert_eq!(half_shown, half(spec), "{}", spec.name);
        assert_eq!(also, spec.aliases, "{}", spec.name);
        let with_value = matches!(spec.kind, Kind::Value(_) | Kind::Values(_));
        assert_eq!(shown.contains('='), with_value, "{shown}");
    }
    assert!(found.is_empty(), "no such options: {:?}", found.keys());
}

/// An option that may be given several times is told to be one.
#[test]
fn the_page_says_what_may_be_repeated() {
    let text = read(PAGE);
    for row in rows(&text) {
        let key = quoted(row[0])[0].split('=').next().expect("a name");
        let Some(spec) = OPTIONS.iter().find(|spec| spec.name == key) else { continue };
        let said = row[3].contains("several times");
        assert_eq!(said, matches!(spec.kind, Kind::Values(_)), "{key}");
    }
}

/// Whatever is written as an option in any page is one.
#[test]
fn no_page_has_options_that_do_not_exist() {
    let known = |name: &str| OPTIONS.iter().any(|spec| spec.name == name || spec.aliases.contains(&name));
    // A variable of `scripts/install`, and a key of systemd's.
    let foreign = ["DROP_IN", "SocketProtocol"];
    let mut seen = 0;
    for page in crate::PAGES {
        let text = read(page);
        let words =
            text.split('`').skip(1).step_by(2).filter(|word| !word.contains(['\n', ' ', '$', '"', '{']));
        for word in words.flat_map(|word| word.split(';')) {
            let Some((name, _)) = word.split_once('=') else { continue };
            if foreign.contains(&name) {
                continue;
            }
            assert!(known(name), "{page}: `{word}`");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}
