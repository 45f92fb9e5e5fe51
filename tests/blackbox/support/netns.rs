//! A network of a test's own: interfaces, routes, settings and counters that nobody else has.

use super::{peers, within};
use rustix::thread::{UnshareFlags, gettid};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Whether this user may make namespaces. With `CI=true` it is a failure if not.
pub fn may() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        peers::skip("root, for a network namespace of its own");
    }
    root && peers::have(&["ip"])
}

/// Runs a test's body, and all threads and programs that it starts, in a network namespace in which
/// only loopback is up, and with mounts that end with it.
pub fn alone(limit: Duration, body: impl FnOnce() + Send + 'static) {
    if may() {
        within(limit, || {
            enter();
            body();
        });
    }
}

/// Puts this thread into namespaces of its own.
pub fn enter() {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: no descriptors are unshared, which is what could pull one from under somebody.
    unsafe { rustix::thread::unshare_unsafe(flags) }.expect("new namespaces");
    run("mount", &["--make-rprivate", "/"]);
    ip("link set lo up");
}

/// A second network beside this one, for as long as it lives; work can be handed to a thread in it.
pub struct Other {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    /// By which `ip link … netns` knows it.
    pub id: String,
}

impl Other {
    pub fn new() -> Other {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            enter();
            tell.send(gettid().as_raw_nonzero().to_string()).expect("somebody listens");
            for job in queue {
                job();
            }
        });
        Other { jobs, id: told.recv().expect("the other network") }
    }

    /// Runs something over there and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = move || {
            let _ = tell.send(job());
        };
        self.jobs.send(Box::new(job)).expect("the other network is there");
        told.recv().expect("the job is done")
    }
}

/// `ip`, with its words in one text.
#[track_caller]
pub fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// Whether a program ends well.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(peers::path(program)).args(arguments).output().is_ok_and(|output| output.status.success())
}

#[track_caller]
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(peers::path(program)).args(arguments).output().expect("start a program");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets one of this network's settings; false if the kernel does not have it.
pub fn sysctl(name: &str, value: &str) -> bool {
    std::fs::write(format!("/proc/sys/net/{name}"), value).is_ok()
}

/// One of this network's counters; `None` if the kernel does not count it.
pub fn counter(group: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("the network's counters");
    let mut lines = text.lines().filter(|line| line.starts_with(&format!("{group}:")));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|it| it == name)?;
    values.split(' ').nth(at)?.parse().ok()
}
