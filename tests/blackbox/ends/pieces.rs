//! Each half alone, against a peer that sends what it has to say in any pieces: also all of it at once,
//! with the handshake in front and the end behind it. The next stage sees the same bytes and the same end.

use super::{KEY, mark, payload, recorder};
use crate::support::backend::{Backend, next};
use crate::support::conn::{self, End, connect, fin, recv_to_end, send};
use crate::support::plugin::{Ours, client, server};
use crate::support::websocket::{BINARY, CLOSE, PONG, frame, mux};
use crate::support::{STEP, millis, secs, within};
use obfs_rs::wire::Encoder as _;
use obfs_rs::wire::fake_tls::{RecordEncoder, SentHello};
use obfs_rs::wire::websocket::accept_key;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::io::Write as _;
use std::net::TcpStream;

/// How a peer ends behind its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Fin,
    Close,
    Reset,
    /// In the format's own way, with the connection open: that of a direction, and that of both.
    Said,
    SaidBoth,
    /// Bytes that the format does not know, with the connection open.
    Garbage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Http,
    FakeTls,
    HttpUpgrade,
    WebSocket,
    Mux,
}

const FORMATS: [Format; 5] =
    [Format::Http, Format::FakeTls, Format::HttpUpgrade, Format::WebSocket, Format::Mux];

/// What is said, where it is cut, and how it ends.
fn cases() -> impl Strategy<Value = (Format, Vec<Vec<u8>>, Vec<prop::sample::Index>, Ending)> {
    let ending = prop::sample::select(vec![
        Ending::Fin,
        Ending::Close,
        Ending::Reset,
        Ending::Said,
        Ending::SaidBoth,
        Ending::Garbage,
    ]);
    let messages = prop::collection::vec(
        (prop_oneof![3 => 1..12_usize, 1 => 1..20_000_usize], prop::sample::select(vec![0_u8, 1, 2, 0x80])),
        1..4,
    )
    .prop_map(|list| list.into_iter().map(|(len, first)| payload(len, first)).collect());
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (prop::sample::select(FORMATS.to_vec()), messages, cuts, ending).prop_filter(
        "raw streams have no words of their own",
        |(format, _, _, ending)| match format {
            Format::Http | Format::HttpUpgrade => {
                matches!(ending, Ending::Fin | Ending::Close | Ending::Reset)
            }
            Format::FakeTls => !matches!(ending, Ending::Said | Ending::SaidBoth),
            Format::WebSocket | Format::Mux => true,
        },
    )
}

/// The end that the next stage is to see.
fn seen(ending: Ending) -> End {
    match ending {
        Ending::Reset | Ending::Garbage => End::Reset,
        _ => End::Fin,
    }
}

/// All of the bytes; or, where a reset is behind them, as many as it did not overtake: a kernel throws away
/// what it has not sent.
#[track_caller]
fn assert_bytes(got: &[u8], wanted: &[u8], ending: Ending, log: &str) {
    let as_many = if seen(ending) == End::Reset { got.len().min(wanted.len()) } else { wanted.len() };
    assert!(got == &wanted[..as_many], "got {} of {} bytes; {log}", got.len(), wanted.len());
}

/// Sends it in pieces. The pauses are the stimulus: what is cut shall arrive cut.
fn say(stream: TcpStream, bytes: &[u8], cuts: &[prop::sample::Index], ending: Ending) -> Option<TcpStream> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        // A half that has seen enough may be gone.
        let _ = (&stream).write_all(&bytes[piece[0]..piece[1]]);
        if piece[1] < bytes.len() {
            std::thread::sleep(millis(2));
        }
    }
    match ending {
        Ending::Fin => fin(&stream),
        Ending::Close => return None,
        Ending::Reset => {
            conn::reset(stream);
            return None;
        }
        Ending::Said | Ending::SaidBoth | Ending::Garbage => {}
    }
    Some(stream)
}

fn records(messages: &[Vec<u8>]) -> Vec<u8> {
    let record =
        |payload: &[u8]| [&[0x17, 3, 3], &(payload.len() as u16).to_be_bytes()[..], payload].concat();
    messages.iter().flat_map(|message| message.chunks(16_384).flat_map(record)).collect()
}

/// What a client says, to the end of its words.
fn client_says(format: Format, messages: &[Vec<u8>], ending: Ending) -> Vec<u8> {
    let request = |headers: &str| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n")
            .into_bytes()
    };
    let versioned = format!("Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n");
    let message = |payload: &[u8]| frame(0x80 | BINARY, payload);
    let mut bytes = match format {
        Format::Http | Format::HttpUpgrade => [request(""), messages.concat()].concat(),
        Format::FakeTls => {
            let mut hello = Vec::new();
            let (first, rest) = messages.split_first().expect("a message");
            let ticket = first.len().min(1000);
            SentHello::new(&mut rand::rng(), 0).encode("a", &first[..ticket], &mut hello).expect("a hello");
            let behind = first[ticket..].to_vec();
            let behind = if behind.is_empty() { Vec::new() } else { records(&[behind]) };
            [hello, behind, records(rest)].concat()
        }
        Format::WebSocket => {
            let frames: Vec<u8> = messages
                .iter()
                .flat_map(|payload| [message(payload), frame(0x80 | PONG, b"x")].concat())
                .collect();
            [request(&versioned), frames].concat()
        }
        Format::Mux => {
            let frames: Vec<u8> = messages.iter().flat_map(|data| message(&mux::keep(7, data))).collect();
            [request(&versioned), message(&mux::open(7)), frames].concat()
        }
    };
    match (format, ending) {
        (Format::WebSocket, Ending::Said) => bytes.extend(mark(b"")),
        (Format::Mux, Ending::Said) => bytes.extend(mark(&[0, 7])),
        (_, Ending::SaidBoth) => bytes.extend(frame(0x80 | CLOSE, &1000_u16.to_be_bytes())),
        (_, Ending::Garbage) => bytes.extend([0xc2, 0x80, 9, 9, 9, 9, 9]),
        _ => {}
    }
    bytes
}

fn run(cases: u32, test: impl Fn((Format, Vec<Vec<u8>>, Vec<prop::sample::Index>, Ending))) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 50, ..Config::default() };
    TestRunner::new(config)
        .run(&self::cases(), |case| {
            test(case);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_server_hands_on_the_bytes_and_the_end_whatever_the_pieces() {
    within(secs(200), || {
        let (backend, records) = recorder();
        let servers =
            ["obfs=http", "obfs=tls", "mode=websocket"].map(|options| server(Ours, backend.addr, options));
        run(120, |(format, messages, cuts, ending)| {
            let server = match format {
                Format::Http => &servers[0],
                Format::FakeTls => &servers[1],
                Format::HttpUpgrade | Format::WebSocket | Format::Mux => &servers[2],
            };
            let bytes = client_says(format, &messages, ending);
            let open = say(connect(server.addr), &bytes, &cuts, ending);
            let record = records.recv_timeout(STEP);
            let (got, end) = record.unwrap_or_else(|_| panic!("nothing came; {}", server.child.show_log()));
            assert_bytes(&got, &messages.concat(), ending, &server.child.show_log());
            // A client that is gone altogether may have reset what the server answered.
            if ending != Ending::Close {
                assert_eq!(end, seen(ending), "{}", server.child.show_log());
            }
            drop(open);
        });
    });
}

/// What a server answers to a request, to the end of its words.
fn server_says(format: Format, head: &str, messages: &[Vec<u8>], ending: Ending) -> Vec<u8> {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or("").trim();
    let accept = if key.is_empty() {
        String::new()
    } else {
        format!("Sec-WebSocket-Accept: {}\r\n", accept_key(key.as_bytes()))
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{accept}\r\n"
    );
    let control = |opcode: u8, payload: &[u8]| [&[0x80 | opcode, payload.len() as u8][..], payload].concat();
    let message = |payload: &[u8]| {
        let len = (payload.len() as u16).to_be_bytes();
        [&[0x80 | BINARY, 126][..], &len, payload].concat()
    };
    let words: Vec<u8> = match format {
        Format::Http | Format::HttpUpgrade => messages.concat(),
        Format::FakeTls => {
            let mut encoder = RecordEncoder::from_server_hello([1; 32], [7; 32]);
            let mut flight = Vec::new();
            for piece in messages.iter().flat_map(|message| message.chunks(16_384)) {
                let mut piece = piece.to_vec();
                encoder.encode(&mut piece, &mut flight);
                flight.extend(piece);
            }
            flight
        }
        Format::WebSocket => messages.iter().flat_map(|payload| message(payload)).collect(),
        Format::Mux => messages.iter().flat_map(|data| message(&mux::keep(1, data))).collect(),
    };
    let mut bytes = if format == Format::FakeTls { words } else { [answer.into_bytes(), words].concat() };
    match (format, ending) {
        (Format::Mux, Ending::Said) => bytes.extend(message(&mux::end(1))),
        (_, Ending::Said) => {
            use sha1::Digest as _;
            let digest = sha1::Sha1::new().chain_update(key).chain_update("half-closed").finalize();
            bytes.extend(control(crate::support::websocket::PING, &digest[..8]));
        }
        (_, Ending::SaidBoth) => bytes.extend(control(CLOSE, &1000_u16.to_be_bytes())),
        (_, Ending::Garbage) => bytes.extend([0xc2, 0x80, 9, 9, 9, 9, 9]),
        _ => {}
    }
    bytes
}

#[test]
fn a_client_hands_on_the_bytes_and_the_end_whatever_the_pieces() {
    within(secs(200), || {
        let (site, visits) = Backend::manual();
        let clients: Vec<_> = [
            "obfs=http;obfs-host=a",
            "obfs=http;obfs-host=a;handshake=standard",
            "obfs=tls;obfs-host=a",
            "mode=httpupgrade",
            "mode=httpupgrade;handshake=eager",
            "mode=websocket;mux=0",
            "mode=websocket;mux=1",
        ]
        .iter()
        .map(|options| client(Ours, site.addr, options))
        .collect();
        run(120, |(format, messages, cuts, ending)| {
            let other = cuts.len() % 2;
            let client = match format {
                Format::Http => &clients[other],
                Format::FakeTls => &clients[2],
                Format::HttpUpgrade => &clients[3 + other],
                Format::WebSocket => &clients[5],
                Format::Mux => &clients[6],
            };
            let app = connect(client.addr);
            send(&app, b"?");
            let visit = next(&visits);
            let head = if format == Format::FakeTls { String::new() } else { conn::recv_head(&visit) };
            let bytes = server_says(format, &head, &messages, ending);
            let open = say(visit, &bytes, &cuts, ending);
            let (got, end) = recv_to_end(&app, STEP);
            assert_bytes(&got, &messages.concat(), ending, &client.child.show_log());
            if ending != Ending::Close {
                assert_eq!(end, seen(ending), "{}", client.child.show_log());
            }
            drop((app, open));
        });
    });
}

/// The same where a front sends a PROXY header first.
#[test]
fn a_proxy_header_takes_nothing_of_what_is_behind_it() {
    within(secs(100), || {
        let (backend, records) = recorder();
        let server = server(Ours, backend.addr, "mode=websocket;proxy-protocol=in;trusted=127.0.0.1");
        run(40, |(format, messages, cuts, ending)| {
            if matches!(format, Format::Http | Format::FakeTls) {
                return;
            }
            let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";
            let bytes = [&header[..], &client_says(format, &messages, ending)].concat();
            let open = say(connect(server.addr), &bytes, &cuts, ending);
            let record = records.recv_timeout(STEP);
            let (got, end) = record.unwrap_or_else(|_| panic!("nothing came; {}", server.child.show_log()));
            assert_bytes(&got, &messages.concat(), ending, &server.child.show_log());
            if ending != Ending::Close {
                assert_eq!(end, seen(ending), "{}", server.child.show_log());
            }
            drop(open);
        });
    });
}
