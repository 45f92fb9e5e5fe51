//! Sides that take nothing, and what is seen of them meanwhile.

use super::handoff::Holding;
use super::*;
use crate::relay::stall::CHECK_INTERVAL;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than a connection over loopback holds.
const MUCH: usize = 32 * 1024 * 1024;

/// Counts how often a future is polled.
async fn counted<T>(count: Arc<AtomicUsize>, what: impl Future<Output = T>) -> T {
    let mut what = Box::pin(what);
    poll_fn(|cx| {
        count.fetch_add(1, Ordering::SeqCst);
        what.as_mut().poll(cx)
    })
    .await
}

/// Waits until the number has not changed for a while.
async fn at_rest(count: &AtomicUsize) {
    let mut before = usize::MAX;
    while before != count.load(Ordering::SeqCst) {
        before = count.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What is held back has to go, and cannot: what came before it is not taken. The deadline is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_cannot_be_served_wakes_nobody() {
    for way in BOTH {
        let (_app, accepted) = connection().await;
        let (mut backend, dialled) = connection().await;
        let flows =
            Flows::new(Holding::with(b"held", Instant::now())).with_payload(Direction::Up, vec![7; MUCH]);
        let count = Arc::new(AtomicUsize::new(0));
        let running: JoinHandle<Outcome> = match way {
            Way::Kernel => {
                tokio::spawn(counted(Arc::clone(&count), Relay::new(accepted, dialled, flows, PATIENT).run()))
            }
            Way::Copy => {
                let relay = Relay::new(Copied(accepted), Copied(dialled), flows, PATIENT);
                tokio::spawn(counted(Arc::clone(&count), relay.run()))
            }
        };
        soon(at_rest(&count)).await;
        // It comes when there is room for it, behind the others.
        let mut got = vec![0; MUCH + 4];
        soon(backend.read_exact(&mut got)).await.unwrap();
        assert!(got.ends_with(b"\x07held"), "{way:?}");
        running.abort();
    }
}

/// A relay whose application reads nothing and whose backend has sent until nothing more went.
async fn stalled(way: Way, timeouts: Timeouts) -> (TcpStream, TcpStream, JoinHandle<Outcome>, usize) {
    let (app, backend, running) = relay(way, timeouts).await;
    let mut sent = 0;
    while let Ok(ready) = timeout(Duration::from_millis(300), backend.writable()).await {
        ready.unwrap();
        sent += backend.try_write(&[7; 65_536]).unwrap_or(0);
    }
    (app, backend, running, sent)
}

/// Nobody reads from the backend, so its reset is not read either.
#[tokio::test]
async fn a_reset_is_seen_though_the_other_side_takes_nothing() {
    for way in BOTH {
        let (mut app, backend, running, _) = stalled(way, PATIENT).await;
        reset(&backend);
        drop(backend);
        tokio::task::yield_now().await;
        let began = Instant::now();
        tokio::time::pause();
        let outcome = running.await.unwrap();
        tokio::time::resume();
        assert!(matches!(outcome.end, End::Reset(Side::Dialled, _)), "{way:?}: {outcome:?}");
        assert!(began.elapsed() <= 2 * CHECK_INTERVAL, "{way:?}: {:?}", began.elapsed());
        let mut rest = Vec::new();
        let end = soon(app.read_to_end(&mut rest)).await.map_err(|error| error.kind());
        assert_eq!(end.err(), Some(ErrorKind::ConnectionReset), "{way:?}");
    }
}

/// The same where what was said before the reset is taken, though with pauses: it arrives.
#[tokio::test]
async fn what_was_said_before_a_reset_arrives_at_a_slow_reader() {
    for way in BOTH {
        let (mut app, backend, running, sent) = stalled(way, PATIENT).await;
        reset(&backend);
        drop(backend);
        tokio::time::pause();
        let mut got = 0;
        let mut piece = vec![0; 256 * 1024];
        while let Ok(n @ 1..) = app.read(&mut piece).await {
            got += n;
            #[expect(clippy::disallowed_methods, reason = "the kernel's clock is not turned")]
            std::thread::sleep(Duration::from_millis(20));
            tokio::time::sleep(CHECK_INTERVAL / 20).await;
        }
        tokio::time::resume();
        let outcome = soon(running).await.unwrap();
        assert!(matches!(outcome.end, End::Reset(Side::Dialled, _)), "{way:?}: {outcome:?}");
        assert!(got > 0 && got <= sent, "{way:?}: {got} of {sent}");
        let lost = outcome.down as usize - got;
        assert!(lost <= 2 * ACCEPTED_BUFFER, "{way:?}: {lost} of {} were not passed on", outcome.down);
    }
}

/// A client's reader that pauses for ten minutes finds everything there; a visitor's does not.
#[tokio::test]
async fn a_reader_may_pause_and_a_visitor_may_not_for_long() {
    const PAUSE: Duration = Duration::from_secs(600);
    let tunnel = Timeouts::new(Duration::from_secs(7200));
    for way in BOTH {
        let (mut app, backend, running, sent) = stalled(way, tunnel).await;
        tokio::time::pause();
        tokio::time::sleep(PAUSE).await;
        tokio::time::resume();
        assert!(!running.is_finished(), "{way:?}");
        drop(backend);
        let mut got = Vec::new();
        soon(app.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.len(), sent, "{way:?}");

        let (_app, _backend, running, _) = stalled(way, tunnel.of_visitors()).await;
        tokio::time::pause();
        let began = Instant::now();
        let outcome = running.await.unwrap();
        assert!(matches!(outcome.end, End::Stalled(SEND_TIMEOUT)), "{way:?}: {outcome:?}");
        assert!(began.elapsed() <= SEND_TIMEOUT + CHECK_INTERVAL, "{way:?}: {:?}", began.elapsed());
        tokio::time::resume();
    }
}

/// A visitor that takes a little now and then is one that reads.
#[tokio::test]
async fn a_slow_visitor_is_served_to_the_end() {
    for way in BOTH {
        let timeouts = Timeouts::new(Duration::from_secs(7200)).of_visitors();
        let (mut app, backend, running, sent) = stalled(way, timeouts).await;
        drop(backend);
        tokio::time::pause();
        let mut got = 0;
        let mut piece = vec![0; 128 * 1024];
        while let n @ 1.. = app.read(&mut piece).await.unwrap() {
            got += n;
            // The kernel's clock is not turned, and it may take a moment to tell that there is room.
            #[expect(clippy::disallowed_methods, reason = "the kernel's clock is not turned")]
            std::thread::sleep(Duration::from_millis(20));
            tokio::time::sleep(SEND_TIMEOUT / 20).await;
        }
        tokio::time::resume();
        assert_eq!(got, sent, "{way:?}");
        drop(app);
        assert!(matches!(soon(running).await.unwrap().end, End::Closed), "{way:?}");
    }
}
