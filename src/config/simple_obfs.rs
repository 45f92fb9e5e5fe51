//! simple-obfs's disguises, checked: what a client of each says, and which requests and hellos a server takes. Of options
//! that say nothing to them the log warns: a path that is not sent hides nothing.

use super::backends::BackendRoutes;
use super::error::ConfigError;
use super::host::{host_header, http_host, name_of};
use super::options::Options;
use super::tls::Tls;
use super::values::{fake_tls_names, method, path};
use super::web;
use crate::detect::{FakeTlsRule, HttpRule};
use crate::net::addr::HostPort;
use crate::wire::http::host::{escape_unprintable, without_port, without_query};

/// The upgrade request of a client.
#[derive(Debug, Clone)]
pub struct RequestConfig {
    /// The method, `GET` unless told otherwise.
    pub method: String,
    /// The path with its leading slash, and the query if there is one.
    pub path: String,
    /// The value of the `Host` header.
    pub host: String,
}

/// What a client of `obfs=http` asks for, with this name in `obfs-host`.
pub(super) fn http_client(
    options: &Options,
    name: Option<String>,
    server: Option<&HostPort>,
) -> Result<RequestConfig, ConfigError> {
    warn_of_http(options)?;
    let path = path(options, &["obfs-uri", "path"])?;
    Ok(RequestConfig {
        method: method(options)?,
        path: path.map_or_else(|| "/".to_owned(), |path| escape_unprintable(&path)),
        host: http_host(name, server),
    })
}

/// The name in the hello of a client of `obfs=tls`, with these in `obfs-host` and in `sni`.
pub(super) fn tls_client(
    options: &Options,
    name: Option<String>,
    hello_name: Option<String>,
    server: Option<&HostPort>,
) -> Result<String, ConfigError> {
    warn_of_tls(options)?;
    let name = name.map(|name| without_port(&name).to_owned()).or(hello_name);
    Ok(name.unwrap_or_else(|| server.map(name_of).unwrap_or_default()))
}

/// The name of `obfs-host`, as a server compares it.
fn host(options: &Options) -> Result<Option<String>, ConfigError> {
    Ok(host_header(options)?.map(|host| without_port(&host).to_ascii_lowercase()))
}

/// Which upgrade requests are taken: of `obfs=http`, of WebSocket and HTTPUpgrade (`web`), or of neither.
pub(super) fn http_rule(
    options: &Options,
    http: bool,
    web: bool,
    without_paths: Option<&str>,
    routes: &BackendRoutes,
) -> Result<Option<HttpRule>, ConfigError> {
    let without_query = |path: String| without_query(&path).to_owned();
    // v2ray-plugin's server takes one path, `/` by default; simple-obfs's, any.
    let web_path = path(options, &["path", "obfs-uri"])?.map(without_query).filter(|_| web);
    let path = path(options, &["obfs-uri", "path"])?.map(without_query).filter(|_| http);
    let given = [(&web_path, ["path", "obfs-uri"]), (&path, ["obfs-uri", "path"])];
    routes.check_beside(options, without_paths, given)?;
    let web_path = web.then(|| web_path.unwrap_or_else(|| "/".to_owned()));
    let rule = HttpRule {
        method: method(options)?,
        path: if http { path } else { web_path.clone() },
        routes: routes.path_table(),
        host: host(options)?,
        web_path,
    };
    Ok((web || http).then_some(rule))
}

/// Which hellos of `obfs=tls` are taken, on a server that is to take them and on one that is not.
pub(super) fn fake_tls_rule(
    options: &Options,
    taken: bool,
    tls: Option<Tls>,
) -> Result<Option<FakeTlsRule>, ConfigError> {
    let names = fake_tls_names(options)?;
    if let Some(option) = options.get("obfs-tls-host") {
        if tls == Some(Tls::Only) {
            return Err(ConfigError::conflict(option, "tls=only", "a look-alike of TLS is no TLS"));
        }
        if !taken {
            let needs = "`obfs=tls` or `mode=auto`: add one of them, or leave this out";
            return Err(ConfigError::needs(option, needs));
        }
    }
    Ok(match (taken, tls, names.is_empty()) {
        (false, _, _) => None,
        // Beside real TLS, whose visitors ask for any name, only who knows a name is taken.
        (true, Some(_), true) => None,
        (true, None, true) => Some(FakeTlsRule { server_names: host(options)?.into_iter().collect() }),
        (true, _, false) => Some(FakeTlsRule { server_names: names }),
    })
}

/// Warns of what says nothing to `obfs=http`, whose request is simple-obfs's.
fn warn_of_http(options: &Options) -> Result<(), ConfigError> {
    web::warn_of_no_pings(options, "obfs=http")?;
    warn(options, &["header", "user-agent"], "obfs=http", "its request is simple-obfs's");
    Ok(())
}

/// The same for `obfs=tls`, which has no request.
fn warn_of_tls(options: &Options) -> Result<(), ConfigError> {
    web::warn_of_no_pings(options, "obfs=tls")?;
    let of_requests = ["obfs-uri", "path", "http-method", "handshake", "header", "user-agent"];
    warn(options, &of_requests, "obfs=tls", "it sends no HTTP request");
    Ok(())
}

fn warn(options: &Options, names: &[&str], disguise: &str, why: &str) {
    for option in names.iter().filter_map(|name| options.get(name)) {
        options.warn(format!("option `{}` has no effect with {disguise}: {why}", option.key));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sip003::parse_options;
    use super::*;

    fn warnings(text: &str, of: fn(&Options) -> Result<(), ConfigError>) -> Vec<String> {
        let options = Options::new(parse_options(text).unwrap());
        of(&options).unwrap();
        options.take_warnings()
    }

    #[test]
    fn what_says_nothing_is_told() {
        assert_eq!(
            warnings("obfs=tls;path=/s3cret;obfs-host=a.example", warn_of_tls),
            ["option `path` has no effect with obfs=tls: it sends no HTTP request"]
        );
        assert_eq!(
            warnings("obfs=http;path=/a;header=A: b;keepalive=5", warn_of_http),
            [
                "option `keepalive` has no effect with obfs=http: only mode=websocket has pings",
                "option `header` has no effect with obfs=http: its request is simple-obfs's"
            ]
        );
        assert_eq!(warnings("obfs=http;obfs-uri=/a;http-method=POST;handshake=eager", warn_of_http), [""; 0]);
    }
}
