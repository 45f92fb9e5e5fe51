//! Requests for an upgrade: which are taken, and how ours are written.

use super::detect::RULES;
use super::pieces::Numbers;
use obfs_rs::wire::http::host::is_path;
use obfs_rs::wire::http::{HeaderOrder, HttpRule, PathTable, UpgradeDetector, UpgradeParse, UpgradeRequest};

fn parse(bytes: &[u8], rule: &HttpRule) -> UpgradeParse {
    UpgradeDetector::default().detect(bytes, rule)
}

pub fn check(bytes: &[u8]) {
    for rule in RULES.iter().filter_map(|rules| rules.http.as_ref()) {
        let UpgradeParse::Upgrade(upgrade) = parse(bytes, rule) else { continue };
        // What is taken is a request to any reader, and the very one that the rule names.
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut headers);
        assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(upgrade.head_len)));
        assert_eq!((request.method, request.version), (Some(&*rule.method), Some(1)));
        let path = request.path.expect("a complete request");
        assert_eq!(upgrade.route, rule.routes.find(path));
        let values = |name: &str| {
            let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| header.value).collect::<Vec<_>>()
        };
        assert_eq!(values("host").len(), 1);
        assert!(values("transfer-encoding").is_empty());
        assert_eq!(upgrade.key(bytes), values("sec-websocket-key").first().copied());
        assert_eq!(upgrade.protocol(bytes), values("sec-websocket-protocol").first().copied());
        assert_eq!(upgrade.versioned, !values("sec-websocket-version").is_empty());
        assert!(takes(rule, path, upgrade.versioned || upgrade.key.is_none()));
        let missed = rule.missed(bytes);
        assert!(missed.as_ref().is_none_or(|missed| missed.missed.is_none()), "{missed:?}");
        // The head alone says the same: nothing behind it counts.
        let head = &bytes[..upgrade.head_len];
        assert_eq!(parse(head, rule), UpgradeParse::Upgrade(upgrade.clone()));
        let all: usize = request.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
        if all < 4096 && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            rewritten(rule, &request, path);
        }
    }
    paths(bytes);
}

/// A request with the same values as our client writes it is taken, too.
fn rewritten(rule: &HttpRule, request: &httparse::Request<'_, '_>, path: &str) {
    let value = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        // Ours are checked to be these.
        let text = std::str::from_utf8(found.value).ok()?;
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte)).then_some(text)
    };
    let Some(host) = value("host") else { return };
    let (key, protocol) = (value("sec-websocket-key"), value("sec-websocket-protocol"));
    let versioned = value("sec-websocket-version").is_some();
    for order in [HeaderOrder::SIMPLE_OBFS, HeaderOrder::GO] {
        let written = UpgradeRequest {
            method: &rule.method,
            path,
            host,
            user_agent: value("user-agent").unwrap_or("curl/7.88.1"),
            key,
            versioned,
            protocol,
            content_length: Some(17),
            headers: &[("X-Name".to_owned(), "value".to_owned())],
            order,
        };
        let head = written.encode();
        let UpgradeParse::Upgrade(again) = parse(&head, rule) else {
            // Without a value that cannot be written it may be a request of the other kind. And what a web server
            // refuses is nobody's.
            assert!(
                !takes(rule, path, versioned || key.is_none()) || refused(&head),
                "{}",
                head.escape_ascii()
            );
            continue;
        };
        assert_eq!(again.head_len, head.len());
        assert_eq!(again.key(&head), key.map(|key| key.trim().as_bytes()));
        assert_eq!(again.versioned, versioned);
    }
}

/// Whether the rule has this path, for a request of WebSocket and HTTPUpgrade (`web`) or of simple-obfs.
fn takes(rule: &HttpRule, path: &str, web: bool) -> bool {
    let web_path = rule.web_path.as_ref().filter(|_| web);
    let wanted = web_path.or(rule.path.as_ref());
    rule.routes.find(path).is_some() || wanted.is_none_or(|wanted| is_path(path, wanted))
}

/// Whether a web server would refuse the head.
fn refused(head: &[u8]) -> bool {
    obfs_rs::wire::http::request::head::RequestReader::default().advance(head).is_err()
}

/// A table of paths finds what a comparison with each of them finds.
fn paths(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes.get(..256).unwrap_or(bytes));
    let listed: Vec<&str> = text.split_ascii_whitespace().take(16).collect();
    let table = PathTable::new(listed.iter().copied());
    let mut numbers = Numbers::new(bytes);
    for _ in 0..listed.len() {
        let target = listed[numbers.below(listed.len())];
        let found = table.find(target).expect("it is listed");
        assert!(is_path(target, listed[found]));
    }
    if let Some((last, others)) = listed.split_last() {
        let found = PathTable::new(others.iter().copied()).find(last);
        assert_eq!(found.is_some(), others.iter().any(|path| is_path(last, path)));
    }
}
