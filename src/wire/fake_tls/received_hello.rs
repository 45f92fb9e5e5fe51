//! The ClientHello as it is read.

use super::hello::{
    BEFORE_EXTENSIONS, CLIENT_VERSION, COMPRESSION, EXTENSION_HEAD, NAME_HEAD, RECORD_VERSION, SESSION_ID,
    SUITES, SUITES_AND_COMPRESSION,
};
use crate::wire::tls::{HOST_NAME, MESSAGE_HEAD, RECORD_HEAD, content_type, extension, handshake_type};
use std::ops::Range;

/// The suites and the compression methods as they stand in the message.
const OFFER: [u8; SUITES_AND_COMPRESSION] = {
    let mut offer = [0; SUITES_AND_COMPRESSION];
    offer[1] = 2 * SUITES.len() as u8;
    let mut at = 0;
    while at < SUITES.len() {
        [offer[2 + 2 * at], offer[3 + 2 * at]] = SUITES[at].to_be_bytes();
        at += 1;
    }
    [offer[2 + 2 * at], offer[3 + 2 * at]] = [COMPRESSION.len() as u8, COMPRESSION[0]];
    offer
};

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
        match (HelloReader { input, at: 0 }).hello() {
            Ok(hello) => Ok(Some(hello)),
            Err(HelloStop::NeedMore) => Ok(None),
            Err(HelloStop::Wrong(wrong)) => Err(wrong),
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
enum HelloStop {
    NeedMore,
    Wrong(NotFakeTls),
}

/// Reads a hello from front to back. `at` may be past the end of `input`: then all reading stops
/// with [`HelloStop::NeedMore`].
struct HelloReader<'a> {
    input: &'a [u8],
    at: usize,
}

impl HelloReader<'_> {
    fn hello(mut self) -> Result<ReceivedHello, HelloStop> {
        let [major, minor] = RECORD_VERSION.to_be_bytes();
        self.fixed("content type or version of the record", &[content_type::HANDSHAKE, major, minor])?;
        let record_at = self.at;
        let record = self.u16()?;
        // The smallest has an empty ticket, an empty name and nothing after it.
        const SMALLEST: usize = MESSAGE_HEAD + BEFORE_EXTENSIONS + 2 * EXTENSION_HEAD + NAME_HEAD;
        let Some(most_ticket) = usize::from(record).checked_sub(SMALLEST) else {
            return wrong("length of the record", record_at);
        };
        let extensions = usize::from(record) - MESSAGE_HEAD - BEFORE_EXTENSIONS;
        let end = self.at + usize::from(record);

        // The high byte of the message's length is 0: in one record it is never longer.
        self.fixed("type of the message", &[handshake_type::CLIENT_HELLO, 0])?;
        self.fixed("length of the message", &(record - MESSAGE_HEAD as u16).to_be_bytes())?;
        self.fixed("client version", &CLIENT_VERSION.to_be_bytes())?;
        self.skip(32); // random
        self.fixed("length of the session id", &[SESSION_ID as u8])?;
        let session_id = self.array()?;
        self.fixed("cipher suites or compression methods", &OFFER)?;
        self.fixed("length of the extensions", &(extensions as u16).to_be_bytes())?;

        self.fixed("type of the first extension", &extension::SESSION_TICKET.to_be_bytes())?;
        let ticket_at = self.at;
        let ticket = usize::from(self.u16()?);
        if ticket > most_ticket {
            return wrong("length of the session ticket", ticket_at);
        }
        let payload = self.skip(ticket);

        self.fixed("type of the second extension", &extension::SERVER_NAME.to_be_bytes())?;
        let server_name = self.server_name(end)?;

        while self.at < end {
            self.other_extension(end)?;
        }
        if self.input.len() < end {
            return Err(HelloStop::NeedMore);
        }
        Ok(ReceivedHello { length: end, session_id, payload, server_name })
    }

    /// The server name extension after its type: one name.
    fn server_name(&mut self, end: usize) -> Result<Range<usize>, HelloStop> {
        let length_at = self.at;
        let length = self.u16()?;
        let fits = self.at + usize::from(length) <= end;
        let Some(name) = length.checked_sub(NAME_HEAD as u16).filter(|_| fits) else {
            return wrong("length of the server name extension", length_at);
        };
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

    fn other_extension(&mut self, end: usize) -> Result<(), HelloStop> {
        let extension_at = self.at;
        if end - self.at < EXTENSION_HEAD {
            // What there is of it is judged once it is here, as everything.
            let here = self.input.len() >= end;
            return if here {
                wrong("length of an extension", extension_at)
            } else {
                Err(HelloStop::NeedMore)
            };
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
    fn fixed(&mut self, field: &'static str, value: &[u8]) -> Result<(), HelloStop> {
        let rest = self.rest();
        if let Some(differs) = rest.iter().zip(value).position(|(got, want)| got != want) {
            return wrong(field, self.at + differs);
        }
        if rest.len() < value.len() {
            return Err(HelloStop::NeedMore);
        }
        self.at += value.len();
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HelloStop> {
        let value = *self.rest().first_chunk().ok_or(HelloStop::NeedMore)?;
        self.at += N;
        Ok(value)
    }

    fn u16(&mut self) -> Result<u16, HelloStop> {
        self.array().map(u16::from_be_bytes)
    }

    /// A field that may hold anything, here or still to come.
    fn skip(&mut self, length: usize) -> Range<usize> {
        let start = self.at;
        self.at += length;
        start..self.at
    }
}

fn wrong<T>(field: &'static str, offset: usize) -> Result<T, HelloStop> {
    Err(HelloStop::Wrong(NotFakeTls { field, offset }))
}
