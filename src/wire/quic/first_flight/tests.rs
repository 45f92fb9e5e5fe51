use super::super::LEAST_INITIAL;
use super::super::test_packets::{crypto, flight, hello, initial, packet};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

const ID: &[u8] = b"chosen by it";

fn read(datagrams: &[Vec<u8>]) -> Result<Option<(Vec<u8>, bool)>, Malformed> {
    let mut flight = FirstFlight::new(ID);
    for datagram in datagrams {
        flight.take(datagram)?;
    }
    let told = |hello: ClientHello<'_>| (hello.server_name.unwrap().to_vec(), hello.offers(b"h3"));
    Ok(flight.hello()?.map(told))
}

#[test]
fn a_hello_may_come_in_one_datagram_or_in_two_in_any_order() {
    let hello = hello("www.example.com", &[b"h3"], 300);
    let told = Ok(Some((b"www.example.com".to_vec(), true)));
    assert_eq!(read(&[initial(ID, 0, &crypto(0, &hello))]), told);
    for turned in [false, true] {
        let [one, two] = flight(ID, &hello, 40, turned);
        assert!(one.len() >= LEAST_INITIAL);
        assert_eq!(read(std::slice::from_ref(&one)), Ok(None));
        assert_eq!(read(&[one.clone(), one.clone(), two.clone()]), told, "one comes twice");
        assert_eq!(read(&[one, two]), told);
    }
}

#[test]
fn packets_that_share_a_datagram_are_all_read() {
    let hello = hello("www.example.com", &[b"h2"], 0);
    let (first, second) = hello.split_at(40);
    let zero_rtt = b"\xd0\0\0\0\x01\x0cchosen by it\0\x05early";
    let parts =
        [packet(ID, 0xc3, 0, &crypto(0, first)), zero_rtt.to_vec(), packet(ID, 0xc3, 1, &crypto(40, second))];
    assert_eq!(read(&[parts.concat()]), Ok(Some((b"www.example.com".to_vec(), false))));
}

#[test]
fn who_does_not_know_the_keys_has_said_nothing() {
    let hello = hello("www.example.com", &[b"h3"], 0);
    let of_another = initial(b"another id..", 0, &crypto(0, &hello));
    let mut spoilt = initial(ID, 0, &crypto(0, &hello));
    *spoilt.last_mut().unwrap() ^= 1;
    let mut flight = FirstFlight::new(ID);
    for datagram in [&of_another[..], &spoilt, b"", b"\xc0", &[0xc0; 1200], &[0x40; 1200]] {
        assert_eq!(flight.take(datagram), Ok(false));
        assert_eq!(flight.hello(), Ok(None));
    }
    assert_eq!(flight.take(&initial(ID, 0, &crypto(0, &hello))), Ok(true), "and spoils nothing");
    assert!(flight.hello().unwrap().is_some());
}

#[test]
fn what_no_client_says_is_malformed() {
    let whole = hello("www.example.com", &[b"h3"], 0);
    let lie = [crypto(0, &whole[..50]), crypto(49, &[!whole[49]])].concat();
    for (frames, malformed) in [
        (lie, Malformed::Contradiction),
        (crypto(8 * 1024, b"a"), Malformed::TooLong),
        (crypto(0, b"\x02\0\0\x01a"), Malformed::NotAHello),
        (crypto(0, b"\x01\x01\0\0"), Malformed::NotAHello),
        (crypto(0, b"\x01\0\0\x01a"), Malformed::NotAHello),
        (vec![0x08], Malformed::Frame),
    ] {
        assert_eq!(read(&[initial(ID, 0, &frames)]), Err(malformed));
    }
    assert_eq!(read(&[packet(ID, 0xcf, 0, &[0; 1200])]), Err(Malformed::Reserved));
}

/// A hello that would be longer than what is collected of one is never complete.
#[test]
fn a_hello_that_is_too_long_is_not_waited_for_longer_than_there_is_room() {
    let mut flight = FirstFlight::new(ID);
    let long = [&b"\x01\0\x3f\xff"[..], &[0; 8 * 1024 - 4]].concat();
    for (number, part) in long.chunks(1000).enumerate() {
        assert_eq!(flight.take(&initial(ID, number as u32, &crypto(number * 1000, part))), Ok(true));
        assert_eq!(flight.hello(), Ok(None));
    }
    assert_eq!(flight.take(&initial(ID, 9, &crypto(long.len(), b"a"))), Err(Malformed::TooLong));
}

#[test]
fn packet_numbers_are_told_from_their_last_bytes() {
    let mut flight = FirstFlight::new(ID);
    for (largest, sent, length, number) in [
        (None, 0, 1, 0),
        (None, 0xff, 1, 0xff),
        (Some(0xa82f_30ea), 0x9b32, 2, 0xa82f_9b32),
        (Some(0xff), 0, 1, 0x100),
        (Some(0x17f), 0xff, 1, 0x1ff),
        (Some(0x100), 0xff, 1, 0xff),
    ] {
        flight.largest = largest;
        assert_eq!(flight.whole_number(sent, length), number, "{largest:?} {sent:x}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(
        datagrams in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                prop::collection::vec(any::<u8>(), 0..100).prop_map(|frames| initial(ID, 7, &frames)),
                prop::collection::vec(any::<u8>(), 1..100).prop_map(|payload| packet(ID, 0xc0, 7, &payload)),
            ],
            0..5,
        ),
    ) {
        let _ = read(&datagrams);
    }

    /// Whatever its pieces, and in whatever order they come, over several datagrams: a hello is found when all of it
    /// is there, and not before.
    #[test]
    fn any_cuts_in_any_order_make_the_same_hello(
        padding in 0..2000_usize,
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        order in prop::collection::vec(any::<Index>(), 12),
        together in 1..4_usize,
    ) {
        let hello = hello("www.example.com", &[b"h3", b"h2"], padding);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(hello.len())).collect();
        cuts.extend([0, hello.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<Vec<u8>> = cuts.windows(2).map(|cut| crypto(cut[0], &hello[cut[0]..cut[1]])).collect();
        for (at, other) in order.iter().enumerate().take(pieces.len()) {
            let other = other.index(pieces.len());
            pieces.swap(at, other);
        }
        let mut flight = FirstFlight::new(ID);
        let datagrams = pieces.chunks(together).enumerate();
        let datagrams: Vec<Vec<u8>> = datagrams.map(|(number, frames)| initial(ID, number as u32, &frames.concat())).collect();
        for datagram in &datagrams {
            prop_assert_eq!(flight.hello(), Ok(None));
            prop_assert_eq!(flight.take(datagram), Ok(true));
        }
        prop_assert!(flight.hello().unwrap().is_some_and(|hello| hello.offers(b"h2")));
    }
}
