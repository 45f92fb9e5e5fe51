//! Little memory, as on a small router or in a container, and the worst that peers can do who read nothing: with nothing
//! set by the operator, it does not come to the end of it.

use crate::rest::in_tls;
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, Vars, bare, our_path, server};
use crate::support::ports::free_port;
use crate::support::scrape::Metrics;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::{Ws, frame, mux};
use crate::support::{STEP, eventually, millis, netns, noise, secs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

const MB: usize = 1024 * 1024;

/// What a half may have.
const MEMORY: usize = 48 * MB;

/// A control group that may have no more than that, for as long as it lives.
struct Group(PathBuf);

impl Group {
    /// `None` where none can be made: by another user than root, or where the system gives none of them memory.
    fn new() -> Option<Group> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("obfs-rs-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        for (place, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = PathBuf::from(place).join(&name);
            if std::fs::create_dir(&group).is_ok() {
                let group = Group(group);
                if File::options()
                    .write(true)
                    .open(group.0.join(file))
                    .is_ok_and(|mut limit| limit.write_all(MEMORY.to_string().as_bytes()).is_ok())
                {
                    return Some(group);
                }
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it may be about to go.
        eventually(secs(5), || std::fs::remove_dir(&self.0).is_ok());
    }
}

/// A half that has little memory; in the group, where there is one, and otherwise by `ulimit -d`, which counts what is
/// set aside as well.
struct Small {
    plugin: Plugin,
    _group: Option<Group>,
}

fn small(group: Option<Group>, remote: SocketAddr, local: SocketAddr, options: &str, port: u16) -> Small {
    let mut command: Command = bare(our_path());
    let host_port = |addr: SocketAddr| (addr.ip().to_string(), addr.port());
    Vars { remote: host_port(remote), local: host_port(local), options: options.to_owned() }
        .put(&mut command);
    let members = group.as_ref().map(|group| {
        File::options().write(true).open(group.0.join("cgroup.procs")).expect("the members of a group")
    });
    let enter = move || match &members {
        Some(members) => Ok(rustix::io::write(members, b"0").map(drop)?),
        None => {
            let limit = Some(2 * MEMORY as u64);
            Ok(setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit })?)
        }
    };
    // SAFETY: the function makes one system call and touches nothing of the process.
    unsafe { command.pre_exec(enter) };
    let child = Child::spawn(options, command);
    child.wait_listening(port);
    let plugin = Plugin { child, addr: loopback(port) };
    Small { plugin, _group: group }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn small_server(group: Option<Group>, backend: SocketAddr, options: &str) -> Small {
    let port = free_port();
    small(group, loopback(port), backend, &format!("server;{options}"), port)
}

/// An echo for those who say "hello", nobody who reads for those who say "stall", and more than can wait anywhere for
/// all others.
fn flooding() -> Backend {
    let flood = noise(3 * MB, 5);
    let stalled = Mutex::new(Vec::new());
    Backend::serve(move |stream| {
        let mut first = [0; 5];
        stream.set_write_timeout(None).expect("no limit");
        stream.set_read_timeout(None).expect("no limit");
        // It may come to nothing, where the half has gone.
        if (&stream).read_exact(&mut first).is_err() {
            return;
        }
        match &first {
            b"hello" => {
                let _ = (&stream).write_all(&first);
                let _ = std::io::copy(&mut &stream, &mut &stream);
            }
            b"stall" => stalled.lock().expect("the list").push(stream),
            _ => {
                let _ = (&stream).write_all(&flood);
            }
        }
    })
}

/// As many as come, each with a descriptor; and the kernel keeps little for any, so that it is the process that could.
fn many() {
    assert!(netns::sysctl("ipv4/tcp_wmem", "4096 16384 65536"), "a setting of this network");
    assert!(netns::sysctl("ipv4/tcp_rmem", "4096 131072 262144"), "a setting of this network");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("descriptors");
}

/// A crowd of so many, begun by a few threads.
fn crowd<T: Send>(count: usize, begin: impl Fn(usize) -> T + Sync) -> Vec<T> {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        let begin = &begin;
        let some = |thread| move || (thread..count).step_by(THREADS).map(begin).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(some(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a part of the crowd")).collect()
    })
}

const UPGRADE: &[u8] = b"GET /s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const DOWNLOAD: &[u8] = b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n";

/// What somebody says first to a half.
fn saying(addr: SocketAddr, words: &[&[u8]]) -> TcpStream {
    let stream = connect(addr);
    // Where no more are accepted, the system takes what is said for them, or not all of it.
    stream.set_nonblocking(true).expect("not to wait");
    let _ = (&stream).write_all(&words.concat());
    stream.set_nonblocking(false).expect("to wait");
    stream
}

/// A measure, once it changes no more, or after some seconds.
fn settled<T: PartialEq>(measure: impl Fn() -> T) -> T {
    let mut last = measure();
    eventually(secs(5), || {
        std::thread::sleep(millis(500));
        let now = measure();
        let is_same = now == last;
        last = now;
        is_same
    });
    last
}

/// What a process has of its own, in KiB; nothing when it has gone.
fn memory_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB")?.trim().parse().ok())
}

/// A tunnel goes on while they are there, the process comes to no end, and others come when they have gone.
#[track_caller]
fn survives<T>(half: &Small, open: impl Fn() -> TcpStream, crowd: impl FnOnce() -> Vec<T>) {
    let child = &half.plugin.child;
    let tunnel = open();
    assert_echo(&tunnel, b"hello");
    let crowd = crowd();
    // One bound or the other is what keeps it small.
    let bounds = [format!("limit-buffers={} is reached", MEMORY / MB / 4), "accepting pauses".to_owned()];
    child.wait_line("a bound", |line| bounds.iter().any(|bound| line.contains(bound)));
    // It fills up to where it will.
    settled(|| memory_of(child));
    assert_echo(&tunnel, &noise(MB, 7));
    assert_eq!(child.peek_exit(), None, "{}", child.show_log());
    drop(crowd);
    let served = || {
        let stream = open();
        send(&stream, b"hello");
        stream.set_read_timeout(Some(secs(1))).expect("a limit");
        (&stream).read(&mut [0; 5]).is_ok_and(|n| n > 0)
    };
    assert!(eventually(STEP, served), "{}", child.show_log());
}

fn tunnel_at(addr: SocketAddr) -> impl Fn() -> TcpStream {
    move || {
        let stream = connect(addr);
        send(&stream, UPGRADE);
        recv_head(&stream);
        stream
    }
}

#[test]
fn visitors_and_clients_who_read_nothing_do_not_fill_a_small_machine() {
    netns::alone(secs(120), || {
        many();
        let backend = flooding();
        let folder = TempDir::new("memory");
        folder.write("big.bin", noise(4 * MB, 20));
        for (website, words) in [
            (backend.addr.to_string(), &[DOWNLOAD][..]),
            (format!("dir:{}", folder.path().display()), &[DOWNLOAD]),
            ("status:404".to_owned(), &[UPGRADE, b"flood"]),
        ] {
            let options = format!("obfs=http;obfs-uri=/s;failover={website}");
            let half = small_server(Group::new(), backend.addr, &options);
            let addr = half.plugin.addr;
            survives(&half, tunnel_at(addr), || crowd(1600, |_| saying(addr, words)));
        }
    });
}

/// A server of a large file in TLS, with these options besides.
fn in_tls_before_a_large_file(
    backend: SocketAddr,
    certificate: &Certificate,
    folder: &TempDir,
    options: &str,
) -> Small {
    folder.write("big.bin", noise(4 * MB, 20));
    let website = format!("failover=dir:{}", folder.path().display());
    let options = format!("path=/s;obfs-uri=/s;{};{website}{options}", certificate.for_server());
    small_server(Group::new(), backend, &options)
}

#[test]
fn visitors_in_tls_who_read_nothing_do_not_fill_a_small_machine() {
    netns::alone(secs(120), || {
        need!("openssl");
        many();
        let (backend, certificate, folder) = (flooding(), Certificate::new(NAME), TempDir::new("memory"));
        let half = in_tls_before_a_large_file(backend.addr, &certificate, &folder, "");
        let addr = half.plugin.addr;
        // Four at a time: these are nearly all that there may be.
        survives(&half, tunnel_at(addr), || crowd(90, |_| in_tls(addr, DOWNLOAD)));
    });
}

/// Whoever comes when the limit is reached gets next to nothing beyond it.
#[test]
fn visitors_in_tls_who_read_nothing_stay_near_the_limit() {
    netns::alone(secs(120), || {
        need!("openssl");
        many();
        let (backend, certificate, folder) = (flooding(), Certificate::new(NAME), TempDir::new("memory"));
        let metrics = loopback(free_port());
        let half =
            in_tls_before_a_large_file(backend.addr, &certificate, &folder, &format!(";metrics={metrics}"));
        let addr = half.plugin.addr;
        survives(&half, tunnel_at(addr), || {
            let crowd = crowd(90, |_| in_tls(addr, DOWNLOAD));
            half.plugin.child.wait_line("a bound", |line| line.contains("is reached"));
            let held = settled(|| Metrics(metrics).now().get("obfs_rs_buffered_bytes"));
            // Beyond it each may have 8 KiB, a piece or what waits in TLS.
            let most = MEMORY / 4 + 360 * 8 * 1024;
            assert!(held <= most as f64, "{held} bytes of {most}");
            crowd
        });
    });
}

/// What visitors said is held, too: requests that wait for the answer to the one before, heads that do not end.
#[test]
fn visitors_who_say_much_do_not_fill_a_small_machine() {
    netns::alone(secs(120), || {
        many();
        let backend = flooding();
        let folder = TempDir::new("memory");
        folder.write("big.bin", noise(4 * MB, 20));
        let pipelined = DOWNLOAD.repeat(2000);
        let lines = format!("X-Line: {}\r\n", "a".repeat(6000)).repeat(5);
        let head = [&DOWNLOAD[..DOWNLOAD.len() - 2], lines.as_bytes()].concat();
        let line = [&DOWNLOAD[..DOWNLOAD.len() - 2], b"X-Line: ", "a".repeat(60_000).as_bytes()].concat();
        for words in [pipelined, head, line] {
            let options = format!("obfs=http;obfs-uri=/s;failover=dir:{}", folder.path().display());
            let half = small_server(Group::new(), backend.addr, &options);
            let addr = half.plugin.addr;
            survives(&half, tunnel_at(addr), || crowd(1600, |_| saying(addr, &[&words])));
        }
    });
}

/// However many strangers there are, a tunnel that is accepted has a descriptor for its backend.
#[test]
fn strangers_leave_the_descriptors_for_tunnels_that_are_accepted() {
    netns::alone(secs(120), || {
        many();
        let backend = flooding();
        let half = small_server(Group::new(), backend.addr, "obfs=http;obfs-uri=/s;failover=status:404");
        let addr = half.plugin.addr;
        let clients: Vec<_> = (0..300).map(|_| connect(addr)).collect();
        let _strangers = crowd(1600, |_| connect(addr));
        half.plugin.child.wait_line("a bound", |line| line.contains("accepting pauses"));
        // They were the first to be accepted, and say now what they are; all at once.
        for client in &clients {
            send(client, UPGRADE);
        }
        for client in &clients {
            recv_head(client);
            send(client, b"hello");
            let mut answer = [0; 5];
            (&*client).read_exact(&mut answer).expect("an answer of the backend");
        }
        assert!(!half.plugin.child.show_log().contains("os error 24"));
    });
}

/// Sessions, whose queues are beside those of the connections, at a backend that reads nothing; and memory by `ulimit`.
#[test]
fn sessions_that_nobody_reads_do_not_fill_a_small_machine() {
    netns::alone(secs(120), || {
        many();
        let backend = flooding();
        let half = small_server(None, backend.addr, "path=/s;obfs-uri=/s");
        let addr = half.plugin.addr;
        let upload = noise(60_000, 3);
        let sessions = |_| {
            let ws = Ws::open(addr, "/s");
            let mut frames = Vec::new();
            for id in 1..=8 {
                frames.push(frame(0x82, &[mux::open(id), mux::keep(id, b"stall")].concat()));
            }
            for id in (1..=8).cycle().take(40) {
                frames.push(frame(0x82, &mux::keep(id, &upload)));
            }
            // As much as is taken.
            ws.stream.set_write_timeout(Some(millis(100))).expect("a limit");
            let _ = (&ws.stream).write_all(&frames.concat());
            ws.stream
        };
        survives(&half, tunnel_at(addr), || crowd(24, sessions));
    });
}

#[test]
fn applications_that_read_nothing_do_not_fill_a_small_machine() {
    netns::alone(secs(120), || {
        many();
        let backend = flooding();
        let server = server(Ours, backend.addr, "path=/s;obfs-uri=/s");
        for options in ["mode=websocket;path=/s;mux=0", "obfs=tls"] {
            let port = free_port();
            let half = small(Group::new(), server.addr, loopback(port), options, port);
            let addr = half.plugin.addr;
            survives(&half, || connect(addr), || crowd(800, |_| saying(addr, &[b"flood"])));
        }
    });
}

/// The last to come stay: what they have lies above what the others leave.
#[test]
fn what_a_crowd_leaves_goes_back_to_the_system() {
    netns::alone(secs(120), || {
        need!("openssl");
        many();
        let (backend, certificate) = (flooding(), Certificate::new(NAME));
        let options = format!("path=/s;obfs-uri=/s;{};failover=status:404", certificate.for_server());
        let half = server(Ours, backend.addr, &options);
        let memory = || settled(|| memory_of(&half.child)).expect("a process");
        drop(in_tls(half.addr, UPGRADE));
        let before = memory();
        let first = crowd(200, |_| in_tls(half.addr, UPGRADE));
        let last = in_tls(half.addr, UPGRADE);
        let most = memory();
        drop(first);
        let given_back = || memory_of(&half.child).is_some_and(|now| now < before + (most - before) / 3);
        let is_given_back = eventually(secs(5), given_back);
        eprintln!("{before} {most} {:?}", memory_of(&half.child));
        assert!(
            is_given_back,
            "{before} KiB, {most} KiB with a crowd, {:?} when it has gone",
            memory_of(&half.child)
        );
        drop(last);
    });
}
