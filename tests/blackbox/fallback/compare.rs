//! Plays a probe against the website and against the server port, and compares what came back.

use crate::support::conn::{self, End, recv_to_end};
use crate::support::{digest, millis, secs};
use std::io::{BufRead as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What a visitor does, one thing after the other.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// A silence that belongs to the probe: a slow visitor is one of the things to look like.
    Pause(u64),
    Fin,
}

/// A visitor, and a name for it.
#[derive(Debug, Clone)]
pub struct Probe {
    pub name: String,
    pub steps: Vec<Step>,
}

/// What a visitor sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// All bytes, with the time in `Date` and the numbers of boundaries taken out.
    pub bytes: Vec<u8>,
    pub end: End,
}

/// The visitor's patience, far more than the site's time-outs and the head time-out together.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much later than from the site itself the end may come. The pauses in the list of probes
/// and the site's time-outs differ by less than the head time-out of 10 s, which is what would show.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Plays it: writes and reads at the same time, until the other side ends the connection.
pub fn play(addr: SocketAddr, probe: &Probe) -> (Seen, Duration) {
    play_for(PATIENCE, addr, probe)
}

/// The same for visitors with more patience.
pub fn play_for(patience: Duration, addr: SocketAddr, probe: &Probe) -> (Seen, Duration) {
    let started = Instant::now();
    let stream = TcpStream::connect_timeout(&addr, secs(10)).expect("connect to the site or the port");
    conn::prepare(&stream);
    let (bytes, end) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in &probe.steps {
                match step {
                    // An answer may come, and the connection end, before all is said.
                    Step::Send(bytes) => {
                        if (&stream).write_all(bytes).is_err() {
                            return;
                        }
                    }
                    Step::Pause(ms) => std::thread::sleep(millis(*ms)),
                    Step::Fin => conn::fin(&stream),
                }
            }
        });
        recv_to_end(&stream, patience)
    });
    (Seen { bytes: without_boundaries(without_dates(bytes)), end }, started.elapsed())
}

/// Where the lines begin. Bodies are up to 20 MB, and these tests are not optimised: the search is std's.
fn line_starts(bytes: &[u8]) -> Vec<usize> {
    let mut rest = bytes;
    let mut starts = vec![0];
    while rest.skip_until(b'\n').is_ok_and(|skipped| skipped > 0) {
        starts.push(bytes.len() - rest.len());
    }
    starts
}

/// Puts a fixed text for the time in each `Date`, where it has the length it must have.
fn without_dates(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = bytes;
    let name = b"Date: ";
    for start in line_starts(&out) {
        let value = start + name.len();
        let end = value + "Sun, 06 Nov 1994 08:49:37 GMT".len();
        if out[start..].starts_with(name) && out.get(end..end + 2) == Some(b"\r\n") {
            out[value..end].fill(b'*');
        }
    }
    out
}

/// Puts a fixed text for the number, of twenty digits, with which a server tells parts of a page apart.
fn without_boundaries(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = bytes;
    let name = b"Content-Type: multipart/byteranges; boundary=";
    let starts = line_starts(&out);
    let Some(found) = starts.into_iter().find(|start| out[*start..].starts_with(name)) else { return out };
    let start = found + name.len();
    let Some(number) = out.get(start..start + 20).map(<[u8]>::to_vec) else { return out };
    if number.iter().all(u8::is_ascii_digit) {
        let mut at = 0;
        while let Some(found) = out[at..].windows(20).position(|w| w == number) {
            out[at + found..at + found + 20].fill(b'*');
            at += found + 20;
        }
    }
    out
}

/// Plays all probes against both and tells the differences, one line each.
///
/// Where the site itself does not always answer the same (a reset may overtake an answer), every
/// answer that it gave is right. A difference counts when it is there each time: one end may be late by
/// accident, on a machine that does much else.
pub fn differences(site: SocketAddr, port: SocketAddr, probes: &[Probe]) -> Vec<String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            probes.iter().map(|probe| scope.spawn(move || difference(site, port, probe))).collect();
        threads.into_iter().filter_map(|t| t.join().expect("a probe")).collect()
    })
}

fn difference(site: SocketAddr, port: SocketAddr, probe: &Probe) -> Option<String> {
    let mut of_site = Vec::new();
    let mut found = None;
    for _ in 0..3 {
        let (direct, direct_took) = play(site, probe);
        assert_ne!(direct.end, End::Open, "{}: the site itself never ends this", probe.name);
        let direct_shown = show(&direct);
        of_site.push(direct);
        let (seen, took) = play(port, probe);
        let is_alike = of_site.contains(&seen);
        if is_alike && took <= direct_took + TOLERANCE {
            return None;
        }
        found = Some(if is_alike {
            format!("{}: ended after {took:.1?}, the site's own after {direct_took:.1?}", probe.name)
        } else {
            format!("{}:\n    site: {direct_shown}\n    port: {}", probe.name, show(&seen))
        });
    }
    found
}

fn show(seen: &Seen) -> String {
    let start = String::from_utf8_lossy(&seen.bytes[..seen.bytes.len().min(90)]).into_owned();
    format!("{:?}, {} bytes, sha1 {}, {start:?}", seen.end, seen.bytes.len(), &digest(&seen.bytes)[..8])
}
