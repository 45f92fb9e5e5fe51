//! What only a fault of our own shows: a task that never gives its thread back, and a panic.
//!
//! Each test starts this program once more, for itself, with what its child is to do in a variable.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the watchdog has the system's clock"
)]
#![cfg(unix)]

use obfs_rs::os::shutdown::CaughtSignals;
use obfs_rs::runtime::watchdog::{self, EventLoop, watched};
use obfs_rs::telemetry::LogLevel;
use obfs_rs::telemetry::{self, Destination};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

const PART: &str = "OBFS_RS_TEST_PART";

/// What a child does; it does not come back.
fn child(part: &str) -> ! {
    telemetry::init(LogLevel::Debug, Destination::Stderr, "server");
    watchdog::log_panics();
    let event_loop = EventLoop::new(true).expect("a runtime");
    watchdog::start();
    let peer: SocketAddr = "192.0.2.7:4711".parse().expect("an address");
    let stuck = move || {
        tokio::spawn(watched(Some(peer), async {
            watchdog::stage("relay");
            loop {
                std::hint::spin_loop();
            }
        }))
    };
    event_loop.block_on(async {
        let (mut signals, _) = CaughtSignals::catch().and_then(CaughtSignals::listen).expect("signals");
        let ending = tokio::spawn(async move { signals.recv().await });
        match part {
            "stuck" => drop(stuck()),
            "stuck elsewhere" => {
                std::thread::spawn(move || {
                    EventLoop::new(false).expect("a runtime").block_on(async { stuck().await })
                });
            }
            "panic" => {
                let task = watched(Some(peer), async {
                    watchdog::stage("TLS handshake");
                    panic!("two\nlines");
                });
                let ended: Result<(), _> = tokio::spawn(task).await;
                assert!(ended.is_err_and(|error| error.is_panic()));
            }
            _ => {}
        }
        tracing::info!("the child is ready");
        ending.await.expect("no panic").expect("signals");
    });
    tracing::info!("the child ends");
    std::process::exit(3)
}

/// The child of a test.
struct Part {
    process: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Part {
    fn start(test: &str, part: &str) -> Part {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", test, "--nocapture"]).env(PART, part);
        let mut process =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start this program");
        let lines = BufReader::new(process.stderr.take().expect("its stderr")).lines();
        Part { process, lines }
    }

    /// The next line with this in it.
    fn line(&mut self, text: &str) -> String {
        let mut all = String::new();
        for line in self.lines.by_ref() {
            let line = line.expect("a line");
            if line.contains(text) {
                return line;
            }
            all = all + "\n" + &line;
        }
        panic!("no line with `{text}` in:{all}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("signal a child");
    }

    /// Its exit code, soon.
    fn code(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a test, or what its child is to do.
fn test(body: impl FnOnce()) {
    match std::env::var(PART) {
        Ok(part) => child(&part),
        Err(_) => body(),
    }
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_first_thread_that_is_stuck_is_told_of_and_signals_end_the_process() {
    test(|| {
        for signal in [Signal::TERM, Signal::INT] {
            let mut part =
                Part::start("a_first_thread_that_is_stuck_is_told_of_and_signals_end_the_process", "stuck");
            let line = part.line("has not returned to its event loop");
            assert!(
                line.contains("ERROR") && line.contains("192.0.2.7:4711") && line.contains("relay"),
                "{line}"
            );
            part.signal(signal);
            assert_eq!(part.code(SOON), Some(0));
        }
    });
}

/// The signal comes before anybody knows that the thread is stuck.
#[test]
fn a_signal_that_nobody_has_heard_ends_the_process_once_it_is_known_to_be_stuck() {
    test(|| {
        let mut part = Part::start(
            "a_signal_that_nobody_has_heard_ends_the_process_once_it_is_known_to_be_stuck",
            "stuck",
        );
        part.line("the child is ready");
        part.signal(Signal::TERM);
        part.line("has not returned to its event loop");
        part.line("ending");
        assert_eq!(part.code(SOON), Some(0));
    });
}

#[test]
fn a_second_signal_is_not_waited_for() {
    test(|| {
        let mut part = Part::start("a_second_signal_is_not_waited_for", "stuck");
        part.line("the child is ready");
        let began = Instant::now();
        part.signal(Signal::TERM);
        // The two must not become one.
        while began.elapsed() < Duration::from_millis(200) {
            std::thread::sleep(Duration::from_millis(20));
        }
        part.signal(Signal::TERM);
        assert_eq!(part.code(SOON), Some(0));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn another_thread_that_is_stuck_is_told_of_and_the_first_one_goes_on() {
    test(|| {
        let mut part = Part::start(
            "another_thread_that_is_stuck_is_told_of_and_the_first_one_goes_on",
            "stuck elsewhere",
        );
        let line = part.line("has not returned to its event loop");
        assert!(line.contains("192.0.2.7:4711"), "{line}");
        part.signal(Signal::TERM);
        part.line("the child ends");
        assert_eq!(part.code(SOON), Some(3));
    });
}

#[test]
fn a_panic_is_one_line_with_its_place_and_its_peer_and_ends_nothing_else() {
    test(|| {
        let mut part =
            Part::start("a_panic_is_one_line_with_its_place_and_its_peer_and_ends_nothing_else", "panic");
        let line = part.line("panicked");
        for word in ["ERROR", "two lines", "stuck.rs:", "192.0.2.7:4711", "TLS handshake", "count=1"] {
            assert!(line.contains(word), "{word} in {line}");
        }
        part.line("the child is ready");
        part.signal(Signal::TERM);
        assert_eq!(part.code(SOON), Some(3));
    });
}
