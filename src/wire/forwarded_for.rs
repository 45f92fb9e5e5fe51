//! `X-Forwarded-For`, in which HTTP proxies name the client.
//!
//! Each proxy adds the address that its own connection came from at the end, so the header is worth as
//! much as the proxies that wrote it: it is read from its end, for as long as they are trusted. There is
//! no standard; this is what nginx's `real_ip_recursive` does, with the ports that some proxies add.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// More headers than a request has that came through proxies.
const MAX_HEADERS: usize = 128;

/// The last address, over all lines of the header, for which `trusted` does not hold. `None` if the bytes
/// do not begin with a whole request head, or if the search comes to something that is no address:
/// what stands before that was written by a sender that is not known.
pub fn last_untrusted(bytes: &[u8], trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(bytes).is_ok_and(|status| status.is_complete()) {
        return None;
    }
    let lines = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
    let from_the_end = lines.rev().flat_map(|line| line.value.rsplit(|&b| b == b','));
    from_the_end.map(address).find(|address| !address.is_some_and(&trusted))?
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text
        .parse()
        .ok()
        .or_else(|| bracketed().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn last(lines: &[&str]) -> Option<String> {
        let lines: String = lines.iter().map(|line| format!("X-Forwarded-For: {line}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Accept: */*\r\n\r\n");
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        for cut in 0..head.len() {
            assert_eq!(last_untrusted(&head.as_bytes()[..cut], trusted), None);
        }
        let found = last_untrusted(head.as_bytes(), trusted);
        assert_eq!(
            last_untrusted(format!("{head}X-Forwarded-For: 8.8.8.8\r\n\r\n").as_bytes(), trusted),
            found
        );
        found.map(|ip| ip.to_string())
    }

    #[test]
    fn the_last_one_that_is_not_trusted() {
        for (lines, wanted) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["198.51.100.1, 203.0.113.7"], Some("203.0.113.7")),
            (&["198.51.100.1,203.0.113.7 , 10.0.0.2,\t10.0.0.3"], Some("203.0.113.7")),
            (&["203.0.113.7", "10.0.0.2"], Some("203.0.113.7")),
            (&["198.51.100.1", "203.0.113.7, 10.0.0.2"], Some("203.0.113.7")),
            (&["2001:db8::7"], Some("2001:db8::7")),
            (&["[2001:db8::7]"], Some("2001:db8::7")),
            (&["[2001:db8::7]:443"], Some("2001:db8::7")),
            (&["203.0.113.7:51234"], Some("203.0.113.7")),
            (&["::ffff:203.0.113.7, ::ffff:10.0.0.1"], Some("203.0.113.7")),
            // Only the proxies themselves.
            (&["10.0.0.9, 10.0.0.2"], None),
            (&[], None),
            // What no trusted proxy has written.
            (&["203.0.113.7, unknown"], None),
            (&["203.0.113.7, unknown, 10.0.0.2"], None),
            (&["203.0.113.7", ""], None),
            (&["203.0.113.7,"], None),
            (&["_hidden"], None),
            (&["203.0.113.7 10.0.0.2"], None),
            (&["203.0.113.256"], None),
            (&["[203.0.113.7]"], None),
        ] {
            assert_eq!(last(lines).as_deref(), wanted, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = last_untrusted(&value, |_| false);
            let head = [b"GET / HTTP/1.1\r\nX-Forwarded-For: ".as_slice(), &value, b"\r\n\r\n"].concat();
            let _ = last_untrusted(&head, |_| true);
        }
    }
}
