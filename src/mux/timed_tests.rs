//! Connections on a clock that the test turns: what their ends do when nobody says anything.

mod closing;
mod keep_alive;

use super::engine::Engine;
use super::session::SOFT;
use super::sessions::{HARD, SILENT};
use super::source::{Connecting, NewSession, SessionSource};
use super::timers::{SILENT_MAX, UNREAD_MAX};
use crate::relay::test_streams::connection;
use crate::relay::{End, Outcome, Timeouts};
use crate::transport::websocket::{OpenWebSocket, WebSocket};
use crate::wire::mux;
use crate::wire::websocket::{Control, Decoder, Encoder, Role, close, pong};
use crate::wire::{Decoder as _, Step};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Turns the clock on, a tick at a time, and lets everything that is due happen before the next: left to
/// itself, a paused clock jumps to the next timer although bytes are on their way.
#[expect(clippy::disallowed_methods, reason = "the kernel's clock is not turned")]
fn turn_the_clock() {
    const TICK: Duration = Duration::from_millis(100);
    /// A byte goes from an application through both halves to a backend and back.
    const ROUNDS: usize = 16;
    tokio::spawn(async {
        loop {
            for _ in 0..ROUNDS {
                yield_now().await;
            }
            // The kernel may need a moment, too.
            std::thread::sleep(Duration::from_micros(20));
            advance(TICK).await;
        }
    });
}

/// Longer than the test's clock turns while a kernel takes its time.
fn timeouts() -> Timeouts {
    Timeouts { half_closed: Duration::from_secs(7200), ..Timeouts::new(Duration::from_secs(7200)) }
}

/// What a connection has asked of the others.
#[derive(Debug, Default)]
struct Asked {
    given_back: Vec<NewSession>,
    handed_on: Vec<NewSession>,
    wanted: usize,
    doubtful: bool,
    deaf: bool,
    alive: bool,
    /// Another connection answers, whenever that is asked.
    others_answer: bool,
}

/// The sessions of a connection that the test is the pool of.
struct Own {
    inbox: mpsc::Receiver<NewSession>,
    most: usize,
    to_be_proved: bool,
    asked: Arc<Mutex<Asked>>,
}

impl SessionSource for Own {
    const ROLE: Role = Role::Client;

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<NewSession>> {
        self.inbox.poll_recv(cx)
    }

    fn close(&mut self) {
        self.inbox.close();
    }

    fn may_be_many(&self) -> bool {
        self.most > 1
    }

    fn is_to_be_proved(&self) -> bool {
        self.to_be_proved
    }

    fn is_deaf(&self) -> bool {
        self.asked.lock().unwrap().deaf
    }

    fn found_deaf(&mut self) {
        self.asked.lock().unwrap().deaf = true;
    }

    fn found_alive(&mut self, _: Instant) {
        self.asked.lock().unwrap().alive = true;
    }

    fn others_answer(&self, _: Instant) -> bool {
        self.asked.lock().unwrap().others_answer
    }

    fn set_doubtful(&mut self, doubtful: bool) {
        self.asked.lock().unwrap().doubtful = doubtful;
    }

    fn give_back(&mut self, session: NewSession, _: Instant) {
        self.asked.lock().unwrap().given_back.push(session);
    }

    fn hand_on(&mut self, session: NewSession, _: Instant) {
        self.asked.lock().unwrap().handed_on.push(session);
    }

    fn want_another(&mut self, _: Instant, _: SocketAddr) {
        self.asked.lock().unwrap().wanted += 1;
    }
}

/// A client's connection, with the test at its other end.
struct Client {
    fresh: mpsc::Sender<NewSession>,
    asked: Arc<Mutex<Asked>>,
    server: Server,
    task: JoinHandle<Outcome>,
}

impl Client {
    async fn new(most: usize, to_be_proved: bool) -> Client {
        let (near, far) = connection().await;
        Client::on(near, far, most, to_be_proved)
    }

    fn on(near: TcpStream, far: TcpStream, most: usize, to_be_proved: bool) -> Client {
        Client::with(near, far, most, to_be_proved, None)
    }

    /// One that is kept alive so.
    fn with(
        near: TcpStream,
        far: TcpStream,
        most: usize,
        to_be_proved: bool,
        every: Option<Duration>,
    ) -> Client {
        let (fresh, inbox) = mpsc::channel(8);
        let asked = Arc::new(Mutex::new(Asked::default()));
        let own = Own { inbox, most, to_be_proved, asked: Arc::clone(&asked) };
        let websocket = WebSocket::new(Role::Client, b"key").kept_alive(every);
        let handoff = OpenWebSocket::new(near, websocket, Vec::new());
        let task = tokio::spawn(Engine::new(handoff, own, timeouts()).run());
        let server = Server { stream: far, decoder: Decoder::new(Role::Server), answers: true };
        Client { fresh, asked, server, task }
    }

    /// An application that says this at first.
    async fn open(&self, first: &[u8]) -> TcpStream {
        let (app, socket) = connection().await;
        let peer = socket.peer_addr().unwrap();
        self.fresh.send(NewSession::new(socket, first.to_vec(), peer)).await.unwrap();
        app
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap()
    }
}

/// A server in the hands of the test.
struct Server {
    stream: TcpStream,
    decoder: Decoder,
    /// Whether it answers pings.
    answers: bool,
}

impl Server {
    /// What comes in that time: the payload, and after how long each ping came.
    async fn hear(&mut self, time: Duration) -> (Vec<u8>, Vec<Duration>) {
        let began = Instant::now();
        let (mut payload, mut pings) = (Vec::new(), Vec::new());
        let mut bytes = vec![0; 65_536];
        while let Ok(read) = timeout((began + time) - Instant::now(), self.stream.read(&mut bytes)).await {
            let Ok(len @ 1..) = read else { break };
            let (input, mut at) = (&mut bytes[..len], 0);
            loop {
                match self.decoder.decode(input, &mut at).unwrap() {
                    Step::NeedMore => break,
                    Step::Payload(range) => payload.extend_from_slice(&input[range]),
                    Step::Event(Control::Ping) => {
                        pings.push(began.elapsed());
                        if self.answers {
                            let pong = pong(Role::Server, self.decoder.control());
                            self.stream.write_all(pong.as_bytes()).await.unwrap();
                        }
                    }
                    Step::Event(Control::Pong) => {}
                    Step::Event(Control::Close(_)) => return (payload, pings),
                }
            }
        }
        (payload, pings)
    }

    /// Says this in a session.
    async fn say(&mut self, id: u16, data: &[u8]) {
        self.stream.write_all(&message(Role::Server, &frame(id, data))).await.unwrap();
    }

    /// Closes the connection in order.
    async fn close(&mut self) {
        self.stream.write_all(close(Role::Server, Some(1001), "").as_bytes()).await.unwrap();
    }
}

fn frame(id: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; mux::Encoder::HEAD];
    frame.extend_from_slice(data);
    let start = mux::Encoder::server(id).encode_in_place(&mut frame).unwrap();
    frame.split_off(start)
}

fn message(role: Role, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; Encoder::HEAD];
    message.extend_from_slice(payload);
    let start = Encoder::new(role).encode_in_place(&mut message).unwrap();
    message.split_off(start)
}

fn seconds(times: &[Duration]) -> Vec<u64> {
    times.iter().map(Duration::as_secs).collect()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_asked_before_it_takes_a_session() {
    turn_the_clock();
    let mut client = Client::new(8, false).await;
    let mut first = client.open(b"first").await;
    assert!(client.server.hear(SECOND / 2).await.0.ends_with(b"first"), "a new connection is not asked");
    client.server.say(1, b"answer").await;
    first.read_exact(&mut [0; 6]).await.unwrap();
    assert_eq!(client.server.hear(10 * MINUTE).await, (vec![], vec![]), "an idle connection says nothing");

    // The session waits for the pong.
    client.server.answers = false;
    let _second = client.open(b"second").await;
    let (payload, pings) = client.server.hear(SECOND / 2).await;
    assert_eq!((payload.len(), pings.len()), (0, 1));
    client.server.stream.write_all(pong(Role::Server, b"whatever").as_bytes()).await.unwrap();
    assert!(client.server.hear(SECOND / 2).await.0.ends_with(b"second"));
    assert!(client.asked().given_back.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_elsewhere_when_there_is_no_answer_and_the_others_live() {
    turn_the_clock();
    let mut client = Client::new(8, false).await;
    let mut first = client.open(b"first").await;
    client.server.hear(SECOND).await;
    client.server.say(1, b"answer").await;
    first.read_exact(&mut [0; 6]).await.unwrap();
    sleep(MINUTE).await;
    client.server.answers = false;
    let began = Instant::now();
    let _second = client.open(b"second").await;
    while client.asked().given_back.is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    assert!((1..=3).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(client.asked().given_back[0].start.first, b"second");
    assert!(client.asked().doubtful);

    // The network is away for all: nothing ends, and another connection is tried less and less often.
    sleep(10 * MINUTE).await;
    assert!((5..20).contains(&client.asked().wanted), "{} connections in ten minutes", client.asked().wanted);
    assert!(!client.task.is_finished());
    // It is back, and so is the connection.
    client.server.say(1, b"more").await;
    first.read_exact(&mut [0; 4]).await.unwrap();
    assert!(!client.asked().doubtful);
    let _third = client.open(b"third").await;
    assert!(client.server.hear(SECOND).await.0.ends_with(b"third"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_alone_is_silent_ends_in_resets() {
    turn_the_clock();
    let mut client = Client::new(8, false).await;
    client.server.answers = false;
    let mut app = client.open(b"question").await;
    let began = Instant::now();
    let (_, pings) = client.server.hear(9 * SECOND).await;
    assert_eq!(seconds(&pings), [2]);
    assert_eq!(client.asked().wanted, 2, "it is tried whether others are answered");
    client.asked().others_answer = true;
    let error = app.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() < 15 * SECOND, "{:?}", began.elapsed());
    assert!(matches!(client.task.await.unwrap().end, End::Reset(..)));
}

/// The pong of a slow line is behind megabytes of data, and the bytes of any session prove life.
#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_not_taken_for_dead() {
    turn_the_clock();
    let mut client = Client::new(8, false).await;
    client.asked().others_answer = true;
    client.server.answers = false;
    let mut apps = [client.open(b"a").await, client.open(b"b").await];
    for _ in 0..60 {
        client.server.hear(9 * SECOND).await;
        client.server.say(2, b"bytes").await;
        apps[1].read_exact(&mut [0; 5]).await.unwrap();
    }
    client.server.say(1, b"at last").await;
    apps[0].read_exact(&mut [0; 7]).await.unwrap();
}

/// Much has been said to a peer that does not read: it has not got to the ping.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_taken_for_dead() {
    turn_the_clock();
    let mut client = Client::new(8, false).await;
    client.asked().others_answer = true;
    let mut app = client.open(b"upload").await;
    let piece = vec![7; 65_536];
    while timeout(SECOND, app.write(&piece)).await.is_ok() {}
    sleep(10 * MINUTE).await;
    assert!(!client.task.is_finished());
    // Meanwhile further sessions go elsewhere.
    assert!(client.asked().doubtful);
    let (payload, _) = client.server.hear(SECOND).await;
    assert!(payload.len() > piece.len());
}

#[tokio::test(start_paused = true)]
async fn pings_while_an_answer_is_awaited_become_rarer_and_end_with_it() {
    turn_the_clock();
    let mut client = Client::new(1, false).await;
    let mut app = client.open(b"a long poll").await;
    let (_, pings) = client.server.hear(2 * MINUTE).await;
    assert_eq!(seconds(&pings), [2, 6, 14, 30, 62]);
    client.server.say(1, b"news").await;
    app.read_exact(&mut [0; 4]).await.unwrap();
    assert_eq!(client.server.hear(10 * MINUTE).await.1, []);
    // Nothing is open.
    drop(app);
    client.server.answers = false;
    let (_, pings) = client.server.hear(SECOND / 2).await;
    assert_eq!(pings.len(), 1, "the end of the session");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_no_pings_is_found_and_left_alone() {
    turn_the_clock();
    let mut client = Client::new(8, true).await;
    client.server.answers = false;
    let mut app = client.open(b"hello").await;
    let (_, pings) = client.server.hear(SECOND / 2).await;
    assert_eq!(pings.len(), 1, "a connection that is to be proved begins with a ping");
    client.server.say(1, b"hello").await;
    app.read_exact(&mut [0; 5]).await.unwrap();
    assert!(client.asked().deaf);
    // A long wait, and a session on a connection that was quiet, go on as they did without pings.
    client.asked().others_answer = true;
    app.write_all(b"a long poll").await.unwrap();
    sleep(10 * MINUTE).await;
    let _other = client.open(b"another").await;
    let (payload, pings) = client.server.hear(SECOND).await;
    assert!(payload.ends_with(b"another"));
    assert_eq!(pings, []);
    assert!(!client.asked().doubtful);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_proves_the_way() {
    turn_the_clock();
    let mut client = Client::new(8, true).await;
    let mut app = client.open(b"hello").await;
    client.server.hear(SECOND / 2).await;
    client.server.say(1, b"hello").await;
    app.read_exact(&mut [0; 5]).await.unwrap();
    assert!(client.asked().alive && !client.asked().deaf);
}

/// A server's end, whose backends the test is.
struct Backends {
    fresh: mpsc::UnboundedSender<TcpStream>,
    /// Nobody answers there.
    away: bool,
}

impl SessionSource for Backends {
    const ROLE: Role = Role::Server;

    fn connect(&mut self) -> Option<Connecting> {
        let fresh = self.fresh.clone();
        let away = self.away;
        Some(Connecting::new(async move {
            if away {
                pending::<()>().await;
            }
            let (near, far) = connection().await;
            // So that something waits where a backend does not read.
            socket2::SockRef::from(&near).set_send_buffer_size(16 * 1024).unwrap();
            let _ = fresh.send(far);
            Ok(near)
        }))
    }
}

fn serve(stream: TcpStream, away: bool) -> (mpsc::UnboundedReceiver<TcpStream>, JoinHandle<Outcome>) {
    let (fresh, backends) = mpsc::unbounded_channel();
    let handoff = OpenWebSocket::new(stream, WebSocket::new(Role::Server, b"key"), Vec::new());
    let task = tokio::spawn(Engine::new(handoff, Backends { fresh, away }, timeouts()).run());
    (backends, task)
}

fn opens(ids: impl Iterator<Item = u16>) -> Vec<u8> {
    ids.flat_map(|id| mux::Encoder::client(id).open().unwrap()).collect()
}

async fn read_for(stream: &mut TcpStream, time: Duration) -> Vec<u8> {
    let end = Instant::now() + time;
    let mut bytes = Vec::new();
    while let Ok(Ok(1..)) = timeout(end - Instant::now(), stream.read_buf(&mut bytes)).await {}
    bytes
}

#[tokio::test(start_paused = true)]
async fn sessions_without_data_are_bounded_in_number_and_time() {
    turn_the_clock();
    let (mut client, server) = connection().await;
    let (mut backends, _task) = serve(server, false);
    client.write_all(&message(Role::Client, &opens(1..=300))).await.unwrap();
    let refused = read_for(&mut client, SECOND / 2).await;
    let end = message(Role::Server, &mux::end(1, true)).len();
    assert_eq!(refused.len(), (300 - SILENT) * end, "the sessions beyond the limit are refused");
    assert!(backends.try_recv().is_err(), "nobody is dialled for a session that has said nothing");
    // One is dialled for, as its backend may speak first. All are over after their time.
    let ended = read_for(&mut client, SILENT_MAX + 2 * SECOND).await;
    assert_eq!(ended.len(), SILENT * end);
    let _dialled = backends.try_recv().unwrap();
    assert!(backends.try_recv().is_err());
    // And there is room for others.
    let mut frame = vec![0; mux::Encoder::HEAD];
    frame.extend_from_slice(b"hello");
    mux::Encoder::client(7).encode_in_place(&mut frame).unwrap();
    client.write_all(&message(Role::Client, &frame)).await.unwrap();
    let mut backend = timeout(SECOND, backends.recv()).await.unwrap().unwrap();
    let mut hello = [0; 5];
    backend.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
}

/// Backends that speak first are heard, one after the other.
#[tokio::test(start_paused = true)]
async fn backends_that_speak_first_are_dialled_in_turn() {
    turn_the_clock();
    let (mut client, server) = connection().await;
    let (mut backends, _task) = serve(server, false);
    client.write_all(&message(Role::Client, &opens(1..=3))).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut backend = timeout(4 * SECOND, backends.recv()).await.unwrap().unwrap();
        assert!(timeout(4 * SECOND, backends.recv()).await.is_err(), "one at a time");
        backend.write_all(b"220").await.unwrap();
        held.push(backend);
    }
    assert!(!read_for(&mut client, SECOND).await.is_empty());
}

/// What waits for backends that are being dialled is a fraction of what may wait for open ones.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_dial_is_bounded() {
    turn_the_clock();
    let (client, server) = connection().await;
    socket2::SockRef::from(&client).set_send_buffer_size(16 * 1024).unwrap();
    socket2::SockRef::from(&server).set_recv_buffer_size(16 * 1024).unwrap();
    let (_backends, task) = serve(server, true);
    let mut client = client;
    client.write_all(&message(Role::Client, &opens(1..=1))).await.unwrap();
    let piece = message(Role::Client, &frame(1, &[0; 8192]));
    let mut taken = 0;
    while let Ok(Ok(len)) = timeout(SECOND, client.write(&piece[taken % piece.len()..])).await {
        taken += len;
        assert!(taken < SOFT, "more is taken than for an open socket");
    }
    assert!(!task.is_finished());
}

/// A stranger who asks for answers and reads none is read no further, and is not kept.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_answers_is_over_after_a_while() {
    turn_the_clock();
    let (client, server) = connection().await;
    socket2::SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
    socket2::SockRef::from(&server).set_send_buffer_size(4096).unwrap();
    let (_backends, task) = serve(server, false);
    let mut client = client;
    // Data for nobody, each piece of which is answered by an end.
    let piece = message(Role::Client, &frame(9, b"?").repeat(1000));
    let mut taken = 0;
    while let Ok(Ok(len)) = timeout(SECOND, client.write(&piece[taken % piece.len()..])).await {
        taken += len;
        assert!(taken < 16 * 1024 * 1024, "it is read for ever");
    }
    let began = Instant::now();
    let outcome = task.await.unwrap();
    assert!(matches!(outcome.end, End::Reset(..)), "{:?}", outcome.end);
    assert!(began.elapsed() <= UNREAD_MAX + SECOND, "{:?}", began.elapsed());
}

/// The reader of a download pauses for ten minutes, in a connection of its own and in one that may have
/// other sessions, of which one is idle: nothing is lost. Sessions that come meanwhile go elsewhere.
#[tokio::test(start_paused = true)]
async fn a_download_whose_reader_pauses_lives() {
    turn_the_clock();
    for most in [1, 8] {
        let (near, far) = connection().await;
        let (mut backends, _task) = serve(far, false);
        // Nobody reads the connection from the test's side.
        let (spare, _unused) = connection().await;
        let client = Client::on(near, spare, most, false);
        client.asked().others_answer = true;
        let mut app = client.open(b"get").await;
        let mut backend = backends.recv().await.unwrap();
        backend.read_exact(&mut [0; 3]).await.unwrap();
        let mut idle = Vec::new();
        if most > 1 {
            let mut other = client.open(b"other").await;
            let mut backend = backends.recv().await.unwrap();
            backend.write_all(b"answer").await.unwrap();
            other.read_exact(&mut [0; 6]).await.unwrap();
            idle.push((other, backend));
        }
        let mut sent = 0_usize;
        let piece: Vec<u8> = (0..65_521_u32).map(|i| (i % 251) as u8).collect();
        while let Ok(Ok(len)) = timeout(SECOND, backend.write(&piece[sent % piece.len()..])).await {
            sent += len;
            assert!(sent < 64 * 1024 * 1024, "it is never full");
        }
        assert!(sent > HARD);
        sleep(5 * MINUTE).await;
        if most > 1 {
            let _later = client.open(b"later").await;
            sleep(5 * SECOND).await;
            assert_eq!(client.asked().given_back.len(), 1, "a session does not wait for the pause to end");
        }
        sleep(5 * MINUTE).await;
        backend.shutdown().await.unwrap();
        let mut got = Vec::new();
        app.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), sent, "mux={most}");
        assert!(got.iter().enumerate().all(|(i, byte)| *byte == piece[i % piece.len()]), "other bytes");
    }
}

/// The connection ends while a backend reads nothing, after a long silence and for long: all that had come
/// is delivered, and the end behind it.
#[tokio::test(start_paused = true)]
async fn what_has_come_is_delivered_though_the_connection_has_ended() {
    turn_the_clock();
    for (quiet, pause) in [(0, 60), (30, 2), (30, 120)] {
        let (mut client, server) = connection().await;
        let (mut backends, _task) = serve(server, false);
        client.write_all(&message(Role::Client, &opens(1..=1))).await.unwrap();
        let mut send = async |size: usize| {
            let data = message(Role::Client, &frame(1, &vec![7; 8192]));
            for _ in 0..size / 8192 {
                client.write_all(&data).await.unwrap();
            }
        };
        send(8192).await;
        let mut backend = backends.recv().await.unwrap();
        sleep(quiet * SECOND).await;
        let mut sent = 8192;
        // More than its kernel takes, less than what the connection is not read for.
        let more = 128 * 1024;
        socket2::SockRef::from(&backend).set_recv_buffer_size(4096).unwrap();
        send(more).await;
        sent += more;
        client.shutdown().await.unwrap();
        sleep(pause * SECOND).await;
        let mut got = Vec::new();
        backend.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), sent, "quiet for {quiet} s, {pause} s unread");
    }
}
