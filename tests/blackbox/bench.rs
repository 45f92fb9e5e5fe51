//! `scripts/bench` itself: that it measures what it says. How fast anything is, is not asked here.

use crate::support::child::{Child, Exit};
use crate::support::peers::need;
use crate::support::plugin::{bare, our_path};
use crate::support::tempdir::TempDir;
use crate::support::{netns, secs};
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
        let words = "--scale --quick --megabytes 3 --tunnels 1,30 --only simple-obfs-http,ours-ws-mux";
        let (exit, child) = bench(&dir, words);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
        let figures: Value = serde_json::from_str(&read("figures.json")).expect("JSON");
        for name in ["simple-obfs-http", "ours-ws-mux"] {
            for tunnels in ["1", "30"] {
                let point = &figures["contenders"][name]["tunnels"][tunnels];
                assert_eq!(point["notes"], Value::Array(vec![]), "{name} {tunnels}: {}", child.show_log());
                for metric in ["up_cpu", "down_cpu", "connection_cpu_ms", "up_gbps", "peak_mib"] {
                    let value = point["median"][metric].as_f64().unwrap_or_default();
                    assert!(value > 0.0, "{name} {tunnels}: {metric} is {value}");
                }
            }
        }
        assert!(read("plot.svg").ends_with("</svg>\n"));
        let lines = child.lines();
        for title in ["**CPU a GB**", "**CPU a new tunnel**", "**Memory a tunnel**", "**CPU at rest**"] {
            assert!(lines.iter().any(|line| line.starts_with(title)), "no {title}: {lines:?}");
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
        ("--scale --tunnels 0", "--tunnels"),
        ("--scale --tunnels many", "--tunnels"),
        ("--scale --only direct", "--only: none of them takes part in --scale"),
        ("--scale --only nobody", "unknown: nobody"),
    ] {
        let (exit, child) = bench(&dir, words);
        assert!(matches!(exit, Exit::Code(1 | 2)), "{words}: {exit:?}");
        let lines = child.lines();
        assert!(lines.iter().any(|line| line.contains(told)), "{words}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("Traceback")), "{words}: {lines:?}");
    }
}
