//! Who answers which TLS on a server with a certificate: the server itself, the website, or another
//! server by name.

use crate::simple_obfs_tls::{tls_differences, tls_probes};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_head, recv_to_end, send};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, SimpleObfs, V2ray, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::site::Site;
use crate::support::tls_site::{PAGE, TlsSite};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, noise, secs, within};
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;

/// The subject of the certificate that openssl is shown. Certificates of servers are their own issuers.
fn subject(addr: SocketAddr, words: &[&str]) -> String {
    let output = Command::new(peers::path("openssl"))
        .args(["s_client", "-connect", &addr.to_string()])
        .args(words)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("run openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("subject="));
    line.unwrap_or("nobody").replace(' ', "")
}

/// Names that have a route go there, and our own are ours; the rest is the website's, as are hellos that
/// no client would send.
#[test]
fn names_and_offers_decide_who_answers() {
    within(secs(60), || {
        need!("openssl", "nginx", "ss-v2ray-plugin", "obfs-local");
        let echo = Backend::echo();
        let ours = Certificate::new(NAME);
        let [site, shop, blogs] = ["site.example", "shop.example", "blog.example"]
            .map(|name| TlsSite::with(&Certificate::new(name), name));
        let options = format!(
            "{};obfs-tls-host=shop.example;failover={};failover-tls={};sni=shop.example:{};sni=*.blog.example:{}",
            ours.for_server(),
            site.plain,
            site.addr,
            shop.addr,
            blogs.addr,
        );
        let server = server(Ours, echo.addr, &options);
        for (words, answers) in [
            (&["-servername", NAME, "-alpn", "http/1.1"][..], NAME),
            (&["-servername", NAME], NAME),
            (&["-servername", "LIVE.example.com"], NAME),
            (&["-servername", NAME, "-tls1_2"], NAME),
            (&["-servername", NAME, "-alpn", "h2,http/1.1"], "site.example"),
            (&["-servername", NAME, "-alpn", "http/1.0"], "site.example"),
            (&["-servername", NAME, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], "site.example"),
            (&["-noservername"], "site.example"),
            (&["-servername", "other.example"], "site.example"),
            (&["-servername", "blog.example"], "site.example"),
            (&["-servername", "shop.example"], "shop.example"),
            (&["-servername", "a.b.blog.example"], "blog.example"),
        ] {
            assert_eq!(subject(server.addr, words), format!("CN={answers}"), "{words:?}");
        }
        // Names are routed without a certificate of ours, too, beside the look-alike of TLS.
        let only_routes = format!("obfs=tls;failover={};sni=shop.example:{}", site.addr, shop.addr);
        let without = self::server(Ours, echo.addr, &only_routes);
        for (name, answers) in [("shop.example", "shop.example"), (NAME, "site.example")] {
            assert_eq!(subject(without.addr, &["-servername", name]), format!("CN={answers}"), "{name}");
        }
        let app = client(SimpleObfs, without.addr, "obfs=tls;obfs-host=shop.example");
        assert_echo(&connect(app.addr), &noise(100_000, 1));
        // Nor does that keep anybody out.
        for (make, options) in [
            (Ours, format!("mode=websocket;{}", ours.for_client())),
            (V2ray, ours.for_client()),
            (SimpleObfs, "obfs=tls;obfs-host=shop.example".to_owned()),
        ] {
            let client = client(make, server.addr, &options);
            assert_echo(&connect(client.addr), &noise(100_000, 1));
        }
    });
}

/// An upgrade on the tunnel's own path, in the clear.
const UPGRADE: &[u8] = b"GET /stream HTTP/1.1\r\nHost: live.example.com\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Where `tls` is written beside the disguise, whoever comes without TLS is a visitor of the port for
/// HTTPS, at once and later on its connection. `mode=auto` takes both, unless it is told `tls=only`.
#[test]
fn where_tls_is_written_nothing_comes_in_the_clear() {
    within(secs(90), || {
        need!("openssl", "nginx");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let (site, tls_site) = (Site::start(), TlsSite::with(&certificate, PAGE));
        let trusted = certificate.for_client();
        for (options, open) in [
            ("mode=websocket;", false),
            ("mode=httpupgrade;", false),
            ("tls=only;", false),
            ("mode=auto;", true),
            ("", true),
        ] {
            for (failover, page) in [
                (String::new(), "400 Bad Request"),
                (format!("failover-http={}", site.addr), "404 Not Found"),
                (format!("failover-tls={}", tls_site.addr), "400 Bad Request"),
            ] {
                // What a server takes in the clear it takes with any website behind.
                let written = certificate.for_server();
                let written = if options == "tls=only;" { written.replacen("tls;", "", 1) } else { written };
                let server = server(Ours, echo.addr, &format!("{options}path=/stream;{written};{failover}"));
                let line = server.child.wait_text(if open { "in TLS or not" } else { "in TLS alone" });
                let first = connect(server.addr);
                send(&first, UPGRADE);
                let answer = recv_head(&first);
                assert_eq!(
                    answer.starts_with("HTTP/1.1 101 "),
                    open,
                    "{options}{failover}: {answer}\n{line}"
                );
                if open {
                    continue;
                }
                assert!(answer.starts_with(&format!("HTTP/1.1 {page}")), "{options}{failover}: {answer}");
                // The upgrade behind a visit.
                let visitor = connect(server.addr);
                send(&visitor, &[b"GET / HTTP/1.1\r\nHost: live.example.com\r\n\r\n", UPGRADE].concat());
                let (answers, _) = recv_to_end(&visitor, secs(2));
                let answers = String::from_utf8_lossy(&answers);
                assert!(!answers.contains(" 101 ") && answers.starts_with("HTTP/1.1 "), "{answers}");
                for mode in ["websocket", "httpupgrade"] {
                    let options = format!("mode={mode};path=/stream;{trusted}");
                    assert_echo(&connect(client(Ours, server.addr, &options).addr), b"in TLS");
                }
            }
        }
    });
}

/// Beside real TLS a hello of `obfs=tls` is taken for the names that `obfs-tls-host` gives, and else it is
/// any other hello.
#[test]
fn beside_tls_the_look_alike_is_taken_for_names_of_its_own() {
    within(secs(60), || {
        need!("openssl", "nginx", "obfs-local");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, PAGE);
        let base = format!("{};path=/stream;failover-tls={}", certificate.for_server(), site.addr);
        let taken = |make, server: SocketAddr, name: &str| {
            let client = client(make, server, &format!("obfs=tls;obfs-host={name}"));
            let tunnel = connect(client.addr);
            send(&tunnel, b"is there anybody?");
            tunnel.set_read_timeout(Some(secs(5))).expect("a limit");
            let mut echo = [0; 17];
            (&tunnel).read_exact(&mut echo).is_ok() && &echo == b"is there anybody?"
        };
        for (names, one, other) in [
            ("", false, false),
            (";obfs-host=one.example", false, false),
            (";obfs-tls-host=one.example", true, false),
            (";obfs-tls-host=none.example,ONE.example;obfs-tls-host=other.example", true, true),
        ] {
            let echo = Backend::echo();
            let server = server(Ours, echo.addr, &format!("{base}{names}"));
            for make in [Ours, SimpleObfs] {
                assert_eq!(taken(make, server.addr, "one.example"), one, "{names} {make:?}");
                assert_eq!(taken(make, server.addr, "other.example"), other, "{names} {make:?}");
                assert!(!taken(make, server.addr, NAME), "{names} {make:?}");
            }
            if names.contains("tls-host") {
                let told = server.child.lines().iter().any(|line| line.contains("are not taken"));
                assert!(!told, "{}", server.child.show_log());
            } else {
                server.child.wait_text("clients with obfs=tls are not taken beside TLS; obfs-tls-host=NAME");
                let first = server.child.lines().swap_remove(0);
                assert!(first.contains("listening on"), "the start-up line comes first: {first}");
                assert_eq!(echo.accepted(), 0);
            }
            assert!(!server.child.lines().iter().any(|line| line.contains("one.example")));
        }
        // A name that visitors ask for hides nothing.
        let echo = Backend::echo();
        let named = server(Ours, echo.addr, &format!("{base};obfs-tls-host={NAME}"));
        named.child.wait_text("the certificate has a name of obfs-tls-host");
    });
}

/// With the website's own TLS behind the port, nothing that is sent to it but a client's hello tells it
/// from the website.
#[test]
fn no_tls_probe_tells_the_port_from_the_site() {
    within(secs(180), || {
        need!("openssl", "nginx", "curl");
        let echo = Backend::echo();
        let certificate = Certificate::rsa(NAME);
        let site = TlsSite::with(&certificate, PAGE);
        let options = format!(
            "{};path=/secret;failover={};failover-tls={};failover-http={}",
            certificate.for_server(),
            site.plain,
            site.addr,
            site.addr,
        );
        let server = server(Ours, echo.addr, &options);
        let found = tls_differences(site.addr, server.addr, &tls_probes());
        assert!(found.is_empty(), "{}\n{}", found.join("\n"), server.child.show_log());
        assert_eq!(echo.accepted(), 0);
    });
}

/// Browsers speak HTTP/2 where the website has it.
#[test]
fn http2_is_offered_where_the_website_speaks_it() {
    within(secs(60), || {
        need!("openssl", "nginx", "curl", "ss-v2ray-plugin");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, PAGE);
        let cacert = certificate.cert.display().to_string();
        for (h2, offered, version) in [
            (format!("failover={};failover-h2={}", site.plain, site.h2), "--http2", "2"),
            (format!("failover={};failover-h2={}", site.plain, site.h2), "--http1.1", "1.1"),
            (format!("failover={};failover-h2", site.h2), "--http2", "2"),
            (format!("failover={}", site.plain), "--http2", "1.1"),
        ] {
            let server = server(Ours, echo.addr, &format!("{};{h2}", certificate.for_server()));
            let port = server.addr.port();
            let resolve = format!("{NAME}:{port}:127.0.0.1");
            let url = format!("https://{NAME}:{port}/");
            let words = [offered, "--resolve", &resolve, "--cacert", &cacert, &url];
            let page =
                curl(&[&words[..], &["--write-out", "status=%{http_code} %{http_version}\n"]].concat());
            assert_eq!(page.status, format!("200 {version}"), "{h2}");
            assert_eq!(page.body, PAGE.as_bytes(), "{h2}");
            for make in [Ours, V2ray] {
                let mode = if make == Ours { "mode=websocket;" } else { "" };
                let client = client(make, server.addr, &format!("{mode}{}", certificate.for_client()));
                assert_echo(&connect(client.addr), &noise(100_000, 1));
            }
        }
    });
}

/// Two that exclude one another, or of which one says nothing without the other, are named both.
#[test]
fn contradictions_are_refused_and_both_are_named() {
    within(secs(60), || {
        for (options, one, other) in [
            ("server;mode=auto;obfs=http", "obfs", "mode=auto"),
            ("server;obfs=tls;tls;cert=a;key=b", "tls", "obfs=tls"),
            ("server;obfs=http;tls;cert=a;key=b", "tls", "obfs=http"),
            ("server;sni=a.example:127.0.0.1:1", "sni", "tls"),
            ("server;obfs=http;sni=a.example:127.0.0.1:1", "sni", "tls"),
            ("server;tls;cert=a;key=b;sni=a.example:127.0.0.1", "sni", "NAME:HOST:PORT"),
            ("server;failover=127.0.0.1:1;failover-h2", "failover-h2", "tls"),
            ("server;failover-http=127.0.0.1:1", "failover-http", "tls"),
            ("server;tls;cert=a;key=b;failover-h2", "failover-h2", "failover"),
            ("client;mode=websocket;sni=a.example", "sni", "tls"),
            ("client;mode=websocket;tls;sni=*.example", "sni", "host name"),
        ] {
            let vars = Vars {
                remote: ("127.0.0.1".into(), free_port()),
                local: ("127.0.0.1".into(), free_port()),
                options: options.to_owned(),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{options}: {}", child.show_log());
            child.wait_line(options, |line| line.contains(one) && line.contains(other));
            assert_eq!(child.lines().len(), 1, "{options}: {}", child.show_log());
        }
    });
}
