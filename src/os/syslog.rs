//! The system's log (RFC 3164, as the local socket takes it).

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::Level;

/// Where its daemon listens: Linux and most others, FreeBSD, macOS.
const SOCKETS: &[&str] = &["/dev/log", "/var/run/log", "/var/run/syslog"];

/// Lines that are kept while there is no daemon, or while it is slow.
const MAX_WAITING: usize = 500;

/// The longest message. Daemons cut what is longer, and a socket may refuse it.
const MAX_MESSAGE: usize = 8192;

/// How often the daemon is looked for while lines wait.
const RETRY: Duration = Duration::from_secs(1);

/// The system's log. Its daemon may be restarted, and may come later than we do: the socket is made anew
/// when it fails, and what cannot be sent at once is kept, and sent in its turn.
#[derive(Debug)]
pub(crate) struct Syslog {
    sockets: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    socket: Option<UnixDatagram>,
    waiting: VecDeque<Line>,
    /// Lines that there was no room for.
    lost: u64,
}

#[derive(Debug)]
struct Line {
    level: Level,
    text: String,
    at: Instant,
}

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog::at(SOCKETS.iter().map(PathBuf::from).collect())
    }
}

impl Syslog {
    fn at(sockets: Vec<PathBuf>) -> Syslog {
        Syslog { sockets, state: Mutex::default() }
    }

    /// Whether its daemon is there.
    pub(crate) fn is_available(&self) -> bool {
        self.connect().is_some()
    }

    /// Sends a line, behind those that wait.
    pub(crate) fn send(&self, level: Level, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.trim_end().to_owned();
        state.waiting.push_back(Line { level, text, at: Instant::now() });
        if state.waiting.len() > MAX_WAITING {
            state.waiting.pop_front();
            state.lost += 1;
        }
        self.send_waiting(&mut state);
    }

    /// Sends what waits, for as long as the process lives. To be run where a line may be the last for hours.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(RETRY).await;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.send_waiting(&mut state);
        }
    }

    fn send_waiting(&self, state: &mut State) {
        if state.lost > 0 && state.waiting.len() < MAX_WAITING {
            let text = format!("{} lines of the log were lost: there was no syslog for too long", state.lost);
            state.waiting.push_front(Line { level: Level::WARN, text, at: Instant::now() });
            state.lost = 0;
        }
        while let Some(line) = state.waiting.front() {
            let message = line.message();
            let sent = match &state.socket {
                Some(socket) => socket.send(&message),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            let sent = sent.or_else(|error| {
                if error.kind() == io::ErrorKind::WouldBlock {
                    return Err(error);
                }
                state.socket = self.connect();
                state.socket.as_ref().ok_or(error)?.send(&message)
            });
            match sent {
                Ok(_) => {}
                // What a daemon that is there does not take at all is not to hold up the rest.
                Err(error) if state.socket.is_some() && error.kind() != io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            state.waiting.pop_front();
        }
    }

    fn connect(&self) -> Option<UnixDatagram> {
        let connect = |path: &Path| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect(path)?;
            Ok::<_, io::Error>(socket)
        };
        self.sockets.iter().find_map(|path| connect(path).ok())
    }
}

impl Line {
    fn message(&self) -> Vec<u8> {
        /// "daemon" (RFC 5424 section 6.2.1, as are the severities).
        const FACILITY: u8 = 3;
        let severity = match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let priority = FACILITY * 8 + severity;
        let mut message = format!("<{priority}>obfs-rs[{}]: {}", std::process::id(), self.text);
        let waited = self.at.elapsed().as_secs();
        if waited > 0 {
            message.push_str(&format!(" ({waited} s ago)"));
        }
        let mut message = message.into_bytes();
        message.truncate(MAX_MESSAGE);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; MAX_MESSAGE];
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn lines_wait_for_the_daemon_and_keep_their_order() {
        let path = std::env::temp_dir().join(format!("obfs-rs-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let log = Syslog::at(vec!["/no such socket".into(), path.clone()]);
        assert!(!log.is_available());
        let tag = format!("obfs-rs[{}]:", std::process::id());
        for number in 0..MAX_WAITING + 3 {
            log.send(Level::INFO, &format!("line {number}\n"));
        }
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert!(log.is_available());
        // A daemon's queue is short, so each is taken before the next is sent.
        let next = |log: &Syslog| {
            log.send_waiting(&mut log.state.lock().unwrap());
            receive(&daemon)
        };
        let first = next(&log);
        assert!(first.starts_with(&format!("<30>{tag} line 3")), "{first}");
        let second = next(&log);
        assert!(second.starts_with(&format!("<28>{tag} 3 lines")) || second.contains("line 4"), "{second}");
        let mut last = second;
        while !last.contains(&format!("line {}", MAX_WAITING + 2)) {
            last = next(&log);
        }
        // A daemon that comes again gets what was said meanwhile.
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        log.send(Level::ERROR, "meanwhile");
        let daemon = UnixDatagram::bind(&path).unwrap();
        log.send(Level::DEBUG, "again");
        assert!(receive(&daemon).starts_with(&format!("<27>{tag} meanwhile")));
        assert!(receive(&daemon).starts_with(&format!("<31>{tag} again")));
        std::fs::remove_file(&path).unwrap();
    }
}
