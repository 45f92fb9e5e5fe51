//! A TLS ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2) of which every part can be wrong.

use super::script::Noise;

/// Record types (RFC 8446 section 5.1; heartbeat: RFC 6520).
pub mod content {
    /// `change_cipher_spec`
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// `alert`
    pub const ALERT: u8 = 21;
    /// `handshake`
    pub const HANDSHAKE: u8 = 22;
    /// `application_data`
    pub const APPLICATION_DATA: u8 = 23;
    /// `heartbeat`
    pub const HEARTBEAT: u8 = 24;
}

/// Extension types (the registry of IANA).
pub mod extension {
    /// `server_name`
    pub const SERVER_NAME: u16 = 0;
    /// `status_request`
    pub const STATUS_REQUEST: u16 = 5;
    /// `supported_groups`
    pub const GROUPS: u16 = 10;
    /// `ec_point_formats`
    pub const POINT_FORMATS: u16 = 11;
    /// `signature_algorithms`
    pub const SIGNATURES: u16 = 13;
    /// `application_layer_protocol_negotiation`
    pub const ALPN: u16 = 16;
    /// `padding`
    pub const PADDING: u16 = 21;
    /// `extended_master_secret`
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// `session_ticket`
    pub const SESSION_TICKET: u16 = 35;
    /// `supported_versions`
    pub const VERSIONS: u16 = 43;
    /// `psk_key_exchange_modes`
    pub const PSK_MODES: u16 = 45;
    /// `key_share`
    pub const KEY_SHARE: u16 = 51;
    /// `renegotiation_info`
    pub const RENEGOTIATION: u16 = 0xff01;
}

/// What the hello of a usual program offers, TLS 1.3 first.
const SUITES: [u16; 13] =
    [0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc013, 0xc014, 0x009c, 0x002f];

const X25519: u16 = 29;
const SECP256R1: u16 = 23;
const SECP384R1: u16 = 24;

/// A hello, to be spoilt at will and then written.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The version of the record.
    pub record_version: u16,
    /// `legacy_version`
    pub version: u16,
    /// The random.
    pub random: [u8; 32],
    /// `legacy_session_id`, at most 255 bytes.
    pub session_id: Vec<u8>,
    /// The cipher suites.
    pub suites: Vec<u16>,
    /// The compression methods.
    pub compression: Vec<u8>,
    /// The extensions with their bodies, in their order.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// One that every HTTPS server takes: TLS 1.3 or 1.2, HTTP/1.1.
    pub fn usual(noise: &mut Noise, server_name: Option<&str>) -> Hello {
        // Any 32 bytes are a key of X25519 (RFC 7748 section 5).
        let share = noise.bytes(32);
        let mut extensions = Vec::new();
        if let Some(name) = server_name {
            extensions.push((extension::SERVER_NAME, host_name(name.as_bytes())));
        }
        extensions.extend([
            (extension::EXTENDED_MASTER_SECRET, Vec::new()),
            (extension::RENEGOTIATION, vec![0]),
            (extension::GROUPS, list16(&numbers(&[X25519, SECP256R1, SECP384R1]))),
            (extension::POINT_FORMATS, vec![1, 0]),
            (extension::SESSION_TICKET, Vec::new()),
            (extension::ALPN, list16(&list8(b"http/1.1"))),
            (extension::STATUS_REQUEST, vec![1, 0, 0, 0, 0]),
            (
                extension::SIGNATURES,
                list16(&numbers(&[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601])),
            ),
            (extension::KEY_SHARE, list16(&[&numbers(&[X25519])[..], &list16(&share)].concat())),
            (extension::PSK_MODES, vec![1, 1]),
            (extension::VERSIONS, list8(&numbers(&[0x0304, 0x0303]))),
        ]);
        Hello {
            record_version: 0x0301,
            version: 0x0303,
            random: noise.array(),
            session_id: noise.bytes(32),
            suites: SUITES.to_vec(),
            compression: vec![0],
            extensions,
        }
    }

    /// The same of a program that knows no TLS 1.3, and no version above this one.
    pub fn up_to(mut self, version: u16) -> Hello {
        for unknown in [extension::KEY_SHARE, extension::PSK_MODES, extension::VERSIONS] {
            self = self.without(unknown);
        }
        self.suites.retain(|suite| suite >> 8 != 0x13);
        self.version = version;
        self.record_version = version.min(0x0301);
        self
    }

    /// Without this extension.
    pub fn without(mut self, kind: u16) -> Hello {
        self.extensions.retain(|&(there, _)| there != kind);
        self
    }

    /// With this extension: in the place of the one of its kind, or behind all.
    pub fn with(mut self, kind: u16, body: Vec<u8>) -> Hello {
        match self.extensions.iter_mut().find(|(there, _)| *there == kind) {
            Some((_, old)) => *old = body,
            None => self.extensions.push((kind, body)),
        }
        self
    }

    /// The handshake message with its head.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.random);
        body.extend(list8(&self.session_id));
        body.extend(list16(&numbers(&self.suites)));
        body.extend(list8(&self.compression));
        let mut extensions = Vec::new();
        for (kind, content) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(list16(content));
        }
        body.extend(list16(&extensions));
        let [_, high, middle, low] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&[1, high, middle, low][..], &body].concat()
    }

    /// The message in one record.
    pub fn record(&self) -> Vec<u8> {
        record(content::HANDSHAKE, self.record_version, &self.message())
    }
}

/// A record.
pub fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let [major, minor] = version.to_be_bytes();
    [&[kind, major, minor][..], &list16(content)].concat()
}

/// The body of a server name extension.
pub fn host_name(name: &[u8]) -> Vec<u8> {
    list16(&[&[0][..], &list16(name)].concat())
}

/// With a length of one byte in front.
pub fn list8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap_or(u8::MAX)][..], content].concat()
}

/// With a length of two bytes in front.
pub fn list16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes()[..], content].concat()
}

/// Numbers of two bytes each.
pub fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rustls reads what is written here.
    #[test]
    fn a_usual_hello_is_one() {
        for (name, version) in [(Some("www.example.com"), None), (None, None), (Some("a"), Some(0x0303))] {
            let mut hello = Hello::usual(&mut Noise::new(1), name);
            if let Some(version) = version {
                hello = hello.up_to(version);
            }
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut hello.record().as_slice()).unwrap();
            let accepted = acceptor.accept().map_err(|(error, _)| error).unwrap().unwrap();
            let read = accepted.client_hello();
            assert_eq!(read.server_name(), name);
            assert_eq!(read.alpn().unwrap().collect::<Vec<_>>(), [b"http/1.1"]);
            let newest = read.cipher_suites().contains(&rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
            assert_eq!(newest, version.is_none());
        }
    }
}
