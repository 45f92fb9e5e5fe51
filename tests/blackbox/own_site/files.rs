//! The files of a folder: all of each, nothing outside, and what it costs.

use super::twins::{BIG, Folder, TYPES, Twins};
use crate::fallback::compare::{Probe, Step, play};
use crate::support::backend::Backend;
use crate::support::conn::{End, connect, fin, recv, recv_head, recv_to_end, send};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, millis, noise, secs, within};
use std::net::SocketAddr;

fn serve(folder: &Folder, more: &str) -> (Backend, Plugin) {
    let backend = Backend::echo();
    let options = format!("obfs=http;failover=dir:{}{more}", folder.root.display());
    let server = server(Ours, backend.addr, &options);
    (backend, server)
}

/// The status, and all that came.
fn get(addr: SocketAddr, target: &[u8]) -> (String, Vec<u8>) {
    let visitor = connect(addr);
    let request = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat();
    send(&visitor, &request);
    let (answer, end) = recv_to_end(&visitor, STEP);
    assert_eq!(end, End::Fin, "{}", String::from_utf8_lossy(target));
    let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned();
    (status, answer)
}

#[test]
fn nothing_outside_the_folder_can_be_had() {
    within(secs(60), || {
        let folder = Folder::new();
        let (_backend, server) = serve(&folder, "");
        let secret = std::fs::read("/etc/passwd").expect("a file that everybody may read");
        for (target, wanted) in [
            // out through dots, written in all ways
            (&b"/../outside.txt"[..], "400"),
            (b"/../../../../../../../../etc/passwd", "400"),
            (b"/shop/../../outside.txt", "400"),
            (b"/%2e%2e/outside.txt", "400"),
            (b"/%2e%2e%2foutside.txt", "400"),
            (b"/..%2foutside.txt", "400"),
            (b"/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/.%2e/etc/passwd", "400"),
            (b"/shop/%2e%2e/%2e%2e/outside.txt", "400"),
            (b"//../outside.txt", "400"),
            (b"/./../outside.txt", "400"),
            (b"http://a/../outside.txt", "400"),
            // once, not twice
            (b"/%252e%252e/outside.txt", "404"),
            (b"/..%5coutside.txt", "404"),
            (b"/..\\outside.txt", "404"),
            (b"/..%c0%afoutside.txt", "404"),
            (b"/\xc0\xae\xc0\xae/outside.txt", "404"),
            (b"/%00/../outside.txt", "400"),
            (b"/style.css%00", "400"),
            (b"/etc%2fpasswd", "403"),
            // out through links
            (b"/out.txt", "403"),
            (b"/up/outside.txt", "403"),
            (b"/up/", "403"),
            (b"/up", "403"),
            (b"/etc", "403"),
            (b"/etc/passwd", "403"),
            (b"/loop", "403"),
            // absolute paths are those of the folder
            (b"/outside.txt", "404"),
            (b"//etc/passwd", "403"),
            (b"///proc/self/environ", "404"),
            // and through links that stay inside
            (b"/link.css", "200"),
            (b"/linked/", "200"),
            (b"/up/root/style.css", "200"),
        ] {
            let (status, answer) = get(server.addr, target);
            let shown = String::from_utf8_lossy(target).into_owned();
            assert_eq!(status, wanted, "{shown}");
            assert!(!answer.windows(8).any(|w| w == b"outside\n"), "{shown}");
            assert!(
                !answer.windows(secret.len().min(20)).any(|w| w == &secret[..secret.len().min(20)]),
                "{shown}"
            );
        }
        assert!(server.child.peek_exit().is_none());
    });
}

/// A folder that is swapped for another: a deployment.
#[test]
fn the_folder_may_be_a_link_that_changes() {
    within(secs(60), || {
        let dir = TempDir::new("releases");
        dir.write("1/page.txt", "one\n");
        dir.write("2/page.txt", "two\n");
        let current = dir.path().join("current");
        std::os::unix::fs::symlink("1", &current).expect("a link");
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("failover=dir:{}", current.display()));
        assert!(get(server.addr, b"/page.txt").1.ends_with(b"\r\n\r\none\n"));
        std::fs::remove_file(&current).expect("remove the link");
        assert_eq!(get(server.addr, b"/page.txt").0, "404");
        std::os::unix::fs::symlink("2", &current).expect("a link");
        assert!(get(server.addr, b"/page.txt").1.ends_with(b"\r\n\r\ntwo\n"));
    });
}

/// Whoever comes for a big file gets all of it, also while others take nothing of theirs; none of
/// them costs the file's size.
#[test]
fn big_files_and_slow_readers() {
    within(secs(120), || {
        let folder = Folder::new();
        let (_backend, server) = serve(&folder, "");
        let request = b"GET /big.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let whole = folder.read("big.bin");
        assert_eq!(whole.len(), BIG);
        let before = peak_memory(&server);
        let slow: Vec<_> = (0..40)
            .map(|_| {
                let visitor = connect(server.addr);
                send(&visitor, request);
                // It is being answered.
                assert!(recv_head(&visitor).starts_with("HTTP/1.1 200 OK\r\n"));
                visitor
            })
            .collect();
        for _ in 0..3 {
            let (_, answer) = get(server.addr, b"/big.bin");
            let body = answer.len() - BIG;
            assert_same("the big file", &answer[body..], &whole);
        }
        let more = peak_memory(&server).saturating_sub(before);
        // 64 KiB each, and as much again for who knows what.
        assert!(more < 6 << 20, "{} KiB more", more / 1024);
        // The slow ones are still there.
        for visitor in slow.into_iter().take(2) {
            assert_same("a slow download", &recv(&visitor, BIG), &whole);
        }
    });
}

/// The most memory that it ever had, in bytes.
fn peak_memory(server: &Plugin) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// A visitor who closes its half early is given up by nginx once it has had to wait for its buffers.
#[test]
fn a_download_ends_with_the_visitors_end() {
    within(secs(120), || {
        need!("nginx");
        let folder = Folder::new();
        let twins = folder.twins("");
        let whole = folder.read("big.bin");
        for addr in [twins.nginx, twins.ours] {
            let is_cut = || {
                let visitor = connect(addr);
                send(&visitor, b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
                fin(&visitor);
                recv_head(&visitor);
                // The pause lets the buffers fill; where the machine was too slow for it, once more.
                std::thread::sleep(millis(500));
                let (body, end) = recv_to_end(&visitor, STEP);
                assert_eq!(end, End::Fin);
                assert_same("what came", &body, &whole[..body.len()]);
                body.len() < BIG
            };
            assert!((0..10).any(|_| is_cut()), "{addr}: all of it came");
        }
    });
}

/// A file that changes is another one, and one that shrinks under the reader's hands cuts the answer off.
#[test]
fn files_that_change() {
    within(secs(60), || {
        let folder = Folder::new();
        let (_backend, server) = serve(&folder, "");
        let etag = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer).into_owned();
            text.lines().find_map(|line| line.strip_prefix("ETag: ").map(str::to_owned)).expect("a tag")
        };
        let first = etag(&get(server.addr, b"/shop/").1);
        folder.dir.write("root/shop/index.html", "the new shop\n");
        let (_, answer) = get(server.addr, b"/shop/");
        assert!(answer.ends_with(b"\r\n\r\nthe new shop\n"));
        assert_ne!(etag(&answer), first);

        let visitor = connect(server.addr);
        send(&visitor, b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        recv_head(&visitor);
        let file = std::fs::File::options().write(true).open(folder.root.join("big.bin")).expect("open");
        file.set_len(1000).expect("shorten");
        let (body, end) = recv_to_end(&visitor, STEP);
        assert_eq!(end, End::Fin);
        assert!(body.len() < BIG);
        assert_eq!(get(server.addr, b"/shop/").0, "200");
    });
}

/// The table of types is nginx's.
#[test]
fn every_type_is_nginx_s() {
    within(secs(120), || {
        need!("nginx");
        let table = std::fs::read_to_string(TYPES).expect("nginx's types");
        let (_, table) = table.split_once('{').expect("a block");
        let endings: Vec<&str> =
            table.split(['}', ';']).flat_map(|line| line.split_whitespace().skip(1)).collect();
        assert!(endings.len() > 90, "{endings:?}");
        let dir = TempDir::new("types");
        let mut requests = String::new();
        for ending in &endings {
            dir.write(&format!("x.{ending}"), "x");
            requests.push_str(&format!("GET /x.{ending} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        requests.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let root = dir.path().display();
        let twins = Twins::start(&format!("root {root};"), &format!("failover=dir:{root}"));
        let probe = Probe { name: "types".into(), steps: vec![Step::Send(requests.into())] };
        let text = |addr| String::from_utf8_lossy(&play(addr, &probe).0.bytes).into_owned();
        let (wanted, got) = (text(twins.nginx), text(twins.ours));
        for (wanted, got) in wanted.lines().zip(got.lines()) {
            assert_eq!(got, wanted);
        }
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), endings.len());
    });
}

/// Inside TLS that is ours.
#[test]
fn a_folder_inside_tls() {
    within(secs(60), || {
        need!("openssl", "curl");
        let folder = Folder::new();
        let certificate = Certificate::new(NAME);
        let more = format!(";mode=websocket;path=/tunnel;{}", certificate.for_server());
        let backend = Backend::echo();
        let options = format!("failover=dir:{}{more}", folder.root.display());
        let server = server(Ours, backend.addr, &options);
        let host = format!("{NAME}:{}:{}", server.addr.port(), server.addr.ip());
        let base = format!("https://{NAME}:{}", server.addr.port());
        let ca = certificate.cert.display().to_string();
        let fetch = |path: &str, more: &[&str]| {
            let url = format!("{base}{path}");
            curl(&[&["--cacert", &ca, "--resolve", &host, &url], more].concat())
        };
        assert_same("the page", &fetch("/", &[]).body, &folder.read("index.html"));
        assert_same("the big file", &fetch("/big.bin", &[]).body, &folder.read("big.bin"));
        assert_same(
            "a part",
            &fetch("/big.bin", &["-r", "1000-299999"]).body,
            &folder.read("big.bin")[1000..300_000],
        );
        assert_eq!(fetch("/none", &[]).status, "404");
        let moved = fetch("/shop?a=b", &["-i"]);
        let moved = String::from_utf8_lossy(&moved.body).into_owned();
        assert!(moved.contains(&format!("\r\nLocation: {base}/shop/?a=b\r\n")), "{moved}");
        assert_eq!(backend.accepted(), 0);
    });
}

/// A body that nobody reads does not disturb the next request.
#[test]
fn bodies_are_thrown_away() {
    within(secs(60), || {
        let folder = Folder::new();
        let (_backend, server) = serve(&folder, "");
        let visitor = connect(server.addr);
        for (i, body) in [noise(1000, 1), noise(500_000, 2), noise(1_048_576, 3)].iter().enumerate() {
            let head =
                format!("POST /style.css HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            send(&visitor, &[head.as_bytes(), body].concat());
            let head = recv_head(&visitor);
            assert!(head.starts_with("HTTP/1.1 405 Not Allowed\r\n"), "body {i}: {head}");
            recv(&visitor, length(&head));
        }
        send(&visitor, b"GET /shop/ HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(length(&recv_head(&visitor)), 9);
        assert_eq!(recv(&visitor, 9), b"the shop\n");
    });
}

fn length(head: &str) -> usize {
    let value = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    value.parse().expect("a number")
}
