//! Visitors by the hundred, on a clock that stands still until all wait.

use super::*;
use std::future::{pending, ready};
use tokio::time::Instant;

const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// As many visitors that begin with these bytes as get in without waiting.
async fn enter<'a>(visits: &'a Visits, bytes: &[u8], most: usize) -> Vec<Visit<'a>> {
    let mut inside = Vec::new();
    while inside.len() < most
        && let Ok(Ok(visit)) = timeout(Duration::ZERO, visits.begin(bytes)).await
    {
        inside.push(visit);
    }
    inside
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn only_so_many_that_begin_alike_wait_for_an_answer() {
    let visits = Visits::default();
    let inside = enter(&visits, PAGE, usize::MAX).await;
    assert_eq!(inside.len(), FEW + WAITING);
    assert_eq!(inside.iter().filter(|visit| visit.turn.is_some()).count(), WAITING);
    // Others are not concerned.
    assert_eq!(enter(&visits, b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n", 10).await.len(), 10);
    let began = Instant::now();
    assert!(visits.begin(PAGE).await.is_err());
    assert_eq!(began.elapsed(), TURN);
}

/// One that is answered makes room for another, and so does one that leaves.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_turn_ends_with_the_first_answer() {
    let visits = Visits::default();
    let mut inside = enter(&visits, PAGE, usize::MAX).await;
    assert!(enter(&visits, PAGE, 1).await.is_empty());
    // Without a connection to look at it counts as answered.
    inside.last_mut().unwrap().run(None, ready(())).await;
    inside.extend(enter(&visits, PAGE, 1).await);
    assert_eq!(inside.len(), FEW + WAITING + 1);
    inside.remove(FEW);
    inside.extend(enter(&visits, PAGE, 2).await);
    assert_eq!(inside.len(), FEW + WAITING + 1);
}

/// One that waits for its turn goes on as soon as another one is answered.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn one_more_goes_on_when_another_leaves() {
    let visits = Visits::default();
    let mut inside = enter(&visits, PAGE, usize::MAX).await;
    let began = Instant::now();
    let leaving = async {
        tokio::time::sleep(TURN / 2).await;
        inside.pop();
    };
    let (visit, ()) = tokio::join!(visits.begin(PAGE), leaving);
    assert!(visit.is_ok());
    assert_eq!(began.elapsed(), TURN / 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_have_not_said_enough_are_not_counted_so_soon() {
    let visits = Visits::default();
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01"] {
        assert_eq!(enter(&visits, bytes, 2 * (FEW + WAITING)).await.len(), 2 * (FEW + WAITING));
    }
}

/// Each turn of a circle puts a PROXY header in front.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn proxy_headers_do_not_tell_visitors_apart() {
    let visits = Visits::default();
    let mut bytes = PAGE.to_vec();
    let mut inside = Vec::new();
    for turn in 0..FEW + WAITING {
        inside.extend(enter(&visits, &bytes, 1).await);
        if turn < 100 {
            bytes = [format!("PROXY TCP4 192.0.2.1 192.0.2.2 {turn} 80\r\n").as_bytes(), &bytes].concat();
        }
    }
    assert_eq!(inside.len(), FEW + WAITING);
    assert!(enter(&visits, PAGE, 1).await.is_empty());
}

/// A visit that is cut off leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn what_is_over_is_forgotten() {
    let visits = Visits::default();
    for _ in 0..3 {
        let mut inside = enter(&visits, PAGE, FEW).await;
        assert_eq!(inside.len(), FEW);
        let _ = timeout(Duration::from_secs(1), inside.first_mut().unwrap().run(None, pending::<()>())).await;
    }
    assert!(visits.groups.lock().unwrap().is_empty());
}
