//! What several visits to a site and one to a server say about the server.

use super::compare::{Comparison, Difference, DifferenceKind, compare};
use super::http_answer::{self, Mask};
use super::http2::answer as http2_answer;
use super::seen::{End, Handshake, Seen};
use std::collections::BTreeSet;
use std::time::Duration;

/// A visit that was watched so much shorter says nothing about what comes later.
const SHORTER: Duration = Duration::from_secs(1);

/// What is to be said of a server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The site answers so, too.
    Same,
    /// As far as both were watched, but more came at the very end.
    Unclear,
    /// The site does not answer the same each time, in this.
    Unstable(Vec<DifferenceKind>),
    /// The site never answers so.
    Differs(Vec<Difference>),
    /// There was nothing to compare, for this reason: no connection to the site, or to either; no TLS with
    /// either, for what was to go inside.
    NotCompared(String),
}

impl ProbeResult {
    /// In what the server differs from the site.
    pub fn differences(&self) -> &[Difference] {
        match self {
            ProbeResult::Differs(differences) => differences,
            _ => &[],
        }
    }
}

/// Judges a server's answer by the site's: each that the site gave is right.
pub fn judge(of_site: &[Seen], server: &Seen) -> ProbeResult {
    if let Some(why) = nothing_to_compare(of_site, server) {
        return ProbeResult::NotCompared(why);
    }
    let mask = mask(of_site);
    let reached = |site: &&Seen| site.failure().is_none();
    let is_too_short = |site: &&Seen| site.end == End::Open && site.until + SHORTER < server.until;
    let mut comparable: Vec<_> = of_site.iter().filter(reached).filter(|site| !is_too_short(site)).collect();
    if comparable.is_empty() {
        comparable.extend(of_site.iter().filter(reached));
    }
    let compared: Vec<_> = comparable.iter().map(|site| compare(site, server, &mask)).collect();
    if compared.contains(&Comparison::default()) {
        return ProbeResult::Same;
    }
    if compared.iter().any(|comparison| comparison.differences.is_empty()) {
        return ProbeResult::Unclear;
    }
    let varying = varying(of_site, &mask);
    // The nearest, and of these the latest.
    let nearest = compared.into_iter().rev().min_by_key(|comparison| comparison.differences.len());
    let mut differences = nearest.map(|comparison| comparison.differences).unwrap_or_default();
    differences.retain(|difference| !varying.contains(&difference.kind));
    if differences.is_empty() {
        ProbeResult::Unstable(varying.into_iter().collect())
    } else {
        ProbeResult::Differs(differences)
    }
}

/// Why a probe has compared nothing, if it has not. What both ends do to a visitor is a likeness only where
/// there was a connection: a network that fails fails both.
fn nothing_to_compare(of_site: &[Seen], server: &Seen) -> Option<String> {
    let last = of_site.last().and_then(Seen::failure);
    if of_site.iter().all(|site| site.failure().is_some()) || (last.is_some() && server.failure().is_some()) {
        return last.map(|why| match server.failure() {
            Some(other) if other == why => format!("neither could be visited: {why}"),
            Some(other) => format!("neither could be visited: {why}; the server: {other}"),
            None => format!("the site could not be visited: {why}"),
        });
    }
    // What was to go inside TLS was not said to anybody.
    let outside = |seen: &Seen| match &seen.tls {
        Some(Handshake { is_subject: false, outcome: Err(why), .. }) => Some(why.clone()),
        _ => None,
    };
    let why = outside(server)?;
    of_site.iter().all(|site| outside(site).is_some()).then(|| format!("no TLS with either: {why}"))
}

/// The headers whose values the site varies.
fn mask(of_site: &[Seen]) -> Mask {
    let Some((first, others)) = of_site.split_first() else { return Mask::new() };
    if !http2_answer::is_http2(&first.bytes) {
        return others.iter().flat_map(|other| http_answer::varying(&first.bytes, &other.bytes)).collect();
    }
    let first = http2_answer::read(&first.bytes);
    others.iter().flat_map(|other| http2_answer::varying(&first, &http2_answer::read(&other.bytes))).collect()
}

/// In what the site differs from itself.
fn varying(of_site: &[Seen], mask: &Mask) -> BTreeSet<DifferenceKind> {
    let mut kinds = BTreeSet::new();
    for (at, one) in of_site.iter().enumerate() {
        for other in of_site.iter().skip(at + 1) {
            kinds.extend(compare(one, other, mask).differences.into_iter().map(|difference| difference.kind));
        }
    }
    kinds
}

/// The most rounds of visits: a difference is looked for again, since what does not repeat is an accident.
pub const ROUNDS: usize = 3;

/// What all rounds so far say together; `None` when there is to be another.
pub fn conclude(rounds: &[ProbeResult]) -> Option<ProbeResult> {
    if rounds.contains(&ProbeResult::Same) {
        return Some(ProbeResult::Same);
    }
    let (last, before) = rounds.split_last()?;
    let before: BTreeSet<_> =
        before.iter().flat_map(ProbeResult::differences).map(|difference| difference.kind).collect();
    let mut repeated = last.differences().to_vec();
    repeated.retain(|difference| before.contains(&difference.kind));
    let unstable = rounds.iter().rev().find(|verdict| matches!(verdict, ProbeResult::Unstable(_)));
    let is_last = rounds.len() >= ROUNDS;
    if !repeated.is_empty() {
        let for_good = repeated.iter().any(|difference| difference.for_good);
        return (for_good || is_last).then_some(ProbeResult::Differs(repeated));
    }
    match rounds {
        [.., ProbeResult::NotCompared(_), last @ ProbeResult::NotCompared(_)] => return Some(last.clone()),
        [.., last @ ProbeResult::NotCompared(_)] if is_last => return Some(last.clone()),
        _ => {}
    }
    match (rounds, unstable) {
        ([.., ProbeResult::Unstable(_), ProbeResult::Unstable(_)], Some(unstable)) => Some(unstable.clone()),
        (_, Some(unstable)) if is_last => Some(unstable.clone()),
        _ => is_last.then_some(ProbeResult::Same),
    }
}

/// For how long the next round is watched, where the first was for `watch`: another time, so that what
/// lay at its edge does not lie at the edge again; the same, where time would not help.
pub fn next_watch(rounds: &[ProbeResult], watch: Duration) -> Duration {
    match rounds {
        [.., last] if last.differences().iter().any(|difference| difference.for_good) => watch,
        [_] => watch * 2,
        _ => watch * 3 / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8], end: End, seconds: u64) -> Seen {
        let at = Duration::from_millis(5);
        let arrivals = if bytes.is_empty() { Vec::new() } else { vec![(at, bytes.len())] };
        Seen { bytes: bytes.to_vec(), arrivals, end, until: Duration::from_secs(seconds), ..Seen::failed("") }
    }

    fn page(body: &str, id: u32) -> Seen {
        seen(format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\n\r\n{body}").as_bytes(), End::Open, 3)
    }

    fn differs(kind: DifferenceKind, for_good: bool) -> ProbeResult {
        let text = String::new;
        ProbeResult::Differs(vec![Difference { kind, what: text(), site: text(), server: text(), for_good }])
    }

    #[test]
    fn a_value_that_the_site_varies_is_not_compared() {
        let site = [page("a", 1), page("a", 2)];
        assert_eq!(judge(&site, &page("a", 3)), ProbeResult::Same);
        assert!(matches!(judge(&site, &page("b", 3)), ProbeResult::Differs(_)));
        // One that the site does not vary is.
        assert!(matches!(judge(&[page("a", 1), page("a", 1)], &page("a", 3)), ProbeResult::Differs(_)));
    }

    #[test]
    fn a_site_that_varies_more_says_nothing_about_that() {
        let site = [page("a", 1), page("b", 2)];
        assert_eq!(judge(&site, &page("b", 9)), ProbeResult::Same, "the site answers so, too");
        assert_eq!(judge(&site, &page("c", 9)), ProbeResult::Unstable(vec![DifferenceKind::Answer]));
        // But about the rest.
        let closed = Seen { end: End::Reset, until: Duration::from_millis(10), ..page("c", 9) };
        let ProbeResult::Differs(found) = judge(&site, &closed) else { panic!("not found") };
        assert_eq!(found.iter().map(|d| d.kind).collect::<Vec<_>>(), [DifferenceKind::End]);
    }

    #[test]
    fn an_open_connection_is_compared_with_one_that_was_watched_as_long() {
        // The site closes after three seconds, which the first visit just did not see.
        let site = [seen(b"", End::Open, 3), seen(b"", End::Fin, 3)];
        assert!(matches!(judge(&site, &seen(b"", End::Open, 6)), ProbeResult::Differs(_)));
        assert_eq!(judge(&site, &seen(b"", End::Fin, 3)), ProbeResult::Same);
        assert_eq!(judge(&site[..1], &seen(b"", End::Fin, 3)), ProbeResult::Unclear);
    }

    #[test]
    fn only_what_repeats_is_told() {
        use ProbeResult::{Same, Unclear, Unstable};
        let (end, answer) = (differs(DifferenceKind::End, false), differs(DifferenceKind::Answer, true));
        let unstable = Unstable(vec![DifferenceKind::Answer]);
        let cases: [(&[ProbeResult], Option<ProbeResult>); 12] = [
            (&[Same], Some(Same)),
            (&[end.clone(), Unclear], None),
            (&[answer.clone(), Same], Some(Same)),
            (&[answer.clone(), answer.clone()], Some(answer.clone())),
            (&[end.clone(), end.clone()], None),
            (&[end.clone(), end.clone(), end.clone()], Some(end.clone())),
            (&[end.clone(), answer.clone()], None),
            (&[end.clone(), answer.clone(), unstable.clone()], Some(unstable.clone())),
            (&[end.clone(), answer.clone(), Unclear], Some(Same)),
            (&[unstable.clone(), answer.clone(), answer.clone()], Some(answer.clone())),
            (&[unstable.clone(), unstable.clone()], Some(unstable.clone())),
            (&[Unclear, Unclear, Unclear], Some(Same)),
        ];
        for (rounds, concluded) in cases {
            assert_eq!(conclude(rounds), concluded, "{rounds:?}");
        }
    }

    #[test]
    fn what_fails_at_both_is_no_likeness() {
        let failed = || Seen::failed("connection refused");
        let why = |site: &[Seen], server: &Seen| match judge(site, server) {
            ProbeResult::NotCompared(why) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(why(&[failed(), failed()], &failed()), "neither could be visited: connection refused");
        // They went away together.
        assert!(why(&[page("a", 1), failed()], &failed()).starts_with("neither"));
        // Without the site nobody knows what is right.
        let alone = why(&[failed(), failed()], &page("a", 1));
        assert_eq!(alone, "the site could not be visited: connection refused");
        // The site was there, and is compared.
        assert_eq!(judge(&[failed(), page("a", 1)], &page("a", 1)), ProbeResult::Same);
        assert!(matches!(judge(&[page("a", 1), page("a", 1)], &failed()), ProbeResult::Differs(_)));

        let no_tls = |is_subject| Seen {
            tls: Some(Handshake {
                is_subject,
                outcome: Err("alert ProtocolVersion".into()),
                flight: Vec::new(),
                tickets: 0,
                alert: None,
                close_notify: false,
            }),
            ..seen(b"", End::Fin, 0)
        };
        let inside = why(&[no_tls(false), no_tls(false)], &no_tls(false));
        assert_eq!(inside, "no TLS with either: alert ProtocolVersion");
        // Where the handshake is the question, this is an answer.
        assert_eq!(judge(&[no_tls(true), no_tls(true)], &no_tls(true)), ProbeResult::Same);
    }

    #[test]
    fn a_round_without_a_comparison_is_not_taken_for_a_likeness() {
        let nothing = ProbeResult::NotCompared("no network".into());
        let answer = differs(DifferenceKind::Answer, true);
        for (rounds, concluded) in [
            (&[nothing.clone()][..], None),
            (&[nothing.clone(), ProbeResult::Same], Some(ProbeResult::Same)),
            (&[nothing.clone(), nothing.clone()], Some(nothing.clone())),
            (&[answer.clone(), nothing.clone()], None),
            (&[answer, ProbeResult::Unclear, nothing.clone()], Some(nothing.clone())),
        ] {
            assert_eq!(conclude(rounds), concluded, "{rounds:?}");
        }
    }

    #[test]
    fn another_round_is_watched_for_another_time() {
        let watch = Duration::from_secs(4);
        assert_eq!(next_watch(&[differs(DifferenceKind::Answer, true)], watch), watch);
        assert_eq!(next_watch(&[ProbeResult::Unclear], watch), watch * 2);
        assert_eq!(
            next_watch(&[ProbeResult::Unclear, differs(DifferenceKind::End, false)], watch),
            watch * 3 / 2
        );
    }
}
