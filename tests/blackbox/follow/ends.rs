//! What ends or falls silent while something is held back: it is as if we were not there.

use super::*;
use crate::support::conn::{self, fin};

/// A head that stops in the middle goes to the website after a second, and that request is the website's;
/// the next one is not.
#[test]
fn a_slow_head_is_the_websites() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for cut in [1, 10, 40, UPGRADE.len() - 1] {
            let (start, rest) = UPGRADE.as_bytes().split_at(cut);
            let (visitor, site) = scene.answered();
            send(&visitor, start);
            assert_eq!(recv(&site, start.len()), start);
            send(&visitor, rest);
            assert_eq!(recv(&site, rest.len()), rest);
            send(&site, OK.as_bytes());
            assert_eq!(recv(&visitor, OK.len()), OK.as_bytes());
            scene.upgrade(Kind::HttpUpgrade, visitor);
        }
    });
}

/// A head that cannot be ours does not wait.
#[test]
fn what_cannot_be_ours_passes_at_once() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let (visitor, site) = scene.answered();
        // Byte by byte, each seen at the website before the next is sent: what were held would be a second.
        let began = std::time::Instant::now();
        let text = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        for byte in text.as_bytes() {
            send(&visitor, &[*byte]);
            assert_eq!(recv(&site, 1), [*byte]);
        }
        assert!(began.elapsed() < secs(text.len() as u64), "each byte was held");
    });
}

/// The website ends while an upgrade, or the beginning of one, waits for it.
#[test]
fn the_websites_end_passes_to_the_visitor() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for held in [&UPGRADE[..20], UPGRADE] {
            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, held.as_bytes());
            fin(&site);
            assert_eq!(recv_to_end(&visitor, STEP), (vec![], End::Fin));
            assert_eq!(recv(&site, held.len()), held.as_bytes(), "what was held, for who still listens");

            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, held.as_bytes());
            conn::reset(site);
            assert_eq!(recv_to_end(&visitor, STEP), (vec![], End::Reset));

            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, held.as_bytes());
            send(&site, &OK.as_bytes()[..OK.len() - 1]);
            fin(&site);
            assert_eq!(recv_to_end(&visitor, STEP), (OK.as_bytes()[..OK.len() - 1].to_vec(), End::Fin));
        }
        assert_eq!(scene.backend.accepted(), 0);
    });
}

/// The visitor ends while something of its is held back.
#[test]
fn the_visitors_end_passes_to_the_website_behind_what_was_held() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for held in [&UPGRADE[..20], UPGRADE] {
            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, held.as_bytes());
            fin(&visitor);
            assert_eq!(recv_to_end(&site, STEP), (held.as_bytes().to_vec(), End::Fin));
            send(&site, OK.as_bytes());
            drop(site);
            assert_eq!(recv_to_end(&visitor, STEP), (OK.as_bytes().to_vec(), End::Fin));

            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, held.as_bytes());
            conn::reset(visitor);
            assert_eq!(recv_to_end(&site, STEP), (held.as_bytes().to_vec(), End::Reset));
        }
        assert_eq!(scene.backend.accepted(), 0);
    });
}

/// A visitor that is gone while so much is held that nothing more is read of it: that shows when the website
/// answers, and the website hears of it.
#[test]
fn a_visitor_that_is_gone_is_noticed_when_it_is_answered() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let all = [UPGRADE.as_bytes(), &noise(200_000, 1)].concat();
        let (visitor, site) = scene.visit(PAGE.as_bytes());
        send(&visitor, &all);
        conn::reset(visitor);
        send(&site, OK.as_bytes());
        let (got, end) = recv_to_end(&site, STEP);
        assert_eq!(end, End::Reset);
        assert!(all.starts_with(&got) && got.len() >= UPGRADE.len(), "{} bytes", got.len());
        assert_eq!(scene.backend.accepted(), 0);
    });
}

/// A client whose whole request and end come at once, on a connection where nothing is left to answer.
#[test]
fn an_upgrade_and_its_end_may_come_at_once() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for _ in 0..10 {
            let (visitor, _site) = scene.answered();
            send(&visitor, format!("{UPGRADE}hello").as_bytes());
            fin(&visitor);
            assert_101(&visitor);
            assert_eq!(recv_to_end(&visitor, STEP), (b"hello".to_vec(), End::Fin));
        }
    });
}
