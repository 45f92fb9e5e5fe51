//! Heads in any pieces and at any pace, on a clock that stands still until all wait.

use super::*;
use crate::detect::{ClientKind, HttpRule};
use crate::net::conn_info::ConnInfo;
use std::cell::Cell;
use std::future::{pending, ready};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::sleep;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn rules() -> Rules {
    let http =
        HttpRule { method: "GET".into(), path: None, host: None, web_path: None, routes: Default::default() };
    Rules { http: Some(http), ..Rules::default() }
}

fn accepted() -> (DuplexStream, Handoff<DuplexStream>) {
    let (peer, io) = duplex(64 * 1024);
    let info = ConnInfo::new("192.0.2.1:5".parse().unwrap());
    (peer, Handoff::new(io, info, Instant::now()))
}

/// A website that never answers.
async fn dead(_: VisitorProtocol) -> Option<Upstream> {
    pending().await
}

fn is_client(seen: &io::Result<Detection>) -> bool {
    matches!(seen, Ok(Detection::Client(ClientKind::Http(_))))
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_at_once_dials_nobody() {
    let (mut peer, mut c) = accepted();
    let budget = Budget::new(1 << 20);
    peer.write_all(UPGRADE).await.unwrap();
    peer.write_all(b"payload").await.unwrap();
    let dial = |_| -> std::future::Ready<Option<Upstream>> { panic!("it has not hesitated") };
    let seen = read(&mut c, &rules(), &budget, dial).await;
    assert!(is_client(&seen), "{seen:?}");
    assert_eq!(c.read_buf, [UPGRADE, b"payload"].concat());
    assert_eq!(budget.left(), 1 << 20, "what is decided holds nothing");
}

/// Whatever the pieces, the next stage finds the same bytes.
#[tokio::test(start_paused = true)]
async fn a_head_in_pieces_is_the_same_head() {
    for pause in [0, 1, 100] {
        for cut in 0..=UPGRADE.len() {
            let (mut peer, mut c) = accepted();
            let writing = async {
                peer.write_all(&UPGRADE[..cut]).await.unwrap();
                sleep(Duration::from_millis(pause)).await;
                peer.write_all(&UPGRADE[cut..]).await.unwrap();
            };
            let budget = Budget::new(1 << 20);
            let (rules, began) = (rules(), Instant::now());
            let (seen, ()) = tokio::join!(read(&mut c, &rules, &budget, dead), writing);
            assert!(is_client(&seen), "{cut}: {seen:?}");
            assert_eq!(c.read_buf, UPGRADE);
            assert_eq!(began.elapsed(), Duration::from_millis(pause));
        }
    }
}

/// What an earlier stage has read counts before anything is read.
#[tokio::test(start_paused = true)]
async fn what_was_read_before_is_looked_at_first() {
    let (_peer, mut c) = accepted();
    c.read_buf = UPGRADE.to_vec();
    let began = Instant::now();
    assert!(is_client(&read(&mut c, &rules(), &Budget::new(1 << 20), dead).await));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(c.read_buf, UPGRADE);
}

#[tokio::test(start_paused = true)]
async fn a_website_that_never_answers_keeps_no_client_waiting() {
    for late in [251, 5000, 9999] {
        let (mut peer, mut c) = accepted();
        let writing = async {
            sleep(Duration::from_millis(late)).await;
            peer.write_all(UPGRADE).await.unwrap();
        };
        let budget = Budget::new(1 << 20);
        let (rules, began) = (rules(), Instant::now());
        let (seen, ()) = tokio::join!(read(&mut c, &rules, &budget, dead), writing);
        assert!(is_client(&seen), "{late}: {seen:?}");
        assert_eq!(began.elapsed(), Duration::from_millis(late));
        assert!(c.upstream.is_none());
    }
}

/// The website is dialled after a quarter of a second, by what was said until then, and once.
#[tokio::test(start_paused = true)]
async fn one_that_hesitates_has_the_website_dialled() {
    for (said, wanted) in [
        (&b""[..], VisitorProtocol::Plain),
        (b"GET /", VisitorProtocol::Plain),
        (b"\x16\x03", VisitorProtocol::Tls),
    ] {
        let (mut peer, mut c) = accepted();
        peer.write_all(said).await.unwrap();
        let began = Instant::now();
        let dialled = Cell::new(None);
        let dial = |protocol| {
            assert_eq!(dialled.replace(Some((protocol, began.elapsed()))), None);
            ready(None)
        };
        let rules = Rules { tls: true, ..rules() };
        let seen = read(&mut c, &rules, &Budget::new(1 << 20), dial).await.unwrap();
        assert_eq!(seen, Detection::Visitor);
        assert_eq!(dialled.get(), Some((wanted, HESITATION)));
        assert_eq!(began.elapsed(), HEAD_TIMEOUT, "the website was not to be had; the visitor has its time");
        assert_eq!(c.read_buf, said);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_and_half_a_head_have_an_end() {
    for said in [&b""[..], b"GET / HTTP/1.1\r\nHo"] {
        let (mut peer, mut c) = accepted();
        peer.write_all(said).await.unwrap();
        let began = Instant::now();
        let seen = read(&mut c, &rules(), &Budget::new(1 << 20), dead).await.unwrap();
        assert_eq!((seen, began.elapsed()), (Detection::Visitor, HEAD_TIMEOUT));
        assert_eq!(c.read_buf, said);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_decides_at_once() {
    for said in [&b""[..], b"GET / HTTP/1.1\r\nHo", b"\x16\x03\x01"] {
        let (mut peer, mut c) = accepted();
        peer.write_all(said).await.unwrap();
        drop(peer);
        let began = Instant::now();
        let rules = Rules { tls: true, ..rules() };
        let seen = read(&mut c, &rules, &Budget::new(1 << 20), dead).await.unwrap();
        assert_eq!((seen, began.elapsed()), (Detection::Visitor, Duration::ZERO));
        assert_eq!(c.read_buf, said);
    }
}

/// A visitor that shows itself while the website is dialled gets that connection, or none when its time is over.
#[tokio::test(start_paused = true)]
async fn a_visitor_waits_for_the_dialling_no_longer_than_for_a_head() {
    let (mut peer, mut c) = accepted();
    let writing = async {
        sleep(Duration::from_millis(300)).await;
        peer.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    };
    let budget = Budget::new(1 << 20);
    let (rules, began) = (rules(), Instant::now());
    let (seen, ()) = tokio::join!(read(&mut c, &rules, &budget, dead), writing);
    assert_eq!((seen.unwrap(), began.elapsed()), (Detection::Visitor, HEAD_TIMEOUT));
    assert!(c.upstream.is_none());
}

#[tokio::test(start_paused = true)]
async fn where_no_more_may_be_held_nobody_is_waited_for() {
    let (mut peer, mut c) = accepted();
    peer.write_all(&UPGRADE[..20]).await.unwrap();
    let budget = Budget::new(BESIDE + 19);
    let began = Instant::now();
    let seen = read(&mut c, &rules(), &budget, dead).await.unwrap();
    assert_eq!((seen, began.elapsed()), (Detection::Visitor, Duration::ZERO));
    assert_eq!(budget.left(), BESIDE + 19);
    // A whole head is decided without being held.
    let (mut peer, mut c) = accepted();
    peer.write_all(UPGRADE).await.unwrap();
    assert!(is_client(&read(&mut c, &rules(), &Budget::new(0), dead).await));
}

/// A silent connection costs nothing of what all may hold, one that has said something does.
#[tokio::test(start_paused = true)]
async fn what_is_undecided_is_counted() {
    let budget = Budget::new(1 << 20);
    for (said, held) in [(&b""[..], 0), (b"GET /", 5 + BESIDE)] {
        let (mut peer, mut c) = accepted();
        peer.write_all(said).await.unwrap();
        let rules = rules();
        let mut reading = pin!(read(&mut c, &rules, &budget, dead));
        tokio::select! {
            seen = &mut reading => panic!("{seen:?}"),
            () = sleep(Duration::from_secs(1)) => {}
        }
        assert_eq!(budget.left(), (1 << 20) - held);
    }
}

/// A connection that breaks while it is looked at.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_breaks_is_nobodys() {
    let info = ConnInfo::new("192.0.2.1:5".parse().unwrap());
    let mut c = Handoff::new(Broken, info, Instant::now());
    let seen = read(&mut c, &rules(), &Budget::new(1 << 20), dead).await;
    assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// A website that closes on it resets the connection only if nothing of it comes later.
#[tokio::test(start_paused = true)]
async fn what_comes_in_one_go_is_read_at_once() {
    let (mut peer, mut c) = accepted();
    peer.write_all(&[b'?'; 9000]).await.unwrap();
    let seen = read(&mut c, &rules(), &Budget::new(1 << 20), dead).await;
    assert!(matches!(seen, Ok(Detection::Visitor)), "{seen:?}");
    assert_eq!(c.read_buf.len(), 9000);
}
