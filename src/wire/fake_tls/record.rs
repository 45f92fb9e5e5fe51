//! Records, both ways: everything but the ClientHello.

use std::convert::Infallible;

use super::hello::SESSION_ID;
use super::{FIRST_FLIGHT_HEAD, RECORD_PAYLOAD};
use crate::wire::tls::RECORD_HEAD;
use crate::wire::{Decoder, Encoder, Step};

/// ServerHello without its random and session id: the record's and the message's head in front
/// of them, then everything after them.
///
/// The length of the extensions is 0 although three follow (renegotiation info, extended master
/// secret, EC point formats): so writes simple-obfs, and a different byte would tell us apart
/// from it.
const SERVER_HELLO_HEAD: [u8; 11] = [
    0x16, 0x03, 0x01, 0x00, 0x5b, // handshake record, TLS 1.0, 91 bytes
    0x02, 0x00, 0x00, 0x57, // ServerHello, 87 bytes
    0x03, 0x03, // TLS 1.2
];
const SERVER_HELLO_TAIL: [u8; 20] = [
    0xcc, 0xa8, // TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    0x00, // no compression
    0x00, 0x00, // length of the extensions
    0xff, 0x01, 0x00, 0x01, 0x00, // renegotiation info
    0x00, 0x17, 0x00, 0x00, // extended master secret
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // EC point formats
];
const CHANGE_CIPHER_SPEC: [u8; 6] = [0x14, 0x03, 0x03, 0x00, 0x01, 0x01];
const FINISHED: [u8; 3] = [0x16, 0x03, 0x03];
const APPLICATION_DATA: [u8; 3] = [0x17, 0x03, 0x03];

/// Turns payload into application data records, `17 03 03 len`; that of a server into its first flight before.
///
/// The first flight takes the first payload with it and is one frame, which should be one write:
/// simple-obfs's client ends a connection whose first read brings these heads without payload.
#[derive(Debug, Clone)]
pub struct RecordEncoder {
    /// The random and the session id of the server's hello, as long as it is not out.
    server_hello: Option<([u8; 32], [u8; SESSION_ID])>,
}

impl RecordEncoder {
    /// The client's writer, for what follows its hello.
    pub fn after_client_hello() -> Self {
        Self { server_hello: None }
    }

    /// The server's writer, for all that goes to the client whose hello had this session id.
    pub fn from_server_hello(random: [u8; 32], session_id: [u8; 32]) -> Self {
        Self { server_hello: Some((random, session_id)) }
    }
}

impl Encoder for RecordEncoder {
    const PAYLOAD: usize = RECORD_PAYLOAD;

    fn encode(&mut self, payload: &mut [u8], head: &mut Vec<u8>) {
        let Some((random, session_id)) = self.server_hello.take() else {
            return record_head(APPLICATION_DATA, payload, head);
        };
        head.reserve(FIRST_FLIGHT_HEAD);
        head.extend(SERVER_HELLO_HEAD);
        head.extend(random);
        head.push(SESSION_ID as u8);
        head.extend(session_id);
        head.extend(SERVER_HELLO_TAIL);
        head.extend(CHANGE_CIPHER_SPEC);
        record_head(FINISHED, payload, head);
    }
}

/// Appends the head of a record. An empty record is legal, but the apps hand it on as a read of 0
/// bytes, so none is ever asked for.
fn record_head(kind: [u8; 3], payload: &[u8], head: &mut Vec<u8>) {
    debug_assert!((1..=RECORD_PAYLOAD).contains(&payload.len()), "{} bytes in one record", payload.len());
    head.extend(kind);
    head.extend((payload.len() as u16).to_be_bytes());
}

/// Finds the payload in records, of either half.
#[derive(Debug, Clone)]
pub struct RecordDecoder {
    /// The record that is read, or comes next if `body` is 0.
    kind: Kind,
    /// The first `head_len` bytes of a head that is cut.
    head: [u8; RECORD_HEAD],
    head_len: usize,
    /// Bytes of the record's body that are still to come.
    body: usize,
}

impl RecordDecoder {
    /// The server's reader, for what follows the client's hello.
    pub fn after_client_hello() -> Self {
        Self::starting_with(Kind::ApplicationData)
    }

    /// The client's reader, for all that comes from the server.
    pub fn from_server_hello() -> Self {
        Self::starting_with(Kind::ServerHello)
    }

    fn starting_with(kind: Kind) -> Self {
        Self { kind, head: [0; RECORD_HEAD], head_len: 0, body: 0 }
    }

    /// Moves head bytes from the front of `input` and says whether the head is whole now.
    fn fill_head(&mut self, input: &[u8], at: &mut usize) -> bool {
        let missing = &mut self.head[self.head_len..];
        let taken = missing.len().min(input.len());
        missing[..taken].copy_from_slice(&input[..taken]);
        *at += taken;
        self.head_len += taken;
        self.head_len == RECORD_HEAD
    }
}

impl Decoder for RecordDecoder {
    type Event = Infallible;
    type Error = UnexpectedRecord;

    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step, UnexpectedRecord> {
        debug_assert!(*at <= input.len(), "read beyond the input");
        while let Some(rest) = input.get(*at..).filter(|rest| !rest.is_empty()) {
            if self.body == 0 {
                if self.fill_head(rest, at) {
                    self.head_len = 0;
                    self.body = self.kind.check(self.head)?;
                    if self.body == 0 {
                        self.kind = self.kind.next();
                    }
                }
                continue;
            }
            let start = *at;
            let taken = self.body.min(rest.len());
            *at += taken;
            self.body -= taken;
            let is_payload = self.kind.carries_payload();
            if self.body == 0 {
                self.kind = self.kind.next();
            }
            if is_payload {
                return Ok(Step::Payload(start..*at));
            }
        }
        Ok(Step::NeedMore)
    }
}

/// The records of a stream, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ServerHello,
    ChangeCipherSpec,
    /// The server's first payload. In TLS this would be an encrypted Finished.
    Finished,
    ApplicationData,
}

impl Kind {
    fn next(self) -> Self {
        match self {
            Self::ServerHello => Self::ChangeCipherSpec,
            Self::ChangeCipherSpec => Self::Finished,
            Self::Finished | Self::ApplicationData => Self::ApplicationData,
        }
    }

    fn carries_payload(self) -> bool {
        matches!(self, Self::Finished | Self::ApplicationData)
    }

    /// The bytes that its head starts with.
    ///
    /// For the first two that is all of it, the length too. To go by any length in the head would
    /// serve no server, since the apps skip 105 bytes whatever they are, and would cost us the
    /// one chance to notice that a real TLS server answers: its ServerHello has another version
    /// or length, and what follows is no payload. What is inside is not looked at: gost counts the
    /// extensions, simple-obfs does not; open-snell makes up a session id, the others echo ours.
    fn wanted(self) -> &'static [u8] {
        match self {
            Self::ServerHello => &SERVER_HELLO_HEAD[..RECORD_HEAD],
            Self::ChangeCipherSpec => &CHANGE_CIPHER_SPEC[..RECORD_HEAD],
            Self::Finished => &FINISHED,
            Self::ApplicationData => &APPLICATION_DATA,
        }
    }

    /// The field of a head that is wrong, the first if several are.
    fn wrong_field(self, head: &[u8]) -> &'static str {
        match head.iter().zip(self.wanted()).take_while(|(got, want)| got == want).count() {
            0 => "content type",
            1 | 2 => "version",
            _ => "length",
        }
    }

    /// What to look at where a server's first record starts like this.
    fn hint(self, head: &[u8; RECORD_HEAD]) -> &'static str {
        match (self, head) {
            (Self::ServerHello, b"HTTP/") => ": the server speaks HTTP; is `obfs=tls` what it takes?",
            (Self::ServerHello, [0x15 | 0x16, 3, ..]) => {
                ": a website in real TLS has answered; are `obfs=tls` and `obfs-host` what the server takes?"
            }
            (Self::ServerHello, _) => ": is `obfs=tls` what the server takes?",
            _ => "",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ServerHello => "ServerHello",
            Self::ChangeCipherSpec => "ChangeCipherSpec",
            Self::Finished => "Finished",
            Self::ApplicationData => "application data",
        }
    }

    /// The length of the body, if this is its head.
    fn check(self, head: [u8; RECORD_HEAD]) -> Result<usize, UnexpectedRecord> {
        if !head.starts_with(self.wanted()) {
            return Err(UnexpectedRecord { kind: self, head });
        }
        let [.., high, low] = head;
        Ok(usize::from(u16::from_be_bytes([high, low])))
    }
}

/// The peer sent a record that does not belong here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not {}, wrong {}: the record starts {head:02x?}, not {:02x?}{}",
    .kind.name(),
    .kind.wrong_field(.head),
    .kind.wanted(),
    .kind.hint(.head)
)]
pub struct UnexpectedRecord {
    kind: Kind,
    head: [u8; RECORD_HEAD],
}

#[cfg(test)]
mod tests {
    use super::super::SKIPPED;
    use super::*;

    const RANDOM: [u8; 32] = [2; 32];

    fn encode(encoder: &mut impl Encoder, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        encoder.encode(&mut payload.to_vec(), &mut frame);
        frame.extend_from_slice(payload);
        frame
    }

    fn decode(decoder: &mut RecordDecoder, bytes: &[u8]) -> Result<Vec<u8>, UnexpectedRecord> {
        let (mut input, mut at, mut payload) = (bytes.to_vec(), 0, Vec::new());
        while let Step::Payload(range) = decoder.decode(&mut input, &mut at)? {
            assert!(!range.is_empty());
            payload.extend_from_slice(&input[range]);
        }
        assert_eq!(at, input.len());
        assert_eq!(input, bytes);
        Ok(payload)
    }

    fn server_flight(payload: &[u8]) -> Vec<u8> {
        let mut encoder = RecordEncoder::from_server_hello(RANDOM, [3; 32]);
        encode(&mut encoder, payload)
    }

    #[test]
    fn the_first_flight_is_written_once() {
        let mut server = RecordEncoder::from_server_hello(RANDOM, [3; 32]);
        assert_eq!(encode(&mut server, b"x").len(), FIRST_FLIGHT_HEAD + 1);
        assert_eq!(encode(&mut server, b"y"), b"\x17\x03\x03\0\x01y");
    }

    #[test]
    fn a_full_record_is_the_longest() {
        let full = vec![7; RECORD_PAYLOAD];
        let record = encode(&mut RecordEncoder::after_client_hello(), &full);
        assert_eq!(record[..5], [0x17, 0x03, 0x03, 0x40, 0x00]);
        assert_eq!(decode(&mut RecordDecoder::after_client_hello(), &record), Ok(full));
    }

    #[test]
    #[should_panic(expected = "16385 bytes in one record")]
    fn a_longer_one_is_our_own_mistake() {
        encode(&mut RecordEncoder::after_client_hello(), &[0; RECORD_PAYLOAD + 1]);
    }

    #[test]
    fn records_of_any_length_are_read() {
        let mut stream = Vec::new();
        for length in [0_u16, 1, 0, 0, 16_385, u16::MAX, 0] {
            stream.extend(APPLICATION_DATA);
            stream.extend(length.to_be_bytes());
            stream.extend(vec![9; usize::from(length)]);
        }
        let payload = decode(&mut RecordDecoder::after_client_hello(), &stream).expect("records");
        assert_eq!(payload, vec![9; 1 + 16_385 + 65_535]);
    }

    #[test]
    fn an_empty_first_payload_is_read() {
        let mut stream = server_flight(b"x");
        stream.truncate(SKIPPED);
        stream.extend([0, 0, 0x17, 0x03, 0x03, 0, 1, 8]);
        assert_eq!(decode(&mut RecordDecoder::from_server_hello(), &stream), Ok(vec![8]));
    }

    #[test]
    fn what_is_inside_a_server_hello_does_not_matter() {
        let mut stream = server_flight(b"payload");
        // All but the heads of ServerHello, ChangeCipherSpec and the third record.
        stream[5..96].fill(0xff);
        stream[101] = 0xff;
        let payload = decode(&mut RecordDecoder::from_server_hello(), &stream);
        assert_eq!(payload, Ok(b"payload".to_vec()));
    }

    #[test]
    fn each_field_of_each_head_is_judged() {
        let mut stream = server_flight(b"payload");
        stream.extend(encode(&mut RecordEncoder::after_client_hello(), b"more"));
        let second = FIRST_FLIGHT_HEAD + 7;
        for (at, record, fields) in [
            (0, "ServerHello", 5),
            (96, "ChangeCipherSpec", 5),
            (102, "Finished", 3),
            (second, "application data", 3),
        ] {
            for byte in 0..fields {
                let mut input = stream.clone();
                input[at + byte] ^= 0x04;
                let error =
                    decode(&mut RecordDecoder::from_server_hello(), &input).expect_err("a wrong head");
                let field = ["content type", "version", "version", "length", "length"][byte];
                let start = &input[at..at + 5];
                let wanted = format!("not {record}, wrong {field}: the record starts {start:02x?}, not ");
                assert!(error.to_string().starts_with(&wanted), "{error}");
            }
        }
    }

    #[test]
    fn an_error_shows_what_came_instead() {
        let alert = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];
        let error = decode(&mut RecordDecoder::from_server_hello(), &alert).expect_err("an alert");
        assert_eq!(
            error.to_string(),
            "not ServerHello, wrong content type: \
             the record starts [15, 03, 03, 00, 02], not [16, 03, 01, 00, 5b]: \
             a website in real TLS has answered; are `obfs=tls` and `obfs-host` what the server takes?"
        );
    }
}
