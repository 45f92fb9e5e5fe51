//! Child processes that never outlive their test, and whose output can be waited for.

use super::{STEP, eventually, millis, proc};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The lines a child wrote so far, to either stream.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    grown: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    open_streams: usize,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// A running program in a process group of its own.
pub struct Child {
    pub name: String,
    inner: std::process::Child,
    log: Arc<Log>,
}

impl Child {
    /// Starts it with both streams collected.
    #[track_caller]
    pub fn spawn(name: &str, mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Child::spawn_as_is(name, command)
    }

    /// Starts it with the streams as the caller set them up.
    #[track_caller]
    pub fn spawn_as_is(name: &str, mut command: Command) -> Child {
        command.stdin(Stdio::null()).process_group(0);
        match command.spawn() {
            Ok(inner) => Child::started(name, inner),
            Err(e) => panic!("cannot start {name} ({command:?}): {e}"),
        }
    }

    /// One that was started elsewhere, in a process group of its own.
    pub fn started(name: &str, mut inner: std::process::Child) -> Child {
        let log = Arc::new(Log::default());
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [inner.stdout.take().map(|s| Box::new(s) as _), inner.stderr.take().map(|s| Box::new(s) as _)];
        for stream in streams.into_iter().flatten() {
            log.state.lock().expect("log").open_streams += 1;
            let log = log.clone();
            std::thread::spawn(move || collect(stream, &log));
        }
        Registry::note(name, inner.id(), &log);
        Child { name: name.to_owned(), inner, log }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.inner.id()).expect("a process id fits")
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_raw(self.pid()).expect("a process id is not zero")
    }

    pub fn lines(&self) -> Vec<String> {
        self.log.state.lock().expect("log").lines.clone()
    }

    /// Ends one that could not start, whatever it says of that: some hosts panic where their plugin ends.
    pub fn discard(self) {
        let _ = kill_process_group(self.rustix_pid(), Signal::KILL);
        self.wait_streams_closed();
        self.log.state.lock().expect("log").lines.clear();
    }

    /// Waits for a line for which `wanted` holds, those already written included.
    #[track_caller]
    pub fn wait_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + STEP;
        let mut seen = 0;
        let mut state = self.log.state.lock().expect("log");
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|l| wanted(l)) {
                return line.clone();
            }
            seen = state.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open_streams == 0 {
                let why = if left.is_zero() { "in time" } else { "and ended" };
                drop(state);
                panic!("{} did not write {what} {why}; {}", self.name, self.show_log());
            }
            state = self.log.grown.wait_timeout(state, left).expect("log").0;
        }
    }

    /// Waits for a line that contains the text, in any case.
    #[track_caller]
    pub fn wait_text(&self, text: &str) -> String {
        let text = text.to_lowercase();
        self.wait_line(&format!("“{text}”"), |l| l.to_lowercase().contains(&text))
    }

    pub fn show_log(&self) -> String {
        format!("{} wrote:\n  {}", self.name, self.lines().join("\n  "))
    }

    /// Waits until the port listens; fails at once when the child ends instead.
    #[track_caller]
    pub fn wait_listening(&self, port: u16) {
        let mut ended = None;
        let listens = eventually(STEP, || {
            ended = self.peek_exit();
            ended.is_some() || proc::port_listens(port)
        });
        if let Some(exit) = ended {
            // its last words may still be in the pipe
            self.wait_streams_closed();
            panic!("{} ended ({exit:?}) instead of listening on {port}; {}", self.name, self.show_log());
        }
        assert!(listens, "{} does not listen on {port}; {}", self.name, self.show_log());
    }

    pub fn signal(&self, signal: Signal) {
        if self.peek_exit().is_none() {
            kill_process(self.rustix_pid(), signal).expect("signal a child");
        }
    }

    /// Whether it has ended; it stays a zombie until dropped, so that its id stays its own.
    pub fn peek_exit(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.rustix_pid()), options).ok()??;
        if let Some(code) = status.exit_status() {
            return Some(Exit::Code(code));
        }
        Some(Exit::Signal(status.terminating_signal().unwrap_or(0)))
    }

    pub fn exit_within(&self, limit: Duration) -> Option<Exit> {
        let mut exit = None;
        eventually(limit, || {
            exit = self.peek_exit();
            exit.is_some()
        });
        exit
    }

    /// Waits for the end and for the last line that was written.
    #[track_caller]
    pub fn wait_exit(&self, limit: Duration) -> Exit {
        let Some(exit) = self.exit_within(limit) else {
            panic!("{} still runs after {limit:?}; {}", self.name, self.show_log());
        };
        self.wait_streams_closed();
        exit
    }

    /// A grandchild may hold the streams open, so the wait is short.
    fn wait_streams_closed(&self) {
        let end = Instant::now() + millis(500);
        let mut state = self.log.state.lock().expect("log");
        while state.open_streams > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.log.grown.wait_timeout(state, left).expect("log").0;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}", self.show_log());
        }
        // The group first: until the leader is waited for, its id cannot become another's.
        let _ = kill_process_group(self.rustix_pid(), Signal::KILL);
        let _ = self.inner.kill();
        let _ = self.inner.wait();
        Registry::forget(self.inner.id());
        self.wait_streams_closed();
        let panicked = self.lines().into_iter().find(|line| line.contains("panicked"));
        if let Some(line) = panicked.filter(|_| !std::thread::panicking()) {
            panic!("{} panicked: {line}", self.name);
        }
    }
}

fn collect(stream: Box<dyn Read + Send>, log: &Log) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(n) = reader.read_until(b'\n', &mut line) {
        if n == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        log.state.lock().expect("log").lines.push(text);
        log.grown.notify_all();
        line.clear();
    }
    log.state.lock().expect("log").open_streams -= 1;
    log.grown.notify_all();
}

/// The children of one test, for the moment its deadline is hit.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Entry>>>);

struct Entry {
    name: String,
    pid: u32,
    log: Arc<Log>,
}

thread_local! {
    static CURRENT: RefCell<Option<Registry>> = const { RefCell::new(None) };
}

impl Registry {
    /// From now on, children started by this thread are noted here.
    pub fn adopt_this_thread(&self) {
        CURRENT.with(|c| *c.borrow_mut() = Some(self.clone()));
    }

    fn with_current(f: impl FnOnce(&mut Vec<Entry>)) {
        CURRENT.with(|c| {
            if let Some(registry) = &*c.borrow() {
                f(&mut registry.0.lock().expect("registry"));
            }
        });
    }

    fn note(name: &str, pid: u32, log: &Arc<Log>) {
        let (name, log) = (name.to_owned(), log.clone());
        Self::with_current(|entries| entries.push(Entry { name, pid, log }));
    }

    fn forget(pid: u32) {
        Self::with_current(|entries| entries.retain(|e| e.pid != pid));
    }

    pub fn logs(&self) -> String {
        let mut out = String::new();
        for entry in self.0.lock().expect("registry").iter() {
            let lines = &entry.log.state.lock().expect("log").lines;
            out.push_str(&format!("--- {} wrote:\n  {}\n", entry.name, lines.join("\n  ")));
        }
        out
    }

    pub fn kill_all(&self) {
        for entry in self.0.lock().expect("registry").iter() {
            if let Some(pid) = i32::try_from(entry.pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
    }
}
