//! `obfs-rs probe --quic`: what it tells of a server's UDP port, beside a website with HTTP/3 and without.

use crate::probe::{Found, RUN, found, refused};
use crate::support::child::{Child, Exit};
use crate::support::netns;
use crate::support::peers::{self, need};
use crate::support::plugin::ours;
use crate::support::ports::free_port;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, secs, within};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Caddy with HTTP/3 on two ports.
pub struct Http3Site {
    pub ports: [SocketAddr; 2],
    _child: Child,
}

impl Http3Site {
    #[track_caller]
    pub fn start(certificate: &Certificate) -> Http3Site {
        let ports = [free_port(), free_port()];
        let root = certificate.dir.path().display().to_string();
        certificate.dir.page("root/index.html", "<!doctype html><title>A shop</title>\n");
        let [one, two] = ports;
        let config = format!(
            "{{\n\tadmin off\n\tauto_https off\n\tservers {{\n\t\tprotocols h1 h2 h3\n\t}}\n}}\n\
             https://{NAME}:{one}, https://{NAME}:{two} {{\n\tbind 127.0.0.1\n\ttls {} {}\n\troot * {root}/root\n\
             \tfile_server\n}}\n",
            certificate.cert.display(),
            certificate.key.display()
        );
        let file = certificate.dir.write("Caddyfile", config);
        let mut command = Command::new(peers::path("caddy"));
        command
            .env("HOME", certificate.dir.path())
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file);
        let child = Child::spawn("caddy (the website with HTTP/3)", command);
        let ports = ports.map(|port| {
            child.wait_listening(port);
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            assert!(eventually(STEP, || UdpSocket::bind(address).is_err()), "{}", child.show_log());
            address
        });
        Http3Site { ports, _child: child }
    }
}

/// Something at a UDP port, until it is dropped.
struct UdpPeer {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpPeer {
    /// Hands each datagram on with a function of it, its sender and the port's socket.
    fn start(mut heard: impl FnMut(&[u8], SocketAddr, &UdpSocket) + std::marker::Send + 'static) -> UdpPeer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        socket.set_read_timeout(Some(secs(1))).expect("a time-out");
        let (addr, over) = (socket.local_addr().expect("its address"), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !is_over.load(Ordering::SeqCst) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    heard(&buffer[..length], from, &socket);
                }
            }
        });
        UdpPeer { addr, over, thread: Some(thread) }
    }

    fn echo() -> UdpPeer {
        UdpPeer::start(|datagram, from, socket| {
            let _ = socket.send_to(datagram, from);
        })
    }

    fn silent() -> UdpPeer {
        UdpPeer::start(|_, _, _| {})
    }

    /// Hands everything on to a website, and its answers back, each visitor from a port of its own.
    fn relay(site: SocketAddr) -> UdpPeer {
        let mut visitors: HashMap<SocketAddr, UdpSocket> = HashMap::new();
        UdpPeer::start(move |datagram, from, socket| {
            let there = visitors.entry(from).or_insert_with(|| {
                let there = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
                there.connect(site).expect("the website's port");
                there.set_read_timeout(Some(secs(10))).expect("a time-out");
                let (answers, back) =
                    (there.try_clone().expect("a copy"), socket.try_clone().expect("a copy"));
                std::thread::spawn(move || {
                    let mut buffer = [0; 2048];
                    while let Ok(length) = answers.recv(&mut buffer) {
                        let _ = back.send_to(&buffer[..length], from);
                    }
                });
                there
            });
            let _ = there.send(datagram);
        })
    }
}

impl Drop for UdpPeer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A UDP port at which nobody listens.
fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").expect("a UDP port").local_addr().expect("its address")
}

#[track_caller]
pub fn start(server: SocketAddr, more: &[&str]) -> Child {
    let mut command = ours();
    command.args(["probe", &server.to_string(), "--quic"]).args(more);
    if !more.contains(&"--name") {
        command.args(["--name", NAME]);
    }
    Child::spawn("probe --quic", command)
}

#[track_caller]
pub fn probe(server: SocketAddr, more: &[&str]) -> Found {
    found(&start(server, &[&["--json"], more].concat()))
}

#[track_caller]
pub fn probe_beside(server: SocketAddr, site: SocketAddr, more: &[&str]) -> Found {
    probe(server, &[&["--site", &site.to_string()], more].concat())
}

/// What came of a probe, at the server.
fn answer<'a>(found: &'a Found, name: &str) -> &'a str {
    found.probe(name)["server"]["answer"].as_str().expect("an answer")
}

#[test]
fn a_website_with_http3_is_like_itself() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let site = Http3Site::start(&certificate);
        let found = probe_beside(site.ports[0], site.ports[1], &[]);
        found.assert_the_same();
        assert_eq!(found.count("notes"), 0, "{:#}", found.json["notes"]);
        assert_eq!((&found.json["quic"], &found.json["nobody_at_site"]), (&true.into(), &false.into()));
        for name in ["a short packet of 1200 bytes", "first flight of 1199 bytes"] {
            assert_eq!(answer(&found, name), "nothing");
        }
        // There was something to compare.
        for (name, words) in [
            ("an unknown version", &["version negotiation: 1", "a reserved one"][..]),
            ("handshake", &["ServerHello TLSv1_3", "ALPN h3", "certificates: ", "no HTTP/3 settings"]),
            ("handshake", &["transport parameters: ", "max_idle_timeout=30000", "confirmed"]),
            ("handshake for a foreign name", &["CONNECTION_CLOSE: alert InternalError"]),
            ("handshake, ALPN of no protocol", &["CONNECTION_CLOSE: alert NoApplicationProtocol"]),
            ("first flight with reserved bits", &["PROTOCOL_VIOLATION"]),
            ("half a hello", &["an acknowledgement"]),
            // (of two datagrams that begin a connection, Caddy may drop one: it comes again)
            ("hello in two datagrams", &["ServerHello TLSv1_3"]),
            ("hello in two datagrams, the second first", &["ServerHello TLSv1_3"]),
        ] {
            let parts = &found.probe(name)["server"]["parts"];
            let told = parts.as_array().map(|parts| parts.iter().filter_map(|part| part.as_str()));
            let told: Vec<_> = told.expect("the parts of an answer").collect();
            for word in words {
                assert!(told.iter().any(|part| part.contains(word)), "{name}: {word}: {told:?}");
            }
        }
    });
}

/// As a server does it that hands a stranger's QUIC to the website.
#[test]
fn a_server_that_hands_everything_on_is_like_its_website() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let site = Http3Site::start(&certificate);
        let relay = UdpPeer::relay(site.ports[0]);
        probe_beside(relay.addr, site.ports[0], &[]).assert_the_same();
    });
}

#[test]
fn another_certificate_is_found_and_nothing_else() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificates = [Certificate::new(NAME), Certificate::new(NAME)];
        let [site, other] = certificates.each_ref().map(Http3Site::start);
        let found = probe_beside(other.ports[0], site.ports[0], &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        assert_eq!(
            found.named("differs"),
            ["handshake", "handshake, ALPN h2 and h3", "handshake without ALPN"],
            "{}",
            found.differing()
        );
        let difference = &found.probe("handshake")["differences"][0];
        for end in ["site", "server"] {
            assert!(
                difference[end].as_str().is_some_and(|text| text.starts_with("certificates: ")),
                "{difference}"
            );
        }
    });
}

/// What is there is no QUIC.
#[test]
fn an_echo_is_told_from_a_website() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let (site, echo) = (Http3Site::start(&certificate), UdpPeer::echo());
        let found = probe_beside(echo.addr, site.ports[0], &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        assert!(found.count("differ") >= 80, "{:?}", found.named("same"));
        assert!(answer(&found, "DNS").starts_with("no QUIC, 30 bytes: "), "{}", answer(&found, "DNS"));
        assert!(answer(&found, "handshake").contains("for another id"), "{}", answer(&found, "handshake"));
    });
}

#[test]
fn a_server_without_quic_is_told_from_a_website_with_it() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let site = Http3Site::start(&certificate);
        let found = probe_beside(closed(), site.ports[0], &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        let differs = found.named("differs");
        assert_eq!(differs, ["whether something listens"]);
        let seen = found.probe(differs[0]);
        assert_eq!(seen["server"]["end"], "closed (ICMP port unreachable)", "{seen:#}");
        assert_eq!(seen["site"]["end"], "then silence", "{seen:#}");
    });
}

/// Nobody listens, neither at the server nor at the website; and where no website is given, at another port.
#[test]
fn closed_ports_are_alike() {
    within(RUN, || {
        for more in [vec![], vec!["--site".to_owned(), closed().to_string()]] {
            let more: Vec<_> = more.iter().map(String::as_str).collect();
            let found = probe(closed(), &more);
            assert_eq!((found.exit, found.count("differ")), (Exit::Code(0), 0), "{}", found.differing());
            assert_eq!(found.named("same"), ["whether something listens"]);
            assert_eq!(found.json["nobody_at_site"], true);
        }
    });
}

/// A port that is bound shows, though it says nothing.
#[test]
fn a_silent_port_is_told_from_a_closed_one() {
    within(RUN, || {
        let silent = UdpPeer::silent();
        let child = start(silent.addr, &["--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1), "{}", child.show_log());
        child.wait_text("where nobody listens");
        child.wait_text("site    nothing, closed (ICMP port unreachable)");
        child.wait_text("server  nothing, then silence");
        child.wait_text("Something listens at the server's UDP port, and answers none of the probes");
        let last = child.wait_line("a summary", |line| line.contains(" probes, "));
        assert!(last.ends_with(" probes, 1 differ"), "{last}");
    });
}

#[test]
fn a_server_that_answers_is_told_from_a_closed_port() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let site = Http3Site::start(&certificate);
        let child = start(site.ports[0], &["--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1), "{}", child.show_log());
        child.wait_text("The server answers over UDP, and was compared with a port at which nobody listens");
        child.wait_text("version negotiation: 1");
        child.wait_text("ALPN h3");
    });
}

/// Behind a firewall that drops, both are silent, and nothing is known.
#[test]
fn where_closed_ports_are_silent_too_nothing_can_be_told() {
    if !peers::have(&["nft"]) {
        return;
    }
    netns::alone(RUN, || {
        let silent = UdpPeer::silent();
        netns::run(
            "nft",
            &["add table inet t { chain c { type filter hook input priority 0; meta l4proto udp drop; }; }"],
        );
        let child = start(silent.addr, &["--wait", "1", "-v"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(2), "{}", child.show_log());
        child.wait_text("a firewall drops what is sent to closed ports");
    });
}

#[test]
fn a_website_that_does_not_answer_shows_nothing() {
    within(RUN, || {
        let (silent, site) = (UdpPeer::silent(), UdpPeer::silent());
        let found = probe_beside(silent.addr, site.addr, &["--wait", "1"]);
        assert_eq!((found.exit, found.count("differ")), (Exit::Code(2), 0));
        let why = found.json["moot"].to_string();
        assert!(why.contains("answered by neither (the site: nothing, then silence"), "{why}");
    });
}

#[test]
fn a_server_that_is_the_site_is_refused() {
    within(secs(60), || {
        let both = UdpPeer::silent().addr.to_string();
        let (exit, line) = refused(&[&both, "--quic", "--site", &both]);
        assert_eq!(exit, Exit::Code(2));
        assert!(line.contains("one and the same"), "{line}");
    });
}

/// The same seed asks the same, but for what is new in each connection.
#[test]
fn a_seed_repeats_what_is_no_connection() {
    within(RUN, || {
        let run = |seed: &str| {
            let (tell, heard) = std::sync::mpsc::channel();
            let peer = UdpPeer::start(move |datagram, _, _| {
                let _ = tell.send(datagram.to_vec());
            });
            let found = probe(peer.addr, &["--wait", "1", "--seed", seed]);
            assert_eq!(found.json["seed"].to_string(), seed);
            let probes = found.count("probes") as usize;
            drop(peer);
            let all: std::collections::BTreeSet<Vec<u8>> = heard.into_iter().collect();
            assert!(all.len() >= probes - 2, "{}", all.len());
            all
        };
        let [one, again, other] = std::thread::scope(|scope| {
            ["5", "5", "6"].map(|seed| scope.spawn(move || run(seed))).map(|run| run.join().expect("a run"))
        });
        assert!(one.intersection(&again).count() >= 40);
        // What is the same for all: DNS, NTP, HTTP, and some of few bytes.
        assert!(one.intersection(&other).count() <= 10);
    });
}
