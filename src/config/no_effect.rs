//! Options that say nothing to a client of simple-obfs's disguises, and of which the log warns: a path that is not sent
//! hides nothing.

use super::error::ConfigError;
use super::options::Options;
use super::web;

/// Of `obfs=http`, whose request is simple-obfs's.
pub(super) fn obfs_http(options: &Options) -> Result<(), ConfigError> {
    web::warn_of_no_pings(options, "obfs=http")?;
    warn(options, &["header", "user-agent"], "obfs=http", "its request is simple-obfs's");
    Ok(())
}

/// Of `obfs=tls`, which has no request.
pub(super) fn obfs_tls(options: &Options) -> Result<(), ConfigError> {
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
            warnings("obfs=tls;path=/s3cret;obfs-host=a.example", obfs_tls),
            ["option `path` has no effect with obfs=tls: it sends no HTTP request"]
        );
        assert_eq!(
            warnings("obfs=http;path=/a;header=A: b;keepalive=5", obfs_http),
            [
                "option `keepalive` has no effect with obfs=http: only mode=websocket has pings",
                "option `header` has no effect with obfs=http: its request is simple-obfs's"
            ]
        );
        assert_eq!(warnings("obfs=http;obfs-uri=/a;http-method=POST;handshake=eager", obfs_http), [""; 0]);
    }
}
