//! Several backends behind one port (`route`): each client gets the one of its path, or of its name in TLS.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, recv, recv_head, recv_to_end, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Make, Ours, SimpleObfs, V2ray, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::{BINARY, Ws};
use crate::support::{STEP, assert_same, eventually, noise, secs, within};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// An upgrade of `obfs=http` and HTTPUpgrade.
fn upgrade(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

/// A backend that says who it is and then echoes.
struct Named {
    name: &'static str,
    backend: Backend,
}

impl Named {
    fn new(name: &'static str) -> Named {
        Named { name, backend: Backend::greeter(name.as_bytes()) }
    }

    fn addr(&self) -> SocketAddr {
        self.backend.addr
    }

    /// Sees to it that an application's connection leads here.
    #[track_caller]
    fn assert_behind(&self, what: &str, app: &TcpStream) {
        let payload = noise(50_000, 7);
        send(app, &payload[..10]);
        let name = recv(app, self.name.len());
        assert_eq!(String::from_utf8_lossy(&name), self.name, "{what}");
        recv(app, 10);
        assert_echo(app, &payload);
    }
}

/// What clients of all kinds that may name their path say, `PATH` being that and `TLS` what one needs for it.
const KINDS: &[(Make, &str)] = &[
    (Ours, "obfs=http;obfs-uri=PATH"),
    (Ours, "obfs=http;obfs-uri=PATH;handshake=standard"),
    (Ours, "mode=httpupgrade;path=PATH"),
    (Ours, "mode=websocket;path=PATH;mux=0"),
    (Ours, "mode=websocket;path=PATH;mux=1"),
    (Ours, "mode=websocket;path=PATH;mux=8"),
    (Ours, "mode=websocket;path=PATH?ed=2048;mux=0"),
    (Ours, "mode=httpupgrade;path=PATH;TLS"),
    (Ours, "mode=websocket;path=PATH;mux=0;TLS"),
    (Ours, "mode=websocket;path=PATH;mux=8;TLS"),
    (V2ray, "path=PATH;mux=0"),
    (V2ray, "path=PATH;mux=1"),
    (V2ray, "path=PATH;mux=0;TLS"),
    (V2ray, "path=PATH;mux=4;TLS"),
];

/// Clients of each kind for each path get the backend of that path; simple-obfs's, which only ever ask for `/`, that
/// of `/`. Another path is the website's. No path stands in the log.
#[test]
fn each_path_has_its_backend() {
    within(secs(180), || {
        need!("openssl", "nginx", "obfs-local", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let site = Site::start();
        let [own, anna, ben, root] = ["own", "anna", "ben", "root"].map(Named::new);
        let options = format!(
            "{};path=/stream;failover={};route=/secret:a:{};route=/s%65cret/b c:{};route=/:{}",
            certificate.for_server(),
            site.addr,
            anna.addr(),
            ben.addr(),
            root.addr()
        );
        let server = server(Ours, own.addr(), &options);
        for (path, backend) in [("/stream", &own), ("/secret:a", &anna), ("/secret/b c", &ben)] {
            for (make, kind) in KINDS {
                let options = kind.replace("PATH", path).replace("TLS", &certificate.for_client());
                // simple-obfs and ours may write what others escape.
                let client = client(*make, server.addr, &options);
                for _ in 0..2 {
                    backend.assert_behind(&format!("{make:?} {options}"), &connect(client.addr));
                }
            }
        }
        let old = client(SimpleObfs, server.addr, "obfs=http;obfs-host=www.bing.com");
        root.assert_behind("simple-obfs", &connect(old.addr));

        let before = [&own, &anna, &ben, &root].map(|named| named.backend.accepted());
        for path in ["/secret:", "/secret:a/", "/secret", "/streams", "/secret:a:127.0.0.1"] {
            let stranger = connect(server.addr);
            send(&stranger, upgrade(path).as_bytes());
            let answer = recv_head(&stranger);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
            for tls in ["", &certificate.for_client()] {
                let wrong = client(Ours, server.addr, &format!("mode=httpupgrade;path={path};{tls}"));
                let app = connect(wrong.addr);
                send(&app, b"hello");
                assert_eq!(recv_to_end(&app, STEP), (vec![], End::Reset), "{path}");
                wrong.child.wait_text("404");
            }
        }
        assert_eq!([&own, &anna, &ben, &root].map(|named| named.backend.accepted()), before);
        let first = server.child.wait_text("listening on");
        assert!(
            first.contains(&format!("routes (3 by path) to {} and {}", anna.addr(), ben.addr())),
            "{first}"
        );
        let log = server.child.show_log();
        assert!(!log.contains("ecret"), "{log}");
    });
}

/// Where no path is said, the host's own backend has what it has without routes: any path of `obfs=http`, and `/` of
/// WebSocket.
#[test]
fn a_route_goes_before_any_path() {
    within(secs(60), || {
        let [own, anna] = ["own", "anna"].map(Named::new);
        for (options, web) in [("obfs=http", false), ("mode=auto", true), ("mode=websocket", true)] {
            let server = server(Ours, own.addr(), &format!("{options};route=/anna:{}", anna.addr()));
            let any = options != "mode=websocket";
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            for (path, backend) in [
                ("/anna", Some(&anna)),
                ("/%61nna?x", Some(&anna)),
                ("/", Some(&own)),
                ("/any", any.then_some(&own)),
                ("/anna/", any.then_some(&own)),
            ] {
                // As simple-obfs asks.
                let app = connect(server.addr);
                send(&app, upgrade(path).replacen("\r\n\r\n", &format!("\r\n{key}"), 1).as_bytes());
                let answer = recv_head(&app);
                match backend {
                    Some(backend) => {
                        assert!(answer.starts_with("HTTP/1.1 101 "), "{options} {path}: {answer}");
                        backend.assert_behind(path, &app);
                    }
                    None => assert!(answer.starts_with("HTTP/1.1 404 "), "{options} {path}: {answer}"),
                }
            }
            if web {
                for (path, backend) in [("/anna", &anna), ("/", &own)] {
                    let client = client(Ours, server.addr, &format!("mode=websocket;path={path}"));
                    backend.assert_behind(path, &connect(client.addr));
                }
                let wrong = client(Ours, server.addr, "mode=websocket;path=/any");
                let app = connect(wrong.addr);
                send(&app, b"hello");
                assert_eq!(recv_to_end(&app, STEP), (vec![], End::Reset));
            }
        }
    });
}

/// The access log tells the backend of a connection, and not its path.
#[test]
fn the_access_log_tells_routes_apart() {
    within(secs(60), || {
        let [own, anna] = ["own", "anna"].map(Named::new);
        let dir = TempDir::new("routes");
        let file = dir.path().join("access.log");
        let route = format!("route=/secret:{}", anna.addr());
        let server = server(Ours, own.addr(), &format!("mode=auto;access-log={};{route}", file.display()));
        for (options, class, to, backend) in [
            ("obfs=http;obfs-uri=/secret", "ours", "route", &anna),
            ("obfs=http;obfs-uri=/secrets", "any", "backend", &own),
            ("mode=websocket;path=/secret;mux=0", "ours", "route", &anna),
            ("mode=websocket;mux=0", "ours", "backend", &own),
        ] {
            let before = std::fs::read_to_string(&file).unwrap_or_default().lines().count();
            let client = client(Ours, server.addr, options);
            let app = connect(client.addr);
            backend.assert_behind(options, &app);
            drop(app);
            let line = || {
                let text = std::fs::read_to_string(&file).expect("the access log");
                text.lines().nth(before).map(str::to_owned)
            };
            assert!(eventually(STEP, || line().is_some()), "{options}");
            let line = line().unwrap_or_default();
            let words = format!(r#""path":"{class}","to":"{to}","address":"{}""#, backend.addr());
            assert!(line.contains(&words) && !line.contains("secret"), "{options}: {line}");
        }
    });
}

/// A certificate of several names: one of them has a route, which a path of its own goes before. A later request
/// inside TLS takes both.
#[test]
fn names_in_tls_lead_to_backends() {
    within(secs(120), || {
        need!("openssl", "nginx", "ss-v2ray-plugin", "socat");
        let certificate = Certificate::new(&format!("{NAME},DNS:anna.secret.example"));
        let site = Site::start();
        let [own, anna, ben] = ["own", "anna", "ben"].map(Named::new);
        let options = format!(
            "{};path=/stream;failover={};route=ANNA.secret.example:{};route=/ben:{}",
            certificate.for_server(),
            site.addr,
            anna.addr(),
            ben.addr()
        );
        for more in ["", ";failover-tls=127.0.0.1:9", ";tls=only"] {
            let options = match more {
                ";tls=only" => options.replacen("tls;", "tls=only;", 1),
                _ => format!("{options}{more}"),
            };
            let server = server(Ours, own.addr(), &options);
            for (name, path, backend) in [
                (NAME, "/stream", &own),
                ("anna.secret.example", "/stream", &anna),
                ("Anna.Secret.Example", "/stream", &anna),
                ("anna.secret.example", "/ben", &ben),
                (NAME, "/ben", &ben),
            ] {
                for (make, mode) in [
                    (Ours, "mode=websocket;mux=0;"),
                    (Ours, "mode=websocket;mux=4;"),
                    (Ours, "mode=httpupgrade;"),
                    (V2ray, "mux=0;"),
                    (V2ray, "mux=1;"),
                ] {
                    let options = certificate.for_client().replace(NAME, name);
                    let client = client(make, server.addr, &format!("{mode}path={path};{options}"));
                    backend.assert_behind(&format!("{make:?} {mode} {name} {path}"), &connect(client.addr));
                }
            }
            if more != ";tls=only" {
                // In the clear there is no such name, whatever the request says.
                let client =
                    client(Ours, server.addr, "mode=websocket;path=/stream;host=anna.secret.example");
                own.assert_behind("in the clear", &connect(client.addr));
            }
            for (path, backend) in [("/stream", &anna), ("/ben", &ben)] {
                let port = free_port();
                let mut command = Command::new(peers::path("socat"));
                command.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,nodelay"));
                command.arg(format!("OPENSSL:{},verify=0,snihost=anna.secret.example,nodelay", server.addr));
                let socat = Child::spawn("socat", command);
                socat.wait_listening(port);
                let visitor = connect(([127, 0, 0, 1], port).into());
                visit(&visitor);
                send(&visitor, upgrade(path).as_bytes());
                assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "), "{path}");
                backend.assert_behind(path, &visitor);
            }
            let first = server.child.wait_text("listening on");
            assert!(first.contains("routes (1 by path and 1 by name) to "), "{first}");
            let log = server.child.show_log();
            assert!(!log.contains("secret") && !log.contains("does not have the name"), "{log}");
        }
        // A name that the certificate lacks is told, but not which.
        let options = options.replace("ANNA.secret", "nobody.secret");
        let server = self::server(Ours, own.addr(), &options);
        let told = server.child.wait_text("does not have the name whose route leads to");
        assert!(told.contains(&anna.addr().to_string()) && !told.contains("secret"), "{told}");
        // That of `host` is ours whether the certificate has it or not.
        let other = Certificate::new("other.example");
        let options = format!("{};route={NAME}:{}", other.for_server(), anna.addr());
        let server = self::server(Ours, own.addr(), &options);
        server.child.wait_text("are not taken beside TLS");
        assert!(!server.child.show_log().contains("does not have"), "{}", server.child.show_log());
    });
}

/// One visit to a website, whole.
#[track_caller]
fn visit(visitor: &TcpStream) {
    send(visitor, format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n").as_bytes());
    let head = recv_head(visitor);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    recv(visitor, length.and_then(|length| length.parse().ok()).expect("a length"));
}

/// What was at the website, another port or one of our own, may ask for a route's path later, and for one that
/// nobody has: then it is the website's.
#[test]
fn a_later_request_takes_the_routes() {
    within(secs(90), || {
        need!("nginx");
        let site = Site::with_keepalive("60s");
        let [own, anna, ben] = ["own", "anna", "ben"].map(Named::new);
        for failover in [format!("failover={}", site.addr), "failover=status:404".to_owned(), String::new()] {
            let options =
                format!("path=/stream;{failover};route=/anna:{};route=/ben:{}", anna.addr(), ben.addr());
            let server = server(Ours, own.addr(), &options);
            for (path, backend) in [("/anna", &anna), ("/stream", &own), ("/%62en", &ben)] {
                let visitor = connect(server.addr);
                visit(&visitor);
                send(&visitor, upgrade("/nobody").as_bytes());
                assert!(recv_head(&visitor).starts_with("HTTP/1.1 404 "), "{failover} {path}");
                drop(visitor);
                let visitor = connect(server.addr);
                visit(&visitor);
                visit(&visitor);
                // In pieces, and with what is said first.
                let request = upgrade(path);
                let (one, other) = request.split_at(path.len());
                send(&visitor, one.as_bytes());
                send(&visitor, other.as_bytes());
                assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "), "{failover} {path}");
                backend.assert_behind(path, &visitor);
                let visitor = connect(server.addr);
                visit(&visitor);
                let (mut ws, _) = Ws::upgrade(visitor, path, "");
                ws.send(BINARY, b"hello");
                assert_same("who", &ws.recv(backend.name.len()), backend.name.as_bytes());
                assert_same("the echo", &ws.recv(5), b"hello");
            }
        }
    });
}

/// A backend that is down takes its own tunnels with it and no others, and the log names its address. When it is up,
/// its tunnels stand.
#[test]
fn a_dead_backend_is_dead_alone() {
    within(secs(90), || {
        let [own, anna] = ["own", "anna"].map(Named::new);
        for (mode, told) in [
            ("obfs=http;obfs-uri=", "tunnel failed"),
            ("mode=httpupgrade;path=", "tunnel failed"),
            ("mode=websocket;mux=0;path=", "tunnel failed"),
            ("mode=websocket;mux=4;path=", "cannot connect to Shadowsocks"),
        ] {
            let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let options = format!("path=/stream;route=/anna:{};route=/secret:{dead}", anna.addr());
            let server = server(Ours, own.addr(), &options);
            let at = |path: &str| client(Ours, server.addr, &format!("{mode}{path}"));
            let (to_own, to_anna, to_dead) = (at("/stream"), at("/anna"), at("/secret"));
            let open = connect(to_anna.addr);
            anna.assert_behind(mode, &open);
            for _ in 0..2 {
                let app = connect(to_dead.addr);
                send(&app, b"hello");
                assert_eq!(recv_to_end(&app, STEP), (vec![], End::Reset), "{mode}");
            }
            let line = server.child.wait_line("the failure", |line| line.contains(told));
            assert!(line.contains(&dead.to_string()), "{line}");
            if mode.contains("mux=4") {
                // Nor need anybody come before that is told.
                let line =
                    server.child.wait_text("the Shadowsocks server of an option `route` does not answer");
                assert!(line.contains(&dead.to_string()) && line.contains("its clients are reset"), "{line}");
            }
            assert!(!server.child.show_log().contains("secret"), "{}", server.child.show_log());
            assert_echo(&open, b"still there");
            anna.assert_behind(mode, &connect(to_anna.addr));
            own.assert_behind(mode, &connect(to_own.addr));
            let _up = Backend::echo_on(dead);
            assert_echo(&connect(to_dead.addr), b"hello");
        }
    });
}

/// What is asked of the sockets is asked of those to all backends; IPv6 stands in brackets; a name is looked up.
#[test]
fn all_backends_are_dialled_alike() {
    within(secs(60), || {
        let (own, at_own) = Backend::manual();
        let (anna, at_anna) = Backend::manual();
        let options = format!("b=127.0.0.9;path=/stream;route=/anna:localhost:{}", anna.addr.port());
        let server = server(Ours, own.addr, &options);
        for (path, arrived) in [("/stream", &at_own), ("/anna", &at_anna)] {
            let app = connect(server.addr);
            send(&app, upgrade(path).as_bytes());
            let peer = next(arrived).peer_addr().expect("a peer");
            assert_eq!(peer.ip().to_string(), "127.0.0.9", "{path}");
        }
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let six = Backend::echo_on("[::1]:0".parse().expect("an address"));
            let server = self::server(Ours, own.addr, &format!("obfs=http;route=/a:b:{}", six.addr));
            let client = client(Ours, server.addr, "obfs=http;obfs-uri=/a:b");
            assert_echo(&connect(client.addr), b"hello");
        }
    });
}

/// What is wrong with routes ends the program with its name, in one line.
#[test]
fn wrong_routes_are_refused_by_name() {
    within(secs(60), || {
        let port = free_port();
        let tls = "tls;cert=/c.pem;key=/k.pem;";
        let many: String = (1..=1025).map(|n| format!("route=/{n}:127.0.0.1:{n};")).collect();
        for (options, words) in [
            (
                "route=/secret:127.0.0.1:1;route=/s%65cret?x:127.0.0.1:2".to_owned(),
                &["127.0.0.1:2", "already"][..],
            ),
            (
                format!("{tls}route=a.secret:127.0.0.1:1;route=A.secret.:127.0.0.1:2"),
                &["127.0.0.1:2", "already"],
            ),
            ("path=/secret;route=/secret:127.0.0.1:1".to_owned(), &["`path`", "127.0.0.1:1"]),
            ("obfs-uri=/secret;route=/secret:127.0.0.1:1".to_owned(), &["`obfs-uri`", "127.0.0.1:1"]),
            (format!("route=/secret:127.0.0.1:{port}"), &["leads back", "127.0.0.1"]),
            (format!("route=/secret:localhost:{port}"), &["leads back", "localhost"]),
            ("obfs=tls;route=/secret:127.0.0.1:1".to_owned(), &["`obfs=http`"]),
            ("route=a.secret:127.0.0.1:1".to_owned(), &["`tls`", "slash"]),
            (format!("{tls}sni=*.secret:127.0.0.1:2;route=a.secret:127.0.0.1:1"), &["`sni`", "127.0.0.1:1"]),
            ("route=/a:127.0.0.1".to_owned(), &["`/…` is not", "/PATH:HOST:PORT", "NAME:HOST:PORT"]),
            ("route=/a:127.0.0.1:0".to_owned(), &["`/…` is not"]),
            ("route=/a:::1:80".to_owned(), &["`/…` is not", "[::1]"]),
            ("route=a b:127.0.0.1:80".to_owned(), &["`a b:127.0.0.1:80` is not"]),
            ("route=a/b:127.0.0.1:80".to_owned(), &["`a/b:127.0.0.1:80` is not"]),
            ("route=".to_owned(), &["no value", "/PATH:HOST:PORT"]),
            ("route".to_owned(), &["no value", "/PATH:HOST:PORT"]),
            (many, &["1024"]),
        ] {
            let vars = Vars {
                remote: ("127.0.0.1".into(), port),
                local: ("127.0.0.1".into(), free_port()),
                options: format!("server;{options}"),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{options}: {}", child.show_log());
            child.wait_line(&options, |line| {
                line.contains("route")
                    && words.iter().all(|word| line.contains(word))
                    && !line.contains("ecret")
            });
            assert_eq!(child.lines().len(), 1, "{options}: {}", child.show_log());
        }
        // A client takes its server's string, and is none for it.
        let [own, anna] = ["own", "anna"].map(Named::new);
        let both = format!("obfs=http;obfs-uri=/x;route=/anna:{}", anna.addr());
        let server = server(Ours, own.addr(), &both);
        let client = client(Ours, server.addr, &format!("client;{both}"));
        own.assert_behind("the string of both", &connect(client.addr));
    });
}
