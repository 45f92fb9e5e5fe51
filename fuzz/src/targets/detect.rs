//! Detection as a whole: one verdict, whatever the pieces, for servers of every kind.

use super::pieces::cuts;
use obfs_rs::detect::{ClientKind, Detection, Detector, FakeTlsRule, HttpRule, Rules, detect, missed};
use obfs_rs::wire::http::PathTable;
use std::sync::LazyLock;

pub(super) static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let name = || Some("www.example.com".to_owned());
    let web = || Some("/stream".to_owned());
    let rule = |path: Option<&str>, web_path, host, routes: &[&str]| HttpRule {
        method: "GET".into(),
        path: path.map(str::to_owned),
        web_path,
        routes: PathTable::new(routes.iter().copied()),
        host,
    };
    let any_name = || Some(FakeTlsRule { server_names: Vec::new() });
    let one_name = || Some(FakeTlsRule { server_names: name().into_iter().collect() });
    let of = |http, fake_tls, tls, tls_alone| Rules { http, fake_tls, grpc: None, tls, tls_alone };
    vec![
        // All that simple-obfs takes.
        of(Some(rule(None, None, None, &[])), any_name(), false, false),
        // One path, one name, and a certificate.
        of(Some(rule(Some("/"), None, name(), &[])), one_name(), true, false),
        of(Some(rule(None, web(), name(), &["/a", "/routed?x"])), one_name(), true, false),
        // Paths that no web server takes, and an odd method.
        of(
            Some(HttpRule { method: "get~it".into(), ..rule(Some("/%zz"), None, None, &["/.."]) }),
            None,
            false,
            false,
        ),
        of(Some(rule(None, web(), None, &[])), None, true, true),
        of(None, any_name(), false, false),
        Rules::default(),
    ]
});

pub fn check(bytes: &[u8]) {
    for rules in &*RULES {
        let whole = detect(bytes, rules);
        for ends in cuts(bytes) {
            let mut detector = Detector::default();
            let mut found = Detection::NeedMore;
            for end in ends {
                assert_eq!(found, Detection::NeedMore);
                found = detector.detect(&bytes[..end], rules);
                if found != Detection::NeedMore {
                    break;
                }
            }
            // Between the ends of lines and of records it is not looked each time: a visitor may be known a little
            // later, a client or its TLS may not.
            let is_late = found == Detection::NeedMore && whole == Detection::Visitor;
            assert!(found == whole || is_late, "{found:?} in pieces, {whole:?} as a whole");
        }
        let told = missed(bytes, rules, false, |_| false);
        match &whole {
            Detection::Client(ClientKind::Http(upgrade) | ClientKind::Web(upgrade)) => {
                assert!(rules.http.is_some() && !rules.tls_alone);
                assert!(upgrade.head_len <= bytes.len());
                assert!(bytes[..upgrade.head_len].ends_with(b"\n"));
                let head = bytes[..upgrade.head_len].as_ptr_range();
                for value in [upgrade.key(bytes), upgrade.protocol(bytes)].into_iter().flatten() {
                    let value = value.as_ptr_range();
                    assert!(head.start <= value.start && value.end <= head.end);
                }
                assert_eq!(told, None, "what is taken misses nothing");
            }
            Detection::Client(ClientKind::FakeTls(hello)) => {
                assert!(rules.fake_tls.is_some());
                assert!(hello.length <= bytes.len() && hello.payload.end <= hello.server_name.start);
                assert!(hello.server_name.end <= hello.length);
            }
            Detection::Tls(hello) => {
                assert!(rules.tls && hello.server_name.as_ref().is_none_or(|name| !name.is_empty()));
                assert!(hello.has_alpn || !(hello.offers_h2 || hello.offers_http1));
            }
            Detection::H2 => {
                assert!(rules.takes_h2() && bytes.starts_with(b"PRI "))
            }
            Detection::NeedMore => assert!(bytes.len() < 128 * 1024, "{} bytes, and no verdict", bytes.len()),
            Detection::Visitor => {}
        }
        // Of TLS it depends on the certificate.
        let with_certificate = missed(bytes, rules, true, |name| name.len() % 2 == 0);
        for (_, asked) in told.into_iter().chain(with_certificate) {
            assert!(asked.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{asked:?} is for a log");
        }
    }
}
