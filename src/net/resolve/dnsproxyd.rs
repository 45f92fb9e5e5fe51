//! Android's resolver, for a program that is built for Linux: Android has no `/etc/resolv.conf` for its own C library
//! to read. Programs of Android ask netd, through a local socket, and so does this.
//!
//! A question is a line of text, `getaddrinfo HOST SERVICE FLAGS FAMILY SOCKTYPE PROTOCOL NETID`, with a zero byte behind it.
//! An answer is three digits and a zero byte; behind `222`, addresses: each has a 1 before it, of which, as of all numbers
//! that follow, there are four bytes, the highest first: flags, family, type, protocol, the length of a `sockaddr`, this,
//! the length of a name, this. A 0 ends them. (The `sockaddr` is the machine's own, since it was netd's.)

use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufReader, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Where netd is asked.
const SOCKET: &str = "/dev/socket/dnsproxyd";

/// Whose resolver is another than netd has this file.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long all of it may take. netd asks several name servers, each several times.
const PATIENCE: Duration = Duration::from_secs(30);

/// A name is no longer (RFC 1035 section 3.1, as text), and netd reads no longer line than 1024 bytes.
const LONGEST_NAME: usize = 253;

/// More addresses than fit into an answer of DNS.
const MOST_ADDRESSES: usize = 4096;

/// `sizeof(struct sockaddr_storage)`.
const LONGEST_ADDRESS: usize = 128;

/// `NI_MAXHOST`.
const LONGEST_CANONICAL_NAME: usize = 1025;

const ADDRESSES: &[u8; 4] = b"222\0";
const FAILED: &[u8; 4] = b"401\0";

/// netd, where it is asked.
#[derive(Debug)]
pub(super) struct Resolver {
    socket: PathBuf,
    patience: Duration,
}

impl Resolver {
    /// That of the system, if this is Android.
    pub(super) fn of_android() -> Option<Resolver> {
        let is_android = !may_be(RESOLV_CONF) && may_be(SOCKET);
        is_android.then(|| Resolver { socket: SOCKET.into(), patience: PATIENCE })
    }

    /// The addresses of a name, with this port.
    ///
    /// # Errors
    ///
    /// There are none, or there is no answer.
    pub(super) fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.socket.display()));
        let question = question(name)?;
        let found = self.ask(&question).map_err(named)?;
        Ok(found.into_iter().map(|address| with_port(address, port)).collect())
    }

    fn ask(&self, question: &str) -> io::Result<Vec<SocketAddr>> {
        let until = Instant::now() + self.patience;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // It is what a connection waits for, too, where too many others wait.
        socket.set_write_timeout(Some(self.patience))?;
        socket.connect(&SockAddr::unix(&self.socket)?).map_err(in_words)?;
        (&socket).write_all(question.as_bytes()).map_err(in_words)?;
        answer(&mut BufReader::new(Until { socket, until }))
    }
}

/// Whether a file is not known to be missing. An app may speak to netd's socket and may not look at it.
fn may_be(path: &str) -> bool {
    Path::new(path).try_exists().unwrap_or(true)
}

/// A socket that is read from no longer than until then.
struct Until {
    socket: Socket,
    until: Instant,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(buffer).map_err(in_words)
    }
}

/// The end of a socket's patience comes as something that would block.
fn in_words(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// What netd is asked: for addresses of both families, each once, of whatever network is this program's.
fn question(name: &str) -> io::Result<String> {
    // (netd takes the line apart at spaces, has quotes and escapes, and `^` for what is not there)
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'^');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no name that can be looked up"));
    }
    let (flags, family, of_streams, protocol, network) = (0, libc::AF_UNSPEC, libc::SOCK_STREAM, 0, 0);
    Ok(format!("getaddrinfo {name} ^ {flags} {family} {of_streams} {protocol} {network}\0"))
}

/// Reads an answer: the addresses, without a port, each once.
fn answer(from: &mut impl Read) -> io::Result<Vec<SocketAddr>> {
    match &array(from)? {
        ADDRESSES => {}
        FAILED => return Err(failure(from)?),
        other => {
            let code = String::from_utf8_lossy(other.get(..3).unwrap_or_default());
            return Err(io::Error::other(format!("the question is refused ({})", code.escape_default())));
        }
    }
    let mut found = Vec::new();
    let mut buffer = Vec::new();
    for _ in 0..MOST_ADDRESSES {
        if number(from)? == 0 {
            return Ok(found);
        }
        let [_flags, family, _type, _protocol] = [number(from)?, number(from)?, number(from)?, number(from)?];
        counted(from, LONGEST_ADDRESS, &mut buffer)?;
        let address = address(family, &buffer)?;
        counted(from, LONGEST_CANONICAL_NAME, &mut buffer)?;
        found.extend(address.filter(|address| !found.contains(address)));
    }
    Err(malformed("too many addresses"))
}

/// Why there are no addresses: one of Android's `EAI_…`, in the machine's own order.
fn failure(from: &mut impl Read) -> io::Result<io::Error> {
    let mut buffer = Vec::new();
    counted(from, size_of::<i32>(), &mut buffer)?;
    let why = buffer.first_chunk().map_or(0, |why| i32::from_ne_bytes(*why));
    Ok(match why {
        2 => io::Error::new(io::ErrorKind::TimedOut, "no name server answers"),
        7 | 8 => io::Error::new(io::ErrorKind::NotFound, "the name is not known"),
        why => io::Error::other(format!("the look-up has failed (EAI {why})")),
    })
}

/// An address of this family. `None` if it is of another than IP's.
fn address(family: u32, bytes: &[u8]) -> io::Result<Option<SocketAddr>> {
    const IPV4: u32 = libc::AF_INET as u32;
    const IPV6: u32 = libc::AF_INET6 as u32;
    if !matches!(family, IPV4 | IPV6) {
        return Ok(None);
    }
    let parts = || {
        let (own_family, rest) = bytes.split_first_chunk()?;
        let (_port, rest) = rest.split_first_chunk::<2>()?;
        if u32::from(u16::from_ne_bytes(*own_family)) != family {
            return None;
        }
        if family == IPV4 {
            let ip = IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?));
            return Some(SocketAddr::new(ip, 0));
        }
        let (_flow, rest) = rest.split_first_chunk::<4>()?;
        let (ip, rest) = rest.split_first_chunk::<16>()?;
        let scope = u32::from_ne_bytes(*rest.first_chunk()?);
        Some(SocketAddrV6::new(Ipv6Addr::from(*ip), 0, 0, scope).into())
    };
    parts().map(Some).ok_or_else(|| malformed("an address that is none"))
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn number(from: &mut impl Read) -> io::Result<u32> {
    array(from).map(u32::from_be_bytes)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Bytes with their number before them, of which there may be so many.
fn counted(from: &mut impl Read, most: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(number(from)?).ok().filter(|len| *len <= most);
    into.clear();
    into.resize(len.ok_or_else(|| malformed("a length that is none"))?, 0);
    from.read_exact(into)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    /// One address, the way a machine with the low byte first has it; this, and a 0 behind it, is a whole answer.
    #[cfg(target_endian = "little")]
    const ONE: &[u8] = b"222\0\
        \0\0\0\x01\
        \0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x06\
        \0\0\0\x10\x02\0\0\0\xc0\0\x02\x07\0\0\0\0\0\0\0\0\
        \0\0\0\0";

    #[cfg(target_endian = "little")]
    const OF_IPV6: &[u8] = b"\
        \0\0\0\x01\
        \0\0\0\0\0\0\0\x0a\0\0\0\x01\0\0\0\x06\
        \0\0\0\x1c\x0a\0\0\0\0\0\0\0\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x03\0\0\0\
        \0\0\0\x04a.b\0";

    const END: &[u8] = &[0; 4];

    #[test]
    fn a_question_is_a_line_with_a_zero_byte() {
        assert_eq!(question("www.example.com").unwrap(), "getaddrinfo www.example.com ^ 0 0 1 0 0\0");
        for name in ["", "a b", "a\n", "a\0", "^", "\"a\"", "a\\", "ä", &"a".repeat(254)] {
            assert_eq!(question(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_are_read_as_netd_writes_them() {
        let both = [ONE, OF_IPV6, &ONE[4..], END, b"what follows"].concat();
        let mut rest = both.as_slice();
        let found = answer(&mut rest).unwrap();
        assert_eq!(found, ["192.0.2.7:0".parse().unwrap(), "[fe80::1%3]:0".parse::<SocketAddr>().unwrap()]);
        assert_eq!(rest, b"what follows");
        assert_eq!(with_port(found[1], 443), "[fe80::1%3]:443".parse().unwrap());
        assert_eq!(answer(&mut [b"222\0", END].concat().as_slice()).unwrap(), []);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn what_is_no_answer_is_none() {
        let changed = |at: usize, byte: u8| {
            let mut bytes = [ONE, END].concat();
            bytes[at] = byte;
            bytes
        };
        for (bytes, said) in [
            (b"500 Command not recognized\0".to_vec(), "the question is refused (500)"),
            (b"\xff\n\0\0".to_vec(), "the question is refused (\\u{fffd}\\n\\u{0})"),
            (b"401\0\0\0\0\x04\x08\0\0\0".to_vec(), "the name is not known"),
            (b"401\0\0\0\0\x04\x02\0\0\0".to_vec(), "no name server answers"),
            (b"401\0\0\0\0\x04\x06\0\0\0".to_vec(), "the look-up has failed (EAI 6)"),
            (b"401\0\xff\0\0\x04".to_vec(), "the answer has a length that is none"),
            (changed(27, 129), "the answer has a length that is none"),
            (changed(27, 7), "the answer has an address that is none"),
            (changed(28, 10), "the answer has an address that is none"),
            (changed(46, 0x05), "the answer has a length that is none"),
            (ONE.to_vec(), "failed to fill whole buffer"),
            ([b"222\0", &ONE[4..].repeat(MOST_ADDRESSES)[..]].concat(), "the answer has too many addresses"),
        ] {
            assert_eq!(answer(&mut bytes.as_slice()).unwrap_err().to_string(), said, "{bytes:?}");
        }
        // Of another family than IP's there may be any.
        assert_eq!(answer(&mut changed(15, 1).as_slice()).unwrap(), []);
    }

    proptest! {
        /// Whatever the answer is, it is read to its end or to where it is none.
        #[test]
        fn no_answer_panics(
            code in prop_oneof![Just(b"222\0".to_vec()), Just(b"401\0".to_vec()), prop::collection::vec(any::<u8>(), 0..5)],
            numbers in prop::collection::vec((0..40_u32, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
        ) {
            let mut bytes = code;
            for (number, more) in numbers {
                bytes.extend(number.to_be_bytes());
                bytes.extend(more);
            }
            if let Ok(found) = answer(&mut bytes.as_slice()) {
                prop_assert!(found.len() * 40 <= bytes.len());
            }
        }
    }

    /// A netd that hears one question, says this, and waits until nobody listens any more.
    fn netd(name: &str, says: Vec<u8>) -> (Resolver, JoinHandle<String>) {
        let socket = std::env::temp_dir().join(format!("obfs-rs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let netd = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = Vec::new();
            while line.last() != Some(&0) {
                line.extend(array::<1>(&mut stream).unwrap());
            }
            stream.write_all(&says).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            String::from_utf8(line).unwrap()
        });
        (Resolver { socket, patience: Duration::from_millis(300) }, netd)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn netd_is_asked() {
        let (resolver, netd) = netd("asked", [ONE, END].concat());
        let found = resolver.look_up("www.example.com", 8388).unwrap();
        assert_eq!(found, ["192.0.2.7:8388".parse().unwrap()]);
        assert_eq!(netd.join().unwrap(), question("www.example.com").unwrap());
        std::fs::remove_file(&resolver.socket).unwrap();
    }

    #[test]
    fn a_netd_that_says_nothing_or_only_begins_is_not_waited_for() {
        for (name, says) in [("silent", Vec::new()), ("begins", b"222\0\0\0\0\x01".to_vec())] {
            let (resolver, netd) = netd(name, says);
            let error = resolver.look_up("www.example.com", 80).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(error.to_string().starts_with(&*resolver.socket.to_string_lossy()), "{error}");
            netd.join().unwrap();
            std::fs::remove_file(&resolver.socket).unwrap();
            let error = resolver.look_up("www.example.com", 80).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
