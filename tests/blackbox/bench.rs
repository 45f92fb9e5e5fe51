//! `scripts/bench` itself: that it measures what it says. How fast anything is, is not asked here.

use crate::support::child::{Child, Exit};
use crate::support::peers::need;
use crate::support::plugin::{bare, our_path};
use crate::support::tempdir::TempDir;
use crate::support::{eventually, netns, secs};
use rustix::process::Signal;
use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bench");

/// Runs it, and returns how it ended and its lines.
fn bench(dir: &TempDir, words: &str) -> (Exit, Child) {
    let mut command = bare(SCRIPT.into());
    command.args(words.split(' ')).arg("--binary").arg(our_path()).arg("--no-install");
    command.arg("--json").arg(dir.path().join("figures.json")).arg("--svg").arg(dir.path().join("plot.svg"));
    command.env("TMPDIR", dir.path());
    let child = Child::spawn(words, command);
    (child.wait_exit(secs(100)), child)
}

#[test]
fn the_costs_of_more_and_more_tunnels_are_measured() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3", "obfs-server", "obfs-local");
        let dir = TempDir::new("bench");
        let words = "--scale --quick --megabytes 3 --tunnels 1,100 --only simple-obfs-http,ours-ws-mux";
        let (exit, child) = bench(&dir, words);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
        let figures: Value = serde_json::from_str(&read("figures.json")).expect("JSON");
        for name in ["simple-obfs-http", "ours-ws-mux"] {
            for tunnels in ["1", "100"] {
                let point = &figures["contenders"][name]["tunnels"][tunnels];
                assert_eq!(point["notes"], Value::Array(vec![]), "{name} {tunnels}: {}", child.show_log());
                for metric in ["up_cpu", "down_cpu", "connection_cpu_ms", "up_gbps", "peak_mib"] {
                    let value = point["median"][metric].as_f64().unwrap_or_default();
                    assert!(value > 0.0, "{name} {tunnels}: {metric} is {value}");
                }
                // What one tunnel holds is less than what a process takes and gives back.
                for metric in ["server_kib", "client_kib"] {
                    let value = &point["median"][metric];
                    assert_eq!(value.is_number(), tunnels == "100", "{name} {tunnels}: {metric} is {value}");
                    assert!(value.is_number() || value.is_null(), "{name} {tunnels}: {metric} is {value}");
                }
            }
        }
        assert!(read("plot.svg").ends_with("</svg>\n"));
        let lines = child.lines();
        for title in ["**CPU a GB**", "**CPU a new tunnel**", "**Memory a tunnel**", "**CPU at rest**"] {
            assert!(lines.iter().any(|line| line.starts_with(title)), "no {title}: {lines:?}");
        }
        let mut memory = lines.iter().skip_while(|line| !line.starts_with("**Memory a tunnel**"));
        let memory = memory.find(|line| line.starts_with("| ours ws mux |")).expect("a row");
        assert!(memory.starts_with("| ours ws mux | – | "), "{memory}");
        assert!(!lines.iter().any(|line| line.contains("1 tunnels")), "{lines:?}");
    });
}

/// Its server listens on no TCP port, and its client's first bytes are a datagram.
#[test]
fn the_column_of_quic_is_measured() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3", "ss-v2ray-plugin", "openssl");
        let dir = TempDir::new("bench");
        let words = "--quick --rows idle,startup --idle-connections 70 --only v2ray-quic,ours-quic";
        let (exit, child) = bench(&dir, words);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let text = std::fs::read_to_string(dir.path().join("figures.json")).expect("figures");
        let figures: Value = serde_json::from_str(&text).expect("JSON");
        for name in ["v2ray-quic", "ours-quic"] {
            let column = &figures["contenders"][name];
            assert_eq!(column["notes"], Value::Array(vec![]), "{name}: {}", child.show_log());
            for metric in ["idle_server_kib", "idle_client_kib", "startup_server_ms", "startup_client_ms"] {
                let value = column["median"][metric].as_f64().unwrap_or_default();
                assert!(value > 0.0, "{name}: {metric} is {value}");
            }
        }
    });
}

/// Its peer is no plugin, and has files of settings.
#[test]
fn the_columns_of_grpc_are_measured() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3", "v2ray", "openssl");
        let dir = TempDir::new("bench");
        let columns = ["v2ray-grpc", "v2ray-grpc-tls", "ours-grpc", "ours-grpc-tls"];
        let words = format!("--quick --rows idle,startup --idle-connections 70 --only {}", columns.join(","));
        let (exit, child) = bench(&dir, &words);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let text = std::fs::read_to_string(dir.path().join("figures.json")).expect("figures");
        let figures: Value = serde_json::from_str(&text).expect("JSON");
        for name in columns {
            let column = &figures["contenders"][name];
            assert_eq!(column["notes"], Value::Array(vec![]), "{name}: {}", child.show_log());
            for metric in ["idle_server_kib", "idle_client_kib", "startup_server_ms", "startup_client_ms"] {
                let value = column["median"][metric].as_f64().unwrap_or_default();
                assert!(value > 0.0, "{name}: {metric} is {value}");
            }
        }
    });
}

#[test]
fn words_that_do_not_go_together_are_told() {
    need!("python3");
    let dir = TempDir::new("bench");
    for (words, told) in [
        ("--scale --rows bulk --seconds 3", "--rows, --seconds: not with --scale"),
        ("--tunnels 1,2", "--tunnels: not without --scale"),
        ("--scale --tunnels 0", "argument --tunnels: expected a whole number from 1, not '0'"),
        ("--scale --tunnels 1,many", "argument --tunnels: expected a whole number from 1, not 'many'"),
        ("--scale --only direct", "--only direct: not with --scale; those that take part: simple-obfs-http,"),
        ("--scale --only haproxy,ours-http", "--only haproxy: not with --scale"),
        ("--scale --only nobody", "unknown: nobody"),
    ] {
        let (exit, child) = bench(&dir, words);
        assert_eq!(exit, Exit::Code(2), "{words}");
        let lines = child.lines();
        assert!(lines.iter().any(|line| line.contains(told)), "{words}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("Traceback")), "{words}: {lines:?}");
    }
}

#[test]
fn the_list_has_those_that_are_measured() {
    need!("python3");
    for (words, haproxy) in [("--list", true), ("--scale --list", false)] {
        let dir = TempDir::new("bench");
        let (exit, child) = run(&dir, words, None);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let lists = |name: &str| child.lines().iter().any(|line| line.starts_with(name));
        assert!(lists("simple-obfs-http ") && lists("ours-wss "), "{}", child.show_log());
        assert_eq!(lists("haproxy "), haproxy, "{}", child.show_log());
    }
}

/// Runs it with just these words, under a limit on open files where there is one.
fn run(dir: &TempDir, words: &str, limit: Option<u32>) -> (Exit, Child) {
    let mut command = bare("sh".into());
    let limit = limit.map_or(String::new(), |limit| format!("ulimit -n {limit}; "));
    command.arg("-c").arg(format!("{limit}exec {SCRIPT} --quick --no-install {words}"));
    command.current_dir(dir.path()).env("TMPDIR", dir.path());
    let child = Child::spawn(words, command);
    (child.wait_exit(secs(60)), child)
}

/// One line tells what is wrong, and nothing else is there to be read.
#[track_caller]
fn assert_told(child: &Child, told: &str) {
    let lines = child.lines();
    assert!(lines.iter().any(|line| line.contains(told)), "no `{told}` in {lines:?}");
    assert!(!lines.iter().any(|line| line.contains("Traceback")), "{lines:?}");
}

/// What is in the folder.
fn left(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_cannot_be_written_or_run_is_told_before_it_begins() {
    need!("python3");
    let ours = our_path();
    let ours = ours.display();
    for (words, told) in [
        (format!("--binary {ours} --json none/x/a.json"), "--json none/x/a.json: No such file or directory"),
        (format!("--binary {ours} --json ."), "--json .: Is a directory"),
        (format!("--binary {ours} --json a.json --svg {ours}/a"), "Not a directory"),
        (
            format!("--binary {ours} --json a --svg b --earlier /nope"),
            "argument --earlier: /nope: no such program",
        ),
        ("--json a --svg b --binary .".to_owned(), "argument --binary: . is not a file"),
        ("--json a --svg b --binary /etc/passwd".to_owned(), "--binary: /etc/passwd is not executable"),
    ] {
        let dir = TempDir::new("bench");
        let (exit, child) = run(&dir, &format!("--only ours-http --rows idle {words}"), None);
        assert_eq!(exit, Exit::Code(2), "{words}");
        assert_told(&child, told);
        assert_eq!(left(&dir), [] as [String; 0], "{words}");
    }
}

#[test]
fn what_could_not_be_measured_is_no_success() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3");
        let ours = our_path();
        for (words, limit, code, told) in [
            ("--rows idle --binary /bin/true", None, 1, "nothing could be measured: ended at start-up: true"),
            (
                "--scale --tunnels 1 --binary /bin/true",
                None,
                1,
                "nothing could be measured: ended at start-up",
            ),
            ("--rows idle --binary OURS", Some(60), 1, "the limit on open files, 60, is too low"),
            ("--scale --tunnels 20 --binary OURS", Some(60), 1, "the limit on open files, 60, is too low"),
            (
                "--scale --tunnels 100 --binary OURS",
                Some(450),
                2,
                "--tunnels: the limit on open files, 450, allows 38 tunnels",
            ),
        ] {
            let dir = TempDir::new("bench");
            let words = words.replace("OURS", &ours.display().to_string());
            let (exit, child) = run(&dir, &format!("--only ours-http --json a --svg b {words}"), limit);
            assert_eq!(exit, Exit::Code(code), "{}", child.show_log());
            assert_told(&child, told);
            assert_eq!(left(&dir), [] as [String; 0], "{words}");
        }
    });
}

#[test]
fn few_files_are_enough_for_few_tunnels_and_a_full_disk_costs_no_table() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3");
        let dir = TempDir::new("bench");
        let words = format!(
            "--scale --megabytes 3 --tunnels 20,100 --only ours-http --json /dev/full --svg b --binary {}",
            our_path().display()
        );
        let (exit, child) = run(&dir, &words, Some(450));
        assert_eq!(exit, Exit::Code(1), "{}", child.show_log());
        assert_told(&child, "not written: /dev/full: No space left on device");
        assert_told(&child, "allows 12 that come and go instead of 500");
        let row = child.lines().into_iter().filter(|line| line.starts_with("| ours http | ")).count();
        assert!(row >= 5, "{}", child.show_log());
        assert!(!child.lines().iter().any(|line| line.contains("failed")), "{}", child.show_log());
        assert_eq!(left(&dir), ["b"]);
    });
}

#[test]
fn an_interrupted_bench_leaves_nothing() {
    if !netns::may() {
        return;
    }
    netns::alone(secs(120), || {
        need!("python3");
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let dir = TempDir::new("bench");
            // What a killed run would leave is cleared (no process has such a number), and what is not a run's stays.
            std::fs::create_dir_all(dir.path().join("obfs-rs-bench-4194305-gone/x")).expect("a folder");
            std::fs::create_dir(dir.path().join("obfs-rs-bench-x")).expect("a folder");
            let mut command = bare(SCRIPT.into());
            command.args("--quick --rows idle --rounds 50 --only ours-http --no-install".split(' '));
            command.arg("--binary").arg(our_path()).arg("--json").arg(dir.path().join("a"));
            command.arg("--svg").arg(dir.path().join("b")).env("TMPDIR", dir.path());
            let child = Child::spawn("bench", command);
            let under_way = || child.lines().iter().any(|line| line.starts_with("[1/50]"));
            assert!(eventually(secs(60), under_way), "{}", child.show_log());
            let of_this_run = format!("obfs-rs-bench-{}-", child.pid());
            let (its, others): (Vec<_>, Vec<_>) =
                left(&dir).into_iter().partition(|name| name.starts_with(&of_this_run));
            assert_eq!((its.len(), others), (1, vec!["obfs-rs-bench-x".to_owned()]));
            child.signal(signal);
            assert_eq!(child.wait_exit(secs(20)), Exit::Code(code), "{}", child.show_log());
            assert_eq!(left(&dir), ["obfs-rs-bench-x"]);
        }
    });
}
