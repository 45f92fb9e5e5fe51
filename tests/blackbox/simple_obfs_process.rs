//! What simple-obfs's options make of the process: its limits, its user, its place in the background.

use crate::simple_obfs_options::{
    CONFIG_ERROR, REQUEST, command, ended, installed_as, loopback, started, text,
};
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::plugin::{Ours, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, netns, proc, secs, within};
use rustix::process::{Pid, Signal, getpgid, getsid, kill_process};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

/// A line of a process's status or limits, without its name.
pub fn line_of(pid: i32, file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process's state");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.trim_start_matches(name).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `-n`: both limits are set; what cannot be had is warned about, and the limit taken.
#[test]
fn n_limits_open_files() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (option, wanted) in [("n=777", "777 777"), ("nofile=1500", "1500 1500")] {
            let server = server(Ours, echo.addr, &format!("obfs=http;{option}"));
            let limits = line_of(server.child.pid(), "limits", "Max open files");
            assert!(limits.starts_with(wanted), "{option}: {limits}");
        }
        let server = server(Ours, echo.addr, "obfs=http;n=4000000000");
        let hard = line_of(std::process::id() as i32, "limits", "Max open files");
        let hard = hard.split(' ').nth(1).expect("a hard limit").to_owned();
        let line = server.child.wait_text("4000000000");
        assert!(line.contains("WARN") && line.contains(&hard), "{line}");
        let limits = line_of(server.child.pid(), "limits", "Max open files");
        assert!(limits.starts_with(&format!("{hard} {hard}")), "{limits}");
        assert_echo(&connect(client(Ours, server.addr, "obfs=http").addr), b"works all the same");
    });
}

/// `-a`: user, group and supplementary groups are that user's, on every thread; the port below 1024 was
/// bound before; and the parent's end is still seen.
#[test]
fn a_goes_on_as_another_user() {
    netns::alone(secs(60), || {
        let id = |flag: &str| {
            let output = Command::new("id").args([flag, "nobody"]).output().expect("id");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let (uid, gid, groups) = (id("-u"), id("-g"), id("-G"));
        let echo = Backend::echo();
        // A network of the test's own has these ports free.
        for (port, option) in [(80, "a=nobody".to_owned()), (81, format!("user={uid}"))] {
            // Groups that must not be kept, and a shell that stays the parent.
            let mut command = bare("/bin/sh".into());
            command.args(["-c", "setpriv --groups 3,4 \"$1\"; exit $?", "sh"]).arg(our_path());
            let options = format!("server;obfs=http;{option}");
            let local = ("127.0.0.1".to_owned(), echo.addr.port());
            Vars { remote: ("127.0.0.1".into(), port), local, options }.put(&mut command);
            let shell = started("a shell", command, port);
            let plugin = proc::wait_listening_child(shell.pid());
            let is = |name: &str, wanted: &str| {
                let ok = eventually(STEP, || {
                    let tasks = std::fs::read_dir(format!("/proc/{}/task", plugin.pid)).expect("threads");
                    let threads: Vec<i32> =
                        tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
                    threads.len() > 1
                        && threads.iter().all(|thread| {
                            line_of(plugin.pid, &format!("task/{thread}/status"), name) == wanted
                        })
                });
                assert!(ok, "{option}: {name} {:?}", line_of(plugin.pid, "status", name));
            };
            is("Uid:", &[uid.as_str(); 4].join(" "));
            is("Gid:", &[gid.as_str(); 4].join(" "));
            is("Groups:", &groups);
            assert_echo(&connect(client(Ours, loopback(port), "obfs=http").addr), b"as nobody");
            shell.signal(Signal::KILL);
            assert!(plugin.wait_gone(secs(3)), "it outlived its parent");
        }
    });
}

/// A process in the background, ended with the test.
struct Daemon(Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// `-f`: a pid file, a session of its own, no parent that waits; ready when the command returns.
#[test]
fn f_goes_into_the_background() {
    within(secs(60), || {
        let dir = TempDir::new("daemon");
        let echo = Backend::echo();
        let port = free_port();
        let file = dir.path().join("pid");
        let words = format!("-s 127.0.0.1 -p {port} -r {} --obfs http -f {}", echo.addr, text(&file));
        let (exit, _) = ended(command(installed_as(&dir, "obfs-server"), &words));
        assert_eq!(exit, Exit::Code(0));
        assert!(proc::port_listens(port), "it does not listen when the command returns");
        let pid: i32 = std::fs::read_to_string(&file).expect("a pid file").trim().parse().expect("a pid");
        let pid = Pid::from_raw(pid).expect("a pid");
        let daemon = Daemon(pid);
        let raw = pid.as_raw_nonzero().get();
        assert!(proc::listening_ports(raw).contains(&port), "the pid is another's");
        assert_eq!(getsid(Some(pid)).expect("a session"), pid);
        assert_eq!(getpgid(Some(pid)).expect("a group"), pid);
        assert_ne!(line_of(raw, "status", "PPid:"), std::process::id().to_string());
        assert_eq!(std::fs::read_link(format!("/proc/{raw}/cwd")).expect("a folder"), Path::new("/"));
        for descriptor in 0..3 {
            let target = std::fs::read_link(format!("/proc/{raw}/fd/{descriptor}")).expect("a descriptor");
            assert_eq!(target, Path::new("/dev/null"), "descriptor {descriptor}");
        }
        // Its parent is gone, and that is no reason to end.
        for _ in 0..3 {
            assert_echo(&connect(client(Ours, loopback(port), "obfs=http").addr), b"in the background");
        }
        kill_process(pid, Signal::TERM).expect("signal it");
        assert!(eventually(STEP, || !proc::port_listens(port)));
        drop(daemon);
    });
}

/// In the background it logs to syslog.
#[test]
fn f_logs_to_syslog() {
    netns::alone(secs(60), || {
        let (dir, dev) = (TempDir::new("daemon"), TempDir::new("dev"));
        netns::run("cp", &["-a", "/dev/null", &text(dev.path())]);
        let syslog = UnixDatagram::bind(dev.path().join("log")).expect("a syslog of the test");
        syslog.set_read_timeout(Some(STEP)).expect("a limit");
        netns::run("mount", &["--bind", &text(dev.path()), "/dev"]);
        let echo = Backend::echo();
        let port = free_port();
        let file = dir.path().join("pid");
        let words = format!("-s 127.0.0.1 -p {port} -r {} --obfs http -v -f {}", echo.addr, text(&file));
        let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words));
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        let pid = std::fs::read_to_string(&file).expect("a pid file").trim().to_owned();
        let _daemon = Daemon(Pid::from_raw(pid.parse().expect("a pid")).expect("a pid"));
        let stream = connect(loopback(port));
        send(&stream, REQUEST);
        recv_head(&stream);
        crate::support::hosts::close(&stream);
        let next = || {
            let mut message = [0; 2000];
            let length = syslog.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        // (what is behind is looked for at the same time, and that is told too)
        let message = std::iter::repeat_with(next).find(|message| !message.contains("answers at"));
        let message = message.expect("a message");
        // Facility "daemon", severity "debug".
        assert!(message.starts_with(&format!("<31>obfs-rs[{pid}]: server DEBUG ")), "{message}");
        assert!(message.contains("tunnel ended"), "{message}");
    });
}

/// Under a host the pid file is written and the process stays, since hosts watch their plugins.
#[test]
fn f_stays_in_the_foreground_under_a_host() {
    within(secs(30), || {
        let dir = TempDir::new("daemon");
        let echo = Backend::echo();
        let file = dir.path().join("pid");
        let server = server(Ours, echo.addr, &format!("obfs=http;f={}", text(&file)));
        // It says so when all of its start is done.
        server.child.wait_text("listening on");
        let pid = std::fs::read_to_string(&file).expect("a pid file");
        assert_eq!(pid.trim(), server.child.pid().to_string());
    });
}

/// What goes wrong before it is ready is told by the command that was started.
#[test]
fn f_tells_what_goes_wrong() {
    within(secs(30), || {
        let dir = TempDir::new("daemon");
        let echo = Backend::echo();
        let file = text(&dir.path().join("no/such/folder/pid"));
        let port = free_port();
        let words = |file: &str, port: u16| format!("-s 127.0.0.1 -p {port} -r {} -f {file}", echo.addr);
        let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words(&file, port)));
        assert_eq!(exit, Exit::Code(CONFIG_ERROR), "{lines:?}");
        assert!(lines.len() == 1 && lines[0].contains(&file), "{lines:?}");

        let file = text(&dir.path().join("pid"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = taken.local_addr().expect("an address").port();
        let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words(&file, port)));
        assert!(matches!(exit, Exit::Code(code) if code != 0), "{exit:?}");
        assert!(lines.iter().any(|line| line.contains(&format!("127.0.0.1:{port}"))), "{lines:?}");
    });
}
