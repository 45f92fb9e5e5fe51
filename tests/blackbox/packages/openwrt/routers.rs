//! The plugin as routers' own scripts start and stop it, by the names that the drop-in packages install.

use super::feed::DROP_INS;
use super::{Sdk, source};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::assert_echo;
use crate::support::hosts::{Family, Host, socks};
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::ports::free_port;
use crate::support::proc::{self, Proc};
use crate::support::{eventually, netns, noise, secs, within};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Names that a client's plugin has, each with options by which it reaches the same server.
const CLIENTS: [(&str, &str); 3] = [
    ("obfs-local", "obfs=http;obfs-host=www.example.com;obfs-uri=/tunnel"),
    ("v2ray-plugin", "host=www.example.com;path=/tunnel"),
    ("xray-plugin", "host=www.example.com;path=/tunnel"),
];

/// What the server takes: every kind of client, on one path.
const SERVER: &str = "path=/tunnel;obfs-uri=/tunnel";

/// A router with one size of obfs-rs and all drop-ins; its programs' folder.
#[track_caller]
fn router(sdk: &Sdk) -> PathBuf {
    let names = DROP_INS.map(|(replaced, _)| format!("obfs-rs-drop-in-{replaced}"));
    let mut packages = vec![("obfs-rs", "obfs-rs-full")];
    packages.extend(names.iter().map(|name| ("obfs-rs-drop-in", name.as_str())));
    let bin = sdk.install(&packages).join("usr/bin");
    std::fs::remove_file(bin.join("obfs-rs")).expect("the program's place");
    std::os::unix::fs::symlink(our_path(), bin.join("obfs-rs")).expect("the program");
    bin
}

/// The settings of a Shadowsocks client, as a file.
fn settings(sdk: &Sdk, server: SocketAddr, socks: u16, plugin: &Path, options: &str) -> PathBuf {
    let settings = serde_json::json!({
        "server": server.ip().to_string(), "server_port": server.port(),
        "local_address": "127.0.0.1", "local_port": socks,
        "method": "aes-256-gcm", "password": "correct horse",
        "plugin": plugin, "plugin_opts": options,
    });
    sdk.0.write("passwall/client.json", settings.to_string())
}

/// The script that passwall puts between Shadowsocks and its plugin: it starts that in the background, so that SIGINT
/// is ignored, notes its number, and waits.
fn between(sdk: &Sdk, bin: &Path, plugin: &str) -> PathBuf {
    let note = sdk.path().join("passwall/plugin.pid");
    let shell = peers::path("busybox");
    let script = format!(
        "#!{} sh\nexport PATH={}:$PATH\n{plugin} $@ &\necho $! > {}\nwait\n",
        shell.display(),
        bin.display(),
        note.display()
    );
    let script = sdk.0.write("passwall/plugin.sh", script);
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("a script");
    script
}

/// The processes whose command line names this folder.
fn of_folder(folder: &Path) -> Vec<i32> {
    let folder = folder.display().to_string();
    let numbers = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let names_it = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder))
    };
    numbers.filter(names_it).collect()
}

/// Started through a script, the plugin outlives nobody: passwall kills Shadowsocks and the script, by the folder in their
/// command lines, which the plugin's has not. The next start finds the same ports free.
fn passwall(family: Family, program: &str) {
    let sdk = Sdk::new();
    let bin = router(&sdk);
    let echo = Backend::echo();
    let server = Host::server(Family::Rust, &our_path(), SERVER);
    let entry = free_port();
    let folder = sdk.path().join("passwall");
    for (name, options) in CLIENTS {
        let settings = settings(&sdk, server.addr, entry, &between(&sdk, &bin, name), options);
        let mut command = bare(peers::path(program));
        command.arg("-c").arg(&settings);
        let host = Child::spawn(program, command);
        host.wait_listening(entry);
        let mut plugin = None;
        eventually(secs(20), || {
            let script = proc::children_of(host.pid());
            plugin = script
                .iter()
                .flat_map(|it| proc::children_of(it.pid))
                .find(|it| !proc::listening_ports(it.pid).is_empty());
            plugin.is_some()
        });
        let plugin = plugin.unwrap_or_else(|| panic!("{name} does not listen; {}", host.show_log()));
        assert_eq!(plugin.name, name);
        let noted = std::fs::read_to_string(folder.join("plugin.pid")).expect("the number");
        assert_eq!(noted.trim(), plugin.pid.to_string());
        assert_echo(&socks(SocketAddr::from(([127, 0, 0, 1], entry)), echo.addr), &noise(256 * 1024, 3));

        let stopped = of_folder(&folder);
        assert_eq!(stopped.len(), 2, "{family:?} and the script: {stopped:?}");
        assert!(!stopped.contains(&plugin.pid), "then the script's end would be no test");
        for pid in stopped {
            let _ = kill_process(Pid::from_raw(pid).expect("a number"), Signal::KILL);
        }
        assert!(plugin.wait_gone(secs(4)), "{name} outlives passwall");
    }
}

#[test]
fn passwall_with_shadowsocks_rust_leaves_no_plugin_behind() {
    within(secs(120), || {
        need!("busybox", "make", "sslocal", "ssserver");
        passwall(Family::Rust, "sslocal");
    });
}

#[test]
fn passwall_with_shadowsocks_libev_leaves_no_plugin_behind() {
    within(secs(120), || {
        need!("busybox", "make", "ss-local", "ssserver");
        passwall(Family::Libev, "ss-local");
    });
}

/// ssr-plus asks the shell whether there is such a plugin, starts Shadowsocks with its name, and ends all processes of
/// that name. They are those of a namespace of its own here.
#[test]
fn ssr_plus_finds_starts_and_stops_it_by_its_name() {
    netns::alone(secs(120), || {
        need!("busybox", "make", "sslocal", "ssserver", "nsenter");
        let sdk = Sdk::new();
        let bin = router(&sdk);
        let echo = Backend::echo();
        let server = Host::server(Family::Rust, &our_path(), SERVER);
        let entry = free_port();
        let script = sdk.0.write("ssrplus.sh", include_str!("ssrplus.sh"));
        for (name, options) in CLIENTS {
            let settings = settings(&sdk, server.addr, entry, Path::new(name), options);
            let mut command = bare(peers::path("unshare"));
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
            command.arg(peers::path("busybox")).arg("sh").arg(&script);
            command.arg(peers::path("sslocal")).arg(settings).arg(name).arg(sdk.path().join("stop"));
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", bin.display()));
            command.env("busybox", peers::path("busybox"));
            let router = Child::spawn("ssr-plus", command);
            router.wait_text("found ");
            router.wait_listening(entry);
            assert_echo(&socks(SocketAddr::from(([127, 0, 0, 1], entry)), echo.addr), &noise(256 * 1024, 4));
            let plugin = named(name, &router);
            sdk.0.write("stop", "");
            assert_eq!(router.wait_exit(secs(20)), Exit::Code(0), "{}", router.show_log());
            let lines = router.lines();
            let found = format!("found {}", bin.join(name).display());
            assert!(lines.contains(&found), "{}", router.show_log());
            // By its name alone it was found and ended, while its host still ran.
            assert!(
                lines.iter().any(|line| line.starts_with("before: ") && line.len() > "before: ".len()),
                "{lines:?}"
            );
            assert!(lines.iter().any(|line| line == "after:"), "{}", router.show_log());
            assert!(!plugin.alive(), "{name}");
            std::fs::remove_file(sdk.path().join("stop")).expect("a file of the test");
        }
    });
}

/// The process of that name among all that a router has started.
#[track_caller]
fn named(name: &str, router: &Child) -> Proc {
    let mut found = None;
    let mut level = proc::children_of(router.pid());
    while found.is_none() && !level.is_empty() {
        found = level.iter().find(|it| it.name == name).cloned();
        level = level.iter().flat_map(|it| proc::children_of(it.pid)).collect();
    }
    found.unwrap_or_else(|| panic!("no process is called {name}; {}", router.show_log()))
}

/// Both scripts look into `/usr/bin`, and so does whoever reads the feed's README for its names.
#[test]
fn the_readme_names_every_package() {
    let readme = std::fs::read_to_string(source().join("packaging/openwrt/README.md")).expect("the README");
    for (replaced, program) in DROP_INS {
        assert!(readme.contains(&format!("`obfs-rs-drop-in-{replaced}`")), "{replaced}");
        assert!(readme.contains(&format!("`/usr/bin/{program}`")), "{program}");
    }
}
