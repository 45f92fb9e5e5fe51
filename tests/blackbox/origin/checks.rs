//! Proxies in front that look whether the port answers: no visitors, and nothing that went wrong.

use super::{Behind, v2};
use crate::support::conn::{connect, fin, recv_to_end, send};
use crate::support::fronts::Front;
use crate::support::peers::need;
use crate::support::ports::free_port;
use crate::support::scrape::{Metrics, Numbers};
use crate::support::{STEP, eventually, secs, within};
use std::net::SocketAddr;

fn watched() -> (Behind, Metrics) {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (Behind::start(&format!("failover-proxy=v2;metrics={metrics}")), Metrics(metrics))
}

#[track_caller]
fn assert_nobody_came(behind: &Behind, numbers: &Numbers) {
    let log = behind.server.child.show_log();
    assert_eq!(numbers.sum("visitors_total"), 0.0, "{log}");
    for cause in ["proxy-header", "malformed", "website-unreachable"] {
        assert_eq!(numbers.get(&format!("connections_failed_total{{cause=\"{cause}\"}}")), 0.0, "{log}");
    }
    assert!(!log.contains(" WARN "), "{log}");
    assert!(behind.connections.try_recv().is_err(), "the website was dialled; {log}");
}

#[test]
fn a_check_without_a_byte_or_with_a_header_alone_is_nobody() {
    within(secs(60), || {
        let local = v2(&[&[0x20, 0, 0, 0]]);
        let unspecified = v2(&[&[0x21, 0, 0, 0]]);
        let (behind, metrics) = watched();
        for (count, header) in (1..).zip([&b""[..], &local, &unspecified, b"PROXY UNKNOWN\r\n"]) {
            let check = connect(behind.server.addr);
            send(&check, header);
            fin(&check);
            assert!(recv_to_end(&check, STEP).0.is_empty());
            metrics.wait("connections_failed_total{cause=\"empty\"}", f64::from(count));
        }
        assert_nobody_came(&behind, &metrics.now());
    });
}

/// Who has something to say after it is a visitor.
#[test]
fn a_request_behind_a_header_of_the_proxys_own_is_served() {
    within(secs(60), || {
        let (behind, metrics) = watched();
        let check = connect(behind.server.addr);
        send(&check, &[&v2(&[&[0x20, 0, 0, 0]])[..], b"GET / HTTP/1.0\r\n\r\n"].concat());
        fin(&check);
        let at_site = crate::support::backend::next(&behind.connections);
        assert!(recv_to_end(&at_site, STEP).0.ends_with(b"GET / HTTP/1.0\r\n\r\n"));
        drop(at_site);
        metrics.wait("visitors_total{class=\"http\",website=\"failover\"}", 1.0);
    });
}

#[test]
fn checks_of_haproxy_are_nobody() {
    within(secs(60), || {
        need!("haproxy");
        for header in ["send-proxy", "send-proxy-v2"] {
            let (behind, metrics) = watched();
            let _front = Front::with_proxy_header(header, behind.server.addr);
            let came = || metrics.now().get("connections_accepted_total") >= 4.0;
            assert!(eventually(STEP, came), "{}", behind.server.child.show_log());
            assert_nobody_came(&behind, &metrics.now());
        }
    });
}
