use super::*;
use crate::transport::quic::test_socket::{address, meta};
use crate::wire::quic::Header;
use crate::wire::quic::test_packets::{crypto, flight, hello, hello_with, initial};
use crate::wire::tls::extension;

fn is_ours(hello: &ClientHello<'_>, _: Option<IpAddr>) -> bool {
    hello.server_name == Some(b"ours.example")
}

fn id(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], b"client's"].concat()
}

fn sort(flights: &mut Flights, from: u16, datagram: &[u8], now: Instant) -> Whose {
    let Some(Header::Long(head)) = Header::parse(datagram) else { panic!("a long head") };
    flights.sort(&head, datagram, &meta(address(from), datagram.len(), datagram.len()), now, &is_ours)
}

fn zero_rtt(id: &[u8]) -> Vec<u8> {
    [&b"\xd0\0\0\0\x01"[..], &[id.len() as u8], id, b"\0\x05early"].concat()
}

fn bytes(kept: Vec<Datagram>) -> Vec<Vec<u8>> {
    kept.into_iter().map(|datagram| datagram.bytes).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_goes_where_the_hello_says_in_the_order_in_which_it_came() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    // (the name is not in the first 50 bytes)
    for (number, name) in [(1, "ours.example"), (2, "others.example")] {
        let id = id(number);
        for (from, turned) in [(1, false), (2, true)] {
            let [one, two] = flight(&id, &hello(name, &[b"h3"], 1000), 50, turned);
            let early = zero_rtt(&id);
            for datagram in [&one, &early] {
                assert!(matches!(sort(&mut flights, from, datagram, now), Whose::Undecided));
            }
            let kept = match sort(&mut flights, from, &two, now) {
                Whose::Ours(kept) if number == 1 => kept,
                Whose::Others(kept) if number == 2 => kept,
                other => panic!("{other:?}"),
            };
            assert_eq!(bytes(kept), [one.clone(), early.clone()]);
            // It is known from here on, and what comes from elsewhere is another connection.
            for again in [&one, &two, &early] {
                match sort(&mut flights, from, again, now) {
                    Whose::Ours(kept) if number == 1 && kept.is_empty() => {}
                    Whose::Others(kept) if number == 2 && kept.is_empty() => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(matches!(sort(&mut flights, from + 10, &early, now), Whose::Unknown));
        }
    }
    assert!(flights.next_end().is_none() && flights.take_given_up(now).is_empty());
}

/// A stranger's half hello is answered by the website as soon as it is by the website alone.
#[tokio::test(start_paused = true)]
async fn a_beginning_is_enough_that_says_whose_it_is() {
    let (mut flights, now) = (Flights::new(true), Instant::now());
    let (ours, others) = (hello("ours.example", &[b"h2"], 0), hello("others.example", &[b"h2"], 0));
    // Of another's the name is enough. (It ends before the 80th byte.)
    let [one, two] = flight(&id(1), &others, 80, false);
    for datagram in [&one, &two] {
        assert!(matches!(sort(&mut flights, 1, datagram, now), Whose::Others(kept) if kept.is_empty()));
    }
    // One of our name may have a browser's protocol.
    let [one, two] = flight(&id(2), &ours, 80, false);
    assert!(matches!(sort(&mut flights, 1, &one, now), Whose::Undecided));
    match sort(&mut flights, 1, &two, now) {
        Whose::Ours(kept) => assert_eq!(bytes(kept), [one]),
        other => panic!("{other:?}"),
    }
    // What comes behind the two is not waited for.
    let long = hello_with("ours.example", &[b"h2"], &[(extension::PADDING, vec![0; 2000])]);
    let [one, two] = flight(&id(3), &long, 1000, false);
    for datagram in [&one, &two] {
        assert!(matches!(sort(&mut flights, 1, datagram, now), Whose::Ours(kept) if kept.is_empty()));
    }
    // Where there is a website, the rest of what says nothing is not waited for as long.
    let [one, _] = flight(&id(4), &ours, 50, false);
    assert!(matches!(sort(&mut flights, 1, &one, now), Whose::Undecided));
    assert_eq!(flights.next_end(), Some(now + WAIT_OF_WEBSITE));
    assert_eq!(bytes(flights.take_given_up(now + WAIT_OF_WEBSITE)), [one]);
}

#[tokio::test(start_paused = true)]
async fn whose_a_connection_is_is_forgotten() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let whole = initial(&id(1), 0, &crypto(0, &hello("ours.example", &[], 0)));
    assert!(matches!(sort(&mut flights, 1, &whole, now), Whose::Ours(_)));
    let early = zero_rtt(&id(1));
    assert!(matches!(sort(&mut flights, 1, &early, now + REMEMBER - WAIT), Whose::Ours(_)));
    assert!(matches!(sort(&mut flights, 1, &early, now + REMEMBER), Whose::Unknown));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_hello_is_not_waited_for_for_long() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let [one, two] = flight(&id(1), &hello("ours.example", &[b"h3"], 1000), 100, false);
    assert!(matches!(sort(&mut flights, 1, &one, now), Whose::Undecided));
    let later = now + WAIT / 2;
    assert!(matches!(sort(&mut flights, 1, &one, later), Whose::Undecided), "which makes it no younger");
    assert_eq!(flights.next_end(), Some(now + WAIT));
    assert!(flights.take_given_up(later).is_empty());
    assert_eq!(bytes(flights.take_given_up(now + WAIT)), [one.clone(), one.clone()]);
    // All of it may come again, and is read.
    assert!(matches!(sort(&mut flights, 1, &one, now + WAIT), Whose::Undecided));
    assert!(matches!(sort(&mut flights, 1, &two, now + WAIT), Whose::Ours(_)));
}

#[tokio::test(start_paused = true)]
async fn what_no_server_answers_begins_nothing() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let whole = initial(&id(1), 0, &crypto(0, &hello("ours.example", &[], 0)));
    let mut of_others = whole.clone();
    of_others[6] ^= 1;
    let mut not_fixed = whole.clone();
    not_fixed[0] ^= 0x40;
    let short =
        crate::wire::quic::test_packets::packet(&id(1), 0xc3, 0, &crypto(0, &hello("ours.example", &[], 0)));
    assert!(short.len() < LEAST_INITIAL);
    for datagram in [zero_rtt(&id(1)), of_others, not_fixed, short] {
        assert!(matches!(sort(&mut flights, 1, &datagram, now), Whose::Unknown));
    }
    assert!(matches!(sort(&mut flights, 1, &whole, now), Whose::Ours(_)));
}

#[tokio::test(start_paused = true)]
async fn what_no_client_says_is_not_ours() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let hello = hello("ours.example", &[b"h3"], 1000);
    let lie = [&hello[..100], &[!hello[100]]].concat();
    let [one, two] = flight(&id(1), &hello, 100, false);
    assert!(matches!(sort(&mut flights, 1, &one, now), Whose::Undecided));
    assert!(matches!(sort(&mut flights, 1, &initial(&id(1), 3, &crypto(0, &lie)), now), Whose::Undecided));
    match sort(&mut flights, 1, &two, now) {
        Whose::Others(kept) => assert_eq!(kept.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_flight_has_bounds() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let [one, _] = flight(&id(1), &hello("ours.example", &[b"h3"], 1000), 100, false);
    for _ in 0..MOST_DATAGRAMS {
        assert!(matches!(sort(&mut flights, 1, &one, now), Whose::Undecided));
    }
    match sort(&mut flights, 1, &one, now) {
        Whose::Others(kept) => assert_eq!(kept.len(), MOST_DATAGRAMS),
        other => panic!("{other:?}"),
    }
    let mut large = flight(&id(2), &hello("ours.example", &[b"h3"], 1000), 100, false)[0].clone();
    large.resize(MOST_BYTES + 1, 0);
    assert!(matches!(sort(&mut flights, 1, &large, now), Whose::Others(kept) if kept.is_empty()));
}

/// Whatever comes, from whomever: no more is kept than there may be, each datagram goes somewhere in the end, and a
/// client whose datagrams come one after the other gets through.
#[tokio::test(start_paused = true)]
async fn a_flood_of_beginnings_keeps_nobody_out() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let whole = hello("ours.example", &[b"h3"], 1000);
    let [client_one, client_two] = flight(&id(0), &whole, 100, false);
    let mut given_up = 0;
    // (the keys of each are another's, which takes a test longer than a server)
    for number in 1..=2 * MOST_WAITING {
        if number == MOST_WAITING * 3 / 2 {
            assert!(matches!(sort(&mut flights, 999, &client_one, now), Whose::Undecided));
        }
        if number == MOST_WAITING * 3 / 2 + 10 {
            assert!(matches!(sort(&mut flights, 999, &client_two, now), Whose::Ours(_)));
        }
        let [one, _] = flight(&id(number as u32), &whole, 100, false);
        // Each of another network.
        assert!(matches!(sort(&mut flights, number as u16 % 50 * 1000, &one, now), Whose::Undecided));
        given_up += flights.take_given_up(now).len();
        assert!(flights.waiting.values().count() <= MOST_WAITING);
    }
    assert_eq!(given_up, MOST_WAITING);
    assert_eq!(flights.take_given_up(now + WAIT).len(), MOST_WAITING);
    assert_eq!(flights.waiting.values().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_all_the_room() {
    let (mut flights, now) = (Flights::new(false), Instant::now());
    let whole = hello("ours.example", &[b"h3"], 1000);
    let [other_one, other_two] = flight(&id(1000), &whole, 100, false);
    assert!(matches!(sort(&mut flights, 1500, &other_one, now), Whose::Undecided), "another address");
    for number in 0..2 * MOST_WAITING_OF_SOURCE as u32 {
        let [one, _] = flight(&id(number), &whole, 100, false);
        assert!(matches!(sort(&mut flights, number as u16, &one, now), Whose::Undecided));
    }
    assert_eq!(flights.take_given_up(now).len(), MOST_WAITING_OF_SOURCE);
    let [_, last] = flight(&id(2 * MOST_WAITING_OF_SOURCE as u32 - 1), &whole, 100, false);
    assert!(matches!(sort(&mut flights, 2 * MOST_WAITING_OF_SOURCE as u16 - 1, &last, now), Whose::Ours(_)));
    assert!(matches!(sort(&mut flights, 1500, &other_two, now), Whose::Ours(_)));
}
