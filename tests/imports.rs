//! Who imports whom: every import is one that ARCHITECTURE.md allows, and there is no circle, neither
//! between rooms nor between files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The file of the binary, which is a crate of its own, and that which only lists the rooms.
const APART: [&str; 2] = ["main", "lib"];

/// The source as words and marks, without comments, texts, characters, and what is for tests alone.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").expect("a comment ends") + 2,
            '"' => text_length(rest),
            'r' | 'b' if raw_text(rest).is_some() => raw_text(rest).unwrap(),
            'b' if rest.starts_with("b\"") => 1,
            '\'' => character_length(rest),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            }
            ':' if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    without_tests(&tokens)
}

fn text_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `r"…"`, `br#"…"#` and the like.
fn raw_text(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    start[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let open = rest.len() - start.len() + hashes + 1;
    Some(open + rest[open..].find(&close).expect("a text ends") + close.len())
}

/// The length of a character; of the mark alone where a lifetime begins.
fn character_length(rest: &str) -> usize {
    if rest[1..].starts_with('\\') {
        return 3 + rest[3..].find('\'').expect("a character ends");
    }
    let c = rest[1..].chars().next().expect("a character");
    if rest[1 + c.len_utf8()..].starts_with('\'') { 2 + c.len_utf8() } else { 1 }
}

/// Leaves out items behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().take(mark.len()).eq(mark.iter()) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        loop {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1].as_str(), ";" | "}") {
                break;
            }
        }
    }
    kept
}

/// A module's path, such as `["wire", "http"]`.
type Module = Vec<String>;

fn module_of(src: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(src).unwrap().with_extension("");
    let mut module: Module =
        relative.iter().map(|part| part.to_str().expect("names are ASCII").to_owned()).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// All paths that begin with `crate`, `super` or `self`, or that a `use` names; each with the name by which a
/// `pub use` hands it on.
#[derive(Debug, Default)]
struct Paths {
    used: Vec<Module>,
    handed_on: BTreeMap<String, Module>,
}

fn paths(tokens: &[String], own: &Module) -> Paths {
    let mut paths = Paths::default();
    let mut at = 0;
    while at < tokens.len() {
        let is_use = tokens[at] == "use";
        let starts = is_use
            || (matches!(tokens[at].as_str(), "crate" | "super" | "self")
                && tokens.get(at + 1).is_some_and(|next| next == "::"));
        if !starts {
            at += 1;
            continue;
        }
        let public = is_use && at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
        let mut found = Vec::new();
        at = tree(tokens, at + usize::from(is_use), &[], &mut found);
        for (path, name) in found {
            if let Some(path) = absolute(&path, own) {
                // To hand a name on is not to need it.
                if public {
                    paths.handed_on.insert(name, path);
                } else {
                    paths.used.push(path);
                }
            }
        }
    }
    paths
}

/// Reads `a::b::{c, d::e as f}` and returns where it ends.
fn tree(tokens: &[String], mut at: usize, front: &[String], found: &mut Vec<(Module, String)>) -> usize {
    let mut path = front.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens[at] != "}" {
                    at = tree(tokens, at, &path, found);
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            Some(word) if word == "*" || word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at).is_none_or(|next| next != "::") {
            break;
        }
        at += 1;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if tokens.get(at).is_some_and(|next| next == "as") {
        name = tokens[at + 1].clone();
        at += 2;
    }
    found.push((path, name));
    at
}

/// The path from the root of the crate. `None` for one that leads into another crate.
fn absolute(path: &[String], own: &Module) -> Option<Module> {
    let mut base = own.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    base.extend(rest.iter().filter(|word| *word != "self").cloned());
    Some(base)
}

/// The files of the crate and what each of them takes from which other.
struct Crate {
    paths: BTreeMap<Module, Paths>,
}

impl Crate {
    fn read() -> Crate {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        rust_files(&src, &mut files);
        let is_test =
            |module: &Module| module.iter().any(|name| name.ends_with("tests") || name.starts_with("test_"));
        let modules = files.iter().map(|file| (module_of(&src, file), file));
        let modules = modules.filter(|(module, _)| {
            !is_test(module) && !APART.contains(&module.first().map_or("", String::as_str))
        });
        let read = |(module, file): (Module, &PathBuf)| {
            let text = std::fs::read_to_string(file).unwrap();
            let paths = paths(&tokens(&text), &module);
            (module, paths)
        };
        Crate { paths: modules.map(read).collect() }
    }

    /// The module that a path leads to: where what it names stands, and not where it is handed on.
    fn home(&self, path: &[String]) -> Option<Module> {
        let mut path = path.to_vec();
        // Longer chains there are none.
        for _ in 0..16 {
            let length = (1..=path.len()).rev().find(|&length| self.paths.contains_key(&path[..length]))?;
            let module = path[..length].to_vec();
            let handed_on = path.get(length).and_then(|name| self.paths[&module].handed_on.get(name));
            match handed_on {
                Some(target) if *target != path => {
                    path = target.iter().chain(&path[length + 1..]).cloned().collect();
                }
                _ => return Some(module),
            }
        }
        panic!("{path:?} is handed on for ever");
    }

    /// Which module imports which.
    fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let imports = self.paths.iter().map(|(module, paths)| {
            let mut homes: BTreeSet<Module> = paths.used.iter().filter_map(|path| self.home(path)).collect();
            homes.remove(module);
            (module.clone(), homes)
        });
        imports.collect()
    }
}

/// The rooms in their order, and which of the others each may import, as ARCHITECTURE.md has them.
fn allowed() -> Vec<(String, BTreeSet<String>)> {
    let text = include_str!("../ARCHITECTURE.md");
    let table = text.split("```imports\n").nth(1).expect("the table of imports").split("```").next().unwrap();
    let line = |line: &str| {
        let (room, others) = line.split_once(':').expect("a room and what it may import");
        let others = others.split(',').map(str::trim).filter(|other| !other.is_empty());
        (room.trim().to_owned(), others.map(str::to_owned).collect())
    };
    table.lines().map(line).collect()
}

#[test]
fn every_import_is_allowed() {
    let allowed = allowed();
    for (index, (room, others)) in allowed.iter().enumerate() {
        let above: BTreeSet<String> = allowed[..index].iter().map(|(room, _)| room.clone()).collect();
        assert!(others.is_subset(&above), "{room} may import only rooms that stand above it");
    }
    let allowed: BTreeMap<_, _> = allowed.into_iter().collect();
    let mut wrong = Vec::new();
    let mut rooms = BTreeSet::new();
    for (module, homes) in Crate::read().imports() {
        rooms.insert(module[0].clone());
        let may = allowed.get(&module[0]).unwrap_or_else(|| panic!("{} stands in the table", module[0]));
        for home in homes.iter().filter(|home| home[0] != module[0] && !may.contains(&home[0])) {
            wrong.push(format!("{} imports {}", module.join("/"), home.join("/")));
        }
    }
    assert!(wrong.is_empty(), "not allowed by ARCHITECTURE.md:\n{}", wrong.join("\n"));
    assert_eq!(rooms, allowed.into_keys().collect(), "the rooms and the table");
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let imports = Crate::read().imports();
    let mut circles = Vec::new();
    for start in imports.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<(&Module, Vec<String>)> = vec![(start, vec![start.join("/")])];
        while let Some((module, way)) = next.pop() {
            for home in imports.get(module).into_iter().flatten() {
                let way = [&way[..], &[home.join("/")]].concat();
                if home == start {
                    circles.push(way.join(" -> "));
                } else if reached.insert(home) {
                    next.push((home, way));
                }
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let own = vec!["a".to_owned(), "b".to_owned()];
    let text = r##"
        // use crate::comment;
        use crate::x::{self, y::{Z, W as V}};
        pub use c::D;
        fn f<'a>(s: &'a str) -> char { let _ = "crate::text\" //"; super::e::g(r#"crate::raw"#); '"' }
        #[cfg(test)]
        mod tests { use crate::for_tests; }
        fn last() { crate::h::I::new() }
    "##;
    let paths = paths(&tokens(text), &own);
    let used: Vec<String> = paths.used.iter().map(|path| path.join("::")).collect();
    assert_eq!(used, ["x", "x::y::Z", "x::y::W", "a::e::g", "h::I::new"]);
    assert_eq!(paths.handed_on["D"].join("::"), "a::b::c::D");
}
