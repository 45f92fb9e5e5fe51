//! The hello of `obfs=tls`: which is taken, and that it is one of real TLS to others.

use super::pieces::{Numbers, settled};
use obfs_rs::wire::fake_tls::{ReceivedHello, SentHello};
use obfs_rs::wire::tls::ClientHello;
use obfs_rs::wire::tls::client_hello::body;

pub fn check(bytes: &[u8]) {
    // The offset of what is wrong is the same in pieces, too.
    let (_, found) = settled(bytes, &Ok(None), ReceivedHello::parse);
    match found {
        Ok(None) => assert!(bytes.len() < ReceivedHello::MAX),
        Ok(Some(hello)) => {
            assert!(hello.length <= bytes.len());
            assert!(hello.payload.start <= hello.payload.end && hello.payload.end <= hello.server_name.start);
            assert!(hello.server_name.end <= hello.length);
            as_real_tls(&bytes[..hello.length], &bytes[hello.server_name]);
        }
        Err(wrong) => assert!(wrong.offset < bytes.len()),
    }
    written(bytes);
}

/// A reader of real TLS takes it for what it looks like.
fn as_real_tls(record: &[u8], name: &[u8]) {
    // Real hellos are not that long (and records neither, beyond 16 KiB): a visitor's is not waited for.
    let Ok(Some(body)) = body(record) else {
        assert!(record.len() > 16 * 1024);
        return;
    };
    match ClientHello::parse(&body) {
        Some(hello) if !name.is_empty() => assert_eq!(hello.server_name, Some(name)),
        // No name is no name of real TLS, an extension must not be there twice, and one length may be written the
        // wrong way round.
        _ => {}
    }
}

/// The bytes as a first payload, and some of them as a name.
fn written(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes);
    let name: String = bytes.iter().take(numbers.below(64)).map(|byte| char::from(byte & 0x7f)).collect();
    let mut byte = || numbers.below(256) as u8;
    let hello =
        SentHello { random: std::array::from_fn(|_| byte()), session_id: std::array::from_fn(|_| byte()) };
    let mut record = b"in front".to_vec();
    let before = record.len();
    let fits = bytes.len() <= SentHello::max_payload(&name, ReceivedHello::MAX);
    assert_eq!(hello.encode(&name, bytes, &mut record).is_ok(), fits);
    if !fits {
        assert_eq!(record.len(), before);
        return;
    }
    let record = &record[before..];
    assert_eq!(record.len(), SentHello::OVERHEAD + name.len() + bytes.len());
    let (at, received) = settled(record, &Ok(None), ReceivedHello::parse);
    let received = received.expect("a hello").expect("all of it");
    assert_eq!((at, received.length), (record.len(), record.len()));
    assert_eq!((received.session_id, &record[received.payload]), (hello.session_id, bytes));
    assert_eq!(&record[received.server_name], name.as_bytes());
}
