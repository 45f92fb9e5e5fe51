//! From what was said to a configuration.

use super::disguise::{Disguise, disguises};
use super::endpoints::Addresses;
use super::file::File;
use super::options::{Kind, OPTIONS, Options};
use super::role::{self, Role};
use super::trusted::trusted_proxies;
use super::values::*;
use super::website::{check_folder, failover};
use super::*;
use crate::net::addr::{Host, HostPort};
use crate::wire::http::host::escape_unprintable;
use crate::wire::http::host::{without_port, without_query};
use std::ffi::OsString;

/// What the process was started with, gathered by the caller so that configuration is a pure function.
#[derive(Debug, Default)]
pub struct ProcessEnv {
    /// The command line, the program's own name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub vars: Vec<(OsString, OsString)>,
    /// The parent process's name, where the system tells it.
    pub parent: Option<String>,
}

impl ProcessEnv {
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
pub fn read(env: &ProcessEnv) -> Result<Command, ConfigError> {
    let program = env.program();
    if let Some(answer) = without_settings(env, &program) {
        return answer;
    }
    let cli = match cli::parse(&program, &env.args)? {
        cli::Parsed::Print(text) => return Ok(Command::Print(text)),
        cli::Parsed::Demo => return Ok(Command::Demo),
        cli::Parsed::Probe(config) => return Ok(Command::Probe(config)),
        cli::Parsed::Manuals(folder) => return Ok(Command::Manuals(folder)),
        cli::Parsed::Run(cli) => *cli,
    };
    let plugin_options = env.var(sip003::PLUGIN_OPTIONS)?;
    let (from_host, notes) = sip003::parse_with_notes(plugin_options.as_deref().unwrap_or_default())?;
    // The first of a name wins, so what the command line says stands in front, and the file behind.
    let mut options = Options::new(cli.options.into_iter().chain(from_host.iter().cloned()));
    notes.into_iter().for_each(|note| options.warn(note));
    options.warn_of_repeats(&from_host);
    let file = match value(&options, "c", "the name of a file")? {
        Some((_, path)) => Some(File::read(path)?),
        None => None,
    };
    let as_v2ray_plugin = go_cli::is_meant(&program);
    options.check_understood(&from_host, as_v2ray_plugin || file.is_some())?;
    let of_string = options.len();
    if let Some(file) = &file {
        file.notes.iter().for_each(|note| options.warn(note.clone()));
        for (option, place) in &file.options {
            options.add_from_file(option.clone(), place);
        }
    }

    // v2ray-plugin's options of the same meaning go before the variables.
    let mut addresses =
        cli.addresses.or(Addresses::from_options(&options)?).or(Addresses::from_environment(env)?);
    let remote_host = addresses.remote_host.as_ref().or(file.as_ref().and_then(|file| file.server.as_ref()));
    let evidence = role::Evidence {
        subcommand: cli.role,
        program: &program,
        remote_host: remote_host.map(|setting| setting.value.as_str()),
        parent: env.parent.as_deref(),
    };
    let (role, role_reason) = role::decide(&options, &evidence)?;
    options.warn_of_other_half(of_string, role, &role_reason);
    if let Some(file) = file {
        addresses = addresses.or(file.addresses(role)?);
    }
    if as_v2ray_plugin {
        addresses = addresses.or(go_cli::defaults(role));
    }
    for spec in OPTIONS.iter().filter(|spec| spec.kind == Kind::Flag) {
        flag(&options, spec.name)?;
    }
    let disguises = disguises(&options, role, as_v2ray_plugin)?;
    let hosted = [sip003::REMOTE_HOST, sip003::LOCAL_HOST]
        .iter()
        .all(|name| env.vars.iter().any(|(key, _)| key == name));

    let half = match role {
        Role::Client => Half::Client(Box::new(client(&options, &addresses, &disguises)?)),
        Role::Server => {
            let home = env.var("HOME")?;
            Half::Server(Box::new(server(&options, &addresses, &disguises, home.as_deref())?))
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
        warnings: options.take_warnings(),
        unknown: options.unknown,
    })))
}

/// What is asked by somebody who tries the program out at a prompt: with nothing, or one letter.
fn without_settings(env: &ProcessEnv, program: &str) -> Option<Result<Command, ConfigError>> {
    let by_a_host = env.vars.iter().any(|(name, _)| name.to_string_lossy().starts_with("SS_"));
    let drop_in = go_cli::is_meant(program) || matches!(program, "obfs-local" | "obfs-server");
    if by_a_host || drop_in {
        return None;
    }
    let arguments: Vec<_> = env.args.iter().skip(1).map(|arg| arg.to_string_lossy()).collect();
    match arguments.iter().map(AsRef::as_ref).collect::<Vec<&str>>().as_slice() {
        [] | ["-v"] => Some(Err(ConfigError::NothingSaid(cli::usage()))),
        ["-V"] => Some(Ok(Command::Print(cli::version()))),
        _ => None,
    }
}

fn client(
    options: &Options,
    addresses: &Addresses,
    disguises: &[Disguise],
) -> Result<ClientConfig, ConfigError> {
    let servers = addresses.remote(Role::Client)?;
    let listen = addresses.local(Role::Client)?;
    // A server's option in a client's string is checked all the same: it is the string of both.
    failover(options, tls(options)?.is_some(), false)?;
    fake_tls_names(options)?;
    names::routes(options)?;
    trusted_proxies(options)?;
    handshake(options)?;
    let name = host_header(options)?;
    let hello_name = names::client_name(options)?;
    if tls(options)?.is_none()
        && disguises.first() != Some(&Disguise::FakeTls)
        && let Some(sni) = names::first(options, false)
    {
        return Err(web::needs_tls(sni));
    }
    let disguise = match disguises.first() {
        Some(Disguise::WebSocket) => {
            ClientDisguise::Web(web::client(options, true, handshake(options)?, servers.first())?)
        }
        Some(Disguise::HttpUpgrade) => {
            ClientDisguise::Web(web::client(options, false, handshake(options)?, servers.first())?)
        }
        Some(Disguise::FakeTls) => ClientDisguise::FakeTls {
            server_name: name
                .map(|name| without_port(&name).to_owned())
                .or(hello_name)
                .unwrap_or_else(|| servers.first().map(name_of).unwrap_or_default()),
        },
        Some(Disguise::Http | Disguise::Auto) | None => {
            let request = RequestConfig {
                method: method(options)?,
                path: path(options, &["obfs-uri", "path"])?
                    .map_or_else(|| "/".to_owned(), |path| escape_unprintable(&path)),
                host: http_host(name, servers.first()),
            };
            ClientDisguise::Http(request, handshake(options)?)
        }
    };
    Ok(ClientConfig { listen, servers, disguise })
}

/// A server's name as it stands in a hello.
pub(super) fn name_of(server: &HostPort) -> String {
    match server.host.without_zone() {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name,
    }
}

/// What the `Host` header says: the name, by default the server's own, and the port where it is not the
/// one that HTTP implies. A name with a port of its own keeps it.
pub(super) fn http_host(name: Option<String>, server: Option<&HostPort>) -> String {
    let Some(server) = server else { return name.unwrap_or_default() };
    let server = HostPort { host: server.host.without_zone(), port: server.port };
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
    let takes = |disguise| disguises.contains(&disguise);
    let auto = takes(Disguise::Auto);
    let frames = auto || takes(Disguise::WebSocket) || takes(Disguise::HttpUpgrade);
    let without_query = |path: String| without_query(&path).to_owned();
    // v2ray-plugin's server takes one path, `/` by default; simple-obfs's, any.
    let web_path = path(options, &["path", "obfs-uri"])?.map_or_else(|| "/".to_owned(), without_query);
    let path = path(options, &["obfs-uri", "path"])?.map(without_query);
    let path = if auto || takes(Disguise::Http) { path } else { Some(web_path.clone()) };
    let http =
        HttpRule { method: method(options)?, path, host: host.clone(), web_path: frames.then_some(web_path) };
    let fake_tls = auto || takes(Disguise::FakeTls);
    // A client's options in a server's string are checked all the same: it is the string of both.
    web::mux(options)?;
    web::headers(options)?;
    let (tls, demand) = match tls(options)? {
        Some(demand) => (Some(web::tls_server(options, home)?), Some(demand)),
        None => {
            if let (Some(_), Some(_)) = (options.get("cert"), options.get("key")) {
                options.warn("options `cert` and `key` are not used: `tls` is missing".to_owned());
            }
            (None, None)
        }
    };
    // Where TLS is written beside a disguise, nothing comes in the clear.
    let tls_alone = demand == Some(Tls::Only) || (demand.is_some() && !auto);
    let names = fake_tls_names(options)?;
    if let Some(option) = options.get("obfs-tls-host") {
        if demand == Some(Tls::Only) {
            return Err(web::contradiction(option, "tls=only", "a look-alike of TLS is no TLS"));
        }
        if !fake_tls {
            return Err(ConfigError::option(
                &option.key,
                option.value.as_deref().unwrap_or_default(),
                "possible without `obfs=tls` or `mode=auto`: add one of them, or leave this out",
            ));
        }
    }
    let fake_tls = match (fake_tls, tls.is_some(), names.is_empty()) {
        (false, _, _) => None,
        // Beside real TLS, whose visitors ask for any name, only who knows a name is taken.
        (true, true, true) => None,
        (true, _, false) => Some(FakeTlsRule { server_names: names }),
        (true, false, true) => Some(FakeTlsRule { server_names: host.into_iter().collect() }),
    };
    let routes = names::routes(options)?;
    if tls.is_none()
        && !takes(Disguise::FakeTls)
        && let Some(sni) = names::first(options, true)
    {
        return Err(web::needs_tls(sni));
    }
    let rules = Rules {
        http: (frames || takes(Disguise::Http)).then_some(http),
        fake_tls,
        tls: tls.is_some() || !routes.is_empty(),
        tls_alone,
    };
    let failover = failover(options, tls.is_some(), auto && !tls_alone)?;
    check_folder(options, &failover.plain)?;
    let fronts = trusted_proxies(options)?;
    Ok(ServerConfig { listen, backend: backends.swap_remove(0), auto, rules, failover, tls, routes, fronts })
}
