//! `scripts/fuzz` itself: its exit codes, without a fuzzer.

use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fuzz");

/// How it ends, what it prints and what it says, where nothing can be built.
fn fuzz(words: &[&str]) -> (Option<i32>, String, String) {
    let tools = TempDir::new("fuzz");
    for (name, code) in [("cargo", 3), ("cargo-fuzz", 0), ("c++", 0)] {
        let file = tools.path().join(name);
        fs::write(&file, format!("#!/bin/sh\nexit {code}\n")).expect("write a tool");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("make it a program");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = bare(SCRIPT.into());
    command.args(words).env("PATH", format!("{}:{path}", tools.path().display()));
    let output = command.output().expect("run it");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_is_missing_is_no_finding() {
    for (words, told) in [
        (&["--minutes", "1", "framing"][..], "the fuzz targets do not build"),
        (&[""], "there is no target ``; there are answers "),
        (&["framing", "nobody"], "there is no target `nobody`"),
        (&["framing mux"], "there is no target `framing mux`"),
        (&["--run", "", "file"], "there is no target ``"),
        (&["--run", "framing", ""], "Runs the fuzz targets"),
        (&["--run", "framing", "/nope"], "cannot read /nope"),
        (&["--minutes", ""], "--minutes: expected a whole number from 1, not ``"),
        (&["--minutes", "0"], "--minutes: expected a whole number from 1, not `0`"),
        (&["--jobs", "some"], "--jobs: expected a whole number from 1, or all, not `some`"),
        (&["--hours", "1"], "there is no option --hours; scripts/fuzz --help"),
    ] {
        let (code, printed, said) = fuzz(words);
        assert_eq!(printed, "", "{words:?}");
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
}

#[test]
fn help_is_what_was_asked_for() {
    for word in ["--help", "-h"] {
        let (code, printed, said) = fuzz(&[word]);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{word}: {printed}");
        for told in ["Runs the fuzz targets", "130 and 143 interrupted", "targets:\n", " framing "] {
            assert!(printed.contains(told), "{word}: no `{told}` in {printed}");
        }
    }
}
