//! How the packages are made: the same each time, and whole or not at all.

use super::{entries, package, packager, unpacked};
use crate::support::child::{Child, Exit};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{netns, peers, secs, within};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const EPOCH: &str = "1700000000";

#[track_caller]
fn ends(command: Command) -> (Exit, String) {
    let child = Child::spawn("scripts/release_lib/deb", command);
    (child.wait_exit(secs(100)), child.show_log())
}

#[track_caller]
fn programs_of_a_package() -> (TempDir, std::path::PathBuf) {
    let dir = unpacked(&package("obfs-rs", "amd64"));
    let program = dir.path().join("usr/bin/obfs-rs");
    (dir, program)
}

/// By root and by a user, with another mask, time zone, language and folder: byte for byte.
#[test]
fn two_builds_are_equal() {
    within(secs(200), || {
        let ((_dir, program), first, second) =
            (programs_of_a_package(), TempDir::new("a"), TempDir::new("another"));
        let second_folder = second.path().join("deeper/folder");
        let mut by_root = packager(&program, first.path());
        by_root.env("SOURCE_DATE_EPOCH", EPOCH).env("TZ", "Asia/Tokyo");
        let mut by_a_user = bare(peers::path("unshare"));
        let inner = packager(&program, &second_folder);
        by_a_user.args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "sh",
            "-c",
            "umask 077; exec \"$@\"",
            "sh",
        ]);
        by_a_user.arg(inner.get_program()).args(inner.get_args()).env("SOURCE_DATE_EPOCH", EPOCH);
        for command in [by_root, by_a_user] {
            let (exit, log) = ends(command);
            assert_eq!(exit, Exit::Code(0), "{log}");
        }
        let (one, other) = (entries(first.path()), entries(&second_folder));
        assert_eq!(one.len(), 2, "{one:?}");
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one.file_name(), other.file_name());
            let [one, other] = [one, other].map(|file| std::fs::read(file).expect("a package"));
            crate::support::assert_same("the second build", &other, &one);
        }
    });
}

#[test]
fn what_is_wrong_is_told_before_anything_is_written() {
    within(secs(60), || {
        let ((dir, program), out) = (programs_of_a_package(), TempDir::new("out"));
        let folder = out.path().join("none");
        let mut wrong_words = packager(&program, &folder);
        wrong_words.arg("and more");
        let absent = packager(Path::new("/nowhere/obfs-rs"), &folder);
        let no_program =
            packager(&dir.write("text", "no program at all, but longer than a head is"), &folder);
        let mut of_another_processor = bare(wrong_words.get_program().into());
        of_another_processor.arg("arm64").arg(&program).arg(&folder);
        let mut unknown = bare(wrong_words.get_program().into());
        unknown.arg("m68k").arg(&program).arg(&folder);
        // All that it needs before it looks for its tools, and one of them.
        for name in ["bash", "env", "realpath", "dpkg-deb"] {
            symlink(peers::path(name), dir.path().join(name)).expect("a link");
        }
        let mut without_tools = packager(&program, &folder);
        without_tools.env("PATH", dir.path());
        let mut odd_time = packager(&program, &folder);
        odd_time.env("SOURCE_DATE_EPOCH", "yesterday");
        for (command, words) in [
            (wrong_words, "usage: "),
            (absent, "is not there"),
            (no_program, "no program"),
            (of_another_processor, "is not for arm64"),
            (unknown, "m68k is not an architecture"),
            (without_tools, "objdump is missing (Debian package binutils)"),
            (odd_time, "SOURCE_DATE_EPOCH"),
        ] {
            let (exit, log) = ends(command);
            assert_eq!(exit, Exit::Code(2), "{words}: {log}");
            assert!(log.contains(words), "{words}: {log}");
            assert!(!folder.exists(), "{words}");
        }
    });
}

#[test]
fn a_full_disk_leaves_nothing_that_looks_whole() {
    netns::alone(secs(120), || {
        let ((_dir, program), out) = (programs_of_a_package(), TempDir::new("out"));
        let folder = out.path().display().to_string();
        // Less than the program has, and then less than the package beside it.
        let program_kib = std::fs::metadata(&program).expect("the program").len() / 1024;
        for kib in [program_kib / 2, program_kib + 1024] {
            netns::run("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs", &folder]);
            let (exit, log) = ends(packager(&program, out.path()));
            assert_ne!(exit, Exit::Code(0), "{log}");
            assert!(log.contains("No space left on device"), "{log}");
            assert!(entries(out.path()).is_empty(), "{:?}", entries(out.path()));
            netns::run("umount", &[&folder]);
        }
    });
}
