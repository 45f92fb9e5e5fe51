//! What is said of services of gRPC that are not taken as they are meant.

use super::*;

fn warnings(options: &str) -> Vec<String> {
    let env = hosted("203.0.113.1:8388", "127.0.0.1:1984", options);
    read(Settings::default(), &env).unwrap_or_else(|error| panic!("{options}: {error}")).warnings
}

/// Options that say so.
#[track_caller]
fn assert_warned(options: &str, words: &[&str]) {
    let warnings = warnings(options);
    let has_all = |text: &&String| words.iter().all(|word| text.contains(word));
    assert_eq!(warnings.iter().filter(has_all).count(), 1, "{options} lacks {words:?}: {warnings:?}");
}

#[test]
fn a_client_of_another_disguise_has_no_service() {
    for options in
        ["", "mode=websocket", "mode=httpupgrade", "obfs=http", "obfs=tls", "mode=auto", "mode=quic"]
    {
        let options = format!("client;{options};serviceName=name");
        assert_warned(&options, &["option `serviceName` has no effect without `mode=grpc`"]);
    }
    for options in
        ["client;mode=grpc;serviceName=name", "server;mode=auto;serviceName=name", "client;mode=websocket"]
    {
        let warnings = warnings(options);
        assert!(warnings.iter().all(|text| !text.contains("no effect")), "{options}: {warnings:?}");
    }
}

#[test]
fn a_server_of_grpc_alone_has_no_paths() {
    for option in ["path=/x", "obfs-uri=/x", "http-method=PUT"] {
        let name = option.split('=').next().unwrap();
        for disguise in ["mode=grpc", "obfs=grpc,tls"] {
            let options = format!("server;{disguise};serviceName=name;{option}");
            assert_warned(&options, &[&format!("option `{name}` has no effect with mode=grpc")]);
        }
        for disguise in ["mode=auto", "obfs=grpc,http", "obfs=grpc,websocket"] {
            let warnings = warnings(&format!("server;{disguise};serviceName=name;{option}"));
            assert!(warnings.iter().all(|text| !text.contains("no effect")), "{disguise}: {warnings:?}");
        }
    }
}

#[test]
fn a_route_by_path_is_refused_with_what_is_true() {
    let error =
        |options: &str| complaint(&hosted("0.0.0.0:443", "127.0.0.1:9000", &format!("server;{options}")));
    for (options, words, other) in [
        ("mode=grpc;serviceName=name", "gRPC has no paths of routes", "obfs=tls"),
        ("obfs=grpc,tls;serviceName=name", "gRPC has no paths of routes", "obfs=tls"),
        ("mode=quic;cert=/c;key=/k", "QUIC has none", "obfs=tls"),
        ("obfs=tls", "`obfs=tls` has none", "gRPC"),
    ] {
        let error = error(&format!("{options};route=/secret:a.example:1"));
        assert!(
            error.contains(words) && !error.contains(other) && !error.contains("cret"),
            "{options}: {error}"
        );
    }
    server(&format!("server;mode=grpc;serviceName=name;tls;{CERTIFICATE};route=name.example:a.example:1"));
}

#[test]
fn names_that_everybody_knows_are_told() {
    for (name, told) in [("", ": the empty name is known"), ("GunService", ": `GunService` is known")] {
        for mode in ["grpc", "auto"] {
            assert_warned(&format!("server;mode={mode};serviceName={name}"), &["option `serviceName`", told]);
        }
    }
}

/// Each with the path that is asked for and what to write, but without the name, which may be a secret.
#[test]
fn names_that_are_surely_mistakes_are_told() {
    for (name, path, instead) in [
        ("secret/Tun", "`/…%2FTun/Tun`", "without `/Tun`"),
        ("secret/TunMulti", "`/…%2FTunMulti/Tun`", "without `/TunMulti`"),
        ("https://a.com/secret", "`/https:%2F%2F…/Tun`", "serviceName=NAME"),
        ("https://a.com/secret/Tun", "`/https:%2F%2F…/Tun`", "the option `host`"),
        ("secret,other", "`…%2C…`", "serviceName=ONE;serviceName=OTHER"),
        ("/secret/Tun,/other/Tun", "`…%2C…`", "serviceName=ONE;serviceName=OTHER"),
        ("secret%2Fx", "`%252F` for `%2F`", "without escapes"),
        ("/secret%2fx/Tun", "`%252f` for `%2f`", "without escapes"),
        ("/", "asked for is `/`", "serviceName=NAME"),
        ("//", "asked for is `/`", "serviceName=NAME"),
    ] {
        for half in
            ["client;mode=grpc", "server;mode=grpc", "server;mode=auto", "server;mode=auto;serviceName=good"]
        {
            let options = format!("{half};serviceName={name}");
            assert_warned(&options, &["option `serviceName`: ", path, instead]);
            let warnings = warnings(&options);
            assert!(warnings.iter().all(|text| !text.contains("secret")), "{options}: {warnings:?}");
        }
        let others = warnings(&format!("server;mode=websocket;serviceName={name}"));
        assert!(others.iter().all(|text| text.contains("no effect")), "{name}: {others:?}");
    }
    for name in ["name", "a.b.c", "a/b", "/a/Tun", "/a/b/tun|multi", "100%", "%zz", "Tun", "a%é", "/a/%"] {
        for half in ["client", "server"] {
            let warnings = warnings(&format!("{half};mode=grpc;serviceName={name}"));
            assert!(warnings.iter().all(|text| !text.contains("asked for is")), "{name}: {warnings:?}");
            assert!(warnings.iter().all(|text| !text.contains("asked for has")), "{name}: {warnings:?}");
        }
    }
}
