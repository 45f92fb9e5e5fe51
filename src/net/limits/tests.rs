use super::*;
use std::net::SocketAddr;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

fn from(address: &str) -> ConnInfo {
    ConnInfo::new(SocketAddr::new(address.parse().unwrap(), 1234))
}

fn limits(tunnels: u32, tunnels_per_address: u32, rate_per_address: u32) -> Arc<Limits> {
    let set = |number: u32| (number > 0).then_some(number);
    let options = LimitOptions {
        tunnels: set(tunnels),
        tunnels_per_address: set(tunnels_per_address),
        rate_per_address: set(rate_per_address),
    };
    Limits::new(options, None).unwrap()
}

/// A client that comes and asks for a tunnel.
async fn come(limits: &Arc<Limits>, address: &str) -> Result<Slot, Refused> {
    come_with(limits, address, &Budget::new(1_000_000)).await
}

async fn come_with(limits: &Arc<Limits>, address: &str, undecided: &Budget) -> Result<Slot, Refused> {
    let (info, mut arrival) = (from(address), Arrival::default());
    limits.note_arrival(&mut arrival, &info);
    limits.admit(&arrival, &info, 100, undecided).await
}

/// The limits hold nothing any more.
#[track_caller]
fn assert_free(limits: &Limits) {
    let tunnels = limits.tunnels.as_ref().map_or(0, |tunnels| tunnels.available_permits());
    assert_eq!(tunnels, limits.options.tunnels.unwrap_or_default() as usize);
    assert_eq!(limits.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn without_limits_there_is_nothing() {
    assert!(Limits::new(LimitOptions::default(), Some(&limits(1, 0, 0))).is_none());
    assert_eq!(LimitOptions::default().to_string(), "");
    assert_eq!(
        limits(1, 2, 3).options.to_string(),
        ", limit-tunnels=1, limit-tunnels-per-address=2, limit-rate-per-address=3"
    );
}

#[test]
fn the_same_limits_go_on_to_count_and_others_begin_anew() {
    let before = limits(1, 2, 0);
    assert!(Arc::ptr_eq(&before, &Limits::new(before.options, Some(&before)).unwrap()));
    let next = Limits::new(LimitOptions { tunnels: Some(5), ..before.options }, Some(&before)).unwrap();
    assert_eq!(next.tunnels.as_ref().unwrap().available_permits(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_too_many_waits_and_is_refused() {
    for (limits, limit) in [(limits(2, 0, 0), Limit::Tunnels), (limits(0, 2, 0), Limit::TunnelsPerAddress)] {
        let _slots = [come(&limits, "192.0.2.1").await.unwrap(), come(&limits, "192.0.2.1").await.unwrap()];
        let began = Instant::now();
        assert_eq!(come(&limits, "192.0.2.1").await.unwrap_err(), Refused(limit));
        assert_eq!(began.elapsed().as_secs(), WAIT.as_secs());
        // Others have a limit of their own, or the same one.
        assert_eq!(come(&limits, "192.0.2.2").await.is_ok(), limit == Limit::TunnelsPerAddress);
        drop(_slots);
        assert_free(&limits);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_has_the_place_that_comes_free_in_turn() {
    let limits = limits(1, 0, 0);
    let slot = come(&limits, "192.0.2.1").await.unwrap();
    let waiting = |address: &'static str| {
        let limits = Arc::clone(&limits);
        tokio::spawn(async move { come(&limits, address).await })
    };
    let (first, second) = (waiting("192.0.2.2"), waiting("192.0.2.3"));
    tokio::time::sleep(SECOND).await;
    drop(slot);
    let slot = first.await.unwrap().unwrap();
    assert!(!second.is_finished());
    // One that gives up leaves nothing behind.
    second.abort();
    assert!(second.await.is_err());
    drop(slot);
    assert_free(&limits);
    assert!(come(&limits, "192.0.2.1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_panics_gives_its_place_back() {
    let limits = limits(1, 1, 0);
    let slot = come(&limits, "192.0.2.1").await.unwrap();
    let panics = tokio::spawn(async move {
        let _slot = slot;
        tokio::task::yield_now().await;
        panic!("on purpose")
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_free(&limits);
    assert!(come(&limits, "192.0.2.1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn of_a_crowd_few_wait_and_of_one_address_fewer() {
    let limits = limits(1, 0, 0);
    let _slot = come(&limits, "192.0.2.1").await.unwrap();
    let began = Instant::now();
    let crowd: Vec<_> = (0..600)
        .map(|n| {
            let limits = Arc::clone(&limits);
            let address = format!("192.0.2.{}", n / 20);
            tokio::spawn(async move { come(&limits, &address).await.map(|_| ()) })
        })
        .collect();
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(limits.waiting.load(Ordering::Relaxed), WAITING);
    let refused_at_once = crowd.iter().filter(|client| client.is_finished()).count();
    assert_eq!(refused_at_once, 600 - WAITING);
    for client in crowd {
        assert_eq!(client.await.unwrap(), Err(Refused(Limit::Tunnels)));
    }
    assert_eq!(began.elapsed().as_secs(), WAIT.as_secs());
    drop(_slot);
    assert_free(&limits);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_part_of_what_strangers_may_hold() {
    let limits = limits(1, 0, 0);
    let _slot = come(&limits, "192.0.2.1").await.unwrap();
    let undecided = Budget::new(BESIDE + 99);
    let began = Instant::now();
    assert!(come_with(&limits, "192.0.2.2", &undecided).await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO, "there is no room for it");
}

#[tokio::test(start_paused = true)]
async fn those_who_come_too_fast_have_their_turn() {
    let limits = limits(0, 0, 2);
    let began = Instant::now();
    for _ in 0..4 {
        assert!(come(&limits, "2001:db8::1").await.is_ok());
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "as many as in two seconds");
    let crowd: Vec<_> = (0..14)
        .map(|n| {
            let limits = Arc::clone(&limits);
            tokio::spawn(async move {
                // All of one network.
                let address = format!("2001:db8::{n:x}");
                come(&limits, &address).await.map(|_| Instant::now())
            })
        })
        .collect();
    let mut admitted = Vec::new();
    let mut refused = 0;
    for client in crowd {
        match client.await.unwrap() {
            Ok(at) => admitted.push((at - began).as_millis()),
            Err(Refused(limit)) => {
                assert_eq!(limit, Limit::RatePerAddress);
                refused += 1;
            }
        }
    }
    admitted.sort_unstable();
    let turns: Vec<_> = (1..=10).map(|n| n * 500).collect();
    assert_eq!((admitted, refused), (turns, 4), "two a second for five seconds");
    // Visitors count, and are asked nothing.
    let mut arrival = Arrival::default();
    advance(10 * SECOND).await;
    for _ in 0..4 {
        arrival = Arrival::default();
        limits.note_arrival(&mut arrival, &from("192.0.2.9"));
        limits.note_arrival(&mut arrival, &from("192.0.2.9"));
    }
    assert!(!arrival.too_fast, "a connection counts once");
    limits.note_arrival(&mut Arrival::default(), &from("192.0.2.9"));
    let began = Instant::now();
    assert!(come(&limits, "192.0.2.9").await.is_ok());
    assert!(began.elapsed() > Duration::ZERO, "it comes behind five others");
}

#[tokio::test(start_paused = true)]
async fn sessions_have_a_place_each_and_the_first_that_of_its_connection() {
    let limits = limits(2, 0, 0);
    let info = from("192.0.2.1");
    let slot = come(&limits, "192.0.2.1").await.unwrap();
    let mut sessions = SessionLimits::new(slot, info);
    let first = sessions.admit().await.unwrap();
    let second = sessions.admit().await.unwrap();
    let began = Instant::now();
    assert_eq!(sessions.admit().await.unwrap_err(), Refused(Limit::Tunnels));
    assert_eq!(began.elapsed().as_secs(), WAIT.as_secs());
    drop((first, sessions));
    assert!(come(&limits, "192.0.2.2").await.is_ok());
    drop(second);
    assert_free(&limits);
}

#[tokio::test]
async fn sessions_of_udp_leave_half_of_the_tunnels_to_tcp() {
    for (all, of_address) in [(10, 0), (0, 10), (100, 10), (10, 100)] {
        let limits = limits(all, of_address, 1);
        let here = from("192.0.2.1");
        // (a session is none that comes: its connection has come)
        let held: Vec<_> = std::iter::from_fn(|| limits.admit_packets(&here)).collect();
        assert_eq!(held.len(), 5, "of {all} and {of_address}");
        let tunnel = come(&limits, "192.0.2.1").await.unwrap();
        drop(held);
        assert!(limits.admit_packets(&here).is_some());
        drop(tunnel);
        assert_free(&limits);
    }
}
