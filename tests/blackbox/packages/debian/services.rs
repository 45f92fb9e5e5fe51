//! The packages on a machine that systemd runs: installed, set up, started, upgraded under load, and purged.

use super::root::{Booted, Root};
use super::{entries, ours, package, packager, unpacked};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, fin, recv_to_end};
use crate::support::deployed::local;
use crate::support::hosts::socks;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::Certificate;
use crate::support::{STEP, eventually, noise, proc, secs};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// In the examples.
const NAME: &str = "www.example.com";
const MB: usize = 1024 * 1024;

const SERVER: &str = "obfs-rs-server@server.service";
const SOCKET: &str = "obfs-rs-server@server.socket";
const CLIENT: &str = "obfs-rs-client@client.service";

const INSTALL: &[&str] = &["apt-get", "install", "--yes", "--no-install-recommends"];

/// The examples are for a machine with this name, and a certificate for it.
fn name(root: &Root) {
    root.write("/etc/hosts", format!("127.0.0.1 localhost {NAME}\n::1 localhost\n"));
    let authority = Certificate::authority("the tests' authority");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let known = root.read(bundle);
    root.write(bundle, known + &std::fs::read_to_string(&authority.cert).expect("a certificate"));
    let certificate = Certificate::signed(NAME, &authority);
    for (file, end) in [(&certificate.cert, "pem"), (&certificate.key, "key")] {
        root.write(&format!("/etc/ssl/{NAME}.{end}"), std::fs::read(file).expect("a file"));
    }
}

/// All that is there, but for what dpkg, apt and systemd keep of what they have done.
fn all_files(machine: &Booted) -> BTreeSet<String> {
    let found = machine.does(&[
        "sh",
        "-c",
        "find / -xdev \\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log/journal \
         -o -path /var/log/apt -o -path /var/lib/systemd -o -path /srv -o -path /tmp -o -path /var/tmp \\) -prune -o -print",
    ]);
    found.lines().map(str::to_owned).collect()
}

/// What has failed, as systemd lists it.
fn failed(machine: &Booted) -> String {
    machine.does(&["systemctl", "--failed", "--no-legend", "--plain"])
}

/// Until the backend's answer has come through the client's service and the server's.
#[track_caller]
fn carries(target: u16, seed: u64) {
    let stream = connect(local(target));
    assert_echo(&stream, &noise(2 * MB, seed));
}

#[test]
fn a_server_from_installing_to_purging() {
    Root::with(secs(340), |root| {
        let backend = Backend::echo_on(local(8388));
        name(root);
        let packages = root.copy(&ours());
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        let machine = root.boot();
        assert_eq!(failed(&machine), "");
        let before = all_files(&machine);

        machine.does(&[INSTALL, &packages].concat());
        nothing_has_begun(&machine);
        set_up(&machine);
        started_by_who_comes(&machine);
        plugins(&machine, backend.addr);
        upgraded(root, &machine);

        assert_eq!(failed(&machine), "");
        machine.does(&["apt-get", "remove", "--yes", "obfs-rs"]);
        for port in [443, 1984] {
            assert!(!proc::port_listens(port), "{port}");
        }
        let programs = machine.does(&["sh", "-c", "readlink /proc/[0-9]*/exe"]);
        assert!(programs.contains("/systemd") && !programs.contains("obfs-rs"), "{programs}");
        // Until it is purged the configuration stays.
        machine.does(&["test", "-f", "/etc/obfs-rs/server.json"]);
        machine.does(&["apt-get", "purge", "--yes", "obfs-rs", "obfs-rs-drop-in"]);
        let left: Vec<_> = all_files(&machine).difference(&before).cloned().collect();
        // What dpkg and groupadd leave.
        let left: Vec<_> = left
            .iter()
            .filter(|path| {
                !matches!(
                    path.as_str(),
                    "/var/log/dpkg.log" | "/etc/.pwd.lock" | "/etc/group-" | "/etc/gshadow-"
                )
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
        for file in ["/etc/group", "/etc/gshadow"] {
            assert!(!root.read(file).contains("obfs-rs"), "{file}");
        }
        assert_eq!(failed(&machine), "");
        let units = machine.does(&["systemctl", "list-units", "--all", "--no-legend", "obfs-rs*"]);
        assert!(!units.contains("server@") && !units.contains("client@"), "{units}");
        machine.power_off();
    });
}

/// There is no configuration yet.
#[track_caller]
fn nothing_has_begun(machine: &Booted) {
    let units = machine.does(&["systemctl", "list-units", "--all", "--no-legend", "obfs-rs-*@*"]);
    assert_eq!(units.trim(), "");
    let enabled = machine.does(&["sh", "-c", "find /etc/systemd -name 'obfs-rs*'"]);
    assert_eq!(enabled, "");
    assert!(!proc::port_listens(443));
    assert_eq!(machine.does(&["stat", "-c", "%U:%G %a", "/etc/obfs-rs"]), "root:obfs-rs 750");
    let capabilities = machine.does(&["getcap", "/usr/bin/obfs-rs"]);
    assert!(capabilities.ends_with("cap_net_bind_service=p"), "{capabilities}");
    let group = machine.does(&["getent", "group", "obfs-rs"]);
    let number: u32 = group.split(':').nth(2).expect("a number").parse().expect("a number");
    assert!(number < 1000, "{group}");
    // The manual of each program is there under its name.
    for name in ["obfs-rs", "obfs-rs-server", "obfs-local", "v2ray-plugin", "xray-plugin"] {
        machine.does(&[
            "sh",
            "-ec",
            &format!("gzip -dc /usr/share/man/man1/{name}.1.gz | grep -q '^.TH obfs-'"),
        ]);
    }
}

/// The examples, and what README.Debian says to do with them.
#[track_caller]
fn set_up(machine: &Booted) {
    let steps = machine.does(&["cat", "/usr/share/doc/obfs-rs/README.Debian"]);
    let step = "install -m 640 -g obfs-rs server.json /etc/obfs-rs/server.json";
    assert!(steps.contains(step), "{steps}");
    let key = format!("/etc/ssl/{NAME}.key");
    for command in [
        step,
        &step.replace("server.json", "client.json"),
        // Longer than an upgrade's tunnels are here.
        r#"sed -i 's/"drain": 5$/"drain": 60/' /etc/obfs-rs/server.json && grep -q '"drain": 60' /etc/obfs-rs/server.json"#,
        &format!("chgrp obfs-rs {key} && chmod 640 {key}"),
    ] {
        machine.does(&["sh", "-ec", &format!("cd /usr/share/doc/obfs-rs/examples/systemd && {command}")]);
    }
}

/// The port is systemd's, and the first who comes to it starts the service.
#[track_caller]
fn started_by_who_comes(machine: &Booted) {
    machine.does(&["systemctl", "enable", "--now", SOCKET]);
    machine.does(&["systemctl", "enable", SERVER]);
    assert!(proc::port_listens(443));
    assert_eq!(machine.property(SERVER, "ActiveState"), "inactive");
    machine.does(&["systemctl", "enable", "--now", CLIENT]);
    carries(1984, 1);
    assert_eq!(machine.property(SERVER, "ActiveState"), "active", "{}", machine.journal(SERVER));
    let journal = machine.journal(SERVER);
    assert!(journal.contains("of the service manager"), "{journal}");
    // As nobody who is known, with the one right.
    let pid = machine.property(SERVER, "MainPID");
    let status = machine.does(&["cat", &format!("/proc/{pid}/status")]);
    assert!(status.contains("CapPrm:\t0000000000000400") && !status.contains("Uid:\t0"), "{status}");
}

/// Shadowsocks's own programs start it by the names that it takes the place of, also where only its file gives it the
/// right to the port.
#[track_caller]
fn plugins(machine: &Booted, target: SocketAddr) {
    for (server, options, client, client_options, port, at) in [
        ("obfs-server", "obfs=http", "obfs-local", "obfs=http;obfs-host=www.example.com", 80, 1081),
        ("v2ray-plugin", "server", "ss-v2ray-plugin", "mux=0", 81, 1082),
    ] {
        let config = format!(
            r#"{{ "server": "127.0.0.1", "server_port": {port}, "password": "secret", "method": "aes-256-gcm",
            "plugin": "{server}", "plugin_opts": "{options}" }}"#
        );
        machine.does(&["sh", "-ec", &format!("echo '{config}' >/etc/shadowsocks-libev/{server}.json")]);
        let unit = format!("shadowsocks-libev-server@{server}.service");
        machine.does(&["systemctl", "start", &unit]);
        assert!(eventually(STEP, || proc::port_listens(port)), "{}", machine.journal(&unit));
        let local_port = at.to_string();
        let client = machine.start(&[
            "ss-local",
            "-s",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-b",
            "127.0.0.1",
            "-l",
            &local_port,
            "-k",
            "secret",
            "-m",
            "aes-256-gcm",
            "--plugin",
            client,
            "--plugin-opts",
            client_options,
        ]);
        client.wait_listening(at);
        proc::wait_listening_child(in_there(&client));
        let stream = socks(local(at), target);
        assert_echo(&stream, &noise(2 * MB, 5));
        drop(client);
        machine.does(&["systemctl", "stop", &unit]);
        // The host takes its plugin along.
        assert!(eventually(STEP, || !proc::port_listens(port)), "{}", machine.journal(&unit));
        machine.does(&["rm", &format!("/etc/shadowsocks-libev/{server}.json")]);
    }
}

/// The process that `nsenter` has started there.
#[track_caller]
fn in_there(nsenter: &Child) -> i32 {
    let children = proc::children_of(nsenter.pid());
    assert_eq!(children.len(), 1, "{children:?}");
    children[0].pid
}

/// A package of a higher version, of the same program.
#[track_caller]
fn next(into: &TempDir) -> PathBuf {
    let dir = unpacked(&package("obfs-rs", "amd64"));
    let mut command = packager(&dir.path().join("usr/bin/obfs-rs"), into.path());
    command.env("DEB_REVISION", "2");
    let packager = Child::spawn("scripts/release_lib/deb", command);
    assert_eq!(packager.wait_exit(secs(100)), Exit::Code(0), "{}", packager.show_log());
    let is_it = |path: &PathBuf| path.display().to_string().ends_with("_amd64.deb");
    entries(into.path()).into_iter().find(is_it).expect("a package")
}

/// A tunnel that is open ends whole, nobody is refused, and what has no socket unit goes on.
#[track_caller]
fn upgraded(root: &Root, machine: &Booted) {
    let dir = TempDir::new("next");
    let next = next(&dir);
    let version = super::field(&next, "Version");
    // Both: one depends on just this version of the other.
    let drop_in = entries(dir.path()).into_iter().find(|path| path.display().to_string().contains("drop-in"));
    let files = root.copy(&[next, drop_in.expect("the other package")]);
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let (server, client) = (machine.property(SERVER, "MainPID"), machine.property(CLIENT, "MainPID"));
    let (drains, stop, done) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let some_more = |what: &str| {
        let before = done.load(Ordering::Relaxed);
        assert!(
            eventually(STEP, || done.load(Ordering::Relaxed) > before + 3),
            "{what}: {}{}",
            machine.journal(SERVER),
            machine.journal(CLIENT)
        );
    };
    std::thread::scope(|scope| {
        let open = scope.spawn(|| {
            let stream = connect(local(1984));
            let mut seed = 100;
            while !drains.load(Ordering::Relaxed) {
                assert_echo(&stream, &noise(16 * 1024, seed));
                seed += 1;
            }
            assert_echo(&stream, &noise(2 * MB, seed));
            fin(&stream);
            recv_to_end(&stream, STEP)
        });
        let newcomers = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Who comes to the port itself, and whose client does.
                drop(TcpStream::connect(local(443)).expect("nobody is refused"));
                let stream = connect(local(1984));
                // In the midst of it they wait for the one that is open.
                stream.set_read_timeout(Some(secs(60))).expect("a limit");
                assert_echo(&stream, b"a new tunnel");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        some_more("before");
        let apt = machine.start(&[INSTALL, &files].concat());
        let drained = eventually(secs(90), || {
            apt.peek_exit().is_some() || machine.property(SERVER, "ActiveState") == "deactivating"
        });
        drains.store(true, Ordering::Relaxed);
        assert_eq!(open.join().expect("the open tunnel is whole"), (Vec::new(), End::Fin));
        let exit = apt.wait_exit(secs(90));
        let log = apt.show_log();
        assert!(drained && exit == Exit::Code(0), "{log}");
        some_more("after");
        stop.store(true, Ordering::Relaxed);
        newcomers.join().expect("nobody is refused");
        assert!(log.contains(&format!("{CLIENT} runs the version before this one")), "{log}");
        assert!(!log.contains(&format!("{SERVER} runs the version before")), "{log}");
    });
    assert_eq!(machine.does(&["dpkg-query", "-W", "-f", "${Version}", "obfs-rs"]), version);
    let now = machine.property(SERVER, "MainPID");
    assert_ne!(now, server);
    assert_eq!(machine.does(&["readlink", &format!("/proc/{now}/exe")]), "/usr/bin/obfs-rs");
    assert_eq!(machine.property(SERVER, "Result"), "success", "{}", machine.journal(SERVER));
    assert_eq!(machine.property(CLIENT, "MainPID"), client);
    machine.does(&["systemctl", "restart", CLIENT]);
    carries(1984, 2);
}
