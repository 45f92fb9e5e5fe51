//! Which half is wanted. Nothing in SIP003 says it, so it is read off what there is.

use super::error::ConfigError;
use super::options::Options;
use super::sip003;
use crate::net::addr::Host;
use std::fmt;

/// A half of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Beside `ss-local`: takes plain connections, dials the server half.
    Client,
    /// Beside `ss-server`: takes disguised connections, dials Shadowsocks.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Client => "client",
            Role::Server => "server",
        })
    }
}

/// By what a role was known; told in the start-up line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleReason {
    /// The flag `server` or `client` in the options.
    Flag,
    /// `obfs-rs server …`, `obfs-rs client …`.
    Subcommand,
    /// The program is called so.
    ProgramName(String),
    /// The remote host is a wildcard, which one can listen on but not dial.
    Wildcard(String),
    /// An option only a server has.
    ServerOption(String),
    /// The parent process is called so.
    Parent(String),
    /// Nothing spoke for a server.
    Default,
}

impl fmt::Display for RoleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoleReason::Flag => f.write_str("so the options say"),
            RoleReason::Subcommand => f.write_str("so the command line says"),
            RoleReason::ProgramName(name) => write!(f, "the program is called {name}"),
            RoleReason::Wildcard(host) => {
                write!(f, "{} is the wildcard {host}, which nobody dials", sip003::REMOTE_HOST)
            }
            RoleReason::ServerOption(name) => write!(f, "only a server has the option {name}"),
            RoleReason::Parent(name) => write!(f, "the parent process is {name}"),
            RoleReason::Default => f.write_str("nothing says server"),
        }
    }
}

/// Everything that can speak for a role.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    /// The subcommand, if one was given.
    pub subcommand: Option<Role>,
    /// The program's own file name.
    pub program: &'a str,
    /// What `SS_REMOTE_HOST` holds.
    pub remote_host: Option<&'a str>,
    /// The parent process's name, where it can be known.
    pub parent: Option<&'a str>,
}

/// Decides the role, the strongest evidence first.
///
/// # Errors
///
/// Both `server` and `client` among the options.
pub fn decide(options: &Options, evidence: &Evidence<'_>) -> Result<(Role, RoleReason), ConfigError> {
    match (super::values::flag(options, "server")?, super::values::flag(options, "client")?) {
        (true, true) => {
            let (one, other) = ("server".to_owned(), "client".to_owned());
            return Err(ConfigError::Conflict { one, other, advice: String::new() });
        }
        (true, false) => return Ok((Role::Server, RoleReason::Flag)),
        (false, true) => return Ok((Role::Client, RoleReason::Flag)),
        (false, false) => {}
    }
    if let Some(role) = evidence.subcommand {
        return Ok((role, RoleReason::Subcommand));
    }
    let by_program = |name: &str| RoleReason::ProgramName(name.to_owned());
    match evidence.program {
        name @ "obfs-server" => return Ok((Role::Server, by_program(name))),
        name @ "obfs-local" => return Ok((Role::Client, by_program(name))),
        _ => {}
    }
    let wildcard = evidence.remote_host.and_then(|hosts| {
        hosts.split('|').find(|host| Host::parse(host).is_some_and(|host| host.is_wildcard()))
    });
    if let Some(host) = wildcard {
        return Ok((Role::Server, RoleReason::Wildcard(host.to_owned())));
    }
    // Users hand one string of options to both halves; a host is of one side only.
    if let Some(name) = evidence.parent {
        let reason = RoleReason::Parent(name.to_owned());
        match name {
            "ss-server" | "ssserver" | "ss-manager" | "ssmanager" => return Ok((Role::Server, reason)),
            "ss-local" | "sslocal" | "ss-redir" | "ss-tunnel" => return Ok((Role::Client, reason)),
            _ => {}
        }
    }
    if let Some(name) = options.server_only() {
        return Ok((Role::Server, RoleReason::ServerOption(name.to_owned())));
    }
    Ok((Role::Client, RoleReason::Default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(options: &str, evidence: Evidence<'_>) -> (Role, RoleReason) {
        decide(&Options::new(sip003::parse_options(options).unwrap()), &evidence).unwrap()
    }

    /// Each row beats all that stand below it: whatever speaks for the other half there loses.
    #[test]
    fn the_strongest_evidence_wins() {
        use {Role::*, RoleReason as R};
        let all = || Evidence {
            subcommand: Some(Client),
            program: "obfs-server",
            remote_host: Some("127.0.0.1"),
            parent: Some("ss-local"),
        };
        assert_eq!(decided("server", all()), (Server, R::Flag));
        assert_eq!(decided("failover=a:1", all()), (Client, R::Subcommand));
        assert_eq!(
            decided("", Evidence { subcommand: None, ..all() }),
            (Server, R::ProgramName("obfs-server".into()))
        );
        let local =
            || Evidence { program: "obfs-local", remote_host: Some("0.0.0.0"), ..Evidence::default() };
        assert_eq!(decided("key=x", local()), (Client, R::ProgramName("obfs-local".into())));
        let nameless = || Evidence { program: "obfs-rs", parent: Some("ss-local"), ..Evidence::default() };
        assert_eq!(
            decided("", Evidence { remote_host: Some("::1|::0"), ..nameless() }),
            (Server, R::Wildcard("::0".into()))
        );
        assert_eq!(decided("failover=a:1", nameless()), (Client, R::Parent("ss-local".into())));
        assert_eq!(
            decided("", Evidence { parent: Some("ssserver"), ..nameless() }),
            (Server, R::Parent("ssserver".into()))
        );
        let unknown = || Evidence { parent: Some("bash"), ..nameless() };
        assert_eq!(decided("failover=a:1", unknown()), (Server, R::ServerOption("failover".into())));
        assert_eq!(decided("", unknown()), (Client, R::Default));
    }

    #[test]
    fn a_flag_that_says_no_says_nothing() {
        assert_eq!(decided("server=false", Evidence::default()), (Role::Client, RoleReason::Default));
    }

    #[test]
    fn both_halves_at_once_is_an_error() {
        let options = Options::new(sip003::parse_options("server;client").unwrap());
        let error = decide(&options, &Evidence::default()).unwrap_err().to_string();
        assert!(error.contains("server") && error.contains("client"), "{error}");
    }
}
