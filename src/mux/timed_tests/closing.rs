//! Sessions that are on their way to a server that is just closing the connection.

use super::*;

/// A connection on which a session has been answered and another has not.
async fn answered_and_not() -> (Client, TcpStream, TcpStream) {
    let mut client = Client::new(8, false).await;
    let mut answered = client.open(b"first").await;
    client.server.hear(SECOND).await;
    client.server.say(1, b"answer").await;
    answered.read_exact(&mut [0; 6]).await.unwrap();
    let not = client.open(b"second").await;
    assert!(client.server.hear(SECOND).await.0.ends_with(b"second"));
    (client, answered, not)
}

async fn has_ended(app: &mut TcpStream) -> bool {
    timeout(SECOND, app.read(&mut [0; 1])).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_has_answered_is_handed_on_once() {
    turn_the_clock();
    let (mut client, mut answered, mut app) = answered_and_not().await;
    client.server.close().await;
    assert_eq!(answered.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(!has_ended(&mut app).await);
    assert!(client.fresh.is_closed(), "it takes no others");
    let session = client.asked().handed_on.pop().unwrap();
    assert_eq!(session.start.first, b"second");
    assert!(client.asked().handed_on.is_empty());

    // The next connection is closed, too.
    let mut other = Client::new(8, false).await;
    other.fresh.send(session).await.unwrap();
    assert!(other.server.hear(SECOND).await.0.ends_with(b"second"));
    other.server.close().await;
    assert_eq!(app.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(other.asked().handed_on.is_empty());
}

/// It has said more than what is kept, has ended, or is old: the server may have taken it.
#[tokio::test(start_paused = true)]
async fn one_that_may_have_been_taken_ends() {
    turn_the_clock();
    for case in ["says more", "ends", "is old"] {
        let (mut client, _answered, mut app) = answered_and_not().await;
        match case {
            "says more" => app.write_all(b" and more").await.unwrap(),
            "ends" => app.shutdown().await.unwrap(),
            _ => sleep(10 * SECOND).await,
        }
        client.server.hear(SECOND).await;
        client.server.close().await;
        assert!(has_ended(&mut app).await, "{case}");
        assert!(client.asked().handed_on.is_empty(), "{case}");
    }
}

/// What ends without a word says nothing of what was taken: a server that is killed, or a proxy on the way.
#[tokio::test(start_paused = true)]
async fn none_is_handed_on_where_the_connection_breaks() {
    turn_the_clock();
    for by_reset in [true, false] {
        let (client, _answered, mut app) = answered_and_not().await;
        if by_reset {
            socket2::SockRef::from(&client.server.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let Client { server, asked, .. } = client;
        drop(server);
        let read = app.read(&mut [0; 1]).await;
        assert!(if by_reset { read.is_err() } else { matches!(read, Ok(0)) }, "{read:?}");
        assert!(asked.lock().unwrap().handed_on.is_empty());
    }
}
