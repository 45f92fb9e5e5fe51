//! The two halves, and by what it is known which one is wanted.

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
            RoleReason::Flag => f.write_str("role from the options"),
            RoleReason::Subcommand => f.write_str("role from the command line"),
            RoleReason::ProgramName(name) => write!(f, "role from the program's name, {name}"),
            RoleReason::Wildcard(host) => {
                write!(f, "role from SS_REMOTE_HOST: {host} is a wildcard, to listen on and not to dial")
            }
            RoleReason::ServerOption(name) => {
                write!(f, "role from the option {name}, which only a server has")
            }
            RoleReason::Parent(name) => write!(f, "role from the parent process, {name}"),
            RoleReason::Default => f.write_str("role by default: the option server makes a server"),
        }
    }
}
