use super::*;
use crate::probe::hello;
use crate::probe::script::Noise;
use crate::wire::tls::{HelloBuilder, record};

/// A ServerHello of TLS 1.3 with these extensions behind the version.
fn server_hello(random: u8, session: &[u8], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let hello = HelloBuilder {
        version: 0x0303,
        random: [random; 32],
        session_id: session.to_vec(),
        ..hello::usual(&mut Noise::new(1), None)
    };
    // The client's message with one suite and one method in the place of the lists.
    let mut body = hello.version.to_be_bytes().to_vec();
    body.extend(hello.random);
    body.push(session.len() as u8);
    body.extend(session);
    body.extend([0x13, 0x01, 0]);
    let mut list = vec![0, 43, 0, 2, 3, 4];
    for (kind, content) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend((content.len() as u16).to_be_bytes());
        list.extend(*content);
    }
    body.extend((list.len() as u16).to_be_bytes());
    body.extend(list);
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    record(content_type::HANDSHAKE, 0x0303, &message)
}

const SHARE: (u16, &[u8]) = (51, &[0, 29, 0, 2, 9, 9]);

#[test]
fn what_is_random_does_not_count_and_the_order_is_style() {
    let session = [5; 32];
    let one = read(&server_hello(1, &session, &[SHARE, (0, &[])]), &session, usize::MAX);
    let two = read(&server_hello(2, &session, &[(0, &[]), SHARE]), &session, usize::MAX);
    assert_eq!(one.items, two.items);
    assert_eq!(one.style.extensions, Some(vec![43, 51, 0]));
    assert_eq!(two.style.extensions, Some(vec![43, 0, 51]));
    assert_eq!(one.to_string(), "ServerHello TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519");
    let other = read(&server_hello(1, &[], &[SHARE]), &session, usize::MAX);
    assert_ne!(one.items, other.items);
    assert!(other.to_string().ends_with("no session id"), "{other}");
}

#[test]
fn records_of_a_first_flight_count_as_one_and_later_ones_do_not() {
    let data = |length| record(23, 0x0303, &vec![0; length]);
    let bytes = [data(10), data(20), data(30)].concat();
    let all = read(&bytes, &[], usize::MAX);
    assert_eq!(all.items.len(), 1);
    assert_eq!(all.style.encrypted, [10, 20, 30]);
    assert_eq!(read(&bytes, &[], 15).items.len(), 3);
    assert_eq!(read(&bytes, &[], 16).items.len(), 2, "the second begins within");
}

/// The length of an ECDSA signature is as long as it comes out.
#[test]
fn only_tls_1_2_names_the_scheme_of_a_signature() {
    let exchange = |version, signature: &[u8]| {
        let body = [&[3, 0, 29, 1, 9][..], signature].concat();
        let message = [&[12, 0, 0, body.len() as u8][..], &body].concat();
        read(&record(content_type::HANDSHAKE, version, &message), &[], usize::MAX).items
    };
    assert_eq!(exchange(0x0302, &[0, 71, 7]), exchange(0x0302, &[0, 72, 7]));
    assert_ne!(exchange(0x0303, &[4, 3, 0, 71, 7]), exchange(0x0303, &[5, 3, 0, 71, 7]));
}

#[test]
fn alerts_are_told_and_what_is_broken_too() {
    let alert = record(content_type::ALERT, 0x0303, &[2, 40]);
    assert_eq!(read(&alert, &[], 0).to_string(), "alert fatal HandshakeFailure");
    let cut = read(&alert[..6], &[], 0);
    assert_eq!(cut.items, [Item { version: 0x0303, what: What::Broken(content_type::ALERT) }]);
    let old = read(&record(content_type::ALERT, 0x0301, &[2, 70]), &[], 0);
    assert_eq!(old.to_string(), "alert fatal ProtocolVersion (record of TLSv1_0)");
    assert_eq!(read(&record(content_type::ALERT, 0x0303, &[2]), &[], 0).items[0].what, What::Broken(21));
}

#[test]
fn a_session_id_is_found_in_a_hello() {
    let hello = HelloBuilder { session_id: vec![3; 32], ..hello::usual(&mut Noise::new(1), None) };
    assert_eq!(session_id_of(&hello.record()), [3; 32]);
    assert!(session_id_of(&hello.record()[..60]).is_empty());
    assert!(session_id_of(b"GET / HTTP/1.1\r\n").is_empty());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>, flight: usize) {
        read(&bytes, &[], flight);
        let tls = [&[22, 3, 3, 0, bytes.len().min(255) as u8][..], &bytes].concat();
        read(&tls, &bytes, flight);
        session_id_of(&tls);
    }
}

/// Far more than is read of one answer: whoever looks at all that has come for each record, or moves it for each message,
/// does not come to an end here.
#[test]
fn many_records_and_messages_take_no_longer_than_few() {
    const LENGTH: usize = 8 * 1024 * 1024;
    let flood = |record: &[u8]| record.repeat(LENGTH / record.len());
    let changes = read(&flood(&record(content_type::CHANGE_CIPHER_SPEC, 0x0303, &[1])), &[], usize::MAX);
    assert_eq!(changes.items.len(), LENGTH / 6);
    let empty = record(content_type::HANDSHAKE, 0x0303, &[14, 0, 0, 0].repeat(16_000));
    let messages = read(&flood(&empty), &[], usize::MAX);
    assert_eq!(messages.items.len(), LENGTH / empty.len() * 16_000);
    // A message that is longer than all that comes of it, in the smallest records.
    let begun = [record(22, 0x0303, &[11, 0xff, 0xff, 0xff]), flood(&record(22, 0x0303, &[0]))].concat();
    assert_eq!(read(&begun, &[], usize::MAX).items.len(), 1);
}

#[test]
fn a_long_answer_is_shown_in_one_short_line() {
    let alert = record(content_type::ALERT, 0x0303, &[1, 0]);
    let shown = read(&alert.repeat(1000), &[], usize::MAX).to_string();
    assert!(shown.ends_with("alert warning CloseNotify; and 980 more") && shown.len() < 1000, "{shown}");
}
