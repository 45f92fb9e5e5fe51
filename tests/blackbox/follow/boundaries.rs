//! Where a takeover must not happen: in bodies, behind what could be read in two ways, behind the last
//! message. The website gets every byte.

use super::*;

#[test]
fn an_upgrade_in_a_body_is_the_websites() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let n = UPGRADE.len();
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
        for text in [
            post(&format!("Content-Length: {n}\r\n"), UPGRADE),
            post(&format!("Content-Length: {}\r\n", 2 * n), &UPGRADE.repeat(2)),
            post("Transfer-Encoding: chunked\r\n", &format!("{n:x}\r\n{UPGRADE}\r\n0\r\n\r\n")),
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("5\r\nhello\r\n{n:X};x\r\n{UPGRADE}\r\n000\r\n\r\n"),
            ),
        ] {
            for body_alone in [false, true] {
                let accepted = scene.backend.accepted();
                let split = if body_alone { text.len() - n - 10 } else { text.len() };
                let visitor = connect(scene.door);
                send(&visitor, &text.as_bytes()[..split]);
                let site = next(&scene.at_site);
                assert_eq!(recv(&site, split), &text.as_bytes()[..split]);
                send(&visitor, &text.as_bytes()[split..]);
                assert_eq!(recv(&site, text.len() - split), &text.as_bytes()[split..], "{text}");
                send(&site, OK.as_bytes());
                assert_eq!(recv(&visitor, OK.len()), OK.as_bytes());
                assert_eq!(scene.backend.accepted(), accepted, "{text}");
                // It was followed to its end: what comes now is ours.
                scene.upgrade(Kind::HttpUpgrade, visitor);
                assert_eq!(scene.backend.accepted(), accepted + 1);
            }
        }
    });
}

/// Each of these has an upgrade where one of two servers that read it differently would see it.
#[test]
fn what_could_be_read_in_two_ways_reaches_the_website_untouched() {
    within(secs(120), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let n = UPGRADE.len();
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
        let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
        for smuggled in [
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", ""),
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            post(&format!("Content-Length: 0\r\nContent-Length: {n}\r\n"), ""),
            post("Content-Length: 0\r\nContent-Length: 0\r\n", ""),
            post(&format!("Content-Length: 0, {n}\r\n"), ""),
            post("Content-Length: +0\r\n", ""),
            post("Content-Length: 0x0\r\n", ""),
            post("Content-Length: \r\n", ""),
            post("Content-Length: 18446744073709551616\r\n", ""),
            post("Content-Length : 0\r\n", ""),
            post("Content-Length:\r\n 0\r\n", ""),
            post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding: xchunked\r\n", ""),
            post("Transfer-Encoding: identity\r\n", ""),
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"),
            post("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            post("X: a\rContent-Length: 9\r\n", ""),
            chunked("0x0\r\n\r\n"),
            chunked("+0\r\n\r\n"),
            chunked("0 \r\n\r\n"),
            chunked("0\n\n"),
            chunked("00000000000000000\r\n\r\n"),
            chunked("10000000000000000\r\n"),
            chunked("5\r\nhelloX\r\n0\r\n\r\n"),
            chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
            chunked(&format!("0\r\nContent-Length: {n}\r\n\r\n")),
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "\r\n".to_owned(),
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(33 << 10)),
        ] {
            // As the second request, for whatever is wrong with the first is seen elsewhere.
            let (visitor, site) = scene.answered();
            scene.assert_the_sites(&visitor, &site, format!("{smuggled}{UPGRADE}").as_bytes());
            // And as the first.
            let (visitor, site) = scene.visit(format!("{smuggled}{UPGRADE}").as_bytes());
            scene.assert_the_sites(&visitor, &site, b"more");
        }
    });
}

/// What a website says that leaves it unclear where its answer ends, or who is to hear the next one.
#[test]
fn after_an_unclear_answer_the_connection_is_the_websites() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npage",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\npage",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\npage",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\npage",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\npage",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            // One that nobody asked for.
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 408 Request Timeout\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
        ] {
            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&site, answer.as_bytes());
            assert_eq!(recv(&visitor, answer.len()), answer.as_bytes());
            scene.assert_the_sites(&visitor, &site, UPGRADE.as_bytes());
            // With the upgrade waiting for the answer.
            let (visitor, site) = scene.visit(PAGE.as_bytes());
            send(&visitor, format!("{UPGRADE}payload").as_bytes());
            send(&site, answer.as_bytes());
            assert_eq!(recv(&visitor, answer.len()), answer.as_bytes());
            assert_eq!(recv(&site, UPGRADE.len() + 7), format!("{UPGRADE}payload").as_bytes());
            assert_eq!(scene.backend.accepted(), 0, "{answer:?}");
        }
    });
}

#[test]
fn after_too_many_requests_at_once_the_connection_is_the_websites() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for (count, taken) in [(32, true), (33, false)] {
            let (visitor, site) = scene.visit(PAGE.repeat(count).as_bytes());
            send(&visitor, UPGRADE.as_bytes());
            send(&site, OK.repeat(count).as_bytes());
            assert_eq!(recv(&visitor, count * OK.len()), OK.repeat(count).as_bytes());
            if taken {
                assert_101(&visitor);
            } else {
                assert_eq!(recv(&site, UPGRADE.len()), UPGRADE.as_bytes());
            }
        }
    });
}

/// A body that was announced with `Expect` may come or not once the answer is there.
#[test]
fn an_answer_in_place_of_a_100_leaves_the_connection_to_the_website() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let put = format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            UPGRADE.len()
        );
        let (visitor, site) = scene.visit(put.as_bytes());
        send(&site, OK.as_bytes());
        assert_eq!(recv(&visitor, OK.len()), OK.as_bytes());
        scene.assert_the_sites(&visitor, &site, UPGRADE.repeat(2).as_bytes());
    });
}
