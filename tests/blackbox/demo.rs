//! The demonstration, as somebody runs it who has just built the program.

use crate::support::child::{Child, Exit};
use crate::support::conn::{connect, recv_to_end, send};
use crate::support::plugin::ours;
use crate::support::{eventually, secs, within};
use rustix::process::Signal;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Stdio};

/// One that stays, and its standard input.
fn staying() -> (Child, ChildStdin) {
    let mut command = ours();
    command.args(["demo", "--stay"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut inner = command.spawn().expect("start the demonstration");
    let stdin = inner.stdin.take().expect("its standard input");
    (Child::started("demo --stay", inner), stdin)
}

/// The address that is to be opened in a browser, once it is told.
fn page(demo: &Child) -> SocketAddr {
    let told = || demo.lines().iter().find_map(|line| line.split("http://").nth(1).map(str::to_owned));
    // 100 MB go through a program without optimizations before.
    assert!(eventually(secs(120), || told().is_some() || demo.peek_exit().is_some()), "{}", demo.show_log());
    let url = told().unwrap_or_else(|| panic!("no page; {}", demo.show_log()));
    url.split('/').next().and_then(|address| address.parse().ok()).expect("an address")
}

#[test]
fn it_says_what_it_does_and_what_to_do_next() {
    within(secs(180), || {
        let mut command = ours();
        command.arg("demo");
        let demo = Child::spawn("demo", command);
        assert_eq!(demo.wait_exit(secs(150)), Exit::Code(0), "{}", demo.show_log());
        let lines = demo.lines();
        let at = |words: &str| {
            let found = lines.iter().position(|line| line.contains(words));
            found.unwrap_or_else(|| panic!("no “{words}”; {}", demo.show_log()))
        };
        let order =
            ["That takes seconds", "50 of 100 MB", "every byte as it was sent", "All of it held.", "Next:"];
        assert!(order.map(at).is_sorted(), "{lines:?}");
        let next = lines.iter().find(|line| line.contains("demo --stay")).expect("the next command");
        let program = next.split_whitespace().next().expect("a program");
        assert!(std::path::Path::new(program).is_file(), "{next}");
    });
}

#[test]
fn a_page_can_be_looked_at_until_enter() {
    within(secs(180), || {
        let (demo, mut stdin) = staying();
        let server = page(&demo);
        for _ in 0..2 {
            let browser = connect(server);
            send(&browser, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n");
            let (answer, _) = recv_to_end(&browser, secs(10));
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("<h1>A small shop</h1>"),
                "{answer}"
            );
        }
        stdin.write_all(b"looked").expect("a key that is not Enter");
        assert_eq!(demo.peek_exit(), None, "{}", demo.show_log());
        stdin.write_all(b"\n").expect("Enter");
        assert_eq!(demo.wait_exit(secs(10)), Exit::Code(0), "{}", demo.show_log());
        demo.wait_text("Next:");
        assert!(!demo.lines().iter().any(|line| line.contains("demo --stay")), "{}", demo.show_log());
    });
}

#[test]
fn it_ends_with_its_input_and_on_signals() {
    within(secs(240), || {
        let all: Vec<_> = [None, Some(Signal::TERM), Some(Signal::INT)].map(|end| (end, staying())).into();
        for (end, (demo, stdin)) in all {
            let server = page(&demo);
            drop(connect(server));
            let open = match end {
                None => {
                    drop(stdin);
                    None
                }
                Some(signal) => {
                    demo.signal(signal);
                    Some(stdin)
                }
            };
            assert_eq!(demo.wait_exit(secs(10)), Exit::Code(0), "{end:?}: {}", demo.show_log());
            drop(open);
        }
    });
}
