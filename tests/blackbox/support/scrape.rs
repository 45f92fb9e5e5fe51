//! Metrics as Prometheus asks for them.

use super::conn::{connect, recv_to_end, send};
use super::plugin::{Ours, Plugin, client, server};
use super::ports::free_port;
use super::{STEP, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What was answered to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn of(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// Asks for a path.
#[track_caller]
pub fn get(addr: SocketAddr, path: &str) -> Answer {
    request(addr, &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"))
}

#[track_caller]
pub fn request(addr: SocketAddr, request: &str) -> Answer {
    let stream = connect(addr);
    send(&stream, request.as_bytes());
    Answer::of(&recv_to_end(&stream, STEP).0)
}

/// Where a half tells its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Metrics(pub SocketAddr);

impl Metrics {
    /// The numbers now, by their series.
    #[track_caller]
    pub fn now(self) -> Numbers {
        let answer = get(self.0, "/metrics");
        assert_eq!(answer.status, "200", "{answer:?}");
        Numbers::of(&answer.body)
    }

    /// Waits until a series has this value.
    #[track_caller]
    pub fn wait(self, series: &str, wanted: f64) {
        let mut found = 0.0;
        let there = eventually(STEP, || {
            found = self.now().get(series);
            found == wanted
        });
        assert!(there, "{series} is {found}, not {wanted}");
    }
}

/// A scrape.
#[derive(Debug)]
pub struct Numbers {
    series: BTreeMap<String, f64>,
    /// The names, without labels.
    pub names: BTreeSet<String>,
}

impl Numbers {
    pub fn of(text: &str) -> Numbers {
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let names = names.map(str::to_owned).collect();
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').expect(line);
            (series.to_owned(), value.parse().expect(line))
        });
        Numbers { series: series.collect(), names }
    }

    /// The value of `obfs_rs_SERIES`.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        let found = self.series.get(&format!("obfs_rs_{series}")).or_else(|| self.series.get(series));
        *found.unwrap_or_else(|| panic!("no {series} in {self:?}"))
    }

    /// All series of a metric together.
    pub fn sum(&self, name: &str) -> f64 {
        let start = format!("obfs_rs_{name}{{");
        self.series.iter().filter(|(series, _)| series.starts_with(&start)).map(|(_, value)| value).sum()
    }
}

fn watched(start: impl FnOnce(&str) -> Plugin) -> (Plugin, Metrics) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (start(&format!("metrics={addr}")), Metrics(addr))
}

/// A server half with metrics.
#[track_caller]
pub fn watched_server(backend: SocketAddr, options: &str) -> (Plugin, Metrics) {
    watched(|metrics| server(Ours, backend, &format!("{options};{metrics}")))
}

/// A client half with metrics.
#[track_caller]
pub fn watched_client(remote: SocketAddr, options: &str) -> (Plugin, Metrics) {
    watched(|metrics| client(Ours, remote, &format!("{options};{metrics}")))
}
