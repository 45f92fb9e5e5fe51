//! The files for Linux: static programs, each under the user-mode emulator of its processor.

use super::{DISGUISES, client, dist, server, the_one};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::{self, need};
use crate::support::plugin::{self, SimpleObfs, Vars, bare, our_path};
use crate::support::ports::free_port;
use crate::support::proc::port_listens;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{eventually, noise, secs, within};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const MB: usize = 1024 * 1024;

/// A release file, unpacked.
struct File {
    /// Runs it.
    program: PathBuf,
    features: Vec<String>,
    _folder: TempDir,
}

impl File {
    /// `runner` is the emulator, if it takes one.
    fn unpack(name: &str, runner: Option<&str>) -> File {
        let archive = the_one(&dist(), &format!("obfs-rs-{name}-v"), ".tar.gz");
        let folder = TempDir::new(name);
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()));
        let unpacked = the_one(folder.path(), &format!("obfs-rs-{name}-v"), "");
        for file in
            ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-OF-DEPENDENCIES.txt", "obfs-rs.cdx.json"]
        {
            assert!(unpacked.join(file).metadata().is_ok_and(|it| it.len() > 500), "{file} is not in {name}");
        }
        assert!(unpacked.join("man/obfs-rs.1").is_file(), "no manual page in {name}");
        let mut program = unpacked.join("obfs-rs");
        assert_is_static(&program);
        if let Some(runner) = runner {
            let emulator = peers::path(runner);
            let text = format!("#!/bin/sh\nexec {} {} \"$@\"\n", emulator.display(), program.display());
            program = folder.write("emulated/obfs-rs", text);
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
        }
        let version = run(bare(program.clone()).arg("--version"));
        let features = version.lines().find_map(|line| line.strip_prefix("features: ")).expect("features");
        let features = features.split(' ').map(str::to_owned).collect();
        File { program, features, _folder: folder }
    }

    fn has(&self, feature: &str) -> bool {
        feature.is_empty() || self.features.iter().any(|has| has == feature)
    }
}

/// What a program prints; it has to end well.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("start a program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?} {text} {errors}", output.status);
    text
}

/// It asks for no program that would load it, so it runs wherever the kernel does.
fn assert_is_static(program: &Path) {
    let headers = run(Command::new("readelf").arg("-lW").arg(program));
    assert!(headers.contains("LOAD"), "{headers}");
    assert!(!headers.contains("INTERP"), "{} is not static: {headers}", program.display());
}

/// Megabytes there and back, and a second connection's beside them.
fn echoes(
    name: &str,
    (of_client, client_options): (&Path, &str),
    (of_server, server_options): (&Path, &str),
) {
    let backend = Backend::echo();
    let server =
        server(&format!("{name}, server, {server_options}"), of_server, backend.addr, server_options);
    let client = client(&format!("{name}, client, {client_options}"), of_client, server.addr, client_options);
    std::thread::scope(|scope| {
        for (seed, len) in [(1, 8 * MB), (2, 1000)] {
            let addr = client.addr;
            scope.spawn(move || assert_echo(&connect(addr), &noise(len, seed)));
        }
    });
}

/// All that a file has to do.
fn works(name: &'static str, runner: Option<&'static str>) {
    within(secs(300), move || {
        need!("obfs-local", "obfs-server", "ss-v2ray-plugin");
        if let Some(runner) = runner
            && !peers::have(&[runner])
        {
            return;
        }
        let file = File::unpack(name, runner);
        refuses_bad_options(&file);
        ends_with_its_host(&file);
        let certificate = Certificate::new(NAME);
        let native = our_path();
        for (feature, for_client, for_server) in DISGUISES {
            // With the other byte order qemu hands over the lengths of joined UDP packets as they are here.
            if !file.has(feature) || (name, feature) == ("linux-mips", "quic") {
                continue;
            }
            let (mut for_client, mut for_server) = (for_client.to_owned(), for_server.to_owned());
            if matches!(feature, "tls" | "quic") {
                for_client = format!("{for_client};{}", certificate.for_client());
                for_server = format!("{for_server};{}", certificate.for_server());
            }
            echoes(name, (&file.program, &for_client), (&native, &for_server));
            echoes(name, (&native, &for_client), (&file.program, &for_server));
        }
        with_simple_obfs(name, &file);
        with_v2ray_plugin(name, &file);
        demonstrates(&file);
    });
}

fn with_simple_obfs(name: &str, file: &File) {
    for disguise in ["http", "tls"] {
        let obfs_local = peers::path("obfs-local");
        let (for_client, for_server) = (format!("obfs={disguise};obfs-host=a"), format!("obfs={disguise}"));
        let backend = Backend::echo();
        let theirs = plugin::server(SimpleObfs, backend.addr, &for_server);
        let ours = client(name, &file.program, theirs.addr, &for_client);
        assert_echo(&connect(ours.addr), &noise(MB, 3));
        echoes(name, (&obfs_local, &for_client), (&file.program, &for_server));
    }
}

fn with_v2ray_plugin(name: &str, file: &File) {
    let theirs = peers::path("ss-v2ray-plugin");
    let certificate = Certificate::new(NAME);
    for tls in [false, true] {
        if tls && !file.has("tls") {
            continue;
        }
        let (mut for_client, mut for_server) = (format!("host={NAME}"), String::new());
        if tls {
            for_client = certificate.for_client();
            for_server = certificate.for_server();
        }
        let ours = "mode=websocket;";
        echoes(name, (&file.program, &format!("{ours}{for_client}")), (&theirs, &for_server));
        echoes(name, (&theirs, &for_client), (&file.program, &format!("{ours}{for_server}")));
    }
}

/// Both halves in one process, with an application and a server of their own.
fn demonstrates(file: &File) {
    let mut command = bare(file.program.clone());
    command.arg("demo");
    let child = Child::spawn("demo", command);
    assert_eq!(child.wait_exit(secs(120)), Exit::Code(0), "{}", child.show_log());
}

fn refuses_bad_options(file: &File) {
    let mut command = bare(file.program.clone());
    command.args(["client", "--obfs-hots", "x"]);
    let child = Child::spawn("bad options", command);
    assert_eq!(child.wait_exit(secs(20)), Exit::Code(23), "{}", child.show_log());
    assert!(child.lines().join("\n").contains("obfs-host"), "{}", child.show_log());
}

/// A host that is killed takes its plugin with it.
fn ends_with_its_host(file: &File) {
    let port = free_port();
    let mut host = bare(PathBuf::from("/bin/sh"));
    host.args(["-c", "\"$0\" & echo plugin $!; wait"]).arg(&file.program);
    Vars {
        remote: ("127.0.0.1".to_owned(), 9),
        local: ("127.0.0.1".to_owned(), port),
        options: "obfs=http;obfs-host=a".to_owned(),
    }
    .put(&mut host);
    let host = Child::spawn("a host", host);
    host.wait_listening(port);
    host.signal(Signal::KILL);
    assert!(
        eventually(secs(5), || !port_listens(port)),
        "the plugin has outlived its host: {}",
        host.show_log()
    );
}

macro_rules! files {
    ($($name:ident: $file:literal, $runner:expr;)*) => {
        $(
            #[test]
            fn $name() {
                works($file, $runner);
            }
        )*
    };
}

files! {
    amd64: "linux-amd64", None;
    i386: "linux-386", None;
    arm64: "linux-arm64", Some("qemu-aarch64-static");
    arm7: "linux-arm7", Some("qemu-arm-static");
    arm: "linux-arm", Some("qemu-arm-static");
    riscv64: "linux-riscv64", Some("qemu-riscv64-static");
    mipsle: "linux-mipsle", Some("qemu-mipsel-static");
    mips: "linux-mips", Some("qemu-mips-static");
    small_amd64: "small-linux-amd64", None;
    small_arm7: "small-linux-arm7", Some("qemu-arm-static");
    small_mipsle: "small-linux-mipsle", Some("qemu-mipsel-static");
    small_mips: "small-linux-mips", Some("qemu-mips-static");
}
