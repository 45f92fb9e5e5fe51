use super::page::one;
use super::*;
use crate::config::{ConfigError, Dialect};
use crate::net::addr::Host;

mod properties;

const TLS: &str = "tls;cert=/c.pem;key=/k.pem";

fn request(options: &str) -> Request {
    Request {
        host: Some("www.example.com".into()),
        port: Some(443),
        method: Some("aes-256-gcm".into()),
        password: Some("PASSWORD".into()),
        options: Some(options.into()),
        ..Request::default()
    }
}

#[track_caller]
fn share(request: &Request) -> Shared {
    let mut share = prepare(request, |_| Some(Dialect::Own)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(share.shared.len(), 1);
    share.shared.remove(0)
}

fn problem(request: &Request) -> String {
    prepare(request, |name| (name == "obfs-rs").then_some(Dialect::Own)).unwrap_err().to_string()
}

/// What obfs-rs, simple-obfs and v2ray-plugin are told.
#[track_caller]
fn options(request: &Request) -> Vec<String> {
    let offers = share(request).offers;
    offers.iter().filter_map(|offer| Plugin::ObfsRs.options(offer)).collect()
}

fn entry(request: &Request, format: Format) -> Result<String, String> {
    one(&share(request), format, request.plugin, None)
}

#[test]
fn a_client_of_each_disguise() {
    for (server, client) in [
        (
            "mode=websocket;tls;cert=/c.pem;key=/k.pem;path=/x;failover-tls=127.0.0.1:8443",
            "mode=websocket;tls;host=www.example.com;path=/x",
        ),
        ("mode=websocket;path=/x", "mode=websocket;host=www.example.com;path=/x"),
        ("obfs=http;obfs-uri=/x;failover=127.0.0.1:80", "obfs=http;obfs-host=www.example.com;obfs-uri=/x"),
        ("obfs=http;obfs-host=a.example;http-method=POST", "obfs=http;obfs-host=a.example;http-method=POST"),
        ("obfs=http", "obfs=http;obfs-host=www.example.com"),
        ("obfs=tls;obfs-host=a.example", "obfs=tls;obfs-host=a.example"),
        ("mode=quic;cert=/c.pem;key=/k.pem", "mode=quic;host=www.example.com"),
        ("mode=quic;host=b.example;udp", "mode=quic;host=b.example;udp"),
        (
            "mode=grpc;tls;cert=/c.pem;key=/k.pem;serviceName=s3",
            "mode=grpc;tls;host=www.example.com;serviceName=s3",
        ),
        ("mode=grpc;serviceName=/a/b;udp", "mode=grpc;host=www.example.com;serviceName=/a/b;udp"),
        ("mode=grpc", "mode=grpc;host=www.example.com"),
        ("mode=websocket;udp;path=/x y;mux=8", "mode=websocket;host=www.example.com;path=/x%20y;udp"),
        ("mode=websocket;path=/a\\;b\\=c\\\\d", "mode=websocket;host=www.example.com;path=/a\\;b\\=c\\\\d"),
        // Another name in the request than in the certificate.
        (
            "mode=websocket;tls;host=b.example;obfs-host=a.example",
            "mode=websocket;tls;host=a.example;sni=b.example;path=/",
        ),
    ] {
        assert_eq!(options(&request(server))[0], client, "{server}");
    }
}

#[test]
fn a_server_for_every_client_offers_the_best_first() {
    assert_eq!(
        options(&request(&format!(
            "{TLS};quic;path=/x;serviceName=s3;obfs-tls-host=c.example;udp;failover-h2=127.0.0.1:1"
        ))),
        [
            "mode=websocket;tls;host=www.example.com;path=/x;udp",
            "mode=grpc;tls;host=www.example.com;serviceName=s3;udp",
            "mode=quic;host=www.example.com;udp",
            "mode=httpupgrade;tls;host=www.example.com;path=/x",
            "mode=websocket;host=www.example.com;path=/x;udp",
            "obfs=http;obfs-host=www.example.com;obfs-uri=/x",
            "mode=httpupgrade;host=www.example.com;path=/x",
            "mode=grpc;host=www.example.com;serviceName=s3;udp",
            "obfs=tls;obfs-host=c.example",
        ]
    );
    // Without a website for HTTP/2 there is no gRPC in TLS.
    let without = options(&request(&format!("{TLS};path=/x;serviceName=s3")));
    assert!(!without.iter().any(|options| options.starts_with("mode=grpc;tls")), "{without:?}");
    // Nothing in the clear.
    let only = options(&request("mode=auto;tls=only;cert=/c.pem;key=/k.pem;path=/x"));
    assert!(only.iter().all(|options| options.contains(";tls;")), "{only:?}");
}

#[test]
fn what_is_only_the_servers_is_not_told() {
    let server = "cert=/etc/secret-cert.pem;key=/etc/secret-key.pem;tls;failover=10.9.8.7:80;failover-tls=10.9.8.7:443;\
                  trusted=10.9.8.7;path=/x;limit-tunnels=77;metrics=127.0.0.1:9180;log=2";
    let mut request = request(server);
    request.plugin = None;
    for format in Format::ALL {
        let text = entry(&request, format).unwrap_or_else(|why| why);
        for secret in ["secret-", "10.9.8.7", "9180", "77"] {
            assert!(!text.contains(secret), "{format:?}: {text}");
        }
    }
}

#[test]
fn tls_may_end_in_front() {
    let mut request = request("mode=websocket;path=/x");
    request.tls_in_front = true;
    assert_eq!(options(&request)[0], "mode=websocket;tls;host=www.example.com;path=/x");
    request.options = Some("obfs=http;obfs-uri=/x".into());
    assert_eq!(options(&request), ["mode=httpupgrade;tls;host=www.example.com;path=/x"]);
    request.options = Some("obfs=tls".into());
    assert!(problem(&request).contains("takes no client"));
}

#[test]
fn routes_have_their_own_path_or_name() {
    let mut request =
        request(&format!("{TLS};path=/x;route=/alice:127.0.0.1:1;route=bob.example.com:127.0.0.1:2"));
    assert_eq!(share(&request).routes, 2);
    request.route = Some("/alice".into());
    assert_eq!(options(&request)[0], "mode=websocket;tls;host=www.example.com;path=/alice");
    assert!(options(&request).contains(&"obfs=http;obfs-host=www.example.com;obfs-uri=/alice".into()));
    request.route = Some("BOB.example.com".into());
    assert_eq!(options(&request)[0], "mode=websocket;tls;host=bob.example.com;path=/x");
    for route in ["/carol", "carol.example.com", "/x"] {
        request.route = Some(route.into());
        assert!(
            problem(&request).starts_with(&format!("--route: `{route}` is not")),
            "{}",
            problem(&request)
        );
    }
}

/// The link, and what each app has of it.
#[test]
fn texts_for_websocket_in_tls() {
    let request = request(&format!("mode=websocket;{TLS};path=/x"));
    let of = |format| entry(&request, format).unwrap();
    assert_eq!(
        of(Format::Link),
        "ss://YWVzLTI1Ni1nY206UEFTU1dPUkQ@www.example.com:443/?plugin=v2ray-plugin%3Bmode%3Dwebsocket%3Btls%3Bhost%3D\
         www.example.com%3Bpath%3D%2Fx#www.example.com\n"
    );
    assert_eq!(
        of(Format::Mihomo),
        "proxies:\n  - name: \"www.example.com\"\n    type: ss\n    server: \"www.example.com\"\n    port: 443\n    \
         cipher: \"aes-256-gcm\"\n    password: \"PASSWORD\"\n    plugin: v2ray-plugin\n    plugin-opts:\n      \
         mode: websocket\n      tls: true\n      host: \"www.example.com\"\n      path: \"/x\"\n      mux: false\n"
    );
    let json: serde_json::Value = serde_json::from_str(&of(Format::Json)).unwrap();
    let wanted = serde_json::json!({"server": "www.example.com", "server_port": 443, "method": "aes-256-gcm",
        "password": "PASSWORD", "local_address": "127.0.0.1", "local_port": 1080, "plugin": "obfs-rs",
        "plugin_opts": "mode=websocket;tls;host=www.example.com;path=/x"});
    assert_eq!(json, wanted);
    let json: serde_json::Value = serde_json::from_str(&of(Format::SingBox)).unwrap();
    let wanted = serde_json::json!({"type": "shadowsocks", "tag": "www.example.com", "server": "www.example.com",
        "server_port": 443, "method": "aes-256-gcm", "password": "PASSWORD", "plugin": "v2ray-plugin",
        "plugin_opts": "mode=websocket;tls;host=www.example.com;path=/x;mux=0", "network": "tcp"});
    assert_eq!(json, wanted);
    assert_eq!(
        of(Format::QuantumultX),
        "shadowsocks=www.example.com:443, method=aes-256-gcm, password=PASSWORD, obfs=wss, obfs-host=www.example.com, \
         obfs-uri=/x, fast-open=false, udp-relay=false, tag=www.example.com\n"
    );
    assert_eq!(
        entry(&request, Format::Surge),
        Err("Surge has none of what this server takes: WebSocket in TLS, HTTPUpgrade in TLS".into())
    );
}

/// In the clear the path could be read: that is not chosen where there is TLS, but by hand.
#[test]
fn an_app_without_tls_is_not_sent_in_the_clear_unasked() {
    let mut request = request(&format!("{TLS};path=/x"));
    for format in [Format::Surge, Format::Link] {
        request.plugin = Some(Plugin::ObfsLocal);
        let why = entry(&request, format).unwrap_err();
        assert!(
            why.ends_with("HTTPUpgrade in TLS; in the clear it has obfs=http (--disguise http)"),
            "{why}"
        );
    }
    request.disguise = Some(Kind::Http);
    assert!(
        entry(&request, Format::Surge).unwrap().contains("obfs=http, obfs-host=www.example.com, obfs-uri=/x")
    );
}

#[test]
fn texts_for_http() {
    let mut request = request("obfs=http;obfs-uri=/x");
    request.port = Some(80);
    assert_eq!(
        entry(&request, Format::Surge).unwrap(),
        "www.example.com = ss, www.example.com, 80, encrypt-method=aes-256-gcm, password=PASSWORD, obfs=http, \
         obfs-host=www.example.com, obfs-uri=/x\n"
    );
    // These two only ever ask for `/`.
    for format in [Format::Mihomo, Format::SingBox] {
        let why = entry(&request, format).unwrap_err();
        assert!(why.ends_with("has none of what this server takes: obfs=http with a path"), "{why}");
    }
    // Nor does simple-obfs's own client; some apps with its name do.
    request.plugin = Some(Plugin::ObfsLocal);
    assert!(entry(&request, Format::Json).unwrap_err().starts_with("obfs-local has none"));
    assert!(entry(&request, Format::Link).unwrap().contains("obfs-uri%3D%2Fx"));
    request.plugin = None;
    assert!(entry(&request, Format::All).unwrap().contains("for apps that have a path in obfs=http"));
    request.options = Some("obfs=http".into());
    let yaml = entry(&request, Format::Mihomo).unwrap();
    assert!(
        yaml.ends_with("plugin: obfs\n    plugin-opts:\n      mode: http\n      host: \"www.example.com\"\n"),
        "{yaml}"
    );
    let json = entry(&request, Format::SingBox).unwrap();
    assert!(json.contains(r#""plugin_opts": "obfs=http;obfs-host=www.example.com""#), "{json}");
    assert_eq!(
        entry(&request, Format::Link).unwrap(),
        "ss://YWVzLTI1Ni1nY206UEFTU1dPUkQ@www.example.com:80/?plugin=obfs-local%3Bobfs%3Dhttp%3Bobfs-host%3D\
         www.example.com#www.example.com\n"
    );
}

/// SIP002: a key of SIP022 is percent-encoded, and not base64 of base64.
#[test]
fn keys_of_sip022_stand_as_they_are() {
    let mut request = request("obfs=http");
    request.method = Some("2022-blake3-aes-256-gcm".into());
    request.password = Some("a+b/c=:d+e/f=".into());
    let link = entry(&request, Format::Link).unwrap();
    assert!(link.starts_with("ss://2022-blake3-aes-256-gcm:a%2Bb%2Fc%3D%3Ad%2Be%2Ff%3D@www"), "{link}");
}

#[test]
fn addresses_that_nobody_can_connect_to_are_refused() {
    let file = |server: &str, options: &str| Request {
        file: Some((
            "f".into(),
            format!(
                r#"{{"server":{server},"server_port":443,"method":"aes-256-gcm","password":"p","plugin":"obfs-rs",
                "plugin_opts":"{options}"}}"#
            ),
        )),
        ..Request::default()
    };
    for server in [
        "\"0.0.0.0\"",
        "\"::\"",
        "\"127.0.0.1\"",
        "\"10.0.0.5\"",
        "\"::ffff:127.0.0.1\"",
        "\"localhost.\"",
        "\"fe80::1\"",
        "[\"::0\",\"0.0.0.0\"]",
    ] {
        let message = problem(&file(server, "obfs=http"));
        assert!(message.contains("give the public name (--host NAME)"), "{server}: {message}");
    }
    // The name whose certificate acme.sh has; or one among the addresses.
    let host = |request: &Request| share(request).profile.host;
    assert_eq!(host(&file("\"::\"", "tls;host=b.example;path=/x")), Host::Name("b.example".into()));
    assert_eq!(host(&file("[\"::\",\"a.example\"]", "obfs=http")), Host::Name("a.example".into()));
    for wrong in ["0.0.0.0", "::", "a b", ""] {
        let request = Request { host: Some(wrong.into()), ..request("obfs=http") };
        assert!(problem(&request).starts_with("--host"), "{wrong}");
    }
    // A name in TLS is needed, an address is none.
    let mut request = Request { host: Some("192.0.2.1".into()), ..request(&format!("mode=websocket;{TLS}")) };
    assert!(problem(&request).contains("the name of the certificate"), "{}", problem(&request));
    request.options = Some("mode=websocket;tls;host=b.example".into());
    assert_eq!(options(&request)[0], "mode=websocket;tls;host=b.example;path=/");
    let ipv6 = Request { host: Some("2001:db8::1".into()), ..super::tests::request("obfs=http") };
    assert!(entry(&ipv6, Format::Link).unwrap().contains("@[2001:db8::1]:443/?plugin="));
    assert!(entry(&ipv6, Format::Json).unwrap().contains(r#""server": "2001:db8::1""#));
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let with = |change: &dyn Fn(&mut Request)| {
        let mut request = request("obfs=http");
        change(&mut request);
        problem(&request)
    };
    for (message, wanted) in [
        (with(&|r| r.port = None), "--port is not set"),
        (with(&|r| r.method = None), "--method is not set"),
        (with(&|r| r.method = Some("a:b".into())), "--method: `a:b` is not a method"),
        (with(&|r| r.password = None), "Shadowsocks's password is not set"),
        (with(&|r| r.password = Some(String::new())), "password is empty"),
        (with(&|r| r.password = Some("${SECRET}".into())), "a variable's name"),
        (with(&|r| r.host = None), "--host is not set"),
        (with(&|r| r.options = None), "--config (or SERVER-OPTIONS) is not set"),
        (with(&|r| r.options = Some("obfs=htp".into())), "option `obfs`: `htp` is not a disguise"),
        (with(&|r| r.options = Some("client;obfs=http".into())), "these are a client's options"),
        (
            with(&|r| r.disguise = Some(Kind::Quic)),
            "--disguise: `quic` is not a disguise that this server takes",
        ),
    ] {
        assert!(message.contains(wanted) && !message.contains('\n'), "{message}");
    }
    let file = r#"{"server":"a.example","server_port":1,"method":"m","password":"p","plugin":"kcptun"}"#;
    let other = Request { file: Some(("f".into(), file.into())), ..Request::default() };
    assert!(problem(&other).starts_with("plugin: `kcptun` is not obfs-rs"), "{}", problem(&other));
    // A method that is not known may be a new one.
    let unknown = Request { method: Some("new\u{1b}".into()), ..request("obfs=http") };
    assert!(problem(&unknown).starts_with("--method: "));
    let unknown = Request { method: Some("new-1".into()), ..request("obfs=http;zzz=1") };
    let warnings = prepare(&unknown, |_| None).unwrap().warnings;
    assert!(warnings[0].contains("`new-1`") && warnings[1].contains("`zzz`"), "{warnings:?}");
    let none = Request { method: Some("none".into()), password: None, ..request("obfs=http") };
    assert_eq!(share(&none).profile.password, "");
}

#[test]
fn each_user_of_a_server_has_a_profile() {
    let file = r#"{"servers":[{"server":"a.example","server_port":443,"method":"2022-blake3-aes-128-gcm","password":"S",
        "plugin":"obfs-rs","plugin_opts":"obfs=http","users":[{"name":"ann","password":"A"},{"name":"b\u001b","password":"B"}]},
        {"server":"b.example","server_port":80,"method":"aes-128-gcm","password":"P","plugin":"obfs-rs","remarks":"Second"}]}"#;
    let request = Request { file: Some(("f".into(), file.into())), ..Request::default() };
    let share = prepare(&request, |_| Some(Dialect::Own)).unwrap();
    let seen: Vec<_> = share.shared.iter().map(|one| (&*one.profile.name, &*one.profile.password)).collect();
    assert_eq!(seen, [("a.example ann", "S:A"), ("a.example b", "S:B"), ("Second", "P")]);
}

#[test]
fn servers_without_ours_are_left_out_and_users_are_those_of_2022() {
    let file = r#"{"servers":[{"server":"a.example","server_port":443,"method":"aes-256-gcm","password":"P"},
        {"server":"b.example","server_port":80,"method":"AES-256-GCM","password":"S","plugin":"obfs-rs",
        "plugin_opts":"obfs=http","users":[{"name":"ann","password":"A"}]}]}"#;
    let of_file = Request { file: Some(("f".into(), file.into())), ..Request::default() };
    let share = prepare(&of_file, |_| Some(Dialect::Own)).unwrap();
    let seen: Vec<_> =
        share.shared.iter().map(|one| (&*one.profile.method, &*one.profile.password)).collect();
    assert_eq!(seen, [("aes-256-gcm", "S")]);
    assert!(share.warnings[0].contains("on port 443 is left out"), "{:?}", share.warnings);
    let message = problem(&Request { port: Some(8443), ..of_file });
    assert!(message.contains("--port"), "{message}");
    let args = r#"{"server":"a.example","server_port":443,"method":"aes-256-gcm","password":"P","plugin":"obfs-rs",
        "plugin_opts":"obfs=http","plugin_args":["--path","/x"]}"#;
    let message = problem(&Request { file: Some(("f".into(), args.into())), ..Request::default() });
    assert!(message.contains("plugin_args"), "{message}");
}

#[test]
fn lines_that_know_no_escapes_are_refused_what_they_cannot_hold() {
    for password in ["a,b", "a\"b", " a", "a\nb"] {
        let request = Request { password: Some(password.into()), ..request("obfs=http") };
        for format in [Format::Surge, Format::QuantumultX] {
            assert!(entry(&request, format).unwrap_err().contains("cannot be given this password"));
        }
        assert!(entry(&request, Format::Mihomo).is_ok());
    }
    let request = Request { method: Some("aes-192-gcm".into()), ..request("mode=websocket") };
    assert!(entry(&request, Format::QuantumultX).unwrap_err().contains("aes-192-gcm with WebSocket"));
}

#[test]
fn a_method_that_an_app_does_not_have_is_told_at_that_app() {
    let with = |method: &str, format| {
        entry(&Request { method: Some(method.into()), ..request("obfs=http") }, format)
    };
    for (method, format, app) in [
        ("camellia-256-cfb", Format::Mihomo, "mihomo"),
        ("chacha20", Format::SingBox, "sing-box"),
        ("2022-blake3-chacha8-poly1305", Format::SingBox, "sing-box"),
        ("2022-blake3-chacha20-poly1305", Format::Surge, "Surge"),
        ("TABLE", Format::Surge, "Surge"),
    ] {
        let why = with(method, format).unwrap_err();
        assert_eq!(why, format!("{app} does not have the method {}", method.to_ascii_lowercase()));
        let page = with(method, Format::All).unwrap();
        assert!(page.contains(&format!("\n{why}.\n")), "{page}");
    }
    // To shadowsocks-rust these are one.
    assert!(with("plain", Format::Mihomo).unwrap().contains("cipher: \"none\""));
    assert!(with("AES-256-GCM", Format::SingBox).unwrap().contains("\"aes-256-gcm\""));
}

/// Lines that a terminal breaks make no code.
#[test]
fn a_code_that_is_wider_than_the_terminal_is_a_sentence() {
    use super::page::Terminal;
    let shared = share(&request("obfs=http"));
    let on =
        |format, columns| one(&shared, format, None, Some(Terminal { columns })).unwrap_or_else(|why| why);
    let wide = on(Format::Qr, None);
    let is_code = |text: &str| text.contains('█');
    assert!(is_code(&wide));
    let columns = super::qr::width(&wide);
    assert_eq!(on(Format::Qr, Some(columns)), wide);
    for format in [Format::Qr, Format::All] {
        let text = on(format, Some(columns - 1));
        let told = format!("the QR code takes {columns} columns, and this terminal has {}: ", columns - 1);
        assert!(!is_code(&text) && text.contains(&told), "{text}");
    }
}

/// The page of the documentation shows what is printed.
#[test]
fn the_example_of_the_page_is_true() {
    let page = include_str!("../../docs/share.md");
    let options = page.split("`\"plugin_opts\": \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let request = Request { name: Some("home".into()), ..request(options) };
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(shown.trim_end(), entry(&request, Format::All).unwrap().trim_end());
}

#[test]
fn a_missing_password_is_no_secret() {
    let request = Request {
        password: None,
        password_otherwise: Some("of the variable".into()),
        ..request("obfs=http")
    };
    assert_eq!(share(&request).profile.password, "of the variable");
    assert!(matches!(
        prepare(&Request { password_otherwise: None, ..request }, |_| None),
        Err(ConfigError::Missing { .. })
    ));
}
