//! What a command line says, in whichever program's words.

use super::dialect::Dialect;
use super::endpoints::Addresses;
use super::role::{Role, RoleReason};
use super::sip003::PluginOption;

/// What a command line says.
#[derive(Debug, Default)]
pub struct Settings {
    /// Which program's words the user speaks.
    pub dialect: Dialect,
    /// The half, where a subcommand or the program's name says it.
    pub role: Option<(Role, RoleReason)>,
    /// The options among the flags in their order, in the form in which plugin options come.
    pub options: Vec<PluginOption>,
    /// The addresses among the flags.
    pub addresses: Addresses,
}
