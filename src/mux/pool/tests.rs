use super::*;
use crate::relay::test_streams::connection;
use crate::wire::websocket::close;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Connections that were opened, each with what went with its handshake.
type Opened = mpsc::UnboundedReceiver<(TcpStream, Vec<u8>)>;

/// Connections to the test.
struct Opener {
    opened: mpsc::UnboundedSender<(TcpStream, Vec<u8>)>,
    /// How long it takes, and then fails.
    fails_after: Option<Duration>,
    /// Whether the ways of all of them do.
    works: Arc<AtomicBool>,
}

struct Works(Arc<AtomicBool>);

impl Way for Works {
    fn answers(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl OpenLink for Opener {
    type Framing = WebSocket;
    type Way = Works;

    fn server(&self) -> &Arc<str> {
        static SERVER: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "a test".into());
        &SERVER
    }

    async fn open(&self, early: &mut Vec<u8>) -> super::Opened<WebSocket, Works> {
        if let Some(time) = self.fails_after {
            sleep(time).await;
            return Err(NotOpened::Malformed("away".into()));
        }
        let (near, far) = connection().await;
        let _ = self.opened.send((far, std::mem::take(early)));
        let open = Framed::new(near.into(), WebSocket::new(Role::Client, b"key"), Vec::new());
        Ok((open, Works(Arc::clone(&self.works))))
    }
}

fn pool(most: usize, early_data: usize, fails_after: Option<Duration>) -> (Arc<Pool<Opener>>, Opened) {
    let (opened, connections) = mpsc::unbounded_channel();
    let timeouts = Timeouts::new(Duration::from_secs(7200));
    (
        Arc::new(Pool::new(
            Opener { opened, fails_after, works: Arc::new(true.into()) },
            most,
            early_data,
            timeouts,
        )),
        connections,
    )
}

/// An application whose connection is carried.
async fn app(pool: &Arc<Pool<Opener>>) -> TcpStream {
    let (app, socket) = connection().await;
    let peer = socket.peer_addr().unwrap();
    pool.carry(socket, b"hello".to_vec(), peer);
    app
}

async fn session() -> (NewSession, TcpStream) {
    let (app, socket) = connection().await;
    let peer = socket.peer_addr().unwrap();
    (NewSession::new(socket, Vec::new(), peer), app)
}

#[tokio::test]
async fn sessions_share_connections_up_to_the_limit() {
    let (pool, mut connections) = pool(2, 0, None);
    let mut apps = Vec::new();
    for _ in 0..5 {
        apps.push(app(&pool).await);
    }
    for _ in 0..3 {
        connections.recv().await.unwrap();
    }
    let running: Vec<_> =
        pool.members().iter().map(|member| member.health.running.load(Ordering::Acquire)).collect();
    assert_eq!(running, [2, 2, 1]);
    assert!(connections.try_recv().is_err());
}

/// Five sessions wait for a connection that cannot be had: each application sees a reset, none an end.
#[tokio::test(start_paused = true)]
async fn all_sessions_of_a_connection_that_fails_are_reset() {
    for early_data in [0, 2048] {
        let (pool, _connections) = pool(8, early_data, Some(SECOND));
        let mut apps = Vec::new();
        for _ in 0..5 {
            apps.push(app(&pool).await);
        }
        assert_eq!(pool.members().len(), 1);
        for app in &mut apps {
            let error = app.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(pool.place(Some(session().await.0), None).is_some(), "it takes no further sessions");
    }
}

/// The first session's bytes go with the handshake where there may be early data, the others' behind it.
#[tokio::test]
async fn the_first_frame_goes_with_the_handshake() {
    for (early_data, with_it) in [(0, false), (Encoder::HEAD - 1, false), (2048, true)] {
        let (pool, mut connections) = pool(1, early_data, None);
        let _app = app(&pool).await;
        let (mut server, early) = connections.recv().await.unwrap();
        assert_eq!(early.ends_with(b"hello"), with_it, "{early_data} bytes of early data");
        if !with_it {
            assert!(early.is_empty());
            assert!(server.read(&mut [0; 64]).await.unwrap() > 5);
        }
    }
}

#[tokio::test]
async fn a_connection_has_so_many_sessions_in_its_life() {
    let (pool, _connections) = pool(2 * LIFE, 0, None);
    let mut inbox = pool.place(Some(session().await.0), None).expect("the first connection");
    for _ in 1..LIFE {
        assert!(pool.place(Some(session().await.0), None).is_none());
    }
    assert!(pool.place(Some(session().await.0), None).is_some(), "another connection");
    let mut left = 0;
    while inbox.left().await.is_some() {
        left += 1;
    }
    assert_eq!(left, LIFE);
}

#[tokio::test]
async fn connections_without_sessions_are_kept_up_to_a_number() {
    let (pool, _connections) = pool(1, 0, None);
    let mut inboxes = Vec::new();
    for _ in 0..SPARE + 2 {
        inboxes.push(pool.place(Some(session().await.0), None).expect("a connection for each"));
    }
    for mut inbox in &mut inboxes {
        SessionSource::ended(&mut inbox);
    }
    let open = pool.members().iter().filter(|member| member.is_open()).count();
    assert_eq!(open, SPARE);
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_connection_gets_no_sessions_and_the_next_one_is_to_be_proved() {
    let (pool, _connections) = pool(8, 0, None);
    let mut first = pool.place(Some(session().await.0), None).unwrap();
    assert!(!first.to_be_proved);
    let asked = Instant::now();
    (&mut first).set_doubtful(true);
    let second = pool.place(Some(session().await.0), None).expect("another connection");
    assert!(second.to_be_proved);
    assert!(pool.place(None, Some(asked)).is_some(), "the second is not younger than the ping");
    sleep(SECOND).await;
    let third = pool.place(None, Some(asked + SECOND / 2)).expect("a connection that is younger");
    assert!(third.first.is_none());
    assert!(pool.place(None, Some(asked + SECOND / 2)).is_none(), "there is one now");
    (&mut first).set_doubtful(false);
    assert!(pool.place(Some(session().await.0), None).is_none());
    assert!(pool.place(Some(session().await.0), Some(Instant::now())).is_some(), "none is that young");
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_one_connection_is_known_to_the_others() {
    let (pool, _connections) = pool(1, 0, None);
    let mut first = pool.place(Some(session().await.0), None).unwrap();
    let mut second = pool.place(Some(session().await.0), None).unwrap();
    let (mut first, second) = (&mut first, &mut second);
    let asked = Instant::now();
    first.found_deaf();
    assert!(second.is_deaf());
    first.found_alive(asked + SECOND);
    assert!(!second.is_deaf());
    assert!(second.others_answer(asked));
    assert!(!second.others_answer(asked + SECOND));
    second.opened_in = SECOND;
    assert_eq!(second.pong_timeout(), 2 * SECOND);
    second.opened_in = 10 * SECOND;
    assert_eq!(second.pong_timeout(), PONG_TIMEOUT.1);
    assert_eq!(first.pong_timeout(), PONG_TIMEOUT.0);
}

#[tokio::test]
async fn a_connection_whose_way_does_not_work_gets_no_sessions() {
    let (pool, mut connections) = pool(8, 0, None);
    let _first = app(&pool).await;
    let mut server = connections.recv().await.unwrap().0;
    assert!(server.read(&mut [0; 64]).await.unwrap() > 5, "its session has begun");
    assert!(pool.place(Some(session().await.0), None).is_none());
    pool.opener.works.store(false, Ordering::Release);
    assert!(pool.place(Some(session().await.0), None).is_some(), "another connection");
}

#[tokio::test]
async fn what_a_closing_connection_has_not_taken_begins_on_another() {
    let (pool, mut connections) = pool(8, 0, None);
    let mut app = app(&pool).await;
    for _ in 0..2 {
        let opened = timeout(30 * SECOND, connections.recv()).await;
        let mut server = opened.expect("a connection").unwrap().0;
        let mut bytes = [0; 64];
        assert!(server.read(&mut bytes).await.unwrap() > 5, "the session begins");
        server.write_all(close(Role::Server, Some(1001), "").as_bytes()).await.unwrap();
    }
    assert_eq!(app.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(connections.try_recv().is_err(), "it is tried twice");
}

/// A server that ends closes all its connections, of which the others may not have heard yet.
#[tokio::test]
async fn what_is_handed_on_goes_to_no_connection_of_before() {
    let (pool, mut connections) = pool(8, 0, None);
    let _app = app(&pool).await;
    let _server = connections.recv().await.unwrap();
    let mut closing = pool.place(Some(session().await.0), Some(Instant::now())).expect("another connection");
    (&mut closing).close();
    (&mut closing).hand_on(session().await.0, Instant::now());
    let open = pool.members().iter().filter(|member| member.is_open()).count();
    assert_eq!(open, 2, "the first, and one of its own");
}
