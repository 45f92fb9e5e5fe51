//! Connections that are kept alive for proxies on the way.

use super::*;

const EVERY: Duration = Duration::from_secs(45);

/// A fifth of that before it, and the ticks of the clock, which come when the kernel has had its time.
const IN_TIME: std::ops::RangeInclusive<u64> = 35..=46;

async fn kept_alive(most: usize) -> Client {
    let (near, far) = connection().await;
    Client::with(near, far, most, false, Some(EVERY))
}

/// An application whose session has been answered.
async fn answered(client: &mut Client, id: u16) -> TcpStream {
    let mut app = client.open(b"hello").await;
    client.server.hear(SECOND).await;
    client.server.say(id, b"answer").await;
    app.read_exact(&mut [0; 6]).await.unwrap();
    app
}

fn silences(moments: &[Duration]) -> Vec<u64> {
    moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

/// One ping a connection, however many sessions it has; and none once there are none.
#[tokio::test(start_paused = true)]
async fn a_connection_with_sessions_is_pinged_and_one_without_is_not() {
    turn_the_clock();
    for sessions in [1, 3] {
        let mut client = kept_alive(8).await;
        let mut apps = Vec::new();
        for id in 1..=sessions {
            apps.push(answered(&mut client, id).await);
        }
        let (payload, pings) = client.server.hear(10 * MINUTE).await;
        assert_eq!(payload, b"");
        assert!((13..=17).contains(&pings.len()), "{} pings in ten minutes", pings.len());
        assert!(silences(&pings).iter().all(|silence| IN_TIME.contains(silence)), "{pings:?}");

        // Both ends of every session.
        drop(apps);
        client.server.hear(10 * SECOND).await;
        for id in 1..=sessions {
            client.server.stream.write_all(&message(Role::Server, &mux::end(id, false))).await.unwrap();
        }
        client.server.hear(3 * SECOND).await;
        assert_eq!(client.server.hear(MINUTE).await, (vec![], vec![]), "nothing is open");
    }
}

/// While an answer is awaited there are pings of another kind: they are as good as any, and no two come at
/// once.
#[tokio::test(start_paused = true)]
async fn pings_that_ask_whether_the_peer_is_there_count() {
    turn_the_clock();
    let mut client = kept_alive(8).await;
    let _app = client.open(b"a long poll").await;
    let (_, pings) = client.server.hear(5 * MINUTE).await;
    assert_eq!(seconds(&pings[..4]), [2, 6, 14, 30]);
    let later = silences(&pings[3..]);
    assert!(later.iter().all(|silence| *silence <= *IN_TIME.end()), "{pings:?}");
    assert!(pings.len() <= 4 + 9, "{pings:?}");
}

/// A server that does not answer these is neither left nor doubted: nobody waits for it.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_not_doubted() {
    turn_the_clock();
    let mut client = kept_alive(8).await;
    let mut app = answered(&mut client, 1).await;
    client.asked().others_answer = true;
    client.server.answers = false;
    let (_, pings) = client.server.hear(10 * MINUTE).await;
    assert!((13..=17).contains(&pings.len()), "{} pings in ten minutes", pings.len());
    assert!(!client.asked().doubtful && client.asked().wanted == 0);
    assert!(!client.task.is_finished());
    client.server.say(1, b"late").await;
    app.read_exact(&mut [0; 4]).await.unwrap();
}

/// What passes in both directions is enough.
#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_not_pinged() {
    turn_the_clock();
    let mut client = kept_alive(8).await;
    let mut app = answered(&mut client, 1).await;
    for _ in 0..30 {
        app.write_all(b"question").await.unwrap();
        let (_, pings) = client.server.hear(SECOND).await;
        assert_eq!(pings, []);
        client.server.say(1, b"answer").await;
        app.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(client.server.hear(9 * SECOND).await.1, []);
    }
}

/// A session ends after its time, though the connection is kept alive.
#[tokio::test(start_paused = true)]
async fn pings_are_nothing_that_moves_in_a_session() {
    turn_the_clock();
    let mut client = kept_alive(8).await;
    let mut app = answered(&mut client, 1).await;
    let began = Instant::now();
    let (payload, pings) = client.server.hear(timeouts().idle + MINUTE).await;
    assert!(pings.len() > 100 && began.elapsed() > timeouts().idle);
    assert_eq!(payload, mux::end(1, false), "the session is over");
    assert_eq!(app.read(&mut [0; 1]).await.unwrap(), 0);
}

/// The server answers at once whatever becomes of a session: its backend reads nothing, ends, or is away.
#[tokio::test(start_paused = true)]
async fn a_server_answers_at_once() {
    turn_the_clock();
    for away in [false, true] {
        let (mut client, server) = connection().await;
        let (mut backends, _task) = serve(server, away);
        let ping = crate::wire::websocket::ping(Role::Client, b"there?");
        let answer = pong(Role::Server, b"there?");
        client.write_all(&message(Role::Client, &opens(1..=1))).await.unwrap();
        client.write_all(&message(Role::Client, &frame(1, &[7; 8192]))).await.unwrap();
        client.write_all(ping.as_bytes()).await.unwrap();
        assert_comes(&mut client, answer.as_bytes()).await;
        if !away {
            // It has ended, and reads nothing of what is there for it.
            let mut backend = backends.recv().await.unwrap();
            backend.shutdown().await.unwrap();
            assert_comes(&mut client, &message(Role::Server, &mux::end(1, false))).await;
            client.write_all(&message(Role::Client, &frame(1, &[7; 8192]).repeat(8))).await.unwrap();
            client.write_all(ping.as_bytes()).await.unwrap();
            assert_comes(&mut client, answer.as_bytes()).await;
        }
    }
}

/// The next that comes is this.
async fn assert_comes(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    timeout(10 * SECOND, stream.read_exact(&mut got)).await.expect("an answer").unwrap();
    assert_eq!(got, expected);
}
