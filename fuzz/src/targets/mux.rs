//! Mux.Cool: heads and data, whatever the pieces, and whether a stream is one.

use super::pieces::{Numbers, cuts, pieces, settled};
use obfs_rs::wire::Step;
use obfs_rs::wire::mux::{
    Decoder, Encoder, Error, Head, IsMux, Network, Status, end, is_mux_message, is_mux_stream, keep_alive,
};

/// Frames: each head with the data that came of it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    frames: Vec<(Head, Vec<u8>)>,
    error: Option<Error>,
}

fn read(bytes: &[u8], ends: &[usize]) -> Found {
    let mut decoder = Decoder::default();
    let mut found = Found { frames: Vec::new(), error: None };
    for piece in pieces(bytes, ends) {
        let mut at = 0;
        loop {
            let before = at;
            match decoder.decode(piece, &mut at) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Payload(range)) => {
                    assert!(!range.is_empty() && range.start == before && range.end == at);
                    let (head, data) = found.frames.last_mut().expect("data behind a head");
                    assert_eq!(head.id, decoder.session());
                    data.extend_from_slice(&piece[range]);
                }
                Ok(Step::Event(head)) => found.frames.push((head, Vec::new())),
                Err(error) => {
                    assert_eq!(decoder.decode(piece, &mut at), Err(error), "an error is final");
                    found.error = Some(error);
                    return found;
                }
            }
        }
        assert_eq!(at, piece.len());
    }
    found
}

pub fn check(bytes: &[u8]) {
    let whole = read(bytes, &[bytes.len()]);
    for ends in cuts(bytes) {
        assert_eq!(read(bytes, &ends), whole);
    }
    if let Some((last, others)) = whole.frames.split_last() {
        let data = |(head, _): &(Head, Vec<u8>)| usize::from(head.data.unwrap_or(0));
        assert!(others.iter().all(|frame| frame.1.len() == data(frame)));
        assert!(last.1.len() <= data(last));
        assert!(whole.error.is_none() || last.1.len() == data(last));
    }
    let (_, first) = settled(bytes, &Ok(None), Head::read);
    match first {
        Ok(None) => assert!(bytes.len() < 2 + 512 + 2 && whole.frames.is_empty() && whole.error.is_none()),
        Ok(Some((head, size))) => {
            assert!(size <= bytes.len() && (6..=2 + 512 + 2).contains(&size));
            assert_eq!(whole.frames.first().map(|(head, _)| *head), Some(head));
        }
        Err(error) => assert_eq!((whole.frames.len(), whole.error), (0, Some(error))),
    }
    let (_, is_mux) = settled(bytes, &IsMux::NeedMore, is_mux_stream);
    // A session may begin behind frames that say an end or nothing, none of which has data.
    let begins = whole.frames.iter().find(|(head, _)| matches!(head.status, Status::New(_)));
    match is_mux {
        // The name of its target alone is not looked at, of which any character might be random.
        IsMux::Yes => {
            assert!(begins.is_some() || whole.error == Some(Error::Domain) || whole.error.is_none())
        }
        IsMux::NeedMore => assert!(begins.is_none()),
        IsMux::No => {}
    }
    assert!(!is_mux_message(bytes) || is_mux != IsMux::No);
    written(bytes);
}

/// The bytes as data of some sessions.
fn written(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes);
    let (mut stream, mut frames, mut rest) = (Vec::new(), Vec::new(), bytes);
    let mut encoders = [1, 2, 65_535].map(Encoder::client);
    while !rest.is_empty() && frames.len() < 64 {
        let which = numbers.below(encoders.len());
        let id = [1, 2, 65_535][which];
        let (data, behind) = rest.split_at((1 + numbers.below(rest.len())).min(Encoder::PAYLOAD));
        let status = match encoders[which].clone().open() {
            Some(_) => Status::New(Network::Tcp),
            None => Status::Keep,
        };
        let mut frame = [&[0; Encoder::HEAD][..], data].concat();
        let start = encoders[which].encode_in_place(&mut frame).expect("room for a head");
        stream.extend_from_slice(&frame[start..]);
        frames.push((Head { id, status, error: false, data: Some(data.len() as u16) }, data.to_vec()));
        if numbers.below(4) == 0 {
            stream.extend_from_slice(&keep_alive());
            frames.push((Head { id: 0, status: Status::KeepAlive, error: false, data: None }, Vec::new()));
        }
        rest = behind;
    }
    stream.extend_from_slice(&end(1, true));
    frames.push((Head { id: 1, status: Status::End, error: true, data: None }, Vec::new()));
    let sent = Found { frames, error: None };
    for ends in cuts(&stream) {
        assert_eq!(read(&stream, &ends), sent);
    }
    if !bytes.is_empty() {
        assert_eq!((is_mux_stream(&stream), is_mux_message(&stream)), (IsMux::Yes, true));
    }
}
