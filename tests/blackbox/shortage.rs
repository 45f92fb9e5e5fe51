//! A machine that has less than is asked for: no threads, hardly any descriptors, a silent name server.

use crate::rest::assert_at_rest;
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, fin, recv_head, recv_to_end, send};
use crate::support::gate::gated;
use crate::support::plugin::{Ours, Vars, bare, our_path, server, start};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{eventually, millis, netns, secs, settled, within};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn local(port: u16) -> (String, u16) {
    ("127.0.0.1".to_owned(), port)
}

/// It starts and serves, or says in one line why not.
#[test]
fn with_hardly_any_descriptors_it_serves_or_says_why_not() {
    within(secs(60), || {
        let echo = Backend::echo();
        for limit in 4..20 {
            let port = free_port();
            let mut command = bare("/bin/sh".into());
            command.arg("-c").arg("ulimit -n \"$2\" && exec \"$1\"").arg("sh").arg(our_path());
            command.arg(limit.to_string());
            let options = "server;obfs=http".to_owned();
            Vars { remote: local(port), local: local(echo.addr.port()), options }.put(&mut command);
            let child = Child::spawn(&format!("a server with {limit} descriptors"), command);
            // (that nothing panicked is looked at when the child goes)
            if child.exit_within(millis(300)).is_some() {
                // With the last words, which come a moment later than the end.
                let exit = child.wait_exit(secs(1));
                assert!(matches!(exit, Exit::Code(1..=127)), "{limit}: {exit:?}; {}", child.show_log());
                assert!(!child.lines().is_empty(), "{limit}: it says nothing");
            }
        }
    });
}

/// A user that may have no second thread: the first is there when the limit is set.
#[test]
fn without_further_threads_only_what_needs_one_fails() {
    // Root alone may become another user, too.
    netns::alone(secs(60), || {
        let echo = Backend::echo();
        let folder = TempDir::new("page");
        folder.write("index.html", "a page");
        let all_may_enter = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), all_may_enter).expect("a mode");
        let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (backend, options) in [
            ("127.0.0.1", format!("obfs=http;obfs-uri=/s;failover=dir:{}", folder.path().display())),
            ("localhost", "obfs=http".to_owned()),
            ("127.0.0.1", "obfs=http;obfs-uri=/s;failover=localhost:1".to_owned()),
        ] {
            let port = free_port();
            // The binary lies where another user may not go: root's file is opened before.
            let script = "exec 9<\"$1\"; ulimit -n 256; exec setpriv --reuid 64321 --regid 64321 --clear-groups \
                          prlimit --nproc=1:1 /proc/self/fd/9";
            let mut command = bare("/bin/sh".into());
            command.arg("-c").arg(script).arg("sh").arg(our_path());
            let vars = Vars {
                remote: local(port),
                local: (backend.to_owned(), echo.addr.port()),
                options: format!("server;{options}"),
            };
            vars.put(&mut command);
            let child = Child::spawn("a server without further threads", command);
            child.wait_listening(port);
            child.wait_text("no thread can be started that looks");
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            let visitor = connect(addr);
            send(&visitor, if backend == "localhost" { REQUEST } else { page });
            if options.contains("dir:") {
                assert!(recv_head(&visitor).starts_with("HTTP/1.1 200 "), "{}", child.show_log());
            } else {
                child.wait_text("no thread can be started");
            }
            assert_eq!(child.peek_exit(), None, "{}", child.show_log());
        }
    });
}

/// A name server that knows one name, as long as it wants to speak. Its questions are counted.
struct NameServer {
    silent: Arc<AtomicBool>,
    /// It says that it cannot tell (`EAI_AGAIN`).
    failing: Arc<AtomicBool>,
    /// The last byte of the address that it tells.
    host: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// Takes the place of the one that the system asks, in this network.
    fn start() -> NameServer {
        let file = std::env::temp_dir().join(format!("obfs-rs-resolv-{}", free_port()));
        std::fs::write(&file, "nameserver 127.0.0.1\n").expect("a file");
        let target = std::fs::canonicalize("/etc/resolv.conf").expect("the system has one");
        netns::run("mount", &["--bind", &file.to_string_lossy(), &target.to_string_lossy()]);
        std::fs::remove_file(&file).expect("the file is mounted");
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port of names");
        let server = NameServer {
            silent: Arc::default(),
            failing: Arc::default(),
            host: Arc::new(AtomicU8::new(1)),
            asked: Arc::default(),
        };
        let (silent, failing) = (server.silent.clone(), server.failing.clone());
        let (host, asked) = (server.host.clone(), server.asked.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let question = &bytes[..length];
                // Behind the twelve bytes of the head: a name, its type, its class.
                let Some(name) = question[12..].iter().position(|&b| b == 0) else { continue };
                let is_v4 = question[12 + name + 2] == 1;
                if is_v4 {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                if silent.load(Ordering::SeqCst) {
                    continue;
                }
                if failing.load(Ordering::SeqCst) {
                    // SERVFAIL, with the question.
                    let head = [&question[..2], &[0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
                    let _ = socket.send_to(&[&head, &question[12..12 + name + 5]].concat(), from);
                    continue;
                }
                let mut answer =
                    [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]].concat();
                answer.extend_from_slice(&question[12..12 + name + 5]);
                if is_v4 {
                    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0]);
                    answer.push(host.load(Ordering::SeqCst));
                }
                let _ = socket.send_to(&answer, from);
            }
        });
        server
    }
}

fn threads(child: &Child) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", child.pid())).expect("its threads").count()
}

#[test]
fn three_hundred_who_wait_for_a_name_are_one_look_up() {
    netns::alone(secs(60), || {
        let names = NameServer::start();
        names.silent.store(true, Ordering::SeqCst);
        let echo = Backend::echo();
        let port = free_port();
        let vars = Vars {
            remote: local(port),
            local: ("backend.example".to_owned(), echo.addr.port()),
            options: "server;obfs=http".to_owned(),
        };
        let server = start("a server", our_path(), &vars, port);
        let before = settled(|| threads(&server.child));
        let clients: Vec<_> = (0..300)
            .map(|_| {
                let client = connect(server.addr);
                send(&client, REQUEST);
                // Granted, and then it waits for the backend.
                assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
                client
            })
            .collect();
        assert!(eventually(secs(20), || names.asked.load(Ordering::SeqCst) > 0));
        assert!(threads(&server.child) <= before + 1, "{} threads", threads(&server.child));
        assert_eq!(names.asked.load(Ordering::SeqCst), 1);
        // The system asks again after five seconds; then all of them are served.
        names.silent.store(false, Ordering::SeqCst);
        for client in &clients {
            assert_echo(client, b"at last");
        }
        assert!(names.asked.load(Ordering::SeqCst) <= 2);
    });
}

/// What a name server may do, or a system without one.
#[derive(Debug, Clone, Copy)]
enum NoNames {
    Failing,
    Silent,
    /// There is no `/etc/resolv.conf`, or nothing in it.
    NotSetUp,
}

/// The names fail at the start: it listens, tells it, is at rest, and serves when they are there.
#[test]
fn names_that_fail_at_the_start_are_waited_for() {
    for how in [NoNames::Failing, NoNames::Silent, NoNames::NotSetUp] {
        netns::alone(secs(90), move || {
            let names = NameServer::start();
            names.failing.store(matches!(how, NoNames::Failing), Ordering::SeqCst);
            names.silent.store(matches!(how, NoNames::Silent), Ordering::SeqCst);
            let target = std::fs::canonicalize("/etc/resolv.conf").expect("the system has one");
            if matches!(how, NoNames::NotSetUp) {
                // (the system asks 127.0.0.1 then, where nobody may be)
                std::fs::write(&target, "").expect("nothing in it");
                names.failing.store(true, Ordering::SeqCst);
            }
            let echo = Backend::echo();
            let [at_server, at_client] = [free_port(), free_port()];
            let behind = ("backend.example".to_owned(), echo.addr.port());
            let vars =
                Vars { remote: local(at_server), local: behind, options: "server;obfs=http".to_owned() };
            let server = start("a server", our_path(), &vars, at_server);
            let remote = ("server.example".to_owned(), at_server);
            let vars = Vars { remote, local: local(at_client), options: "obfs=http".to_owned() };
            let client = start("a client", our_path(), &vars, at_client);
            let early = connect(client.addr);
            send(&early, b"early");
            assert_at_rest("a half without names", &server.child);
            assert_at_rest("a half without names", &client.child);
            names.failing.store(false, Ordering::SeqCst);
            names.silent.store(false, Ordering::SeqCst);
            let served = || {
                let app = connect(client.addr);
                send(&app, b"hello");
                fin(&app);
                recv_to_end(&app, secs(10)).0 == b"hello"
            };
            assert!(
                eventually(secs(30), served),
                "{how:?}: {}\n{}",
                client.child.show_log(),
                server.child.show_log()
            );
            assert!(client.child.lines().len() < 12, "a flood: {}", client.child.show_log());
        });
    }
}

/// They fail while it serves, and when it is to read everything anew: what is known is used on.
#[test]
fn names_that_fail_in_service_and_at_a_reload_change_nothing() {
    netns::alone(secs(90), || {
        let names = NameServer::start();
        let echo = Backend::echo();
        let port = free_port();
        let behind = ("backend.example".to_owned(), echo.addr.port());
        let vars = Vars { remote: local(port), local: behind, options: "server;obfs=http".to_owned() };
        let server = start("a server", our_path(), &vars, port);
        let tunnel = || {
            let client = connect(server.addr);
            send(&client, REQUEST);
            assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
            assert_echo(&client, b"hello");
            client
        };
        let open = tunnel();
        let reloads = || server.child.lines().iter().filter(|line| line.contains("reloaded: ")).count();
        for fault in [&names.failing, &names.silent] {
            fault.store(true, Ordering::SeqCst);
            let began = Instant::now();
            tunnel();
            let before = reloads();
            server.child.signal(rustix::process::Signal::HUP);
            assert!(eventually(secs(20), || reloads() > before), "{}", server.child.show_log());
            tunnel();
            assert_echo(&open, b"goes on");
            assert!(began.elapsed() < secs(8), "somebody waited for names: {:?}", began.elapsed());
            fault.store(false, Ordering::SeqCst);
        }
        assert_at_rest("a server whose names failed", &server.child);
    });
}

/// There is no thread that looks a name up, in a process that serves: who needs one ends and the others go on.
#[test]
fn without_a_thread_for_names_only_who_needs_one_fails() {
    netns::alone(secs(60), || {
        let names = NameServer::start();
        names.silent.store(true, Ordering::SeqCst);
        let echo = Backend::echo();
        let site = "never.example";
        let port = free_port();
        let options = format!("server;obfs=http;obfs-uri=/s;failover={site}:80");
        let mut command = bare(our_path());
        Vars { remote: local(port), local: local(echo.addr.port()), options }.put(&mut command);
        let (child, gate) = gated("a server", command, &[libc::SYS_clone3, libc::SYS_clone]);
        gate.refuse_where(libc::SYS_clone3, libc::EAGAIN, |_| true);
        gate.refuse_where(libc::SYS_clone, libc::EAGAIN, |_| true);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let tunnel = connect(addr);
        send(&tunnel, b"GET /s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        assert_echo(&tunnel, b"hello");
        let visitor = connect(addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(recv_to_end(&visitor, secs(20)).1, End::Reset);
        child.wait_text("no thread can be started");
        assert_echo(&tunnel, b"goes on");
        gate.open();
        names.silent.store(false, Ordering::SeqCst);
        // The name is looked up again: there is a website at its address, which is not there.
        let told = || {
            let visitor = connect(addr);
            send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            recv_to_end(&visitor, secs(10));
            child.lines().iter().any(|line| line.contains("127.0.0.1:80"))
        };
        assert!(eventually(secs(20), told), "{}", child.show_log());
        assert_echo(&tunnel, b"goes on");
    });
}

/// The server has moved: its old address refuses.
#[test]
fn when_all_addresses_of_a_name_fail_it_is_asked_for_anew() {
    netns::alone(secs(60), || {
        let names = NameServer::start();
        let echo = Backend::echo();
        let port = free_port();
        let vars = Vars {
            remote: local(port),
            local: ("backend.example".to_owned(), echo.addr.port()),
            options: "server;obfs=http".to_owned(),
        };
        // Nobody listens there. (It is looked up at the start already, to see whether it answers.)
        names.host.store(2, Ordering::SeqCst);
        let server = start("a server", our_path(), &vars, port);
        let ask = || {
            let client = connect(server.addr);
            send(&client, REQUEST);
            assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
            client
        };
        let refused = ask();
        server.child.wait_text("127.0.0.2");
        drop(refused);
        names.host.store(1, Ordering::SeqCst);
        // An answer is not asked for again within a second, whoever fails.
        std::thread::sleep(millis(1200));
        assert_echo(&ask(), b"found again");
        // From here on it is known, and nobody waits for anybody.
        names.silent.store(true, Ordering::SeqCst);
        let began = Instant::now();
        assert_echo(&ask(), b"known");
        assert!(began.elapsed() < secs(4), "it waited for the name server: {:?}", began.elapsed());
    });
}

/// The thread that watches over the others sleeps as long as they do.
#[test]
fn a_process_at_rest_is_woken_by_nothing() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let client = connect(server.addr);
        send(&client, REQUEST);
        recv_head(&client);
        assert_echo(&client, b"alive");
        let switches = || -> u64 {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.pid())).expect("its threads");
            let count = |task: std::io::Result<std::fs::DirEntry>| {
                let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            };
            tasks.filter_map(count).sum()
        };
        // It settles within two looks of the watchdog.
        let rests = eventually(secs(20), || {
            let before = switches();
            std::thread::sleep(millis(2500));
            switches() == before
        });
        assert!(rests, "something wakes it again and again");
    });
}
