//! `scripts/release_lib/apk`: the same files make the same package, and what cannot be made leaves nothing.

use super::apk::{Apk, LIBRARIES, run};
use crate::support::child::{Child, Exit};
use crate::support::peers::{self, need};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{assert_same, secs, within};
use std::path::Path;
use std::process::Command;

const PASSWORD: &str = "a password";

fn packager(outdir: &Path, words: &[String]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release_lib/apk");
    let mut command = bare(peers::path("bash"));
    command.arg(script).arg(outdir).args(words);
    for name in ["OBFS_RS_KEYSTORE", "OBFS_RS_KEYSTORE_PASS", "OBFS_RS_KEY_ALIAS"] {
        command.env_remove(name);
    }
    command
}

/// The programs of the release, as words for the script.
fn words(folder: &TempDir) -> Vec<String> {
    let apk = Apk::of_release();
    let word = |library: super::apk::Library| {
        let file = folder.write(library.abi, apk.read(&library.path()));
        format!("{}={}", library.abi, file.display())
    };
    LIBRARIES.map(word).to_vec()
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn two_runs_with_one_key_make_the_same_file() {
    within(secs(180), || {
        need!("aapt", "apksigner", "keytool", "readelf", "unzip", "zipalign");
        let folder = TempDir::new("apk");
        let words = words(&folder);
        let keystore = folder.path().join("keystore");
        let keystore = keystore.to_str().expect("a name");
        run(
            "keytool",
            &[
                &["-genkeypair", "-keystore", keystore, "-storetype", "PKCS12", "-storepass", PASSWORD][..],
                &[
                    "-alias",
                    "own",
                    "-keyalg",
                    "RSA",
                    "-keysize",
                    "2048",
                    "-dname",
                    "CN=own",
                    "-validity",
                    "2",
                ],
            ]
            .concat(),
        );
        let name = format!("obfs-rs-android-v{}.apk", env!("CARGO_PKG_VERSION"));
        let [first, second] = ["first", "a/second"].map(|place| {
            let outdir = folder.path().join(place);
            let mut command = packager(&outdir, &words);
            command.env("OBFS_RS_KEYSTORE", keystore).env("OBFS_RS_KEYSTORE_PASS", PASSWORD);
            command.env("OBFS_RS_KEY_ALIAS", "own");
            let packager = Child::spawn("scripts/release_lib/apk", command);
            assert_eq!(packager.wait_exit(secs(80)), Exit::Code(0), "{}", packager.show_log());
            assert_eq!(entries(&outdir), [&*name]);
            std::fs::read(outdir.join(&name)).expect("an APK")
        });
        assert_same("the APK", &first, &second);
    });
}

#[test]
fn without_a_key_the_name_says_so() {
    within(secs(120), || {
        need!("aapt", "apksigner", "keytool", "readelf", "unzip", "zipalign");
        let folder = TempDir::new("apk");
        let outdir = folder.path().join("out");
        let packager = Child::spawn("scripts/release_lib/apk", packager(&outdir, &words(&folder)));
        assert_eq!(packager.wait_exit(secs(80)), Exit::Code(0), "{}", packager.show_log());
        let name = format!("obfs-rs-android-v{}-test-key-do-not-publish.apk", env!("CARGO_PKG_VERSION"));
        assert_eq!(entries(&outdir), [name]);
    });
}

/// Each is named, and nothing is written.
#[test]
fn what_cannot_be_packaged_is_named() {
    within(secs(120), || {
        need!("aapt", "apksigner", "keytool", "readelf", "unzip", "zipalign");
        let folder = TempDir::new("apk");
        let words = words(&folder);
        let [arm64, arm] = [&words[0], &words[1]];
        let of_arm = arm.split_once('=').expect("a word").1;
        let own = std::fs::read("/proc/self/exe").expect("this test's own program");
        let own = folder.write("own", own).display().to_string();
        let text = folder.write("text", "no program").display().to_string();
        let outdir = folder.path().join("out");
        let interpreted = if cfg!(target_arch = "x86_64") { "x86_64" } else { "arm64-v8a" };
        for (words, said) in [
            (vec![], "usage:"),
            (vec![format!("mips={of_arm}")], "mips is no ABI"),
            (vec![format!("arm64-v8a={of_arm}")], "is not for arm64-v8a"),
            (vec![format!("{interpreted}={own}")], "wants an interpreter"),
            (vec![format!("arm64-v8a={text}")], "is no program"),
            (vec!["arm64-v8a=/no/such/file".to_owned()], "there is no such file"),
            (vec![arm64.clone(), arm64.clone()], "arm64-v8a is given twice"),
        ] {
            let packager = Child::spawn("scripts/release_lib/apk", packager(&outdir, &words));
            assert_eq!(packager.wait_exit(secs(20)), Exit::Code(2), "{words:?}: {}", packager.show_log());
            packager.wait_line(said, |line| line.contains(said));
            assert!(!outdir.exists(), "{words:?}: {:?}", entries(&outdir));
        }
        for (name, value, said) in [
            ("OBFS_RS_KEYSTORE", "/no/such/file", "OBFS_RS_KEYSTORE names no file that is there"),
            ("OBFS_RS_KEYSTORE", text.as_str(), "OBFS_RS_KEYSTORE_PASS is not set"),
            ("OBFS_RS_ANDROID_FRAMEWORK", "/no/such/file", "(Debian package android-framework-res)"),
            ("PATH", &few_tools(&folder), "aapt (Debian package aapt), zipalign (Debian package zipalign)"),
        ] {
            let mut command = packager(&outdir, &words);
            command.env(name, value);
            let packager = Child::spawn("scripts/release_lib/apk", command);
            assert_eq!(packager.wait_exit(secs(20)), Exit::Code(2), "{name}: {}", packager.show_log());
            packager.wait_line(said, |line| line.contains(said));
            assert!(!outdir.exists(), "{name}: {:?}", entries(&outdir));
        }
    });
}

/// A folder with hardly any programs, for PATH.
fn few_tools(folder: &TempDir) -> String {
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).expect("a folder");
    for name in ["dirname", "sed"] {
        std::os::unix::fs::symlink(peers::path(name), tools.join(name)).expect("a link");
    }
    tools.display().to_string()
}
