//! The pure parts of the opening handshake: key, accept value, early data.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

/// What a server appends to the key before it hashes it (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Key` for a nonce, which is to be random (RFC 6455, section 4.1).
pub fn key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`
/// (RFC 6455, section 4.2.2).
///
/// The key is hashed as it came, without the white space around it. What it encodes does not
/// matter: some apps send the URL-safe alphabet.
pub fn accept_key(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key.trim_ascii()).chain_update(GUID).finalize();
    STANDARD.encode(hash)
}

/// Every way that base64 is written in is read: the caller turns the URL-safe alphabet into the
/// standard one, the padding may be there or not, and stray bits in the last digit do not matter
/// (they do not to Go, in which the deployed servers are written).
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The first bytes of the stream, which a client may send in `Sec-WebSocket-Protocol`.
///
/// `value` is base64, URL-safe or standard or both, padded or not: what xray's server takes. At
/// most `limit` bytes are decoded. An empty value is no data. A server that takes the data echoes
/// the header, value and all. `None` if it is something else, perhaps the name of a real subprotocol, or
/// too long.
pub fn decode_early_data(value: &[u8], limit: usize) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    // Four digits make three bytes; the padding is at most two characters.
    if value.len() > limit.div_ceil(3).saturating_mul(4).saturating_add(2) {
        return None;
    }
    let standard: Vec<u8> = value
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    LENIENT.decode(standard).ok().filter(|data| data.len() <= limit)
}

/// The value of `Sec-WebSocket-Protocol` that carries `data`: URL-safe base64 without padding,
/// which every server with early data understands.
pub fn encode_early_data(data: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

/// Takes the option `ed=N` out of a path's query, as the apps that know early data do: it is for
/// the client and not to be sent.
///
/// Returns the path without it, its other parameters as they were, and N, the most bytes of early
/// data that the client may send. A value that is not a number is left in the path, where it may
/// mean something to the server. When the parameter is there twice, both are taken out and the
/// first counts.
pub fn split_early_data(path: &str) -> (Cow<'_, str>, Option<usize>) {
    let Some((base, query)) = path.split_once('?') else {
        return (path.into(), None);
    };
    let number = |pair: &str| pair.strip_prefix("ed=")?.parse::<usize>().ok();
    let Some(limit) = query.split('&').find_map(number) else {
        return (path.into(), None);
    };
    let mut kept = base.to_owned();
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| number(pair).is_none()) {
        kept.push(separator);
        kept.push_str(pair);
        separator = '&';
    }
    (kept.into(), Some(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accept_key_is_the_example_of_the_rfc() {
        // RFC 6455, section 1.3.
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), accept);
        assert_eq!(accept_key(b" dGhlIHNhbXBsZSBub25jZQ== "), accept);
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn accept_key_takes_any_bytes_for_a_key() {
        assert_eq!(accept_key(b"").len(), 28);
        assert_eq!(accept_key(b"-_\xff\x00").len(), 28);
        assert_ne!(accept_key(b"-_"), accept_key(b"+/"));
    }

    #[test]
    fn early_data_is_read_in_every_kind_of_base64() {
        let data = [0xfb, 0xff, 0xbf, 0xfe];
        for value in ["-_-__g", "+/+//g", "+/+//g==", "-_-__g==", "-_+//g", " -_-__g ", "-_-__h"] {
            assert_eq!(decode_early_data(value.as_bytes(), 2048).as_deref(), Some(&data[..]), "{value}");
        }
        assert_eq!(encode_early_data(&data), "-_-__g");
        assert_eq!(decode_early_data(b"", 2048), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_early_data_is_not_taken_for_some() {
        for value in ["chat, superchat", "v1.api", "A", "AAAAA", "AA=A", "\u{e9}"] {
            assert_eq!(decode_early_data(value.as_bytes(), 2048), None, "{value}");
        }
    }

    #[test]
    fn early_data_is_bounded_to_the_byte() {
        for limit in 0..20 {
            for length in 0..20 {
                let data = vec![0xa5; length];
                for value in [encode_early_data(&data), STANDARD.encode(&data)] {
                    let expected = (length <= limit).then(|| data.clone());
                    assert_eq!(decode_early_data(value.as_bytes(), limit), expected);
                }
            }
        }
        assert!(decode_early_data(b"AAAA", usize::MAX).is_some());
    }

    #[test]
    fn ed_is_cut_out_of_the_query_and_nothing_else_is() {
        let cases = [
            ("/", "/", None),
            ("/x?ed=2048", "/x", Some(2048)),
            ("/?ed=0", "/", Some(0)),
            ("/x?a=b&ed=512", "/x?a=b", Some(512)),
            ("/x?ed=512&a=b", "/x?a=b", Some(512)),
            ("/x?b=%2F&ed=512&a", "/x?b=%2F&a", Some(512)),
            ("/x?ed=1&ed=2", "/x", Some(1)),
            ("/x?ed=", "/x?ed=", None),
            ("/x?ed=no", "/x?ed=no", None),
            ("/x?ed=-1", "/x?ed=-1", None),
            ("/x?used=2048", "/x?used=2048", None),
            ("/ed=2048", "/ed=2048", None),
            ("/x?", "/x?", None),
            ("", "", None),
            ("?ed=7", "", Some(7)),
        ];
        for (path, kept, limit) in cases {
            let (rest, found) = split_early_data(path);
            assert_eq!((rest.as_ref(), found), (kept, limit), "{path}");
        }
    }

    proptest! {
        #[test]
        fn early_data_survives_the_round_trip(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let value = encode_early_data(&data);
            prop_assert_eq!(decode_early_data(value.as_bytes(), 300), Some(data));
        }

        #[test]
        fn foreign_values_never_panic(value in prop::collection::vec(any::<u8>(), 0..64), limit in 0..64usize) {
            if let Some(data) = decode_early_data(&value, limit) {
                prop_assert!(data.len() <= limit);
            }
        }

        #[test]
        fn foreign_paths_never_panic(path in "[/?&=ed0-9é]{0,20}") {
            let (kept, limit) = split_early_data(&path);
            prop_assert_eq!(limit.is_none(), kept == path);
        }
    }
}
