//! The records of `obfs=tls`, of either half.

use super::pieces::{Numbers, cuts, decode};
use obfs_rs::wire::Encoder;
use obfs_rs::wire::fake_tls::{FIRST_FLIGHT_HEAD, RECORD_PAYLOAD, RecordDecoder, RecordEncoder};

pub fn check(bytes: &[u8]) {
    for begin in [RecordDecoder::after_client_hello(), RecordDecoder::from_server_hello()] {
        let read = |ends: &[usize]| decode(begin.clone(), bytes, ends, |_, never| match never {});
        let whole = read(&[bytes.len()]);
        for ends in cuts(bytes) {
            assert_eq!(read(&ends), whole);
        }
        assert!(whole.payload.len() <= bytes.len() && whole.events.is_empty());
        if let Some(error) = &whole.error {
            assert!(!error.to_string().chars().any(char::is_control));
        }
    }
    let mut numbers = Numbers::new(bytes);
    let server = RecordEncoder::from_server_hello([7; 32], std::array::from_fn(|_| numbers.below(256) as u8));
    written(bytes, server, RecordDecoder::from_server_hello(), FIRST_FLIGHT_HEAD);
    written(bytes, RecordEncoder::after_client_hello(), RecordDecoder::after_client_hello(), 5);
}

/// The bytes as payload.
fn written(payload: &[u8], mut encoder: RecordEncoder, decoder: RecordDecoder, first: usize) {
    let mut numbers = Numbers::new(payload);
    let (mut stream, mut rest, mut head) = (Vec::new(), payload, first);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + numbers.below(rest.len())).min(RECORD_PAYLOAD));
        let before = stream.len();
        encoder.encode(&mut piece.to_vec(), &mut stream);
        assert_eq!(stream.len() - before, std::mem::replace(&mut head, 5));
        stream.extend_from_slice(piece);
        rest = behind;
    }
    for ends in cuts(&stream) {
        let found = decode(decoder.clone(), &stream, &ends, |_, never| match never {});
        assert_eq!((&found.payload[..], found.error), (payload, None));
    }
}
