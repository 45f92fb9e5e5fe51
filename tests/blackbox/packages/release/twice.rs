//! The same commit, built in another folder, with another home of Cargo's.

use super::made_up::root;
use crate::packages::dist;
use crate::support::child::{Child, Exit};
use crate::support::peers;
use crate::support::plugin::bare;
use crate::support::secs;
use crate::support::tempdir::TempDir;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The smallest program is built fastest.
const TARGET: &str = "linux-mipsle";

/// What a program prints; it has to end well.
#[track_caller]
fn run(program: &str, words: &[&str], folder: &Path) -> String {
    let output =
        Command::new(peers::path(program)).args(words).current_dir(folder).output().expect("a program");
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one of `OBFS_RS_DIST`, and one more.
pub fn make_and_compare() {
    let name = format!("obfs-rs-small-{TARGET}-v{}.tar.gz", env!("CARGO_PKG_VERSION"));
    let first =
        std::fs::read(dist().join(&name)).expect("scripts/test --platforms small-linux-mipsle makes it");
    let changed = run("git", &["status", "--porcelain", "--untracked-files=no"], root());
    assert_eq!(changed, "", "what is not committed is in one of the two alone");

    let folder = TempDir::new("elsewhere");
    let clone = folder.path().join("another/name/of-the-folder");
    let whole = |path: &Path| path.to_str().expect("a path of Unicode").to_owned();
    run("git", &["clone", "--quiet", "--no-hardlinks", &whole(root()), &whole(&clone)], folder.path());
    // Crates and tools are the same; the names by which they are reached are not.
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cargo"));
    symlink(home, folder.path().join("cargo-home")).expect("a link");
    let target = folder.path().join("built");
    std::fs::create_dir_all(&target).expect("a folder");
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    symlink(built.join("release-tools"), target.join("release-tools")).expect("a link");

    let second = folder.path().join("dist");
    let mut command = bare(clone.join("scripts/release"));
    command.args(["--small", "--dist"]).arg(&second);
    if std::env::var_os("OBFS_RS_QUICK").is_some() {
        command.arg("--quick");
    }
    command.arg(TARGET);
    command.env("CARGO_TARGET_DIR", &target).env("CARGO_HOME", folder.path().join("cargo-home"));
    let child = Child::spawn("scripts/release", command);
    assert_eq!(child.wait_exit(secs(1100)), Exit::Code(0), "{}", child.show_log());
    let second = std::fs::read(second.join(&name)).expect("an archive");
    assert!(first == second, "{name} is another one when it is built in another folder");
    // What was compiled for the commit before it is kept, and tells that one's time.
    let format = ["--format=%cd", "--date=format-local:%Y-%m-%d %H:%M:%S"];
    let dated = run("env", &["TZ=UTC", "git", "log", "-1", format[0], format[1]], root());
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).expect("a folder");
    run("tar", &["-xzf", &whole(&folder.path().join("dist").join(&name)), "--strip-components=1"], &unpacked);
    let program = std::fs::read(unpacked.join("obfs-rs")).expect("a program");
    for told in dated.split_whitespace() {
        assert!(
            program.windows(told.len()).any(|bytes| bytes == told.as_bytes()),
            "the C of a dependency was not told the commit's time, {dated}"
        );
    }
}
