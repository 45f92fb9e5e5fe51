use super::*;

const ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const CLIENT_PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

fn frame_of(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// A request for this path, in so many frames (RFC 7541 section 6.2.2: without indexing).
fn request(path: &str, frames: usize) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in
        [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a.example")]
    {
        for text in [name, value] {
            if text == name {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let pieces: Vec<_> = block.chunks(block.len().div_ceil(frames)).collect();
    let mut bytes = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let kind = if number == 0 { kind::HEADERS } else { kind::CONTINUATION };
        let flags = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
        bytes.extend(frame_of(kind, flags, 1, piece));
    }
    bytes
}

fn is_ours(request: &Request<()>) -> bool {
    request.uri().path() == "/ours"
}

/// What comes of this, in pieces: whose it is, and what the website was told by then.
fn takeover(client: &[u8], piece: usize) -> (Takeover, Vec<u8>) {
    let (mut takeover, mut told) = (Takeover::default(), Vec::new());
    for piece in client.chunks(piece) {
        takeover.client_says(piece, is_ours);
        told.extend_from_slice(takeover.for_site());
    }
    (takeover, told)
}

fn site_says(takeover: &mut Takeover, bytes: &[u8], piece: usize) {
    bytes.chunks(piece).for_each(|piece| takeover.site_says(piece));
}

#[test]
fn a_request_of_ours_is_told_to_nobody_else() {
    let before = [PREFACE, SETTINGS, CLIENT_PING, ACK].concat();
    for frames in [1, 3] {
        let client = [&before[..], &request("/ours", frames), &frame_of(kind::DATA, 0, 1, b"data")].concat();
        for piece in 1..client.len() {
            let (mut ours, told) = takeover(&client, piece);
            assert_eq!(told, before, "in pieces of {piece}");
            assert!(ours.waits_for_site() && ours.whose() == Whose::Ours);
            site_says(&mut ours, &[SETTINGS, ACK].concat(), piece);
            assert_eq!((ours.whose(), ours.waits_for_site()), (Whose::Ours, false));
            assert_eq!(ours.for_site(), b"");
        }
    }
}

#[test]
fn whatever_else_it_is_the_website_is_told_all_of_it() {
    let before = [PREFACE, SETTINGS].concat();
    let huge = [&[0xff, 0xff, 0xff, 0x40, 0, 0, 0, 0, 0][..], &vec![0; MOST]].concat();
    for (what, rest) in [
        ("another path", request("/", 1)),
        ("another path in pieces", request("/other", 4)),
        ("data before a request", frame_of(kind::DATA, 0, 1, b"data")),
        ("a continuation of nothing", frame_of(kind::CONTINUATION, 4, 1, b"")),
        ("garbage for a head", frame_of(kind::HEADERS, 4, 1, &[0xff; 40])),
        (
            "a head without its end",
            [request("/ours", 2)[..30].to_vec(), frame_of(kind::DATA, 0, 1, b"")].concat(),
        ),
        ("an endless frame", huge),
    ] {
        let client = [&before[..], &rest].concat();
        for piece in [1, 7, 1000, client.len()] {
            let (mut visitors, mut told) = takeover(&client, piece);
            if visitors.whose() == Whose::Visitors {
                told.extend_from_slice(visitors.for_site());
                told.extend(visitors.into_visitors());
                assert_eq!(told, client, "{what}");
            } else {
                // (it has not come whole)
                assert!(what == "a head without its end" && told == before, "{what}");
            }
        }
    }
    let (mut no_preface, _) = takeover(b"PRI * HTTP/2.0\r\n\r\nXX\r\n", 5);
    assert_eq!(no_preface.whose(), Whose::Visitors);
    no_preface.for_site();
}

#[test]
fn a_website_that_speaks_something_else_keeps_its_visitor() {
    let client = [PREFACE, SETTINGS, &request("/ours", 1)].concat();
    for answer in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &frame_of(7, 0, 0, &[0; 8]), &[0, 0, 0, 4, 0, 0, 0, 0, 3]]
    {
        for piece in [1, 100] {
            let (mut takeover, _) = takeover(&client, 1000);
            site_says(&mut takeover, answer, piece);
            assert_eq!(takeover.whose(), Whose::Visitors, "{answer:?}");
        }
    }
}

#[test]
fn what_the_website_has_said_is_counted() {
    let settings = [0, 4, 0, 1, 0, 0, 0, 5, 0, 0xff, 0xff, 0xff];
    let site = [
        &frame_of(kind::SETTINGS, 0, 0, &settings)[..],
        &frame_of(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]),
        ACK,
    ]
    .concat();
    for piece in 1..site.len() {
        let mut takeover = Takeover::default();
        site_says(&mut takeover, &site, piece);
        let wanted = Spoken {
            settings: 1,
            acks: 1,
            window: 0x7fff_0000,
            stream_window: Some(65536),
            frame_size: Some(16_777_215),
        };
        assert_eq!(takeover.spoken, wanted);
    }
    // More than any window may be is as much as there may be.
    let mut takeover = Takeover::default();
    site_says(&mut takeover, &[&site[..], &site].concat(), 100);
    assert_eq!(takeover.spoken.window, MOST_WINDOW - INITIAL_WINDOW);
}

#[test]
fn a_preface_that_was_said_before_is_not_said_again() {
    for (client, wanted) in [
        ([PREFACE, SETTINGS, &request("/", 1)].concat(), [SETTINGS, &request("/", 1)].concat()),
        // What differs comes behind it, where a frame is wanted.
        (b"PRI * HTTP/2.0\r\n\r\nXX and more".to_vec(), b"XX and more".to_vec()),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (PREFACE[..10].to_vec(), Vec::new()),
    ] {
        for piece in [1, 3, 1000] {
            let (mut takeover, mut told) = (Takeover::behind_preface(), Vec::new());
            for piece in client.chunks(piece) {
                takeover.client_says(piece, is_ours);
                told.extend_from_slice(takeover.for_site());
            }
            told.extend(takeover.into_visitors());
            assert_eq!(told, wanted, "{} in pieces of {piece}", client.escape_ascii());
        }
    }
}

#[test]
fn nobody_takes_over_within_a_frame_of_the_website() {
    let client = [PREFACE, SETTINGS, &request("/ours", 1)].concat();
    let (mut ours, _) = takeover(&client, 1000);
    assert_eq!(ours.without_site(), Whose::Ours);
    ours.site_says(&SETTINGS[..5]);
    assert_eq!(ours.without_site(), Whose::Visitors);
    ours.site_says(&SETTINGS[5..]);
    assert_eq!(ours.without_site(), Whose::Ours);
}
