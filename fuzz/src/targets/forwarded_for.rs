//! `X-Forwarded-For`, as far as it is trusted.

use super::pieces::settled;
use obfs_rs::wire::forwarded_for::last_untrusted;
use std::net::{IpAddr, SocketAddr};

/// Some proxies, none, and all.
const TRUSTED: [fn(IpAddr) -> bool; 3] = [is_private, |_| false, |_| true];

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_private())
}

pub fn check(bytes: &[u8]) {
    for trusted in TRUSTED {
        let (_, found) = settled(bytes, &None, |bytes| last_untrusted(bytes, trusted));
        assert_eq!(found, from_the_front(bytes, trusted));
        assert!(found.is_none_or(|address| !trusted(address) && address == address.to_canonical()));
    }
    // As a value. (No proxy ends a line in one.)
    let value: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_control()).take(2048).collect();
    let head =
        [&b"GET / HTTP/1.1\r\nX-Forwarded-For: "[..], &value, b"\r\nx-forwarded-for: 10.0.0.1\r\n\r\n"]
            .concat();
    assert_eq!(last_untrusted(&head, is_private), from_the_front(&head, is_private));
    assert_eq!(last_untrusted(&head, |_| false), Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(last_untrusted(&head[..head.len() - 1], |_| false), None);
}

/// The same, from the other end: all items in the order in which they were written.
fn from_the_front(bytes: &[u8], trusted: fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(bytes).ok()?.is_partial() {
        return None;
    }
    let mut found = None;
    for header in request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"))
    {
        for item in header.value.split(|&byte| byte == b',') {
            match std::str::from_utf8(item).ok().and_then(|item| read(item.trim())) {
                Some(address) if trusted(address) => {}
                other => found = other,
            }
        }
    }
    found
}

fn read(item: &str) -> Option<IpAddr> {
    let alone = item.parse::<IpAddr>();
    let with_port = item.parse::<SocketAddr>().map(|address| address.ip());
    // Brackets are an IPv6 address's.
    let bracketed = format!("{item}:1").parse::<SocketAddr>().map(|address| address.ip());
    let bracketed = bracketed.ok().filter(|_| item.starts_with('['));
    alone.or(with_port).ok().or(bracketed).map(|address| address.to_canonical())
}
