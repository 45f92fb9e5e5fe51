//! What the probe reads of a server's HTTP/2, which may be hostile: frames, header fields, and answers of two servers.

use super::SWITCH;
use super::pieces::{cuts, pieces};
use obfs_rs::probe::http_answer::Mask;
use obfs_rs::probe::http2::answer::{is_http2, read, varying};
use obfs_rs::probe::http2::frame::{HEAD, frame, next};
use obfs_rs::probe::http2::hpack::{Decoder, Item, write};

/// The most bytes of header fields that are read of a block.
const ROOM: usize = 64 * 1024;

pub fn check(bytes: &[u8]) {
    frames(bytes);
    fields(bytes);
    let mut parts = bytes.splitn(2, |&byte| byte == SWITCH);
    let (one, other) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    answers(bytes, bytes);
    answers(one, other);
    answers(one, bytes);
}

/// Frames stand one behind the other, and no byte counts twice, whatever pieces they come in.
fn frames(bytes: &[u8]) {
    let (mut rest, mut whole) = (bytes, Vec::new());
    while let Some((found, behind)) = next(rest) {
        let mut written = frame(found.kind, found.flags, found.stream, found.payload);
        // (a bit that is reserved, and ignored)
        written[HEAD - 4] |= rest[HEAD - 4] & 0x80;
        assert_eq!(written, rest[..rest.len() - behind.len()]);
        whole.push(found);
        rest = behind;
    }
    for ends in cuts(bytes) {
        let (mut held, mut count) = (Vec::new(), 0);
        for piece in pieces(bytes, &ends) {
            held.extend_from_slice(piece);
            while let Some((found, behind)) = next(&held) {
                assert_eq!(found, whole[count]);
                count += 1;
                held = behind.to_vec();
            }
        }
        assert_eq!((count, held.as_slice()), (whole.len(), rest));
    }
}

/// Header fields are bounded, and are the same when they are written again.
fn fields(block: &[u8]) {
    let Ok(items) = Decoder::new(ROOM).decode(block) else { return };
    let (mut again, mut held) = (Vec::new(), Vec::new());
    for item in &items {
        if let Item::Field { name, value, form } = item {
            assert!(!form.to_string().is_empty());
            write(name, value, &mut again);
            held.push((name, value));
        }
    }
    assert!(held.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() <= ROOM);
    let items = Decoder::new(ROOM).decode(&again).expect("fields that were written here");
    let read: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Field { name, value, .. } => (name, value),
            Item::TableSize(_) => panic!("no table was resized"),
        })
        .collect();
    assert_eq!(read, held);
}

fn answers(one: &[u8], other: &[u8]) {
    let (a, b) = (read(one), read(other));
    let mask = varying(&a, &b);
    assert_eq!(mask, varying(&b, &a));
    let all = a.lines(&Mask::new());
    let masked = [a.lines(&mask), b.lines(&mask)];
    assert_eq!(all.len(), masked[0].len());
    for line in all.iter().chain(masked.iter().flatten()).chain([&a.headline()]) {
        assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() < 10_000, "{} bytes", line.len());
    }
    // What varies in nothing but these values is the same without them.
    if masked[0] != masked[1] {
        assert_ne!(one, other);
    }
    if one == other {
        assert_eq!(mask, Mask::new());
    }
    assert!(!one.is_empty() || all.is_empty());
    if is_http2(one) {
        assert!(!all.is_empty() && is_http2(&one[..HEAD]));
    }
    let _ = (a.date(), a.is_grpc());
}
