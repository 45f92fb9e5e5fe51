//! A relay leaves its thread to others after so many bytes, and works on where it is moved.

use super::*;
use crate::relay::test_streams::Torrent;
use crate::runtime::turn::{self, TURN};

async fn torrents() -> Relay<Torrent, Torrent, Identity> {
    let message = || vec![0; 256 * 1024];
    let (accepted, dialled) = (Torrent::new(message()).await.0, Torrent::new(message()).await.0);
    Relay::new(accepted, dialled, Flows::new(Identity), PATIENT)
}

#[tokio::test]
async fn each_direction_has_a_turn_that_is_bounded_in_bytes() {
    let mut relay = torrents().await;
    let before = turn::moved();
    let waits = poll_fn(|cx| Poll::Ready(relay.poll_flows(cx).is_none())).await;
    assert!(waits, "all of it passed in one turn");
    for flow in [relay.flows.up.payload(), relay.flows.down.payload()] {
        // The last read of a turn may begin just before its end.
        assert!((TURN..2 * TURN).contains(&flow), "{flow} bytes in a turn of {TURN}");
    }
    assert_eq!(turn::moved() - before, 2 * (relay.flows.up.payload() + relay.flows.down.payload()));
}

#[tokio::test]
async fn a_torrent_lets_others_run_and_the_system_be_asked_for_news() {
    let relay = torrents().await;
    let (mut here, mut there) = connection().await;
    let running = tokio::spawn(relay.run());
    // Each round trip needs the reactor twice; the torrent has dialled more turns than that, and no end of
    // its own before they are over.
    let rounds = 16;
    for _ in 0..rounds {
        here.write_all(b"?").await.unwrap();
        there.read_exact(&mut [0]).await.unwrap();
        there.write_all(b"!").await.unwrap();
        here.read_exact(&mut [0]).await.unwrap();
    }
    assert!(!running.is_finished(), "the exchanges waited for all of the torrent");
    let outcome = soon(running).await.unwrap();
    let all = Torrent::BOUND as u64;
    assert_eq!((outcome.up, outcome.down), (all, all));
}

/// In one thread's runtime a relay begins, in another's it goes on, without the reactor of the first.
#[cfg(unix)]
#[test]
fn a_relay_that_is_moved_is_watched_by_the_reactor_of_its_new_thread() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (app, backend, mut relay) = first.block_on(async {
        let (app, accepted) = connection().await;
        let (backend, dialled) = connection().await;
        let mut relay = Box::pin(Relay::new(accepted, dialled, Flows::new(Identity), PATIENT).run());
        let polled = poll_fn(|cx| Poll::Ready(relay.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "there is nothing to pass yet");
        (app.into_std().unwrap(), backend.into_std().unwrap(), relay)
    });
    turn::set_reactor(turn::reactor() + 1);
    second.block_on(async {
        let polled = poll_fn(|cx| Poll::Ready(relay.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "there is nothing to pass yet");
        first.shutdown_background();
        let running = tokio::spawn(relay);
        let mut app = TcpStream::from_std(app).unwrap();
        let mut backend = TcpStream::from_std(backend).unwrap();
        let (up, down) = (bytes(3_000_001, 5), bytes(2_000_003, 6));
        for what in [up, down] {
            let (from, to) = (&mut app, &mut backend);
            let mut got = vec![0; what.len()];
            let (sent, received) =
                soon(async { tokio::join!(from.write_all(&what), to.read_exact(&mut got)) }).await;
            sent.unwrap();
            received.unwrap();
            assert!(got == what);
            std::mem::swap(&mut app, &mut backend);
        }
        drop((app, backend));
        assert!(matches!(soon(running).await.unwrap().end, End::Closed));
    });
}
