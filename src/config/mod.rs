//! What the user asked for, checked once, at the start. After this nothing parses a string.
//!
//! Four places speak: the command line ([`cli`]), the `SS_*` variables ([`sip003`]) with the option
//! string in one of them ([`options`]), and the JSON file that one of these may name ([`mod@file`]). The
//! command line wins over the variables, and both win over the file. [`read`] puts them together.

pub mod cli;
mod client;
mod disguise;
mod endpoints;
mod env;
mod error;
pub mod file;
mod go_cli;
mod host;
pub mod names;
pub mod options;
pub mod probe;
mod process;
mod read;
pub mod role;
mod server;
pub mod sip003;
mod tls;
mod trusted;
mod tunnel;
mod values;
mod web;
mod website;

pub use client::{ClientConfig, ClientDisguise, RequestConfig};
pub use env::ProcessEnv;
pub use error::ConfigError;
pub use names::{NamePattern, NameRoute};
pub use options::UnknownOption;
pub use probe::ProbeConfig;
pub use process::ProcessConfig;
pub use read::{Command, Config, Half, read};
pub use role::{Role, RoleReason};
pub use server::ServerConfig;
pub use sip003::PluginOption;
pub use tls::{ExtraRoot, TlsClientConfig, TlsServerConfig};
pub use tunnel::{DEFAULT_IDLE_TIMEOUT, TunnelConfig};
pub use values::Handshake;
pub use web::{WebBody, WebConfig};
pub use website::{Clear, Failover, Website};

#[cfg(test)]
mod tests;
