//! The two addresses of a half, put together from wherever their parts were given.

use super::dialect::Dialect;
use super::env::ProcessEnv;
use super::error::ConfigError;
use super::options::Options;
use super::role::Role;
use super::sip003;
use super::values::value;
use crate::net::addr::{Host, HostPort, parse_port};

/// Where a setting comes from that nobody has written.
const DEFAULT: &str = "default";

/// A setting and the name under which the user gave it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// A variable, a flag, or a key with its file and line.
    pub name: String,
    /// What was given.
    pub value: String,
}

impl Setting {
    /// A setting that was given.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Setting {
        Setting { name: name.into(), value: value.into() }
    }
}

/// Where the four parts of the two addresses come from.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Hosts, several with `|`: what a client half dials, what a server half listens on.
    pub remote_host: Option<Setting>,
    /// Their port.
    pub remote_port: Option<Setting>,
    /// Where a client half listens for its host, what a server half dials.
    pub local_host: Option<Setting>,
    /// Its port.
    pub local_port: Option<Setting>,
}

impl Addresses {
    /// What the host says.
    pub(super) fn from_environment(env: &ProcessEnv) -> Result<Addresses, ConfigError> {
        // Scripts, and files from Windows, leave spaces and line ends around values.
        let variable = |name: &str| {
            let value = env.var(name)?;
            Ok(value.map(|value| Setting { name: name.into(), value: value.trim().to_owned() }))
        };
        Ok(Addresses {
            remote_host: variable(sip003::REMOTE_HOST)?,
            remote_port: variable(sip003::REMOTE_PORT)?,
            local_host: variable(sip003::LOCAL_HOST)?,
            local_port: variable(sip003::LOCAL_PORT)?,
        })
    }

    /// What v2ray-plugin's options say.
    pub(super) fn from_options(options: &Options) -> Result<Addresses, ConfigError> {
        let option = |name: &str| {
            let given = value(options, name, "a host or a port")?;
            Ok(given.map(|(name, value)| Setting::new(name, value)))
        };
        Ok(Addresses {
            remote_host: option("remoteAddr")?,
            remote_port: option("remotePort")?,
            local_host: option("localAddr")?,
            local_port: option("localPort")?,
        })
    }

    /// These, and the others where these say nothing.
    pub(super) fn or(self, others: Addresses) -> Addresses {
        Addresses {
            remote_host: self.remote_host.or(others.remote_host),
            remote_port: self.remote_port.or(others.remote_port),
            local_host: self.local_host.or(others.local_host),
            local_port: self.local_port.or(others.local_port),
        }
    }

    /// What each program takes where nothing is said, and what simple-obfs takes where its file says nothing.
    pub(super) fn defaults(dialect: Dialect, role: Role, file: bool) -> Addresses {
        let default = |value: &str| Some(Setting::new(DEFAULT, value));
        let loopback = "127.0.0.1";
        let (remote_host, remote_port, local_host, local_port) = match (dialect, role) {
            (Dialect::V2rayPlugin, Role::Client) => {
                (Some(loopback), Some("1080"), Some(loopback), Some("1984"))
            }
            (Dialect::V2rayPlugin, Role::Server) => {
                (Some(loopback), Some("1984"), Some(loopback), Some("1080"))
            }
            (Dialect::Own, _) if !file => (None, None, None, None),
            (Dialect::Own | Dialect::SimpleObfs, Role::Client) => (None, None, Some(loopback), None),
            (Dialect::Own | Dialect::SimpleObfs, Role::Server) => (Some("::|0.0.0.0"), None, None, None),
        };
        Addresses {
            remote_host: remote_host.and_then(default),
            remote_port: remote_port.and_then(default),
            local_host: local_host.and_then(default),
            local_port: local_port.and_then(default),
        }
    }

    /// What a client half dials, what a server half listens on; then where a client half listens for its
    /// host, what a server half dials. Where something is missing, it is told by the flags of the dialect.
    pub(super) fn endpoints(
        &self,
        dialect: Dialect,
        role: Role,
    ) -> Result<(Vec<HostPort>, Vec<HostPort>), ConfigError> {
        let [remote_host, remote_port, local_host, local_port] = dialect.flags(role);
        let remote = endpoints(
            (self.remote_host.as_ref(), sip003::REMOTE_HOST, remote_host),
            (self.remote_port.as_ref(), sip003::REMOTE_PORT, remote_port),
        )?;
        let local = endpoints(
            (self.local_host.as_ref(), sip003::LOCAL_HOST, local_host),
            (self.local_port.as_ref(), sip003::LOCAL_PORT, local_port),
        )?;
        Ok((remote, local))
    }
}

impl Addresses {
    /// Puts stand-ins where nobody says an address, so that everything else can be read all the same. Returns which
    /// addresses were said.
    pub(super) fn fill_in(&mut self, role: Role) -> SaidAddresses {
        let (remote, local) = match role {
            // A name that no resolver has (RFC 2606 section 2).
            Role::Client => (("server.invalid", "443"), ("127.0.0.1", "8388")),
            // (a port on which no server listens, so that it does not seem to lead back)
            Role::Server => (("0.0.0.0", "443"), ("127.0.0.1", "1")),
        };
        SaidAddresses {
            remote: !fill_in(&mut self.remote_host, &mut self.remote_port, remote),
            local: !fill_in(&mut self.local_host, &mut self.local_port, local),
        }
    }
}

/// Which of the two addresses of a half were said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaidAddresses {
    /// What a client half dials, what a server half listens on.
    pub remote: bool,
    /// Where a client half listens for its host, what a server half dials.
    pub local: bool,
}

/// Fills an address in of which nothing was said. (A host alone that nobody has written is nothing.)
fn fill_in(host: &mut Option<Setting>, port: &mut Option<Setting>, instead: (&str, &str)) -> bool {
    let lacks = port.is_none() && host.as_ref().is_none_or(|host| host.name == DEFAULT);
    if lacks {
        *host = Some(Setting::new(DEFAULT, instead.0));
        *port = Some(Setting::new(DEFAULT, instead.1));
    }
    lacks
}

/// `host|host:port` as a host and a port.
pub(crate) fn split_address(
    flag: &str,
    text: &str,
) -> Result<(Option<Setting>, Option<Setting>), ConfigError> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| {
        ConfigError::variable(flag, text, "an address (HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080)")
    })?;
    Ok((Some(Setting::new(flag, host)), Some(Setting::new(flag, port))))
}

/// A host setting (several hosts with `|`, each may have a port of its own) and a port setting as
/// addresses; each comes with its variable and its flag, for the message when it is missing.
fn endpoints(
    (host, host_variable, host_flag): (Option<&Setting>, &str, &str),
    (port, port_variable, port_flag): (Option<&Setting>, &str, &str),
) -> Result<Vec<HostPort>, ConfigError> {
    let missing = |name: &str, flag: &str, expected: &str| ConfigError::Missing {
        name: format!("{name} (or {flag})"),
        expected: expected.into(),
    };
    let host = host.ok_or_else(|| missing(host_variable, host_flag, "an address or a host name"))?;
    let number = || match port {
        None => Err(missing(port_variable, port_flag, "a port from 1 to 65535")),
        Some(port) => parse_port(&port.value)
            .ok_or_else(|| ConfigError::variable(&port.name, &port.value, "a port from 1 to 65535")),
    };
    if port.is_some() {
        number()?;
    }
    host.value
        .split('|')
        .map(|text| match (Host::parse(text), HostPort::parse(text)) {
            (Some(host), _) => Ok(HostPort { host, port: number()? }),
            (None, Some(address)) => Ok(address),
            (None, None) => Err(ConfigError::variable(
                &host.name,
                &host.value,
                "an address or a host name (several with `|`)",
            )),
        })
        .collect()
}
