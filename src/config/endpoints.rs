//! The two addresses of a half, put together from wherever their parts were given.

use super::env::ProcessEnv;
use super::error::ConfigError;
use super::options::Options;
use super::role::Role;
use super::sip003;
use super::values::value;
use crate::net::addr::{Host, HostPort, parse_port};

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

/// In which words the user speaks; the names in messages follow from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Ours.
    #[default]
    Own,
    /// simple-obfs's command lines.
    SimpleObfs,
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
    /// In which words the user speaks.
    pub style: Style,
    /// Whether what simple-obfs takes for granted need not be said.
    pub lenient: bool,
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
            style: Style::Own,
            lenient: false,
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
            ..Addresses::default()
        })
    }

    /// These, and the others where these say nothing.
    pub(super) fn or(self, others: Addresses) -> Addresses {
        Addresses {
            remote_host: self.remote_host.or(others.remote_host),
            remote_port: self.remote_port.or(others.remote_port),
            local_host: self.local_host.or(others.local_host),
            local_port: self.local_port.or(others.local_port),
            style: self.style,
            lenient: self.lenient || others.lenient,
        }
    }

    /// What a client half dials, what a server half listens on.
    pub(super) fn remote(&self, role: Role) -> Result<Vec<HostPort>, ConfigError> {
        let (host, port) = match (role, self.style) {
            (Role::Client, Style::Own) => ("obfs-rs client --remote", "obfs-rs client --remote"),
            (Role::Server, Style::Own) => ("obfs-rs server --listen", "obfs-rs server --listen"),
            (_, Style::SimpleObfs) => ("-s", "-p"),
        };
        // simple-obfs's server listens on everything unless it is told where.
        let everything = Setting::new("-s", "::|0.0.0.0");
        let given = match (&self.remote_host, role, self.lenient) {
            (None, Role::Server, true) => Some(&everything),
            (given, ..) => given.as_ref(),
        };
        endpoints((given, sip003::REMOTE_HOST, host), (self.remote_port.as_ref(), sip003::REMOTE_PORT, port))
    }

    /// Where a client half listens for its host, what a server half dials.
    pub(super) fn local(&self, role: Role) -> Result<Vec<HostPort>, ConfigError> {
        let (host, port) = match (role, self.style) {
            (Role::Client, Style::Own) => ("obfs-rs client --listen", "obfs-rs client --listen"),
            (Role::Server, Style::Own) => ("obfs-rs server --backend", "obfs-rs server --backend"),
            (Role::Client, Style::SimpleObfs) => ("-b", "-l"),
            (Role::Server, Style::SimpleObfs) => ("-r", "-r"),
        };
        // simple-obfs's client listens for programs of this machine unless it is told otherwise.
        let this_machine = Setting::new("-b", "127.0.0.1");
        let given = match (&self.local_host, role, self.lenient) {
            (None, Role::Client, true) => Some(&this_machine),
            (given, ..) => given.as_ref(),
        };
        endpoints((given, sip003::LOCAL_HOST, host), (self.local_port.as_ref(), sip003::LOCAL_PORT, port))
    }
}

/// `host|host:port` as a host and a port.
pub(super) fn split_address(
    flag: &str,
    text: &str,
) -> Result<(Option<Setting>, Option<Setting>), ConfigError> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| {
        ConfigError::variable(
            flag,
            text,
            "an address: expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080",
        )
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
