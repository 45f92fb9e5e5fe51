//! Links between the project's pages.

use crate::blocks::{headings, pages, read, root};
use std::path::{Component, Path, PathBuf};

/// Pages that are written in the same breath as these.
const COMING: &[&str] = &[
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/benchmark.md",
    "docs/check.md",
    "docs/migrating.md",
    "docs/recipes.md",
    "docs/recipes.zh-CN.md",
    "docs/share.md",
    "docs/transports.md",
    "docs/troubleshooting.md",
    "docs/troubleshooting.zh-CN.md",
];

/// The anchor that a heading has on a page: its letters and digits in lower case, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads out of the project", path.display()),
            part => plain.push(part),
        }
    }
    plain
}

/// The project's own targets of a page's links and pictures.
fn targets(page: &str) -> Vec<String> {
    let text = read(page);
    let found = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    found.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// Those of packages, too.
fn all_pages() -> Vec<String> {
    let packaging = ["android", "container", "debian", "openwrt", "windows"];
    let more = packaging.map(|kind| format!("packaging/{kind}/README.md"));
    pages().into_iter().chain(["deploy/README.md".to_owned()]).chain(more).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in all_pages() {
        for target in targets(&page) {
            let (file, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let file =
                if file.is_empty() { PathBuf::from(&page) } else { Path::new(&page).with_file_name(file) };
            let file = plain(&file);
            let name = file.display().to_string();
            if !root().join(&file).exists() && COMING.contains(&name.as_str()) {
                continue;
            }
            assert!(root().join(&file).exists(), "{page} links to {target}");
            if !fragment.is_empty() {
                let anchors: Vec<_> = headings(&name).iter().map(|(_, heading)| anchor(heading)).collect();
                assert!(
                    anchors.iter().any(|known| known == fragment),
                    "{page}: {target} is none of {anchors:?}"
                );
            }
            links += 1;
        }
    }
    assert!(links > 60, "{links} links");
}

/// Whoever reads the README finds each page for users.
#[test]
fn every_page_is_linked_from_the_readme() {
    for readme in ["README.md", "README.zh-CN.md"] {
        let linked = targets(readme);
        for page in
            pages().into_iter().filter(|page| page.starts_with("docs/") && !page.ends_with(".zh-CN.md"))
        {
            let translated = page.replace(".md", ".zh-CN.md");
            let found = linked.iter().any(|target| *target == page || *target == translated);
            assert!(found, "{readme} does not link to {page}");
        }
    }
}

#[test]
fn anchors_are_made_as_forges_make_them() {
    assert_eq!(anchor("`obfs=tls` is not TLS"), "obfstls-is-not-tls");
    assert_eq!(anchor("Reload, drain, restart"), "reload-drain-restart");
    assert_eq!(anchor("推荐方案：自己的域名、TLS、网站"), "推荐方案自己的域名tls网站");
}
