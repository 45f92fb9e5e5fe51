//! What is in the packages.

use super::{does, entries, field, package, packager, unpacked};
use crate::support::child::{Child, Exit};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{peers, secs, within};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All of them, whatever the processor.
#[track_caller]
fn all() -> Vec<PathBuf> {
    let is_package = |path: &PathBuf| path.extension().is_some_and(|it| it == "deb");
    let all: Vec<_> = entries(&super::dist()).into_iter().filter(is_package).collect();
    assert!(all.len() >= 2, "{all:?}");
    all
}

/// The files and links, as `dpkg-deb` lists them, and that they are root's and no one else may write to them.
#[track_caller]
fn contents(package: &Path) -> BTreeSet<String> {
    let listed = does("dpkg-deb", &["--contents", &package.display().to_string()]);
    let path = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "root/root", "{line}");
        assert!(matches!(words[0], "drwxr-xr-x" | "-rw-r--r--" | "-rwxr-xr-x" | "lrwxrwxrwx"), "{line}");
        words[5..].join(" ").trim_start_matches('.').to_owned()
    };
    listed.lines().map(path).filter(|path| !path.ends_with('/')).collect()
}

#[test]
fn the_program_comes_with_its_manual_units_and_examples() {
    within(secs(60), || {
        let package = package("obfs-rs", "amd64");
        let contents = contents(&package);
        for path in [
            "/usr/bin/obfs-rs",
            "/usr/lib/systemd/system/obfs-rs-server@.service",
            "/usr/lib/systemd/system/obfs-rs-server@.socket",
            "/usr/lib/systemd/system/obfs-rs-client@.service",
            "/usr/share/bash-completion/completions/obfs-rs",
            "/usr/share/zsh/vendor-completions/_obfs-rs",
            "/usr/share/fish/vendor_completions.d/obfs-rs.fish",
            "/usr/share/doc/obfs-rs/changelog.gz",
            "/usr/share/doc/obfs-rs/copyright",
            "/usr/share/doc/obfs-rs/examples/systemd/server.json",
            "/usr/share/doc/obfs-rs/examples/shadowsocks/client.json",
        ] {
            assert!(contents.contains(path), "{path}: {contents:?}");
        }
        assert!(contents.iter().all(|path| path.starts_with("/usr/")), "{contents:?}");

        let dir = unpacked(&package);
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).expect(path);
        // Every manual page of the program, and not those of the other package.
        let pages = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man"));
        let pages: Vec<_> =
            pages.iter().map(|page| page.file_name().expect("a name").to_string_lossy()).collect();
        assert!(pages.len() > 5, "{pages:?}");
        for page in pages {
            let has = contents.contains(&format!("/usr/share/man/man1/{page}.gz"));
            assert_eq!(has, page.starts_with("obfs-rs"), "{page}");
        }
        for unit in ["obfs-rs-server@.service", "obfs-rs-client@.service", "obfs-rs-server@.socket"] {
            let unit = read(&format!("usr/lib/systemd/system/{unit}"));
            assert!(!unit.contains("/usr/local") && !unit.contains("groupadd"), "{unit}");
            assert!(!unit.contains("/etc/systemd/system"), "{unit}");
            assert!(
                unit.contains(".socket") || unit.contains("[Socket]") || unit.contains("=/usr/bin/obfs-rs "),
                "{unit}"
            );
        }
        // Whoever follows the words at its top has a file to copy.
        let steps = read("usr/lib/systemd/system/obfs-rs-server@.service");
        assert!(
            steps.contains("/usr/share/doc/obfs-rs/examples/systemd/server.json /etc/obfs-rs/server.json"),
            "{steps}"
        );
        let copyright = read("usr/share/doc/obfs-rs/copyright");
        assert!(
            copyright.contains("Permission is hereby granted") && copyright.contains("Apache-2.0"),
            "{copyright}"
        );
        assert!(!copyright.contains('@'), "{copyright}");
    });
}

#[test]
fn the_drop_in_is_links_alone() {
    within(secs(60), || {
        let package = package("obfs-rs-drop-in", "all");
        let contents = contents(&package);
        for name in ["obfs-local", "obfs-server", "v2ray-plugin", "xray-plugin"] {
            assert!(contents.contains(&format!("/usr/bin/{name} -> obfs-rs")), "{contents:?}");
            let page = format!("/usr/share/man/man1/{name}.1.gz");
            assert!(contents.iter().any(|path| path.starts_with(&page)), "{contents:?}");
        }
        // The file of Debian's v2ray-plugin.
        assert!(!contents.iter().any(|path| path.starts_with("/usr/bin/ss-")), "{contents:?}");
        for name in ["Provides", "Conflicts", "Replaces"] {
            assert_eq!(field(&package, name), "simple-obfs");
        }
        assert_eq!(field(&package, "Depends"), format!("obfs-rs (= {})", field(&package, "Version")));
    });
}

/// The libraries are those that Debian's own tool finds, where it can: on the processor that it runs on.
#[test]
fn the_libraries_that_it_wants_are_depended_on() {
    within(secs(60), || {
        let package = package("obfs-rs", "amd64");
        let dir = unpacked(&package);
        dir.write("debian/control", "Source: obfs-rs\n\nPackage: obfs-rs\nArchitecture: any\n");
        let mut shlibdeps = bare(peers::path("dpkg-shlibdeps"));
        shlibdeps.args(["-O", "usr/bin/obfs-rs"]).current_dir(dir.path());
        let shlibdeps = Child::spawn("dpkg-shlibdeps", shlibdeps);
        assert_eq!(shlibdeps.wait_exit(secs(30)), Exit::Code(0), "{}", shlibdeps.show_log());
        let found = shlibdeps.wait_text("shlibs:Depends=");
        let found = found.trim_start_matches("shlibs:Depends=");
        assert!(found.contains("libc6 (>= "), "{found}");
        let depends = field(&package, "Depends");
        assert_eq!(depends.strip_prefix(found), Some(", libcap2-bin, passwd"), "{depends}");
    });
}

/// Of every package, also of one for another processor.
#[test]
fn each_package_is_for_its_processor_and_lintian_has_no_complaint() {
    within(secs(150), || {
        let mut processors = 0;
        for package in all() {
            let arch = field(&package, "Architecture");
            if arch != "all" {
                processors += 1;
                let program =
                    std::fs::read(unpacked(&package).path().join("usr/bin/obfs-rs")).expect("the program");
                let machine = match arch.as_str() {
                    "amd64" => 62,
                    "arm64" => 183,
                    other => panic!("{other}: no such package is made"),
                };
                assert_eq!(program[18..20], [machine, 0], "{}", package.display());
                let depends = field(&package, "Depends");
                // (What zig links has the unwinder in it, and does not want libgcc-s1.)
                assert!(depends.starts_with("libc6 (>= 2."), "{depends}");
            }
            let file = package.display().to_string();
            let said = does("lintian", &["--allow-root", "--fail-on", "error,warning", &file]);
            assert_eq!(said.trim(), "", "{file}");
        }
        assert!(processors > 0);
    });
}

/// As the packages have them: their sandbox leaves little.
#[test]
fn the_packaged_units_are_confined() {
    within(secs(60), || {
        let dir = unpacked(&package("obfs-rs", "amd64"));
        for name in ["obfs-rs-server@", "obfs-rs-client@"] {
            let unit = dir.path().join(format!("usr/lib/systemd/system/{name}.service"));
            let instance = dir.path().join(format!("{name}server.service"));
            std::fs::copy(unit, &instance).expect("a unit");
            // In tenths: below 2.0.
            let words = ["security", "--no-pager", "--offline=true", "--threshold=19"];
            let said =
                does("systemd-analyze", &[words.as_slice(), &[&instance.display().to_string()]].concat());
            assert!(said.contains("Overall exposure level"), "{said}");
        }
    });
}

/// The licences of the crates, where there are some, and who answers for the packages.
#[test]
fn licences_and_a_maintainer_are_taken() {
    within(secs(90), || {
        let dir = unpacked(&package("obfs-rs", "amd64"));
        let (out, licences) = (TempDir::new("out"), dir.write("LICENSES.txt", "all of them"));
        let mut command = packager(&dir.path().join("usr/bin/obfs-rs"), out.path());
        command
            .env("LICENSES", licences)
            .env("DEBFULLNAME", "Whoever & Sons")
            .env("DEBEMAIL", "debian@example.com");
        let child = Child::spawn("deb", command);
        assert_eq!(child.wait_exit(secs(80)), Exit::Code(0), "{}", child.show_log());
        let is_it = |path: &PathBuf| path.display().to_string().ends_with("_amd64.deb");
        let package = entries(out.path()).into_iter().find(is_it).expect("a package");
        assert_eq!(field(&package, "Maintainer"), "Whoever & Sons <debian@example.com>");
        let unpacked = unpacked(&package);
        let licences = unpacked.path().join("usr/share/doc/obfs-rs/crates/LICENSES.txt");
        assert_eq!(std::fs::read_to_string(licences).expect("licences"), "all of them");
    });
}
