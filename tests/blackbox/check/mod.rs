//! `obfs-rs check`, the dry run: it finds what a start and the first tunnel would find, and leaves nothing behind.

pub use client_faults::expired;

use crate::support::child::{Child, Exit};
use crate::support::plugin::ours;
use crate::support::secs;
use std::time::Duration;

mod client;
mod client_faults;
mod names;
mod server;
mod server_user;
mod several;

/// Each step has its end, and the last one comes before this.
const RUN: Duration = Duration::from_secs(60);

/// What a run has said.
pub struct Checked {
    pub exit: Exit,
    pub lines: Vec<String>,
}

/// Runs it with these arguments to its end.
#[track_caller]
pub fn check(arguments: &[&str]) -> Checked {
    finished(&start(arguments))
}

pub fn start(arguments: &[&str]) -> Child {
    let mut command = ours();
    command.arg("check").args(arguments);
    Child::spawn("check", command)
}

#[track_caller]
pub fn finished(child: &Child) -> Checked {
    let exit = child.wait_exit(RUN);
    Checked { exit, lines: child.lines() }
}

impl Checked {
    /// The line with this verdict of this step.
    #[track_caller]
    pub fn line(&self, verdict: &str, step: &str) -> &str {
        let found = self.lines.iter().find(|line| {
            line.split_once(' ').is_some_and(|(first, rest)| {
                first == verdict && rest.trim_start().starts_with(&format!("{step}: "))
            })
        });
        match found {
            Some(line) => line,
            None => panic!("no line `{verdict} {step}`:\n{}", self.lines.join("\n")),
        }
    }

    /// The same, which says this.
    #[track_caller]
    pub fn says(&self, verdict: &str, step: &str, part: &str) -> &Checked {
        let is_it = |line: &&String| {
            line.starts_with(&format!("{verdict} "))
                && line.contains(&format!(" {step}: "))
                && line.contains(part)
        };
        assert!(
            self.lines.iter().any(|line| is_it(&line)),
            "no line `{verdict} {step}: … {part} …`:\n{}",
            self.lines.join("\n")
        );
        self
    }

    /// That nothing fails.
    #[track_caller]
    pub fn is_well(&self) -> &Checked {
        let fails = self.lines.iter().any(|line| line.starts_with("fails"));
        assert!(self.exit == Exit::Code(0) && !fails, "{:?}:\n{}", self.exit, self.lines.join("\n"));
        assert!(
            self.lines.last().is_some_and(|line| line.starts_with("nothing fails")),
            "{}",
            self.lines.join("\n")
        );
        self
    }

    /// That this step fails, and no other.
    #[track_caller]
    pub fn fails_at(&self, step: &str, part: &str) -> &Checked {
        let fails: Vec<_> = self.lines.iter().filter(|line| line.starts_with("fails")).collect();
        assert_eq!((self.exit, fails.len()), (Exit::Code(1), 1), "{}", self.lines.join("\n"));
        self.says("fails", step, part)
    }
}

/// How long a run may take in which a server says nothing.
const SILENT: Duration = Duration::from_secs(16);

/// What is refused as at a start has its message, and its exit code.
#[test]
fn options_that_cannot_be_are_refused_as_at_a_start() {
    crate::support::within(secs(60), || {
        for (arguments, part) in [
            (&["obfs=htp"][..], "option `obfs`: `htp` is not a disguise"),
            (&["mode=websocket;tls;server"], "key=FILE"),
            (&["--remote", "server.example.com:0", "obfs=http"], "is not a port from 1 to 65535"),
            (&["--server", "failover=dir:/nowhere/at/all"], "a folder that can be read"),
            (&["c=/nowhere/at/all.json"], "configuration file"),
            (&["--remote", "a.example:1", "server"], "--remote is for a client"),
            (&[], "OPTIONS"),
        ] {
            let checked = check(arguments);
            let all = checked.lines.join("\n");
            assert_eq!(checked.exit, Exit::Code(23), "{arguments:?}: {all}");
            assert!(all.contains(part), "{arguments:?}: {all}");
            assert!(checked.lines.iter().all(|line| line.starts_with("obfs-rs: ")), "{arguments:?}: {all}");
        }
    });
}

/// Without addresses everything else is checked, and what is odd is what the log of a start would warn of.
#[test]
fn what_is_odd_is_told_and_is_no_failure() {
    crate::support::within(secs(60), || {
        let checked =
            check(&["mode=websocket;obsf=1;failover=127.0.0.1:80;client;d=192.0.2.1;serviceName=x"]);
        checked.is_well();
        checked.says("odd", "options", "unknown option `obsf`: did you mean `obfs`? It is ignored");
        checked.says("odd", "options", "the name server 192.0.2.1 is not asked");
        checked.says("odd", "options", "failover");
        checked.says("ok", "role", "client (from the options)");
        checked.says("ok", "disguise", "websocket");
        checked.says("unknown", "server", "--remote");
        let checked = check(&["--server", "obfs=http"]);
        checked.is_well();
        checked.says("unknown", "listen", "--listen").says("unknown", "Shadowsocks", "--backend");
        let checked = check(&["--server", "obfs=http;nofile=9"]);
        checked.is_well();
        checked.says("odd", "options", "option `n`: 9 open files are too few to work with; 64 are taken");
    });
}
