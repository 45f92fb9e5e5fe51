//! The files of `deploy/`, each on a machine of its own (`support::deployed`), as they are.

use crate::support::child::Child;
use crate::support::conn::assert_echo;
use crate::support::deployed::{Machine, NAME, file, local};
use crate::support::hosts::socks;
use crate::support::peers;
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, netns, noise};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

mod alone;
mod apache;
mod caddy;
mod compose;
mod envoy_http;
mod envoy_sni;
mod envoy_tcp;
mod faults;
mod haproxy;
mod instance;
mod instances;
mod kubernetes;
mod nginx;
mod pages;
mod prometheus;
mod systemd;
mod web_front;

const MB: usize = 1024 * 1024;

/// A Shadowsocks server and its plugin, by a file of `deploy/`; listens at its `server_port`.
#[track_caller]
fn shadowsocks_server(machine: &Machine, name: &str, port: u16) -> Child {
    machine.serve("ssserver", &[port], &["ssserver", "-c", &file(name).display().to_string()])
}

/// A Shadowsocks client and its plugin, by a file of `deploy/`; listens at 1080.
#[track_caller]
fn shadowsocks_client(machine: &Machine, name: &str) -> Child {
    machine.serve("sslocal", &[1080], &["sslocal", "-c", &file(name).display().to_string()])
}

/// Another's program, where the files of `deploy/` have it.
#[track_caller]
fn put_program(machine: &Machine, name: &str) {
    let (from, to) = (peers::path(name).display().to_string(), format!("/usr/local/bin/{name}"));
    machine.put(&to, "");
    netns::run("mount", &["--bind", &from, &to]);
}

/// The fingerprint of the certificate that whoever asks for the name is shown, with more of openssl's words.
#[track_caller]
fn shown(more: &[&str]) -> String {
    let mut openssl = bare(peers::path("openssl"));
    openssl.args(["s_client", "-connect", &format!("{NAME}:443"), "-servername", NAME]).args(more);
    // What it says beside is not to stand in the midst of the certificate.
    openssl.stdout(Stdio::piped()).stderr(Stdio::null());
    let openssl = Child::spawn_as_is("openssl", openssl);
    openssl.wait_exit(STEP);
    fingerprint_of(&openssl.lines().join("\n"))
}

/// That of the certificate which is there now.
#[track_caller]
fn fingerprint() -> String {
    fingerprint_of(&std::fs::read_to_string(format!("/etc/ssl/{NAME}.pem")).expect("a certificate"))
}

#[track_caller]
fn fingerprint_of(text: &str) -> String {
    let dir = TempDir::new("certificate");
    let mut openssl = bare(peers::path("openssl"));
    openssl.args(["x509", "-noout", "-fingerprint", "-in"]).arg(dir.write("shown.pem", text));
    let openssl = Child::spawn("openssl", openssl);
    openssl.wait_exit(STEP);
    openssl.lines().join("")
}

/// Several tunnels at once, with short and long messages.
#[track_caller]
fn carries(target: SocketAddr) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let stream = socks(local(1080), target);
                assert_echo(&stream, b"hello");
                assert_echo(&stream, &noise(2 * MB, seed));
            });
        }
    });
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A file of `deploy/` is run by a test, which names it or the folder that it takes as a whole.
#[test]
fn each_file_is_in_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = files_below(&root.join("tests/blackbox/deploy"))
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("a test"))
        .collect();
    let folder = root.join("deploy");
    let files = files_below(&folder);
    assert!(files.len() > 30, "{files:?}");
    for file in files {
        let name = file.strip_prefix(&folder).expect("a file of deploy/");
        let named = |part: &Path| {
            let part = part.display();
            [format!("{part}\""), format!("{part}/\"")].iter().any(|words| tests.contains(words))
        };
        // By its own name, where a test puts the folder in front.
        let alone = format!("\"{}\"", name.file_name().expect("a name").display());
        let folder = format!("\"{}/{{", name.parent().expect("a folder").display());
        let mut inside = name.components();
        let above = inside.next().map(|above| format!("\"{}/{{", above.as_os_str().display()));
        let inside = format!("\"{}\"", inside.as_path().display());
        let in_a_test = name.ancestors().any(|part| !part.as_os_str().is_empty() && named(part))
            || (tests.contains(&folder) && tests.contains(&alone))
            || (above.is_some_and(|above| tests.contains(&above)) && tests.contains(&inside));
        assert!(in_a_test || name == Path::new("README.md"), "no test runs deploy/{}", name.display());
    }
}
