//! What visitors of a small website ask for.

mod files;
mod slow;

use crate::fallback::compare::{Probe, Step};
use crate::fallback::probes;
pub use files::files;
pub use slow::slow;

use Step::{Fin, Send};

const HOST: &str = "Host: www.example.com\r\n";

/// The last words of a visitor who would be waited for else.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn says(name: &str, bytes: impl AsRef<[u8]>) -> Probe {
    Probe { name: name.to_owned(), steps: vec![Send(bytes.as_ref().to_vec())] }
}

fn get(path: &str, headers: &str) -> Probe {
    let text = format!("GET {path} HTTP/1.1\r\n{HOST}{headers}\r\n");
    says(&format!("GET {path} {headers:?}"), text)
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\n{HOST}{headers}\r\n")
}

/// Each with another request behind it, which ends the connection, and each with the visitor's end.
pub fn with_ends(probes: Vec<Probe>) -> Vec<Probe> {
    let named = |probe: &Probe, end: &str| Probe { name: format!("{}, {end}", probe.name), ..probe.clone() };
    let ends = |probe: &Probe| {
        let mut last = named(probe, "then a last request");
        match last.steps.last_mut() {
            // In one go: whether it comes before the connection is closed must not be left to chance.
            Some(Send(bytes)) => bytes.extend_from_slice(LAST.as_bytes()),
            _ => last.steps.push(Send(LAST.into())),
        }
        let mut fin = named(probe, "then the end");
        fin.steps.push(Fin);
        [last, fin]
    };
    probes.iter().flat_map(ends).collect()
}

/// For any website.
pub fn general() -> Vec<Probe> {
    let mut all: Vec<Probe> = probes::never_ours().into_iter().filter(|probe| !is_long(probe)).collect();
    all.extend(versions_and_hosts());
    all.extend(targets());
    all.extend(bodies());
    all.extend(long_heads());
    all.extend(browsers());
    all
}

/// The visitor's end may cut it off anywhere.
fn is_long(probe: &Probe) -> bool {
    probe.name.contains("a big download")
}

fn versions_and_hosts() -> Vec<Probe> {
    let mut all = Vec::new();
    for line in [
        "GET / HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1.099",
        "GET / HTTP/1.999",
        "GET / HTTP/1.1000",
        "GET / HTTP/0.9",
        "GET / HTTP/1.",
        "GET / HTTP/1",
        "GET / HTTP/11.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1 x",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET  /  HTTP/1.0",
        "GET\t/ HTTP/1.1",
        "HEAD / HTTP/1.0",
        "HEAD *",
        "HEAD / HTTP/2.0",
        "POST / HTTP/1.0",
        "PROPFIND / HTTP/1.1",
        "GET-IT / HTTP/1.1",
        "GET http://www.example.com/shop HTTP/1.1",
        "GET http://www.example.com HTTP/1.1",
        "GET HTTP://other.example:81/shop HTTP/1.1",
        "GET https://www.example.com?a=b HTTP/1.1",
        "GET ftp://[::1]:80/shop HTTP/1.0",
        "GET http:///shop HTTP/1.1",
        "GET http://a_b/ HTTP/1.1",
        "GET http://a..b/ HTTP/1.1",
        "GET http://a:8x/ HTTP/1.1",
        "GET http:/a/ HTTP/1.1",
        "GET 1http://a/ HTTP/1.1",
    ] {
        all.push(says(line, format!("{line}\r\n{HOST}\r\n")));
    }
    for (line, name) in [
        ("GET /\n", "HTTP/0.9, a line feed"),
        ("GET / \r\n", "HTTP/0.9, a space"),
        ("POST /\r\n", "HTTP/0.9 by POST"),
        ("HEAD /\r\n", "HTTP/0.9 by HEAD"),
        ("GET /%\r\n", "HTTP/0.9, a wrong path"),
        ("GET /shop\r\n", "HTTP/0.9, a folder"),
        ("GET /style.css\r\n", "HTTP/0.9, a file"),
        ("GET /\rX", "HTTP/0.9, broken"),
        ("GET /no\r\n", "HTTP/0.9, nothing"),
    ] {
        all.push(says(name, line));
    }
    for host in [
        "a",
        "A.Example:8080",
        "a.",
        "a..b",
        ".",
        "",
        ":80",
        "a:b:c",
        "[::1]",
        "[::1]:80",
        "[::1",
        "a b",
        "a/b",
        "a\\b",
        "a_b",
        "a\tb",
        "<a>",
        "\"",
        "ü",
        "a.:80",
        "127.0.0.1",
    ] {
        all.push(says(&format!("Host: {host}"), format!("GET /shop HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    }
    for header in [
        "Connection: close, x\r\n",
        "Connection: CLOSED\r\n",
        "Connection: keep-alive\r\n",
        "Connection: x\r\n",
        "Connection: close\r\nConnection: keep-alive\r\n",
        "X_Y: z\r\n",
        "X(: z\r\n",
        "X\r\n",
        "X:\r\n",
        "X: a\r\r\n",
        "X: a\rb\r\n",
        ": x\r\n",
        "\tX: y\r\n",
        "X\t: y\r\n",
        "X: \x7f\x01\r\n",
        "X\x7f: y\r\n",
        "Host\r\n",
        "-: -\r\n",
        "Keep-Alive: 5\r\n",
        "Accept-Encoding: gzip\r\n",
        "Upgrade: h2c\r\n",
    ] {
        all.push(get("/", header));
        let old = format!("GET / HTTP/1.0\r\n{header}\r\n");
        all.push(says(&format!("HTTP/1.0 {header:?}"), old));
    }
    for name in [
        "Host",
        "If-Modified-Since",
        "If-Match",
        "If-Range",
        "Content-Length",
        "Content-Range",
        "Transfer-Encoding",
        "Expect",
        "Authorization",
        "Range",
        "User-Agent",
        "Referer",
        "Cookie",
        "Content-Type",
        "Upgrade",
    ] {
        let twice = format!("{name}: 0\r\n{}: 0\r\n", name.to_lowercase());
        all.push(says(&format!("{name} twice"), format!("GET / HTTP/1.1\r\n{twice}Host: a\r\n\r\n")));
    }
    all
}

fn targets() -> Vec<Probe> {
    let paths = [
        "/",
        "//",
        "/.",
        "/./",
        "/..",
        "/../",
        "/../../etc/passwd",
        "/../../../../../../etc/passwd",
        "/shop/../..",
        "/shop/../../style.css",
        "/shop/../style.css",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/..%2f..%2fetc/passwd",
        "/.%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "/..%5c..%5cetc",
        "/..\\..\\etc",
        "/..%c0%af..%c0%afetc/passwd",
        "/%00",
        "/style.css%00",
        "/style.css%00.html",
        "/style.css%0a",
        "/%",
        "/%2",
        "/%zz",
        "/%2?x",
        "/style.css/",
        "/style.css/x",
        "/style.css?",
        "/style.css?a=b",
        "/style.css#x",
        "/style.css?a#b?c",
        "/style.css%3Fa",
        "/%73tyle.css",
        "/style%2ecss",
        "/.%2fstyle.css",
        "/shop",
        "/shop?",
        "/shop?a=b&c",
        "/shop?a#b",
        "/shop#a?b",
        "/shop//",
        "//shop",
        "/shop/.",
        "/shop/..",
        "/without",
        "/without/",
        "/without/?a",
        "/odd/",
        "/odd/index.html",
        "/none",
        "/none/",
        "/none/x",
        "/a%20b",
        "/a%20b/c'd.txt",
        "/a b",
        "/a%20b/",
        "/%22q%22%20%c3%bc%7b%7d%25",
        "/\"q\"%20ü{}%25",
        "/\"q\"%20\u{fc}{}%25/x.txt",
        "/.hidden",
        "/..html",
        "/UPPER.HTML",
        "/upper.html",
        "/a+b;c=d,e@f&g.txt",
        "/a%2bb;c=d,e@f&g.txt",
        "/no-ending",
        "/link.css",
        "/linked",
        "/linked/",
        "/fifo",
        "/index.html",
        "/index.html/",
        "/empty.txt",
        "*",
        "?",
        "?a",
        "#",
        "x",
        "\\",
        "/\x7f",
        "/\x1f",
        "/\u{80}",
        "/index%2Ehtml",
        "/%69ndex.html?%zz",
    ];
    let mut all = Vec::new();
    for path in paths {
        all.push(get(path, ""));
    }
    for path in ["/", "/shop", "/style.css", "/none", "/none/", "/without/", "/fifo"] {
        for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "MKCOL", "TRACE", "CONNECT"] {
            let line = format!("{method} {path}");
            all.push(says(&line, request(&line, "")));
        }
    }
    let long = format!("/{}", "a".repeat(300));
    all.push(get(&long, ""));
    all.push(get(&"/a".repeat(2100), ""));
    all
}

fn bodies() -> Vec<Probe> {
    let mut all = Vec::new();
    let big = "b".repeat(1_048_577);
    for (line, headers, body) in [
        ("POST /style.css", "Content-Length: 5\r\n", "hello"),
        ("POST /none", "Content-Length: 5\r\nConnection: close\r\n", "hello"),
        ("GET /style.css", "Content-Length: 5\r\n", "hello"),
        ("GET /style.css", "Content-Length: 0\r\n", ""),
        ("GET /style.css", "Content-Length: 5\r\nConnection: close\r\n", "hello"),
        ("GET /style.css", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
        ("GET /style.css", "Expect: 100-Continue\r\n", ""),
        ("GET /style.css", "Expect: 200-ok\r\n", ""),
        ("GET /style.css", "Expect: 100-continue\r\nIf-None-Match: *\r\n", ""),
        ("GET /none", "Expect: 100-continue\r\n", ""),
        ("GET /shop", "Expect: 100-continue\r\n", ""),
        ("POST /style.css", "Expect: 100-continue\r\nContent-Length: 2\r\n", "ab"),
        ("GET /style.css", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("GET /style.css", "Transfer-Encoding: CHUNKED\r\n", "5;x=y\nhello\n0\nA: b\n\n"),
        ("GET /style.css", "Transfer-Encoding: chunked\r\n", "x\r\n"),
        ("GET /style.css", "Transfer-Encoding: chunked\r\n", "5\r\nhelloworld\r\n"),
        ("GET /none", "Transfer-Encoding: chunked\r\n", "x\r\n"),
        ("GET /shop", "Transfer-Encoding: chunked\r\n", "x\r\n"),
        ("POST /style.css", "Transfer-Encoding: chunked\r\n", "x\r\n"),
        ("GET /style.css", "Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\n"),
        ("GET /", "Transfer-Encoding: gzip, chunked\r\n", ""),
        ("GET /", "Transfer-Encoding: identity\r\n", ""),
        ("GET /", "Transfer-Encoding:\r\n", ""),
        ("GET /", "Content-Length:\r\n", ""),
        ("GET /", "Content-Length: +5\r\n", "hello"),
        ("GET /", "Content-Length: -5\r\n", "hello"),
        ("GET /", "Content-Length: 5 5\r\n", "hello"),
        ("GET /", "Content-Length: 0x5\r\n", "hello"),
        ("GET /", "Content-Length: 9223372036854775807\r\n", "hello"),
        ("GET /", "Content-Length: 9223372036854775808\r\n", "hello"),
        ("GET /", "Content-Length: 1048577\r\n", &big),
        ("POST /style.css", "Content-Length: 1048576\r\n", &big[1..]),
        ("POST /none", "Content-Length: 1048577\r\nExpect: 100-continue\r\n", &big),
        ("TRACE /", "Content-Length: 5\r\n", "hello"),
        ("GET /", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "hello"),
        ("GET /", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
    ] {
        all.push(says(&format!("{line} {headers:?} {} bytes", body.len()), request(line, headers) + body));
    }
    let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    all.push(says("chunks in HTTP/1.0", old));
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "c".repeat(50_000));
    let chunks =
        request("POST /style.css", "Transfer-Encoding: chunked\r\n") + &chunk.repeat(30) + "0\r\n\r\n";
    all.push(says("1.5 MB in chunks", chunks));
    all
}

fn long_heads() -> Vec<Probe> {
    let line = |length: usize| format!("X: {}\r\n", "a".repeat(length - 5));
    let path = |length: usize| format!("GET /{}", "a".repeat(length - "GET / HTTP/1.1\r\n".len()));
    let mut all = Vec::new();
    for length in [900, 1000, 1023, 1024, 1025, 8191, 8192, 8193] {
        all.push(says(&format!("a request line of {length} bytes"), request(&path(length), "")));
        all.push(says(&format!("a header of {length} bytes"), request("GET /", &line(length))));
        let both = request(&path(length), &line(8192).repeat(2));
        all.push(says(&format!("a request line of {length} bytes and two longest headers"), both));
    }
    for (length, count) in
        [(4000, 8), (4000, 9), (7000, 4), (7000, 5), (8190, 4), (8192, 4), (8192, 5), (100, 340)]
    {
        let name = format!("{count} headers of {length} bytes");
        all.push(says(&name, request("GET /", &line(length).repeat(count))));
    }
    all.push(says("1000 line ends, then a request", "\r\n".repeat(500) + &request("GET /", "")));
    all.push(says("5000 line ends, then a long request", "\n".repeat(5000) + &request(&path(8192), "")));
    let two = request(&path(600), "") + &request(&path(8192), &line(8192).repeat(3));
    all.push(says("a short request, then a long one", two));
    let kept = request(&path(3000), &line(8192).repeat(3)) + &request(&path(3000), &line(8192).repeat(3));
    all.push(says("two long requests", kept));
    all
}

fn browsers() -> Vec<Probe> {
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1) Opera 9",
        "MSIE 8",
        "MSIE 8..",
    ];
    let mut all = Vec::new();
    for agent in agents {
        let header = format!("User-Agent: {agent}\r\n");
        all.extend([get("/none", &header), get("/shop", &header), get("/", &header)]);
        all.push(get("/", &format!("{header}Bro ken\r\n")));
        all.push(get("/", &format!("Bro ken\r\n{header}")));
    }
    all
}
