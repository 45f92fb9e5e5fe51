//! Tells the program what it is: for which target it is built, and from which commit.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    // A program for Windows has this time in it.
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OBFS_RS_COMMIT");
    let target = env::var("TARGET").expect("cargo says the target");
    println!("cargo:rustc-env=OBFS_RS_TARGET={target}");
    let commit = match env::var("OBFS_RS_COMMIT") {
        Ok(commit) => Some(commit),
        // One for tests would be built anew with each commit.
        Err(_) if env::var("PROFILE").is_ok_and(|profile| profile == "release") => {
            of_checkout().or_else(of_crate)
        }
        Err(_) => None,
    };
    // (of a name of its own: what the environment has is seen by the compiler, too)
    if let Some(commit) = commit.filter(|commit| is_plain(commit)) {
        println!("cargo:rustc-env=OBFS_RS_BUILT_COMMIT={commit}");
    }
}

/// The commit of the repository whose top this folder is: a folder inside somebody's other repository is not of theirs.
fn of_checkout() -> Option<String> {
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(here).ok()? {
        return None;
    }
    // Written with each commit, checkout and reset.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The commit that cargo took down when it packed the crate.
fn of_crate() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    Some(rest.split('"').nth(1)?.chars().take(12).collect())
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// It becomes a line of what cargo reads, and of what `--version` prints.
fn is_plain(commit: &str) -> bool {
    !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || "-+._".contains(c))
}
