//! Those who break off, those who say nothing, those who speak something else, and random bytes.

use super::ProbeContext;
use crate::probe::script::{Action, Probe, says, says_and_ends};
use std::time::Duration;

use Action::{Fin, Listen, Pause, Send};

/// The lengths of the random bytes that the Great Firewall was seen to send to servers which it took
/// for Shadowsocks: n − 1, n and n + 1 for these n, evenly, and most often 221 (Alice, Bob, Carol,
/// Beznazwy and Houmansadr, "How China Detects and Blocks Shadowsocks", IMC 2020, figure 2).
const AROUND: [usize; 7] = [8, 12, 16, 22, 33, 41, 49];
const MOST_OFTEN: usize = 221;

/// Some lengths beside those: one byte, the neighbours, a hello's, a segment's, more than a segment.
const OTHERS: [usize; 7] = [1, 51, 220, 222, 517, 1460, 9000];

/// Random bytes, each time others.
pub fn random_bytes(context: &mut ProbeContext) -> Vec<Probe> {
    let noise = &mut context.noise;
    let published = AROUND.iter().flat_map(|n| [n - 1, *n, n + 1]).chain([MOST_OFTEN]);
    let mut probes: Vec<_> = published
        .chain(OTHERS)
        .map(|length| {
            let name =
                if length == 1 { "a random byte".to_owned() } else { format!("{length} random bytes") };
            says(name, noise.bytes(length))
        })
        .collect();
    for length in [50, MOST_OFTEN] {
        probes.push(says_and_ends(format!("{length} random bytes, then the end"), noise.bytes(length)));
    }
    probes
}

/// Nothing, or not all of it.
pub fn unfinished(context: &ProbeContext) -> Vec<Probe> {
    let whole = context.request("GET /", "Accept: */*\r\n");
    let head = whole.get(..whole.len() / 2).unwrap_or_default();
    let post = context.request(&format!("POST {}", context.nowhere), "Content-Length: 10\r\n");
    vec![
        Probe::new("silence", Vec::new()).patiently(),
        Probe::new("nothing, then the end", vec![Fin]),
        Probe::new("silence, then the end", vec![Pause(Duration::from_millis(1200)), Fin]),
        says("one letter", "G").patiently(),
        says("half a request line", "GET /ind").patiently(),
        says("half a head", head).patiently(),
        says("half a body", post.clone() + "hello").patiently(),
        says_and_ends("one letter, then the end", "G"),
        says_and_ends("half a request line, then the end", "GET /ind"),
        says_and_ends("half a head, then the end", head),
        Probe::new(
            "half a head, a pause, then the end",
            vec![Send(head.into()), Pause(Duration::from_millis(700)), Fin],
        ),
        says_and_ends("half a body, then the end", post.clone() + "hello"),
        says_and_ends("a request, then the end", &whole),
        says_and_ends("three requests, then the end", whole.repeat(3)),
        Probe::new("half a body, the end behind an answer", vec![Send((post + "hello").into()), Listen, Fin]),
    ]
}

/// Openings of other protocols.
pub fn other_protocols() -> Vec<Probe> {
    let socks_request = [&[5, 1, 0, 5, 1, 0, 3, 15][..], b"www.example.com", &[0, 80]].concat();
    vec![
        says("an empty line", "\r\n"),
        says("a line of words", "hello there, who is this\r\n"),
        says("a word", "hello"),
        says("spaces", "        \r\n\r\n"),
        says("NULs", [0; 64]),
        says("JSON", "{\"jsonrpc\":\"2.0\",\"method\":\"login\",\"id\":1}\n"),
        says("SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        says_and_ends("SSH, then the end", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        says("SOCKS5", [5, 1, 0]),
        says("SOCKS5 with a request", socks_request),
        says("SOCKS4", [4, 1, 0, 80, 127, 0, 0, 1, 0]),
        says("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        says("PROXY protocol, version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nGET / HTTP/1.0\r\n\r\n"),
        says(
            "PROXY protocol, version 2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\0\x50GET / HTTP/1.0\r\n\r\n",
        ),
        says("SMTP", "EHLO example.com\r\n"),
        says("RTSP", "OPTIONS rtsp://example.com/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        says("Redis", "*1\r\n$4\r\nPING\r\n"),
        says("RDP", RDP),
        says("DNS over TCP", DNS),
    ]
}

/// Those of them that a port of TLS sees, too.
pub fn at_a_tls_port(context: &ProbeContext) -> Vec<Probe> {
    let request = context.request("GET /", "");
    vec![
        Probe::new("the port: silence", Vec::new()).patiently(),
        Probe::new("the port: nothing, then the end", vec![Fin]),
        says("the port: HTTP", &request),
        says("the port: HTTP, unfinished", request.get(..20).unwrap_or_default()),
        says_and_ends("the port: HTTP, then the end", &request),
        says("the port: HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        says("the port: CONNECT", "CONNECT www.example.com:443 HTTP/1.1\r\n\r\n"),
        says("the port: HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        says("the port: one letter", "G"),
        says("the port: a line of words", "hello there, who is this\r\n"),
        says("the port: SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
        says("the port: SOCKS5", [5, 1, 0]),
        says("the port: RDP", RDP),
        says("the port: DNS over TCP", DNS),
        says("the port: NULs", [0; 64]),
    ]
}

/// A connection request with a negotiation of security (MS-RDPBCGR section 2.2.1.1).
const RDP: [u8; 19] = [3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0];

/// A question for version.bind, in its two bytes of length (RFC 1035 section 4.2.2).
const DNS: &[u8] = b"\0\x1e\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_begin_with_their_length_have_it() {
        assert_eq!(usize::from(DNS[1]), DNS.len() - 2);
        assert_eq!(usize::from(RDP[3]), RDP.len());
        assert_eq!(usize::from(RDP[4]), RDP.len() - 5);
    }

    #[test]
    fn the_published_lengths_are_all_there() {
        let mut context = ProbeContext::new("a".into(), None, None, 1);
        let names: Vec<_> = random_bytes(&mut context).into_iter().map(|probe| probe.name).collect();
        for length in [7, 8, 9, 11, 12, 13, 15, 16, 17, 21, 22, 23, 32, 33, 34, 40, 41, 42, 48, 49, 50, 221] {
            assert!(names.contains(&format!("{length} random bytes")), "{length}");
        }
    }
}
