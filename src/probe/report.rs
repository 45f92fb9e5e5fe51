//! What was found, for people and for programs.

use super::compare::{self, Difference, DifferenceKind};
use super::http_answer;
use super::http2::answer as http2_answer;
use super::judge::ProbeResult;
use super::probes::{self, Speech};
use super::seen::{Handshake, Seen};
use super::tls_answer::{self, TlsAnswer};
use super::tls_fingerprint::Note;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// How much of an answer is shown, in bytes.
const START: usize = 60;

/// How many parts of an answer over UDP are shown, and how many characters of each.
const PARTS: usize = 20;
const PART: usize = 80;

/// Two things shorter than this together stand on one line.
const ONE_LINE: usize = 70;

#[derive(Debug, Clone)]
pub struct Report {
    pub server: String,
    pub site: String,
    /// What was spoken.
    pub speech: Speech,
    /// Nobody listens at the site's port.
    pub is_nobody: bool,
    /// What makes the run repeatable.
    pub seed: u64,
    /// What came of the probes, in their order.
    pub examined: Vec<Examined>,
    /// Why the run as a whole shows nothing, if it does not.
    pub moot: Vec<String>,
}

/// What a visitor saw, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What came: the first line, or all of it where that is short to tell.
    pub headline: String,
    /// The same with its length.
    pub answer: String,
    /// What came over UDP, part by part and in full.
    pub parts: Option<Vec<String>>,
    pub end: String,
    pub bytes: usize,
    /// When the first did, in milliseconds.
    pub first_byte: Option<u128>,
    /// When it ended, or until when it was watched, in milliseconds.
    pub until: u128,
    /// An upgrade was granted.
    pub upgraded: bool,
    /// The answer is that of a program that speaks gRPC.
    pub is_grpc: bool,
}

/// How the answer begins that grants an upgrade.
const GRANTED: &[u8] = b"HTTP/1.1 101 ";

impl Summary {
    pub fn of(seen: &Seen) -> Summary {
        let (headline, length) = answer(seen);
        Summary {
            answer: format!("{headline}{length}"),
            headline,
            parts: seen.datagrams.as_ref().map(|told| told.iter().map(|(_, what)| what.clone()).collect()),
            end: compare::ending(seen),
            bytes: seen.bytes.len(),
            first_byte: seen.first_byte().map(|time| time.as_millis()),
            until: seen.until.as_millis(),
            // It may stand behind the answers to earlier requests.
            upgraded: seen.bytes.windows(GRANTED.len()).any(|window| window == GRANTED),
            is_grpc: http2_answer::is_http2(&seen.bytes) && http2_answer::read(&seen.bytes).is_grpc(),
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "answer": self.answer,
            "bytes": self.bytes,
            "end": self.end,
            "first_byte_ms": self.first_byte.map(|time| time as u64),
            "until_ms": self.until as u64,
        });
        if let (Value::Object(map), Some(parts)) = (&mut value, &self.parts) {
            map.insert("parts".into(), parts.as_slice().into());
        }
        value
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.answer, self.end)
    }
}

/// What came in one line, and how much that was where the line does not tell.
fn answer(seen: &Seen) -> (String, String) {
    let bytes = &seen.bytes;
    if let Some(told) = &seen.datagrams {
        return (in_short(told), String::new());
    }
    match &seen.tls {
        Some(Handshake { outcome: Err(why), .. }) => {
            return (format!("no TLS handshake: {why}"), String::new());
        }
        Some(Handshake { outcome: Ok(agreed), is_subject: true, .. }) if bytes.is_empty() => {
            let alpn = agreed.alpn.as_deref().unwrap_or("no ALPN");
            let text = format!("{} {} {} {alpn}", agreed.version, agreed.suite, agreed.group);
            return (text, String::new());
        }
        None if tls_answer::is_tls(seen) => {
            return (TlsAnswer::of(seen).to_string(), String::new());
        }
        _ => {}
    }
    if http2_answer::is_http2(bytes) {
        return (http2_answer::read(bytes).headline(), String::new());
    }
    let length = format!(", {} bytes", bytes.len());
    match http_answer::status(bytes) {
        Some((line, count)) => {
            let line = line.get(..START).unwrap_or(line).escape_ascii();
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            (format!("{line}{more}"), length)
        }
        None if bytes.is_empty() => ("nothing".to_owned(), String::new()),
        None => {
            let start = bytes.get(..START).unwrap_or(bytes).escape_ascii();
            (format!("\"{start}\"{}", if bytes.len() > START { "…" } else { "" }), length)
        }
    }
}

/// What came over UDP, each part in short: transport parameters have long lines.
fn in_short(told: &[(Duration, String)]) -> String {
    let mut parts: Vec<_> = told
        .iter()
        .take(PARTS)
        .map(|(_, what)| match what.char_indices().nth(PART) {
            Some((end, _)) => format!("{}…", what.get(..end).unwrap_or_default()),
            None => what.clone(),
        })
        .collect();
    match told.len().saturating_sub(PARTS) {
        0 if told.is_empty() => parts.push("nothing".to_owned()),
        0 => {}
        more => parts.push(format!("and {more} more")),
    }
    parts.join("; ")
}

/// What came of a probe.
#[derive(Debug, Clone)]
pub struct Examined {
    pub name: String,
    /// What is said of it; `None` if there was no time.
    pub verdict: Option<ProbeResult>,
    /// What the visitors saw of the site and of the server.
    pub seen: Option<(Summary, Summary)>,
    /// What it told of the TLS libraries.
    pub notes: Vec<Note>,
}

impl Examined {
    fn status(&self) -> &'static str {
        match &self.verdict {
            Some(ProbeResult::Same | ProbeResult::Unclear) => "same",
            Some(ProbeResult::Differs(_)) => "differs",
            Some(ProbeResult::Unstable(_)) => "unstable",
            Some(ProbeResult::NotCompared(_)) => "not compared",
            None => "unfinished",
        }
    }

    /// The server granted an upgrade that the site does not.
    fn let_in(&self) -> bool {
        self.seen.as_ref().is_some_and(|(site, server)| server.upgraded && !site.upgraded)
    }

    /// The server answers as gRPC does, and the site does not.
    fn speaks_grpc(&self) -> bool {
        self.seen.as_ref().is_some_and(|(site, server)| server.is_grpc && !site.is_grpc)
    }

    /// The server makes a handshake over QUIC that only a client of a tunnel asks for, and the site does not.
    fn takes_v2ray(&self) -> bool {
        let granted = |summary: &Summary| summary.parts.iter().flatten().any(|part| part == probes::GRANTED);
        self.name == probes::OF_V2RAY
            && self.seen.as_ref().is_some_and(|(site, server)| granted(server) && !granted(site))
    }

    /// The two lines that tell what came show this difference.
    fn is_told(&self, difference: &Difference) -> bool {
        let Some((site, server)) = &self.seen else { return false };
        match difference.kind {
            DifferenceKind::Answer => site.headline != server.headline,
            DifferenceKind::End => site.end != server.end,
            DifferenceKind::Connection | DifferenceKind::Handshake | DifferenceKind::Time => false,
        }
    }

    /// What is to be told of it, without its name.
    fn text(&self) -> String {
        let mut out = String::new();
        match &self.verdict {
            Some(ProbeResult::Differs(differences)) => {
                if let Some((site, server)) = &self.seen {
                    let _ = writeln!(out, "      site    {site}\n      server  {server}");
                }
                for Difference { what, site, server, .. } in differences.iter().filter(|d| !self.is_told(d)) {
                    let _ = if site.len() + server.len() < ONE_LINE {
                        writeln!(out, "      {what}: {site} | {server}")
                    } else {
                        writeln!(out, "      {what}:\n          {site}\n          {server}")
                    };
                }
            }
            Some(ProbeResult::Unstable(kinds)) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                let _ = writeln!(out, "      the site itself varies: {}", kinds.join(", "));
            }
            Some(ProbeResult::NotCompared(why)) => {
                let _ = writeln!(out, "      {why}");
            }
            Some(ProbeResult::Same | ProbeResult::Unclear) => {
                if let Some((site, _)) = &self.seen {
                    let _ = writeln!(out, "      both    {site}");
                }
            }
            None => {}
        }
        out
    }

    fn json(&self) -> Value {
        let differences = self.verdict.as_ref().map(ProbeResult::differences).unwrap_or_default();
        let differences: Vec<_> = differences
            .iter()
            .map(|Difference { kind, what, site, server, .. }| {
                json!({ "kind": kind.name(), "what": what, "site": site, "server": server })
            })
            .collect();
        let mut value = json!({ "name": self.name, "status": self.status(), "differences": differences });
        if let (Value::Object(map), Some(ProbeResult::NotCompared(why))) = (&mut value, &self.verdict) {
            map.insert("why".into(), why.as_str().into());
        }
        if let (Value::Object(map), Some((site, server))) = (&mut value, &self.seen) {
            map.insert("site".into(), site.json());
            map.insert("server".into(), server.json());
            map.insert("upgrade_granted".into(), self.let_in().into());
            map.insert("grpc".into(), self.speaks_grpc().into());
        }
        value
    }
}

impl Report {
    /// How many probes have this [status](Examined::status).
    pub fn count(&self, status: &str) -> usize {
        self.examined.iter().filter(|examined| examined.status() == status).count()
    }

    /// Each note once, with the number of probes that it comes from. The lengths of records vary a little
    /// from one connection to the next: of each kind of note the first is kept.
    fn notes(&self) -> Vec<(&Note, usize)> {
        let mut notes: Vec<(&Note, usize)> = Vec::new();
        for note in self.examined.iter().flat_map(|examined| &examined.notes) {
            match notes.iter_mut().find(|(known, _)| known.what == note.what) {
                Some((_, count)) => *count += 1,
                None => notes.push((note, 1)),
            }
        }
        notes
    }

    /// For people: what differs, and a line that sums it up. With `verbose` all probes.
    pub fn text(&self, verbose: bool) -> String {
        let mut out = String::new();
        let over = match self.speech {
            Speech::Http => "",
            Speech::Tls => " over TLS",
            Speech::Quic => " over QUIC",
        };
        let Report { server, site, seed, .. } = self;
        let nobody = if self.is_nobody { ", where nobody listens," } else { "" };
        let _ = writeln!(
            out,
            "obfs-rs {} probe: server {server} and site {site}{nobody}{over}, seed {seed}",
            env!("CARGO_PKG_VERSION")
        );
        let mut section = |title: &str, status: &str| {
            // Probes of which the same is to be told stand together.
            let mut told: Vec<(String, Vec<&str>)> = Vec::new();
            for examined in self.examined.iter().filter(|examined| examined.status() == status) {
                let text = examined.text();
                match told.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, names)) => names.push(&examined.name),
                    None => told.push((text, vec![&examined.name])),
                }
            }
            if !told.is_empty() {
                let _ = writeln!(out, "\n{title}");
            }
            for (text, names) in told {
                for name in names {
                    let _ = writeln!(out, "  {name}");
                }
                out.push_str(&text);
            }
        };
        if verbose {
            section("The same:", "same");
        }
        section("Not finished in time:", "unfinished");
        section("Not compared:", "unstable");
        section("Nothing to compare:", "not compared");
        section("Different:", "differs");
        let let_in = self.examined.iter().filter(|examined| examined.let_in()).count();
        if let_in > 0 {
            let _ = writeln!(
                out,
                "\n{let_in} probes were granted an upgrade which the site refuses. Whoever asks finds the tunnel:\n\
                 give the server a path that nobody guesses (obfs-uri=/… or path=/…), and its clients the same."
            );
        }
        let speak_grpc = self.examined.iter().filter(|examined| examined.speaks_grpc()).count();
        if speak_grpc > 0 {
            let _ = writeln!(
                out,
                "\n{speak_grpc} probes were answered by gRPC, which the site does not speak. Whoever asks sees that it \
                 is there."
            );
        }
        if self.is_nobody && self.count("differs") > 0 {
            out.push_str(self.of_a_port_that_is_open());
        } else if self.examined.iter().any(Examined::takes_v2ray) {
            out.push_str(
                "\nThe server takes what v2ray-plugin's clients offer over QUIC for this name, which the site refuses. \
                 Whoever asks\nfinds it: clients that have a name of their own, which nobody guesses, are not found so.\n",
            );
        }
        let notes = self.notes();
        if !notes.is_empty() {
            let _ = writeln!(out, "\nNotes, not counted: the handshake is another library's.");
            for (Note { what, site, server }, probes) in &notes {
                let _ = writeln!(out, "  {what}: site {site} | server {server} (from {probes})");
            }
        }
        for why in &self.moot {
            let _ = writeln!(out, "\nThis run shows nothing: {why}.");
        }
        let _ = write!(out, "\n{} probes, {} differ", self.examined.len(), self.count("differs"));
        for (count, what) in [
            (self.count("unstable"), "not compared since the site itself varies"),
            (self.count("not compared"), "found nothing to compare"),
            (self.count("unfinished"), "not finished"),
            (notes.len(), "notes"),
        ] {
            if count > 0 {
                let _ = write!(out, ", {count} {what}");
            }
        }
        out.push('\n');
        out
    }

    /// What it means that a port is not closed.
    fn of_a_port_that_is_open(&self) -> &'static str {
        let differing = self.examined.iter().filter(|examined| examined.status() == "differs");
        if differing.clone().all(|examined| examined.name == probes::PORT) {
            "\nSomething listens at the server's UDP port, and answers none of the probes: a closed port would say so \
             (ICMP port\nunreachable). Who looks sees a service that does not want to be seen. Where the website has \
             HTTP/3, failover-quic=…\nhides it, and this program compares with it (--site).\n"
        } else {
            "\nThe server answers over UDP, and was compared with a port at which nobody listens. Where the website \
             has HTTP/3,\nits address belongs behind --site; where it has none, whoever asks sees that the server is \
             another one.\n"
        }
    }

    /// For programs: one JSON object.
    pub fn json(&self) -> String {
        let notes: Vec<_> = self
            .notes()
            .into_iter()
            .map(|(Note { what, site, server }, probes)| {
                json!({ "what": what, "site": site, "server": server, "probes": probes })
            })
            .collect();
        let value = json!({
            "server": self.server,
            "site": self.site,
            "tls": self.speech == Speech::Tls,
            "quic": self.speech == Speech::Quic,
            "nobody_at_site": self.is_nobody,
            "seed": self.seed,
            "counts": {
                "probes": self.examined.len(),
                "same": self.count("same"),
                "differ": self.count("differs"),
                "unstable": self.count("unstable"),
                "not_compared": self.count("not compared"),
                "unfinished": self.count("unfinished"),
                "notes": notes.len(),
            },
            "notes": notes,
            "moot": self.moot,
            "probes": self.examined.iter().map(Examined::json).collect::<Vec<_>>(),
        });
        let mut text = value.to_string();
        text.push('\n');
        text
    }
}
