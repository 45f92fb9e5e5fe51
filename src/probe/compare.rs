//! Whether two visitors saw the same: a pure comparison of what they saw.
//!
//! Not compared is what differs between two honest connections to one site: the time in `Date`, values
//! of headers that the site itself varies, and what is random in TLS. How a TLS library orders and cuts
//! its messages is reported apart, in [`super::tls_fingerprint`].

use super::http_answer::{self, Mask};
use super::http2::answer as http2_answer;
use super::seen::{Agreed, End, Handshake, Seen};
use super::tls_answer::{self, TlsAnswer};
use std::time::{Duration, SystemTime};

/// Times are compared in classes with these limits, in seconds…
const CLASSES: [u64; 3] = [1, 4, 15];

/// …and two times so close together are the same on both sides of a limit…
const SAME_TIME: Duration = Duration::from_millis(750);

/// …as are times that differ by less than this part of the longer.
const SAME_PART: u32 = 4;

/// What came so late that it might have come behind the end of the other's watch says nothing: in so much of it, but
/// not in its first quarter.
const EDGE: Duration = Duration::from_secs(1);

/// How much of an answer is shown where it begins to differ, in bytes.
const EXCERPT: usize = 60;

/// In what two visits can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Whether there was a connection.
    Connection,
    /// What a TLS handshake agreed on.
    Handshake,
    Answer,
    /// How the connection ended.
    End,
    /// When the answer or the end came.
    Time,
}

impl DifferenceKind {
    /// As it stands in reports.
    pub fn name(self) -> &'static str {
        match self {
            DifferenceKind::Connection => "connection",
            DifferenceKind::Handshake => "handshake",
            DifferenceKind::Answer => "answer",
            DifferenceKind::End => "end",
            DifferenceKind::Time => "time",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub kind: DifferenceKind,
    pub what: String,
    pub site: String,
    pub server: String,
    /// More time would not have made it go away.
    pub for_good: bool,
}

impl Difference {
    fn new(
        kind: DifferenceKind,
        what: impl Into<String>,
        site: impl Into<String>,
        server: impl Into<String>,
        for_good: bool,
    ) -> Self {
        Difference { kind, what: what.into(), site: site.into(), server: server.into(), for_good }
    }
}

/// How two visits compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub differences: Vec<Difference>,
    /// They are the same as far as both were watched, and one went on at the very end of that.
    pub at_the_edge: bool,
}

/// Compares a visit to the site with one to the server.
pub fn compare(site: &Seen, server: &Seen, mask: &Mask) -> Comparison {
    let mut found = Comparison::default();
    match (site.failure(), server.failure()) {
        (None, None) => {}
        (a, b) if a == b => return found,
        (a, b) => {
            let [a, b] = [a, b].map(|failure| failure.unwrap_or("there is one"));
            found.differences.push(Difference::new(
                DifferenceKind::Connection,
                "the connection",
                a,
                b,
                false,
            ));
            return found;
        }
    }
    if let (Some(site), Some(server)) = (&site.tls, &server.tls) {
        found.differences.extend(handshakes(site, server));
    }
    let late = is_cut_short(site, server, mask) || is_cut_short(server, site, mask);
    match answers(site, server, mask) {
        Some(_) if late => found.at_the_edge = true,
        Some(difference) => found.differences.push(difference),
        None => {}
    }
    let (a, b) = (ending(site), ending(server));
    if a != b {
        if late {
            found.at_the_edge = true;
        } else {
            found.differences.push(Difference::new(DifferenceKind::End, "the end", a, b, false));
        }
    }
    found.differences.extend(times(site, server));
    found
}

fn handshakes(site: &Handshake, server: &Handshake) -> Vec<Difference> {
    let agreed = |outcome: &Result<Agreed, String>| match outcome {
        Ok(agreed) => format!("agreed on {}", agreed.version),
        Err(why) => format!("failed: {why}"),
    };
    let (a, b) = match (&site.outcome, &server.outcome) {
        (Ok(_), Ok(_)) if !site.is_subject => return Vec::new(),
        (Ok(a), Ok(b)) => (a, b),
        (Err(a), Err(b)) if a == b => return Vec::new(),
        // One may only have been late.
        (a, b) => {
            return vec![Difference::new(
                DifferenceKind::Handshake,
                "the handshake",
                agreed(a),
                agreed(b),
                false,
            )];
        }
    };
    let leaf = |agreed: &Agreed| match agreed.certificates.first() {
        Some(certificate) => tls_answer::digest(certificate),
        None => "none".to_owned(),
    };
    let chain = |agreed: &Agreed| {
        let others: Vec<_> = agreed.certificates.iter().skip(1).map(|der| tls_answer::digest(der)).collect();
        if others.is_empty() { "none".to_owned() } else { others.join(" ") }
    };
    let alpn = |agreed: &Agreed| agreed.alpn.clone().unwrap_or_else(|| "none".to_owned());
    [
        ("TLS version", a.version.clone(), b.version.clone()),
        ("cipher suite", a.suite.clone(), b.suite.clone()),
        ("key exchange", a.group.clone(), b.group.clone()),
        ("ALPN", alpn(a), alpn(b)),
        ("certificate", leaf(a), leaf(b)),
        ("certificates behind the first", chain(a), chain(b)),
    ]
    .into_iter()
    .filter(|(_, a, b)| a != b)
    .map(|(what, a, b)| Difference::new(DifferenceKind::Handshake, what, a, b, true))
    .collect()
}

fn answers(site: &Seen, server: &Seen, mask: &Mask) -> Option<Difference> {
    if let (Some(a), Some(b)) = (&site.datagrams, &server.datagrams) {
        let texts =
            |told: &[(Duration, String)]| told.iter().map(|(_, what)| what.clone()).collect::<Vec<_>>();
        return parts(&texts(a), &texts(b));
    }
    if tls_answer::is_tls(site) && tls_answer::is_tls(server) {
        return parts(&TlsAnswer::of(site).items, &TlsAnswer::of(server).items);
    }
    if http2_answer::is_http2(site.visible()) && http2_answer::is_http2(server.visible()) {
        let [a, b] = [site, server].map(|seen| http2_answer::read(seen.visible()));
        return parts(&a.lines(mask), &b.lines(mask)).or_else(|| clocks(a.date(), b.date()));
    }
    let a = http_answer::without_varying(site.visible(), mask);
    let b = http_answer::without_varying(server.visible(), mask);
    if a == b {
        return clocks(http_answer::date(site.visible()), http_answer::date(server.visible()));
    }
    let at = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let what = if at == 0 { "the answer".to_owned() } else { format!("the answer, from byte {at}") };
    let for_good = at < a.len() && at < b.len();
    Some(Difference::new(DifferenceKind::Answer, what, excerpt(&a, at), excerpt(&b, at), for_good))
}

/// Two answers that have come in parts.
fn parts<Part: PartialEq + ToString>(a: &[Part], b: &[Part]) -> Option<Difference> {
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    if at == a.len() && at == b.len() {
        return None;
    }
    let show = |parts: &[Part]| parts.get(at).map_or("nothing".to_owned(), ToString::to_string);
    let what = if at == 0 { "the answer".to_owned() } else { format!("the answer, part {}", at + 1) };
    let for_good = at < a.len() && at < b.len();
    Some(Difference::new(DifferenceKind::Answer, what, show(a), show(b), for_good))
}

fn clocks(site: Option<SystemTime>, server: Option<SystemTime>) -> Option<Difference> {
    let apart = http_answer::apart(site?, server?)?;
    let server = format!("{} s apart from it", apart.as_secs());
    Some(Difference::new(DifferenceKind::Answer, "the time in Date", "the site's clock", server, true))
}

/// What stands at a place, with the start of its line.
fn excerpt(bytes: &[u8], at: usize) -> String {
    let line = bytes.get(..at).unwrap_or(bytes).iter().rposition(|&byte| byte == b'\n').map_or(0, |n| n + 1);
    let start = line.max(at.saturating_sub(EXCERPT / 2));
    let shown = bytes.get(start..).unwrap_or_default();
    match shown.get(..EXCERPT) {
        _ if shown.is_empty() => "nothing".to_owned(),
        Some(start) => format!("\"{}\"…", start.escape_ascii()),
        None => format!("\"{}\"", shown.escape_ascii()),
    }
}

/// Whether `other` would have looked like `open`, had it been watched no longer: what it did then came
/// when the watch over `open` was ending, or behind that.
fn is_cut_short(open: &Seen, other: &Seen, mask: &Mask) -> bool {
    if open.end != End::Open || open.tls.is_some() != other.tls.is_some() {
        return false;
    }
    let edge = open.until - EDGE.min(open.until * 3 / 4);
    if answers(open, other, mask).is_none() {
        return other.until >= edge;
    }
    answers(open, &other.until(edge), mask).is_none()
}

/// How it ended, in words.
pub fn ending(seen: &Seen) -> String {
    let end = match &seen.end {
        End::Unreachable(why) => why,
        End::Open if seen.datagrams.is_some() => "then silence",
        End::Fin => "closed (FIN)",
        End::Reset => "closed (RST)",
        End::Open => "stays open",
        End::Unread => "goes on",
        End::Left => "stays open, and is left",
        End::Failed(why) => why,
    };
    match &seen.tls {
        Some(Handshake { alert: Some(alert), .. }) => format!("{alert}, then {end}"),
        // Whether a reset follows depends on whether the visitor's own last words still meet a socket.
        Some(Handshake { outcome: Ok(_), close_notify: true, .. }) if seen.ended() => {
            "close_notify, then closed".to_owned()
        }
        Some(Handshake { outcome: Ok(_), close_notify: true, .. }) => format!("close_notify, then {end}"),
        Some(Handshake { outcome: Ok(_), .. }) if seen.ended() => format!("no close_notify, {end}"),
        _ => end.to_owned(),
    }
}

fn class(time: Duration) -> usize {
    CLASSES.iter().filter(|limit| time >= Duration::from_secs(**limit)).count()
}

fn same_time(a: Duration, b: Duration) -> bool {
    let apart = a.abs_diff(b);
    class(a) == class(b) || apart < SAME_TIME || apart < a.max(b) / SAME_PART
}

fn times(site: &Seen, server: &Seen) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |what: &str, a: Duration, b: Duration| {
        if !same_time(a, b) {
            let show = |time: Duration| format!("after {:.1} s", time.as_secs_f32());
            found.push(Difference::new(DifferenceKind::Time, what, show(a), show(b), false));
        }
    };
    if let (Some(a), Some(b)) = (site.first_byte(), server.first_byte()) {
        differ("the answer's first byte", a, b);
    }
    if site.ended() && server.ended() {
        differ("the end", site.until, server.until);
    }
    found
}

#[cfg(test)]
mod tests;
