//! The pages for users against the program: what stands in their code blocks is read as the program reads it, the
//! options are those of the option table, and both languages say the same.
//!
//! What takes other programs to run is in `tests/blackbox/readme`.

#[path = "../common/blocks.rs"]
mod blocks;
#[path = "../common/hosted.rs"]
mod hosted;

mod blocks_run;
mod commands;
mod configuration;
mod languages;
mod option_page;
mod strings;
mod words;

/// The pages whose code blocks are read here. What others read is in [`ELSEWHERE`].
const PAGES: &[&str] = &[
    "README.md",
    "README.zh-CN.md",
    "docs/clients.md",
    "docs/concealment.md",
    "docs/configuration-file.md",
    "docs/metrics.md",
    "docs/options.md",
    "docs/packages.md",
    "docs/server.md",
    "docs/udp.md",
];

/// Pages whose code blocks other tests run.
const ELSEWHERE: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
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

#[test]
fn every_page_is_somebodys() {
    for page in blocks::pages() {
        let has_blocks = !blocks::blocks(&page).is_empty();
        let known = PAGES.contains(&page.as_str()) || ELSEWHERE.contains(&page.as_str());
        assert!(known || !has_blocks, "{page}: no test reads its code blocks");
    }
}
