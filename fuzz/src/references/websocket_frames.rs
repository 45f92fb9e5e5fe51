//! WebSocket frames beside tungstenite.

use obfs_rs::wire::websocket::{Control, Decoder, Error, Role};
use obfs_rs::wire::{Decoder as _, Step};
use std::io::{self, Read, Write};
use tungstenite::protocol::{self, WebSocket, WebSocketConfig};
use tungstenite::{Message, error::CapacityError};

/// The longest frame that the library takes, of which it holds all.
const LONGEST: usize = 64 * 1024;

/// What comes, and then nothing more; what is said is heard by nobody.
struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is found until the end, a close frame or an error.
#[derive(Debug, Default)]
struct Found {
    payload: Vec<u8>,
    pings: Vec<Vec<u8>>,
    pongs: usize,
    closed: bool,
    /// A frame is longer than the library is asked to take.
    too_long: bool,
    /// The bytes are not taken; with why, in the library's words.
    refused: Option<String>,
}

fn ours(role: Role, bytes: &[u8]) -> (Found, Option<Error>) {
    let (mut decoder, mut input, mut at, mut found) =
        (Decoder::new(role), bytes.to_vec(), 0, Found::default());
    loop {
        match decoder.decode(&mut input, &mut at) {
            Ok(Step::Payload(range)) => found.payload.extend_from_slice(&input[range]),
            Ok(Step::Event(Control::Ping)) => found.pings.push(decoder.control().to_vec()),
            Ok(Step::Event(Control::Pong)) => found.pongs += 1,
            Ok(Step::Event(Control::Close(_))) => found.closed = true,
            Ok(Step::NeedMore) => return (found, None),
            Err(error) => {
                found.refused = Some(error.to_string());
                return (found, Some(error));
            }
        }
    }
}

fn theirs(role: Role, bytes: &[u8]) -> Found {
    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(Some(LONGEST));
    let mut socket = WebSocket::from_raw_socket(Bytes(bytes), role, Some(config));
    let mut found = Found::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => found.payload.extend_from_slice(text.as_bytes()),
            Ok(Message::Binary(payload)) => found.payload.extend_from_slice(&payload),
            Ok(Message::Ping(payload)) => found.pings.push(payload.to_vec()),
            Ok(Message::Pong(_)) => found.pongs += 1,
            // What follows is void to us, and an error there.
            Ok(Message::Close(_)) => {
                found.closed = true;
                return found;
            }
            Ok(Message::Frame(_)) => {}
            // The end of what there is.
            Err(
                tungstenite::Error::ConnectionClosed
                | tungstenite::Error::AlreadyClosed
                | tungstenite::Error::Io(_)
                | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake),
            ) => return found,
            Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                found.too_long = true;
                return found;
            }
            Err(error) => {
                found.refused = Some(error.to_string());
                return found;
            }
        }
    }
}

pub fn check(bytes: &[u8]) {
    for role in [Role::Client, Role::Server] {
        let ((ours, error), theirs) = (ours(role, bytes), theirs(role, bytes));
        // It takes more close codes than may be sent (RFC 6455 section 7.4), and control frames whose length is short and
        // written as a long one, which has no place in them (section 5.5).
        let stricter = matches!(error, Some(Error::CloseCode(_) | Error::LongControl));
        // It hands on whole messages; we hand on what has come of one, of which the rest may be wrong.
        assert!(
            ours.payload.starts_with(&theirs.payload)
                || stricter && theirs.payload.starts_with(&ours.payload),
            "{role:?}: {ours:?}, {theirs:?}"
        );
        match (&ours.refused, &theirs.refused) {
            (None, None) => {
                assert_eq!(
                    (&ours.pings, ours.pongs, ours.closed),
                    (&theirs.pings, theirs.pongs, theirs.closed)
                );
            }
            // We do not ask whether text is UTF-8: a tunnel's is binary.
            (None, Some(why)) => {
                assert!(why.contains("UTF-8"), "{role:?}: tungstenite says {why}, we {ours:?}")
            }
            (Some(_), None) => {
                // It judges frames that are whole, and no lengths that it does not take.
                let whole = [bytes, &[0; LONGEST + 16]].concat();
                let theirs = self::theirs(role, &whole);
                assert!(
                    theirs.refused.is_some() || theirs.too_long || stricter,
                    "{role:?}: {error:?}, {theirs:?}"
                );
            }
            (Some(_), Some(_)) => {}
        }
    }
}
