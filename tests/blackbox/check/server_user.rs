//! As a server that goes on as another user: what that user cannot reach is told, though root can.

use super::{Checked, check, finished};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{secs, within};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        peers::skip("root, to go on as another user");
    }
    root
}

fn check_as(backend: &Backend, user: &str, options: &str) -> Checked {
    let listen = format!("127.0.0.1:{}", free_port());
    check(&["--listen", &listen, "--backend", &backend.addr.to_string(), &format!("{options};a={user}")])
}

#[test]
fn a_folder_that_the_user_cannot_read_is_told() {
    if !is_root() {
        return;
    }
    within(secs(60), || {
        let backend = Backend::echo();
        let dir = TempDir::new("check-user");
        set_mode(dir.path(), 0o755);
        let site = dir.path().join("site");
        std::fs::create_dir(&site).expect("a folder");
        let index = dir.write("site/index.html", "x");
        set_mode(&index, 0o644);
        let options = format!("obfs=http;failover=dir:{}", site.display());
        let folder = site.display().to_string();
        set_mode(&site, 0o755);
        check_as(&backend, "nobody", &options).is_well().says("ok", "user", "nobody");
        set_mode(&site, 0o700);
        check_as(&backend, "nobody", &options).fails_at("user", &format!("nobody cannot enter {folder}"));
        check_as(&backend, "root", &options).is_well();
        // A folder above it is closed.
        set_mode(&site, 0o755);
        set_mode(dir.path(), 0o700);
        check_as(&backend, "nobody", &options).fails_at("user", &format!("nobody cannot enter {folder}"));
        set_mode(dir.path(), 0o755);
        set_mode(&index, 0o600);
        let checked = check_as(&backend, "nobody", &options);
        checked.is_well().says("odd", "user", &format!("nobody cannot read {}", index.display()));
        // The group of the user may.
        let group = nix_group("nobody");
        std::os::unix::fs::chown(&index, None, Some(group)).expect("a group");
        set_mode(&index, 0o640);
        let checked = check_as(&backend, "nobody", &options);
        assert!(!checked.lines.iter().any(|line| line.starts_with("odd")), "{:?}", checked.lines);
    });
}

/// As in a container whose root may become nobody else.
#[test]
fn a_root_that_cannot_become_the_user_is_told() {
    if !is_root() {
        return;
    }
    within(secs(60), || {
        need!("setpriv");
        let backend = Backend::echo();
        let (listen, to) = (format!("127.0.0.1:{}", free_port()), backend.addr.to_string());
        let mut command = bare(peers::path("setpriv"));
        command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(our_path());
        command.args(["check", "--listen", &listen, "--backend", &to, "obfs=http;a=nobody"]);
        finished(&Child::spawn("check", command)).fails_at("user", "cannot go on as user nobody");
    });
}

/// The number of a user's group.
fn nix_group(user: &str) -> u32 {
    let output = std::process::Command::new("id").args(["-g", user]).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// A second process keeps the right to read these.
#[test]
fn a_key_that_only_root_reads_is_no_failure_and_is_told() {
    if !is_root() {
        return;
    }
    within(secs(60), || {
        need!("openssl");
        let backend = Backend::echo();
        let certificate = Certificate::new(NAME);
        set_mode(&certificate.key, 0o600);
        let options = format!("mode=websocket;{}", certificate.for_server());
        let checked = check_as(&backend, "nobody", &options);
        let key = certificate.key.display().to_string();
        checked.is_well().says("ok", "user", &key).says("ok", "user", "stays root");
    });
}

#[test]
fn an_access_log_that_the_user_cannot_make_anew_is_odd() {
    if !is_root() {
        return;
    }
    within(secs(60), || {
        let backend = Backend::echo();
        let dir = TempDir::new("check-user");
        let log = dir.path().join("access.log");
        let options = format!("obfs=http;access-log={}", log.display());
        set_mode(dir.path(), 0o777);
        let checked = check_as(&backend, "nobody", &options);
        assert!(!checked.lines.iter().any(|line| line.starts_with("odd")), "{:?}", checked.lines);
        set_mode(dir.path(), 0o755);
        let checked = check_as(&backend, "nobody", &options);
        checked.is_well().says("odd", "user", "nobody cannot make the access log anew");
        set_mode(dir.path(), 0o700);
        let checked = check_as(&backend, "nobody", &options);
        checked.is_well().says("odd", "user", "nobody cannot make the access log anew");
        assert_eq!(checked.exit, Exit::Code(0));
        assert!(!log.exists(), "something was written");
    });
}
