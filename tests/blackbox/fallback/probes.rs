//! The visitors: browsers, crawlers, scanners, censors, and clients of other protocols.

use super::compare::{Probe, Step};
use crate::support::noise;

use Step::{Fin, Pause, Send};

const HOST: &str = "Host: www.example.com\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn probe(name: &str, steps: Vec<Step>) -> Probe {
    Probe { name: name.to_owned(), steps }
}

/// A visitor who says one thing and waits.
fn says(name: &str, bytes: impl AsRef<[u8]>) -> Probe {
    probe(name, vec![Send(bytes.as_ref().to_vec())])
}

/// …and who says nothing more.
fn says_and_ends(name: &str, bytes: impl AsRef<[u8]>) -> Probe {
    probe(name, vec![Send(bytes.as_ref().to_vec()), Fin])
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\n{HOST}{headers}\r\n")
}

/// Cuts it into pieces, with a pause after each.
fn slowly(name: &str, bytes: impl AsRef<[u8]>, piece: usize, ms: u64) -> Probe {
    let steps = bytes.as_ref().chunks(piece).flat_map(|c| [Send(c.to_vec()), Pause(ms)]).collect();
    probe(name, steps)
}

/// What no server half takes for its own, whatever its options.
pub fn never_ours() -> Vec<Probe> {
    let mut all = ordinary();
    all.extend(odd_http());
    all.extend(large());
    all.extend(other_protocols());
    all.extend(broken_off());
    all.extend(almost_upgrades());
    all
}

fn ordinary() -> Vec<Probe> {
    vec![
        says("GET", request("GET /", "")),
        says("GET, Connection: close", request("GET /", "Connection: close\r\n")),
        says("GET of a page that is not there", request("GET /no/such/page", "")),
        says("GET of a directory", request("GET /shop", "")),
        says("GET of a redirect", request("GET /old", "")),
        says("GET, forbidden", request("GET /denied", "")),
        says("GET with a query", request("GET /api?a=1&b=2", "")),
        says("GET of an empty file", request("GET /empty.txt", "")),
        says("GET, absolute form", request("GET http://www.example.com/style.css", "")),
        says("HEAD", request("HEAD /style.css", "")),
        says("POST with a body", request("POST /made", "Content-Length: 11\r\n") + "hello=world"),
        says("POST to a file", request("POST /", "Content-Length: 5\r\n") + "hello"),
        says(
            "POST of 300 KB",
            [request("POST /made", "Content-Length: 300000\r\n").as_bytes(), &noise(300_000, 1)].concat(),
        ),
        says(
            "POST, chunked",
            request("POST /made", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        ),
        probe(
            "Expect: 100-continue",
            vec![
                Send(request("POST /made", "Content-Length: 5\r\nExpect: 100-continue\r\n").into()),
                Pause(100),
                Send(b"hello".to_vec()),
            ],
        ),
        says("PUT", request("PUT /x", "Content-Length: 1\r\n") + "x"),
        says("DELETE", request("DELETE /x", "")),
        says("OPTIONS", request("OPTIONS /", "")),
        says("OPTIONS *", request("OPTIONS *", "")),
        says("TRACE", request("TRACE /", "")),
        says("CONNECT", request("CONNECT www.example.com:443", "")),
        says("Range", request("GET /style.css", "Range: bytes=10-99\r\n")),
        // (several ranges would come with a boundary that nginx makes anew each time)
        says("a Range behind the end", request("GET /style.css", "Range: bytes=999999-\r\n")),
        says(
            "If-Modified-Since",
            request("GET /style.css", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
        ),
        says("a big download", request("GET /big.bin", "Connection: close\r\n")),
        says(
            "kept alive: three requests at once",
            request("GET /", "") + &request("GET /api", "") + &request("HEAD /", ""),
        ),
        probe(
            "kept alive: the second request later",
            vec![
                Send(request("GET /", "").into()),
                Pause(300),
                Send(request("GET /shop/", "Connection: close\r\n").into()),
            ],
        ),
        probe(
            "kept alive: the second request in pieces",
            vec![
                Send(request("GET /", "").into()),
                Pause(200),
                Send(b"GET /sh".to_vec()),
                Pause(300),
                Send(b"op/ HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n".to_vec()),
            ],
        ),
        probe(
            "kept alive: half of the second request, slowly",
            vec![Send(request("GET /", "").into()), Pause(200), Send(b"GET /api HTTP/1.1\r\nHo".to_vec())],
        ),
        probe(
            "kept alive: half of the second request, then the end",
            vec![
                Send(request("GET /", "").into()),
                Pause(200),
                Send(b"GET /api HTTP/1.1\r\nHo".to_vec()),
                Fin,
            ],
        ),
        says(
            "kept alive: POST, chunked POST, HEAD, GET at once",
            request("POST /made", "Content-Length: 5\r\n")
                + "hello"
                + &request("POST /made", "Transfer-Encoding: chunked\r\n")
                + "5\r\nhello\r\n0\r\n\r\n"
                + &request("HEAD /style.css", "")
                + &request("GET /style.css", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n")
                + &request("GET /api", ""),
        ),
        says("kept alive: 40 requests at once", request("GET /api", "").repeat(40)),
        says(
            "kept alive: a big download, and a page",
            request("GET /big.bin", "") + &request("GET /api", ""),
        ),
        says("kept alive: a page, and something that is no request", request("GET /", "") + "hello\r\n\r\n"),
        says("kept alive: a page, and HTTP/1.0", request("GET /", "") + "GET /api HTTP/1.0\r\n\r\n"),
        says("kept alive: an empty line between", request("GET /", "") + "\r\n" + &request("GET /api", "")),
        says(
            "two requests, close after the first",
            request("GET /", "Connection: close\r\n") + &request("GET /api", ""),
        ),
        slowly("one byte at a time", request("GET /api", "Connection: close\r\n"), 1, 3),
        slowly("line by line", request("GET /api", "Accept: */*\r\nUser-Agent: x\r\n"), 24, 60),
    ]
}

fn odd_http() -> Vec<Probe> {
    vec![
        says("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        says("HTTP/1.0, kept alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        says("HTTP/0.9", "GET /\r\n"),
        says("HTTP/2.0 in the request line", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        says("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        says("HTTP/9.9", "GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        says("no Host", "GET / HTTP/1.1\r\n\r\n"),
        says("two Hosts", request("GET /", "Host: b.example\r\n")),
        says("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        says("a Host that is none", "GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n"),
        says("method in lower case", request("get /", "")),
        says("unknown method", request("BREW /pot", "")),
        says("no path", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        says("a path without slash", request("GET x", "")),
        says("a path with dots", request("GET /../../etc/passwd", "")),
        says("a path with a NUL", request("GET /%00", "")),
        says("two spaces", request("GET  /", "")),
        says("empty lines first", "\r\n\r\n".to_owned() + &request("GET /", "")),
        says("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
        says("bare carriage returns", "GET / HTTP/1.1\rHost: a\r\r"),
        says("a space before the colon", request("GET /", "X : y\r\n")),
        says("a folded header", request("GET /", "X-Long: a\r\n b\r\n")),
        says("a header without colon", request("GET /", "Nonsense\r\n")),
        says("a header without name", request("GET /", ": x\r\n")),
        says("a NUL in a header", request("GET /", "X: a\0b\r\n")),
        says(
            "8-bit bytes in a header",
            [b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n".as_slice()].concat(),
        ),
        says("Content-Length that is no number", request("POST /made", "Content-Length: x\r\n")),
        says(
            "two Content-Lengths",
            request("POST /made", "Content-Length: 1\r\nContent-Length: 2\r\n") + "ab",
        ),
        says(
            "Content-Length and chunked",
            request("POST /made", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        says("more bytes than the body has", request("POST /made", "Content-Length: 1\r\n") + "abcdef"),
    ]
}

/// Around the limits of the website (8 KiB a line) and of the plugin (16 KiB a head).
fn large() -> Vec<Probe> {
    let path = |len: usize| format!("/{}", "a".repeat(len));
    let many: String = (0..150).map(|i| format!("X-{i}: {i}\r\n")).collect();
    vec![
        says("a path of 7 KiB", request(&format!("GET {}", path(7 << 10)), "")),
        says("a path of 9 KiB", request(&format!("GET {}", path(9 << 10)), "")),
        says("a path of 20 KiB", request(&format!("GET {}", path(20 << 10)), "")),
        says("a path of 20 KiB, unfinished", format!("GET {}", path(20 << 10))),
        says("a path of 100 KiB", request(&format!("GET {}", path(100 << 10)), "")),
        says_and_ends("a path of 9 KiB, unfinished, then the end", format!("GET {}", path(9 << 10))),
        says("a header of 7 KiB", request("GET /", &format!("X: {}\r\n", path(7 << 10)))),
        says("a header of 20 KiB", request("GET /", &format!("X: {}\r\n", path(20 << 10)))),
        says("headers of 15 KiB", request("GET /", &format!("X: {0}\r\nY: {0}\r\n", path(7600)))),
        says("headers of 28 KiB", request("GET /", &format!("X: {0}\r\n", path(7000)).repeat(4))),
        says("headers of 60 KiB", request("GET /", &format!("X: {0}\r\n", path(7000)).repeat(9))),
        says("150 headers", request("GET /", &many)),
        says(
            "150 headers and an upgrade without its Connection",
            request("GET /", &(many.clone() + "Upgrade: websocket\r\n")),
        ),
        slowly(
            "headers of 28 KiB in pieces",
            request("GET /", &format!("X: {0}\r\n", path(7000)).repeat(4)),
            1400,
            5,
        ),
    ]
}

fn other_protocols() -> Vec<Probe> {
    // The start of a ClientHello: record, handshake, version, random, …
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise(506, 7)].concat();
    let socks_domain = [&[5, 1, 0, 3, 15][..], b"www.example.com", &[0, 80]].concat();
    let mut all = vec![
        says("TLS ClientHello", &hello),
        says_and_ends("TLS ClientHello, then the end", &hello),
        says_and_ends("SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        says("SSH, waiting", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        says("SSH, an unfinished line", "SSH-2.0-OpenSSH"),
        says("SOCKS5", [5, 1, 0]),
        says("SOCKS5 with a request", [&[5, 1, 0][..], &socks_domain].concat()),
        says("SOCKS4", [4, 1, 0, 80, 127, 0, 0, 1, 0]),
        says("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        says(
            "PROXY protocol 1",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n".to_owned() + &request("GET /", ""),
        ),
        says("PROXY protocol 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x04\xd2\0\x50"),
        says("SMTP", "EHLO example.com\r\n"),
        says("FTP", "USER anonymous\r\n"),
        says("RTSP", "OPTIONS rtsp://example.com/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        says("SIP", "OPTIONS sip:a@example.com SIP/2.0\r\n\r\n"),
        says("Redis", "*1\r\n$4\r\nPING\r\n"),
        says("RDP", [3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0]),
        says("NULs", [0; 64]),
        says("JSON", "{\"method\":\"login\"}\n"),
    ];
    for (i, len) in [1, 2, 16, 50, 221, 517, 1500, 16_384, 20_000, 70_000].into_iter().enumerate() {
        let bytes = noise(len, 40 + i as u64);
        all.push(says_and_ends(&format!("{len} random bytes, then the end"), &bytes));
        // One that is told from a method by its first byte, so that a server need not wait for more.
        let mut bytes = bytes;
        bytes[0] |= 0x80;
        all.push(says(&format!("{len} random bytes"), &bytes));
    }
    all
}

fn broken_off() -> Vec<Probe> {
    let whole = request("GET /api", "");
    vec![
        probe("nothing, then the end", vec![Fin]),
        says_and_ends("one byte, then the end", "G"),
        says_and_ends("half a request line, then the end", "GET /ap"),
        says_and_ends("half a head, then the end", &whole[..40]),
        says_and_ends("half an upgrade, then the end", format!("GET / HTTP/1.1\r\n{HOST}{UPGRADE}")),
        says_and_ends("a request, then the end", &whole),
        says_and_ends("three requests, then the end", whole.repeat(3)),
        says_and_ends("half a body, then the end", request("POST /made", "Content-Length: 10\r\n") + "hello"),
        says("half a body", request("POST /made", "Content-Length: 10\r\n") + "hello"),
        says("half a body for a file", request("POST /", "Content-Length: 10\r\n") + "hello"),
        says_and_ends("an empty line, then the end", "\r\n"),
        probe("half a head, a pause, then the end", vec![Send(whole[..30].into()), Pause(700), Fin]),
        probe(
            "half a head, a pause, the rest",
            vec![Send(whole[..30].into()), Pause(700), Send(whole[30..].into())],
        ),
        // Not the start of the method that would match: there is nothing to wait for.
        says("half a POST", "POST /ma"),
        says("half a HEAD of a request", "HEAD / HTTP/1.1\r\nHos"),
        says("half a word", "hello"),
    ]
}

/// Upgrades that lack something, and what follows a request that was none.
fn almost_upgrades() -> Vec<Probe> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = request("GET /", UPGRADE);
    vec![
        says(
            "Upgrade: h2c",
            request(
                "GET /",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
            ),
        ),
        says("Upgrade: websockets", request("GET /", "Connection: Upgrade\r\nUpgrade: websockets\r\n")),
        says(
            "Upgrade: websocket in a comment",
            request("GET /", "Connection: Upgrade\r\nUpgrade: x/websocket\r\n"),
        ),
        says("no Connection", request("GET /", &format!("Upgrade: websocket\r\n{key}"))),
        says(
            "Connection: close",
            request("GET /", &format!("Connection: close\r\nUpgrade: websocket\r\n{key}")),
        ),
        says(
            "Connection: keep-alive",
            request("GET /", &format!("Connection: keep-alive\r\nUpgrade: websocket\r\n{key}")),
        ),
        says(
            "Connection: upgrades",
            request("GET /", &format!("Connection: upgrades\r\nUpgrade: websocket\r\n{key}")),
        ),
        says("no Upgrade", request("GET /", &format!("Connection: Upgrade\r\n{key}"))),
        says("an empty Upgrade", request("GET /", &format!("Connection: Upgrade\r\nUpgrade:\r\n{key}"))),
        says("an upgrade in HTTP/1.0", upgrade.replace("HTTP/1.1", "HTTP/1.0")),
        says(
            "an upgrade by POST",
            upgrade.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"),
        ),
        says("an upgrade by HEAD", upgrade.replace("GET", "HEAD")),
        says("an upgrade by get", upgrade.replace("GET", "get")),
        says("an upgrade with a broken header", upgrade.replace("\r\nUpgrade", "\r\nBro ken: x\r\nUpgrade")),
        says("an upgrade with a folded header", upgrade.replace("\r\nUpgrade", "\r\nX: a\r\n b\r\nUpgrade")),
        says(
            "the body has the upgrade",
            request("POST /made", "Content-Length: 200\r\n")
                + &upgrade
                + &" ".repeat(200 - upgrade.len().min(200)),
        ),
    ]
}

/// Perfect upgrades, but to another path or host than `/stream` at www.example.com.
pub fn wrong_address() -> Vec<Probe> {
    let to = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\n{host}{UPGRADE}\r\n");
    vec![
        says("upgrade: another path", to("/", HOST)),
        says("upgrade: a longer path", to("/stream/", HOST)),
        says("upgrade: a path in capitals", to("/STREAM", HOST)),
        says("upgrade: the path in the query", to("/?/stream", HOST)),
        says("upgrade: another host", to("/stream", "Host: example.com\r\n")),
        says("upgrade: a longer host", to("/stream", "Host: www.example.com.example.org\r\n")),
        says("upgrade: an address as host", to("/stream", "Host: 192.0.2.1\r\n")),
        says("upgrade: no host", to("/stream", "")),
        says("upgrade: two hosts", to("/stream", "Host: www.example.com\r\nHost: other.example\r\n")),
        says("upgrade: another path, with payload", to("/other", HOST) + "payload of a client"),
        slowly("upgrade: another path, slowly", to("/other", HOST), 7, 5),
        says("upgrade: as the second request", request("GET /api", "") + &to("/", HOST)),
        probe(
            "upgrade: later on the connection",
            vec![Send(request("GET /api", "").into()), Pause(200), Send(to("/", HOST).into())],
        ),
        probe(
            "upgrade: later on the connection, in two pieces",
            vec![
                Send(request("GET /api", "").into()),
                Pause(200),
                Send(to("/other", HOST)[..40].into()),
                Pause(300),
                Send(to("/other", HOST)[40..].into()),
            ],
        ),
    ]
}
