//! Debian's packages: what is in them (`files`), how they are made (`made`), apt with them beside simple-obfs (`swap`), and
//! their services on a machine with systemd (`services`).

use super::dist;
use crate::support::child::{Child, Exit};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{peers, secs};
use std::path::{Path, PathBuf};

mod files;
mod made;
mod root;
mod services;
mod swap;

/// The packages with this name, `obfs-rs_*_amd64.deb`: exactly one.
#[track_caller]
fn package(name: &str, arch: &str) -> PathBuf {
    let (start, end) = (format!("{name}_"), format!("_{arch}.deb"));
    let is_it = |path: &PathBuf| {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        file.starts_with(&start) && file.ends_with(&end)
    };
    let mut found: Vec<_> = entries(&dist()).into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{start}…{end}: {found:?}");
    found.remove(0)
}

#[track_caller]
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Those for the machine that runs the tests.
#[track_caller]
fn ours() -> Vec<PathBuf> {
    vec![package("obfs-rs", "amd64"), package("obfs-rs-drop-in", "all")]
}

/// Runs a program that ends well: what it wrote.
#[track_caller]
fn does(program: &str, words: &[&str]) -> String {
    let mut command = bare(peers::path(program));
    command.args(words);
    let child = Child::spawn(program, command);
    assert_eq!(child.wait_exit(secs(60)), Exit::Code(0), "{words:?}: {}", child.show_log());
    child.lines().join("\n")
}

/// Unpacks a package.
#[track_caller]
fn unpacked(package: &Path) -> TempDir {
    let dir = TempDir::new("unpacked");
    does("dpkg-deb", &["-x", &package.display().to_string(), &dir.path().display().to_string()]);
    dir
}

/// What `dpkg-deb --field` says.
#[track_caller]
fn field(package: &Path, name: &str) -> String {
    does("dpkg-deb", &["--field", &package.display().to_string(), name]).trim().to_owned()
}

/// `scripts/release_lib/deb` for the program in a package.
fn packager(binary: &Path, into: &Path) -> std::process::Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release_lib/deb");
    let mut command = bare(script);
    command.arg("amd64").arg(binary).arg(into);
    command
}
