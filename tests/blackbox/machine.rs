//! The machine as it is: users and their rights, files that others write too, signals that were not meant
//! for us, and addresses that lead back.

use crate::simple_obfs_options::{CONFIG_ERROR, command, ended, installed_as, loopback, started, text};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, recv_head, recv_to_end, send};
use crate::support::gate::gated;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, millis, netns, proc, secs, settled, within};
use crate::tls_certificates::shown as shown_certificate;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

#[track_caller]
fn pid_in(file: &Path) -> i32 {
    std::fs::read_to_string(file).expect("a pid file").trim().parse().expect("a pid")
}

/// A process in the background, ended with the test.
struct Daemon(Pid);

impl Daemon {
    /// The one whose number is in this file.
    #[track_caller]
    fn of(file: &Path) -> Daemon {
        Daemon(Pid::from_raw(pid_in(file)).expect("a pid"))
    }

    fn number(&self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    #[track_caller]
    fn end(&self) {
        let process = proc::Proc::of(self.number()).expect("it runs");
        kill_process(self.0, Signal::TERM).expect("signal it");
        assert!(process.wait_gone(STEP), "SIGTERM does not end it");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// The words of a server of simple-obfs's kind, for a port and a backend.
fn words(port: u16, backend: &Backend, more: &str) -> String {
    format!("-s 127.0.0.1 -p {port} -r {} --obfs http {more}", backend.addr)
}

/// A host that has given up root may not signal a plugin that is root's, and nor does the kernel in its name.
#[test]
fn a_plugin_that_is_roots_does_not_outlive_a_host_that_gave_up_root() {
    netns::alone(secs(60), || {
        need!("ss-server");
        let port = free_port();
        let mut host = bare(peers::path("ss-server"));
        host.args([
            "-s",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-k",
            "pw",
            "-m",
            "aes-256-gcm",
            "-a",
            "nobody",
        ]);
        host.arg("--plugin").arg(our_path()).args(["--plugin-opts", "server;obfs=http"]);
        let host = started("ss-server as nobody", host, port);
        let plugin = proc::wait_listening_child(host.pid());
        let given_up = || !status(host.pid(), "Uid:").split(' ').any(|id| id == "0");
        assert!(eventually(STEP, given_up), "the host is still root");
        assert_eq!(status(plugin.pid, "Uid:"), "0 0 0 0");
        host.signal(Signal::KILL);
        assert_eq!(host.wait_exit(STEP), Exit::Signal(9));
        assert!(plugin.wait_gone(secs(2)), "it outlived its host");
        assert!(eventually(secs(1), || !proc::port_listens(port)));
    });
}

/// A line of a process's status, without its name.
fn status(pid: i32, name: &str) -> String {
    crate::simple_obfs_process::line_of(pid, "status", name)
}

/// Where system calls are filtered, the parent is watched without the one that filters may not know; both
/// for one who is root and for one who is not.
#[test]
fn the_parent_is_watched_where_system_calls_are_filtered() {
    netns::alone(secs(60), || {
        let echo = Backend::echo();
        let dir = TempDir::new("filtered");
        let program = dir.path().join("obfs-rs");
        std::fs::copy(our_path(), &program).expect("a copy that others may run");
        for run in ["\"$1\"; exit $?", "setpriv --reuid=65534 --clear-groups \"$1\"; exit $?"] {
            let port = free_port();
            let mut shell = bare("/bin/sh".into());
            shell.args(["-c", run, "sh"]).arg(&program);
            let local = ("127.0.0.1".to_owned(), echo.addr.port());
            let options = "server;obfs=http".to_owned();
            Vars { remote: ("127.0.0.1".into(), port), local, options }.put(&mut shell);
            // SAFETY: the function makes two system calls and touches nothing of the process.
            unsafe { shell.pre_exec(allow_all_system_calls) };
            let shell = started("a shell", shell, port);
            let plugin = proc::wait_listening_child(shell.pid());
            assert_eq!(status(plugin.pid, "Seccomp:"), "2");
            shell.signal(Signal::KILL);
            assert!(plugin.wait_gone(secs(3)), "it outlived its parent: {run}");
        }
    });
}

/// Puts a filter of system calls on this process, which lets all of them through.
fn allow_all_system_calls() -> std::io::Result<()> {
    let mut allow = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
    let program = libc::sock_fprog { len: 1, filter: allow.as_mut_ptr() };
    // SAFETY: the program and its one instruction live until the calls have copied them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            + libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Signals that other daemons know end nothing, in either half, with a host and without.
#[test]
fn signals_that_were_not_meant_for_it_end_nothing() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let client = client(Ours, server.addr, "obfs=http");
        let port = free_port();
        let dir = TempDir::new("signals");
        let bare = command(installed_as(&dir, "obfs-server"), &words(port, &echo, ""));
        let bare = started("a server without a host", bare, port);
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, b"before");
        for signal in [
            Signal::HUP,
            Signal::USR1,
            Signal::USR2,
            Signal::ALARM,
            Signal::VTALARM,
            Signal::PROF,
            Signal::IO,
            Signal::XFSZ,
            Signal::PIPE,
            Signal::TTIN,
            Signal::TTOU,
            Signal::SYS,
        ] {
            for child in [&server.child, &client.child, &bare] {
                child.signal(signal);
            }
            assert_echo(&tunnel, b"still there");
        }
        for child in [&server.child, &client.child, &bare] {
            assert_eq!(child.exit_within(millis(300)), None, "{}", child.show_log());
            child.signal(Signal::TERM);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(0));
        }
    });
}

/// A second process that does not come to listen leaves the file to the first; and the file goes with it.
#[test]
fn the_pid_file_is_that_of_the_process_that_has_the_port() {
    within(secs(60), || {
        let (dir, echo) = (TempDir::new("pid"), Backend::echo());
        let program = installed_as(&dir, "obfs-server");
        let file = dir.path().join("run.pid");
        let f = format!("-f {}", text(&file));
        let port = free_port();
        let (exit, lines) = ended(command(program.clone(), &words(port, &echo, &f)));
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        let first = Daemon::of(&file);
        assert!(proc::listening_ports(first.number()).contains(&port));

        // The same port; and another one, with the same file, with a host and without.
        let other = free_port();
        for port in [port, other] {
            let (exit, lines) = ended(command(program.clone(), &words(port, &echo, &f)));
            assert_eq!(exit, Exit::Code(1), "{lines:?}");
            if port == other {
                let line = lines.join(" ");
                assert!(line.contains(&text(&file)) && line.contains(&first.number().to_string()), "{line}");
            }
            assert_eq!(pid_in(&file), first.number());
        }
        assert!(!proc::port_listens(other));
        first.end();
        assert!(!file.exists(), "the file stays behind");
    });
}

/// What an earlier process left, or a crash, is taken over; a link, by which somebody might have another file
/// written, is not.
#[test]
fn a_stale_pid_file_is_taken_over_and_a_link_is_not() {
    within(secs(60), || {
        let (dir, echo) = (TempDir::new("pid"), Backend::echo());
        let program = installed_as(&dir, "obfs-server");
        let file = dir.path().join("run.pid");
        let f = format!("-f {}", text(&file));
        for how in [Signal::KILL, Signal::TERM] {
            let port = free_port();
            let (exit, lines) = ended(command(program.clone(), &words(port, &echo, &f)));
            assert_eq!(exit, Exit::Code(0), "{lines:?}");
            let daemon = Daemon::of(&file);
            let process = proc::Proc::of(daemon.number()).expect("it runs");
            kill_process(daemon.0, how).expect("signal it");
            assert!(process.wait_gone(STEP));
            assert_eq!(file.exists(), how == Signal::KILL);
        }
        let target = dir.write("precious", "kept");
        symlink(&target, &file).expect("a link");
        let port = free_port();
        let (exit, lines) = ended(command(program, &words(port, &echo, &f)));
        assert_eq!(exit, Exit::Code(CONFIG_ERROR), "{lines:?}");
        assert!(lines.len() == 1 && lines[0].contains("link"), "{lines:?}");
        assert_eq!(std::fs::read_to_string(&target).expect("the file"), "kept");
        assert!(!proc::port_listens(port));
    });
}

/// Whoever finds the pid file, or sees that the process is ready, may end it at once: it ends as it should, though its
/// event loop is not there yet. And a SIGHUP of this moment is not lost.
#[test]
fn a_signal_that_comes_with_the_readiness_is_heard() {
    within(secs(60), || {
        let (dir, echo) = (TempDir::new("early"), Backend::echo());
        let program = installed_as(&dir, "obfs-server");
        let (file, log) = (dir.path().join("run.pid"), dir.path().join("access.log"));
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let port = free_port();
            let f = format!("-f {} --access-log {}", text(&file), text(&log));
            // What an event loop begins with.
            let command = command(program.clone(), &words(port, &echo, &f));
            let (child, gate) = gated("a server that starts another", command, &[libc::SYS_epoll_create1]);
            gate.hold(libc::SYS_epoll_create1);
            assert_eq!(child.wait_exit(STEP), Exit::Code(0), "{}", child.show_log());
            let daemon = Daemon::of(&file);
            let process = proc::Proc::of(daemon.number()).expect("it runs");
            assert!(eventually(STEP, || gate.held() > 0), "it makes no event loop");
            std::fs::rename(&log, dir.path().join("rotated")).expect("the log is there");
            kill_process(daemon.0, signal).expect("signal it");
            gate.open();
            if signal == Signal::HUP {
                assert!(eventually(STEP, || log.exists()), "the log is not opened anew");
                daemon.end();
            }
            assert!(process.wait_gone(STEP), "{signal:?} does not end it");
            assert!(!file.exists(), "{signal:?}: the file stays behind");
        }
    });
}

/// simple-obfs has no lock on its file; that it runs is seen all the same.
#[test]
fn the_pid_file_of_a_simple_obfs_that_runs_is_left_alone() {
    within(secs(60), || {
        need!("obfs-server");
        let (dir, echo) = (TempDir::new("pid"), Backend::echo());
        let file = dir.path().join("run.pid");
        let f = format!("-f {}", text(&file));
        let port = free_port();
        // It returns before its second process has written the file and listens.
        let (exit, lines) = ended(command(peers::path("obfs-server"), &words(port, &echo, &f)));
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        assert!(eventually(STEP, || proc::port_listens(port)));
        let theirs = Daemon::of(&file);
        let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words(free_port(), &echo, &f)));
        assert_eq!(exit, Exit::Code(1), "{lines:?}");
        assert!(lines.join(" ").contains(&theirs.number().to_string()), "{lines:?}");
        assert_eq!(pid_in(&file), theirs.number());
    });
}

/// Puts another certificate and key in the place of a pair, as ACME clients do.
fn renew(pair: &Certificate) -> Certificate {
    let renewed = Certificate::new(NAME);
    for (new, old) in [(&renewed.cert, &pair.cert), (&renewed.key, &pair.key)] {
        let beside = old.with_extension("new");
        std::fs::copy(new, &beside).expect("a copy");
        std::fs::rename(beside, old).expect("in its place");
    }
    renewed
}

/// The key is in a folder that only root enters, and the process is another user's by then. At rest there is
/// nothing to say; what is renewed is served; and nobody is left behind.
#[test]
fn a_certificate_is_renewed_also_after_giving_up_root() {
    netns::alone(secs(60), || {
        need!("openssl");
        let (echo, pair) = (Backend::echo(), Certificate::new(NAME));
        std::fs::set_permissions(pair.dir.path(), PermissionsExt::from_mode(0o700)).expect("close it");
        let server = server(Ours, echo.addr, &format!("mode=websocket;{};a=nobody", pair.for_server()));
        // It listens before it gives up root.
        let is_root = || status(server.child.pid(), "Uid:").split(' ').any(|id| id == "0");
        assert!(eventually(STEP, || !is_root()));
        let old = shown_certificate(server.addr);
        assert!(!old.is_empty());
        let helpers = proc::children_of(server.child.pid());
        assert_eq!(helpers.len(), 1, "{helpers:?}");
        let at_rest = server.child.lines();
        // Time for a few looks at the files.
        assert_eq!(server.child.exit_within(millis(3500)), None);
        assert_eq!(server.child.lines(), at_rest);
        renew(&pair);
        server.child.wait_text("the new one is served");
        assert_ne!(shown_certificate(server.addr), old);
        // Without its helper it cannot look any more: it says so, once, and serves on.
        kill_process(Pid::from_raw(helpers[0].pid).expect("a pid"), Signal::KILL).expect("signal it");
        server.child.wait_text("cannot be looked at");
        assert!(!shown_certificate(server.addr).is_empty());
        let lines = server.child.lines().len();
        assert_eq!(server.child.exit_within(millis(2500)), None);
        assert_eq!(server.child.lines().len(), lines, "{}", server.child.show_log());
    });
}

/// However it ends, what keeps the right to read ends with it.
#[test]
fn nobody_keeps_root_when_the_server_has_gone() {
    netns::alone(secs(60), || {
        need!("openssl");
        let (echo, pair) = (Backend::echo(), Certificate::new(NAME));
        for how in [Signal::TERM, Signal::KILL] {
            let server = server(Ours, echo.addr, &format!("mode=websocket;{};a=nobody", pair.for_server()));
            let helpers = proc::children_of(server.child.pid());
            assert!(!helpers.is_empty());
            assert!(proc::listening_ports(helpers[0].pid).is_empty(), "it holds the port");
            server.child.signal(how);
            for helper in helpers {
                assert!(helper.wait_gone(secs(3)), "{how:?}: {helper:?}");
            }
        }
    });
}

/// The working directory changes in the background, and the paths of the files stay what they were.
#[test]
fn a_certificate_with_a_relative_path_is_renewed_in_the_background() {
    within(secs(60), || {
        need!("openssl");
        let (dir, echo, pair) = (TempDir::new("relative"), Backend::echo(), Certificate::new(NAME));
        let file = dir.path().join("run.pid");
        let port = free_port();
        let mut server = command(our_path(), "server --mode websocket --tls --cert cert.pem --key key.pem");
        server.args(["--listen", &format!("127.0.0.1:{port}"), "--backend", &echo.addr.to_string()]);
        server.arg("-f").arg(&file).current_dir(pair.dir.path());
        let (exit, lines) = ended(server);
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        let _daemon = Daemon::of(&file);
        let old = shown_certificate(loopback(port));
        renew(&pair);
        assert!(eventually(STEP, || shown_certificate(loopback(port)) != old), "the old one is served");
    });
}

/// What `scripts/install` installs listens on a low port where a service has that right alone and its host
/// cannot hand it on; it runs also where the service has no right at all; and the refusal says what helps.
#[test]
fn the_installed_program_may_listen_on_low_ports() {
    netns::alone(secs(60), || {
        need!("ss-server");
        let (dir, echo) = (TempDir::new("capability"), Backend::echo());
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"));
        script.env("BINARY", our_path()).env("DESTDIR", "").env("PREFIX", dir.path());
        let (exit, lines) = ended(script);
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("cap_net_bind_service")), "{lines:?}");
        let program = dir.path().join("bin/obfs-server");

        // Debian's unit for shadowsocks-libev: its ss-server has the right from its file.
        let service = |rights: &str| {
            let mut command = bare(peers::path("setpriv"));
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
            for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
                command.arg(format!("{set}=-all{rights}"));
            }
            command
        };
        let mut host = service(",+net_bind_service");
        host.arg(peers::path("ss-server")).args(["-s", "127.0.0.1", "-p", "443", "-k", "pw"]);
        host.args(["-m", "aes-256-gcm", "--plugin"]).arg(&program).args(["--plugin-opts", "obfs=http"]);
        let host = started("ss-server as a service", host, 443);
        let plugin = proc::wait_listening_child(host.pid());
        assert!(proc::listening_ports(plugin.pid).contains(&443));
        host.signal(Signal::KILL);
        assert!(plugin.wait_gone(secs(2)), "it outlived its host");

        let port = free_port();
        let mut server = service("");
        server.arg(&program).args(words(port, &echo, "").split_whitespace());
        drop(started("a service without any right", server, port));
        let mut server = service("");
        server.arg(&program).args(words(444, &echo, "").split_whitespace());
        let (exit, lines) = ended(server);
        assert_eq!(exit, Exit::Code(1), "{lines:?}");
        assert!(lines.join(" ").contains("setcap cap_net_bind_service=p /"), "{lines:?}");
        assert!(lines.join(" ").contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"), "{lines:?}");
    });
}

/// Who may not give the file its right installs it all the same, and is told.
#[test]
fn the_install_script_goes_on_without_the_capability() {
    within(secs(60), || {
        let dir = TempDir::new("no-capability");
        let setcap =
            dir.write("bin/setcap", "#!/bin/sh\necho 'cannot: Operation not supported' >&2\nexit 1\n");
        std::fs::set_permissions(&setcap, PermissionsExt::from_mode(0o755)).expect("a program");
        let path = format!("{}:/usr/bin:/bin", dir.path().join("bin").display());
        for (wanted, told) in [("yes", true), ("no", false)] {
            let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"));
            script.env("BINARY", our_path()).env("DESTDIR", dir.path()).env("PREFIX", "/usr");
            script.env("PATH", &path).env("CAPABILITY", wanted);
            let (exit, lines) = ended(script);
            assert_eq!(exit, Exit::Code(0), "{lines:?}");
            let said = lines.iter().any(|line| line.contains("setcap") && line.contains("not supported"));
            assert_eq!(said, told, "{lines:?}");
            assert!(dir.path().join("usr/bin/obfs-server").exists());
        }
    });
}

/// A website, a backend or a server that can only be the process itself is a mistake that is told.
#[test]
fn what_leads_back_is_refused_at_the_start() {
    within(secs(60), || {
        let echo = Backend::echo();
        let port = free_port();
        let backend = echo.addr;
        let listen = |host: &str| format!("server --obfs http --listen {host}:{port} --backend {backend}");
        for (words, named) in [
            (format!("{} --failover 127.0.0.1:{port}", listen("0.0.0.0")), "failover"),
            (format!("{} --failover 127.0.0.1:{port}", listen("127.0.0.1")), "failover"),
            (format!("{} --failover 127.1.2.3:{port}", listen("0.0.0.0")), "failover"),
            (format!("{} --failover localhost:{port}", listen("[::]")), "failover"),
            (format!("{} --failover-tls 0.0.0.0:{port}", listen("0.0.0.0")), "failover"),
            (format!("server --obfs http --listen 0.0.0.0:{port} --backend 127.0.0.1:{port}"), "backend"),
            (format!("client --listen 127.0.0.1:{port} --remote 127.0.0.1:{port}"), "server"),
        ] {
            let (exit, lines) = ended(command(our_path(), &words));
            assert_eq!(exit, Exit::Code(CONFIG_ERROR), "{words}: {lines:?}");
            let line = lines.join(" ");
            assert!(line.contains(named) && line.contains(&port.to_string()), "{words}: {line}");
        }
        // Another address of this machine, and another port, are others.
        let words = format!("{} --failover 127.0.0.2:{port}", listen("127.0.0.1"));
        drop(started("a server beside its website", command(our_path(), &words), port));
    });
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The descriptors that a process has open.
fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count()
}

/// A name is looked up when a visitor comes. That it leads back is told, and nothing is dialled.
#[test]
fn a_website_whose_name_leads_back_is_not_dialled() {
    netns::alone(secs(60), || {
        let (dir, echo) = (TempDir::new("hosts"), Backend::echo());
        let hosts = dir.write("hosts", "127.0.0.1 localhost\n127.0.0.1 www.example.com\n");
        netns::run("mount", &["--bind", &text(&hosts), "/etc/hosts"]);
        let port = free_port();
        let options = format!("server;obfs=http;failover=www.example.com:{port}");
        let mut command = bare(our_path());
        let local = ("127.0.0.1".to_owned(), echo.addr.port());
        Vars { remote: ("0.0.0.0".into(), port), local, options }.put(&mut command);
        let server = started("a server", command, port);
        let before = settled(|| descriptors(server.pid()));
        for _ in 0..3 {
            let visitor = connect(loopback(port));
            send(&visitor, GET);
            assert_eq!(recv_to_end(&visitor, STEP).1, End::Reset);
        }
        server.wait_text("leads back");
        assert!(eventually(STEP, || descriptors(server.pid()) <= before));
    });
}

/// Two servers that have each other for their website: no address shows that it is a circle. It is broken
/// while a few hundred connections are in it, and nothing of them stays.
#[test]
fn visitors_that_go_round_between_two_servers_are_ended() {
    within(secs(200), || {
        let (dir, echo) = (TempDir::new("circle"), Backend::echo());
        let program = installed_as(&dir, "obfs-server");
        for first_bytes in [GET, &b"\x16\x03\x01\x00\x05hello"[..]] {
            let ports = [free_port(), free_port()];
            let servers: Vec<Child> = (0..2)
                .map(|i| {
                    let failover = format!("--failover 127.0.0.1:{}", ports[1 - i]);
                    let words = words(ports[i], &echo, &failover);
                    started("one of two", command(program.clone(), &words), ports[i])
                })
                .collect();
            let before: Vec<usize> =
                servers.iter().map(|server| settled(|| descriptors(server.pid()))).collect();
            let visitor = connect(loopback(ports[0]));
            send(&visitor, first_bytes);
            assert_eq!(recv_to_end(&visitor, secs(80)).1, End::Reset);
            for (server, before) in servers.iter().zip(before) {
                let few = || descriptors(server.pid()) <= before + 10;
                assert!(eventually(STEP, few), "{} of {before}", descriptors(server.pid()));
            }
            // A client is served as ever.
            assert_echo(&connect(client(Ours, loopback(ports[1]), "obfs=http").addr), b"a tunnel");
        }
    });
}

/// Browsers connect beforehand and say nothing, some clients stop within a head: a website waits for them, and
/// so does the server.
#[test]
fn a_crowd_that_has_not_asked_yet_is_waited_for() {
    within(secs(120), || {
        let site = Backend::serve(|visitor| {
            recv_head(&visitor);
            send(&visitor, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            recv_to_end(&visitor, STEP);
        });
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, &format!("obfs=http;failover={}", site.addr));
        let crowd: Vec<_> = (0..300).map(|_| connect(server.addr)).collect();
        let (begun, rest) = GET.split_at(5);
        for visitor in &crowd {
            send(visitor, begun);
        }
        // Longer than a head may take, after which they are the website's.
        std::thread::sleep(secs(12));
        for visitor in &crowd {
            send(visitor, rest);
        }
        for visitor in &crowd {
            assert!(recv_head(visitor).starts_with("HTTP/1.1 200 "));
        }
    });
}

/// Many visitors that begin alike are no circle where the website answers.
#[test]
fn a_crowd_that_asks_the_same_is_answered() {
    within(secs(120), || {
        let site = Backend::serve(|visitor| {
            recv_head(&visitor);
            // A slow one: the whole crowd is there before the first answer.
            std::thread::sleep(millis(500));
            send(&visitor, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            recv_to_end(&visitor, STEP);
        });
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, &format!("obfs=http;failover={}", site.addr));
        let crowd: Vec<_> = (0..400).map(|_| connect(server.addr)).collect();
        for visitor in &crowd {
            send(visitor, GET);
        }
        for visitor in &crowd {
            assert!(recv_head(visitor).starts_with("HTTP/1.1 200 "));
        }
    });
}

/// Without a syslog at the start, that is told while somebody reads it; what is said meanwhile comes when the
/// syslog does.
#[test]
fn nothing_is_lost_while_there_is_no_syslog() {
    netns::alone(secs(60), || {
        let (dir, dev) = (TempDir::new("syslog"), TempDir::new("dev"));
        for device in ["/dev/null", "/dev/urandom"] {
            netns::run("cp", &["-a", device, &text(dev.path())]);
        }
        netns::run("mount", &["--bind", &text(dev.path()), "/dev"]);
        let echo = Backend::echo();
        let port = free_port();
        let file = dir.path().join("run.pid");
        // A website that is not there, for a line at "warning".
        let f = format!("--failover 127.0.0.1:{} -f {}", free_port(), text(&file));
        let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words(port, &echo, &f)));
        assert_eq!(exit, Exit::Code(0), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("there is no syslog")), "{lines:?}");
        let daemon = Daemon::of(&file);
        let visitor = connect(loopback(port));
        send(&visitor, GET);
        recv_to_end(&visitor, STEP);
        let syslog = UnixDatagram::bind(dev.path().join("log")).expect("a syslog of the test");
        syslog.set_read_timeout(Some(STEP)).expect("a limit");
        let mut message = [0; 2000];
        let length = syslog.recv(&mut message).expect("a message");
        let message = String::from_utf8_lossy(&message[..length]);
        let tag = format!("<28>obfs-rs[{}]: ", daemon.number());
        assert!(message.starts_with(&tag) && message.contains("cannot be reached"), "{message}");
    });
}
