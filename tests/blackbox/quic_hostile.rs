//! Whatever comes to the UDP port: who is served goes on being served, and what is kept for strangers is bounded.

use crate::auto::options;
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::quic::{self, App, Site, ask, client, for_server, our_server, start_asking};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{eventually, noise, secs, within};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much a server may grow by what strangers send, in KiB. (A debug build's allocator keeps what it had.)
const GROWTH: usize = 24 * 1024;

fn resident(plugin: &Plugin) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", plugin.child.pid())).expect("its status");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("the number");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn open_files(plugin: &Plugin) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", plugin.child.pid())).expect("its descriptors").count()
}

/// A server with the website's QUIC behind it and one without, and to each of them a client with an open tunnel.
struct Served {
    servers: Vec<(Plugin, Plugin, TcpStream)>,
    echo: Backend,
    _site: Site,
    certificate: Certificate,
}

impl Served {
    fn start() -> Served {
        let certificate = Certificate::new(NAME);
        let site = Site::start(&certificate, NAME, &[("index.html", b"a page")]);
        let echo = Backend::echo();
        let more = format!("quic;failover={};failover-quic={}", site.plain, site.addr);
        let auto = server(Ours, echo.addr, &options(&certificate, &more));
        quic::wait_bound(&auto.child, auto.addr.port());
        let alone = our_server(echo.addr, &for_server(&certificate));
        let servers = [auto, alone]
            .into_iter()
            .map(|server| {
                let client = client(App::Ours, server.addr, &certificate);
                let stream = connect(client.addr);
                assert_echo(&stream, &noise(100_000, 1));
                (server, client, stream)
            })
            .collect();
        Served { servers, echo, _site: site, certificate }
    }

    /// Everybody still has what they had, a new tunnel opens, and the server is no bigger.
    #[track_caller]
    fn assert_served(&self, what: &str, before: &[(usize, usize)]) {
        for ((server, client, stream), &(memory, files)) in self.servers.iter().zip(before) {
            let before = self.echo.accepted();
            assert_echo(stream, &noise(50_000, 2));
            assert_echo(&connect(client.addr), &noise(50_000, 3));
            assert_eq!(self.echo.accepted(), before + 1, "{what}");
            assert_eq!(server.child.peek_exit(), None, "{what}: {}", server.child.show_log());
            let grown = resident(server).saturating_sub(memory);
            assert!(grown < GROWTH, "{what}: {grown} KiB; {}", server.child.show_log());
            let few = || open_files(server) <= files + 80;
            assert!(few(), "{what}: {} files, {files} before", open_files(server));
        }
    }

    fn size(&self) -> Vec<(usize, usize)> {
        self.servers.iter().map(|(server, ..)| (resident(server), open_files(server))).collect()
    }
}

#[test]
fn packets_of_any_length_and_content_disturb_nobody() {
    within(secs(150), || {
        need!("openssl", "caddy", "python-aioquic");
        let served = Served::start();
        let before = served.size();
        for (server, ..) in &served.servers {
            let port = server.addr.port().to_string();
            let said = ask(&["garbage", &port, NAME, "4000"]);
            assert!(said[0].starts_with("sent 4000 "), "{said:?}");
            // Every length there is, of everything alike.
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            for byte in [0, 0x40, 0x7f, 0xc0, 0xff] {
                for len in (0..1500).step_by(7).chain([9000, 65_507]) {
                    let _ = socket.send_to(&vec![byte; len], server.addr);
                }
            }
        }
        served.assert_served("garbage", &before);
    });
}

/// First flights, each of another connection, that nobody goes on with, while clients work and new ones come: under
/// such load whoever comes has to show that it comes from where it says, which clients do without being told.
#[test]
fn a_flood_of_first_flights_keeps_nobody_out() {
    within(secs(200), || {
        need!("openssl", "caddy", "python-aioquic", "ss-v2ray-plugin");
        let served = Served::start();
        let before = served.size();
        for name in [NAME, "other.example"] {
            for (server, client, stream) in &served.servers {
                let flood = start_asking(&["flood", &server.addr.port().to_string(), name, "2000"]);
                let mut rounds = 0;
                while flood.peek_exit().is_none() {
                    assert_echo(stream, &noise(5_000, rounds));
                    assert_echo(&connect(client.addr), &noise(5_000, rounds));
                    // (few: the tunnel of a client that is killed stands until its connection is taken for dead)
                    if rounds % 8 == 1 && rounds < 80 {
                        let app = if rounds % 16 == 1 { App::Ours } else { App::Plugin };
                        let newcomer = quic::client(app, server.addr, &served.certificate);
                        assert_echo(&connect(newcomer.addr), &noise(5_000, rounds));
                    }
                    rounds += 1;
                }
                assert_eq!(flood.wait_exit(secs(60)), Exit::Code(0), "{}", flood.show_log());
                assert!(rounds > 1);
                let said = flood.lines()[0].clone();
                let asked_again = !said.ends_with(" retries 0");
                assert_eq!(asked_again, name == NAME, "{name}: {said}");
            }
            served.assert_served(name, &before);
        }
        // What was kept for them is given back, in the time that a handshake has.
        let calm = || {
            served
                .servers
                .iter()
                .zip(&before)
                .all(|((server, ..), &(_, files))| open_files(server) <= files + 4)
        };
        assert!(eventually(secs(100), calm), "{:?} files, {before:?} before", served.size());
    });
}

/// Whoever knows the name may make a handshake and leave it at that. It keeps nobody out, however little may be buffered.
#[test]
fn connections_without_a_tunnel_keep_nobody_out() {
    within(secs(120), || {
        need!("openssl", "python-aioquic");
        let (echo, certificate) = (Backend::echo(), Certificate::new(NAME));
        let options = format!("{};limit-buffers=16", for_server(&certificate));
        let server = our_server(echo.addr, &options);
        let before = open_files(&server);
        for (addresses, ended) in [("1", "86"), ("150", "0")] {
            let port = server.addr.port().to_string();
            let held = start_asking(&["idle", &port, NAME, "150", addresses, ended]);
            held.wait_line("how many there are", |line| line == format!("open 150 ended {ended}"));
            let client = client(App::Ours, server.addr, &certificate);
            for round in 0..3 {
                assert_echo(&connect(client.addr), &noise(300_000, round));
            }
        }
        // None of the 300 has a descriptor.
        assert!(open_files(&server) <= before + 50, "{} files, {before} before", open_files(&server));
    });
}

/// More streams than are allowed, streams of a kind that there is not, and more bytes than the windows hold end the
/// connection that does so, with the error that the protocol has for it, and no other.
#[test]
fn a_connection_beyond_its_limits_is_closed_and_no_other() {
    within(secs(120), || {
        need!("openssl", "caddy", "python-aioquic");
        let served = Served::start();
        let before = served.size();
        for (server, ..) in &served.servers {
            for (kind, code) in [("bidirectional", "0x4"), ("unidirectional", "0x4"), ("window", "0x3")] {
                let said = ask(&["beyond", &server.addr.port().to_string(), NAME, kind]);
                let (allowed, closed) = said[0].rsplit_once(" closed ").unwrap_or((&said[0], "never"));
                assert_eq!(closed, code, "{kind}: {said:?}");
                let allowed: usize = allowed.trim_start_matches("allowed ").parse().expect("a number");
                assert!(allowed >= 1000, "{allowed} streams are announced");
            }
        }
        served.assert_served("beyond the limits", &before);
    });
}

/// A ClientHello with holes, overlaps and lies.
#[test]
fn hellos_with_holes_and_lies_are_nobodys() {
    within(secs(200), || {
        need!("openssl", "caddy", "python-aioquic");
        let served = Served::start();
        let before = served.size();
        for (server, ..) in &served.servers {
            let port = server.addr.port().to_string();
            std::thread::scope(|scope| {
                for kind in ["hole", "lies", "endless", "far", "no-hello", "frames", "empty"] {
                    let port = &port;
                    scope.spawn(move || {
                        let said = ask(&["pieces", port, NAME, kind, "h2"]);
                        // A lie about bytes that came before changes nothing; the others are no hello at all.
                        assert!(kind == "lies" || !said[0].contains("open"), "{said:?}");
                    });
                }
            });
        }
        served.assert_served("pieces", &before);
    });
}

/// Each stranger has a socket towards the website for a while: there are so many in all, and fewer of one address. Whoever
/// comes later takes the place of who came first.
#[test]
fn strangers_are_bounded_in_all_and_by_their_address() {
    const STRANGERS: u32 = 2500;
    const SOCKETS: usize = 1024;
    within(secs(150), || {
        need!("openssl");
        let (echo, certificate) = (Backend::echo(), Certificate::new(NAME));
        let site = UdpSocket::bind("127.0.0.1:0").expect("a website's port");
        let options =
            format!("{};failover-quic={}", for_server(&certificate), site.local_addr().expect("its"));
        let server = our_server(echo.addr, &options);
        let client = client(App::Ours, server.addr, &certificate);
        let stream = connect(client.addr);
        assert_echo(&stream, b"before");
        let before = open_files(&server);
        let arrived = Arc::new(AtomicUsize::new(0));
        let counter = arrived.clone();
        std::thread::spawn(move || {
            while site.recv(&mut [0; 1500]).is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let come = |address: &dyn Fn(u32) -> [u8; 4]| {
            let earlier = arrived.load(Ordering::SeqCst);
            for number in 0..STRANGERS {
                let socket =
                    UdpSocket::bind((Ipv4Addr::from(address(number)), 0)).expect("a stranger's port");
                let packet = [&[0x40], &noise(60, number.into())[..]].concat();
                socket.send_to(&packet, server.addr).expect("sent");
                if number % 25 == 0 {
                    // So that no packet is lost before it is read: that is not what is asked here.
                    assert_echo(&stream, &noise(500, number.into()));
                }
            }
            assert_echo(&connect(client.addr), b"a new tunnel");
            assert!(open_files(&server) <= before + SOCKETS + 20, "{} files", open_files(&server));
            arrived.load(Ordering::SeqCst) - earlier
        };
        come(&|number| [127, 1, (number / 200) as u8, (number % 200) as u8 + 1]);
        // Those who say nothing for a second make room for others.
        let newcomer = UdpSocket::bind("127.2.2.2:0").expect("a stranger's port");
        let has_room = || {
            newcomer.send_to(&[0x40; 60], server.addr).expect("sent");
            arrived.load(Ordering::SeqCst) > SOCKETS
        };
        assert!(eventually(secs(20), has_room), "{} arrived", arrived.load(Ordering::SeqCst));
        let of_one = come(&|_| [127, 9, 9, 9]);
        assert!(of_one < SOCKETS, "{of_one} of {STRANGERS} arrived, all of one address");
    });
}
