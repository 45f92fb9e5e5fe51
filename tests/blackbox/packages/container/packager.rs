//! `scripts/release_lib/image`: the same files make the same archive, and what cannot be made leaves nothing.

use super::{dist, obfs_rs};
use crate::support::child::{Child, Exit};
use crate::support::peers::{self, need};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{netns, secs};
use std::path::{Path, PathBuf};

/// Runs the script, which may find only these programs where `path` is given.
fn package(outdir: &Path, words: &[String], path: Option<&Path>) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release_lib/image");
    let mut command = bare(peers::path("bash"));
    command.arg(script).arg(outdir).args(words).env("SOURCE_DATE_EPOCH", "1700000000").env("LC_ALL", "C");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    Child::spawn("scripts/release_lib/image", command)
}

/// A static program: the one of this machine's image.
fn program(dir: &TempDir) -> PathBuf {
    let archive = obfs_rs();
    let root = archive.unpack(archive.native());
    let program = std::fs::read(root.path().join("usr/local/bin/obfs-rs")).expect("a program");
    dir.write("obfs-rs", program)
}

/// Everything in a folder, hidden files included.
fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn two_runs_make_the_same_archives() {
    netns::alone(secs(180), || {
        need!("buildah", "readelf", "tar");
        let dir = TempDir::new("packager");
        let program = program(&dir).display().to_string();
        let architecture = obfs_rs().native().architecture.clone();
        let words = [format!("{architecture}={program}"), format!("ssserver:{architecture}={program}")];
        let [first, second] = ["first", "a/second"].map(|name| {
            let outdir = dir.path().join(name);
            let run = package(&outdir, &words, None);
            assert_eq!(run.wait_exit(secs(80)), Exit::Code(0), "{}", run.show_log());
            outdir
        });
        assert_eq!(entries(&first).len(), 2, "{:?}", entries(&first));
        assert_eq!(entries(&first), entries(&second));
        for name in entries(&first) {
            let [first, second] =
                [&first, &second].map(|dir| std::fs::read(dir.join(&name)).expect("an archive"));
            crate::support::assert_same(&name, &first, &second);
        }
    });
}

/// Each is named, and nothing is written: no archive, no folder of half an archive.
#[test]
fn what_cannot_be_packaged_is_named() {
    netns::alone(secs(120), || {
        need!("buildah", "readelf", "tar");
        let dir = TempDir::new("packager");
        let program = program(&dir).display().to_string();
        let dynamic = std::fs::read("/proc/self/exe").expect("this test's own program");
        let dynamic = dir.write("dynamic", dynamic).display().to_string();
        let text = dir.write("text", "no program").display().to_string();
        let architecture = &obfs_rs().native().architecture.clone();
        let other = if architecture == "arm64" { "amd64" } else { "arm64" };
        let outdir = dir.path().join("out");
        let cases = [
            (format!("sparc={program}"), "unknown architecture sparc"),
            (format!("{other}={program}"), "not for"),
            (format!("{architecture}={dynamic}"), "shared libraries"),
            (format!("{architecture}={text}"), "no program"),
            (format!("{architecture}={text}s"), "is no file"),
            (format!("ssserver:{architecture}={program}"), "no obfs-rs"),
            (program.clone(), "wanted ARCH=BINARY"),
        ];
        for (word, message) in cases {
            let run = package(&outdir, std::slice::from_ref(&word), None);
            assert_eq!(run.wait_exit(secs(20)), Exit::Code(2), "{word}: {}", run.show_log());
            run.wait_text(message);
            assert!(entries(&outdir).is_empty(), "{word}: {:?}", entries(&outdir));
        }
        // A machine without buildah: the Debian package is named.
        let tools = dir.path().join("tools");
        std::fs::create_dir(&tools).expect("a folder");
        for tool in ["bash", "readelf", "tar", "dirname", "sed", "git", "id"] {
            std::os::unix::fs::symlink(peers::path(tool), tools.join(tool)).expect("a link");
        }
        // (what stands in daemons' folders is covered by an empty one)
        for folder in ["/usr/sbin", "/sbin"] {
            netns::run("mount", &["-t", "tmpfs", "tmpfs", folder]);
        }
        let run = package(&outdir, &[format!("{architecture}={program}")], Some(&tools));
        assert_eq!(run.wait_exit(secs(20)), Exit::Code(2), "{}", run.show_log());
        run.wait_text("buildah is missing (Debian package buildah)");
        assert!(entries(&outdir).is_empty());
    });
}

/// A disk that has too little room: no file looks whole.
#[test]
fn a_full_disk_leaves_no_archive() {
    netns::alone(secs(120), || {
        need!("buildah", "readelf", "tar");
        let dir = TempDir::new("packager");
        let program = program(&dir).display().to_string();
        let architecture = obfs_rs().native().architecture.clone();
        let outdir = dir.path().join("out");
        std::fs::create_dir(&outdir).expect("a folder");
        // With room for the program itself, and for less than all of its copies.
        let size = std::fs::metadata(&program).expect("a program").len() * 3 / 2;
        let size = format!("size={size},mode=755");
        netns::run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &outdir.display().to_string()]);
        let run = package(&outdir, &[format!("{architecture}={program}")], None);
        assert_ne!(run.wait_exit(secs(60)), Exit::Code(0), "{}", run.show_log());
        assert!(entries(&outdir).is_empty(), "{:?}", entries(&outdir));
        netns::run("umount", &[&outdir.display().to_string()]);
        assert!(dist().is_dir());
    });
}
