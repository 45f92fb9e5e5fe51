//! From what was said to a configuration.

use super::address::{Host, HostPort};
use super::endpoints::Addresses;
use super::file::File;
use super::options::Options;
use super::role::{self, Role};
use super::values::*;
use super::*;
use std::ffi::OsString;

/// What the process was started with, gathered by the caller so that configuration is a pure function.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The command line, the program's own name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub vars: Vec<(OsString, OsString)>,
    /// The parent process's name, where the system tells it.
    pub parent: Option<String>,
}

impl Surroundings {
    /// A variable's text.
    pub(super) fn var(&self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.vars.iter().find(|(key, _)| key == name) {
            None => Ok(None),
            Some((_, value)) => match value.to_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(ConfigError::variable(name, value.to_string_lossy(), "text in UTF-8")),
            },
        }
    }

    /// The program's file name, without a folder and without `.exe`.
    fn program(&self) -> String {
        let path = self.args.first().map(std::path::Path::new);
        path.and_then(|path| path.file_stem())
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Be a half of the plugin.
    Run(Box<Config>),
    /// Show on this machine that it works.
    Demo,
    /// Compare a server with the website behind it.
    Probe(Box<ProbeConfig>),
    /// Write the manual pages into this folder.
    Manuals(PathBuf),
    /// Print this text and end well: `--help`, `--version`.
    Print(String),
}

/// Reads everything that was said and checks it.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn read(surroundings: &Surroundings) -> Result<Command, ConfigError> {
    let program = surroundings.program();
    let cli = match cli::parse(&program, &surroundings.args)? {
        cli::Parsed::Print(text) => return Ok(Command::Print(text)),
        cli::Parsed::Demo => return Ok(Command::Demo),
        cli::Parsed::Probe(config) => return Ok(Command::Probe(config)),
        cli::Parsed::Manuals(folder) => return Ok(Command::Manuals(folder)),
        cli::Parsed::Run(cli) => *cli,
    };
    let plugin_options = surroundings.var(sip003::PLUGIN_OPTIONS)?;
    let from_host = sip003::parse_options(plugin_options.as_deref().unwrap_or_default())?;
    // The first of a name wins, so what the command line says stands in front, and the file behind.
    let mut options = Options::new(cli.options.into_iter().chain(from_host));
    let file = match value(&options, "c", "the name of a file")? {
        Some((_, path)) => Some(File::read(path)?),
        None => None,
    };
    if let Some(file) = &file {
        for (option, place) in &file.options {
            options.add_from_file(option.clone(), place);
        }
    }

    // v2ray-plugin's options of the same meaning go before the variables.
    let mut addresses =
        cli.addresses.or(Addresses::from_options(&options)?).or(Addresses::from_environment(surroundings)?);
    let remote_host = addresses.remote_host.as_ref().or(file.as_ref().and_then(|file| file.server.as_ref()));
    let evidence = role::Evidence {
        subcommand: cli.role,
        program: &program,
        remote_host: remote_host.map(|setting| setting.value.as_str()),
        parent: surroundings.parent.as_deref(),
    };
    let (role, role_reason) = role::decide(&options, &evidence)?;
    if let Some(file) = file {
        addresses = addresses.or(file.addresses(role)?);
    }
    let as_v2ray_plugin = go_cli::is_meant(&program);
    if as_v2ray_plugin {
        addresses = addresses.or(go_cli::defaults(role));
    }
    let disguises = disguises(&options, as_v2ray_plugin)?;
    let hosted = [sip003::REMOTE_HOST, sip003::LOCAL_HOST]
        .iter()
        .all(|name| surroundings.vars.iter().any(|(key, _)| key == name));

    let half = match role {
        Role::Client => Half::Client(client(&options, &addresses, &disguises)?),
        Role::Server => {
            Half::Server(server(&options, &addresses, &disguises, surroundings.var("HOME")?.as_deref())?)
        }
    };
    Ok(Command::Run(Box::new(Config {
        half,
        tunnel: TunnelConfig {
            idle_timeout: seconds(&options, "t")?.unwrap_or(DEFAULT_IDLE_TIMEOUT),
            sockets: sockets(&options)?,
        },
        process: process(&options)?,
        role_reason,
        log_level: log_level(&options)?,
        hosted,
        nameserver: nameserver(&options)?,
        unknown: options.unknown,
    })))
}

fn client(
    options: &Options,
    addresses: &Addresses,
    disguises: &[Disguise],
) -> Result<ClientConfig, ConfigError> {
    let servers = addresses.remote(Role::Client)?;
    let listen = addresses.local(Role::Client)?;
    // A server's option in a client's string is checked all the same: it is the string of both.
    failover(options)?;
    handshake(options)?;
    let name = host_header(options)?;
    let disguise = match disguises.first() {
        Some(Disguise::WebSocket) => ClientDisguise::Web(web::client(options, true, handshake(options)?)?),
        Some(Disguise::HttpUpgrade) => ClientDisguise::Web(web::client(options, false, handshake(options)?)?),
        Some(Disguise::FakeTls) => ClientDisguise::FakeTls {
            server_name: name.unwrap_or_else(|| servers.first().map(name_of).unwrap_or_default()),
        },
        Some(Disguise::Http) | None => {
            let request = RequestConfig {
                method: method(options)?,
                path: path(options)?.unwrap_or_else(|| "/".to_owned()),
                host: http_host(name, servers.first()),
            };
            ClientDisguise::Http(request, handshake(options)?)
        }
    };
    Ok(ClientConfig { listen, servers, disguise })
}

/// A server's name as it stands in a hello.
fn name_of(server: &HostPort) -> String {
    match &server.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    }
}

/// What the `Host` header says: the name, by default the server's own, and the port where it is not the
/// one that HTTP implies. A name with a port of its own keeps it.
pub(super) fn http_host(name: Option<String>, server: Option<&HostPort>) -> String {
    let Some(server) = server else { return name.unwrap_or_default() };
    match name {
        Some(name) if has_port(&name) || server.port == 80 => name,
        Some(name) => format!("{name}:{}", server.port),
        None if server.port == 80 => server.host.to_string(),
        None => server.to_string(),
    }
}

fn server(
    options: &Options,
    addresses: &Addresses,
    disguises: &[Disguise],
    home: Option<&str>,
) -> Result<ServerConfig, ConfigError> {
    let listen = addresses.remote(Role::Server)?;
    let mut backends = addresses.local(Role::Server)?;
    handshake(options)?;
    let host = host_header(options)?.map(|host| without_port(&host).to_ascii_lowercase());
    let mut rules = Rules::default();
    for disguise in disguises {
        match disguise {
            Disguise::FakeTls => rules.fake_tls = Some(FakeTlsRule { server_name: host.clone() }),
            disguise => {
                let before = rules.http.take();
                let websocket = matches!(disguise, Disguise::WebSocket | Disguise::HttpUpgrade)
                    || before.is_some_and(|rule| rule.websocket);
                let path = path(options)?.map(|path| without_query(&path).to_owned());
                rules.http = Some(HttpRule {
                    method: method(options)?,
                    // v2ray-plugin's server takes one path, `/` by default.
                    path: if websocket { Some(path.unwrap_or_else(|| "/".to_owned())) } else { path },
                    host: host.clone(),
                    websocket,
                });
            }
        }
    }
    // A client's options in a server's string are checked all the same: it is the string of both.
    web::mux(options)?;
    web::headers(options)?;
    let tls = flag(options, "tls")?.then(|| web::tls_server(options, home)).transpose()?;
    Ok(ServerConfig { listen, backend: backends.swap_remove(0), rules, failover: failover(options)?, tls })
}

/// A disguise by its name in `obfs` or `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disguise {
    Http,
    FakeTls,
    WebSocket,
    HttpUpgrade,
}

/// The disguises that are named; where none is, WebSocket if the options or the program's name are
/// v2ray-plugin's, and http otherwise. A client wears the first; a server takes all.
fn disguises(options: &Options, as_v2ray_plugin: bool) -> Result<Vec<Disguise>, ConfigError> {
    let disguises = match (obfs(options)?, mode(options)?) {
        (Some(obfs), None) => obfs,
        (None, Some(mode)) => vec![mode],
        (Some(obfs), Some(mode)) if obfs.contains(&mode) => obfs,
        (Some(_), Some(_)) => {
            let mode = options.get("mode").and_then(|option| option.value.as_deref()).unwrap_or_default();
            let Some(obfs) = options.get("obfs") else { return Ok(Vec::new()) };
            return Err(web::contradiction(obfs, &format!("mode={mode}")));
        }
        (None, None) if as_v2ray_plugin || options.are_v2ray_plugins() => vec![Disguise::WebSocket],
        (None, None) => vec![Disguise::Http],
    };
    // simple-obfs's disguises have no TLS around them, and no sessions in them.
    if let Some(inner) = disguises.iter().find(|d| matches!(d, Disguise::Http | Disguise::FakeTls))
        && !disguises.contains(&Disguise::WebSocket)
        && let Some(tls) = options.get("tls")
        && flag(options, "tls")?
    {
        let name = if *inner == Disguise::Http { "http" } else { "tls" };
        return Err(web::contradiction(tls, &format!("obfs={name}")));
    }
    if disguises.contains(&Disguise::FakeTls)
        && let Some(tls) = options.get("tls")
        && flag(options, "tls")?
    {
        return Err(web::contradiction(tls, "obfs=tls"));
    }
    Ok(disguises)
}

fn obfs(options: &Options) -> Result<Option<Vec<Disguise>>, ConfigError> {
    let expected = "a disguise (http, tls or websocket; a server may take both of http,tls)";
    let Some((name, text)) = value(options, "obfs", expected)? else { return Ok(None) };
    text.split(',')
        .map(|disguise| match disguise.trim() {
            "http" => Ok(Disguise::Http),
            "tls" => Ok(Disguise::FakeTls),
            "websocket" | "ws" => Ok(Disguise::WebSocket),
            "httpupgrade" => Ok(Disguise::HttpUpgrade),
            _ => Err(ConfigError::option(name, text, expected)),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn mode(options: &Options) -> Result<Option<Disguise>, ConfigError> {
    let expected = "a mode (websocket or httpupgrade)";
    match value(options, "mode", expected)? {
        None => Ok(None),
        Some((_, "websocket" | "ws")) => Ok(Some(Disguise::WebSocket)),
        Some((_, "httpupgrade" | "http-upgrade")) => Ok(Some(Disguise::HttpUpgrade)),
        Some((name, other)) => Err(ConfigError::option(name, other, expected)),
    }
}
