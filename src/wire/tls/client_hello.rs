//! How a ClientHello is read, as far as a server that may hand it on needs to know it: which name it
//! asks for, and which protocols it offers inside.
//!
//! Sources: RFC 8446 sections 4.1.2 (ClientHello) and 5.1 (records), RFC 6066 section 3 (server_name),
//! RFC 7301 section 3.1 (application_layer_protocol_negotiation), RFC 7507 (TLS_FALLBACK_SCSV).

use super::{HOST_NAME, MESSAGE_HEAD, RECORD_HEAD, content_type, extension, handshake_type};
use crate::wire::Reader;
use std::borrow::Cow;
use std::cmp::Ordering;

/// The longest hello that is read to its end, in bytes without the heads of its records. Those of
/// browsers have 2 KiB, with post-quantum keys.
const MAX_HELLO: usize = 16 * 1024;

/// The most records that a hello may be cut into.
const MAX_RECORDS: usize = 64;

/// `TLS_FALLBACK_SCSV` among the cipher suites.
const FALLBACK_SCSV: [u8; 2] = [0x56, 0x00];

/// The bytes are not, and cannot become, a ClientHello that is understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a TLS ClientHello")]
pub struct NotAHello;

/// What a ClientHello asks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The name of the server, as it is written. An IP address is none.
    pub server_name: Option<&'a [u8]>,
    /// Whether it says that an attempt with a newer version failed (RFC 7507).
    pub is_fallback: bool,
    /// The list of protocols, each behind its length; `None` without the extension.
    alpn: Option<&'a [u8]>,
}

/// The body of the hello that a connection begins with: out of one record as it lies there, out of
/// several put together. `None` as long as it is not complete.
///
/// # Errors
///
/// It is no hello. More bytes never change that, nor a body that was found.
pub fn body(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, NotAHello> {
    let mut rest = bytes;
    let mut whole: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    // What the records announce, whether it is there or not.
    let mut announced = 0;
    for _ in 0..MAX_RECORDS {
        let Some(length) = record_length(rest)? else { return Ok(None) };
        announced += length;
        let end = rest.len().min(RECORD_HEAD + length);
        let fragment = rest.get(RECORD_HEAD..end).unwrap_or_default();
        match &mut whole {
            whole if whole.is_empty() => *whole = Cow::Borrowed(fragment),
            whole => whole.to_mut().extend_from_slice(fragment),
        }
        if let Some(length) = message_length(&whole)? {
            match announced.cmp(&(MESSAGE_HEAD + length)) {
                Ordering::Less => {}
                Ordering::Equal if whole.len() == announced => return Ok(Some(without_head(whole))),
                Ordering::Equal => return Ok(None),
                // Another message follows the hello in its record. No client sends that.
                Ordering::Greater => return Err(NotAHello),
            }
        }
        if end < RECORD_HEAD + length {
            return Ok(None);
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    Err(NotAHello)
}

/// The same of a hello that comes without records, as in QUIC. What follows it is not looked at.
///
/// # Errors
///
/// It is no hello. More bytes never change that, nor a body that was found.
pub fn body_without_records(message: &[u8]) -> Result<Option<&[u8]>, NotAHello> {
    let Some(length) = message_length(message)? else { return Ok(None) };
    Ok(message.get(MESSAGE_HEAD..MESSAGE_HEAD + length))
}

/// As much of such a body as has come.
pub fn beginning_without_records(message: &[u8]) -> &[u8] {
    message.get(MESSAGE_HEAD..).unwrap_or_default()
}

/// The length of a record's fragment, once its head is complete.
fn record_length(bytes: &[u8]) -> Result<Option<usize>, NotAHello> {
    /// RFC 8446 section 5.1: 2^14 bytes of plaintext.
    const MOST: usize = 16 * 1024;
    match *bytes {
        [kind, ..] if kind != content_type::HANDSHAKE => Err(NotAHello),
        [_, major, ..] if major != 3 => Err(NotAHello),
        [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            length @ 1..=MOST => Ok(Some(length)),
            _ => Err(NotAHello),
        },
        _ => Ok(None),
    }
}

/// The length of the message's body, once its head is complete.
fn message_length(message: &[u8]) -> Result<Option<usize>, NotAHello> {
    match *message {
        [kind, ..] if kind != handshake_type::CLIENT_HELLO => Err(NotAHello),
        [_, high, middle, low, ..] => {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if length <= MAX_HELLO { Ok(Some(length)) } else { Err(NotAHello) }
        }
        _ => Ok(None),
    }
}

fn without_head(message: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match message {
        Cow::Borrowed(message) => Cow::Borrowed(message.get(MESSAGE_HEAD..).unwrap_or_default()),
        Cow::Owned(mut message) => {
            message.drain(..message.len().min(MESSAGE_HEAD));
            Cow::Owned(message)
        }
    }
}

impl<'a> ClientHello<'a> {
    /// Reads the [body] of a hello. `None`: its lengths do not fit together.
    pub fn parse(body: &'a [u8]) -> Option<ClientHello<'a>> {
        let mut hello = ClientHello::default();
        hello.read(body)?;
        Some(hello)
    }

    /// Reads as much of a body as has come. What is in it is what the whole will have, if the whole is a hello; what is
    /// not in it may yet come.
    pub fn parse_beginning(body: &'a [u8]) -> ClientHello<'a> {
        let mut hello = ClientHello::default();
        let _ = hello.read(body);
        hello
    }

    /// Notes what is read. `None`: the lengths do not fit together, from there on.
    fn read(&mut self, body: &'a [u8]) -> Option<()> {
        let mut reader = Reader(body);
        // legacy_version and random
        reader.take(2 + 32)?;
        let session_id = reader.vector8()?;
        let cipher_suites = reader.vector16()?;
        let compression_methods = reader.vector8()?;
        if session_id.len() > 32
            || cipher_suites.is_empty()
            || cipher_suites.len() % 2 != 0
            || compression_methods.is_empty()
        {
            return None;
        }
        self.is_fallback = cipher_suites.chunks(2).any(|suite| suite == FALLBACK_SCSV);
        if reader.is_empty() {
            return Some(());
        }
        let length = usize::from(reader.u16()?);
        let Reader(rest) = reader;
        let mut extensions = Reader(rest.get(..length).unwrap_or(rest));
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let data = extensions.vector16()?;
            match kind {
                extension::SERVER_NAME if self.server_name.is_none() => {
                    self.server_name = host_name(data)?;
                }
                extension::ALPN if self.alpn.is_none() => self.alpn = Some(protocols(data)?),
                extension::SERVER_NAME | extension::ALPN => return None,
                _ => {}
            }
        }
        (rest.len() == length).then_some(())
    }

    /// Whether it says which protocols it offers.
    pub fn has_alpn(&self) -> bool {
        self.alpn.is_some()
    }

    /// Whether this protocol is among those that it offers.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        let mut list = Reader(self.alpn.unwrap_or_default());
        std::iter::from_fn(|| list.vector8()).any(|offered| offered == protocol)
    }
}

/// The first host name of a server_name extension, if there is one in it.
fn host_name(data: &[u8]) -> Option<Option<&[u8]>> {
    let mut list = Reader(Reader(data).vector16()?);
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16().filter(|name| !name.is_empty())?;
        if kind == HOST_NAME {
            return Some(Some(name));
        }
    }
    Some(None)
}

/// The list of an ALPN extension, each entry of which is there and not empty.
fn protocols(data: &[u8]) -> Option<&[u8]> {
    let list = Reader(data).vector16()?;
    let mut entries = Reader(list);
    while !entries.is_empty() {
        entries.vector8().filter(|entry| !entry.is_empty())?;
    }
    Some(list)
}

#[cfg(test)]
mod tests;
