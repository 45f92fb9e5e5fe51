//! What was said, read as a whole.

use super::host::http_host;
use super::*;
use crate::net::addr::HostPort;

mod every_option;
mod grpc;

/// The five variables of a host.
fn hosted(remote: &str, local: &str, options: &str) -> ProcessEnv {
    let split = |text: &str| {
        let (host, port) = text.rsplit_once(':').unwrap();
        (host.to_owned(), port.to_owned())
    };
    let ((remote_host, remote_port), (local_host, local_port)) = (split(remote), split(local));
    let vars = [
        (sip003::REMOTE_HOST, remote_host),
        (sip003::REMOTE_PORT, remote_port),
        (sip003::LOCAL_HOST, local_host),
        (sip003::LOCAL_PORT, local_port),
        (sip003::PLUGIN_OPTIONS, options.to_owned()),
    ];
    ProcessEnv {
        vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        parent: None,
    }
}

fn config(env: &ProcessEnv) -> Config {
    read(Settings::default(), env).unwrap()
}

fn client(options: &str) -> ClientConfig {
    match config(&hosted("203.0.113.1:8388", "127.0.0.1:1984", options)).half {
        Half::Client(client) => *client,
        Half::Server(server) => panic!("{server:?}"),
    }
}

fn server(options: &str) -> ServerConfig {
    match config(&hosted("0.0.0.0:80", "127.0.0.1:9000", options)).half {
        Half::Server(server) => *server,
        Half::Client(client) => panic!("{client:?}"),
    }
}

/// The request of a client whose disguise is http.
fn request(options: &str) -> (RequestConfig, Handshake) {
    match client(options).disguise {
        ClientDisguise::Http(request, handshake) => (request, handshake),
        other => panic!("{other:?}"),
    }
}

fn complaint(env: &ProcessEnv) -> String {
    let message = read(Settings::default(), env).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn addresses(list: &[HostPort]) -> Vec<String> {
    list.iter().map(HostPort::to_string).collect()
}

#[test]
fn a_client_with_nothing_said() {
    let nothing = client("");
    assert_eq!(addresses(&nothing.listen), ["127.0.0.1:1984"]);
    assert_eq!(addresses(&nothing.servers), ["203.0.113.1:8388"]);
    let (request, handshake) = request("");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/"));
    assert_eq!((request.host.as_str(), handshake), ("203.0.113.1:8388", Handshake::Eager));
}

#[test]
fn a_client_with_everything_said() {
    let (request, handshake) =
        request("obfs=http;obfs-host=www.bing.com;path=stream;http-method=PUT;handshake=standard");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/stream"));
    assert_eq!((request.host.as_str(), handshake), ("www.bing.com:8388", Handshake::Standard));
}

#[test]
fn the_host_header_has_the_port_that_is_dialled() {
    let server = |text: &str| HostPort::parse(text);
    for (name, dialled, wanted) in [
        (Some("a.example"), "203.0.113.1:80", "a.example"),
        (Some("a.example"), "203.0.113.1:8080", "a.example:8080"),
        (Some("a.example:81"), "203.0.113.1:8080", "a.example:81"),
        (None, "b.example:80", "b.example"),
        (None, "b.example:8080", "b.example:8080"),
        (None, "[::1]:80", "[::1]"),
        (None, "[::1]:8080", "[::1]:8080"),
    ] {
        assert_eq!(http_host(name.map(str::to_owned), server(dialled).as_ref()), wanted);
    }
}

#[test]
fn a_client_in_fake_tls() {
    for (options, wanted) in [("obfs=tls", "203.0.113.1"), ("obfs=tls;obfs-host=a.example", "a.example")] {
        match client(options).disguise {
            ClientDisguise::FakeTls { server_name } => assert_eq!(server_name, wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_with_everything_said() {
    let server = server("obfs=http;obfs-host=Live.Example.com:80;obfs-uri=/s?ed=1;fallback=[::1]:8080");
    assert_eq!(addresses(&server.listen), ["0.0.0.0:80"]);
    assert_eq!(server.backend.to_string(), "127.0.0.1:9000");
    let http = server.rules.http.unwrap();
    assert_eq!(http.host.as_deref(), Some("live.example.com"));
    assert_eq!(http.path.as_deref(), Some("/s"));
    assert!(server.rules.fake_tls.is_none());
    assert_eq!(server.failover.plain.to_string(), "[::1]:8080");
    assert_eq!(server.failover.tls.unwrap().to_string(), "[::1]:8080");
}

#[test]
fn a_server_for_both_disguises() {
    for options in
        ["obfs=http,tls;failover=a:1;failover-tls=b:2", "failover-tls=b:2;failover=a:1;obfs=tls,http"]
    {
        let server = server(options);
        assert!(server.rules.http.is_some() && server.rules.fake_tls.is_some());
        assert_eq!(server.failover.plain.to_string(), "a:1");
        assert_eq!(server.failover.tls.unwrap().to_string(), "b:2");
    }
    let server = server("obfs=tls,http;failover-tls=b:2");
    assert_eq!(server.failover.plain.to_string(), "b:2");
}

#[test]
fn a_website_need_not_be_a_port() {
    for (options, wanted) in [
        ("failover=redirect:https://a.example/", "a redirect to https://a.example"),
        ("failover=dir:/", "the folder /"),
        ("failover=status:404", "status 404 for everything"),
        ("obfs=http", "a bare web server"),
    ] {
        let server = server(&format!("server;{options}"));
        assert_eq!(server.failover.plain.to_string(), wanted);
        assert_eq!(server.failover.tls, None);
        assert!(server.to_string().ends_with(&format!("failover {wanted}")), "{server}");
    }
    let server = server("obfs=http,tls;failover=status:404;failover-tls=b:2");
    assert!(server.to_string().ends_with("failover status 404 for everything, for TLS b:2"), "{server}");
    // A client has no such folder, and need not have.
    client("client;failover=dir:/no/such/folder");
}

#[test]
fn who_stands_in_front_and_how_the_site_is_told() {
    let nobody = server("failover=a:1");
    assert!(
        nobody.fronts.trusted.is_empty() && !nobody.fronts.proxy_protocol && nobody.failover.proxy.is_none()
    );
    let shown = nobody.to_string();
    assert!(!shown.contains("PROXY") && !shown.contains("Forwarded"), "{shown}");

    let told = server(
        "trusted=10.0.0.0/8, 127.0.0.1|::1;proxy-protocol=in;fallback=a:1;trusted=192.0.2.1;fallback-proxy=v2",
    );
    let shown = told.to_string();
    assert!(shown.contains("failover a:1 with PROXY v2, "), "{shown}");
    assert!(
        shown.ends_with("PROXY header and X-Forwarded-For taken from 10.0.0.0/8, 127.0.0.1, ::1, 192.0.2.1")
    );
    for (address, trusted) in [("10.9.8.7", true), ("::1", true), ("192.0.2.1", true), ("127.0.0.2", false)] {
        assert_eq!(told.fronts.trust(address.parse().unwrap()), trusted, "{address}");
    }
    // X-Forwarded-For alone; and visitors' TLS has a site, too.
    let server = server("trusted=127.0.0.1;failover-tls=b:2;failover-proxy=v1");
    assert!(!server.fronts.sends_proxy_header("127.0.0.1".parse().unwrap()));
    assert!(server.to_string().contains("failover b:2 with PROXY v1, X-Forwarded-For taken from 127.0.0.1"));
}

#[test]
fn several_hosts_and_every_spelling_of_them() {
    let config = config(&hosted("::0|0.0.0.0:80", "[::1]:9000", ""));
    let Half::Server(server) = config.half else { panic!("not a server") };
    assert_eq!(addresses(&server.listen), ["[::]:80", "0.0.0.0:80"]);
    assert_eq!(server.backend.to_string(), "[::1]:9000");
}

#[test]
fn every_wrong_value_is_told_with_its_name() {
    for (options, words) in [
        ("obfs=htp", &["obfs", "htp", "http"][..]),
        ("obfs", &["option `obfs` has no value"]),
        ("failover=127.0.0.1", &["failover", "127.0.0.1", "HOST:PORT"]),
        ("fallback=::1:80", &["fallback", "::1:80", "[::1]:8080"]),
        ("handshake=lazy", &["handshake", "lazy", "eager or standard"]),
        ("t=0", &["`t`", "`0`", "seconds"]),
        ("timeout=soon", &["timeout", "soon", "seconds"]),
        ("loglevel=loud", &["loglevel", "loud", "warning"]),
        ("fast-open=perhaps", &["option `fast-open`: `perhaps` is not true or false"]),
        ("obfs-host=a b", &["obfs-host", "a b", "host name"]),
        ("obfs-host=a\r\nX: y", &["obfs-host", r"a\r\nX: y"]),
        ("obfs-uri=/a\u{1}b", &["obfs-uri", r"/a\u{1}b", "path"]),
        (
            "tls;obfs=tls",
            &["options `tls` and `obfs=tls` exclude each other: ", "mode=websocket;tls", "look-alike"],
        ),
        ("tls;obfs=http", &["options `tls` and `obfs=http` exclude each other: ", "mode=websocket;tls"]),
        ("obfs=http;mode=websocket", &["options `obfs=http` and `mode=websocket` exclude each other"]),
        ("mode=websocket;handshake=eager", &["options `handshake=eager` and `mode=websocket` exclude"]),
        ("sni=a.example", &["option `sni=a.example` needs `tls`"]),
        ("failover-h2=a:1", &["option `failover-h2=a:1` needs `tls`"]),
        ("mode=grpc;serviceName=a\tb", &["serviceName", r"a\tb", "service"]),
        ("trusted=10.0.0.0/99", &["`10.0.0.0/99` is not a network (ADDRESS/PREFIX)", "0 to 32"]),
        ("tls=perhaps", &["option `tls`: `perhaps` is not true, false or only"]),
        ("trusted=::1,localhost", &["`localhost` is not an address or a network (ADDRESS or ADDRESS/PREFIX"]),
        (
            "failover=status:404;failover-h2=same",
            &["`failover-h2=same` needs `failover=HOST:PORT`: the built-in"],
        ),
        ("server;client", &["options `server` and `client` exclude each other"]),
        ("server;mode=websocket;tls;cert=/c", &["`tls` on a server needs `key=FILE` beside", "`host=NAME`"]),
        ("path=/\r\nX: y", &["path", r"/\r\nX: y"]),
        ("http-method=G T", &["http-method", "G T", "method"]),
        (r"obfs=http\", &["SS_PLUGIN_OPTIONS", "backslash"]),
        ("proxy-protocol=in", &["option `proxy-protocol=in` needs `trusted`"]),
        ("proxy-protocol=1;trusted=::1", &["proxy-protocol", "`1`", "direction", "(in;"]),
        ("trusted=10.0.0.1,;proxy-protocol=in", &["trusted", "10.0.0.1,"]),
        ("failover-proxy=v1;trusted=::1", &["option `failover-proxy=v1` needs `failover`"]),
        ("failover-proxy=2;failover=a:1", &["failover-proxy", "`2`", "v1 or v2"]),
    ] {
        let message = complaint(&hosted("203.0.113.1:8388", "127.0.0.1:1984", options));
        for word in words {
            assert!(message.contains(word), "{options}: {message}");
        }
    }
}

#[test]
fn every_wrong_variable_is_told_with_its_name() {
    for (remote, local, words) in [
        ("203.0.113.1:http", "127.0.0.1:1984", &["SS_REMOTE_PORT", "http", "65535"][..]),
        ("203.0.113.1:0", "127.0.0.1:1984", &["SS_REMOTE_PORT", "`0`"]),
        ("203.0.113.1:80", "127.0.0.1:65536", &["SS_LOCAL_PORT", "65536"]),
        ("a b:80", "127.0.0.1:1984", &["SS_REMOTE_HOST", "a b"]),
        ("203.0.113.1|:80", "127.0.0.1:1984", &["SS_REMOTE_HOST", "203.0.113.1|"]),
        ("203.0.113.1:80", ":1984", &["SS_LOCAL_HOST is empty: expected an address"]),
        ("203.0.113.1:80", "127.0.0.1:", &["SS_LOCAL_PORT is empty: expected a port"]),
    ] {
        let message = complaint(&hosted(remote, local, ""));
        for word in words {
            assert!(message.contains(word), "{remote} {local}: {message}");
        }
    }
    for name in [sip003::REMOTE_HOST, sip003::REMOTE_PORT, sip003::LOCAL_HOST, sip003::LOCAL_PORT] {
        let mut env = hosted("203.0.113.1:80", "127.0.0.1:1984", "");
        env.vars.retain(|(key, _)| key != name);
        let message = complaint(&env);
        assert!(message.contains(name) && message.contains("not set"), "{message}");
    }
}

const CERTIFICATE: &str = "cert=/c;key=/k";

#[test]
fn where_tls_is_written_nothing_comes_in_the_clear() {
    for (options, alone) in [
        ("mode=websocket;tls", true),
        ("mode=httpupgrade;tls=1", true),
        ("obfs=ws,http;tls", true),
        ("tls=only", true),
        ("mode=auto;tls=ONLY", true),
        ("mode=auto;tls", false),
        ("tls;path=/x", false),
        ("mode=websocket", false),
        ("mode=websocket;tls=false", false),
    ] {
        let server = server(&format!("server;{options};{CERTIFICATE};failover=a:1"));
        assert_eq!(server.rules.tls_alone, alone, "{options}");
        // What comes in the clear all the same is told that this is a port for HTTPS.
        assert_eq!(server.failover.clear == Some(Website::HttpsOnly), alone, "{options}");
    }
    let both = server(&format!("server;mode=websocket;tls;{CERTIFICATE};failover-http=b:2"));
    assert!(matches!(both.failover.clear, Some(Website::Port(_))));
    // The string of both halves.
    let ClientDisguise::Web(web) = client("client;mode=websocket;tls=only;obfs-tls-host=a.example").disguise
    else {
        panic!("not websocket");
    };
    assert!(web.tls.is_some());
    for wrong in ["tls=maybe", "tls=only;obfs-tls-host=a.example", "obfs=http;obfs-tls-host=a.example"] {
        assert!(
            read(
                Settings::default(),
                &hosted("0.0.0.0:443", "127.0.0.1:1", &format!("server;{wrong};{CERTIFICATE}"))
            )
            .is_err()
        );
    }
}

#[test]
fn beside_tls_the_look_alike_is_taken_for_names_of_its_own() {
    let taken = |options: &str, name: &str| {
        let server = server(&format!("server;{options}"));
        server.rules.fake_tls.is_some_and(|rule| rule.takes(name.as_bytes()))
    };
    let tls = format!("tls;{CERTIFICATE}");
    for (options, name, wanted) in [
        (tls.clone(), "a.example", false),
        (tls.clone(), "", false),
        (format!("{tls};obfs-host=a.example"), "a.example", false),
        (format!("{tls};obfs-tls-host=a.example"), "A.example:8443", true),
        (format!("{tls};obfs-tls-host=a.example"), "b.example", false),
        (format!("{tls};obfs-tls-host=a.example, c.example;obfs-tls-host=B.example"), "b.example", true),
        (format!("{tls};obfs-tls-host=a.example, c.example;obfs-tls-host=B.example"), "c.example", true),
        ("mode=auto".into(), "a.example", true),
        ("obfs=tls".into(), "a.example", true),
        ("obfs=tls;obfs-host=a.example".into(), "b.example", false),
        ("obfs=tls;obfs-tls-host=a.example".into(), "b.example", false),
        ("obfs=tls;obfs-tls-host=a.example".into(), "a.example", true),
    ] {
        assert_eq!(taken(&options, name), wanted, "{options}: {name}");
    }
    for wrong in ["", "a b", "a,,b", "*.example", "a/b", "a:1"] {
        let options = format!("server;obfs=tls;obfs-tls-host={wrong}");
        let error = read(Settings::default(), &hosted("0.0.0.0:443", "127.0.0.1:1", &options))
            .unwrap_err()
            .to_string();
        assert!(error.contains("obfs-tls-host"), "{error}");
    }
}

#[test]
fn routes_stand_beside_the_paths_that_are_given_otherwise() {
    let found = |options: &str, path: &str| {
        let rule = server(&format!("server;{options}")).rules.http.unwrap();
        rule.routes.find(path)
    };
    for options in [
        "route=/a:[::1]:1",
        "route=/a:a:1;path=/b",
        "route=/a:a:1;obfs-uri=/b",
        "obfs=http;route=/a:a:1",
        "obfs=http;obfs-uri=/b;path=/a;route=/a:a:1",
        "mode=websocket;path=/b;obfs-uri=/a;route=/a:a:1",
        "obfs=http,tls;route=/a:a:1",
        "mode=httpupgrade;route=/a:a:1",
    ] {
        assert_eq!((found(options, "/%61?x"), found(options, "/b")), (Some(0), None), "{options}");
    }
    // Nobody has said that `/` is for the others.
    assert_eq!(found("route=/:a:1", "/"), Some(0));
    for (options, one, other) in [
        ("route=/secret:a.example:1;path=/secret", "route", "`path`"),
        ("route=/secret:a.example:1;path=secret?ed=2048", "route", "`path`"),
        ("route=/s%65cret:a.example:1;obfs-uri=/secret", "route", "`obfs-uri`"),
        ("route=/secret:a.example:1;obfs-uri=/b;path=/secret", "route", "`path`"),
        ("obfs=http;route=/secret:a.example:1;obfs-uri=/secret;path=/b", "route", "`obfs-uri`"),
        ("route=/secret:a.example:1;path=;obfs-uri=/secret", "route", "`obfs-uri`"),
        ("obfs=tls;route=/secret:a.example:1", "route", "`mode=auto`"),
        ("route=secret:a.example:1", "route", "`tls`"),
    ] {
        let options = format!("server;{options}");
        let error = complaint(&hosted("0.0.0.0:80", "127.0.0.1:9000", &options));
        assert!(
            error.contains(one) && error.contains(other) && !error.contains("cret"),
            "{options}: {error}"
        );
    }
    let server = server("server;route=/a:b.example:1;route=/b:c.example:2");
    let behind: Vec<_> = server.behind().map(|(name, to)| format!("{name} {to}")).collect();
    assert_eq!(behind, ["the backend 127.0.0.1:9000", "route b.example:1", "route c.example:2"]);
}

/// Logs are read by others than the operator, and handed on with questions.
#[test]
fn the_start_up_line_gives_no_secret_away() {
    let secrets = "obfs-host=secret.example;host=secret.example;path=/secret;obfs-uri=/secret";
    let names = "obfs-tls-host=secret.example";
    for options in ["mode=auto", "obfs=http,tls", "mode=websocket", "obfs=tls"] {
        let names = if options.contains("web") { "" } else { names };
        let server = server(&format!("server;{options};{secrets};{names}"));
        assert!(!server.to_string().contains("secret"), "{server}");
        assert!(server.secrets().contains("secret"), "{server:?}");
    }
    let routes = format!("server;tls;{CERTIFICATE};route=/secret:a:1;route=secret.example:a:1");
    let server = server(&routes);
    assert!(!server.to_string().contains("secret") && server.to_string().contains("to a:1"), "{server}");
    assert!(
        server.secrets().contains("/secret") && server.secrets().contains("secret.example"),
        "{server:?}"
    );
    for options in ["obfs=http", "obfs=tls", "mode=websocket", "mode=httpupgrade;tls"] {
        let client = client(&format!("client;{options};{secrets}"));
        assert!(!client.to_string().contains("secret"), "{client}");
        assert!(client.secrets().contains("secret"), "{client:?}");
    }
}
