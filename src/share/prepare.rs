//! From what was said to what is shared.

use super::Shared;
use super::apps::Format;
use super::offers::{self, Kind, Offer, Seen};
use super::plugin::Plugin;
use super::profile::{Profile, is_known};
use super::text::printable;
use crate::config::{
    self, Config, ConfigError, Dialect, Half, ProcessEnv, Role, RoleReason, ServerConfig, Settings,
    shadowsocks_file::{self, Entry},
    sip003,
};
use crate::net::addr::Host;
use std::net::IpAddr;

/// What was said on the command line.
#[derive(Debug, Default)]
pub struct Request {
    /// The configuration of the Shadowsocks server: the name of the file, and its text.
    pub file: Option<(String, String)>,
    /// The address that clients connect to.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Shadowsocks's method.
    pub method: Option<String>,
    /// Shadowsocks's password.
    pub password: Option<String>,
    /// Shadowsocks's password where neither this nor the file has one.
    pub password_otherwise: Option<String>,
    /// The options of the server half.
    pub options: Option<String>,
    /// What users see in a list.
    pub name: Option<String>,
    /// Another program in front of the server ends TLS.
    pub tls_in_front: bool,
    /// The disguise that is to be used.
    pub disguise: Option<Kind>,
    /// The path or the name of a route.
    pub route: Option<String>,
    /// What is printed.
    pub format: Option<Format>,
    /// The plugin of the client, where it matters.
    pub plugin: Option<Plugin>,
    /// The user's own folder.
    pub home: Option<String>,
}

/// What is shared.
#[derive(Debug)]
pub struct Share {
    pub(super) shared: Vec<Shared>,
    pub(super) format: Format,
    pub(super) plugin: Option<Plugin>,
    pub(super) warnings: Vec<String>,
}

/// Reads the server's options, and works out what its users enter. `dialect_of` knows the programs whose options are read.
///
/// # Errors
///
/// Something is missing, or wrong.
pub fn prepare(request: &Request, dialect_of: fn(&str) -> Option<Dialect>) -> Result<Share, ConfigError> {
    let entries = match &request.file {
        Some((path, text)) => shadowsocks_file::parse(path, text)?,
        None if request.options.is_none() => {
            let expected = "the Shadowsocks server's file, or the server half's options with --host, --port and --method";
            return Err(missing("--config (or SERVER-OPTIONS)", expected));
        }
        None => vec![Entry::default()],
    };
    let mut warnings = Vec::new();
    let mut shared = Vec::new();
    let mut first_error = None;
    if entries.len() > 1
        && let Some(port) = request.port
    {
        return Err(ConfigError::variable(
            "--port",
            &port.to_string(),
            "for several servers, of which each has its own",
        ));
    }
    for entry in &entries {
        match one_server(request, entry, dialect_of, &mut warnings) {
            Ok(servers) => shared.extend(servers),
            // Beside ours a file may have servers without a plugin, or with another one.
            Err(error) => {
                let port = entry.port.map(|port| format!(" on port {port}")).unwrap_or_default();
                warnings.push(format!("the server{port} is left out: {error}"));
                first_error.get_or_insert(error);
            }
        }
    }
    if let (true, Some(error)) = (shared.is_empty(), first_error) {
        return Err(error);
    }
    let format = request.format.unwrap_or(Format::All);
    Ok(Share { shared, format, plugin: request.plugin, warnings })
}

fn missing(name: &str, expected: &str) -> ConfigError {
    ConfigError::Missing { name: name.to_owned(), expected: expected.to_owned() }
}

/// A server of the file, or that of the flags, and its users.
fn one_server(
    request: &Request,
    entry: &Entry,
    dialect_of: fn(&str) -> Option<Dialect>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Shared>, ConfigError> {
    let port = request.port.or(entry.port).ok_or_else(|| missing("--port", "the server's public port"))?;
    let method = request.method.as_ref().or(entry.method.as_ref());
    let method = method.ok_or_else(|| missing("--method", "Shadowsocks's method, such as aes-256-gcm"))?;
    // (Shadowsocks programs take it in any case, apps do not)
    let small = method.to_ascii_lowercase();
    let method = if is_known(&small) { &small } else { method };
    if method.contains(':') || method.is_empty() || method.contains(char::is_control) {
        return Err(ConfigError::variable("--method", method, "a method of Shadowsocks"));
    }
    if !is_known(method) {
        let method = printable(method);
        warnings.push(format!("the method `{method}` is none that Shadowsocks programs are known to have"));
    }
    if entry.has_plugin_args && request.options.is_none() {
        let expected = "read here: give what they say as SERVER-OPTIONS";
        return Err(ConfigError::variable("plugin_args", "…", expected));
    }
    let password =
        [&request.password, &entry.password, &request.password_otherwise].into_iter().flatten().next();
    let password = match password {
        Some(password) if password.starts_with("${") && password.ends_with('}') => {
            // (ssserver takes it from its own environment)
            let expected = "a password, but a variable's name: give it with --password-file FILE";
            return Err(ConfigError::variable("password", password, expected));
        }
        Some(password) if password.is_empty() && !matches!(&**method, "none" | "plain") => {
            return Err(ConfigError::variable("password", "", "a password"));
        }
        Some(password) => password.clone(),
        None if matches!(&**method, "none" | "plain") => String::new(),
        None => {
            return Err(missing(
                "Shadowsocks's password",
                "`password` in the file, --password-file FILE or OBFS_RS_PASSWORD",
            ));
        }
    };
    let config = server_half(request, entry, dialect_of)?;
    warnings.extend(
        config.unknown.iter().map(|unknown| format!("unknown option `{}`: it is ignored", unknown.name)),
    );
    warnings.extend(config.warnings.iter().cloned());
    let Half::Server(server) = config.half else {
        let why = "these are a client's options: `share` reads the server's";
        return Err(ConfigError::NotUnderstood(why.to_owned()));
    };
    let host = public_host(request, entry, &server)?;
    let seen = Seen { host: &host, tls_in_front: request.tls_in_front, route: request.route.as_deref() };
    let offers = chosen(offers::offers(&server, seen)?, request)?;
    let name = request.name.as_ref().or(entry.name.as_ref()).map(|name| printable(name));
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.to_string());
    let routes = if request.route.is_some() { 0 } else { server.routes.backends().count() };
    let profile = Profile { name, host, port, method: method.clone(), password };
    let of = |profile| Shared { profile, offers: offers.clone(), routes };
    // (of other methods, ssserver passes over them)
    let has_users = !entry.users.is_empty() && method.starts_with("2022-blake3-aes-");
    if !has_users || request.password.is_some() {
        return Ok(vec![of(profile)]);
    }
    let user = |(user, key): &(String, String)| {
        let (name, password) =
            (printable(&format!("{} {user}", profile.name)), format!("{}:{key}", profile.password));
        of(Profile { name, password, ..profile.clone() })
    };
    Ok(entry.users.iter().map(user).collect())
}

/// The offers with the disguise that was asked for.
fn chosen(mut offers: Vec<Offer>, request: &Request) -> Result<Vec<Offer>, ConfigError> {
    let taken: Vec<_> = offers.iter().map(ToString::to_string).collect();
    if let Some(kind) = request.disguise {
        offers.retain(|offer| offer.kind == kind);
    }
    if !offers.is_empty() {
        return Ok(offers);
    }
    match request.disguise {
        Some(kind) => {
            let expected = format!("a disguise that this server takes: {}", taken.join(", "));
            Err(ConfigError::variable("--disguise", kind.name(), expected))
        }
        None => {
            Err(ConfigError::NotUnderstood("the server takes no client that could be told here".to_owned()))
        }
    }
}

/// The server's options, read as the server half reads them.
fn server_half(
    request: &Request,
    entry: &Entry,
    dialect_of: fn(&str) -> Option<Dialect>,
) -> Result<Config, ConfigError> {
    let dialect = match (&entry.plugin, &request.options) {
        (Some(plugin), _) => dialect_of(plugin).ok_or_else(|| {
            ConfigError::variable("plugin", plugin, "obfs-rs, nor a plugin that it takes the place of")
        })?,
        (None, Some(_)) => Dialect::Own,
        (None, None) => {
            return Err(missing(
                "`plugin` (or SERVER-OPTIONS)",
                "obfs-rs in the file, or the server half's options",
            ));
        }
    };
    let options = request.options.as_ref().or(entry.plugin_opts.as_ref()).map_or("", String::as_str);
    // What a host says; the addresses are of no matter here.
    let variables = [
        (sip003::REMOTE_HOST, "0.0.0.0"),
        (sip003::REMOTE_PORT, "1"),
        (sip003::LOCAL_HOST, "127.0.0.1"),
        (sip003::LOCAL_PORT, "1"),
        (sip003::PLUGIN_OPTIONS, options),
    ];
    let home = request.home.as_deref().map(|home| ("HOME", home));
    let vars = variables.into_iter().chain(home).map(|(name, value)| (name.into(), value.into())).collect();
    let settings =
        Settings { dialect, role: Some((Role::Server, RoleReason::Subcommand)), ..Settings::default() };
    config::read(settings, &ProcessEnv { vars, parent: None })
}

/// Whether others may reach an address: it is not this machine's alone, nor a network's of its own.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.is_private()),
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local())
        }
    }
}

/// Where clients connect to: what was said, an address in the file that others can reach, or the name of the certificate.
fn public_host(request: &Request, entry: &Entry, server: &ServerConfig) -> Result<Host, ConfigError> {
    const EXPECTED: &str = "an address that clients can connect to: give the public name (--host NAME)";
    if let Some(text) = &request.host {
        let host = Host::parse(text).filter(|host| !host.is_wildcard());
        return host.ok_or_else(|| {
            ConfigError::variable("--host", text, "a name or an address that clients connect to")
        });
    }
    let reachable = |host: &Host| match host {
        Host::Ip(address) => is_public(address.to_canonical()),
        Host::Name(name) => name.trim_end_matches('.') != "localhost" && !name.contains('%'),
    };
    let of_file = entry.hosts.iter().filter_map(|text| Host::parse(text)).find(reachable);
    // It need not be resolvable, but it is what visitors ask for.
    let of_certificate = || {
        let name = server.tls.as_ref().and_then(|tls| tls.name.as_ref())?;
        Host::parse(name).filter(|host| matches!(host, Host::Name(_)))
    };
    of_file.or_else(of_certificate).ok_or_else(|| match entry.hosts.first() {
        Some(host) => ConfigError::variable("server", host, EXPECTED),
        None => missing("--host", "the server's public name or address"),
    })
}
