//! `scripts/release` with compilers that are none: what it does with what they say takes seconds so.

use crate::support::child::Child;
use crate::support::peers;
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the one that stands for cargo-zigbuild does.
#[derive(Clone, Copy)]
pub enum Cargo {
    Builds,
    /// It fails for triples that begin like this.
    FailsFor(&'static str),
    /// What it builds has a path of this machine in it.
    NamesTheFolder,
    /// It begins, and does not end.
    Waits,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The tools, and a folder for what is made.
pub struct Bench {
    folder: TempDir,
    target: PathBuf,
    more: Vec<(String, String)>,
}

impl Bench {
    pub fn new(cargo: Cargo) -> Bench {
        Bench::in_folder("target", cargo)
    }

    /// With this name for the folder of what is built.
    pub fn in_folder(name: &str, cargo: Cargo) -> Bench {
        let folder = TempDir::new("release");
        let target = folder.path().join(name);
        let zig = format!("{name}/release-tools/zig-{}-{}", pinned("ZIG"), pinned("ZIGBUILD"));
        folder.write(&format!("{zig}/whole"), "");
        program(&folder, &format!("{zig}/bin/cargo-zigbuild"), &builder(cargo, folder.path()));
        program(&folder, &format!("{zig}/bin/python-zig"), "#!/bin/sh\nfor last; do :; done\n: >\"$last\"\n");
        let texts = format!("{zig}/lib/python3.11/site-packages/ziglang");
        for text in
            ["LICENSE", "lib/libunwind/LICENSE.TXT", "lib/libc/musl/COPYRIGHT", "lib/libc/mingw/COPYING"]
        {
            folder.write(&format!("{texts}/{text}"), format!("what {text} says\n"));
        }
        let cyclonedx = format!("{name}/release-tools/cargo-cyclonedx-{}", pinned("CYCLONEDX"));
        let writes = "#!/bin/sh\nprintf '{\"bomFormat\": \"CycloneDX\", \"serialNumber\": \"%s\", \"metadata\": {}}' $$ >obfs-rs.cdx.json\n";
        program(&folder, &format!("{cyclonedx}/bin/cargo-cyclonedx"), writes);
        std::fs::create_dir_all(folder.path().join("dist")).expect("a folder");
        Bench { folder, target, more: Vec::new() }
    }

    /// With this in the environment, too.
    pub fn with(mut self, name: &str, value: &str) -> Bench {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    #[track_caller]
    pub fn release(&self, words: &[&str]) -> Child {
        let mut command = bare(root().join("scripts/release"));
        command.arg("--dist").arg(self.dist()).args(words).env("CARGO_TARGET_DIR", &self.target);
        command.env_remove("SOURCE_DATE_EPOCH").envs(self.more.iter().cloned());
        Child::spawn("scripts/release", command)
    }

    pub fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }

    /// What is there for others.
    pub fn made(&self) -> Vec<String> {
        self.everything().into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    pub fn everything(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dist()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dist().join(name)).expect(name)
    }

    pub fn unpacked(&self, archive: &str) -> PathBuf {
        let to = self.folder.path().join("unpacked");
        std::fs::create_dir_all(&to).expect("a folder");
        let done = Command::new("tar").arg("-xzf").arg(self.dist().join(archive)).arg("-C").arg(&to).status();
        assert!(done.is_ok_and(|status| status.success()), "{archive} is no archive");
        to.join(archive.trim_end_matches(".tar.gz"))
    }

    /// Until the one that waits has begun.
    #[track_caller]
    pub fn wait_for_cargo(&self) {
        assert!(eventually(STEP, || self.folder.path().join("begun").exists()), "it has not begun");
    }
}

/// A version that `scripts/release_lib/tools.py` names.
fn pinned(name: &str) -> String {
    let text = std::fs::read_to_string(root().join("scripts/release_lib/tools.py")).expect("a file");
    let begin = format!("{name} = \"");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin)).expect("a version");
    line.trim_end_matches('"').to_owned()
}

fn program(folder: &TempDir, name: &str, text: &str) {
    let path = folder.write(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a program");
}

/// Writes what cargo would build: some bytes that no disk of 64 KiB can hold, packed or not.
fn builder(cargo: Cargo, folder: &Path) -> String {
    let odd = match cargo {
        Cargo::Builds => String::new(),
        Cargo::FailsFor(begin) => format!("case $triple in {begin}*) exit 101 ;; esac"),
        Cargo::NamesTheFolder => format!("printf ' %s/src/main.rs ' '{}' >>\"$out\"", root().display()),
        Cargo::Waits => format!(": >'{}'\nexec sleep 600", folder.join("begun").display()),
    };
    let bash = peers::path("bash");
    format!(
        r#"#!{bash}
triple= suffix=
while [ $# -gt 0 ]; do
    [ "$1" != --target ] || triple=$2
    shift
done
case $triple in *windows*) suffix=.exe ;; esac
out=$CARGO_TARGET_DIR/$triple/release/obfs-rs$suffix
mkdir -p "${{out%/*}}"
printf '\177ELF %s' "$triple" >"$out"
# (the same each time, and as long as noise when packed)
for at in $(seq 4000); do printf '%s' "$at" | sha256sum; done >>"$out"
{odd}
exit 0
"#,
        bash = bash.display()
    )
}

/// All pages in a folder.
pub fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
    found
}

/// Every link of a page to a file leads to one.
#[track_caller]
pub fn assert_links(page: &Path) {
    let text = std::fs::read_to_string(page).expect("a page");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
        assert!(
            page.with_file_name(target).exists(),
            "{} leads to {target}, which is not there",
            page.display()
        );
    }
}
