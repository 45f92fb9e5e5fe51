//! The Makefiles: what they define, build and install.

use super::{Sdk, source};
use crate::packages::files;
use crate::support::peers::need;
use crate::support::{secs, within};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const VARIANTS: [(&str, &str); 5] = [
    ("client", "client"),
    ("client-tls", "client,tls"),
    ("server", "server"),
    ("server-tls", "server,tls,site"),
    ("full", "server,client,tls,quic,grpc,probe,site,share,metrics"),
];

/// The package that each drop-in replaces, and the program that routers look for.
pub const DROP_INS: [(&str, &str); 4] = [
    ("simple-obfs-client", "obfs-local"),
    ("simple-obfs-server", "obfs-server"),
    ("v2ray-plugin", "v2ray-plugin"),
    ("xray-plugin", "xray-plugin"),
];

/// The definitions of a folder's packages.
fn packages(sdk: &Sdk, folder: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut packages = BTreeMap::<_, BTreeMap<_, _>>::new();
    for line in sdk.make(folder, &["tell"]) {
        let (name, field) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        // (of a list in lines, its further ones)
        if let Some((field, value)) = field.split_once('=') {
            packages.entry(name.to_owned()).or_default().insert(field.to_owned(), value.to_owned());
        }
    }
    packages
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

/// The part of Cargo.toml under a heading.
fn section<'a>(cargo_toml: &'a str, heading: &str) -> &'a str {
    let (_, rest) = cargo_toml.split_once(&format!("[{heading}]\n")).expect("a heading");
    rest.split_once("\n[").map_or(rest, |(part, _)| part)
}

#[test]
fn each_size_is_a_package_that_says_what_it_needs() {
    within(secs(60), || {
        need!("make");
        let sdk = Sdk::new();
        let packages = packages(&sdk, "obfs-rs");
        let names: Vec<_> = packages.keys().map(String::as_str).collect();
        let expected: BTreeSet<_> =
            VARIANTS.iter().map(|(variant, _)| format!("obfs-rs-{variant}")).collect();
        assert_eq!(names, expected.iter().map(String::as_str).collect::<Vec<_>>());
        for (variant, features) in VARIANTS {
            let package = &packages[&format!("obfs-rs-{variant}")];
            assert_eq!(package["PKG_VERSION"], env!("CARGO_PKG_VERSION"));
            assert_eq!((&*package["SECTION"], &*package["CATEGORY"]), ("net", "Network"));
            assert!(package["TITLE"].contains(variant), "{package:?}");
            assert_eq!((&*package["PROVIDES"], &*package["VARIANT"]), ("obfs-rs", variant));
            let depends = words(&package["DEPENDS"]);
            assert!(depends.iter().any(|word| word.starts_with("@(aarch64")), "{depends:?}");
            // Certificates of the system's, where there is TLS to check them in.
            assert_eq!(depends.contains("+ca-bundle"), features.contains("tls"), "{variant}: {depends:?}");
            assert!(package["DESCRIPTION"].contains(features), "{package:?}");
            assert!(package["CONFFILES"].starts_with("/etc/config/obfs-rs"), "{package:?}");
        }
        let defaults: Vec<_> = packages.values().filter(|it| it["DEFAULT_VARIANT"] == "1").collect();
        assert_eq!(defaults.len(), 1, "{defaults:?}");
    });
}

/// All have one file: no two of them are installed at a time. Each pair is told once, since OpenWrt's configuration takes
/// no circle.
#[test]
fn no_two_sizes_are_installed_at_a_time() {
    within(secs(60), || {
        need!("make");
        let sdk = Sdk::new();
        let packages = packages(&sdk, "obfs-rs");
        let conflict = |a: &str, b: &str| words(&packages[a]["CONFLICTS"]).contains(b);
        for (at, a) in packages.keys().enumerate() {
            assert!(!conflict(a, a), "{a}");
            for b in packages.keys().skip(at + 1) {
                assert!(conflict(a, b) != conflict(b, a), "{a} and {b}");
            }
        }
    });
}

/// Cargo is told what each is built with, all of which Cargo.toml knows; the whole one is what is built by default.
#[test]
fn each_size_is_built_with_its_features() {
    within(secs(60), || {
        need!("make");
        let sdk = Sdk::new();
        let cargo_toml = std::fs::read_to_string(source().join("Cargo.toml")).expect("Cargo.toml");
        let known = section(&cargo_toml, "features");
        for (variant, features) in VARIANTS {
            let lines = sdk.make("obfs-rs", &["compile", &format!("BUILD_VARIANT={variant}")]);
            let told: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("cargo ")).collect();
            assert_eq!(told[..3], ["--features", features, "--no-default-features"], "{variant}");
            for feature in features.split(',') {
                assert!(known.lines().any(|line| line.starts_with(&format!("{feature} = "))), "{feature}");
            }
        }
        // The library of metrics wants atomic operations that these have not.
        for processor in ["ARCH=mipsel", "ARCH=mips", "CPU_TYPE=xscale"] {
            let lines = sdk.make("obfs-rs", &["compile", "BUILD_VARIANT=full", processor]);
            let told =
                lines.iter().find_map(|line| line.strip_prefix("cargo ").filter(|it| it.contains("server")));
            assert_eq!(told, Some(&*VARIANTS[4].1.replace(",metrics", "")), "{processor}");
        }
        let default = known.lines().find_map(|line| line.strip_prefix("default = ")).expect("a default");
        let default: BTreeSet<_> = default.split('"').skip(1).step_by(2).collect();
        assert_eq!(VARIANTS[4].1.split(',').collect::<BTreeSet<_>>(), default);
    });
}

/// The folder that is built has all that Cargo reads: the same as the image's.
#[test]
fn what_is_built_from_is_whole() {
    within(secs(60), || {
        need!("make");
        let sdk = Sdk::new();
        let folder = sdk.path().join("prepared");
        sdk.make("obfs-rs", &["prepare", &format!("PKG_BUILD_DIR={}", folder.display())]);
        let dockerignore = std::fs::read_to_string(source().join(".dockerignore")).expect(".dockerignore");
        for name in dockerignore.lines().filter_map(|line| line.strip_prefix('!')) {
            assert!(folder.join(name).exists(), "{name}");
        }
        for file in ["LICENSE-MIT", "LICENSE-APACHE", "build.rs"] {
            assert!(folder.join(file).is_file(), "{file}");
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut metadata = std::process::Command::new(cargo);
        metadata.args(["metadata", "--offline", "--no-deps", "--format-version", "1", "--manifest-path"]);
        let output = metadata.arg(folder.join("Cargo.toml")).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

#[test]
fn a_size_installs_the_program_its_settings_and_the_init_script() {
    within(secs(60), || {
        need!("make");
        for (variant, _) in VARIANTS {
            let sdk = Sdk::new();
            let root = sdk.install(&[("obfs-rs", &format!("obfs-rs-{variant}"))]);
            assert_eq!(files(&root), ["/etc/config/obfs-rs", "/etc/init.d/obfs-rs", "/usr/bin/obfs-rs"]);
            for (file, mode) in
                [("etc/config/obfs-rs", 0o600), ("etc/init.d/obfs-rs", 0o755), ("usr/bin/obfs-rs", 0o755)]
            {
                let permissions = root.join(file).metadata().expect("a file").permissions();
                assert_eq!(permissions.mode() & 0o7777, mode, "{file}");
            }
        }
    });
}

/// Each takes the place of a package in everything: what depends on that is content, and both are never there.
#[test]
fn a_drop_in_is_a_link_by_the_name_that_routers_start() {
    within(secs(60), || {
        need!("make");
        let sdk = Sdk::new();
        let packages = packages(&sdk, "obfs-rs-drop-in");
        assert_eq!(packages.len(), DROP_INS.len());
        for (replaced, program) in DROP_INS {
            let name = format!("obfs-rs-drop-in-{replaced}");
            let package = &packages[&name];
            assert_eq!(package["PKG_VERSION"], env!("CARGO_PKG_VERSION"));
            assert!(words(&package["PROVIDES"]).contains(replaced), "{package:?}");
            assert!(words(&package["CONFLICTS"]).contains(replaced), "{package:?}");
            assert_eq!((&*package["DEPENDS"], &*package["PKGARCH"]), ("+obfs-rs", "all"));
            let sdk = Sdk::new();
            let root = sdk.install(&[("obfs-rs-drop-in", &name)]);
            assert_eq!(files(&root), [format!("/usr/bin/{program}")]);
            let link = root.join("usr/bin").join(program).read_link().expect("a link");
            assert_eq!(link, Path::new("obfs-rs"));
        }
    });
}
