//! Disks that are full, read-only or away, under everything that the process keeps there or reads from there.

use crate::reload::{server_of, settings};
use crate::rest::assert_at_rest;
use crate::simple_obfs_options::{command, ended, text};
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::peers::need;
use crate::support::plugin::{Plugin, our_path};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, netns, proc, secs};
use crate::tls_certificates::shown;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// A disk of the test's own, with next to no room, for as long as its network lives.
struct Disk(TempDir);

impl Disk {
    fn new() -> Disk {
        let disk = Disk(TempDir::new("disk"));
        disk.mount();
        disk
    }

    fn mount(&self) {
        netns::run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", &text(self.0.path())]);
    }

    /// Puts a disk in its place that can only be read. (One on which files are being written cannot become one.)
    fn make_read_only(&self) {
        netns::run("mount", &["-t", "tmpfs", "-o", "ro", "none", &text(self.0.path())]);
    }

    fn make_writable(&self) {
        netns::run("umount", &["-l", &text(self.0.path())]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let full = std::fs::write(self.path("junk"), vec![0; 1 << 20]);
        assert_eq!(full.expect_err("no room").kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("junk")).expect("what took the room");
    }
}

fn tunnel(addr: SocketAddr) -> TcpStream {
    let stream = connect(addr);
    send(&stream, b"GET /s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
    assert_echo(&stream, b"hello");
    stream
}

fn page(addr: SocketAddr) -> String {
    let stream = connect(addr);
    send(&stream, b"GET /index.html HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    recv_head(&stream).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Signals, and waits until one more line says this.
#[track_caller]
fn reload(server: &Plugin, said: &str) {
    let count = || server.child.lines().iter().filter(|line| line.contains(said)).count();
    let before = count();
    server.child.signal(Signal::HUP);
    assert!(eventually(STEP, || count() > before), "not told: {said}; {}", server.child.show_log());
}

/// Without room for what has to be there, it does not start, says where, and may be started again.
#[test]
fn a_disk_that_is_full_at_the_start_is_told_and_may_have_room_later() {
    netns::alone(secs(60), || {
        let (disk, echo) = (Disk::new(), Backend::echo());
        disk.fill();
        let port = free_port();
        let file = text(&disk.path("run.pid"));
        let words = format!("server --listen 127.0.0.1:{port} --backend {} --obfs http -f {file}", echo.addr);
        let (exit, lines) = ended(command(our_path(), &words));
        assert_eq!(exit, Exit::Code(1), "{lines:?}");
        let line = lines.join(" ");
        assert!(line.contains(&file) && line.contains("No space left"), "{line}");
        assert!(!proc::port_listens(port));
        disk.make_read_only();
        let (exit, lines) = ended(command(our_path(), &words));
        assert_eq!(exit, Exit::Code(23), "{lines:?}");
        assert!(lines.join(" ").contains("Read-only file system"), "{lines:?}");
        disk.make_writable();
        disk.make_room();
        let (exit, lines) = ended(command(our_path(), &words));
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        let pid = std::fs::read_to_string(&file).expect("the pid file").trim().parse().expect("a number");
        let daemon = proc::Proc::of(pid).expect("it runs");
        // It ends on a disk that can no longer be written to.
        disk.make_read_only();
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, Signal::TERM).expect("signal it");
        assert!(daemon.wait_gone(STEP));
    });
}

/// The access log: lines are lost while there is no room, that is told once, and they come again; a log that cannot be
/// opened anew is told, too.
#[test]
fn an_access_log_goes_on_when_its_disk_has_room_again() {
    netns::alone(secs(60), || {
        let (disk, dir, echo) = (Disk::new(), TempDir::new("log"), Backend::echo());
        let port = free_port();
        let log = disk.path("access.log");
        let more = format!(r#""obfs": "http", "obfs-uri": "/s", "access-log": "{}","#, log.display());
        let server = server_of(&dir, port, &settings(&more, port, echo.addr), &[]);
        let open = tunnel(server.addr);
        let lines = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        let length = || std::fs::metadata(&log).map_or(0, |file| file.len());
        drop(tunnel(server.addr));
        assert!(eventually(STEP, || lines() == 1), "{}", server.child.show_log());
        disk.fill();
        // The page of the last line is there; then there is none.
        let told = || server.child.lines().iter().any(|line| line.contains("No space left"));
        let fills = || {
            drop(tunnel(server.addr));
            told()
        };
        assert!(eventually(STEP, fills), "{}", server.child.show_log());
        assert_echo(&open, b"goes on");
        assert_at_rest("a log without room", &server.child);
        disk.make_room();
        let before = length();
        drop(tunnel(server.addr));
        assert!(eventually(STEP, || length() > before), "nothing is written any more");
        std::fs::rename(&log, disk.path("rotated")).expect("rotated");
        disk.make_read_only();
        reload(&server, "Read-only file system");
        drop(tunnel(server.addr));
        assert_echo(&open, b"goes on");
        disk.make_writable();
        reload(&server, "was opened anew");
        drop(tunnel(server.addr));
        assert!(eventually(STEP, || lines() > 0), "{}", server.child.show_log());
        assert!(server.child.lines().len() < 20, "a flood: {}", server.child.show_log());
    });
}

/// A certificate, its key and the settings as a full disk leaves them, or one that is away: what is served stays.
#[test]
fn what_a_full_disk_has_cut_off_is_not_taken() {
    netns::alone(secs(90), || {
        need!("openssl");
        let (disk, dir, echo) = (Disk::new(), TempDir::new("cut-off"), Backend::echo());
        let (first, next) = (Certificate::new(NAME), Certificate::new(NAME));
        let copy = |from: &Path, name: &str| std::fs::copy(from, disk.path(name)).map(drop).expect("a copy");
        copy(&first.cert, "cert.pem");
        copy(&first.key, "key.pem");
        let port = free_port();
        let of = |name: &str| disk.path(name).display().to_string();
        let more = format!(
            r#""mode": "auto", "obfs-uri": "/s", "path": "/s", "tls": true, "host": "{NAME}", "cert": "{}", "key": "{}","#,
            of("cert.pem"),
            of("key.pem"),
        );
        let good = settings(&more, port, echo.addr);
        let server = server_of(&dir, port, &good, &[]);
        let open = tunnel(server.addr);
        let old = shown(server.addr);
        assert!(old.contains("BEGIN"), "{old}");
        // `>` empties a file, and then there is no room for what is to be in it.
        for name in ["cert.pem", "key.pem"] {
            std::fs::write(disk.path(name), "").expect("emptied");
            reload(&server, "stays");
            assert_eq!(shown(server.addr), old, "{name}");
            std::fs::remove_file(disk.path(name)).expect("away");
            reload(&server, "stays");
            assert_eq!(shown(server.addr), old, "{name}");
            copy(if name == "cert.pem" { &first.cert } else { &first.key }, name);
        }
        for wrong in ["", "{", &good[..good.len() / 2]] {
            dir.write("config.json", wrong);
            reload(&server, "everything else stays as it was");
            drop(tunnel(server.addr));
        }
        dir.write("config.json", &good);
        // The whole disk is away.
        netns::run("umount", &["-l", &text(disk.0.path())]);
        reload(&server, "stays");
        assert_eq!(shown(server.addr), old);
        assert_echo(&open, b"goes on");
        disk.mount();
        copy(&next.cert, "cert.pem");
        copy(&next.key, "key.pem");
        server.child.signal(Signal::HUP);
        assert!(eventually(STEP, || shown(server.addr) != old), "{}", server.child.show_log());
        assert_echo(&open, b"goes on");
        assert!(server.child.lines().len() < 40, "a flood: {}", server.child.show_log());
    });
}

/// The folder of a website of our own, and the socket for metrics, on a disk that goes and comes.
#[test]
fn a_website_whose_disk_is_away_answers_and_comes_back() {
    netns::alone(secs(60), || {
        let (disk, dir, echo) = (Disk::new(), TempDir::new("website"), Backend::echo());
        std::fs::write(disk.path("index.html"), "a page\n").expect("a page");
        let port = free_port();
        let socket = disk.path("metrics");
        let more = format!(
            r#""obfs": "http", "obfs-uri": "/s", "failover": "dir:{}", "metrics": "unix:{}","#,
            disk.0.path().display(),
            socket.display(),
        );
        let server = server_of(&dir, port, &settings(&more, port, echo.addr), &[]);
        let open = tunnel(server.addr);
        assert_eq!(page(server.addr), "200");
        netns::run("umount", &["-l", &text(disk.0.path())]);
        assert_eq!(page(server.addr), "404");
        drop(tunnel(server.addr));
        disk.mount();
        std::fs::write(disk.path("index.html"), "a page\n").expect("a page");
        assert_eq!(page(server.addr), "200");
        assert_echo(&open, b"goes on");
        server.child.signal(Signal::TERM);
        assert_eq!(server.child.wait_exit(secs(5)), Exit::Code(0));
    });
}
