//! Routes as they are written.

use super::*;
use crate::config::sip003::PluginOption;
use proptest::prelude::*;

fn given(values: &[&str]) -> Options {
    let option = |value: &&str| PluginOption { key: "route".into(), value: Some((*value).into()) };
    Options::new(values.iter().map(option))
}

fn read(values: &[&str]) -> Result<BackendRoutes, String> {
    routes(&given(values), &[], true).map_err(|error| error.to_string())
}

#[test]
fn the_path_ends_before_the_last_host_and_port() {
    for (text, from, to) in [
        ("/a:127.0.0.1:8388", "/a", "127.0.0.1:8388"),
        ("/a:b:127.0.0.1:8388", "/a:b", "127.0.0.1:8388"),
        ("/a:1:2:db:8388", "/a:1:2", "db:8388"),
        ("/a:[::1]:8388", "/a", "[::1]:8388"),
        ("/a:[::1]:80:[2001:db8::1]:8388", "/a:[::1]:80", "[2001:db8::1]:8388"),
        ("/[x]:a:1", "/[x]", "a:1"),
        ("/a::10.0.0.1:1", "/a:", "10.0.0.1:1"),
        ("/:ss.example:1", "/", "ss.example:1"),
        ("/a/:ss.example:1", "/a/", "ss.example:1"),
        ("/a?ed=2048:ss.example:1", "/a", "ss.example:1"),
        ("/a%20b c:ss.example:1", "/a%20b c", "ss.example:1"),
        ("/中文:ss.example:1", "/中文", "ss.example:1"),
        ("/a:[fe80::1%eth0]:1", "/a", "[fe80::1%eth0]:1"),
        ("a.example:ss.example:1", "a.example", "ss.example:1"),
        ("A.Example.:[::1]:1", "a.example", "[::1]:1"),
        ("例子.测试:ss.example:1", "xn--fsqu00a.xn--0zwm56d", "ss.example:1"),
    ] {
        let routes = read(&[text]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let (list, other) = match from.starts_with('/') {
            true => (routes.by_path, routes.by_name),
            false => (routes.by_name, routes.by_path),
        };
        assert_eq!(list, [(from.to_owned(), HostPort::parse(to).unwrap())], "{text}");
        assert!(other.is_empty(), "{text}");
    }
}

#[test]
fn wrong_ones_are_told() {
    let long = format!("/{}:127.0.0.1:1", "a".repeat(2048));
    for wrong in [
        "",
        "/a",
        "/a:8388",
        "/a:127.0.0.1",
        "/a:127.0.0.1:",
        "/a:127.0.0.1:0",
        "/a:127.0.0.1:65536",
        "/a:127.0.0.1:x",
        "/a::8388",
        "/a:b c:8388",
        "/a:::1:8388",
        "/a:2001:db8::1:8388",
        "/a:fe80::1%eth0:8388",
        "/a:[::1:8388",
        "/a\u{1}:127.0.0.1:8388",
        &long,
        "127.0.0.1:8388",
        "[::1]:8388",
        ":127.0.0.1:8388",
        "a b:127.0.0.1:8388",
        "a/b:127.0.0.1:8388",
        "*.a.example:127.0.0.1:8388",
        "192.0.2.1:127.0.0.1:8388",
        "a.example:1:127.0.0.1:8388",
    ] {
        let error = read(&[wrong]).expect_err(wrong);
        let expected = if wrong.is_empty() { "no value" } else { "is not a route (" };
        assert!(error.starts_with("option `route`") && error.contains(expected), "{wrong}: {error}");
    }
}

#[test]
fn one_path_or_name_has_one_route() {
    for two in [
        ["/secret:a:1", "/secret:b:2"],
        ["/secret:a:1", "/%73ecret?x:b:2"],
        ["/secre%74:a:1", "/secret:a:1"],
        ["secret.example:a:1", "SECRET.example.:b:2"],
    ] {
        let error = read(&two).expect_err("a second one");
        assert!(error.contains("`route`") && error.contains("has a route already"), "{error}");
        assert!(!error.contains("ecre"), "{error}");
    }
    assert!(read(&["/a:a:1", "/a/:a:1", "/A:a:1", "a:a:1", "/:a:1"]).is_ok());
    let many: Vec<String> = (0..=MOST).map(|n| format!("/{n}:127.0.0.1:{}", n + 1)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(read(&many[..MOST]).is_ok());
    let error = read(&many).expect_err("one more");
    assert!(error.contains("`127.0.0.1:1025` is not among the first 1024"), "{error}");
}

#[test]
fn names_are_for_tls_that_ends_here() {
    let name = given(&["a.example:127.0.0.1:1"]);
    let error = routes(&name, &[], false).unwrap_err().to_string();
    assert!(error.contains("`route`") && error.contains("`tls`") && error.contains("slash"), "{error}");
    let below = NamePattern::parse("*.example").unwrap();
    let raw = [NameRoute { pattern: below, site: HostPort::parse("127.0.0.1:2").unwrap() }];
    let error = routes(&name, &raw, true).unwrap_err().to_string();
    assert!(error.contains("`route`") && error.contains("`sni`") && error.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn the_start_up_line_counts_and_names_backends() {
    for (values, wanted) in [
        (&[][..], ""),
        (&["/secret:a:1"], "routes (1 by path) to a:1, "),
        (&["secret.x:a:1"], "routes (1 by name) to a:1, "),
        (
            &["/secret:a:1", "secret.x:a:1", "/secret/2:b:2"],
            "routes (2 by path and 1 by name) to a:1 and b:2, ",
        ),
    ] {
        assert_eq!(read(values).unwrap().to_string(), wanted);
    }
    let many: Vec<String> = (1..=10).map(|n| format!("/{n}:a:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(read(&many).unwrap().to_string().ends_with(" and a:8 and 2 more, "));
    assert_eq!(read(&["/secret:a:1"]).unwrap().secrets(), "route /secret to a:1");
}

proptest! {
    #[test]
    fn any_path_is_told_from_its_address(
        path in "/[^\\p{Cc}?]{0,40}",
        host in prop_oneof!["[a-z]{1,8}\\.example", "[0-9]{1,2}\\.[0-9]{1,2}\\.0\\.1", Just("[2001:db8::1]".to_owned())],
        port in 1_u16..,
    ) {
        let address = format!("{host}:{port}");
        let routes = read(&[&format!("{path}:{address}")]).unwrap();
        let [(found, backend)] = routes.by_path.as_slice() else { panic!("{routes:?}") };
        prop_assert_eq!((found.as_str(), backend), (path.as_str(), &HostPort::parse(&address).unwrap()));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", parts in "[/:\\[\\]a1.]{0,20}") {
        let _ = (read(&[&text]), read(&[&parts]));
    }
}
