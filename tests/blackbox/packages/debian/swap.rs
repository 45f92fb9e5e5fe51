//! apt, with the drop-in beside what it takes the place of.

use super::ours;
use super::root::Root;
use crate::support::child::Exit;
use crate::support::secs;

const SIMPLE_OBFS: &str = "/srv/simple-obfs.deb";

/// The state of a package, as dpkg has it.
fn state(root: &Root, package: &str) -> String {
    root.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", package]).0.trim().to_owned()
}

#[test]
fn apt_replaces_simple_obfs_and_goes_back() {
    Root::with(secs(300), |root| {
        let packages = root.copy(&ours());
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
        root.does(&[&install, [SIMPLE_OBFS].as_slice()].concat());
        assert_eq!(state(root, "simple-obfs"), "installed");
        let theirs = std::fs::read(root.place("/usr/bin/obfs-server")).expect("simple-obfs's");

        // Not behind anybody's back.
        let (said, exit) = root.run(&[&install, ["--no-remove"].as_slice(), &packages].concat());
        assert_eq!(exit, Exit::Code(100), "{said}");
        assert!(said.contains("remove is disabled"), "{said}");
        assert_eq!(std::fs::read(root.place("/usr/bin/obfs-server")).expect("simple-obfs's"), theirs);

        let said = root.does(&[&install, packages.as_slice()].concat());
        assert!(said.contains("REMOVED:\n  simple-obfs"), "{said}");
        assert_ne!(state(root, "simple-obfs"), "installed");
        for (name, words) in
            [("obfs-local", "--help"), ("obfs-server", "--help"), ("v2ray-plugin", "-version")]
        {
            let said = root.does(&[name, words]);
            assert!(said.contains("obfs-rs"), "{name}: {said}");
        }
        // Debian's v2ray-plugin is another file, and stays.
        assert_eq!(state(root, "shadowsocks-v2ray-plugin"), "installed");
        let said = root.run(&["ss-v2ray-plugin", "-version"]).0;
        assert!(!said.contains("obfs-rs"), "{said}");
        // Whoever depends on simple-obfs has it.
        assert!(root.does(&["apt-get", "check"]).lines().all(|line| !line.contains("unmet")));

        let said = root.does(&[&install, [SIMPLE_OBFS].as_slice()].concat());
        assert!(said.contains("REMOVED:\n  obfs-rs-drop-in"), "{said}");
        assert_eq!(std::fs::read(root.place("/usr/bin/obfs-server")).expect("simple-obfs's"), theirs);
        assert_eq!(state(root, "obfs-rs"), "installed");

        // Where nothing is booted, too, purging leaves nothing.
        root.does(&["apt-get", "purge", "--yes", "obfs-rs", "obfs-rs-drop-in"]);
        assert!(!root.read("/etc/group").contains("obfs-rs"));
        assert!(!root.place("/etc/obfs-rs").exists());
    });
}

/// What is no configuration of the package's is nobody's to delete, and stays readable for no other group.
#[test]
fn purging_leaves_what_is_the_users() {
    Root::with(secs(200), |root| {
        let packages = root.copy(&ours());
        root.does(&["apt-get", "install", "--yes", "--no-install-recommends", &packages[0]]);
        root.write("/etc/obfs-rs/server.json", "{}");
        root.write("/etc/obfs-rs/www.example.com.key", "a key");
        let said = root.does(&["apt-get", "purge", "--yes", "obfs-rs"]);
        assert!(said.contains("/etc/obfs-rs has files of yours"), "{said}");
        assert_eq!(root.read("/etc/obfs-rs/www.example.com.key"), "a key");
        assert!(!root.place("/etc/obfs-rs/server.json").exists());
        assert!(root.read("/etc/group").contains("obfs-rs:"));
    });
}
