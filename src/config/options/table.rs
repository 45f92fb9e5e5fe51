//! The table itself, a file for each heading of `--help`.

mod addresses;
mod compatibility;
mod disguise;
mod fronts;
mod process;
mod tls;
mod tuning;
mod website;

use crate::config::role::Role;
use std::fmt;

/// What stands behind an option's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, or a truth value (`fast-open`, `fast-open=1`, `fast-open=false`).
    Flag,
    /// Nothing, a truth value, or this word.
    FlagOr(&'static str),
    /// A value; the text is its name in `--help`.
    Value(&'static str),
    /// A value, and the option may be given several times.
    Values(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// The name in messages and in `--help`.
    pub name: &'static str,
    /// Other spellings in the wild.
    pub aliases: &'static [&'static str],
    /// The letter on the command line (and, as simple-obfs has it, a plugin option of one letter).
    pub short: Option<char>,
    /// With or without a value.
    pub kind: Kind,
    /// The half that it speaks to, if not to both. The other takes it silently: hosts and users hand the
    /// same string to both.
    pub half: Option<Role>,
    /// What `--help` and the manual say: meaning, unit, default. Of what differs between the halves, the client's part
    /// stands behind `Client: `, and the server's behind that, after `Server: `.
    pub help: &'static str,
    /// Under which heading.
    pub group: Group,
}

/// The headings of `--help`, by what one wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Who connects to whom.
    Addresses,
    /// What the connections look like.
    Disguise,
    /// TLS and QUIC.
    Tls,
    /// The website behind the server.
    Website,
    /// Proxies in front of the server.
    Fronts,
    /// Limits, timeouts and sockets.
    Tuning,
    /// The process and its log.
    Process,
    /// What is there for other programs' configurations.
    Compatibility,
}

impl Group {
    /// The heading.
    pub const fn heading(self) -> &'static str {
        match self {
            Group::Addresses => "Addresses",
            Group::Disguise => "Disguise",
            Group::Tls => "TLS and QUIC",
            Group::Website => "Website",
            Group::Fronts => "Proxies in front",
            Group::Tuning => "Tuning",
            Group::Process => "Process and log",
            Group::Compatibility => "Compatibility",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.heading())
    }
}

const BOTH: Option<Role> = None;
const CLIENT: Option<Role> = Some(Role::Client);
const SERVER: Option<Role> = Some(Role::Server);

const fn option(name: &'static str, kind: Kind, half: Option<Role>, help: &'static str) -> OptionSpec {
    OptionSpec { name, aliases: &[], short: None, kind, half, help, group: Group::Compatibility }
}

/// The headings in the order in which `--help` shows them, and what stands under each.
const GROUPS: [(Group, &[OptionSpec]); 8] = [
    (Group::Addresses, addresses::OPTIONS),
    (Group::Disguise, disguise::OPTIONS),
    (Group::Tls, tls::OPTIONS),
    (Group::Website, website::OPTIONS),
    (Group::Fronts, fronts::OPTIONS),
    (Group::Tuning, tuning::OPTIONS),
    (Group::Process, process::OPTIONS),
    (Group::Compatibility, compatibility::OPTIONS),
];

const fn number() -> usize {
    let (mut number, mut group) = (0, 0);
    while group < GROUPS.len() {
        number += GROUPS[group].1.len();
        group += 1;
    }
    number
}

const ALL: [OptionSpec; number()] = {
    let mut all = [option("", Kind::Flag, BOTH, ""); number()];
    let (mut next, mut group) = (0, 0);
    while group < GROUPS.len() {
        let (name, options) = GROUPS[group];
        let mut at = 0;
        while at < options.len() {
            all[next] = OptionSpec { group: name, ..options[at] };
            next += 1;
            at += 1;
        }
        group += 1;
    }
    all
};

/// Every option there is, in the order in which `--help` shows them.
pub const OPTIONS: &[OptionSpec] = &ALL;
