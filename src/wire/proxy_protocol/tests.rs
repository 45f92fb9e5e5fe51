use super::*;
use proptest::prelude::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The answer, which must be the same whatever pieces the bytes come in, and whatever follows them.
fn parse(bytes: &[u8]) -> Result<Option<Header>, InvalidHeader> {
    let whole = Header::parse(bytes);
    let first = (0..=bytes.len()).map(|cut| Header::parse(&bytes[..cut])).find(|answer| *answer != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole, "{}", bytes.escape_ascii());
    if whole != Ok(None) {
        assert_eq!(Header::parse(&[bytes, b"\r\nmore\r\n"].concat()), whole, "{}", bytes.escape_ascii());
    }
    whole
}

/// A header that is followed by the first bytes of a stream.
fn named(header: &[u8]) -> Option<Addresses> {
    for stream in [&b""[..], b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"PROXY UNKNOWN\r\n"] {
        let parsed = parse(&[header, stream].concat()).unwrap().unwrap();
        assert_eq!(parsed.len, header.len());
    }
    parse(header).unwrap().unwrap().addresses
}

/// Lines, and bytes as HAProxy 2.6 sends them for `send-proxy-v2`.
#[test]
fn headers_as_they_are_in_the_wild() {
    let ipv4 = addresses("192.168.0.1:56324", "192.168.0.11:443");
    let ipv6 = addresses("[2001:db8::7]:51234", "[2001:db8::1]:80");
    for (header, wanted) in [
        (&b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"[..], Some(ipv4)),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 80\r\n", Some(ipv6)),
        (b"PROXY TCP6 2001:0DB8:0000:0000:0000:0000:0000:0007 2001:db8::1 51234 80\r\n", Some(ipv6)),
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            Some(addresses("0.0.0.0:0", "255.255.255.255:65535")),
        ),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 \xff whatever 1\r2\n3 \r\n", None),
    ] {
        assert_eq!(named(header), wanted, "{}", header.escape_ascii());
    }
    let signature = "0d0a0d0a000d0a515549540a";
    let (four, six) = (
        "c0a80001 c0a8000b dc0401bb",
        "20010db8000000000000000000000007 20010db8000000000000000000000001 c8220050",
    );
    for (header, wanted) in [
        (format!("{signature} 21 11 000c {four}"), Some(ipv4)),
        (format!("{signature} 21 21 0024 {six}"), Some(ipv6)),
        // A checksum and a padding behind the addresses, neither of them looked at.
        (format!("{signature} 21 11 0017 {four} 03 0004 00000000 04 0001 00"), Some(ipv4)),
        // TLVs that are none.
        (format!("{signature} 21 11 000d {four} ff"), Some(ipv4)),
        // A health check, as HAProxy sends it, with addresses, and with a family that there is not.
        (format!("{signature} 20 00 0000"), None),
        (format!("{signature} 20 11 000c {four}"), None),
        (format!("{signature} 20 ff 0001 00"), None),
        // Not told, datagrams, UNIX sockets.
        (format!("{signature} 21 00 0000"), None),
        (format!("{signature} 21 12 000c {four}"), None),
        (format!("{signature} 21 31 00d8 {}", "2f".repeat(216)), None),
    ] {
        assert_eq!(named(&hex(&header)), wanted, "{header}");
    }
}

#[test]
fn what_is_no_header_is_refused() {
    use InvalidHeader as E;
    let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
    let binary = |rest: &str| hex(&format!("0d0a0d0a000d0a515549540a{rest}"));
    let four = "c0a80001c0a8000bdc0401bb";
    for (bytes, error) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), E::Other),
        (b"\x16\x03\x01".to_vec(), E::Other),
        (b"\r\n\r\n\0\r\nQUIT ".to_vec(), E::Other),
        (b"PROXY\r\n".to_vec(), E::Other),
        (b"proxy TCP4".to_vec(), E::Other),
        (line(""), E::Line),
        (line("TCP4"), E::Line),
        (line("UNKNOWNER"), E::Line),
        (line("UDP4 1.2.3.4 5.6.7.8 9 10"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 9"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 9 10 11"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 9 10 "), E::Line),
        (line("TCP4  1.2.3.4 5.6.7.8 9 10"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 09 10"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 +9 10"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 9 65536"), E::Line),
        (line("TCP4 1.2.3.04 5.6.7.8 9 10"), E::Line),
        (line("TCP4 1.2.3 5.6.7.8 9 10"), E::Line),
        (line("TCP4 2001:db8::7 2001:db8::1 9 10"), E::Line),
        (line("TCP6 1.2.3.4 5.6.7.8 9 10"), E::Line),
        (line("TCP6 fe80::1%lo ::1 9 10"), E::Line),
        (line("TCP4 1.2.3.4 5.6.7.8 9 10\nx"), E::Line),
        (line("TCP4 1.2.3.4\t5.6.7.8 9 10"), E::Line),
        (line(&"UNKNOWN ".repeat(13)), E::LongLine),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n".repeat(4), E::LongLine),
        (binary("11"), E::Command(0x11)),
        (binary("31"), E::Command(0x31)),
        (binary("22 11"), E::Command(0x22)),
        (binary("21 41"), E::Family(0x41)),
        (binary("21 13"), E::Family(0x13)),
        (binary(&format!("21 11 000b {four}")), E::Short(27)),
        (binary(&format!("21 21 000c {four}")), E::Short(28)),
        (binary("21 11 0ff1"), E::Long(4097)),
        (binary("20 00 ffff"), E::Long(16 + 65535)),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse(&line(&format!("UNKNOWN {}", "x".repeat(91)))).unwrap().unwrap().len, MAX_LINE);
    assert_eq!(named(&binary(&format!("20 00 0ff0 {}", "00".repeat(4080)))), None);
}

#[test]
fn the_ends_are_told_in_one_family() {
    let told = |source: &str, destination: &str| {
        let ends = addresses(source, destination);
        let line = String::from_utf8(ends.encode(Version::V1)).unwrap();
        assert_eq!(line.find("\r\n"), Some(line.len() - 2));
        (line.trim_end().to_owned(), ends.encode(Version::V2)[13])
    };
    for (source, destination, line, family) in [
        ("203.0.113.7:51234", "192.0.2.1:443", "PROXY TCP4 203.0.113.7 192.0.2.1 51234 443", 0x11),
        ("[::ffff:203.0.113.7]:5", "[::ffff:192.0.2.1]:6", "PROXY TCP4 203.0.113.7 192.0.2.1 5 6", 0x11),
        ("[2001:db8::7]:51234", "[::1]:80", "PROXY TCP6 2001:db8::7 ::1 51234 80", 0x21),
        ("[fe80::1%3]:5", "[fe80::2%3]:6", "PROXY TCP6 fe80::1 fe80::2 5 6", 0x21),
        ("203.0.113.7:5", "[2001:db8::1]:6", "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 5 6", 0x21),
    ] {
        assert_eq!(told(source, destination), (line.to_owned(), family));
    }
}

#[test]
fn a_header_shows_by_its_beginning() {
    let signature = [SIGNATURE, b"anything"].concat();
    for (bytes, wanted) in [
        (&b"PROXY TCP4 1.2.3.4"[..], true),
        (b"PROXY TCP6 ", true),
        (b"PROXY UNKNOWN\r\n", true),
        (b"PROXY T", true),
        (b"PROXY ", true),
        (b"PROXY", false),
        (b"PROXY / HTTP/1.1\r\n", false),
        (b"PROXY TCP5 ", false),
        (b"PROXYING ", false),
        (b"proxy TCP4 ", false),
        (&signature, true),
        (SIGNATURE, true),
        (&SIGNATURE[..11], false),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", false),
        (b"", false),
    ] {
        assert_eq!(Header::is_begun_by(bytes), wanted, "{}", bytes.escape_ascii());
    }
}

fn ends() -> impl Strategy<Value = Addresses> {
    let four = || any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddr::new(Ipv4Addr::from(ip).into(), port));
    let six = || any::<(u128, u16)>().prop_map(|(ip, port)| SocketAddr::new(Ipv6Addr::from(ip).into(), port));
    let pair = |(source, destination)| Addresses { source, destination };
    prop_oneof![(four(), four()).prop_map(pair), (six(), six()).prop_map(pair)]
}

/// Bytes, and bytes that begin as a header does.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(Vec::new()),
        Just(b"PROXY ".to_vec()),
        Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
        Just([SIGNATURE, &[0x21]].concat()),
        Just([SIGNATURE, &[0x21, 0x11, 0]].concat()),
        ends().prop_map(|ends| ends.encode(Version::V1)),
        ends().prop_map(|ends| ends.encode(Version::V2)),
    ];
    (start, proptest::collection::vec(any::<u8>(), 0..160), any::<proptest::sample::Index>(), any::<u8>())
        .prop_map(|(start, tail, at, byte)| {
            let mut bytes = [start, tail].concat();
            // One byte of it may be another one.
            if byte < 128 && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
}

proptest! {
    #[test]
    fn what_is_told_is_understood(ends in ends(), tail in proptest::collection::vec(any::<u8>(), 0..40)) {
        for version in [Version::V1, Version::V2] {
            let header = ends.encode(version);
            let parsed = parse(&[header.as_slice(), &tail].concat()).unwrap().unwrap();
            prop_assert_eq!(parsed.len, header.len());
            let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let understood = parsed.addresses.unwrap();
            prop_assert_eq!(canonical(understood.source), canonical(ends.source));
            prop_assert_eq!(canonical(understood.destination), canonical(ends.destination));
        }
    }

    #[test]
    fn no_bytes_panic_and_no_cut_changes_the_answer(bytes in almost()) {
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.len <= bytes.len());
            prop_assert!(Header::is_begun_by(&bytes));
        }
    }
}
