//! `scripts/release`: what it says of what it cannot make, and that a file of it is whole and true or is not there.

mod made_up;
mod twice;

use crate::support::child::Exit;
use crate::support::peers::need;
use crate::support::tempdir::TempDir;
use crate::support::{netns, secs, within};
use made_up::{Bench, Cargo};
use rustix::process::Signal;

const QUICKLY: std::time::Duration = std::time::Duration::from_secs(120);

/// Refused before anything is made, with these words.
#[track_caller]
fn refused(bench: &Bench, words: &[&str], told: &[&str]) {
    let run = bench.release(words);
    assert_eq!(run.wait_exit(QUICKLY), Exit::Code(2), "{words:?}: {}", run.show_log());
    let log = run.show_log();
    for text in told {
        assert!(log.contains(text), "{words:?}: no {text:?} in {log}");
    }
    assert!(!log.contains("Traceback"), "{log}");
    assert_eq!(bench.made(), [""; 0], "{words:?}");
}

#[test]
fn what_there_is_not_is_named() {
    within(secs(300), || {
        let bench = Bench::new(Cargo::Builds);
        refused(&bench, &["linux-m68k"], &["linux-m68k", "linux-mipsle", "apk"]);
        refused(&bench, &["--small", "deb"], &["deb", "no small one"]);
        refused(&bench, &["darwin-arm64"], &["darwin-arm64", "macOS"]);
        for time in ["yesterday", "99999999999", "-1"] {
            let bench = Bench::new(Cargo::Builds).with("SOURCE_DATE_EPOCH", time);
            refused(&bench, &["linux-386"], &["SOURCE_DATE_EPOCH", time]);
        }
    });
}

#[test]
fn a_folder_with_a_space_is_refused() {
    within(secs(120), || {
        let bench = Bench::in_folder("a folder", Cargo::Builds);
        refused(&bench, &["linux-386"], &["a folder", "space"]);
    });
}

#[test]
fn what_is_made_is_whole_and_has_a_sum() {
    within(secs(300), || {
        let bench = Bench::new(Cargo::Builds);
        let run = bench.release(&["linux-386", "windows-amd64"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(0), "{}", run.show_log());
        let version = env!("CARGO_PKG_VERSION");
        let archives =
            [format!("obfs-rs-linux-386-v{version}.tar.gz"), format!("obfs-rs-windows-amd64-v{version}.zip")];
        assert_eq!(bench.made(), ["SHA256SUMS", &archives[0], &archives[1]]);
        netns::run(
            "sh",
            &["-c", &format!("cd {} && sha256sum --check --strict SHA256SUMS", bench.dist().display())],
        );
        // Every page of the project that a page in the archive leads to is in it.
        let folder = bench.unpacked(&archives[0]);
        let pages = made_up::pages(&folder);
        assert!(pages.len() > 10, "{pages:?}");
        for page in pages {
            made_up::assert_links(&page);
        }
        // A second one makes the same, and a file that is not of this version is told.
        std::fs::write(bench.dist().join("obfs-rs-linux-386-v0.0.1.tar.gz"), "of before").expect("a file");
        let before = bench.content(&archives[0]);
        let run = bench.release(&["linux-386"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(0), "{}", run.show_log());
        assert!(bench.content(&archives[0]) == before, "two runs differ");
        run.wait_text("obfs-rs-linux-386-v0.0.1.tar.gz is not of this version");
        // What was made of another commit does not stand beside this one's.
        std::fs::write(bench.dist().join(".commit"), "another").expect("a file");
        let run = bench.release(&["linux-386"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(0), "{}", run.show_log());
        assert_eq!(bench.made(), ["SHA256SUMS", "obfs-rs-linux-386-v0.0.1.tar.gz", &archives[0]]);
    });
}

#[test]
fn what_cannot_be_built_leaves_what_was_made_before() {
    within(secs(300), || {
        let bench = Bench::new(Cargo::FailsFor("mipsel"));
        let run = bench.release(&["linux-386"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(0), "{}", run.show_log());
        let run = bench.release(&["linux-386", "linux-mipsle"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(2), "{}", run.show_log());
        run.wait_text("linux-mipsle: cargo could not build it");
        assert_eq!(bench.made().len(), 2, "{:?}", bench.made());
        netns::run(
            "sh",
            &["-c", &format!("cd {} && sha256sum --check --strict SHA256SUMS", bench.dist().display())],
        );
    });
}

#[test]
fn settings_of_cargo_that_change_what_is_built_are_refused() {
    within(secs(120), || {
        let home = TempDir::new("cargo-home");
        home.write("config.toml", "[profile.release]\nopt-level = 0\n");
        let bench = Bench::new(Cargo::Builds).with("CARGO_HOME", &home.path().display().to_string());
        refused(&bench, &["linux-386"], &["config.toml", "[profile]"]);
    });
}

#[test]
fn a_key_that_is_not_there_is_told_first() {
    within(secs(120), || {
        let bench = Bench::new(Cargo::Builds).with("OBFS_RS_KEYSTORE", "a secret in the place of a name");
        let run = bench.release(&["apk"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(2), "{}", run.show_log());
        assert!(!run.show_log().contains("a secret"), "{}", run.show_log());
        assert_eq!(bench.made(), [""; 0]);
    });
}

#[test]
fn a_program_that_names_the_builders_folders_is_not_made_into_a_file() {
    within(secs(120), || {
        let bench = Bench::new(Cargo::NamesTheFolder);
        refused(&bench, &["linux-386"], &["names a folder of this machine"]);
    });
}

#[test]
fn a_full_disk_leaves_nothing_that_looks_whole() {
    netns::alone(secs(300), || {
        let bench = Bench::new(Cargo::Builds);
        netns::run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", &bench.dist().display().to_string()]);
        let run = bench.release(&["linux-386"]);
        assert_eq!(run.wait_exit(QUICKLY), Exit::Code(1), "{}", run.show_log());
        run.wait_text("No space left on device");
        assert!(!run.show_log().contains("Traceback"), "{}", run.show_log());
        assert!(bench.made().iter().all(|name| name == "SHA256SUMS"), "{:?}", bench.made());
    });
}

#[test]
fn one_run_at_a_time_and_one_that_is_ended_leaves_nothing() {
    within(secs(300), || {
        let bench = Bench::new(Cargo::Waits);
        let first = bench.release(&["linux-386"]);
        first.wait_text("building for i686-unknown-linux-musl");
        bench.wait_for_cargo();
        let second = bench.release(&["linux-386"]);
        assert_eq!(second.wait_exit(QUICKLY), Exit::Code(2), "{}", second.show_log());
        second.wait_text("another run makes files in");
        first.signal(Signal::TERM);
        assert_eq!(first.wait_exit(QUICKLY), Exit::Code(143), "{}", first.show_log());
        assert_eq!(bench.everything(), [".commit", ".lock"]);
    });
}

#[test]
fn two_builds_in_two_folders_are_equal() {
    within(secs(1200), || {
        need!("git", "tar");
        twice::make_and_compare();
    });
}
