use super::*;
use crate::mux::source::NewSession;
use crate::relay::test_streams::connection;
use std::future::{pending, ready};
use std::io;
use std::task::Waker;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::advance;

const END: Option<Tell> = Some(Tell::End { error: false });
const ERROR: Option<Tell> = Some(Tell::End { error: true });

/// A session with a socket, and the other end of that.
async fn session(role: Role) -> (Session, TcpStream) {
    let (socket, far) = connection().await;
    let peer = far.local_addr().unwrap();
    let session = match role {
        Role::Server => {
            let mut session = Session::of_peer(1);
            session.connect(Connecting::new(ready(Ok(socket))));
            session.poll_socket(&mut context());
            session
        }
        Role::Client => {
            let first = b"first".to_vec();
            Session::of_new(1, NewSession::new(socket, first, peer), Encoder::client(1))
        }
    };
    (session, far)
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn write(session: &mut Session, data: &[u8]) {
    let mut pieces = Pieces::default();
    pieces.input(0..data.len());
    session.write(&mut context(), data, &pieces);
}

/// Reads until the socket has brought something, or its end.
async fn read(session: &mut Session) -> usize {
    let mut space = [0; 1024];
    std::future::poll_fn(|cx| session.poll_read(cx, &mut ReadBuf::new(&mut space))).await
}

/// Writes until the socket takes no more.
fn fill(session: &mut Session) {
    while session.waiting() == 0 {
        write(session, &[7; 65_536]);
    }
}

#[tokio::test]
async fn the_peer_ends_and_then_the_socket() {
    for role in [Role::Server, Role::Client] {
        let (mut session, mut far) = session(role).await;
        session.peer_ends();
        assert_eq!(session.state, State::PeerEnding);
        session.poll_socket(&mut context());
        assert_eq!(session.state, State::PeerEnded);
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0, "the socket is told");
        far.write_all(b"more").await.unwrap();
        assert_eq!(read(&mut session).await, 4, "it may still bring something");
        far.shutdown().await.unwrap();
        assert_eq!(read(&mut session).await, 0);
        assert!(session.is_closed());
        assert_eq!(session.take_tell(), END, "{role:?}");
        assert_eq!(session.take_tell(), None);
    }
}

#[tokio::test]
async fn the_socket_ends_and_then_the_peer() {
    for (role, first, last) in [(Role::Server, END, None), (Role::Client, Some(Tell::HalfClose), END)] {
        let (mut session, mut far) = session(role).await;
        far.shutdown().await.unwrap();
        assert_eq!(read(&mut session).await, 0);
        assert_eq!((session.state, session.take_tell()), (State::SocketEnded, first));
        write(&mut session, b"late");
        let mut late = [0; 4];
        far.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"late", "what comes still gets there");
        session.peer_ends_session(false);
        assert_eq!((session.state, session.take_tell()), (State::BothEnding, last));
        session.poll_socket(&mut context());
        assert!(session.is_closed());
        assert_eq!(session.take_tell(), None);
    }
}

/// What waits is delivered, though the peer has said the end twice and the socket has ended.
#[tokio::test]
async fn an_end_does_not_overtake_what_waits() {
    for socket_ends_first in [true, false] {
        let (mut session, mut far) = session(Role::Server).await;
        if socket_ends_first {
            far.shutdown().await.unwrap();
            assert_eq!(read(&mut session).await, 0);
        }
        fill(&mut session);
        let sent = session.to_socket;
        session.peer_ends();
        session.peer_ends_session(false);
        session.peer_ends_session(false);
        assert_eq!(session.state, State::BothEnding);
        let deliver = std::future::poll_fn(|cx| {
            session.poll_socket(cx);
            if session.is_closed() { Poll::Ready(()) } else { Poll::Pending }
        });
        let mut got = Vec::new();
        let (_, result) = tokio::join!(deliver, far.read_to_end(&mut got));
        result.unwrap();
        assert_eq!(got.len() as u64, sent);
    }
}

#[tokio::test]
async fn a_second_end_of_a_client_closes_a_session_that_has_delivered_all() {
    let (mut server, _far) = session(Role::Server).await;
    server.peer_ends_session(false);
    assert!(!server.is_closed());
    server.peer_ends_session(false);
    assert!(server.is_closed());
    assert_eq!(server.take_tell(), None, "the client knows");
    let (mut client, _far) = session(Role::Client).await;
    client.peer_ends_session(false);
    client.peer_ends_session(false);
    assert_eq!(client.state, State::PeerEnding, "a server's second end says nothing new");
}

#[tokio::test]
async fn an_error_of_the_peer_resets_the_socket() {
    let (mut session, mut far) = session(Role::Client).await;
    session.peer_ends_session(true);
    assert!(session.is_closed());
    assert_eq!(session.take_tell(), None);
    drop(session);
    assert_eq!(far.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// A socket that takes nothing more is still read, and its end is a reset.
#[tokio::test]
async fn what_a_broken_socket_had_said_is_passed_on() {
    for peer_ended in [false, true] {
        let (mut session, mut far) = session(Role::Server).await;
        far.write_all(b"last words").await.unwrap();
        if peer_ended {
            session.peer_ends();
        }
        session.break_off();
        assert_eq!(session.state, State::Broken { peer_ended });
        write(&mut session, b"lost");
        assert_eq!(session.waiting(), 0);
        assert_eq!(read(&mut session).await, 10);
        far.shutdown().await.unwrap();
        assert_eq!(read(&mut session).await, 0);
        assert!(session.is_closed());
        assert_eq!(session.take_tell(), ERROR);
    }
}

#[tokio::test]
async fn a_socket_that_neither_takes_nor_brings_anything_is_over() {
    for (role, tell) in [(Role::Server, END), (Role::Client, ERROR)] {
        let (mut session, mut far) = session(role).await;
        far.shutdown().await.unwrap();
        assert_eq!(read(&mut session).await, 0);
        session.break_off();
        assert!(session.is_closed());
        assert_eq!(session.take_tell(), tell, "{role:?}: one end is said, and no other");
    }
}

#[tokio::test]
async fn a_reset_waits_for_what_came_before_it() {
    let (socket, mut far) = connection().await;
    let mut session = Session::of_peer(1);
    session.connect(Connecting::new(pending()));
    write(&mut session, b"hello");
    session.peer_ends_session(true);
    assert_eq!(session.state, State::ResetDue);
    session.connect(Connecting::new(ready(Ok(socket))));
    session.poll_socket(&mut context());
    assert!(session.is_closed());
    assert_eq!(session.take_tell(), None);
    let mut hello = [0; 5];
    far.read_exact(&mut hello).await.unwrap();
    drop(session);
    assert_eq!(far.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_server_closes_the_only_session_of_a_peer_with_id_0() {
    let (socket, mut far) = connection().await;
    let mut session = Session::of_peer(0);
    session.connect(Connecting::new(ready(Ok(socket))));
    session.poll_socket(&mut context());
    fill(&mut session);
    far.shutdown().await.unwrap();
    assert_eq!(read(&mut session).await, 0);
    assert!(!session.is_closed(), "something waits");
    let deliver = std::future::poll_fn(|cx| {
        session.poll_socket(cx);
        if session.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    });
    let mut rest = vec![0; 65_536];
    tokio::select! {
        () = deliver => {}
        () = async { while far.read(&mut rest).await.unwrap() > 0 {} } => panic!("it is told the end"),
    }
    assert_eq!(session.take_tell(), END);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_stands_still_is_ended_by_its_state() {
    let second = Duration::from_secs(1);
    let limits = Limits { idle: 3 * second, socket_ended: second, peer_ended: 2 * second };
    let both = |session: &mut Session| session.state = State::BothEnding;
    type Change = fn(&mut Session);
    let states: [(Change, u32, Option<Tell>); 4] =
        [(|_| {}, 3, END), (Session::socket_ends, 1, END), (Session::peer_ends, 2, END), (both, 2, None)];
    for (change, seconds, tell) in states {
        let mut session = Session::of_peer(1);
        change(&mut session);
        advance(seconds * second - Duration::from_millis(1)).await;
        session.check_time(Instant::now(), &limits);
        assert!(!session.is_closed());
        session.moved = true;
        session.check_time(Instant::now(), &limits);
        advance(seconds * second).await;
        session.check_time(Instant::now(), &limits);
        assert!(session.is_closed());
        assert_eq!(session.take_tell(), tell);
    }
}

#[test]
fn the_limit_of_what_waits_is_lower_while_a_backend_is_dialled() {
    let mut session = Session::of_peer(1);
    session.connect(Connecting::new(pending()));
    write(&mut session, &[0; DIALLING - 1]);
    assert!(!session.is_full());
    write(&mut session, b"!");
    assert!(session.is_full());
}
