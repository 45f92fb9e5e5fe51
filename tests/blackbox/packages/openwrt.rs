//! `packaging/openwrt`, without its SDK and without a router: what the Makefiles define and install, what the init script
//! starts, and the plugin under the hands of passwall and ssr-plus.

mod feed;
mod init;
mod routers;

use crate::support::child::{Child, Exit};
use crate::support::tempdir::TempDir;
use crate::support::{peers, plugin, secs};
use std::path::{Path, PathBuf};

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn feed() -> PathBuf {
    source().join("packaging/openwrt")
}

/// As much of OpenWrt's build system as the feed uses.
pub struct Sdk(TempDir);

impl Sdk {
    pub fn new() -> Sdk {
        let dir = TempDir::new("openwrt");
        dir.write("rules.mk", include_str!("openwrt/rules.mk"));
        dir.write("include/package.mk", include_str!("openwrt/package.mk"));
        dir.write("feeds/packages/lang/rust/rust-package.mk", include_str!("openwrt/rust-package.mk"));
        Sdk(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs make in a package's folder; what it printed.
    #[track_caller]
    pub fn make(&self, package: &str, words: &[&str]) -> Vec<String> {
        let mut make = plugin::bare(peers::path("make"));
        make.arg("--no-print-directory").arg("-C").arg(feed().join(package)).args(words);
        make.arg(format!("TOPDIR={}", self.path().display()));
        // This one may run under a make itself.
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("LC_ALL", "C");
        let make = Child::spawn("make", make);
        assert_eq!(make.wait_exit(secs(30)), Exit::Code(0), "{}", make.show_log());
        assert!(!make.lines().iter().any(|line| line.contains("warning")), "{}", make.show_log());
        make.lines()
    }

    /// The root of a router with these packages of the feed, given as folder and name, and with a text in the program's place.
    #[track_caller]
    pub fn install(&self, packages: &[(&str, &str)]) -> PathBuf {
        self.0.write("build/bin/obfs-rs", "what Cargo has built\n");
        let root = self.path().join("root");
        for (folder, package) in packages {
            self.make(
                folder,
                &[
                    &format!("install-{package}"),
                    &format!("DEST={}", root.display()),
                    &format!("PKG_INSTALL_DIR={}", self.path().join("build").display()),
                ],
            );
        }
        root
    }
}
