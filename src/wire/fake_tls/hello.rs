//! The ClientHello, whose session ticket is the first payload.

use std::ops::Range;

use super::RECORD_HEAD;

/// Bytes of a session id.
pub(super) const SESSION_ID: usize = 32;

/// The record's and the message's versions: TLS 1.0 outside, TLS 1.2 inside.
const RECORD_TYPE_AND_VERSION: [u8; 3] = [0x16, 0x03, 0x01];
/// Type of the message, ClientHello, and the high byte of its length: a message in one record is
/// never so long that it is not 0.
const MESSAGE_TYPE: [u8; 2] = [0x01, 0x00];
const CLIENT_VERSION: [u8; 2] = [0x03, 0x03];

/// 28 suites (56 bytes) and the one compression method, null, with their lengths: what OpenSSL
/// 1.1.0 offers.
const SUITES_AND_COMPRESSION: [u8; 60] = [
    0x00, 0x38, // length of the suites
    0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9f, 0xcc, 0xa9, 0xcc, 0xa8, 0xcc, 0xaa, 0xc0, 0x2b, //
    0xc0, 0x2f, 0x00, 0x9e, 0xc0, 0x24, 0xc0, 0x28, 0x00, 0x6b, 0xc0, 0x23, 0xc0, 0x27, //
    0x00, 0x67, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x39, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x33, //
    0x00, 0x9d, 0x00, 0x9c, 0x00, 0x3d, 0x00, 0x3c, 0x00, 0x35, 0x00, 0x2f, 0x00, 0xff, //
    0x01, 0x00, // one method: null
];

const SESSION_TICKET: [u8; 2] = [0x00, 0x23];
const SERVER_NAME: [u8; 2] = [0x00, 0x00];
const HOST_NAME: u8 = 0;

/// The extensions after the server name.
const OTHER_EXTENSIONS: [u8; 66] = [
    // EC point formats: ansiX962 compressed prime, uncompressed, compressed char2
    0x00, 0x0b, 0x00, 0x04, 0x03, 0x01, 0x00, 0x02, //
    // groups: x25519, secp256r1, secp521r1, secp384r1
    0x00, 0x0a, 0x00, 0x0a, 0x00, 0x08, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x19, 0x00, 0x18, //
    // signature algorithms: SHA-512, -384, -256, -224, -1, each with RSA, DSA and ECDSA
    0x00, 0x0d, 0x00, 0x20, 0x00, 0x1e, //
    0x06, 0x01, 0x06, 0x02, 0x06, 0x03, 0x05, 0x01, 0x05, 0x02, 0x05, 0x03, //
    0x04, 0x01, 0x04, 0x02, 0x04, 0x03, 0x03, 0x01, 0x03, 0x02, 0x03, 0x03, //
    0x02, 0x01, 0x02, 0x02, 0x02, 0x03, //
    // encrypt-then-MAC, extended master secret
    0x00, 0x16, 0x00, 0x00, 0x00, 0x17, 0x00, 0x00,
];

/// Bytes of the message's head: type and length.
const MESSAGE_HEAD: usize = 4;
/// Bytes of the message's body in front of its extensions, whose own length included.
const BEFORE_EXTENSIONS: usize = 2 + 32 + 1 + SESSION_ID + SUITES_AND_COMPRESSION.len() + 2;
/// Bytes of an extension's head: type and length.
const EXTENSION_HEAD: usize = 4;
/// Bytes of a server name extension's body in front of its name: length of the list, type and
/// length of the name.
const NAME_HEAD: usize = 2 + 1 + 2;

/// The random of a hello: 32 bytes of which the first four are a clock (RFC 5246 section
/// 7.4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// Seconds since 1970.
    pub gmt_unix_time: u32,
    /// The random rest.
    pub random_bytes: [u8; 28],
}

impl Random {
    /// A new one, at `now` seconds since 1970.
    pub fn new(rng: &mut impl rand::Rng, now: u64) -> Self {
        let mut random_bytes = [0; 28];
        rng.fill_bytes(&mut random_bytes);
        // The field has four bytes; in 2106 every implementation starts again at 0.
        let gmt_unix_time = now as u32;
        Self { gmt_unix_time, random_bytes }
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (time, rest) = bytes.split_at_mut(4);
        time.copy_from_slice(&self.gmt_unix_time.to_be_bytes());
        rest.copy_from_slice(&self.random_bytes);
        bytes
    }
}

/// A hello to be sent: what is random in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello {
    /// The random.
    pub random: Random,
    /// The session to be resumed, random too. The server echoes it.
    pub session_id: [u8; 32],
}

impl ClientHello {
    /// Bytes of a hello besides its server name and its first payload.
    pub const OVERHEAD: usize = RECORD_HEAD
        + MESSAGE_HEAD
        + BEFORE_EXTENSIONS
        + EXTENSION_HEAD
        + EXTENSION_HEAD
        + NAME_HEAD
        + OTHER_EXTENSIONS.len();

    /// Those of them that stand behind the first payload.
    pub const OVERHEAD_BEHIND_TICKET: usize = EXTENSION_HEAD + NAME_HEAD + OTHER_EXTENSIONS.len();

    /// The longest hello, in bytes, that simple-obfs's server (0.0.5) holds; it damages the first
    /// payload of a longer one.
    ///
    /// It also damages it when the hello comes in pieces and the last cut is behind the ticket.
    pub const SIMPLE_OBFS_LIMIT: usize = 16_384;

    /// A new one, at `now` seconds since 1970.
    pub fn new(rng: &mut impl rand::Rng, now: u64) -> Self {
        let random = Random::new(rng, now);
        let mut session_id = [0; SESSION_ID];
        rng.fill_bytes(&mut session_id);
        Self { random, session_id }
    }

    /// The most bytes of payload for which the hello is at most `limit` bytes long.
    pub fn room(server_name: &str, limit: usize) -> usize {
        limit.saturating_sub(Self::OVERHEAD + server_name.len())
    }

    /// Appends the hello, with `payload` as its session ticket, to `out`.
    ///
    /// # Errors
    ///
    /// The record's length field cannot hold name and payload; `out` is as before.
    pub fn encode(&self, server_name: &str, payload: &[u8], out: &mut Vec<u8>) -> Result<(), HelloTooLong> {
        let length = Self::OVERHEAD + server_name.len() + payload.len();
        // All other lengths are smaller than this one, so they fit if it does.
        let record = u16::try_from(length - RECORD_HEAD).map_err(|_| HelloTooLong { length })?;
        let message = record - MESSAGE_HEAD as u16;
        let extensions = message - BEFORE_EXTENSIONS as u16;
        let ticket = payload.len() as u16;
        let name = server_name.len() as u16;

        out.reserve(length);
        out.extend(RECORD_TYPE_AND_VERSION);
        out.extend(record.to_be_bytes());
        out.extend(MESSAGE_TYPE);
        out.extend(message.to_be_bytes());
        out.extend(CLIENT_VERSION);
        out.extend(self.random.to_bytes());
        out.push(SESSION_ID as u8);
        out.extend(self.session_id);
        out.extend(SUITES_AND_COMPRESSION);
        out.extend(extensions.to_be_bytes());
        out.extend(SESSION_TICKET);
        out.extend(ticket.to_be_bytes());
        out.extend_from_slice(payload);
        out.extend(SERVER_NAME);
        out.extend((name + 5).to_be_bytes());
        out.extend((name + 3).to_be_bytes());
        out.push(HOST_NAME);
        out.extend(name.to_be_bytes());
        out.extend_from_slice(server_name.as_bytes());
        out.extend(OTHER_EXTENSIONS);
        Ok(())
    }
}

/// A hello of `length` bytes does not fit into one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ClientHello of {length} bytes does not fit into one record (at most 65540)")]
pub struct HelloTooLong {
    /// Bytes of the whole record, its head included.
    pub length: usize,
}

/// A hello that has been received: where in the bytes is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedHello {
    /// Bytes of the whole hello; records follow it.
    pub length: usize,
    /// To be echoed.
    pub session_id: [u8; 32],
    /// The first payload, possibly empty.
    pub payload: Range<usize>,
    /// The name the client asks for, possibly empty, of any bytes.
    pub server_name: Range<usize>,
}

impl ReceivedHello {
    /// The longest hello, in bytes, that the record's length field can tell: so much has to be
    /// held until it is clear whether this is one.
    pub const MAX: usize = RECORD_HEAD + u16::MAX as usize;

    /// Reads the first bytes of a connection. `None`: they may become a hello, with more bytes.
    ///
    /// Up to the type of its first extension, a session ticket, a hello has to be simple-obfs's
    /// byte for byte, but for lengths, random and session id. That is what sets it apart from
    /// every real one: all clients that are known write it so, and simple-obfs's server finds the
    /// ticket at this offset and no other. Then comes the server name. The extensions after it
    /// only have to be well formed: simple-obfs does not look at them, and not all clients send
    /// the same.
    ///
    /// # Errors
    ///
    /// No more bytes can make this a hello. Each field is judged once all of its bytes are here,
    /// each fixed one at its first wrong byte, so a TLS client is known at the latest by its
    /// cipher suites or its first extension.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, NotFakeTls> {
        match (Reader { input, at: 0 }).hello() {
            Ok(hello) => Ok(Some(hello)),
            Err(Stop::NeedMore) => Ok(None),
            Err(Stop::Wrong(wrong)) => Err(wrong),
        }
    }
}

/// The bytes are not simple-obfs's ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a simple-obfs ClientHello: wrong {field} at byte {offset}")]
pub struct NotFakeTls {
    /// The field that is wrong.
    pub field: &'static str,
    /// Where it is: in a field that is fixed, the first wrong byte; otherwise the field's first.
    pub offset: usize,
}

/// Why there is no hello.
enum Stop {
    NeedMore,
    Wrong(NotFakeTls),
}

/// Reads a hello from front to back. `at` may be past the end of `input`: then all reading stops
/// with [`Stop::NeedMore`].
struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn hello(mut self) -> Result<ReceivedHello, Stop> {
        self.fixed("content type or version of the record", &RECORD_TYPE_AND_VERSION)?;
        let record_at = self.at;
        let record = self.u16()?;
        // The smallest has an empty ticket, an empty name and nothing after it.
        let Some(extensions) = usize::from(record).checked_sub(MESSAGE_HEAD + BEFORE_EXTENSIONS) else {
            return wrong("length of the record", record_at);
        };
        let Some(most_ticket) = extensions.checked_sub(2 * EXTENSION_HEAD + NAME_HEAD) else {
            return wrong("length of the record", record_at);
        };
        let end = self.at + usize::from(record);

        self.fixed("type of the message", &MESSAGE_TYPE)?;
        self.fixed("length of the message", &(record - MESSAGE_HEAD as u16).to_be_bytes())?;
        self.fixed("client version", &CLIENT_VERSION)?;
        self.skip(32); // random
        self.fixed("length of the session id", &[SESSION_ID as u8])?;
        let session_id = self.array()?;
        self.fixed("cipher suites or compression methods", &SUITES_AND_COMPRESSION)?;
        self.fixed("length of the extensions", &(extensions as u16).to_be_bytes())?;

        self.fixed("type of the first extension", &SESSION_TICKET)?;
        let ticket_at = self.at;
        let ticket = usize::from(self.u16()?);
        if ticket > most_ticket {
            return wrong("length of the session ticket", ticket_at);
        }
        let payload = self.skip(ticket);

        self.fixed("type of the second extension", &SERVER_NAME)?;
        let server_name = self.server_name(end)?;

        while self.at < end {
            self.other_extension(end)?;
        }
        if self.input.len() < end {
            return Err(Stop::NeedMore);
        }
        Ok(ReceivedHello { length: end, session_id, payload, server_name })
    }

    /// The server name extension after its type: one name.
    fn server_name(&mut self, end: usize) -> Result<Range<usize>, Stop> {
        let length_at = self.at;
        let length = self.u16()?;
        let Some(name) = length.checked_sub(NAME_HEAD as u16) else {
            return wrong("length of the server name extension", length_at);
        };
        if self.at + usize::from(length) > end {
            return wrong("length of the server name extension", length_at);
        }
        self.fixed("length of the server name list", &(length - 2).to_be_bytes())?;
        self.fixed("type of the server name", &[HOST_NAME])?;
        let name_at = self.at;
        // Some releases of leaf send this one length with its two bytes in the wrong order, and
        // simple-obfs's server, which does not read it, serves them.
        let told = self.u16()?;
        if told != name && told != name.swap_bytes() {
            return wrong("length of the server name", name_at);
        }
        Ok(self.skip(usize::from(name)))
    }

    fn other_extension(&mut self, end: usize) -> Result<(), Stop> {
        let extension_at = self.at;
        if end - self.at < EXTENSION_HEAD {
            return wrong("length of an extension", extension_at);
        }
        self.skip(2);
        let length = usize::from(self.u16()?);
        if length > end - self.at {
            return wrong("length of an extension", extension_at);
        }
        self.skip(length);
        Ok(())
    }

    /// The bytes from here on.
    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// A field that has only one value.
    fn fixed(&mut self, field: &'static str, value: &[u8]) -> Result<(), Stop> {
        let rest = self.rest();
        if let Some(differs) = rest.iter().zip(value).position(|(got, want)| got != want) {
            return wrong(field, self.at + differs);
        }
        if rest.len() < value.len() {
            return Err(Stop::NeedMore);
        }
        self.at += value.len();
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let value = *self.rest().first_chunk().ok_or(Stop::NeedMore)?;
        self.at += N;
        Ok(value)
    }

    fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }

    /// A field that may hold anything, here or still to come.
    fn skip(&mut self, length: usize) -> Range<usize> {
        let start = self.at;
        self.at += length;
        start..self.at
    }
}

fn wrong<T>(field: &'static str, offset: usize) -> Result<T, Stop> {
    Err(Stop::Wrong(NotFakeTls { field, offset }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: ClientHello = ClientHello {
        random: Random { gmt_unix_time: 0x0102_0304, random_bytes: [5; 28] },
        session_id: [6; 32],
    };

    fn encoded(server_name: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        HELLO.encode(server_name, payload, &mut out).expect("it fits");
        out
    }

    /// The hello with another `tail` after its server name, all lengths set right.
    fn with_tail(server_name: &str, payload: &[u8], tail: &[u8]) -> Vec<u8> {
        let mut hello = encoded(server_name, payload);
        hello.truncate(hello.len() - OTHER_EXTENSIONS.len());
        hello.extend_from_slice(tail);
        let length = hello.len();
        for (at, rest) in [(3, 5), (7, 9), (136, 138)] {
            hello[at..at + 2].copy_from_slice(&((length - rest) as u16).to_be_bytes());
        }
        hello
    }

    fn wrong_field(input: &[u8]) -> (&'static str, usize) {
        let NotFakeTls { field, offset } = ReceivedHello::parse(input).expect_err("not a hello");
        (field, offset)
    }

    #[test]
    fn what_was_sent_is_received() {
        for size in [0, 1, 517, 16_384, 16_385, 0xffff - 212 - 11] {
            let payload = vec![0xa5; size];
            let mut input = encoded("example.com", &payload);
            let length = input.len();
            assert_eq!(length, ClientHello::OVERHEAD + 11 + size);
            input.extend(b"what follows");

            let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
            assert_eq!(hello.length, length);
            assert_eq!(hello.session_id, HELLO.session_id);
            assert_eq!(&input[hello.payload], payload);
            assert_eq!(&input[hello.server_name], b"example.com");
        }
    }

    #[test]
    fn what_the_record_cannot_hold_is_refused_and_leaves_no_trace() {
        let mut out = vec![1, 2, 3];
        let length = ReceivedHello::MAX + 1;
        let payload = vec![0; ClientHello::room("example.com", length)];
        let refused = HELLO.encode("example.com", &payload, &mut out);
        assert_eq!(refused, Err(HelloTooLong { length }));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn room_is_what_fits_the_limit() {
        let room = ClientHello::room("example.com", 1400);
        assert_eq!(encoded("example.com", &vec![0; room]).len(), 1400);
        assert_eq!(ClientHello::room("example.com", 100), 0);
    }

    #[test]
    fn random_is_a_clock_and_random_bytes() {
        let mut rng = rand::rng();
        let (a, b) = (ClientHello::new(&mut rng, 1), ClientHello::new(&mut rng, (1 << 32) + 1));
        assert_eq!((a.random.gmt_unix_time, b.random.gmt_unix_time), (1, 1));
        assert_ne!(a.random.random_bytes, b.random.random_bytes);
        assert_ne!(a.session_id, b.session_id);
    }

    #[test]
    fn an_empty_server_name_is_a_name() {
        let input = encoded("", b"payload");
        let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
        assert!(hello.server_name.is_empty());
        assert_eq!(&input[hello.payload], b"payload");
    }

    #[test]
    fn leafs_swapped_name_length_is_taken() {
        let mut input = encoded("example.com", b"payload");
        let name_length = 142 + 7 + 7;
        assert_eq!(input[name_length..name_length + 2], [0, 11]);
        input[name_length..name_length + 2].copy_from_slice(&[11, 0]);
        let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
        assert_eq!(&input[hello.server_name], b"example.com");

        input[name_length..name_length + 2].copy_from_slice(&[0, 10]);
        assert_eq!(wrong_field(&input), ("length of the server name", name_length));
    }

    #[test]
    fn other_extensions_may_differ_but_not_break() {
        let shuffled = [0x00, 0x17, 0, 0, 0x00, 0x16, 0, 0, 0x00, 0x0b, 0, 2, 1, 0];
        for tail in [&[][..], &shuffled] {
            let input = with_tail("example.com", b"payload", tail);
            let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
            assert_eq!(hello.length, input.len());
            assert_eq!(&input[hello.payload], b"payload");
        }
        for broken in [&[0][..], &[0, 0x17, 0], &[0, 0x17, 0, 1], &[0, 0x17, 0, 0, 0]] {
            let input = with_tail("example.com", b"payload", broken);
            assert_eq!(wrong_field(&input).0, "length of an extension");
        }
    }

    #[test]
    fn each_field_is_judged() {
        let good = encoded("example.com", b"payload");
        let bad = |at: usize, bytes: &[u8]| {
            let mut input = good.clone();
            input[at..at + bytes.len()].copy_from_slice(bytes);
            let whole = wrong_field(&input);
            // What is wrong is known at once, without the rest of the hello.
            assert_eq!(wrong_field(&input[..at + bytes.len()]), whole);
            whole
        };
        let (record, name) = ("content type or version of the record", 142 + 7);
        for (at, bytes, field) in [
            (0, &[0x15][..], record),
            (1, &[0x02], record),
            (2, &[0x03], record),
            (3, &[0, 145], "length of the record"),
            (5, &[0x02], "type of the message"),
            (6, &[0x01], "type of the message"),
            (7, &[0x40], "length of the message"),
            (9, &[0x02], "client version"),
            (10, &[0x04], "client version"),
            (43, &[0x00], "length of the session id"),
            (76, &[0x00, 0x3a], "cipher suites or compression methods"),
            (78, &[0x13], "cipher suites or compression methods"),
            (134, &[0x02], "cipher suites or compression methods"),
            (136, &[0x01], "length of the extensions"),
            (138, &[0x00, 0x00], "type of the first extension"),
            (140, &[0xff, 0xff], "length of the session ticket"),
            (name, &[0x00, 0x0b], "type of the second extension"),
            (name + 2, &[0x00, 0x04], "length of the server name extension"),
            (name + 2, &[0xff, 0xff], "length of the server name extension"),
            (name + 4, &[0x00, 0x0d], "length of the server name list"),
            (name + 6, &[0x01], "type of the server name"),
            (name + 7, &[0x00, 0x0c], "length of the server name"),
        ] {
            let (found, offset) = bad(at, bytes);
            assert_eq!(found, field, "byte {at}");
            assert!((at..at + bytes.len()).contains(&offset), "{field}: {at}, not {offset}");
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_byte() {
        for input in [&b"GET / HTTP/1.1"[..], b"SSH-2.0", b"\0", b"\x17\x03\x03"] {
            assert_eq!(wrong_field(&input[..1]).1, 0);
        }
        assert_eq!(ReceivedHello::parse(b""), Ok(None));
    }
}
