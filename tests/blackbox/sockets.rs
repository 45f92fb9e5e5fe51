//! What the options ask of sockets, seen in the kernel's counters and by whoever is at the other end.

use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{End, assert_echo, connect, recv, recv_to_end, send};
use crate::support::netns::{self, Other, counter, ip, sysctl};
use crate::support::peers::skip;
use crate::support::plugin::{Ours, Plugin, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::proxy::Told;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, millis, noise, secs, within};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// A client half for hosts as SIP003 joins them, started in a folder.
#[track_caller]
fn client_of(hosts: &str, remote_port: u16, options: &str, folder: &Path) -> Plugin {
    let port = free_port();
    let mut command = ours();
    let vars = Vars {
        remote: (hosts.to_owned(), remote_port),
        local: ("127.0.0.1".to_owned(), port),
        options: format!("client;{options}"),
    };
    vars.put(&mut command);
    command.current_dir(folder);
    let child = Child::spawn("client", command);
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn here() -> &'static Path {
    Path::new("/")
}

fn fast_open_counters() -> (u64, u64) {
    let read = |name| counter("TcpExt", name).expect("Linux counts this since 3.7");
    (read("TCPFastOpenActive"), read("TCPFastOpenPassive"))
}

/// With the option the second connection's first bytes travel in its SYN; without, none do. What is
/// too long for a SYN arrives whole.
#[test]
fn fast_open_sends_and_takes_data_with_the_syn() {
    netns::alone(secs(60), || {
        assert!(sysctl("ipv4/tcp_fastopen", "3"));
        let echo = Backend::echo();
        for obfs in ["obfs=http", "obfs=http;handshake=standard", "obfs=tls"] {
            let before = fast_open_counters();
            for (client_options, server_options) in [("", ""), ("", ";fast-open"), (";fast-open", "")] {
                let server = server(Ours, echo.addr, &format!("{obfs}{server_options}"));
                let client = client(Ours, server.addr, &format!("{obfs}{client_options}"));
                for _ in 0..3 {
                    assert_echo(&connect(client.addr), &noise(3000, 1));
                }
            }
            assert_eq!(fast_open_counters(), before, "{obfs}: only both sides together can");

            let server = server(Ours, echo.addr, &format!("{obfs};fast-open"));
            let client = client(Ours, server.addr, &format!("{obfs};fast-open"));
            for (i, size) in [1, 500, 3000, 60_000, 1 << 20].into_iter().enumerate() {
                assert_echo(&connect(client.addr), &noise(size, i as u64));
            }
            let after = fast_open_counters();
            // The first fetches the cookie.
            assert!(after.0 >= before.0 + 4, "{obfs}: sent {before:?} → {after:?}");
            assert!(after.1 >= before.1 + 4, "{obfs}: taken {before:?} → {after:?}");
        }
    });
}

/// Where the kernel refuses, connections are made the usual way.
#[test]
fn fast_open_retreats_where_the_kernel_refuses() {
    netns::alone(secs(60), || {
        assert!(sysctl("ipv4/tcp_fastopen", "0"));
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;fast-open");
        let client = client(Ours, server.addr, "obfs=http;fast-open");
        for size in [1, 3000, 1 << 20] {
            assert_echo(&connect(client.addr), &noise(size, 1));
        }
        assert_eq!(fast_open_counters(), (0, 0));
    });
}

/// A server that took data in SYNs is gone: its refusal is seen, and the next address is tried.
#[test]
fn fast_open_still_finds_out_that_a_server_is_gone() {
    netns::alone(secs(60), || {
        assert!(sysctl("ipv4/tcp_fastopen", "3"));
        let echo = Backend::echo();
        let port = free_port();
        let half = |host: &str| {
            let mut command = ours();
            let remote = (host.to_owned(), port);
            let local = ("127.0.0.1".to_owned(), echo.addr.port());
            Vars { remote, local, options: "server;obfs=http;fast-open".into() }.put(&mut command);
            let child = Child::spawn(host, command);
            child.wait_text("listening");
            child
        };
        let first = half("127.0.0.2");
        let _second = half("127.0.0.3");
        let client = client_of("127.0.0.2|127.0.0.3", port, "obfs=http;fast-open", here());
        for _ in 0..2 {
            assert_echo(&connect(client.addr), b"the first server");
        }
        let before = fast_open_counters();
        assert!(before.0 >= 1, "no data went with a SYN: {before:?}");
        drop(first);
        for _ in 0..3 {
            assert_echo(&connect(client.addr), b"the second server");
        }
    });
}

#[test]
fn mptcp_is_spoken_between_the_halves() {
    netns::alone(secs(60), || {
        if !sysctl("mptcp/enabled", "1") {
            skip("a kernel with Multipath TCP");
            return;
        }
        let taken = || counter("MPTcpExt", "MPCapableSYNRX").expect("the kernel counts Multipath TCP");
        let echo = Backend::echo();
        for obfs in ["obfs=http", "obfs=tls"] {
            for (ours, theirs) in [("", ""), (";mptcp", "")] {
                let before = taken();
                let server = server(Ours, echo.addr, &format!("{obfs}{ours}"));
                let client = client(Ours, server.addr, &format!("{obfs}{theirs}"));
                assert_echo(&connect(client.addr), &noise(1 << 20, 1));
                assert_eq!(taken(), before, "{obfs}: a client that was not told to speaks it");
            }
            let before = counter("MPTcpExt", "MPCapableACKRX");
            let server = server(Ours, echo.addr, &format!("{obfs};mptcp"));
            let client = client(Ours, server.addr, &format!("{obfs};mptcp"));
            let already = taken();
            assert_echo(&connect(client.addr), &noise(8 << 20, 2));
            assert_eq!(taken(), already + 1, "{obfs}: one connection between the halves");
            assert!(counter("MPTcpExt", "MPCapableACKRX") > before, "{obfs}: the server did not agree");
        }
    });
}

/// Both at once, as far as the kernel has both.
#[test]
fn mptcp_with_fast_open() {
    netns::alone(secs(60), || {
        assert!(sysctl("ipv4/tcp_fastopen", "3"));
        let echo = Backend::echo();
        for obfs in ["obfs=http", "obfs=tls"] {
            let server = server(Ours, echo.addr, &format!("{obfs};mptcp;fast-open"));
            let client = client(Ours, server.addr, &format!("{obfs};mptcp;fast-open"));
            for (i, size) in [1, 500, 3000, 60_000, 1 << 20].into_iter().enumerate() {
                assert_echo(&connect(client.addr), &noise(size, i as u64));
            }
        }
    });
}

#[test]
fn mptcp_retreats_to_tcp_and_says_so_once() {
    netns::alone(secs(60), || {
        if !sysctl("mptcp/enabled", "0") {
            skip("a kernel with Multipath TCP");
            return;
        }
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;mptcp");
        let client = client(Ours, server.addr, "obfs=http;mptcp");
        for _ in 0..3 {
            assert_echo(&connect(client.addr), b"over TCP");
        }
        for half in [&server, &client] {
            half.child.signal(Signal::TERM);
            half.child.wait_exit(STEP);
            let said = half.child.lines().iter().filter(|line| line.contains("Multipath")).count();
            assert_eq!(said, 1, "{}", half.child.show_log());
        }
    });
}

/// Two networks with two cables between them, and in the other one an address that both lead to.
struct Cables {
    other: Other,
}

/// The address at the far end.
const FAR: &str = "10.9.9.9";

impl Cables {
    fn lay() -> Cables {
        let other = Other::new();
        for (i, subnet) in ["10.1.0", "10.2.0"].into_iter().enumerate() {
            ip(&format!("link add near{i} type veth peer name far{i} netns {}", other.id));
            ip(&format!("address add {subnet}.1/24 dev near{i}"));
            ip(&format!("link set near{i} up"));
            other.run(move || {
                ip(&format!("address add {subnet}.2/24 dev far{i}"));
                ip(&format!("link set far{i} up"));
            });
        }
        other.run(|| ip(&format!("address add {FAR}/32 dev lo")));
        // The first cable is the way; the second only for who asks for it.
        ip(&format!("route add {FAR} via 10.1.0.2"));
        ip(&format!("route add {FAR} via 10.2.0.2 metric 100"));
        ip("address add 10.1.0.77/24 dev near0");
        Cables { other }
    }

    /// A backend over there that tells who came.
    fn backend(&self) -> (SocketAddr, Receiver<SocketAddr>) {
        let (tell, told) = mpsc::channel();
        let addr = self.other.run(move || {
            let listener = TcpListener::bind((FAR, 0)).expect("bind over there");
            let addr = listener.local_addr().expect("an address");
            std::thread::spawn(move || {
                while let Ok((stream, peer)) = listener.accept() {
                    // Something that looks like an answer to any visitor.
                    let _ = (&stream).write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhere");
                    if tell.send(peer).is_err() {
                        return;
                    }
                }
            });
            addr
        });
        (addr, told)
    }
}

/// `-i` and `-b` on every kind of outgoing connection: to the server half, to Shadowsocks, to the website.
#[test]
fn interface_and_source_address_hold_for_every_outgoing_connection() {
    netns::alone(secs(60), || {
        let cables = Cables::lay();
        let (far, came) = cables.backend();
        for (option, wanted) in [
            ("", "10.1.0.1"),
            (";i=near1", "10.2.0.1"),
            (";interface=near1", "10.2.0.1"),
            (";b=10.1.0.77", "10.1.0.77"),
            (";b=10.2.0.1;i=near1", "10.2.0.1"),
        ] {
            let wanted: IpAddr = wanted.parse().expect("an address");
            let from = |what: &str| {
                let peer = came.recv_timeout(STEP).unwrap_or_else(|_| panic!("{option}: nobody came"));
                assert_eq!(peer.ip(), wanted, "{option}: {what}");
            };
            let client = client(Ours, far, &format!("obfs=http{option}"));
            let app = connect(client.addr);
            send(&app, b"x");
            from("client half to server half");

            let server = server(Ours, far, &format!("obfs=http;failover={far}{option}"));
            from("the look whether what is behind answers");
            let tunnel = connect(server.addr);
            send(&tunnel, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            from("server half to Shadowsocks");
            let visitor = connect(server.addr);
            send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            from("server half to the website");
        }
    });
}

/// All of it holds for the connection to a proxy, and so does a mark.
#[test]
fn what_is_asked_of_sockets_is_asked_of_those_to_a_proxy() {
    netns::alone(secs(60), || {
        let cables = Cables::lay();
        let (far, came) = cables.backend();
        // Who has the mark goes by the second cable.
        ip("rule add fwmark 7 lookup 77");
        ip(&format!("route add {FAR} via 10.2.0.2 table 77"));
        for (option, wanted) in [
            ("", "10.1.0.1"),
            (";i=near1", "10.2.0.1"),
            (";b=10.1.0.77", "10.1.0.77"),
            (";fwmark=7", "10.2.0.1"),
            (";mptcp;fwmark=7", "10.2.0.1"),
            (";fast-open;i=near1", "10.2.0.1"),
        ] {
            for proxy in ["http", "socks5"] {
                let client = client_of(
                    "server.invalid",
                    80,
                    &format!("obfs=http;proxy={proxy}://{far}{option}"),
                    here(),
                );
                let app = connect(client.addr);
                send(&app, b"x");
                let peer = came.recv_timeout(STEP).unwrap_or_else(|_| panic!("{option}: nobody came"));
                assert_eq!(peer.ip().to_string(), wanted, "{proxy}{option}");
            }
        }
    });
}

/// Through a proxy nothing of the tunnel's travels with the SYN, which goes to somebody else: the proxy's own
/// request does, where it is the client that speaks first.
#[test]
fn fast_open_sends_a_proxy_its_own_request() {
    netns::alone(secs(60), || {
        // All listeners take data with the SYN, asked to or not.
        assert!(sysctl("ipv4/tcp_fastopen", "1027"));
        let echo = Backend::echo();
        for obfs in ["obfs=http", "obfs=tls"] {
            let server = server(Ours, echo.addr, obfs);
            for (kind, proxy, grows) in
                [("http", Told::http(server.addr), true), ("socks5", Told::socks5(server.addr), false)]
            {
                let options = format!("{obfs};fast-open;proxy={kind}://{}", proxy.addr);
                let client = client_of("server.invalid", 80, &options, here());
                let before = fast_open_counters();
                for size in [1, 3000, 60_000, 1 << 20] {
                    assert_echo(&connect(client.addr), &noise(size, 1));
                }
                // The first fetches the cookie.
                let sent = fast_open_counters().0 - before.0;
                assert_eq!(sent >= 3, grows, "{options}: {sent} times");
            }
        }
    });
}

/// A device leads only where it leads: the programs of this machine are still reached.
#[test]
fn an_interface_does_not_cut_off_this_machine() {
    netns::alone(secs(60), || {
        let _cables = Cables::lay();
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;i=near1");
        let client = client(Ours, server.addr, "obfs=http");
        assert_echo(&connect(client.addr), b"loopback");
    });
}

/// `-6`: of a name's addresses the IPv6 ones are dialled first, otherwise the system's first choice.
#[test]
fn ipv6_first_changes_the_order() {
    netns::alone(secs(60), || {
        let dir = TempDir::new("resolver");
        let hosts = dir.write("hosts", "10.7.0.1 both.test\nfd00::7 both.test\n");
        let order = dir.write("gai.conf", "precedence ::ffff:0:0/96 100\n");
        let at = |path: &Path| path.to_str().expect("a path of ASCII").to_owned();
        netns::run("mount", &["--bind", &at(&hosts), "/etc/hosts"]);
        netns::run("mount", &["--bind", &at(&order), "/etc/gai.conf"]);
        ip("address add 10.7.0.1/32 dev lo");
        ip("address add fd00::7/128 dev lo nodad");
        let port = free_port();
        let (tell, told) = mpsc::channel();
        let backends: Vec<_> = ["10.7.0.1", "fd00::7"]
            .map(|host| {
                let tell = tell.clone();
                let addr = SocketAddr::new(host.parse().expect("an address"), port);
                Backend::serve_on(addr, move |stream| {
                    let _ = tell.send(stream.local_addr().expect("an address").ip().to_string());
                })
            })
            .into();
        for (options, wanted) in [("", "10.7.0.1"), (";6", "fd00::7"), (";ipv6-first", "fd00::7")] {
            let client = client_of("both.test", port, &format!("obfs=http{options}"), here());
            let app = connect(client.addr);
            send(&app, b"x");
            assert_eq!(told.recv_timeout(STEP).as_deref(), Ok(wanted), "{options}");
        }
        drop(backends);
    });
}

/// An address that swallows everything costs its head start once.
#[test]
fn a_blackholed_first_address_costs_a_quarter_of_a_second_once() {
    netns::alone(secs(60), || {
        ip("link add hole type veth peer name void");
        ip("address add 10.8.0.2/24 dev hole");
        ip("link set hole up");
        ip("link set void up");
        ip("neighbour add 10.8.0.1 lladdr 02:00:00:00:00:01 dev hole nud permanent");
        for fast_open in ["", ";fast-open"] {
            let echo = Backend::echo();
            let server = server(Ours, echo.addr, "obfs=http");
            let hosts = format!("10.8.0.1|{}", server.addr.ip());
            let client = client_of(&hosts, server.addr.port(), &format!("obfs=http{fast_open}"), here());
            let timed = || {
                let began = Instant::now();
                assert_echo(&connect(client.addr), b"hello");
                began.elapsed()
            };
            let first = timed();
            assert!(first >= millis(250) && first < millis(1500), "the first took {first:?}");
            let next: Vec<Duration> = (0..5).map(|_| timed()).collect();
            assert!(next.iter().all(|took| *took < millis(200)), "the next took {next:?}");
        }
    });
}

/// The two halves over IPv6, and a server on both wildcards.
#[test]
fn ipv6_on_both_halves() {
    within(secs(60), || {
        let echo = Backend::echo_on("[::1]:0".parse().expect("an address"));
        for (obfs, hosts) in [("http", "::1"), ("tls", "::1"), ("http", "::|0.0.0.0"), ("tls", "::0")] {
            let start = |role: &str, remote: (&str, u16), local: (&str, u16), listens: u16| {
                let mut command = ours();
                let (remote, local) = ((remote.0.to_owned(), remote.1), (local.0.to_owned(), local.1));
                Vars { remote, local, options: format!("{role};obfs={obfs}") }.put(&mut command);
                let child = Child::spawn(role, command);
                child.wait_listening(listens);
                child
            };
            let (port, local) = (free_port(), free_port());
            let _server = start("server", (hosts, port), ("::1", echo.addr.port()), port);
            let _client = start("client", ("::1", port), ("::1", local), local);
            assert_echo(&connect(SocketAddr::new("::1".parse().expect("::1"), local)), &noise(100_000, 6));
        }
    });
}

/// What stands at `protect_path` in Android apps: takes sockets and answers with a byte.
struct Protector {
    dir: TempDir,
    /// The address that each socket was connected to when it came; `None`, as it should be, if to none.
    sockets: Receiver<Option<SocketAddr>>,
}

impl Protector {
    /// One that answers so; with `None`, never.
    fn answering(answer: Option<u8>) -> Protector {
        let dir = TempDir::new("android");
        let listener = UnixListener::bind(dir.path().join("protect_path")).expect("bind protect_path");
        let (tell, sockets) = mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut byte = [0];
                let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut room);
                let mut pieces = [IoSliceMut::new(&mut byte)];
                let got = recvmsg(&stream, &mut pieces, &mut ancillary, RecvFlags::empty());
                assert_eq!(got.expect("a message").bytes, 1, "one byte of data");
                let descriptors: Vec<_> = ancillary
                    .drain()
                    .flat_map(|message| match message {
                        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
                        _ => Vec::new(),
                    })
                    .collect();
                assert_eq!(descriptors.len(), 1, "one descriptor a message");
                for descriptor in descriptors {
                    let peer = std::net::TcpStream::from(descriptor).peer_addr().ok();
                    if tell.send(peer).is_err() {
                        return;
                    }
                }
                match answer {
                    Some(answer) => {
                        let _ = (&stream).write_all(&[answer]);
                    }
                    None => kept.push(stream),
                }
            }
        });
        Protector { dir, sockets }
    }
}

#[test]
fn android_every_outgoing_socket_is_protected_before_it_dials() {
    within(secs(60), || {
        let android = Protector::answering(Some(0));
        let (remote, connections) = Backend::manual();
        let through = format!("V;proxy=http://{}", remote.addr);
        for option in ["V", "__android_vpn", "fast-open;__android_vpn", through.as_str()] {
            let client = client_of(
                "127.0.0.1",
                remote.addr.port(),
                &format!("obfs=http;{option}"),
                android.dir.path(),
            );
            for _ in 0..3 {
                let app = connect(client.addr);
                send(&app, b"x");
                drop(next(&connections));
                assert_eq!(
                    android.sockets.recv_timeout(STEP),
                    Ok(None),
                    "a socket that is not connected yet"
                );
            }
            assert!(!client.child.lines().join("\n").contains("WARN unknown"), "{}", client.child.show_log());
        }
        assert!(android.sockets.try_recv().is_err(), "more sockets than connections");

        // The server half's two kinds.
        let port = free_port();
        let mut command = ours();
        let options = format!("server;obfs=http;V;failover={}", remote.addr);
        let local = ("127.0.0.1".to_owned(), remote.addr.port());
        Vars { remote: ("127.0.0.1".into(), port), local, options }.put(&mut command);
        command.current_dir(android.dir.path());
        let server = Child::spawn("server", command);
        server.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let visitor = connect(addr);
            send(&visitor, request.as_bytes());
            drop(next(&connections));
            assert_eq!(android.sockets.recv_timeout(STEP), Ok(None));
        }
    });
}

/// Refused, not answered, nobody there: that connection ends soon, with a line that says why, and
/// nothing was dialled.
#[test]
fn android_a_refusal_ends_the_connection_with_a_clear_line() {
    within(secs(60), || {
        let (remote, connections) = Backend::manual();
        let nobody = TempDir::new("android");
        let no_one = || (nobody.path().to_owned(), None);
        let answering = |answer| {
            let app = Protector::answering(answer);
            (app.dir.path().to_owned(), Some(app))
        };
        for ((folder, app), wanted) in [
            (answering(Some(1)), "refused"),
            (answering(Some(255)), "refused"),
            (answering(None), "no answer within 3 s"),
            (no_one(), "could not be handed over"),
        ] {
            let client = client_of("127.0.0.1", remote.addr.port(), "obfs=http;V", &folder);
            let stream = connect(client.addr);
            let began = Instant::now();
            send(&stream, b"x");
            let (_, end) = recv_to_end(&stream, secs(10));
            assert_ne!(end, End::Open, "{wanted}");
            assert!(began.elapsed() < secs(5), "{wanted}: took {:?}", began.elapsed());
            let line = client.child.wait_text(wanted);
            assert!(line.contains("protect_path") && line.contains("WARN"), "{line}");
            drop(app);
        }
        assert!(connections.try_recv().is_err(), "dialled all the same");
    });
}

/// Without the option nobody is asked.
#[test]
fn android_nobody_is_asked_without_the_option() {
    within(secs(30), || {
        let app = Protector::answering(Some(1));
        let echo = Backend::serve(|stream| {
            send(&stream, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello");
        });
        let client = client_of("127.0.0.1", echo.addr.port(), "obfs=http", app.dir.path());
        let stream = connect(client.addr);
        send(&stream, b"x");
        assert_eq!(recv(&stream, 5), b"hello");
        assert!(app.sockets.try_recv().is_err());
    });
}
