use super::super::frame::{frame, settings};
use super::super::hpack;
use super::*;

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::write(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags | flag::END_HEADERS, 1, &block(fields))
}

fn begin() -> Vec<u8> {
    let window = frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    [settings(&[(3, 128), (4, 65_536), (5, 0xff_ffff)]), window, frame(kind::SETTINGS, flag::ACK, 0, &[])]
        .concat()
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A page with a header that counts.
fn page(id: &str, date: &str, body: &[u8]) -> Vec<u8> {
    let fields = [(":status", "200"), ("server", "nginx"), ("date", date), ("x-id", id)];
    [begin(), headers(0, &fields), frame(kind::DATA, flag::END_STREAM, 1, body)].concat()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    read(bytes).lines(&Mask::new())
}

#[test]
fn a_page_is_told_line_by_line() {
    let page = page("1", DATE, b"hello");
    assert!(is_http2(&page));
    let plain = "(not kept, plain name, plain value)";
    assert_eq!(
        lines(&page),
        [
            "SETTINGS MAX_CONCURRENT_STREAMS 128, INITIAL_WINDOW_SIZE 65536, MAX_FRAME_SIZE 16777215"
                .to_owned(),
            "SETTINGS, ACK".to_owned(),
            "WINDOW_UPDATE by 2147418112".to_owned(),
            "stream 1: HEADERS, END_HEADERS".to_owned(),
            format!("stream 1: :status: 200 {plain}"),
            format!("stream 1: server: nginx {plain}"),
            "stream 1: date: *".to_owned(),
            format!("stream 1: x-id: 1 {plain}"),
            format!("stream 1: DATA, 5 bytes, END_STREAM, {} \"hello\"", digest(b"hello")),
        ]
    );
    assert_eq!(read(&page).headline(), "HTTP/2 SETTINGS, WINDOW_UPDATE, SETTINGS ACK, 200, 5 bytes");
    assert_eq!(read(&page).date(), httpdate::parse_http_date(DATE).ok());
}

#[test]
fn what_ends_a_connection_or_a_stream_is_told() {
    let goaway = frame(kind::GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\x0bslow down");
    let said = [
        frame(kind::SETTINGS, 0, 0, &[]),
        frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 1]),
        frame(kind::PING, flag::ACK, 0, b"12345678"),
        frame(kind::PING, 0, 0, b"whatever"),
        frame(0xbe, 4, 7, b"x"),
        goaway.clone(),
    ];
    assert_eq!(
        lines(&said.concat()),
        [
            "SETTINGS".to_owned(),
            "PING, ACK 12345678".to_owned(),
            "PING".to_owned(),
            "GOAWAY ENHANCE_YOUR_CALM, the last stream is 3, \"slow down\"".to_owned(),
            "stream 1: RST_STREAM PROTOCOL_ERROR".to_owned(),
            format!("stream 7: a frame of type 0xbe, flags 0x04 of 1 bytes, {} \"x\"", digest(b"x")),
        ]
    );
    // One may turn a visitor away at once, before its settings.
    assert!(is_http2(&goaway));
    assert_eq!(read(&goaway).headline(), "HTTP/2 GOAWAY ENHANCE_YOUR_CALM");
    assert_eq!(lines(&frame(kind::GOAWAY, 0, 0, b"1234567")), ["GOAWAY of 7 bytes, malformed"]);
}

#[test]
fn what_is_no_http2_is_not_taken_for_it() {
    let settings = settings(&[(1, 1)]);
    for bytes in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\0\x02\x02\x28\0\0\0",
        &settings[..8],
        &frame(kind::SETTINGS, 0, 1, &[]),
        &frame(kind::SETTINGS, 0, 0, b"12345"),
        &frame(kind::HEADERS, 4, 1, &[0x88]),
        &frame(kind::GOAWAY, 0, 0, b"1234567"),
    ] {
        assert!(!is_http2(bytes), "{}", bytes.escape_ascii());
    }
    // The rest of it may be on its way.
    assert!(is_http2(&settings[..9]));
    assert_eq!(lines(&settings[..12]), ["the start of a frame"]);
}

#[test]
fn how_a_body_is_cut_is_not_told_but_an_end_of_its_own_is() {
    let head = || [begin(), headers(0, &[(":status", "200")])].concat();
    let data = |flags, bytes: &[u8]| frame(kind::DATA, flags, 1, bytes);
    let whole = [head(), data(1, b"hello")].concat();
    assert_eq!(lines(&whole), lines(&[head(), data(0, b"he"), data(0, b"l"), data(1, b"lo")].concat()));
    assert_eq!(read(&whole).headline(), read(&[head(), data(0, b"he"), data(1, b"llo")].concat()).headline());
    for other in [
        [head(), data(0, b"hello"), data(1, b"")].concat(),
        [head(), data(0, b"hello")].concat(),
        [head(), data(1, b"hellO")].concat(),
        [head(), data(1 | flag::PADDED, b"\x02hello\0\0")].concat(),
    ] {
        assert_ne!(lines(&whole), lines(&other));
    }
}

/// Threads write the frames of the connection, and those of a stream; what belongs together keeps its order.
#[test]
fn a_window_may_be_opened_at_any_time_and_in_parts() {
    let opens = |stream, by: u32| frame(kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let (ping, reset) = (frame(kind::PING, 0, 0, &[0; 8]), frame(kind::RST_STREAM, 0, 1, &[0; 4]));
    let said = lines(&[begin(), opens(1, 17), ping.clone(), reset.clone(), opens(0, 5)].concat());
    assert_eq!(
        said,
        lines(&[begin(), reset.clone(), opens(1, 6), opens(0, 5), ping.clone(), opens(1, 11)].concat())
    );
    assert_ne!(said, lines(&[begin(), opens(1, 18), ping.clone(), reset.clone(), opens(0, 5)].concat()));
    // Settings may be acknowledged together, and are set one by one.
    let acknowledged = |times| [begin(), frame(kind::SETTINGS, flag::ACK, 0, &[]).repeat(times)].concat();
    assert_eq!(lines(&acknowledged(0)), lines(&acknowledged(2)));
    assert_ne!(lines(&begin()), lines(&[begin(), settings(&[]), settings(&[])].concat()));
    let turned = [reset.clone(), headers(1, &[(":status", "200")])].concat();
    assert_ne!(lines(&turned), lines(&[headers(1, &[(":status", "200")]), reset].concat()));
}

#[test]
fn streams_may_come_in_any_order() {
    let said = |order: [u32; 3]| {
        let frames = order.map(|stream| match stream {
            0 => frame(kind::PING, flag::ACK, 0, b"12345678"),
            stream => frame(kind::RST_STREAM, 0, stream, &[0; 4]),
        });
        lines(&[&begin()[..], &frames.concat()].concat())
    };
    assert_eq!(said([0, 1, 3]), said([3, 1, 0]));
}

#[test]
fn a_header_block_may_come_in_pieces() {
    let block = block(&[(":status", "404"), ("server", "x")]);
    let (start, rest) = block.split_at(7);
    let said = [
        frame(kind::HEADERS, flag::END_STREAM | flag::PRIORITY, 1, &[&[0, 0, 0, 3, 9], start].concat()),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, rest),
    ];
    let told = lines(&said.concat());
    assert_eq!(
        told[..3],
        [
            "stream 1: HEADERS, END_STREAM, PRIORITY",
            "stream 1: it is for \\x00\\x00\\x00\\x03\\t",
            "stream 1: CONTINUATION, END_HEADERS",
        ]
    );
    assert!(told[3].starts_with("stream 1: :status: 404 "), "{told:?}");
    let between = [said[0].clone(), frame(kind::PING, 0, 0, &[0; 8]), said[1].clone()].concat();
    assert!(lines(&between).contains(&"a header block that is not ended".to_owned()), "{between:?}");
}

#[test]
fn a_block_that_cannot_be_read_spoils_those_behind() {
    let said = [frame(kind::HEADERS, 4, 1, &[0x80]), frame(kind::HEADERS, 4, 3, &[0x88])].concat();
    let told = lines(&said);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[1].contains("cannot be read") && told[3].contains("cannot be read"), "{told:?}");
}

#[test]
fn values_that_vary_are_masked_by_their_place() {
    let later = "Sun, 06 Nov 1994 08:49:40 GMT";
    let [one, two] = [page("1", DATE, b"hello"), page("22", later, b"hello")].map(|bytes| read(&bytes));
    let mask = varying(&one, &two);
    assert_eq!(mask, Mask::from([2, 3]));
    assert_eq!(one.lines(&mask), two.lines(&mask));
    assert_ne!(one.lines(&Mask::new()), two.lines(&Mask::new()));
    // Another body is another one, whatever its header says.
    let other = read(&page("3", DATE, b"hallo"));
    assert_eq!(varying(&one, &other), Mask::from([3]));
    assert_ne!(one.lines(&mask), other.lines(&mask));
    // What comes in another order varies in no value.
    let turned =
        read(&[begin(), headers(0, &[(":status", "200"), ("date", DATE), ("server", "nginx")])].concat());
    assert_eq!(varying(&one, &turned), Mask::new());
    assert_ne!(one.lines(&Mask::from([1, 2, 3])), turned.lines(&Mask::from([1, 2, 3])));
}

/// The same bytes say the same, however they have come: an answer that has not come whole is the start of one.
#[test]
fn a_stream_of_a_part_is_a_part_of_the_stream() {
    let whole = page("1", DATE, b"hello");
    let all = lines(&whole);
    for end in 0..whole.len() {
        let part = lines(&whole[..end]);
        let mut known = part.iter().filter(|line| *line != "the start of a frame");
        assert!(known.all(|line| all.contains(line)), "{end}: {part:?}");
    }
}

#[test]
fn grpc_is_known_by_its_header_fields() {
    let said = |fields: &[(&str, &str)]| read(&[begin(), headers(1, fields)].concat());
    assert!(said(&[(":status", "200"), ("content-type", "application/grpc")]).is_grpc());
    assert!(said(&[(":status", "200"), ("grpc-status", "12")]).is_grpc());
    assert!(!said(&[(":status", "404"), ("content-type", "text/html")]).is_grpc());
}
