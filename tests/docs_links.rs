//! Links of all the project's pages lead to files and headings that are there.

#[path = "common/blocks.rs"]
mod blocks;

use blocks::{headings, read, root};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Every page in Markdown of the project, by its path from the project's folder.
fn pages() -> Vec<String> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                let is_ours = name != "target" && (name == ".github" || !name.starts_with('.'));
                if is_ours && !path.join("CACHEDIR.TAG").exists() {
                    below(&path, found);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(root(), &mut found);
    let mut pages: Vec<_> = found
        .iter()
        .map(|path| path.strip_prefix(root()).expect("below").to_str().expect("Unicode").to_owned())
        .collect();
    pages.sort();
    pages
}

/// What a forge makes of a heading: small letters, digits, `-` and `_`; spaces become `-`, everything else goes.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    // Of a link its words alone count.
    let mut rest = heading;
    while let Some((before, behind)) = rest.split_once("](") {
        text.push_str(before);
        rest = behind.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}

/// The anchors of a page: a second heading of the same words has a number.
fn anchors(page: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let anchors = headings(page).into_iter().map(|(_, heading)| {
        let anchor = anchor(&heading);
        let number = seen.entry(anchor.clone()).and_modify(|number| *number += 1).or_insert(0);
        if *number == 0 { anchor } else { format!("{anchor}-{number}") }
    });
    anchors.collect()
}

/// The targets of a page's links and pictures, outside of code.
fn targets(page: &str) -> Vec<String> {
    let text = read(page);
    let mut outside = String::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            outside.push_str(line);
            outside.push('\n');
        }
    }
    let inline = outside.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    let html = [" src=\"", " href=\"", " srcset=\""].into_iter().flat_map(|attribute| {
        outside
            .split(attribute)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    inline.chain(html).collect()
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                assert!(plain.pop(), "{} leads out of the project", path.display());
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Why a link of a page leads nowhere.
fn wrong(page: &str, target: &str) -> Option<String> {
    let (file, fragment) = target.split_once('#').map_or((target, None), |(file, rest)| (file, Some(rest)));
    let at = match file {
        "" => PathBuf::from(page),
        file => plain(&Path::new(page).with_file_name("").join(file)),
    };
    let is_there = root().join(&at).exists();
    if !is_there {
        return Some(format!("{page} links to {target}: there is no {}", at.display()));
    }
    let fragment = fragment?;
    let is_page = at.extension().is_some_and(|end| end == "md");
    let known = if is_page { anchors(at.to_str().expect("Unicode")) } else { Vec::new() };
    (!known.iter().any(|anchor| anchor == fragment))
        .then(|| format!("{page} links to {target}: there is no such heading"))
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let mut links = 0;
    let mut wrongs = Vec::new();
    let pages = pages();
    for page in
        ["README.md", "docs/recipes.md", "packaging/android/README.md", ".github/pull_request_template.md"]
    {
        assert!(pages.iter().any(|one| one == page), "{page} is not found: {pages:?}");
    }
    for page in &pages {
        for target in targets(page) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            wrongs.extend(wrong(page, &target));
        }
    }
    assert!(links > 100, "{links} links");
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

/// What `ARCHITECTURE.md` says of files is true of the tree: each file, folder and module that it names is there.
#[test]
fn every_file_of_the_architecture_is_there() {
    fn below(folder: &Path) -> Vec<String> {
        let entries =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let files = entries
            .flat_map(|path| if path.is_dir() { below(&path) } else { vec![path.display().to_string()] });
        files.filter(|file| !file.contains("/target/")).collect()
    }
    let files: Vec<_> =
        ["src", "tests", "fuzz/src"].iter().flat_map(|folder| below(&root().join(folder))).collect();
    let is_there = |name: &str| {
        root().join(name).exists() || files.iter().any(|file| file.ends_with(&format!("/{name}")))
    };
    let text = read("ARCHITECTURE.md");
    let mut names = 0;
    for name in text.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches("::")) {
        let is_plain =
            name.chars().all(|letter| letter.is_ascii_lowercase() || "_./0123456789:".contains(letter));
        if !is_plain {
            continue;
        }
        if name.ends_with(".rs") || name.ends_with(".md") {
            assert!(is_there(name), "there is no {name}");
            names += 1;
        } else if let Some((module, item)) = name.rsplit_once("::") {
            // A module, or an item of one.
            let [as_module, parent] = [name, module].map(|path| format!("src/{}", path.replace("::", "/")));
            let found = [&as_module, &parent]
                .iter()
                .any(|path| root().join(path).exists() || root().join(format!("{path}.rs")).exists());
            assert!(found && !item.is_empty(), "there is no {name}");
            names += 1;
        }
    }
    assert!(names > 60, "{names} names");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    assert!(wrong("docs/recipes.md", "nothing.md").is_some());
    assert!(wrong("docs/recipes.md", "#nothing-of-that-name").is_some());
    assert!(wrong("docs/recipes.md", "transports.md#nothing-of-that-name").is_some());
    assert!(wrong("docs/recipes.md", "transports.md#quic").is_none());
    assert!(wrong("docs/recipes.md", "../deploy/README.md").is_none());
}

#[test]
fn an_anchor_is_what_a_forge_makes_of_a_heading() {
    for (heading, wanted) in [
        ("What it costs", "what-it-costs"),
        ("`obfs=tls` does not connect", "obfstls-does-not-connect"),
        ("A website's HTTP/3, behind [the port](x.md)", "a-websites-http3-behind-the-port"),
        ("端口被占用", "端口被占用"),
    ] {
        assert_eq!(anchor(heading), wanted);
    }
}
