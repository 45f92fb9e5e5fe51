//! Configuration files in `docs`: the example of `docs/configuration-file.md` runs, and programs of others take what is
//! written for them.

use super::{PAGE, command_of, nginx};
use crate::blocks::{Block, blocks};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::deployed::{Machine, NAME, PASSWORD, file};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::our_path;
use crate::support::ports::free_port;
use crate::support::{STEP, secs};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn the_example_runs_as_written() {
    Machine::with(secs(60), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "curl");
        machine.certificate(NAME);
        machine.install("nginx/loopback-tls.conf", "/etc/nginx/sites-enabled/default");
        let _nginx = nginx(machine, &[80, 8443]);
        let alone = file("shadowsocks/server-alone.json").display().to_string();
        let _shadowsocks = machine.serve("ssserver", &[8388], &["ssserver", "-c", &alone]);
        let start = |half: &str, port: u16| -> Child {
            let page = "docs/configuration-file.md";
            let name = format!("{half}.json");
            let text = super::file_of(page, &name).text;
            let path = machine.path().join(&name);
            std::fs::write(&path, text).expect("a file");
            let command =
                command_of(page, &format!("obfs-rs {half}")).replace(&name, &path.display().to_string());
            machine.serve(half, &[port], &command.split(' ').collect::<Vec<_>>())
        };
        let server = start("server", 443);
        server.wait_listening(9180);
        let client = start("client", 1984);
        let to = ["-s", "127.0.0.1:1984", "-k", PASSWORD, "-m", "aes-256-gcm"];
        let _app =
            machine.serve("sslocal", &[1080], &[&["sslocal", "-b", "127.0.0.1:1080"], &to[..]].concat());
        let got = curl(&["-x", "socks5h://127.0.0.1:1080", "-k", "https://127.0.0.1:8443/"]);
        assert_eq!(String::from_utf8_lossy(&got.body), PAGE, "{}\n{}", server.show_log(), client.show_log());
        assert_eq!(curl(&[&format!("https://{NAME}/")]).status, "200");
    });
}

/// The blocks of a language in a page.
fn written_in(page: &str, language: &str) -> Vec<Block> {
    blocks(page).into_iter().filter(|block| block.language == language).collect()
}

#[test]
fn nginx_and_haproxy_take_their_lines() {
    Machine::with(secs(30), |machine| {
        need!("nginx", "haproxy");
        let found = written_in("docs/server.md", "nginx");
        assert_eq!(found.len(), 1);
        machine.put("/etc/nginx/sites-enabled/default", &found[0].text);
        let check = machine.start("nginx", &["nginx", "-t"]);
        assert_eq!(check.wait_exit(STEP), Exit::Code(0), "{}", check.show_log());

        let found = written_in("docs/server.md", "haproxy");
        assert_eq!(found.len(), 1);
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n\
             listen front\n    bind 127.0.0.1:9443\n    {}",
            found[0].text
        );
        let at = machine.put("/etc/haproxy/haproxy.cfg", config);
        let check = machine.start("haproxy", &["haproxy", "-c", "-f", &at.display().to_string()]);
        assert_eq!(check.wait_exit(STEP), Exit::Code(0), "{}", check.show_log());
    });
}

/// The shell's part of logrotate's file sends SIGHUP to the process of the pid file.
#[test]
fn logrotates_script_signals_the_plugin() {
    Machine::with(secs(30), |machine| {
        let found = written_in("docs/server.md", "logrotate");
        assert_eq!(found.len(), 1);
        let (_, script) = found[0].text.split_once("postrotate\n").expect("a script");
        let (script, _) = script.split_once("endscript").expect("its end");
        // In place of the plugin one that tells its end by the signal.
        let plugin = machine
            .start("sleeper", &["sh", "-c", "trap 'exit 7' HUP; echo ready; while :; do sleep 0.05; done"]);
        plugin.wait_text("ready");
        machine.put("/run/obfs-rs.pid", plugin.pid().to_string());
        let sent = machine.start("postrotate", &["sh", "-ec", script]);
        assert_eq!(sent.wait_exit(STEP), Exit::Code(0), "{}", sent.show_log());
        assert_eq!(plugin.wait_exit(STEP), Exit::Code(7));
    });
}

/// The two ways to ask a half how it is.
#[test]
fn metrics_are_asked_for_as_written() {
    Machine::with(secs(30), |machine| {
        need!("curl");
        let backend = Backend::echo();
        let halves = ["/run/obfs-rs/metrics.sock", "127.0.0.1:9180"].map(|metrics| {
            machine.put("/run/obfs-rs/a-folder", "");
            let port = free_port();
            let (listen, backend) = (format!("127.0.0.1:{port}"), backend.addr.to_string());
            let words =
                ["obfs-rs", "server", "--listen", &listen, "--backend", &backend, "--metrics", metrics];
            machine.serve("server", &[port], &words)
        });
        for block in written_in("docs/metrics.md", "sh") {
            let asked = machine.start("asked", &["sh", "-ec", &block.text]);
            assert_eq!(
                asked.wait_exit(STEP),
                Exit::Code(0),
                "{}\n{}",
                asked.show_log(),
                halves[0].show_log()
            );
            if block.text.starts_with("curl") {
                asked.wait_text("obfs_rs_");
            }
        }
    });
}

/// A file of a release: its sum, and what is in it, installed.
#[test]
fn a_release_is_installed_as_written() {
    Machine::with(secs(30), |machine| {
        need!("tar", "setcap");
        let (folder, bin) = (machine.path().join("files"), machine.path().join("bin"));
        let name = "obfs-rs-linux-amd64-v0.1.0";
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
        std::fs::create_dir_all(&bin).expect("a folder");
        // (one for tests takes long to pack)
        let program = folder.join(name).join("obfs-rs");
        std::fs::write(&program, format!("#!/bin/sh\nexec '{}' \"$@\"\n", our_path().display()))
            .expect("a program");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
        let docs = format!("{}/docs", env!("CARGO_MANIFEST_DIR"));
        let pack = format!(
            "cp -r {docs}/man {docs}/completions {name}/ && \
             tar -czf {name}.tar.gz {name} && rm -r {name} && sha256sum *.gz >SHA256SUMS"
        );
        super::script(machine, "sudo", "exec \"$@\"\n");
        let found = written_in("docs/packages.md", "sh").into_iter();
        let steps: String = found.filter(|block| block.text.contains(name)).map(|block| block.text).collect();
        // The machine has the program in `/usr/local/bin` already.
        let (bin, share) = (bin.display().to_string(), machine.path().join("share"));
        let place = |steps: &str| {
            steps.replace("/usr/local/bin", &bin).replace("/usr/local/share", &share.display().to_string())
        };
        let steps = place(&steps);
        let all = format!("cd {}\n{pack}\n{steps}{bin}/obfs-rs --version\n", folder.display());
        let done = machine.start("the steps", &["sh", "-ec", &all]);
        assert_eq!(done.wait_exit(STEP), Exit::Code(0), "{}", done.show_log());
        done.wait_text("obfs-rs 0.1.0");
        for file in [
            "man/man1/obfs-rs.1",
            "man/man1/obfs-rs-server.1",
            "bash-completion/completions/obfs-rs",
            "zsh/site-functions/_obfs-rs",
            "fish/vendor_completions.d/obfs-rs.fish",
        ] {
            assert!(share.join(file).is_file(), "{file} is not there: {steps}");
        }
        // As the README has it, in the folder of the file.
        std::fs::remove_file(format!("{bin}/obfs-rs")).expect("the program");
        let short = place(&command_of("README.md", "install -m 755"));
        let all = format!("cd {}/{name}\n{short}\n{bin}/obfs-rs --version\n", folder.display());
        let done = machine.start("the README's step", &["sh", "-ec", &all]);
        assert_eq!(done.wait_exit(STEP), Exit::Code(0), "{}", done.show_log());
        done.wait_text("obfs-rs 0.1.0");
    });
}
