//! Which half is wanted. Nothing in SIP003 says it, so it is read off what there is.

use super::error::ConfigError;
use super::options::Options;
use super::role::{Role, RoleReason};
use super::values::flag;
use crate::net::addr::Host;

/// Everything that can speak for a role.
#[derive(Debug, Default)]
pub(super) struct Evidence<'a> {
    /// What the command line says, by a subcommand or by the program's name.
    pub command_line: Option<(Role, RoleReason)>,
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
pub(super) fn decide(options: &Options, evidence: Evidence<'_>) -> Result<(Role, RoleReason), ConfigError> {
    match (flag(options, "server")?, flag(options, "client")?) {
        (true, true) => return Err(ConfigError::conflict("server", "client", "")),
        (true, false) => return Ok((Role::Server, RoleReason::Flag)),
        (false, true) => return Ok((Role::Client, RoleReason::Flag)),
        (false, false) => {}
    }
    if let Some(said) = evidence.command_line {
        return Ok(said);
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
    use crate::config::sip003::parse_options;

    fn decided(options: &str, evidence: Evidence<'_>) -> (Role, RoleReason) {
        decide(&Options::new(parse_options(options).unwrap()), evidence).unwrap()
    }

    /// Each row beats all that stand below it: whatever speaks for the other half there loses.
    #[test]
    fn the_strongest_evidence_wins() {
        use {Role::*, RoleReason as R};
        let all = || Evidence {
            command_line: Some((Client, R::Subcommand)),
            remote_host: Some("0.0.0.0"),
            parent: Some("ss-server"),
        };
        assert_eq!(decided("server", all()), (Server, R::Flag));
        assert_eq!(decided("failover=a:1", all()), (Client, R::Subcommand));
        let program = || Some((Client, R::ProgramName("obfs-local".into())));
        assert_eq!(
            decided("key=x", Evidence { command_line: program(), ..all() }),
            (Client, R::ProgramName("obfs-local".into()))
        );
        let nameless = || Evidence { parent: Some("ss-local"), ..Evidence::default() };
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
        let options = Options::new(parse_options("server;client").unwrap());
        let error = decide(&options, Evidence::default()).unwrap_err().to_string();
        assert!(error.contains("server") && error.contains("client"), "{error}");
    }
}
