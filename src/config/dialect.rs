//! Which program's words the user speaks: names in messages and defaults follow from it.

use super::role::Role;

/// Which program's words the user speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Ours.
    #[default]
    Own,
    /// simple-obfs's command lines.
    SimpleObfs,
    /// v2ray-plugin's command line.
    V2rayPlugin,
}

impl Dialect {
    /// The flags for the remote host and port, then for the local ones.
    pub(super) fn flags(self, role: Role) -> [&'static str; 4] {
        match (self, role) {
            (Dialect::Own, Role::Client) => [
                "obfs-rs client --remote",
                "obfs-rs client --remote",
                "obfs-rs client --listen",
                "obfs-rs client --listen",
            ],
            (Dialect::Own, Role::Server) => [
                "obfs-rs server --listen",
                "obfs-rs server --listen",
                "obfs-rs server --backend",
                "obfs-rs server --backend",
            ],
            (Dialect::SimpleObfs, Role::Client) => ["-s", "-p", "-b", "-l"],
            (Dialect::SimpleObfs, Role::Server) => ["-s", "-p", "-r", "-r"],
            (Dialect::V2rayPlugin, Role::Client) => {
                ["-remoteAddr", "-remotePort", "-localAddr", "-localPort"]
            }
            // On a server v2ray-plugin's local address is where it listens.
            (Dialect::V2rayPlugin, Role::Server) => {
                ["-localAddr", "-localPort", "-remoteAddr", "-remotePort"]
            }
        }
    }
}
