//! gRPC: v2ray's "gun", as the fork of v2ray-plugin that is maintained and xray-plugin have it with `mode=grpc`.

use super::error::ConfigError;
use super::host::host;
use super::options::Options;
use super::tls::{TlsClientConfig, tls, tls_client};
use super::web::{host_and_name, mux, user_agent};
use crate::net::addr::HostPort;
use crate::wire::grpc::Service;

/// The name that v2ray has where none is given.
const DEFAULT_SERVICE: &str = "GunService";

/// What v2ray 4.45's client calls itself: the name of its library.
const DEFAULT_USER_AGENT: &str = "grpc-go/1.41.0";

/// The longest name that is taken, in bytes: a path that every web server takes.
const MOST_NAME: usize = 512;

/// How many services a server may have.
const MOST_SERVICES: usize = 64;

const EXPECTED: &str =
    "the name of a service, or a path that begins with a slash (printable, at most 512 bytes)";

/// Why other options say nothing.
const WHY: &str = "a tunnel is asked for by `serviceName`";

/// A client's tunnels in gRPC.
#[derive(Debug, Clone)]
pub struct GrpcClientConfig {
    /// The path that is asked for.
    pub path: String,
    /// The host that is asked for; where there is none, the address that was dialled.
    pub authority: Option<String>,
    /// The value of `user-agent`.
    pub user_agent: String,
    /// The most sessions that share a stream at a time; 0 for no Mux.Cool.
    pub mux: usize,
    /// The TLS around it.
    pub tls: Option<TlsClientConfig>,
}

/// What a client needs to know for `mode=grpc`.
pub(super) fn client(options: &Options, server: Option<&HostPort>) -> Result<GrpcClientConfig, ConfigError> {
    for option in
        ["path", "obfs-uri", "header", "handshake", "http-method"].iter().filter_map(|name| options.get(name))
    {
        options.warn(format!("option `{}` has no effect with mode=grpc: {WHY}", option.key));
    }
    let services = services(options)?;
    warn_of_mistakes(options);
    if let ([_, _, ..], Some(option)) = (&*services, options.get("serviceName")) {
        options.warn(format!("option `{}`: a client asks for the first service alone", option.key));
    }
    let service = services.into_iter().next().unwrap_or_else(|| Service::new(DEFAULT_SERVICE));
    let tls = match tls(options)? {
        None => None,
        Some(_) => Some(tls_client(options, host_and_name(options, server)?.1)?),
    };
    let authority = match (host(options)?, &tls) {
        (Some(host), _) => Some(host),
        (None, Some(tls)) => Some(tls.server_name.clone()),
        (None, None) => None,
    };
    let user_agent = user_agent(options)?.unwrap_or_else(|| DEFAULT_USER_AGENT.to_owned());
    /// The plugins have it in WebSocket alone.
    const NO_MUX: usize = 0;
    let mux = mux(options, NO_MUX)?.unwrap_or(NO_MUX);
    Ok(GrpcClientConfig { path: service.tun, authority, user_agent, mux, tls })
}

/// The services of a server that takes gRPC by name (`named`), or every kind of client (`auto`). `None` where it takes
/// no gRPC.
pub(super) fn server(
    options: &Options,
    named: bool,
    auto: bool,
) -> Result<Option<Vec<Service>>, ConfigError> {
    let services = services(options)?;
    if services.is_empty() {
        if !named {
            return Ok(None);
        }
        options.warn(format!(
            "whoever asks for the service `{DEFAULT_SERVICE}`, which v2ray's clients have where none is given, finds the \
             tunnel: give it a name that is hard to guess (serviceName=NAME), here and at the clients"
        ));
        return Ok(Some(vec![Service::new(DEFAULT_SERVICE)]));
    }
    if !named && !auto {
        if let Some(option) = options.get("serviceName") {
            options.warn(format!("option `{}` has no effect without `mode=grpc` or `mode=auto`", option.key));
        }
        return Ok(None);
    }
    warn_of_mistakes(options);
    let default = format!("`{DEFAULT_SERVICE}`");
    for (name, known) in [(DEFAULT_SERVICE, &*default), ("", "the empty name")] {
        if services.contains(&Service::new(name)) {
            options.warn(format!(
                "option `serviceName`: {known} is known to whoever looks for tunnels: a name that is hard to guess is \
                 not found"
            ));
        }
    }
    Ok(Some(services))
}

/// Warns where a client has a service, and another disguise.
pub(super) fn warn_of_no_grpc(options: &Options) {
    if let Some(option) = options.get("serviceName") {
        options.warn(format!("option `{}` has no effect without `mode=grpc`", option.key));
    }
}

/// Warns where a server that takes nothing but gRPC has what is asked of other requests.
pub(super) fn warn_of_no_requests(options: &Options) {
    for option in ["path", "obfs-uri", "http-method"].iter().filter_map(|name| options.get(name)) {
        options.warn(format!("option `{}` has no effect with mode=grpc: {WHY}", option.key));
    }
}

/// Warns of names that are surely meant otherwise than they are read.
fn warn_of_mistakes(options: &Options) {
    for option in options.all("serviceName") {
        if let Some(mistake) = option.value.as_deref().and_then(mistake) {
            options.warn(format!("option `{}`: {mistake}", option.key));
        }
    }
}

/// What becomes of a name that is surely meant otherwise, and what to write instead. The name itself may be a secret.
fn mistake(name: &str) -> Option<String> {
    if Service::new(name).tun == "/" {
        return Some(
            "the path that is asked for is `/`, where the website's visitors come: write a name that is hard to guess \
             (serviceName=NAME)"
                .to_owned(),
        );
    }
    let scheme = name.split_once("://").map(|(scheme, _)| scheme);
    if let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Some(format!(
            "a URL is taken for a name, and the path that is asked for is `/{scheme}:%2F%2F…/Tun`: write the name alone \
             (serviceName=NAME), and the host with the option `host`"
        ));
    }
    if name.contains(',') {
        return Some(
            "a comma does not part names, and the path that is asked for has all of it, as `…%2C…`: write each name in \
             an option of its own (serviceName=ONE;serviceName=OTHER)"
                .to_owned(),
        );
    }
    let method = ["/Tun", "/TunMulti"].into_iter().find(|method| name.ends_with(method));
    if let (Some(method), false) = (method, name.starts_with('/')) {
        return Some(format!(
            "the method comes behind the name by itself, and the path that is asked for is `/…%2F{}/Tun`: write the name \
             without `{method}` (serviceName=NAME), or the whole path with a slash in front (serviceName=/NAME/Tun)",
            &method[1..]
        ));
    }
    let escape = percent_escape(name)?;
    Some(format!(
        "the name is escaped by itself, and the path that is asked for has `%25{}` for `{escape}`: write the name as it \
         is without escapes",
        &escape[1..]
    ))
}

/// The first percent sign in `name` that two hexadecimal digits follow, with these.
fn percent_escape(name: &str) -> Option<&str> {
    name.match_indices('%').find_map(|(at, _)| {
        let escape = name.get(at..at + 3)?;
        escape[1..].bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(escape)
    })
}

/// All services that are named.
fn services(options: &Options) -> Result<Vec<Service>, ConfigError> {
    let mut services = Vec::new();
    for option in options.all("serviceName") {
        let name = option.value.as_deref().unwrap_or_default();
        let fits = name.len() <= MOST_NAME && !name.chars().any(char::is_control);
        if !fits || services.len() == MOST_SERVICES {
            return Err(ConfigError::option(&option.key, name, EXPECTED));
        }
        services.push(Service::new(name));
    }
    Ok(services)
}
