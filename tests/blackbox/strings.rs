//! Option strings, names, addresses and files as people have them, beside the programs that they were
//! written for. What each option does with every odd spelling is in the configuration's own tests.

use crate::simple_obfs_options::{command, installed_as, loopback, started};
use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect, recv, recv_head, send};
use crate::support::netns;
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, SimpleObfs, V2ray, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{secs, within};
use std::net::SocketAddr;

/// What a client with these options says first, as far as the options decide it; the server's port left out.
#[track_caller]
fn first_words(make: Make, options: &str) -> Vec<String> {
    let (remote, accepted) = Backend::manual();
    let client = client(make, remote.addr, options);
    let app = connect(client.addr);
    send(&app, b"what an application says first");
    let stream = next(&accepted);
    let first = recv(&stream, 1);
    if first == [0x16] {
        return vec!["TLS, or what looks like it".to_owned()];
    }
    let port = format!(":{}", remote.addr.port());
    let head = format!("G{}", recv_head(&stream)).replace(&port, ":PORT");
    head.lines()
        .filter(|line| line.starts_with("GET ") || line.starts_with("Host: "))
        .map(str::to_owned)
        .collect()
}

/// Strings that the other program takes, and means the same by.
const TAKEN: &[(Make, &str)] = &[
    (SimpleObfs, "obfs=http;obfs-host=a.com"),
    (SimpleObfs, "obfs=tls;obfs-host=a.com"),
    (SimpleObfs, "obfs=http;obfs-host=a%2ecom"),
    (SimpleObfs, "obfs=http;obfs-host=a.com;fast-open=1;zzz=1"),
    (SimpleObfs, ";;obfs=http;;obfs-host=a.com;;"),
    (SimpleObfs, "obfs=http;obfs-host=a.com;failover=127.0.0.1:80;client"),
    (V2ray, "host=a.com"),
    (V2ray, "host=a.com:443"),
    (V2ray, "host=例子.测试"),
    (V2ray, "host="),
    (V2ray, "path="),
    (V2ray, "host=;path="),
    (V2ray, "mux="),
    (V2ray, "mux"),
    (V2ray, "mux=true"),
    (V2ray, "mux=abc;host=a.com"),
    (V2ray, "mux=1.5"),
    (V2ray, "loglevel=;host=a.com"),
    (V2ray, "host=a.com;host=b.com"),
    (V2ray, "path=x"),
    (V2ray, "path=/中文"),
    (V2ray, "path=/a b"),
    (V2ray, "path=/a%20b"),
    (V2ray, "path=/a|b!c"),
    (V2ray, "path=/a!b"),
    (V2ray, "path=/a^b{c}\"d\""),
    (V2ray, "path=/a?ed=0"),
    (V2ray, "tls;host=a.com;key=/no/such/file;client"),
];

#[test]
fn what_the_other_program_takes_is_taken_and_means_the_same() {
    within(secs(120), || {
        need!("obfs-local", "ss-v2ray-plugin");
        for (make, options) in TAKEN {
            // The other programs know neither word; we would be servers by some of these options.
            let theirs = options.trim_end_matches(";client");
            let wanted = first_words(*make, theirs);
            let got = first_words(Ours, options);
            assert_eq!(got, wanted, "{make:?}: {options}");
        }
    });
}

/// What copying adds to a string: the peers take some of it, and misread the rest.
#[test]
fn what_copying_adds_is_left_out_with_a_warning() {
    within(secs(60), || {
        let (remote, _accepted) = Backend::manual();
        let wanted = first_words(Ours, "obfs=http;obfs-host=www.bing.com");
        for (options, warned) in [
            ("obfs=http; obfs-host=www.bing.com", "spaces"),
            ("obfs=http;obfs-host=www.bing.com\r\n", "line ends"),
            ("obfs=http;obfs-host=www.bing.com;\r\n", "line ends"),
            ("obfs=http;obfs-host=\"www.bing.com\"", "quotes"),
            ("'obfs=http;obfs-host=www.bing.com'", "quotes"),
            ("OBFS=HTTP;Obfs_Host=www.bing.com; ", "spaces"),
            ("obfs-local%3Bobfs%3Dhttp%3Bobfs-host%3Dwww.bing.com", "percent-encoded"),
            ("obfs=http;obfs-host=www.bing.com;obfs=tls", "more than once"),
        ] {
            let client = client(Ours, remote.addr, options);
            assert!(client.child.wait_text(warned).contains("WARN"), "{options}");
            drop(client);
            assert_eq!(first_words(Ours, options), wanted, "{options}");
        }
    });
}

/// Paths that need escapes, and that have them, between v2ray-plugin's halves and ours.
#[test]
fn paths_are_compared_decoded() {
    within(secs(120), || {
        need!("ss-v2ray-plugin");
        let echo = Backend::echo();
        for (server_make, server_path, client_make, client_path) in [
            (Ours, "/中文", V2ray, "/中文"),
            (V2ray, "/中文", Ours, "/中文"),
            (Ours, "/a b", V2ray, "/a b"),
            (V2ray, "/a b", Ours, "/a b"),
            (Ours, "/a|b^c", V2ray, "/a|b^c"),
            (V2ray, "/a|b^c", Ours, "/a|b^c"),
            (V2ray, "/a#b", Ours, "/a#b"),
            (V2ray, "/%zz", Ours, "/%zz"),
            (Ours, "/a%20b", V2ray, "/a%20b"),
            (Ours, "/%E4%B8%AD", V2ray, "/中"),
            (Ours, "/a%20b?ed=1", Ours, "/a b"),
        ] {
            let server = server(server_make, echo.addr, &format!("path={server_path}"));
            let client = client(client_make, server.addr, &format!("host=a.com;path={client_path}"));
            assert_echo(&connect(client.addr), b"the same path");
        }
        let server = server(Ours, echo.addr, "mode=httpupgrade;path=/a b");
        let stream = connect(server.addr);
        send(&stream, b"GET /a+b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(!recv_head(&stream).contains(" 101 "));
    });
}

/// A name beyond ASCII: simple-obfs sends it as it is, the others in Punycode, and a server takes both.
#[test]
fn names_beyond_ascii_are_one_name_in_both_spellings() {
    within(secs(90), || {
        need!("obfs-local", "ss-v2ray-plugin");
        let echo = Backend::echo();
        for name in ["例子.测试", "xn--fsqu00a.xn--0zwm56d"] {
            let server = server(Ours, echo.addr, &format!("obfs-host={name};mux=1"));
            for (make, options) in [
                (SimpleObfs, "obfs=http;obfs-host=例子.测试"),
                (SimpleObfs, "obfs=tls;obfs-host=例子.测试"),
                (SimpleObfs, "obfs=http;obfs-host=xn--fsqu00a.xn--0zwm56d"),
                (V2ray, "host=例子.测试"),
                (Ours, "obfs=http;obfs-host=例子.测试"),
                (Ours, "obfs=tls;obfs-host=例子.测试"),
                (Ours, "mode=websocket;host=例子.测试"),
            ] {
                let client = client(make, server.addr, options);
                assert_echo(&connect(client.addr), options.as_bytes());
            }
        }
    });
}

/// An address of a link, with its zone, on either half.
#[test]
fn an_address_may_have_a_zone() {
    netns::alone(secs(60), || {
        netns::ip("-6 addr add fe80::1/64 dev lo nodad");
        let echo = Backend::echo();
        let port = free_port();
        let start = |name: &str, remote: &str, local: (&str, u16), options: &str, listens: u16| {
            let mut command = ours();
            Vars {
                remote: (remote.to_owned(), port),
                local: (local.0.to_owned(), local.1),
                options: options.to_owned(),
            }
            .put(&mut command);
            let child = Child::spawn(name, command);
            child.wait_listening(listens);
            child
        };
        let backend = ("127.0.0.1", echo.addr.port());
        let _server = start("server", "fe80::1%lo", backend, "server;obfs=http", port);
        let local = free_port();
        let _client = start("client", "[fe80::1%lo]", ("127.0.0.1", local), "obfs=http", local);
        assert_echo(&connect(SocketAddr::from(([127, 0, 0, 1], local))), b"on this link");
    });
}

/// Files that simple-obfs reads, and files with comments.
#[test]
fn configuration_files_as_people_write_them() {
    within(secs(60), || {
        let dir = TempDir::new("files");
        let echo = Backend::echo();
        for (name, before, more, behind) in [
            ("comma", "", ",", ""),
            ("mark", "\u{feff}", "", "\r\n"),
            ("objects", "", ",\"port_password\":{\"8388\":\"x\"},\"_comment\":[\"a\"]", ""),
            ("comments", "// first\n", " /* last */", "\n// behind"),
        ] {
            let port = free_port();
            let file = dir.path().join(format!("{name}.json"));
            let text = format!(
                "{before}{{\"server\":\"127.0.0.1\",\"server_port\":{port},\"obfs\":\"http\",\"timeout\":300{more}}}{behind}"
            );
            std::fs::write(&file, text).expect("a file");
            let words = format!("-c {} -r {}", file.display(), echo.addr);
            let server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
            let client = client(Ours, loopback(port), "obfs=http");
            assert_echo(&connect(client.addr), name.as_bytes());
            assert!(!server.lines().join("\n").contains("WARN"), "{name}: {:?}", server.lines());
        }
    });
}
