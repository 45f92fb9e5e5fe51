//! What shows which TLS library answers. It is reported and not counted as a difference: how it orders the extensions
//! of a ServerHello, how it cuts its first flight into records, how many session tickets it gives.

use super::http2::answer as http2_answer;
use super::seen::{Handshake, Seen};
use super::tls_answer::{self, Style, TlsAnswer};

/// The lengths of records may differ so much for signatures whose length varies.
const SAME_LENGTH: usize = 16;

/// Something that only shows the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub what: &'static str,
    pub site: String,
    pub server: String,
}

/// Where a server's TLS library differs from the site's in every visit to the site.
pub fn compare(of_site: &[Seen], server: &Seen) -> Vec<Note> {
    let mut all = of_site.iter().map(|site| notes(site, server));
    let mut first = all.next().unwrap_or_default();
    for others in all {
        first.retain(|note| others.iter().any(|other| other.what == note.what));
    }
    first.extend(of_quic(of_site, server));
    first
}

/// What the site shows each time over QUIC, and the server shows otherwise.
fn of_quic(of_site: &[Seen], server: &Seen) -> Vec<Note> {
    let find = |seen: &Seen, what: &str| {
        seen.style.iter().find(|(known, _)| *known == what).map(|(_, how)| how.clone())
    };
    let mut notes = Vec::new();
    for (what, how) in &server.style {
        let Some(site) = of_site.first().and_then(|first| find(first, what)) else { continue };
        if site != *how && of_site.iter().all(|other| find(other, what).as_ref() == Some(&site)) {
            notes.push(Note { what, site, server: how.clone() });
        }
    }
    notes
}

pub fn notes(site: &Seen, server: &Seen) -> Vec<Note> {
    let style = |seen: &Seen| match &seen.tls {
        Some(handshake) => tls_answer::read(&handshake.flight, &[], usize::MAX).style,
        None if tls_answer::is_tls(seen) => TlsAnswer::of(seen).style,
        None => Style::default(),
    };
    let (mut a, mut b) = (style(site), style(server));
    // Who speaks HTTP/2 speaks first, and may or may not be heard with the end of the handshake.
    if http2_answer::is_http2(&site.bytes) || http2_answer::is_http2(&server.bytes) {
        (a.encrypted, b.encrypted) = Default::default();
    }
    let mut notes = Vec::new();
    if let (Some(a), Some(b)) = (&a.extensions, &b.extensions) {
        if a != b {
            notes.push(Note { what: "the ServerHello's extensions", site: list(a), server: list(b) });
        }
    } else {
        // No handshake began, at one of them at least.
        return notes;
    }
    for (what, a, b) in [
        ("the lengths of the first flight's records in the clear", &a.clear, &b.clear),
        ("the lengths of the first flight's encrypted records", &a.encrypted, &b.encrypted),
    ] {
        let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= SAME_LENGTH);
        if !same {
            notes.push(Note { what, site: list(a), server: list(b) });
        }
    }
    if let (
        Some(Handshake { outcome: Ok(_), tickets: a, .. }),
        Some(Handshake { outcome: Ok(_), tickets: b, .. }),
    ) = (&site.tls, &server.tls)
        && a != b
    {
        notes.push(Note { what: "session tickets", site: a.to_string(), server: b.to_string() });
    }
    notes
}

fn list(numbers: &[impl ToString]) -> String {
    match numbers {
        [] => "none".to_owned(),
        numbers => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}
