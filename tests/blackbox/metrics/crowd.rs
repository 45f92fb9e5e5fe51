//! Many who are connected where the metrics are, and do not ask: who asks is answered at once.

use crate::support::backend::Backend;
use crate::support::conn::{connect, send};
use crate::support::scrape::{get, watched_server};
use crate::support::{secs, within};
use std::time::Instant;

#[test]
fn a_crowd_that_does_not_ask_holds_up_nobody_who_does() {
    within(secs(60), || {
        let echo = Backend::echo();
        let (_server, metrics) = watched_server(echo.addr, "obfs=http");
        let crowd: Vec<_> = (0..150)
            .map(|number| {
                let stream = connect(metrics.0);
                if number % 2 == 0 {
                    send(&stream, b"GET /metrics HTTP/1.1\r\nHost: ");
                }
                stream
            })
            .collect();
        // Without it, those who are in the way would have 10 s each, 32 at a time: 40 s.
        let began = Instant::now();
        for path in ["/metrics", "/healthz", "/metrics"] {
            assert_eq!(get(metrics.0, path).status, "200", "{path}");
        }
        assert!(began.elapsed() < secs(9), "{:?}", began.elapsed());
        drop(crowd);
    });
}
