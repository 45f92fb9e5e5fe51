use super::*;
use crate::mux::source::NewSession;
use crate::mux::state::Tell;
use crate::relay::test_streams::connection;
use std::future::pending;
use std::task::Waker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::advance;

fn connecting() -> Option<Connecting> {
    Some(Connecting::new(pending()))
}

fn server(ids: std::ops::Range<u16>) -> Sessions {
    let mut sessions = Sessions::new(Role::Server, true);
    ids.for_each(|id| sessions.add(Session::of_peer(id)));
    sessions
}

fn deliver(sessions: &mut Sessions, id: u16, len: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut data = Pieces::default();
    data.input(0..len);
    sessions.deliver(&mut cx, id, &vec![0; len], &data, connecting);
}

fn ended(sessions: &mut Sessions) -> Vec<u16> {
    std::iter::from_fn(|| sessions.take_closed()).map(|session| session.id).collect()
}

#[tokio::test]
async fn silent_sessions_and_all_are_limited() {
    let mut sessions = server(0..SILENT as u16);
    assert!(!sessions.has_room());
    deliver(&mut sessions, 0, 1);
    assert!(sessions.has_room(), "one is silent no more");
    for id in SILENT as u16..SESSIONS as u16 {
        assert!(sessions.has_room());
        sessions.add(Session::of_peer(id));
        deliver(&mut sessions, id, 1);
    }
    assert!(!sessions.has_room());
    sessions.get_mut(3).unwrap().abort();
    assert!(sessions.get_mut(3).is_none(), "it is over, though it has not been taken out");
    assert_eq!(ended(&mut sessions), [3]);
    assert!(sessions.has_room());
}

#[tokio::test]
async fn what_waits_for_backends_that_are_dialled_is_limited_for_all() {
    let mut sessions = server(0..100);
    let piece = DIALLING_TOTAL / 10;
    for id in 0..9 {
        deliver(&mut sessions, id, piece);
        assert!(!sessions.are_full());
    }
    deliver(&mut sessions, 9, piece + 10);
    assert!(sessions.are_full());
    for id in 0..10 {
        sessions.get_mut(id).unwrap().abort();
    }
    ended(&mut sessions);
    assert!(!sessions.are_full());
}

#[tokio::test(start_paused = true)]
async fn one_silent_session_is_dialled_for_at_a_time() {
    let mut sessions = server(0..2);
    advance(SILENCE / 2).await;
    sessions.add(Session::of_peer(2));
    sessions.check_silent(|| panic!("it may speak yet"));
    // A client that has ended its direction waits for a backend that speaks first.
    sessions.get_mut(2).unwrap().peer_ends();
    sessions.check_silent(connecting);
    assert!(sessions.get_mut(2).unwrap().is_connecting());
    advance(SILENCE).await;
    sessions.check_silent(|| panic!("one is dialled for"));
    sessions.get_mut(2).unwrap().abort();
    ended(&mut sessions);
    sessions.check_silent(connecting);
    assert!(sessions.get_mut(0).unwrap().is_connecting(), "the oldest");
    advance(SILENT_MAX).await;
    sessions.check_silent(connecting);
    assert_eq!(ended(&mut sessions).len(), 2);
}

/// A session of ours whose socket takes nothing more, and its other end.
async fn stalled(sessions: &mut Sessions, id: u16) -> TcpStream {
    let (socket, far) = connection().await;
    let peer = far.local_addr().unwrap();
    let new = NewSession::new(socket, Vec::new(), peer);
    sessions.add(Session::of_new(id, new, Encoder::client(id)));
    while !sessions.get_mut(id).unwrap().is_full() {
        deliver(sessions, id, 65_536);
    }
    sessions.get_mut(id).unwrap().poll_socket(&mut Context::from_waker(Waker::noop()));
    assert!(sessions.are_full());
    far
}

#[tokio::test(start_paused = true)]
async fn a_stalled_session_is_reset_when_another_waits_for_an_answer() {
    let mut sessions = Sessions::new(Role::Client, true);
    let _far = stalled(&mut sessions, 1).await;
    let mut other = stalled(&mut sessions, 2).await;
    advance(STALL).await;
    assert!(sessions.are_full(), "nobody waits behind them");
    other.write_all(b"question").await.unwrap();
    other.readable().await.unwrap();
    let mut buffer = vec![0; 65_536];
    let mut frame = |_: &mut Encoder, _: &mut [u8]| Ok(0);
    std::future::poll_fn(|cx| {
        let used = sessions.poll_read(cx, &mut buffer, &mut Pieces::default(), 8, &mut frame).unwrap();
        used.map_or(Poll::Pending, |_| Poll::Ready(()))
    })
    .await;
    while sessions.get_mut(1).is_some() {
        deliver(&mut sessions, 1, 65_536);
    }
    let tells: Vec<_> = sessions.iter_mut().map(|session| (session.id, session.take_tell())).collect();
    assert_eq!(tells, [(1, Some(Tell::End { error: true })), (2, None)]);
    assert_eq!(ended(&mut sessions), [1]);
}

/// A session of ours whose socket takes everything, and its other end.
async fn flowing(sessions: &mut Sessions, id: u16) -> TcpStream {
    let (socket, far) = connection().await;
    let peer = far.local_addr().unwrap();
    let new = NewSession::new(socket, Vec::new(), peer);
    sessions.add(Session::of_new(id, new, Encoder::client(id)));
    deliver(sessions, id, 100);
    far
}

/// It has had an answer just before the other was full, which may have been all of it: both live, for ever. What is
/// read on to see that is bounded.
#[tokio::test(start_paused = true)]
async fn a_stalled_session_lives_beside_one_that_was_answered() {
    let mut sessions = Sessions::new(Role::Client, true);
    let _flowing = flowing(&mut sessions, 2).await;
    let _far = stalled(&mut sessions, 1).await;
    advance(STALL / 2).await;
    assert!(sessions.are_full());
    advance(STALL / 2).await;
    while !sessions.are_full() {
        deliver(&mut sessions, 1, 65_536);
    }
    assert!((HARD..HARD + 65_536).contains(&sessions.get_mut(1).unwrap().waiting()));
    advance(STALL * 1000).await;
    assert!(sessions.are_full());
    assert!(ended(&mut sessions).is_empty());
}

/// Something comes for another behind what the stalled one does not take: that one is in the middle of an answer,
/// though it has had the beginning.
#[tokio::test(start_paused = true)]
async fn a_stalled_session_is_reset_when_another_is_in_the_middle_of_its_answer() {
    let mut sessions = Sessions::new(Role::Client, true);
    let _flowing = flowing(&mut sessions, 2).await;
    let _far = stalled(&mut sessions, 1).await;
    advance(STALL).await;
    assert!(!sessions.are_full());
    deliver(&mut sessions, 2, 100);
    while sessions.get_mut(1).is_some() {
        assert!(!sessions.are_full());
        deliver(&mut sessions, 1, 65_536);
    }
    assert!(!sessions.are_full());
    assert_eq!(ended(&mut sessions), [1]);
    assert!(sessions.get_mut(2).is_some());
}

/// A session of ours whose socket takes nothing more and for which little waits, beside one that flows, when others hold
/// all that may be held: it is full for lack of room. With the other ends, and what the others hold.
async fn full_for_lack_of_room() -> (Sessions, [TcpStream; 2], buffers::Held) {
    let mut sessions = Sessions::new(Role::Client, true);
    let flowing = flowing(&mut sessions, 2).await;
    let (socket, far) = connection().await;
    let peer = far.local_addr().unwrap();
    sessions.add(Session::of_new(1, NewSession::new(socket, Vec::new(), peer), Encoder::client(1)));
    while sessions.get_mut(1).unwrap().waiting() == 0 {
        deliver(&mut sessions, 1, 20_000);
    }
    assert!(!sessions.are_full());
    let mut others = buffers::Held::default();
    buffers::set_limit(Some(65_536));
    others.set(65_536);
    sessions.get_mut(1).unwrap().poll_socket(&mut Context::from_waker(Waker::noop()));
    sessions.note_full();
    assert!(sessions.are_full());
    (sessions, [flowing, far], others)
}

/// Whether another waits behind it is seen by reading on.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_full_for_lack_of_room_is_reset_when_another_is_in_the_middle_of_its_answer() {
    let (mut sessions, _ends, _others) = full_for_lack_of_room().await;
    advance(STALL).await;
    assert!(!sessions.are_full(), "nobody knows who waits behind it");
    deliver(&mut sessions, 2, 100);
    assert!(!sessions.are_full());
    deliver(&mut sessions, 1, 1);
    assert_eq!(ended(&mut sessions), [1]);
    buffers::set_limit(Some(usize::MAX));
}

/// There is no room for what is read on to see that, so it is little.
#[tokio::test(start_paused = true)]
async fn past_a_session_that_is_full_for_lack_of_room_little_is_read() {
    let (mut sessions, _ends, _others) = full_for_lack_of_room().await;
    let before = sessions.get_mut(1).unwrap().waiting();
    advance(STALL).await;
    while !sessions.are_full() {
        deliver(&mut sessions, 1, 1024);
    }
    assert_eq!(
        sessions.get_mut(1).unwrap().waiting().next_multiple_of(1024),
        (before + PAST).next_multiple_of(1024)
    );
    advance(STALL * 1000).await;
    assert!(sessions.are_full() && ended(&mut sessions).is_empty(), "nobody is known to wait");
    buffers::set_limit(Some(usize::MAX));
}

/// What came for another while a session was full for lack of room says nothing of a time when there is room again.
#[tokio::test(start_paused = true)]
async fn a_session_is_full_no_more_when_there_is_room() {
    let (mut sessions, _ends, _others) = full_for_lack_of_room().await;
    buffers::set_limit(Some(usize::MAX));
    sessions.note_full();
    assert!(!sessions.are_full());
    deliver(&mut sessions, 2, 100);
    advance(STALL).await;
    while !sessions.are_full() {
        deliver(&mut sessions, 1, 65_536);
    }
    assert!(ended(&mut sessions).is_empty(), "what the other has had may have been all");
}

/// What came for another before the receiver paused anew proves nothing.
#[tokio::test(start_paused = true)]
async fn a_session_that_takes_something_again_is_stalled_anew() {
    let mut sessions = Sessions::new(Role::Client, true);
    let _flowing = flowing(&mut sessions, 2).await;
    let mut far = stalled(&mut sessions, 1).await;
    advance(STALL).await;
    deliver(&mut sessions, 2, 100);
    let mut taken = vec![0; 65_536];
    while sessions.get_mut(1).unwrap().waiting() > 0 {
        far.read_exact(&mut taken).await.unwrap();
        sessions.get_mut(1).unwrap().poll_socket(&mut Context::from_waker(Waker::noop()));
        tokio::task::yield_now().await;
    }
    while !sessions.get_mut(1).unwrap().is_full() {
        deliver(&mut sessions, 1, 65_536);
    }
    sessions.get_mut(1).unwrap().poll_socket(&mut Context::from_waker(Waker::noop()));
    advance(STALL).await;
    while !sessions.are_full() {
        deliver(&mut sessions, 1, 65_536);
    }
    assert!(ended(&mut sessions).is_empty());
}

/// Several readers pause at once: none of them waits for the others.
#[tokio::test(start_paused = true)]
async fn stalled_sessions_live_beside_each_other() {
    let mut sessions = Sessions::new(Role::Client, true);
    let _far = [stalled(&mut sessions, 1).await, stalled(&mut sessions, 2).await];
    advance(STALL * 1000).await;
    assert!(sessions.are_full());
    deliver(&mut sessions, 1, HARD);
    deliver(&mut sessions, 2, HARD);
    assert!(sessions.are_full());
    assert!(ended(&mut sessions).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_sessions_are_read_in_turn() {
    let mut sessions = Sessions::new(Role::Client, true);
    let mut apps = Vec::new();
    for id in 1..=3 {
        let (socket, mut app) = connection().await;
        let peer = app.local_addr().unwrap();
        app.write_all(&[id; 100]).await.unwrap();
        socket.readable().await.unwrap();
        let new = NewSession::new(socket, Vec::new(), peer);
        sessions.add(Session::of_new(id.into(), new, Encoder::client(id.into())));
        apps.push(app);
    }
    // There is room for one socket a round.
    let mut buffer = vec![0; LEAST + 50];
    let mut order = Vec::new();
    for _ in 0..3 {
        let mut frame = |_: &mut Encoder, frame: &mut [u8]| {
            order.push(frame[8]);
            Ok(4)
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut frames = Pieces::default();
        let used = sessions.poll_read(&mut cx, &mut buffer, &mut frames, 8, &mut frame).unwrap();
        assert_eq!(used, Some(108));
        assert_eq!(frames.slices(&buffer).collect::<Vec<_>>(), [&buffer[4..108]]);
    }
    assert_eq!(order, [1, 2, 3]);
}
