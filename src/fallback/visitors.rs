//! Who the visitors are and where they went, counted, and told once in a while: each would be worth a line only to
//! somebody who looks for it.

use super::misses::Misses;
use super::proxy_headers::ProxyHeaders;
use crate::config::{Routes, UpstreamConfig, Website};
use crate::detect::{Missed, UpstreamId, VisitorProtocol};
use crate::metrics::{self, Open, VisitorClass};
use crate::net::conn_info::ConnInfo;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::info;

/// How often what visitors missed is told, if anything was.
const MISSES_EVERY: Duration = Duration::from_secs(60);

/// How often the visitors are told, if there were any, in such periods.
const VISITORS_EVERY: u32 = 60;

/// Each class, with what it is called.
const CLASSES: [(VisitorClass, &str); 6] = [
    (VisitorClass::Http, "HTTP"),
    (VisitorClass::Tls, "TLS"),
    (VisitorClass::H2, "HTTP/2"),
    (VisitorClass::Quic, "QUIC"),
    (VisitorClass::Silent, "silent"),
    (VisitorClass::Other, "other bytes"),
];

/// What a visitor is, by what the connection speaks, and its first bytes.
pub fn class(protocol: VisitorProtocol, bytes: &[u8]) -> VisitorClass {
    match (protocol, bytes) {
        (VisitorProtocol::H2, _) => VisitorClass::H2,
        (_, []) => VisitorClass::Silent,
        (VisitorProtocol::Tls, _) => VisitorClass::Tls,
        (VisitorProtocol::Plain, _) if bytes.starts_with(b"PRI * HTTP/2.0\r\n") => VisitorClass::H2,
        (VisitorProtocol::Plain, _) if begins_like_http(bytes) => VisitorClass::Http,
        (VisitorProtocol::Plain, _) => VisitorClass::Other,
    }
}

/// Whether bytes begin with a method, and a target behind it.
fn begins_like_http(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    (3..=16).contains(&method) && matches!(bytes.get(method..), Some([b' ', b'!'..=b'~', ..]))
}

/// A number that only grows.
#[derive(Debug, Default)]
struct Counter {
    all: AtomicUsize,
    told: AtomicUsize,
}

impl Counter {
    fn count(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have come since this was asked last.
    fn take_new(&self) -> usize {
        let all = self.all.load(Ordering::Relaxed);
        all.saturating_sub(self.told.swap(all, Ordering::Relaxed))
    }
}

/// All visitors that there were.
#[derive(Debug)]
pub struct Visitors {
    classes: [Counter; CLASSES.len()],
    /// By their place in the routing table.
    places: Vec<(String, metrics::Website, Counter)>,
    /// Those who speak QUIC, whose website is in no such table.
    quic: Counter,
    misses: Misses,
    proxy_headers: ProxyHeaders,
    /// When they were told last.
    told: Mutex<Instant>,
    /// There is something to tell.
    news: Notify,
    /// Whether a task tells it already: every thread asks for one.
    has_teller: AtomicBool,
}

impl Visitors {
    /// Of a server with these websites.
    pub fn new(routes: &Routes) -> Visitors {
        let place = |upstream: &UpstreamConfig| {
            let option = upstream.option;
            let (name, website) = match &upstream.website {
                Website::Port(address) => (format!("{option} {address}"), metrics::Website::of(option)),
                _ => ("a website of this program".to_owned(), metrics::Website::Own),
            };
            (name, website, Counter::default())
        };
        Visitors {
            classes: Default::default(),
            places: routes.upstreams.iter().map(place).collect(),
            quic: Counter::default(),
            misses: Misses::default(),
            proxy_headers: ProxyHeaders::default(),
            told: Mutex::new(Instant::now()),
            news: Notify::new(),
            has_teller: AtomicBool::new(false),
        }
    }

    /// Counts one who goes to this website, and is there until what is returned is dropped.
    pub fn count(&self, class: VisitorClass, site: UpstreamId) -> Open {
        self.count_class(class);
        let mut at = metrics::Website::Own;
        if let Some((_, website, counter)) = self.places.get(site.0) {
            counter.count();
            at = *website;
        }
        self.news.notify_one();
        metrics::visitor_came(class, at)
    }

    /// The same of one who goes to the website's HTTP/3.
    #[cfg(feature = "quic")]
    pub fn count_quic(&self) -> Open {
        self.count_class(VisitorClass::Quic);
        self.quic.count();
        self.news.notify_one();
        metrics::visitor_came(VisitorClass::Quic, metrics::Website::FailoverQuic)
    }

    fn count_class(&self, class: VisitorClass) {
        for (_, counter) in CLASSES.iter().zip(&self.classes).filter(|((counted, _), _)| *counted == class) {
            counter.count();
        }
    }

    /// Counts, and tells, what a visitor missed who looks like a client, and `asked` for this.
    pub fn count_missed(&self, missed: Missed, asked: &str, peer: &dyn Display) {
        self.misses.count(missed, asked, peer);
        self.news.notify_one();
    }

    /// Counts, and tells, a PROXY header that is not taken of this visitor; from others they may be `taken`.
    pub fn count_proxy_header(&self, peer: &ConnInfo, taken: bool) {
        self.proxy_headers.count(peer, taken);
        self.news.notify_one();
    }

    /// Tells what there is to tell once in a while, for as long as the process serves; of several calls, the first
    /// does.
    pub async fn tell_in_time(&self) {
        if self.has_teller.swap(true, Ordering::Relaxed) {
            return;
        }
        loop {
            self.news.notified().await;
            for _ in 0..VISITORS_EVERY {
                sleep(MISSES_EVERY).await;
                self.tell_misses();
            }
            self.tell();
        }
    }

    /// Tells what was not told yet: the process ends.
    pub fn tell_rest(&self) {
        self.tell_misses();
        self.tell();
    }

    fn tell_misses(&self) {
        self.misses.tell(MISSES_EVERY);
        self.proxy_headers.tell(MISSES_EVERY);
    }

    fn tell(&self) {
        let since = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, Instant::now())
        };
        let mut number = 0;
        let what = listed(CLASSES.iter().map(|(_, name)| *name).zip(&self.classes), &mut number);
        let places = self.places.iter().map(|(place, _, counter)| (place.as_str(), counter));
        let places = listed(places.chain([("failover-quic", &self.quic)]), &mut 0);
        if number > 0 {
            let seconds = since.elapsed().as_secs().max(1);
            let time =
                if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) };
            let visitors = if number == 1 { "visitor" } else { "visitors" };
            info!("{number} {visitors} in the last {time}: {what}; where they went: {places}");
        }
    }
}

/// Those that have grown, each with by how much, and all together.
fn listed<'a>(counters: impl Iterator<Item = (&'a str, &'a Counter)>, all: &mut usize) -> String {
    let mut list = String::new();
    for (name, counter) in counters {
        let new = counter.take_new();
        if new > 0 {
            *all += new;
            let separator = if list.is_empty() { "" } else { ", " };
            // (writing to a string does not fail)
            let _ = write!(list, "{separator}{name} {new}");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Failover;
    use crate::wire::http::UpgradeMiss;
    use std::sync::Arc;

    #[test]
    fn visitors_are_told_apart_by_their_first_bytes() {
        let plain = VisitorProtocol::Plain;
        for (protocol, bytes, wanted) in [
            (plain, &b"GET / HTTP/1.1\r\n"[..], VisitorClass::Http),
            (plain, b"M-SEARCH * HTTP/1.1\r\n", VisitorClass::Http),
            (plain, b"CONNECT example.com:443", VisitorClass::Http),
            (plain, b"", VisitorClass::Silent),
            (VisitorProtocol::Tls, b"", VisitorClass::Silent),
            (VisitorProtocol::Tls, b"\x16\x03\x01", VisitorClass::Tls),
            (VisitorProtocol::H2, b"PRI", VisitorClass::H2),
            (plain, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VisitorClass::H2),
            (plain, b"SSH-2.0-x", VisitorClass::Other),
            (plain, b"GET", VisitorClass::Other),
            (plain, b"\x05\x01\x00", VisitorClass::Other),
        ] {
            assert_eq!(class(protocol, bytes), wanted, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let (one, other) = (Counter::default(), Counter::default());
        let told = |number: &mut usize| listed([("a", &one), ("b", &other)].into_iter(), number);
        let mut number = 0;
        assert_eq!((told(&mut number), number), (String::new(), 0));
        one.count();
        one.count();
        other.count();
        assert_eq!((told(&mut number), number), ("a 2, b 1".to_owned(), 3));
        other.count();
        assert_eq!(told(&mut 0), "b 1");
    }

    /// What is logged on this thread.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn start(&self) -> tracing::subscriber::DefaultGuard {
            let writer = self.clone();
            let log = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
            tracing::subscriber::set_default(log.with_writer(move || writer.clone()).finish())
        }

        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            text.lines().map(|line| line.trim_start().to_owned()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_proxy_header_is_told_at_once_and_the_others_once_a_minute_with_the_last_address() {
        let lines = Lines::default();
        let _log = lines.start();
        let visitors = Arc::new(Visitors::new(&Routes::new(&Failover::default(), &[], false, false)));
        let teller = Arc::clone(&visitors);
        let teller = tokio::spawn(async move { teller.tell_in_time().await });
        let from = |address: &str, taken| {
            visitors.count_proxy_header(&ConnInfo::new(address.parse().unwrap()), taken);
        };
        let after = async |seconds: u64| sleep(Duration::from_secs(seconds)).await;
        after(1).await;
        from("[::ffff:192.0.2.1]:5", true);
        let first = "WARN a PROXY header came from 192.0.2.1, which the option `trusted` does not name peer=192.0.2.1:5";
        assert_eq!(lines.take(), [first]);
        from("192.0.2.1:6", true);
        from("[2001:db8::7]:6", true);
        assert!(lines.take().is_empty());
        after(61).await;
        let more = "WARN 2 more PROXY headers that are not taken came within 60 s, the last from 2001:db8::7";
        assert_eq!(lines.take(), [more]);
        from("192.0.2.1:7", true);
        assert!(lines.take().is_empty());
        after(60).await;
        assert_eq!(
            lines.take(),
            ["WARN 1 more PROXY header that is not taken came within 60 s, from 192.0.2.1"]
        );
        after(60).await;
        assert!(lines.take().is_empty(), "nothing came");
        from("[2001:db8::7]:6", false);
        let none = "WARN a PROXY header came from 2001:db8::7, and this server takes none: `proxy-protocol=in` with \
                    `trusted=2001:db8::7` takes it peer=[2001:db8::7]:6";
        assert_eq!(lines.take(), [none], "a minute without one is over");
        from("192.0.2.1:8", false);
        visitors.tell_rest();
        assert_eq!(
            lines.take(),
            ["WARN 1 more PROXY header that is not taken came within 60 s, from 192.0.2.1"]
        );
        teller.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_miss_is_told_at_once_and_the_others_once_a_minute() {
        let lines = Lines::default();
        let _log = lines.start();
        let visitors = Arc::new(Visitors::new(&Routes::new(&Failover::default(), &[], false, false)));
        let teller = Arc::clone(&visitors);
        let teller = tokio::spawn(async move { teller.tell_in_time().await });
        let miss = || visitors.count_missed(Missed::Upgrade(UpgradeMiss::Path), "a secret", &"peer");
        let after = async |seconds: u64| sleep(Duration::from_secs(seconds)).await;
        after(1).await;
        miss();
        let first = "INFO an upgrade request missed the path (option `path` or `obfs-uri`); it met the website peer=peer";
        assert_eq!(lines.take(), [first]);
        miss();
        miss();
        assert!(lines.take().is_empty());
        after(61).await;
        let more = "INFO 2 more upgrade requests missed the path (option `path` or `obfs-uri`) within 60 s; they met the website";
        assert_eq!(lines.take(), [more]);
        after(120).await;
        assert!(lines.take().is_empty());
        let _ = visitors.count(VisitorClass::Other, UpstreamId(0));
        miss();
        assert_eq!(lines.take(), [first], "a minute without one is over");
        after(3600).await;
        let visitor =
            "INFO 1 visitor in the last 61 min: other bytes 1; where they went: a website of this program 1";
        assert_eq!(lines.take(), [visitor]);
        after(7200).await;
        assert!(lines.take().is_empty(), "nobody came");
        teller.abort();
    }
}
