//! What a TLS server says in the clear, without what is random in it (RFC 8446, RFC 5246).

mod handshake_messages;

use super::seen::Seen;
use crate::wire::Reader;
use crate::wire::tls::{MESSAGE_HEAD, content_type, extension, handshake_type};
use rustls::{NamedGroup, SignatureScheme};
use sha1::{Digest as _, Sha1};

/// The random of a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, //
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// An answer, cut into what counts and what only shows which library made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsAnswer {
    /// What counts, in its order.
    pub items: Vec<Item>,
    /// What shows the library.
    pub style: Style,
}

/// Something that was said, and the version of the record that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The version of the record.
    pub version: u16,
    /// What was said.
    pub what: What,
}

/// What a server can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A ServerHello, or a request for another hello.
    Hello(ServerHello),
    /// Certificates, by their digest.
    Certificates(String),
    /// The parameters of a key exchange: the group, and the scheme they are signed by, which only TLS 1.2 names.
    KeyExchange(NamedGroup, Option<SignatureScheme>),
    /// Another handshake message, by its type.
    Message(u8),
    /// An alert: its level and what it says.
    Alert(u8, u8),
    /// From here on it is encrypted (TLS 1.2), or nothing (TLS 1.3).
    ChangeCipherSpec,
    /// Records that cannot be read, of this type. However many of them stand together in a first flight
    /// count as one.
    Encrypted(u8),
    /// Something of this type that is not what its type says, or the start of it.
    Broken(u8),
}

/// What counts in a ServerHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// It asks for another hello.
    pub retry: bool,
    /// The version that was chosen.
    pub version: u16,
    /// The version in the old field.
    pub legacy_version: u16,
    /// The cipher suite that was chosen.
    pub suite: u16,
    /// What became of the client's session id.
    pub session: Session,
    /// The method of compression: none, from every server of today.
    pub compression: u8,
    /// The group of the key share.
    pub group: Option<u16>,
    /// The application protocol that was chosen, where it is said in the clear.
    pub alpn: Option<Vec<u8>>,
}

/// What a server makes of a client's session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// It sends none.
    Empty,
    /// It sends the client's.
    Echoed,
    /// It sends one of its own, of so many bytes.
    Own(usize),
}

/// What differs between libraries that agree on the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Style {
    /// The extensions of the ServerHello.
    pub extensions: Option<Vec<u16>>,
    /// The lengths of the records of handshake messages in the clear.
    pub clear: Vec<usize>,
    /// The lengths of the records that cannot be read.
    pub encrypted: Vec<usize>,
}

impl TlsAnswer {
    /// What a visitor saw, read as TLS.
    pub fn of(seen: &Seen) -> TlsAnswer {
        let first_flight = seen.marks.first().copied().unwrap_or(usize::MAX);
        read(seen.visible(), &seen.session_id, first_flight)
    }
}

/// Whether what came is TLS, and not hidden in it.
pub fn is_tls(seen: &Seen) -> bool {
    matches!(seen.visible(), [content_type::CHANGE_CIPHER_SPEC..=content_type::HEARTBEAT, 3, 0..=4, ..])
}

/// The session id in a hello, of which these are the first bytes.
pub fn session_id_of(hello: &[u8]) -> &[u8] {
    let [content_type::HANDSHAKE, _, _, _, _, handshake_type::CLIENT_HELLO, _, _, _, body @ ..] = hello
    else {
        return &[];
    };
    let mut body = Reader(body);
    body.take(2 + 32).and_then(|_| body.vector8()).unwrap_or_default()
}

/// Reads an answer to a hello with this session id. What came behind `first_flight` bytes is listed record
/// by record.
pub fn read(bytes: &[u8], session_id: &[u8], first_flight: usize) -> TlsAnswer {
    let mut reader = AnswerReader {
        answer: TlsAnswer::default(),
        message: Vec::new(),
        encrypted: false,
        is_tls13: false,
        session_id,
    };
    let mut rest = bytes;
    while let Some((record, behind)) = next_record(rest) {
        let at = bytes.len() - rest.len();
        reader.record(record, at < first_flight);
        rest = behind;
    }
    reader.finish(rest);
    reader.answer
}

#[derive(Clone, Copy)]
struct Record<'a> {
    kind: u8,
    version: u16,
    content: &'a [u8],
}

fn next_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut reader = Reader(bytes);
    let (kind, version, content) = (reader.u8()?, reader.u16()?, reader.vector16()?);
    Some((Record { kind, version, content }, reader.0))
}

struct AnswerReader<'a> {
    answer: TlsAnswer,
    /// A handshake message that is not complete.
    message: Vec<u8>,
    /// What comes now cannot be read.
    encrypted: bool,
    /// A hello has chosen TLS 1.3.
    is_tls13: bool,
    session_id: &'a [u8],
}

impl AnswerReader<'_> {
    fn push(&mut self, version: u16, what: What) {
        self.answer.items.push(Item { version, what });
    }

    fn record(&mut self, record: Record<'_>, in_first_flight: bool) {
        let Record { kind, version, content } = record;
        match (kind, content) {
            (content_type::CHANGE_CIPHER_SPEC, _) => {
                self.encrypted |= !self.is_tls13;
                self.push(version, What::ChangeCipherSpec);
            }
            (content_type::ALERT, &[level, description]) if !self.encrypted => {
                self.push(version, What::Alert(level, description));
            }
            (content_type::HANDSHAKE, _) if !self.encrypted => {
                self.answer.style.clear.push(content.len());
                self.message.extend_from_slice(content);
                self.messages(version);
            }
            _ if self.encrypted || kind == content_type::APPLICATION_DATA => {
                self.answer.style.encrypted.push(content.len());
                let item = Item { version, what: What::Encrypted(kind) };
                if !(in_first_flight && self.answer.items.last() == Some(&item)) {
                    self.answer.items.push(item);
                }
            }
            _ => self.push(version, What::Broken(kind)),
        }
    }

    /// Takes the messages that have come whole.
    fn messages(&mut self, version: u16) {
        let mut bytes = std::mem::take(&mut self.message);
        let mut rest = &*bytes;
        while let Some((kind, body, behind)) = next_message(rest) {
            rest = behind;
            let what = match kind {
                handshake_type::SERVER_HELLO => match server_hello(body, self.session_id) {
                    Some((hello, extensions)) => {
                        self.answer.style.extensions.get_or_insert(extensions);
                        self.is_tls13 |= hello.version > 0x0303;
                        What::Hello(hello)
                    }
                    None => What::Broken(content_type::HANDSHAKE),
                },
                handshake_type::CERTIFICATE => What::Certificates(digest(body)),
                handshake_type::SERVER_KEY_EXCHANGE => {
                    key_exchange(body, version).unwrap_or(What::Message(kind))
                }
                other => What::Message(other),
            };
            // How many tickets there are is the library's choice.
            if kind != handshake_type::NEW_SESSION_TICKET {
                self.push(version, what);
            }
        }
        // Once for a record, however many messages it has.
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        self.message = bytes;
    }

    /// What is left at the end: half a record, half a message.
    fn finish(&mut self, rest: &[u8]) {
        if let Some(&kind) = rest.first() {
            let version = Reader(rest.get(1..).unwrap_or_default()).u16().unwrap_or(0);
            self.push(version, What::Broken(kind));
        } else if !self.message.is_empty() {
            self.push(0, What::Broken(content_type::HANDSHAKE));
        }
    }
}

/// The type and the body of the first message, and what is behind it.
fn next_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, middle, low], rest) = bytes.split_first_chunk::<MESSAGE_HEAD>()?;
    let (body, behind) = rest.split_at_checked(u32::from_be_bytes([0, high, middle, low]) as usize)?;
    Some((kind, body, behind))
}

/// A ServerHello's body, and its extensions in their order.
fn server_hello(body: &[u8], session_id: &[u8]) -> Option<(ServerHello, Vec<u16>)> {
    let mut body = Reader(body);
    let version = body.u16()?;
    let random = body.take(32)?;
    let session = body.vector8()?;
    let suite = body.u16()?;
    let compression = body.u8()?;
    let mut hello = ServerHello {
        retry: random == RETRY,
        version,
        legacy_version: version,
        suite,
        session: match session {
            [] => Session::Empty,
            session if session == session_id => Session::Echoed,
            session => Session::Own(session.len()),
        },
        compression,
        group: None,
        alpn: None,
    };
    let mut order = Vec::new();
    // (a server of TLS 1.0 may send none)
    let mut extensions = Reader(if body.is_empty() { &[] } else { body.vector16()? });
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut content = Reader(extensions.vector16()?);
        match kind {
            extension::SUPPORTED_VERSIONS => hello.version = content.u16()?,
            extension::KEY_SHARE => hello.group = Some(content.u16()?),
            // A list of one (RFC 7301 section 3.1).
            extension::ALPN => hello.alpn = Some(content.0.get(3..)?.to_vec()),
            _ => {}
        }
        order.push(kind);
    }
    Some((hello, order))
}

/// The parameters of an ECDHE key exchange on a named curve (RFC 8422 section 5.4). Before TLS 1.2 a signature
/// follows the key at once, whose length changes from one to the next.
fn key_exchange(body: &[u8], version: u16) -> Option<What> {
    const NAMED_CURVE: u8 = 3;
    let mut body = Reader(body);
    if body.u8()? != NAMED_CURVE {
        return None;
    }
    let group = NamedGroup::from(body.u16()?);
    body.vector8()?;
    let scheme = if version < 0x0303 { None } else { Some(SignatureScheme::from(body.u16()?)) };
    Some(What::KeyExchange(group, scheme))
}

/// SHA-1 in hex, of which the start is enough to tell two certificates apart.
pub fn digest(bytes: &[u8]) -> String {
    let mut hex: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(16);
    hex
}

#[cfg(test)]
mod tests;
