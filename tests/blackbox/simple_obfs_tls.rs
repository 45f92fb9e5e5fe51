//! `obfs=tls`: with simple-obfs at the other end, with clients as apps write them, under real hosts, and
//! with a real HTTPS site behind it that nobody can tell from the port.

use crate::fallback::compare::{Probe, Step, play};
use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{End, assert_echo, connect, exchange, fin, recv, recv_to_end, send};
use crate::support::hosts::{Family, Host, curl, socks};
use crate::support::netns;
use crate::support::peers::{self, need};
use crate::support::plugin::{Make, Ours, SimpleObfs, bare, client, our_path, server};
use crate::support::site::{INDEX, Site};
use crate::support::tls_site::{PAGE, TlsSite};
use crate::support::{STEP, assert_same, noise, secs, within};
use std::net::SocketAddr;
use std::process::Stdio;

const MB: usize = 1024 * 1024;

/// client half → server half → echo: small and large, several tunnels at once.
fn echo_through(client_make: Make, server_make: Make, options: &str) {
    let echo = Backend::echo_on("127.0.0.2:0".parse().expect("an address"));
    let server = server(server_make, echo.addr, &format!("obfs=tls{options}"));
    let client = client(client_make, server.addr, &format!("obfs=tls;obfs-host=www.bing.com{options}"));
    for size in [1, 100, 950, 1000, 1100, 1200, 1220, 1240, 1260, 1280, 1400, 2000, 5000] {
        assert_echo(&connect(client.addr), &noise(size, size as u64));
    }
    std::thread::scope(|scope| {
        for i in 0..4 {
            let addr = client.addr;
            scope.spawn(move || {
                let stream = connect(addr);
                assert_echo(&stream, &noise(300 + i, i as u64));
                assert_echo(&stream, &noise(5 * MB, 100 + i as u64));
            });
        }
    });
}

fn echoes(client_make: Make, server_make: Make) {
    within(secs(90), move || {
        need!("obfs-local", "obfs-server");
        echo_through(client_make, server_make, "");
    });
}

/// With first flights in SYNs.
fn echoes_with_fast_open(client_make: Make, server_make: Make) {
    netns::alone(secs(90), move || {
        need!("obfs-local", "obfs-server");
        assert!(netns::sysctl("ipv4/tcp_fastopen", "3"));
        // Segments as on the way through the world, so that flights are cut. Not on the way to the
        // backend, at 127.0.0.2: there simple-obfs's server, which uses Fast Open for it too, loses what
        // does not fit into a SYN, whoever its client is.
        netns::ip("route replace table local local 127.0.0.1 dev lo mtu lock 1500 advmss 1460");
        echo_through(client_make, server_make, ";fast-open");
        assert!(netns::counter("TcpExt", "TCPFastOpenPassive") > Some(5), "no data went with a SYN");
    });
}

/// 20 MB that the backend sends and ends.
fn downloads(client_make: Make, server_make: Make) {
    within(secs(90), move || {
        need!("obfs-local", "obfs-server");
        let file = noise(20 * MB, 8);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            recv(&stream, 3);
            send(&stream, &sent);
        });
        let server = server(server_make, backend.addr, "obfs=tls");
        let client = client(client_make, server.addr, "obfs=tls;obfs-host=www.bing.com");
        let stream = connect(client.addr);
        send(&stream, b"get");
        let (got, end) = recv_to_end(&stream, STEP * 2);
        assert_same("the download", &got, &file);
        assert_eq!(end, End::Fin);
    });
}

#[test]
fn our_client_echoes_through_our_server() {
    echoes(Ours, Ours);
}

#[test]
fn our_client_echoes_through_our_server_with_fast_open() {
    echoes_with_fast_open(Ours, Ours);
}

#[test]
fn our_client_echoes_through_simple_obfs_server() {
    echoes(Ours, SimpleObfs);
}

#[test]
fn our_client_echoes_through_simple_obfs_server_with_fast_open() {
    echoes_with_fast_open(Ours, SimpleObfs);
}

#[test]
fn simple_obfs_client_echoes_through_our_server() {
    echoes(SimpleObfs, Ours);
}

#[test]
fn simple_obfs_client_echoes_through_our_server_with_fast_open() {
    echoes_with_fast_open(SimpleObfs, Ours);
}

#[test]
fn our_client_downloads_through_our_server() {
    downloads(Ours, Ours);
}

#[test]
fn our_client_downloads_through_simple_obfs_server() {
    downloads(Ours, SimpleObfs);
}

#[test]
fn simple_obfs_client_downloads_through_our_server() {
    downloads(SimpleObfs, Ours);
}

/// 20 MB up, answered after the FIN.
#[test]
fn uploads_end_with_a_fin_and_are_answered_after_it() {
    within(secs(90), || {
        let backend = Backend::digester();
        let server = server(Ours, backend.addr, "obfs=tls");
        let client = client(Ours, server.addr, "obfs=tls");
        let file = noise(20 * MB, 3);
        let (answer, end) = exchange(&connect(client.addr), &file, secs(60));
        assert_eq!(String::from_utf8_lossy(&answer), crate::support::digest(&file));
        assert_eq!(end, End::Fin);
    });
}

/// simple-obfs's hello, captured, with other bytes in its ticket.
fn hello(payload: &[u8]) -> Vec<u8> {
    let text = include_str!("../vectors/simple-obfs-tls.json");
    let vector: serde_json::Value = serde_json::from_str(text).expect("a vector");
    let hex = vector["connections"][0]["client_to_server_hex"].as_str().expect("the client's stream");
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
    let stream: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
    let number = |at: usize| usize::from(u16::from_be_bytes([stream[at], stream[at + 1]]));
    // Record head 5, handshake head 4, version 2, random 32, session 33, suites 58, compression 2,
    // length of the extensions 2; then the ticket's type 2 and length 2.
    let (extensions, ticket, content) = (136, 140, 142);
    let behind = &stream[content + number(ticket)..5 + number(3)];
    let mut out = [&stream[..content], payload, behind].concat();
    let total = out.len();
    for (at, length) in [(3, total - 5), (7, total - 9), (extensions, total - 138), (ticket, payload.len())] {
        let length = u16::try_from(length).expect("a length of 16 bits");
        out[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    out
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a record");
    [&[0x17, 3, 3], &length.to_be_bytes()[..], payload].concat()
}

/// mihomo and sing-box: skip 105 bytes, read the length, which must not be zero; then records. Up to
/// 16,384 bytes in the ticket, and in each record.
#[test]
fn apps_skip_105_bytes_and_read_a_length() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=tls");
        for first in [1, 300, 2048, 16_384] {
            let stream = connect(server.addr);
            let mut back = Vec::new();
            let mut expected = noise(first, first as u64);
            send(&stream, &hello(&expected));
            recv(&stream, 105);
            let read_piece = |out: &mut Vec<u8>| {
                let length = recv(&stream, 2);
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                assert!(length > 0, "an empty piece");
                assert!(length <= 16_384, "{length} bytes are more than apps take");
                out.extend(recv(&stream, length));
            };
            read_piece(&mut back);
            for size in [1, 1000, 16_384, 16_384] {
                let piece = noise(size, size as u64);
                send(&stream, &record(&piece));
                expected.extend(piece);
            }
            while back.len() < expected.len() {
                assert_eq!(recv(&stream, 3), [0x17, 3, 3]);
                read_piece(&mut back);
            }
            assert_same("the echo", &back, &expected);
            fin(&stream);
            assert_eq!(recv_to_end(&stream, STEP), (Vec::new(), End::Fin));
        }
    });
}

/// A backend that speaks first: the server's flight waits for it and carries it.
#[test]
fn a_server_that_speaks_first_is_heard() {
    within(secs(30), || {
        let backend = Backend::greeter(b"220 hello");
        let server = server(Ours, backend.addr, "obfs=tls");
        let client = client(Ours, server.addr, "obfs=tls");
        assert_eq!(recv(&connect(client.addr), 9), b"220 hello");
    });
}

/// A record that is none ends the tunnel, and the log says why.
#[test]
fn wrong_records_end_the_tunnel_with_the_reason() {
    within(secs(30), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=tls");
        let stream = connect(server.addr);
        send(&stream, &hello(b"payload"));
        recv(&stream, 105 + 2 + 7);
        send(&stream, b"GET / HTTP/1.1\r\n\r\n");
        let (_, end) = recv_to_end(&stream, STEP);
        assert_ne!(end, End::Open);
        let line = server.child.wait_text("record");
        assert!(line.contains("WARN"), "{line}");
    });
}

fn under_real_hosts(family: Family) {
    let echo = Backend::echo();
    let host_server = Host::server(family, &our_path(), "obfs=tls");
    let options = "obfs=tls;obfs-host=www.bing.com";
    let host_client = Host::client(family, host_server.addr, &our_path(), options);
    std::thread::scope(|scope| {
        for i in 0..4 {
            let (proxy, echo) = (host_client.addr, echo.addr);
            scope.spawn(move || {
                let stream = socks(proxy, echo);
                assert_echo(&stream, &noise(100, i));
                assert_echo(&stream, &noise(5 * MB, i));
            });
        }
    });
}

#[test]
fn libev_carries_traffic() {
    within(secs(90), || {
        need!("ss-local", "ss-server");
        under_real_hosts(Family::Libev);
    });
}

#[test]
fn shadowsocks_rust_carries_traffic() {
    within(secs(90), || {
        need!("sslocal", "ssserver");
        under_real_hosts(Family::Rust);
    });
}

/// A browser's view: the page and the certificate of the site, over every TLS version it has.
#[test]
fn curl_and_openssl_see_the_site_behind_the_port() {
    within(secs(60), || {
        need!("nginx", "openssl", "curl");
        let site = TlsSite::start();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=tls;failover={}", site.addr));
        for words in [&[][..], &["--tls-max", "1.2"], &["--tlsv1.3"], &["--http1.1"], &["--http2"]] {
            let port = server.addr.port();
            let resolve = format!("www.example.com:{port}:127.0.0.1");
            let url = format!("https://www.example.com:{port}/");
            let fetched = curl(&[&["--insecure", "--resolve", &resolve, &url], words].concat());
            assert_eq!((fetched.status.as_str(), &fetched.body[..]), ("200", PAGE.as_bytes()), "{words:?}");
        }
        let certificate = |addr: SocketAddr| {
            let mut command = bare(peers::path("openssl"));
            command.args(["s_client", "-connect", &addr.to_string(), "-servername", "www.example.com"]);
            // What it writes to stderr could come to stand between these lines.
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let child = Child::spawn_as_is("openssl s_client", command);
            child.wait_exit(secs(10));
            let lines = child.lines();
            let from =
                lines.iter().position(|line| line.contains("BEGIN CERTIFICATE")).expect("a certificate");
            let to = lines.iter().position(|line| line.contains("END CERTIFICATE")).expect("its end");
            lines[from..to].to_vec()
        };
        assert_eq!(certificate(server.addr), certificate(site.addr));
        assert_eq!(backend.accepted(), 0);
    });
}

/// The hello of a real client, caught.
fn caught_hello(program: &str, arguments: &[&str]) -> Vec<u8> {
    let (backend, connections) = Backend::manual();
    let mut command = bare(peers::path(program));
    let target = match program {
        "curl" => format!("https://{}/", backend.addr),
        _ => backend.addr.to_string(),
    };
    command.args(arguments).arg(target);
    let _child = Child::spawn(program, command);
    let stream = next(&connections);
    let mut bytes = recv(&stream, 5);
    bytes.extend(recv(&stream, usize::from(u16::from_be_bytes([bytes[3], bytes[4]]))));
    bytes
}

/// Real hellos of several clients, whole and broken, and what scanners send to TLS ports.
pub fn tls_probes() -> Vec<Probe> {
    let probe = |name: &str, steps: Vec<Step>| Probe { name: name.to_owned(), steps };
    let openssl = |words: &[&str]| caught_hello("openssl", &[&["s_client"], words, &["-connect"]].concat());
    let mut probes = Vec::new();
    let hellos = [
        ("openssl", openssl(&[])),
        ("TLS 1.2", openssl(&["-tls1_2"])),
        ("TLS 1.3", openssl(&["-tls1_3"])),
        ("TLS 1.1", openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])),
        ("TLS 1.0", openssl(&["-tls1", "-cipher", "ALL:@SECLEVEL=0"])),
        ("a name", openssl(&["-servername", "www.example.com"])),
        ("another name", openssl(&["-servername", "not.example.com"])),
        ("no name", openssl(&["-noservername"])),
        ("ALPN", openssl(&["-alpn", "h2,http/1.1"])),
        ("ALPN that nobody has", openssl(&["-alpn", "nothing"])),
        ("one suite", openssl(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"])),
        ("no common suite", openssl(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"])),
        ("one group", openssl(&["-groups", "P-521"])),
        ("no tickets", openssl(&["-no_ticket"])),
        ("curl", caught_hello("curl", &["-q", "-k", "--max-time", "5"])),
        ("curl with TLS 1.2", caught_hello("curl", &["-q", "-k", "--max-time", "5", "--tls-max", "1.2"])),
    ];
    for (name, hello) in &hellos {
        probes.push(probe(&format!("hello, {name}"), vec![Step::Send(hello.clone()), Step::Fin]));
    }
    let whole = &hellos[0].1;
    probes.push(probe("a hello, then silence", vec![Step::Send(whole.clone())]));
    for cut in [1, 2, 5, 6, 9, 44, 100, whole.len() - 1] {
        let (a, b) = (whole[..cut].to_vec(), whole[cut..].to_vec());
        let steps = vec![Step::Send(a.clone()), Step::Pause(60), Step::Send(b), Step::Fin];
        probes.push(probe(&format!("a hello cut at {cut}"), steps));
        probes.push(probe(
            &format!("{cut} bytes of a hello, then FIN"),
            vec![Step::Send(a.clone()), Step::Fin],
        ));
        if matches!(cut, 1 | 5 | 100) {
            probes.push(probe(&format!("{cut} bytes of a hello, then silence"), vec![Step::Send(a)]));
        }
    }
    let ours = hello(&noise(200, 1));
    for cut in [43, 77, 140, 200, ours.len() - 1] {
        let steps = vec![Step::Send(ours[..cut].to_vec()), Step::Fin];
        probes.push(probe(&format!("{cut} bytes of a look-alike, then FIN"), steps));
    }
    let mut late = ours.clone();
    late[5] = 2;
    let mut deprecated = whole.clone();
    deprecated[1] = 2;
    let mut longer = whole.clone();
    longer[8] = longer[8].wrapping_add(1);
    let raw: &[(&str, Vec<u8>)] = &[
        ("nothing", vec![]),
        ("a close-notify alert", vec![0x15, 3, 1, 0, 2, 1, 0]),
        ("a fatal alert", vec![0x15, 3, 3, 0, 2, 2, 40]),
        ("an empty handshake record", vec![0x16, 3, 1, 0, 0]),
        ("a record of length 65535", [vec![0x16, 3, 1, 0xff, 0xff], noise(3000, 2)].concat()),
        ("a record of length 1", vec![0x16, 3, 1, 0, 1, 1]),
        ("application data", [vec![0x17, 3, 3, 0, 100], noise(100, 3)].concat()),
        ("a change of ciphers", vec![0x14, 3, 3, 0, 1, 1]),
        ("a heartbeat", vec![0x18, 3, 2, 0, 3, 1, 0x40, 0]),
        ("an SSLv2 hello", [vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10], noise(37, 4)].concat()),
        ("garbage that begins like TLS", [vec![0x16, 3, 1, 0, 200], noise(200, 5)].concat()),
        ("garbage", noise(500, 6)),
        ("HTTP in the clear", b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n".to_vec()),
        ("HTTP/2 in the clear", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a look-alike that is no client hello", late),
        ("a hello of SSL 2", deprecated),
        ("a hello whose length is wrong", longer),
        ("two hellos", [whole.clone(), whole.clone()].concat()),
    ];
    for (name, bytes) in raw {
        probes.push(probe(name, vec![Step::Send(bytes.clone()), Step::Fin]));
    }
    probes
}

/// What of an answer is the same each time: the records' types, versions and lengths, what alerts say,
/// and all of what is no TLS.
fn shape(bytes: &[u8]) -> Vec<String> {
    let mut shape = Vec::new();
    let mut rest = bytes;
    while let [kind @ 0x14..=0x17, 3, minor, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (content, next) = behind.split_at(length);
        let said = if *kind == 0x15 && length == 2 { format!("{content:?}") } else { String::new() };
        shape.push(format!("record {kind:#x} 3.{minor} of {length} {said}"));
        rest = next;
    }
    shape.push(format!("then {:?}", String::from_utf8_lossy(rest)));
    shape
}

pub fn tls_differences(site: SocketAddr, port: SocketAddr, probes: &[Probe]) -> Vec<String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = probes
            .iter()
            .map(|probe| {
                scope.spawn(move || {
                    let (direct, direct_took) = play(site, probe);
                    assert_ne!(direct.end, End::Open, "{}: the site itself never ends this", probe.name);
                    let mut difference = None;
                    // A reset may overtake an answer, there and here.
                    for _ in 0..3 {
                        let (seen, took) = play(port, probe);
                        let direct = if difference.is_some() { play(site, probe).0 } else { direct.clone() };
                        let same = (shape(&seen.bytes), seen.end) == (shape(&direct.bytes), direct.end);
                        if same && took < direct_took + secs(4) {
                            return None;
                        }
                        difference = Some(format!(
                            "{}:\n    site: {:?} {:?} after {direct_took:.1?}\n    port: {:?} {:?} after {took:.1?}",
                            probe.name,
                            shape(&direct.bytes),
                            direct.end,
                            shape(&seen.bytes),
                            seen.end
                        ));
                    }
                    difference
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("a probe")).collect()
    })
}

fn assert_no_difference(options: &str, more: Vec<Probe>) {
    let site = TlsSite::start();
    let backend = Backend::echo();
    let server = server(Ours, backend.addr, &format!("{options};failover={}", site.addr));
    let mut probes = tls_probes();
    assert!(probes.len() > 50, "{} probes", probes.len());
    probes.extend(more);
    let found = tls_differences(site.addr, server.addr, &probes);
    assert!(
        found.is_empty(),
        "{} of {} probes tell the port from the site:\n{}\n",
        found.len(),
        probes.len(),
        found.join("\n")
    );
    assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks; {}", server.child.show_log());
}

#[test]
fn no_probe_tells_the_tls_port_from_the_site() {
    within(secs(150), || {
        need!("nginx", "openssl", "curl");
        assert_no_difference("obfs=tls", Vec::new());
    });
}

/// With a name of its own, perfect look-alikes for another name are visitors too.
#[test]
fn no_probe_tells_a_tls_port_with_a_name_from_the_site() {
    within(secs(150), || {
        need!("nginx", "openssl", "curl");
        let strangers = [0, 1, 300, 3000].map(|size| Probe {
            name: format!("a look-alike for another name with {size} bytes"),
            steps: vec![Step::Send([hello(&noise(size, 1)), record(b"more")].concat()), Step::Fin],
        });
        assert_no_difference("obfs=tls;obfs-host=mine.example.net", strangers.into());
    });
}

#[test]
fn no_probe_tells_a_port_with_both_disguises_from_the_site() {
    within(secs(150), || {
        need!("nginx", "openssl", "curl");
        assert_no_difference("obfs=http,tls", Vec::new());
    });
}

/// The check can fail: a port that merely closes is found out.
#[test]
fn the_same_probes_find_a_poor_imitation_out() {
    within(secs(150), || {
        need!("nginx", "openssl", "curl");
        let site = TlsSite::start();
        let poor = Backend::serve(|stream| {
            recv_to_end(&stream, secs(2));
        });
        let found = tls_differences(site.addr, poor.addr, &tls_probes());
        assert!(found.len() > 20, "only {} differences", found.len());
    });
}

/// One port for both kinds of clients, with a website for each kind of visitor.
#[test]
fn one_port_for_both_disguises_with_a_site_for_each() {
    within(secs(90), || {
        need!("nginx", "openssl", "curl", "obfs-local");
        let (plain, tls) = (Site::start(), TlsSite::start());
        let echo = Backend::echo();
        for obfs in ["http,tls", "tls,http"] {
            let options = format!("obfs={obfs};failover={};failover-tls={}", plain.addr, tls.addr);
            let server = server(Ours, echo.addr, &options);
            for make in [Ours, SimpleObfs] {
                for kind in ["http", "tls"] {
                    let options = format!("obfs={kind};obfs-host=www.bing.com");
                    let client = client(make, server.addr, &options);
                    assert_echo(&connect(client.addr), &noise(200_000, 1));
                }
            }
            let fetched = curl(&[&format!("http://{}/", server.addr)]);
            assert_eq!(fetched.body, INDEX.as_bytes());
            let fetched = curl(&["--insecure", &format!("https://{}/", server.addr)]);
            assert_eq!(fetched.body, PAGE.as_bytes());
        }
        // One site given serves both kinds of visitors.
        for option in ["failover", "failover-tls"] {
            let server = server(Ours, echo.addr, &format!("obfs=tls,http;{option}={}", tls.addr));
            let fetched = curl(&["--insecure", &format!("https://{}/", server.addr)]);
            assert_eq!(fetched.body, PAGE.as_bytes());
            let fetched = curl(&[&format!("http://{}/", server.addr)]);
            assert_eq!(fetched.status, "400", "nginx's answer to HTTP on its TLS port");
        }
    });
}
