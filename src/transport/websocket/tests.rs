//! What the two ends of a connection know of one another, without a socket.

use super::*;
use crate::relay::{Direction, Pieces, Protocol as _};
use crate::wire::websocket::CLOSE_NORMAL;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// The close code for a peer that breaks the protocol.
const PROTOCOL_ERROR: u16 = 1002;

fn ends() -> (WebSocket, WebSocket) {
    (WebSocket::new(Role::Client, KEY), WebSocket::new(Role::Server, KEY))
}

fn control_frames(from: &mut WebSocket) -> Vec<u8> {
    let mut out = Vec::new();
    from.take_control_frames(&mut out);
    assert!(!from.has_control_frames());
    out
}

/// All that a peer finds in these bytes.
fn read(at: &mut WebSocket, bytes: &[u8]) -> Result<Vec<Step<Event>>, ProtocolError> {
    let (mut input, mut used, mut steps) = (bytes.to_vec(), 0, Vec::new());
    loop {
        match at.decode(&mut input, &mut used)? {
            Step::NeedMore => return Ok(steps),
            step => steps.push(step),
        }
    }
}

/// The code in a close frame.
fn code(from: &mut WebSocket, frame: &[u8]) -> Option<u16> {
    let mut decoder = Decoder::new(from.role);
    match decoder.decode(&mut frame.to_vec(), &mut 0) {
        Ok(Step::Event(Control::Close(code))) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_end_of_a_direction_is_told_once_and_our_own_peers_know_it() {
    let (mut client, mut server) = ends();
    let encoded = client.encoded();
    assert_eq!((encoded, server.decoded()), (Direction::Up, Direction::Up));
    assert_eq!(client.grace(encoded), None, "nothing is known of the server");
    client.end(encoded).unwrap();
    assert!(client.has_control_frames());
    let ping = control_frames(&mut client);
    client.end(encoded).unwrap();
    assert_eq!(control_frames(&mut client), b"", "it is told already");
    assert_eq!(read(&mut server, &ping).unwrap(), [Step::Event(Event::End)]);
    assert!(server.peer == Peer::KnowsHalfCloses && !server.peer_has_closed());
    assert_eq!(server.grace(server.encoded()), None);
    // The other direction goes on.
    let (mut payload, mut pieces) = (b"answer".to_vec(), Pieces::default());
    assert_eq!(server.forward(Direction::Down, &mut payload, &mut pieces).unwrap(), 6);
    let frame: Vec<u8> = pieces.slices(&payload).flatten().copied().collect();
    let pong = control_frames(&mut server);
    let steps = read(&mut client, &[pong, frame].concat()).unwrap();
    assert!(matches!(steps[..], [Step::Payload(_)]), "{steps:?}");
    assert!(client.peer_answers_pings() && client.peer == Peer::KnowsHalfCloses);
    assert_eq!(client.grace(encoded), None);
}

#[test]
fn a_foreign_peer_is_one_that_answers_an_end_as_any_ping() {
    for (role, grace) in [(Role::Client, CLIENT_GRACE), (Role::Server, SERVER_GRACE)] {
        let (client, server) = ends();
        let (mut end, peer) = match role {
            Role::Client => (client, Role::Server),
            Role::Server => (server, Role::Client),
        };
        let encoded = end.encoded();
        end.end(encoded).unwrap();
        control_frames(&mut end);
        // It has not come to the end yet.
        let asked = pong(peer, b"\x01\x02\x03");
        assert_eq!(read(&mut end, asked.as_bytes()).unwrap(), []);
        assert_eq!(
            (end.peer_answers_pings(), end.peer_is_foreign(), end.grace(encoded)),
            (true, false, None)
        );
        // Of a session in Mux.Cool the number follows.
        for session in [&b""[..], b"\0\x07"] {
            let echoed = pong(peer, &[&end.mark[..], session].concat());
            assert_eq!(read(&mut end, echoed.as_bytes()).unwrap(), []);
            assert_eq!((end.peer_is_foreign(), end.grace(encoded)), (true, Some(grace)));
            assert_eq!(end.grace(end.decoded()), None);
        }
    }
}

#[test]
fn a_ping_that_means_nothing_is_answered_and_the_newest_alone() {
    let (mut client, mut server) = ends();
    let pings = [client.ping(), client.ping()];
    let bytes: Vec<u8> = pings.iter().flat_map(|ping| ping.as_bytes().to_vec()).collect();
    assert_eq!(read(&mut server, &bytes).unwrap(), []);
    let pong = control_frames(&mut server);
    assert_eq!(pong.len(), pong_len(), "two pings, one pong");
    assert_eq!(read(&mut client, &pong).unwrap(), []);
    assert!(client.peer == Peer::AnswersPings && !client.peer_is_foreign());
    assert!(!server.peer_answers_pings());
    let end = client.session_end(7);
    assert_eq!(read(&mut server, end.as_bytes()).unwrap(), [Step::Event(Event::SessionEnd(7))]);
}

fn pong_len() -> usize {
    pong(Role::Server, &[0; MARK]).as_bytes().len()
}

#[test]
fn the_close_frame_is_sent_once_and_has_the_code_of_the_first_reason() {
    // Both directions are done.
    let (mut client, mut server) = ends();
    let close = client.close_frame(CLOSE_NORMAL);
    assert_eq!(code(&mut server, &close), Some(CLOSE_NORMAL));
    assert_eq!(client.close_frame(CLOSE_NORMAL), b"");
    // The peer has closed: its code comes back, and nothing is said before that.
    assert_eq!(read(&mut server, &close).unwrap(), [Step::Event(Event::End)]);
    assert!(server.both_closed(Direction::Up) && !server.both_closed(Direction::Down));
    server.end(server.encoded()).unwrap();
    assert!(!server.has_control_frames());
    let answer = server.close_frame(PROTOCOL_ERROR);
    assert_eq!(code(&mut client, &answer), Some(CLOSE_NORMAL));
    // It breaks the protocol.
    let (mut client, mut server) = ends();
    assert!(read(&mut server, b"\xc2\x80\0\0\0\0").is_err());
    let close = server.close_frame(CLOSE_NORMAL);
    assert_eq!(code(&mut client, &close), Some(PROTOCOL_ERROR));
    // Its connection has ended without a word.
    let (mut client, mut server) = ends();
    server.end(server.decoded()).unwrap();
    assert!(server.peer_has_closed());
    let close = server.close_frame(CLOSE_NORMAL);
    assert_eq!(code(&mut client, &close), Some(CLOSE_NORMAL));
}
