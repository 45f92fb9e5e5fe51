//! Heads that a web server refuses before they have ended: nobody waits for their end.

use crate::own_site::twins::Twins;
use crate::support::backend::Backend;
use crate::support::conn::connect;
use crate::support::peers::need;
use crate::support::plugin::{Ours, server};
use crate::support::site::Site;
use crate::support::{STEP, eventually, millis, secs, within};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Heads of requests that could become a client's but for what is wrong with them; none has ended.
fn heads(path: &str) -> Vec<String> {
    let line = format!("GET {path} HTTP/1.1\r\n");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let mut heads: Vec<String> = [
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhost: a\r\n",
        "Host: a/b\r\n",
        "Host: a b\r\n",
        "Host: a..b\r\n",
        "Host:\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nExpect: x\r\nX-Other: y\r\nExpect: x\r\n",
        "Host: a\r\nRange: bytes=0-1\r\nRange: bytes=0-1\r\n",
        "Host: a\r\nX-With-Nul: a\0b\r\n",
        "Host: a\r\nBro ken: x\r\n",
        "Host: a\r\n: x\r\n",
        "Host: a\r\nX-Fine: x\r\n",
    ]
    .iter()
    .map(|fields| format!("{line}{fields}{upgrade}"))
    .collect();
    for odd in ["/..", "/../x", "/a/../..", "/%00", "/%2e%2e/x", "/%zz", "/a%"] {
        heads.push(format!("GET {odd} HTTP/1.1\r\nHost: a\r\n{upgrade}"));
    }
    for version in ["HTTP/1.x", "HTTQ", "HTTP/2.0"] {
        heads.push(format!("GET {path} {version}\r\nHost: a\r\n{upgrade}"));
    }
    heads
}

/// What has come on a connection, without waiting. Its end says nothing.
fn answer(stream: &TcpStream) -> Option<String> {
    let mut start = [0; 12];
    stream.set_nonblocking(true).expect("not to wait");
    let n = stream.peek(&mut start).unwrap_or(0);
    (n == start.len()).then(|| String::from_utf8_lossy(&start).into_owned())
}

/// The answers to the beginnings of a head, by their lengths.
type Answers = BTreeMap<usize, String>;

/// The beginnings of a head, each on a connection of its own, and all in single bytes.
struct Beginnings(Vec<TcpStream>);

impl Beginnings {
    fn send(addr: SocketAddr, head: &str) -> Beginnings {
        let send = |length| {
            let mut stream = connect(addr);
            for byte in &head.as_bytes()[..length] {
                // An answer may come, and the connection end, before all is said.
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            stream
        };
        Beginnings((0..=head.len()).map(send).collect())
    }

    fn answers(&self) -> Answers {
        let answers = self.0.iter().enumerate();
        answers.filter_map(|(length, stream)| Some((length, answer(stream)?))).collect()
    }
}

/// Asks both, and wants the same answers to the same beginnings, and none to any other.
#[track_caller]
fn assert_answered_alike(nginx: SocketAddr, ours: SocketAddr, heads: &[String]) {
    let mut refused = 0;
    for head in heads {
        let (direct, seen) = (Beginnings::send(nginx, head), Beginnings::send(ours, head));
        let sent = Instant::now();
        // A silence has no event: it is part of what is compared. The website's own limit is 3 s.
        std::thread::sleep(millis(700));
        let wanted = direct.answers();
        let alike = eventually(STEP, || seen.answers() == wanted);
        let waited = sent.elapsed();
        assert!(alike, "{head:?}, after {waited:?}:\n nginx {wanted:?}\n ours {:?}", seen.answers());
        // Nothing is answered by us for having waited longer.
        assert!(waited < secs(8), "{head:?}: as nginx after {waited:?} only");
        refused += usize::from(!wanted.is_empty());
    }
    assert!(refused + 2 >= heads.len(), "nginx itself refuses only {refused} of {}", heads.len());
}

#[test]
fn the_website_refuses_unfinished_heads_at_the_same_byte() {
    within(secs(240), || {
        need!("nginx");
        let site = Site::start();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={}", site.addr));
        assert_answered_alike(site.addr, server.addr, &heads("/"));
        assert_eq!(backend.accepted(), 0);
    });
}

#[test]
fn the_website_refuses_what_comes_to_the_path_of_a_tunnel() {
    within(secs(240), || {
        need!("nginx");
        let site = Site::start();
        let backend = Backend::echo();
        let options = format!("mode=websocket;path=/stream;obfs-host=a;failover={}", site.addr);
        let server = server(Ours, backend.addr, &options);
        assert_answered_alike(site.addr, server.addr, &heads("/stream"));
        assert_eq!(backend.accepted(), 0);
    });
}

#[test]
fn our_own_website_refuses_unfinished_heads_at_the_same_byte() {
    within(secs(240), || {
        need!("nginx");
        let twins = Twins::start("root /nonexistent;", "obfs=http");
        assert_answered_alike(twins.nginx, twins.ours, &heads("/"));
        assert_eq!(twins.backend.accepted(), 0, "{}", twins.child.show_log());
    });
}
