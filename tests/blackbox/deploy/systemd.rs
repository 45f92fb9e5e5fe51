//! `deploy/systemd`: the units, checked by systemd's own tools, and run by a real systemd.

use super::{carries, fingerprint, local, put_program, shown};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect};
use crate::support::deployed::{Machine, NAME, PASSWORD, PATH, file, text};
use crate::support::hosts::{curl, socks};
use crate::support::netns;
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::systemd::Systemd;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, secs, within};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const UNITS: [&str; 4] = [
    "obfs-rs-server@.service",
    "obfs-rs-server@.socket",
    "obfs-rs-client@.service",
    "shadowsocks-rust-server@.service",
];

/// systemd's tool says so of each: its names are known, and its sandbox leaves little.
#[test]
fn the_units_are_sound() {
    within(secs(60), || {
        need!("systemd-analyze");
        let dir = TempDir::new("units");
        let analyze = |words: &[&str]| {
            let mut command = bare(peers::path("systemd-analyze"));
            command.args(words);
            Child::spawn("systemd-analyze", command)
        };
        // As an instance, and with programs that are there.
        let instances = UNITS.map(|name| {
            let program = our_path().display().to_string();
            let text =
                ["obfs-rs", "ssserver"].iter().fold(text(&format!("systemd/{name}")), |text, installed| {
                    text.replace(&format!("/usr/local/bin/{installed}"), &program)
                });
            dir.write(&name.replace('@', "@server"), text).display().to_string()
        });
        for instance in instances {
            let verify = analyze(&["verify", "--man=no", &instance]);
            assert_eq!(verify.wait_exit(secs(30)), Exit::Code(0), "{}", verify.show_log());
            // Of others' units it may say something.
            let ours = |line: &String| line.contains("obfs-rs-") || line.contains("shadowsocks-rust-");
            assert!(!verify.lines().iter().any(ours), "{}", verify.show_log());
            if instance.ends_with(".service") {
                // In tenths: below 2.0.
                let words = ["security", "--no-pager", "--offline=true", "--threshold=19", &instance];
                let security = analyze(&words);
                assert_eq!(security.wait_exit(secs(30)), Exit::Code(0), "{}", security.show_log());
                security.wait_text("overall exposure level");
            }
        }
    });
}

/// What the top of a unit says to do, as it says it.
#[track_caller]
fn install(machine: &Machine, systemd: &Systemd<'_>, unit: &str) {
    let (path, text) = (file(&format!("systemd/{unit}")), text(&format!("systemd/{unit}")));
    let commands: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with("#   "))
        .map_while(|line| line.strip_prefix("#   "))
        // Behind a command there may be words for its reader.
        .map(|line| line.split("   ").next().unwrap_or(line))
        .collect();
    assert!(commands.len() >= 3, "{unit} does not say how it is installed");
    for command in commands {
        if command.starts_with("systemctl") {
            systemd.does(&["sh", "-ec", command]);
        } else {
            let mut shell = machine.command(&["sh", "-ec", command]);
            shell.current_dir(path.parent().expect("a folder"));
            let shell = Child::spawn(command, shell);
            assert_eq!(shell.wait_exit(secs(20)), Exit::Code(0), "{}", shell.show_log());
        }
    }
}

/// A certificate whose key is root's, and readable for the group alone; once more, a renewed one.
fn certificate(machine: &Machine) {
    let key = format!("/etc/ssl/{NAME}.key");
    machine.put(&key, "");
    netns::run("groupadd", &["--system", "--force", "obfs-rs"]);
    netns::run("chgrp", &["obfs-rs", &key]);
    netns::run("chmod", &["640", &key]);
    // What is written into a file leaves its rights as they are.
    machine.certificate(NAME);
}

/// nginx as README has it.
fn website(machine: &Machine) -> Child {
    machine.put("/srv/www/index.html", "a website");
    machine.put(
        "/etc/website.conf",
        format!(
            "daemon off; pid /run/website.pid; error_log stderr; user root;
            events {{}}
            http {{
                access_log off;
                server {{
                    listen 127.0.0.1:8443 ssl;
                    server_name {NAME};
                    ssl_certificate /etc/ssl/{NAME}.pem;
                    ssl_certificate_key /etc/ssl/{NAME}.key;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    root /srv/www;
                }}
            }}"
        ),
    );
    machine.serve("nginx", &[8443], &["nginx", "-c", "/etc/website.conf"])
}

/// Renews the certificate, as who may write it, and waits until it is served.
#[track_caller]
fn renew(machine: &Machine) {
    let before = shown(&[]);
    certificate(machine);
    let renewed = fingerprint();
    assert!(before.contains("Fingerprint") && renewed != before, "{before}");
    assert!(eventually(STEP, || shown(&[]) == renewed), "the renewed certificate is not served");
}

const SERVER: &str = "obfs-rs-server@server.service";

#[test]
fn both_halves_run_as_services() {
    Machine::with(secs(120), |machine| {
        need!(
            "systemctl",
            "nsenter",
            "unshare",
            "groupadd",
            "nginx",
            "openssl",
            "curl",
            "ssserver",
            "sslocal"
        );
        let echo = Backend::echo();
        certificate(machine);
        let _website = website(machine);
        let _shadowsocks = machine.serve(
            "ssserver",
            &[8388],
            &["ssserver", "-s", "127.0.0.1:8388", "-m", "aes-256-gcm", "-k", PASSWORD],
        );
        let systemd = Systemd::boot(machine);
        install(machine, &systemd, "obfs-rs-server@.service");
        install(machine, &systemd, "obfs-rs-client@.service");
        let _client = machine.serve(
            "sslocal",
            &[1080],
            &["sslocal", "-s", "127.0.0.1:1984", "-b", "127.0.0.1:1080", "-m", "aes-256-gcm", "-k", PASSWORD],
        );
        carries(echo.addr);
        let url = format!("https://{NAME}/");
        assert_eq!(curl(&[&url]).body, b"a website");
        assert_eq!(curl(&["--no-alpn", &url]).body, b"a website");
        assert!(systemd.journal(SERVER).contains("of the service manager"), "{}", systemd.journal(SERVER));
        confined(&systemd, SERVER, "0000000000000400");
        confined(&systemd, "obfs-rs-client@client.service", "0000000000000000");

        renew(machine);
        // A reload is over when the program says so.
        let open = socks(local(1080), echo.addr);
        let settings = text("systemd/server.json").replace(PATH, "/another-path");
        machine.put("/etc/obfs-rs/server.json", settings);
        systemd.does(&["systemctl", "reload", SERVER]);
        let other = text("systemd/client.json").replace(PATH, "/another-path");
        machine.put("/etc/obfs-rs/client.json", other);
        systemd.does(&["systemctl", "reload", "obfs-rs-client@client"]);
        carries(echo.addr);
        assert_echo(&open, b"it stands");
        assert!(systemd.property(SERVER, "StatusText").contains("listening"));

        restart_refuses_nobody(&systemd);
        carries(echo.addr);
    });
}

/// What a service may do is what its unit leaves it.
#[track_caller]
fn confined(systemd: &Systemd<'_>, unit: &str, capabilities: &str) {
    let pid = systemd.property(unit, "MainPID");
    let status = systemd.does(&["cat", &format!("/proc/{pid}/status")]);
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        &format!("CapPrm:\t{capabilities}"),
        &format!("CapBnd:\t{capabilities}"),
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(!status.contains("Uid:\t0"), "{status}");
}

/// systemd has the port while one process drains and the next begins.
#[track_caller]
fn restart_refuses_nobody(systemd: &Systemd<'_>) {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let some_more = || {
        let before = done.load(Ordering::Relaxed);
        eventually(STEP, || done.load(Ordering::Relaxed) > before + 3)
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(shown(&[]).contains("Fingerprint"), "a client was refused");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let before = systemd.property(SERVER, "MainPID");
        let served = some_more();
        systemd.run(&["systemctl", "restart", SERVER]);
        let served = served && some_more();
        stop.store(true, Ordering::Relaxed);
        assert!(served);
        assert_ne!(systemd.property(SERVER, "MainPID"), before);
    });
    assert_eq!(systemd.property(SERVER, "Result"), "success", "{}", systemd.journal(SERVER));
}

/// All that a server half does, within what the unit leaves it; and what it cannot do is told.
#[test]
fn a_service_has_what_it_needs() {
    Machine::with(secs(90), |machine| {
        need!("systemctl", "nsenter", "unshare", "setpriv", "groupadd", "curl", "openssl");
        let echo = Backend::echo();
        certificate(machine);
        let systemd = Systemd::boot(machine);
        machine.put("/srv/www/index.html", "a website");
        for (name, more) in [
            (
                "full",
                r#""metrics": "/run/obfs-rs/full/metrics.sock", "access-log": "/var/log/obfs-rs/full/access.log", "mptcp": true, "fast-open": true, "limit-buffers": 64, "n": 4096"#,
            ),
            ("wrong", r#""keepalive": "never""#),
        ] {
            let settings = format!(
                r#"{{ "server": ["0.0.0.0", "::"], "server_port": 443, "dst_addr": "{}", "mode": "auto", "tls": true,
                "cert": "/etc/ssl/{NAME}.pem", "key": "/etc/ssl/{NAME}.key", "path": "{PATH}",
                "failover": "dir:/srv/www", "drain": 5, {more} }}"#,
                echo.addr
            );
            machine.put(&format!("/etc/obfs-rs/{name}.json"), settings);
        }
        machine.install("systemd/obfs-rs-server@.service", "/etc/systemd/system/obfs-rs-server@.service");
        systemd.does(&["systemctl", "daemon-reload"]);

        // One line says what is wrong, and it is not tried again.
        let wrong = "obfs-rs-server@wrong.service";
        assert_ne!(systemd.run(&["systemctl", "start", wrong]).1, Exit::Code(0));
        assert_eq!(systemd.property(wrong, "ExecMainStatus"), "23");
        assert_eq!(systemd.property(wrong, "ActiveState"), "failed");
        assert_eq!(systemd.property(wrong, "NRestarts"), "0");
        let journal = systemd.journal(wrong);
        let said = journal.lines().filter(|line| line.contains("keepalive")).count();
        assert_eq!(said, 1, "{journal}");

        let full = "obfs-rs-server@full.service";
        systemd.does(&["systemctl", "start", full]);
        let client = format!("mode=websocket;tls;host={NAME};path={PATH}");
        let client = crate::support::plugin::client(crate::support::plugin::Ours, local(443), &client);
        for _ in 0..3 {
            // Twice as much as begins to be spliced where it can be.
            let stream = connect(client.addr);
            assert_echo(&stream, &crate::support::noise(2 * super::MB, 1));
        }
        let plain = crate::support::plugin::client(
            crate::support::plugin::Ours,
            local(443),
            &format!("obfs=http;obfs-host={NAME};obfs-uri={PATH}"),
        );
        assert_echo(&connect(plain.addr), &crate::support::noise(2 * super::MB, 1));
        assert_eq!(curl(&["--no-alpn", &format!("https://{NAME}/")]).body, b"a website");
        let metrics = ["--unix-socket", "/run/obfs-rs/full/metrics.sock"];
        let page = curl(&[metrics.as_slice(), &["http://localhost/metrics"]].concat());
        let page = String::from_utf8_lossy(&page.body).into_owned();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value > 0.0) || name.contains("cpu"), "{name}: {page}");
        }
        assert_eq!(curl(&[metrics.as_slice(), &["http://localhost/readyz"]].concat()).status, "200");
        renew(machine);
        let log = "/var/log/obfs-rs/full/access.log";
        std::fs::rename(log, format!("{log}.1")).expect("a log");
        systemd.does(&["systemctl", "reload", full]);
        assert_eq!(curl(&["--no-alpn", &format!("https://{NAME}/")]).status, "200");
        let written = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(eventually(STEP, || written().contains("visitor")), "{}", systemd.journal(full));
        systemd.does(&["systemctl", "stop", full]);
        assert_eq!(systemd.property(full, "Result"), "success");
        let journal = systemd.journal(full);
        assert!(!journal.contains("WARN") && !journal.contains("ERROR"), "{journal}");
    });
}

/// The usual way to run it: under a Shadowsocks server. The plugin's file may have the right to low ports of its own
/// (`scripts/install`), or none.
#[test]
fn hosts_run_as_services() {
    Machine::with(secs(120), |machine| {
        need!(
            "systemctl",
            "nsenter",
            "unshare",
            "groupadd",
            "nginx",
            "openssl",
            "curl",
            "ssserver",
            "sslocal",
            "ss-server",
            "setcap"
        );
        let echo = Backend::echo();
        certificate(machine);
        let _website = website(machine);
        put_program(machine, "ssserver");
        let systemd = Systemd::boot(machine);
        let config = file("shadowsocks/client.json").display().to_string();
        let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &config]);
        let host = "shadowsocks-rust-server@server";
        for capable in [false, true] {
            if capable {
                // What lies over it is the program that is tested.
                netns::run("umount", &["--lazy", "/usr/local/bin/obfs-rs"]);
                systemd.does(&["umount", "/usr/local/bin/obfs-rs"]);
                machine.put("/usr/local/bin/obfs-rs", std::fs::read(our_path()).expect("the program"));
                netns::run("chmod", &["755", "/usr/local/bin/obfs-rs"]);
                netns::run("setcap", &["cap_net_bind_service=p", "/usr/local/bin/obfs-rs"]);
                systemd.does(&["systemctl", "start", host]);
            } else {
                install(machine, &systemd, "shadowsocks-rust-server@.service");
            }
            carries_soon(&systemd, host, echo.addr);
            systemd.does(&["systemctl", "stop", host]);
        }
        let unit = "shadowsocks-libev-server@server";
        machine.install("shadowsocks/server.json", "/etc/shadowsocks-libev/server.json");
        install(machine, &systemd, "shadowsocks-libev-server@.service.d/obfs-rs.conf");
        carries_soon(&systemd, unit, echo.addr);
        renew(machine);
    });
}

/// These units are started as soon as their program is, which may not listen yet.
#[track_caller]
fn carries_soon(systemd: &Systemd<'_>, unit: &str, target: std::net::SocketAddr) {
    assert!(eventually(STEP, || crate::support::proc::port_listens(443)), "{}", systemd.journal(unit));
    carries(target);
}
