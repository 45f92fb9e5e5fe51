//! How a ClientHello is written (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).

use super::{HOST_NAME, content_type, handshake_type};

/// A ClientHello to be written, right or wrong in every part. A field is no longer than the number in front
/// of it can say.
#[derive(Debug, Clone)]
pub struct HelloBuilder {
    /// The version of the record.
    pub record_version: u16,
    /// `legacy_version`
    pub version: u16,
    /// The random.
    pub random: [u8; 32],
    /// `legacy_session_id`
    pub session_id: Vec<u8>,
    /// The cipher suites.
    pub suites: Vec<u16>,
    /// The compression methods.
    pub compression: Vec<u8>,
    /// The extensions with their bodies, in their order.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl HelloBuilder {
    /// Without this extension.
    #[must_use]
    pub fn without(mut self, kind: u16) -> HelloBuilder {
        self.extensions.retain(|&(there, _)| there != kind);
        self
    }

    /// With this extension: in the place of the one of its kind, or behind all.
    #[must_use]
    pub fn with(mut self, kind: u16, body: Vec<u8>) -> HelloBuilder {
        match self.extensions.iter_mut().find(|(there, _)| *there == kind) {
            Some((_, old)) => *old = body,
            None => self.extensions.push((kind, body)),
        }
        self
    }

    /// The handshake message with its head.
    pub fn message(&self) -> Vec<u8> {
        let mut message = vec![handshake_type::CLIENT_HELLO];
        prefixed::<3>(&mut message, |out| {
            out.extend(self.version.to_be_bytes());
            out.extend(self.random);
            prefixed::<1>(out, |out| out.extend_from_slice(&self.session_id));
            prefixed::<2>(out, |out| out.extend(self.suites.iter().flat_map(|suite| suite.to_be_bytes())));
            prefixed::<1>(out, |out| out.extend_from_slice(&self.compression));
            prefixed::<2>(out, |out| {
                for (kind, body) in &self.extensions {
                    out.extend(kind.to_be_bytes());
                    prefixed::<2>(out, |out| out.extend_from_slice(body));
                }
            });
        });
        message
    }

    /// The message in one record.
    pub fn record(&self) -> Vec<u8> {
        record(content_type::HANDSHAKE, self.record_version, &self.message())
    }
}

/// Appends what `write` appends, behind its length in `N` bytes.
fn prefixed<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; N]);
    write(out);
    let mut length = out.len() - start - N;
    for byte in out.iter_mut().skip(start).take(N).rev() {
        *byte = length as u8;
        length >>= 8;
    }
    debug_assert!(length == 0, "{N} bytes cannot say a length");
}

/// A record.
pub fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let [major, minor] = version.to_be_bytes();
    [&[kind, major, minor][..], &list16(content)].concat()
}

/// The body of a `server_name` extension with one name.
pub fn server_name(name: &[u8]) -> Vec<u8> {
    list16(&[&[HOST_NAME][..], &list16(name)].concat())
}

/// The content behind its length in one byte.
pub fn list8(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed::<1>(&mut out, |out| out.extend_from_slice(content));
    out
}

/// The content behind its length in two bytes.
pub fn list16(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed::<2>(&mut out, |out| out.extend_from_slice(content));
    out
}

/// Numbers of two bytes each.
pub fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
