//! The harness: children, ports, backends, peers, and deadlines for all of them.
//!
//! Nothing here has a fixed port, and nothing waits by the clock where it can wait for an event:
//! a log line, a listening socket, the end of a connection, the end of a process.

pub mod backend;
pub mod child;
pub mod conn;
pub mod deployed;
pub mod fronts;
pub mod gate;
pub mod grpc;
pub mod hosts;
pub mod link;
pub mod netns;
pub mod peers;
pub mod phone;
pub mod plugin;
pub mod ports;
pub mod proc;
pub mod proxy;
pub mod quic;
pub mod scrape;
pub mod seccomp;
pub mod site;
pub mod systemd;
pub mod tempdir;
pub mod tls_site;
pub mod udp;
pub mod v2ray;
pub mod websocket;
pub mod wine;

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long one step of a test (a connect, a read, a start) may take on a loaded machine.
pub const STEP: Duration = Duration::from_secs(20);

/// Short for `Duration::from_secs`, which the tests say often.
pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Short for `Duration::from_millis`.
pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs a test's body under a deadline of its own.
///
/// Every step has its own limit as well; this is the net below. When it is hit, the children
/// which the body started are killed (their logs with the failure), so that a blocked body ends.
pub fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel::<()>();
    let registry = child::Registry::default();
    let for_body = registry.clone();
    let thread = std::thread::spawn(move || {
        for_body.adopt_this_thread();
        let _done = done; // dropped when the body ends, also by a panic
        body();
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(limit) {
        eprintln!("{}", registry.logs());
        registry.kill_all();
        panic!("the test took more than {limit:?}");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Asks again and again, with short pauses, until it holds or time is up: for the few things the
/// system has no event for, such as another process's sockets.
pub fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = millis(1);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(millis(20));
    }
}

/// What it is once it stays the same for a while. A half that listens may still be starting its threads, with
/// their descriptors, and nothing says from outside when it has.
pub fn settled<T: PartialEq>(mut ask: impl FnMut() -> T) -> T {
    let mut last = ask();
    eventually(STEP, || {
        std::thread::sleep(millis(300));
        let now = ask();
        std::mem::replace(&mut last, now) == last
    });
    last
}

/// Bytes that do not repeat, the same for the same seed (xorshift64*).
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// SHA-1 in hex: short enough to show in a message, and no more is asked of it here.
pub fn digest(bytes: &[u8]) -> String {
    use sha1::Digest;
    let mut hash = sha1::Sha1::new();
    hash.update(bytes);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Compares megabytes without printing them.
#[track_caller]
pub fn assert_same(what: &str, got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!(
            "{what}: got {} bytes, expected {}; the first difference is at {at}: got {:?}, expected {:?}",
            got.len(),
            expected.len(),
            String::from_utf8_lossy(&got[at..got.len().min(at + 60)]),
            String::from_utf8_lossy(&expected[at..expected.len().min(at + 60)]),
        );
    }
}
