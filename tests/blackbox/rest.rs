//! What costs nothing, and what does not stay: connections that stopped somewhere half-way.

use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{End, connect, fin, recv_to_end, reset, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, client, server};
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::{Ws, frame, mux};
use crate::support::{eventually, noise, secs, settled, within};
use obfs_rs::transport::tls::NoCertificateVerification;
use obfs_rs::wire::fake_tls::SentHello;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// Seconds of CPU that a process has used. (Linux counts them in hundredths there, whatever the machine.)
pub fn cpu(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().expect("ticks")).sum();
    f64::from(ticks) / 100.0
}

pub fn descriptors(child: &Child) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", child.pid())).map_or(0, Iterator::count)
}

/// How much CPU a process may use in a while in which nothing happens, as a part of one core. One that spins
/// uses all of it.
const AT_REST: f64 = 0.03;

/// Lets the process come to rest, and measures that it does.
#[track_caller]
pub fn assert_at_rest(what: &str, child: &Child) {
    let spent = || {
        let before = cpu(child);
        // The silence is what is measured.
        std::thread::sleep(secs(2));
        (cpu(child) - before) / 2.0
    };
    let mut last = 0.0;
    let rests = eventually(secs(30), || {
        last = spent();
        last <= AT_REST
    });
    assert!(rests, "{what}: {last:.2} of a core at rest; {}", child.show_log());
}

/// The same for several at once.
#[track_caller]
fn assert_all_at_rest<'a>(children: impl Iterator<Item = (&'a str, &'a Child)>) {
    let children: Vec<_> = children.collect();
    let spent = || -> Vec<f64> {
        let before: Vec<f64> = children.iter().map(|(_, child)| cpu(child)).collect();
        // The silence is what is measured.
        std::thread::sleep(secs(2));
        children.iter().zip(before).map(|((_, child), before)| (cpu(child) - before) / 2.0).collect()
    };
    let mut last = Vec::new();
    let rest = eventually(secs(30), || {
        last = spent();
        last.iter().all(|spent| *spent <= AT_REST)
    });
    let busy = children.iter().zip(&last).filter(|(_, spent)| **spent > AT_REST);
    let busy: Vec<_> =
        busy.map(|((what, child), spent)| format!("{what}: {spent:.2}; {}", child.show_log())).collect();
    assert!(rest, "at rest: {}", busy.join("\n"));
}

/// Several connections that begin with these bytes and go no further.
fn begun(addr: SocketAddr, first: &[u8]) -> Vec<TcpStream> {
    let one = |_| {
        let stream = connect(addr);
        send(&stream, first);
        stream
    };
    (0..4).map(one).collect()
}

/// TLS with whoever answers.
fn tls() -> ClientConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NoCertificateVerification))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), NAME.try_into().expect("a name")).expect("a client")
}

/// Connections in TLS that have said this inside.
pub fn in_tls(addr: SocketAddr, first: &[u8]) -> Vec<StreamOwned<ClientConnection, TcpStream>> {
    let one = |_| {
        let mut stream = StreamOwned::new(tls(), connect(addr));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        stream.write_all(first).expect("a write");
        stream.flush().expect("a flush");
        stream
    };
    (0..4).map(one).collect()
}

/// Sends until nothing more goes.
fn fill(stream: &TcpStream, mut bytes: &[u8]) {
    stream.set_nonblocking(true).expect("not to wait");
    let mut writer = stream;
    while !bytes.is_empty()
        && eventually(secs(1), || match writer.write(bytes) {
            Ok(n) => {
                bytes = &bytes[n..];
                true
            }
            Err(_) => false,
        })
    {}
}

fn upgrade(path: &str) -> Vec<u8> {
    let line = format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    format!("{line}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n").into_bytes()
}

const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const DOWNLOAD: &[u8] = b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n";

/// Visitors of `obfs=http` at a website that neither reads nor answers, and tunnels to a backend that does
/// the same.
#[test]
fn nothing_half_finished_costs_cpu_with_a_deaf_website() {
    within(secs(120), || {
        let (site, at_site) = Backend::manual();
        let (backend, at_backend) = Backend::manual();
        let options =
            format!("obfs=http;obfs-uri=/s;failover={};proxy-protocol=in;trusted=127.0.0.2", site.addr);
        let server = server(Ours, backend.addr, &options);
        let addr = server.addr;
        let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut all = Vec::new();
        for first in [
            b"",
            b"G".as_slice(),
            b"GET /s HTTP/1.1\r\nHo",
            b"GET /s HTTP/1.1\r\nHost: a\r\n",
            b"\x16\x03\x01\x02",
            PAGE,
            &[PAGE, b"G"].concat(),
            &[PAGE, PAGE, b"GET /s HTTP/1.1\r\nHost: a\r\nConn"].concat(),
            &[PAGE, &upgrade("/s")].concat(),
            &[chunked.as_slice(), b"5\r\nhe"].concat(),
            &upgrade("/s"),
            &[upgrade("/s"), b"hello".to_vec()].concat(),
        ] {
            all.extend(begun(addr, first));
            let ended = begun(addr, first);
            ended.iter().for_each(fin);
            all.extend(ended);
        }
        // An upload that nobody reads, and the first letter of what comes behind it.
        for first in [chunked.to_vec(), upgrade("/s")] {
            for stream in begun(addr, &first) {
                fill(&stream, &[b"1000000\r\n".as_slice(), &noise(1 << 24, 1), b"\r\n0\r\n\r\nG"].concat());
                all.push(stream);
            }
        }
        let header = crate::support::conn::connect_from("127.0.0.2".parse().expect("an address"), addr);
        send(&header, b"PROXY TCP4 1.2.3.4 ");
        all.push(header);
        assert_at_rest("a deaf website", &server.child);
        drop((at_site, at_backend));
    });
}

/// Visitors of a website that answers, which do not read; of our own, too; and of both in TLS.
#[test]
fn visitors_that_do_not_read_cost_no_cpu_and_are_given_up() {
    within(secs(200), || {
        need!("nginx", "openssl");
        let site = Site::start();
        let certificate = Certificate::new(NAME);
        let folder = TempDir::new("rest");
        folder.write("big.bin", noise(20 << 20, 1));
        let own = format!("dir:{}", folder.path().display());
        let web = format!("mode=websocket;path=/s;{}", certificate.for_server());
        let servers: Vec<_> = [
            (false, format!("obfs=http;obfs-uri=/s;failover={}", site.addr)),
            (true, format!("{web};failover={}", site.addr)),
            (false, format!("obfs=http;obfs-uri=/s;failover={own}")),
            (true, format!("{web};failover={own}")),
        ]
        .into_iter()
        .map(|(is_tls, options)| (is_tls, server(Ours, site.addr, &options)))
        .collect();
        const VISITORS: usize = 4;
        let before: Vec<usize> =
            servers.iter().map(|(_, server)| settled(|| descriptors(&server.child))).collect();
        let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
        for (is_tls, server) in &servers {
            if *is_tls {
                encrypted.extend(in_tls(server.addr, DOWNLOAD));
            } else {
                plain.extend(begun(server.addr, DOWNLOAD));
            }
        }
        let began = Instant::now();
        for ((is_tls, server), before) in servers.iter().zip(&before) {
            let come = eventually(secs(20), || descriptors(&server.child) >= before + VISITORS);
            assert!(come, "tls: {is_tls}");
            assert_at_rest("visitors that do not read", &server.child);
        }
        assert!(began.elapsed() < secs(50), "not measured while they were there");
        for ((is_tls, server), before) in servers.iter().zip(before) {
            // nginx's own limit is 60 s. Threads of our own website may have come with descriptors.
            let gone = eventually(secs(90), || descriptors(&server.child) <= before + 1);
            assert!(gone, "tls: {is_tls}: {} descriptors of {before}", descriptors(&server.child));
        }
        assert!(began.elapsed() > secs(55), "given up sooner than by nginx");
        drop((plain, encrypted));
    });
}

/// Clients of v2ray-plugin's kind and of `obfs=tls`, and what comes in TLS, stopped wherever they can be.
#[test]
fn nothing_half_finished_costs_cpu_in_web_and_tls_modes() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (backend, at_backend) = Backend::manual();
        let web = server(Ours, backend.addr, "mode=websocket;path=/s");
        let tls_web =
            server(Ours, backend.addr, &format!("mode=websocket;path=/s;{}", certificate.for_server()));
        let fake = server(Ours, backend.addr, "obfs=tls");
        let mut frames = Vec::new();
        for first in [
            vec![],
            frame(0x82, b"hello")[..3].to_vec(),
            frame(0x82, b"hello"),
            frame(0x82, &[0]),
            frame(0x82, &mux::open(1)),
            frame(0x82, &mux::open(1)[..5]),
            frame(0x89, b"ping"),
            frame(0x02, b"a part"),
        ] {
            for ends in [false, true] {
                let ws = Ws::open(web.addr, "/s");
                ws.send_raw(&first);
                if ends {
                    fin(&ws.stream);
                }
                frames.push(ws);
            }
        }
        let mut hello = Vec::new();
        tls().write_tls(&mut hello).expect("a hello");
        let mut halves = Vec::new();
        for first in [&hello[..3], &hello[..hello.len() / 2], &hello[..]] {
            halves.extend(begun(tls_web.addr, first));
            let ended = begun(tls_web.addr, first);
            ended.iter().for_each(fin);
            halves.extend(ended);
        }
        let request = upgrade("/s");
        let inside: Vec<_> = [&b""[..], b"G", &request[..30], &request, &[&request[..], b"raw"].concat()]
            .iter()
            .flat_map(|first| in_tls(tls_web.addr, first))
            .collect();
        let mut hello = Vec::new();
        SentHello::new(&mut rand::rng(), 0).encode(NAME, b"payload", &mut hello).expect("a hello");
        for first in
            [&hello[..4], &hello[..100], &hello[..], &[&hello[..], b"\x17\x03\x03\x00\x10ab"].concat()]
        {
            halves.extend(begun(fake.addr, first));
        }
        for server in [&web, &tls_web, &fake] {
            assert_at_rest("half-finished clients", &server.child);
        }
        drop((frames, halves, inside, at_backend));
    });
}

/// The client half, whose server takes connections and says nothing.
#[test]
fn nothing_half_finished_costs_cpu_at_a_client() {
    within(secs(120), || {
        let (remote, at_remote) = Backend::manual();
        let modes = [
            "obfs=http",
            "obfs=tls",
            "mode=websocket;mux=0",
            "mode=websocket",
            "mode=websocket;tls;host=a.b",
        ];
        let clients: Vec<_> = modes.iter().map(|options| client(Ours, remote.addr, options)).collect();
        let mut apps = Vec::new();
        for client in &clients {
            for first in [&b""[..], b"first", &noise(300_000, 1)] {
                apps.extend(begun(client.addr, first));
            }
            let ended = begun(client.addr, b"all");
            ended.iter().for_each(fin);
            apps.extend(ended);
        }
        for (client, mode) in clients.iter().zip(modes) {
            assert_at_rest(mode, &client.child);
        }
        drop((apps, at_remote));
    });
}

/// Servers and proxies that stop within what they say to a client.
#[test]
fn nothing_half_answered_costs_cpu_at_a_client() {
    within(secs(120), || {
        let tls = |rest: &[u8]| [b"\x16\x03\x03", rest].concat();
        let socks: &[&[u8]] = &[b"", b"\x05", b"\x05\x00", b"\x05\x00\x05", b"\x05\x00\x05\x00\x00\x01\x7f"];
        let http: &[&[u8]] =
            &[b"", b"HTTP/1.1 1", b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 200 OK\r\n"];
        let hello: Vec<Vec<u8>> = vec![vec![], tls(b""), tls(b"\x00\x5b"), tls(b"\x00\x5b\x02\x00\x00")];
        let texts = |parts: &[&[u8]]| parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
        let (dead, _of_dead) = Backend::manual();
        let mut halves = Vec::new();
        let mut apps = Vec::new();
        for (options, answers) in [
            ("obfs=http", texts(http)),
            ("obfs=http;handshake=standard", texts(http)),
            ("obfs=tls", hello.clone()),
            ("mode=websocket;mux=0", texts(http)),
            ("mode=websocket;mux=8", texts(http)),
            ("mode=websocket;path=/s?ed=2048;mux=0", texts(http)),
            ("mode=httpupgrade", texts(http)),
            ("mode=websocket;tls;host=a.b;mux=0", hello),
            ("obfs=http;proxy=socks5://127.0.0.1:@", texts(socks)),
            ("mode=websocket;proxy=http://127.0.0.1:@", texts(http)),
        ] {
            for answer in answers {
                let far = Backend::serve(move |stream| {
                    send(&stream, &answer);
                    // For as long as the client stays.
                    recv_to_end(&stream, secs(100));
                });
                let through = options.replace('@', &far.addr.port().to_string());
                let remote = if through == options { far.addr } else { dead.addr };
                let half = client(Ours, remote, &through);
                for first in [&b""[..], b"first"] {
                    let app = connect(half.addr);
                    send(&app, first);
                    apps.push(app);
                    let ended = connect(half.addr);
                    send(&ended, first);
                    fin(&ended);
                    apps.push(ended);
                }
                halves.push((through, half, far));
            }
        }
        assert_all_at_rest(halves.iter().map(|(options, half, _)| (options.as_str(), &half.child)));
        drop(apps);
    });
}

/// Tunnels that stand and of which one end does nothing, or takes nothing; also while the process drains.
#[test]
fn nothing_that_stands_still_costs_cpu_while_it_serves_and_while_it_drains() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (backend, at_backend) = Backend::manual();
        let options =
            format!("path=/s;obfs-uri=/http;obfs-tls-host=b.c;{};drain=100", certificate.for_server());
        let server = server(Ours, backend.addr, &options);
        let trusted = certificate.for_client();
        let clients: Vec<_> = [
            "obfs=http;obfs-uri=/http".to_owned(),
            "obfs=tls;obfs-host=b.c".to_owned(),
            "mode=httpupgrade;path=/s".to_owned(),
            "mode=websocket;path=/s;mux=0".to_owned(),
            "mode=websocket;path=/s;mux=8".to_owned(),
            format!("mode=websocket;path=/s;mux=0;{trusted}"),
            format!("mode=websocket;path=/s;mux=8;{trusted}"),
        ]
        .into_iter()
        .map(|options| {
            let half = client(Ours, server.addr, &format!("{options};drain=100"));
            (options, half)
        })
        .collect();
        let mut ends = Vec::new();
        for (_, half) in &clients {
            for stands in 0..5 {
                let app = connect(half.addr);
                send(&app, b"first");
                ends.push((stands, app, next(&at_backend)));
            }
        }
        let much = noise(1 << 23, 1);
        std::thread::scope(|scope| {
            for (stands, app, behind) in &ends {
                let much = &much;
                scope.spawn(move || match stands {
                    1 => fin(app),
                    2 => fin(behind),
                    3 => fill(behind, much),
                    4 => {
                        fill(app, much);
                        fin(behind);
                    }
                    _ => {}
                });
            }
        });
        let halves = || {
            let clients = clients.iter().map(|(options, half)| (options.as_str(), &half.child));
            clients.chain([("the server", &server.child)])
        };
        assert_all_at_rest(halves());
        for (_, child) in halves() {
            child.signal(rustix::process::Signal::TERM);
            child.wait_text("draining: ");
        }
        assert_all_at_rest(halves());
        assert!(halves().all(|(_, child)| child.peek_exit().is_none()), "it has not waited");
        drop(ends);
    });
}

/// Visitors of websites of our own, and those who ask for metrics, stopped wherever they can be; in TLS, too.
#[test]
fn nothing_half_asked_costs_cpu_at_what_is_our_own() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let folder = TempDir::new("rest");
        folder.write("index.html", "a page\n");
        folder.write("big.bin", noise(20 << 20, 1));
        let (backend, at_backend) = Backend::manual();
        let dir = format!("dir:{}", folder.path().display());
        let mut halves = Vec::new();
        let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
        let body = |length: usize| {
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nab").into_bytes()
        };
        let ranges = b"GET /big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9,20-5000000\r\n\r\n".to_vec();
        let firsts: Vec<Vec<u8>> = vec![
            vec![],
            b"G".to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(),
            PAGE.to_vec(),
            [PAGE, b"GET / HT"].concat(),
            PAGE.repeat(40),
            body(2),
            body(1000),
            ranges,
            DOWNLOAD.to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"BOGUS\r\n\r\n".to_vec(),
        ];
        for website in [dir.as_str(), "status:404", "redirect:https://www.example.org"] {
            let metrics = crate::support::ports::free_port();
            let options = format!(
                "mode=auto;path=/s;obfs-uri=/s;{};failover={website};metrics=127.0.0.1:{metrics}",
                certificate.for_server()
            );
            let half = server(Ours, backend.addr, &options);
            for first in &firsts {
                for addr in [half.addr, SocketAddr::from(([127, 0, 0, 1], metrics))] {
                    // (the metrics have room for a few at a time)
                    let streams = [connect(addr), connect(addr)];
                    streams.iter().for_each(|mut stream| drop(stream.write_all(first)));
                    fin(&streams[1]);
                    plain.extend(streams);
                }
                encrypted.extend(in_tls(half.addr, first).into_iter().take(1));
            }
            halves.push((website, half));
        }
        assert_all_at_rest(halves.iter().map(|(website, half)| (*website, &half.child)));
        drop((plain, encrypted, at_backend));
    });
}

/// Nobody reads from a website, or a backend, that has gone while its visitor, or its client, takes nothing.
#[test]
fn a_reset_is_seen_though_the_other_end_does_not_read() {
    within(secs(120), || {
        for first in [PAGE.to_vec(), upgrade("/s")] {
            let (far, at_far) = Backend::manual();
            let server = server(Ours, far.addr, &format!("obfs=http;obfs-uri=/s;failover={}", far.addr));
            let before = settled(|| descriptors(&server.child));
            let visitor = connect(server.addr);
            send(&visitor, &first);
            let at_far = next(&at_far);
            fill(&at_far, &noise(1 << 25, 1));
            reset(at_far);
            let gone = eventually(secs(30), || descriptors(&server.child) <= before);
            assert!(
                gone,
                "{} descriptors of {before}; {}",
                descriptors(&server.child),
                server.child.show_log()
            );
            assert_eq!(recv_to_end(&visitor, secs(20)).1, End::Reset);
        }
    });
}

/// All hellos that never end hold no more together than they may; those beyond it are the website's at
/// once, and clients are served as before.
#[test]
fn hellos_that_do_not_end_are_bounded_together() {
    /// As `fallback` has it.
    const BOUND: usize = 32 << 20;
    const MANY: usize = 560;
    within(secs(120), || {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let wanted = rustix::process::Rlimit { current: limit.maximum, ..limit };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).expect("descriptors");
        let (site, at_site) = Backend::manual();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=tls;failover={}", site.addr));
        let mut hello = Vec::new();
        SentHello::new(&mut rand::rng(), 0).encode(NAME, &[7; 65_000], &mut hello).expect("a hello");
        let began = Instant::now();
        let strangers: Vec<TcpStream> = (0..MANY)
            .map(|_| {
                let stream = connect(server.addr);
                send(&stream, &hello[..hello.len() - 1]);
                stream
            })
            .collect();
        let mut at_site_now = Vec::new();
        let mut handed_over = 0;
        let over = MANY - BOUND / hello.len();
        let bounded = eventually(secs(20), || {
            at_site_now.extend(at_site.try_iter());
            let has_bytes = |stream: &&TcpStream| {
                stream.set_nonblocking(true).expect("not to wait");
                stream.peek(&mut [0]).is_ok_and(|n| n > 0)
            };
            handed_over = at_site_now.iter().filter(has_bytes).count();
            handed_over >= over
        });
        assert!(bounded, "{handed_over} of {MANY} hellos are the website's after {:?}", began.elapsed());
        assert!(began.elapsed() < secs(10), "they are after a head's time");
        // A client's hello comes in one go, or nearly so.
        let mut hello = Vec::new();
        SentHello::new(&mut rand::rng(), 0).encode(NAME, b"hello", &mut hello).expect("a hello");
        let tunnel = connect(server.addr);
        send(&tunnel, &hello);
        assert_eq!(crate::support::conn::recv(&tunnel, 3), [0x16, 3, 1]);
        server.child.wait_text("unfinished first messages");
        drop(strangers);
    });
}
