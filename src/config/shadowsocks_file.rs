//! The configuration file of a Shadowsocks program: shadowsocks-rust's (JSON5, one server or several) and -libev's.

use super::ConfigError;
use crate::os::input;
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::path::Path;

/// A server as the file has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Hosts, of which there may be several.
    pub hosts: Vec<String>,
    /// `server_port`.
    pub port: Option<u16>,
    /// `method`.
    pub method: Option<String>,
    /// `password`.
    pub password: Option<String>,
    /// `plugin`, unless it is empty.
    pub plugin: Option<String>,
    /// `plugin_opts`.
    pub plugin_opts: Option<String>,
    /// `remarks`, or `name`.
    pub name: Option<String>,
    /// Users by name and key (SIP022's identities).
    pub users: Vec<(String, String)>,
    /// Whether there are `plugin_args`, too.
    pub has_plugin_args: bool,
    /// Whether the file says where a client listens (`local_port`, `locals`). Files of servers may have that, too.
    pub has_local: bool,
}

/// The most servers, and users of one, that are read.
const MOST: usize = 1024;

/// Reads a text file of a length that a configuration may have.
///
/// # Errors
///
/// It cannot be read, is longer, or no text.
pub fn read_limited(path: &str) -> Result<String, ConfigError> {
    /// A configuration is a few hundred bytes; a device may have no end.
    const LONGEST: u64 = 1024 * 1024;
    let fail = |problem: String| ConfigError::File { place: path.into(), problem };
    let read = match path {
        "-" => input::read_stdin(LONGEST),
        path => input::open(Path::new(path)).and_then(|file| input::read(&file, LONGEST)),
    };
    let bytes = read.map_err(|error| fail(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| fail("this is no UTF-8".to_owned()))
}

/// Reads the servers of a file with this text. `path` is its name in errors.
///
/// # Errors
///
/// It is no such file, or something in it is of another kind than it has to be.
pub fn parse(path: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // What shadowsocks-rust takes.
    let loose = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: true,
        allow_hexadecimal_numbers: true,
        allow_unary_plus_numbers: true,
        allow_bare_decimal_point_numbers: true,
        allow_non_finite_numbers: true,
        allow_extended_string_escapes: true,
    };
    let parsed =
        parse_to_ast(text, &CollectOptions::default(), &loose).map_err(|error| ConfigError::File {
            place: format!("{path}:{}:{}", error.line_display(), error.column_display()),
            problem: error.kind().to_string(),
        })?;
    let reader = Reader { path, text };
    let Some(Value::Object(object)) = parsed.value else {
        return Err(reader.fail(0, "expected a JSON object {…}".to_owned()));
    };
    let has_local = ["local_port", "locals"].iter().any(|key| object.get(key).is_some());
    let mut entries = Vec::new();
    if object.get("server").is_some() || object.get("server_port").is_some() {
        entries.extend(reader.entry(&object)?);
    }
    for key in ["servers", "shadowsocks"] {
        let Some(property) = object.get(key) else { continue };
        let Value::Array(list) = &property.value else {
            return Err(reader.fail(property.range.start, format!("key `{key}`: expected a list of servers")));
        };
        for item in list.elements.iter().take(MOST) {
            let Value::Object(server) = item else {
                return Err(
                    reader.fail(property.range.start, format!("key `{key}`: expected a list of servers"))
                );
            };
            entries.extend(reader.entry(server)?);
        }
    }
    if entries.is_empty() {
        return Err(reader.fail(0, "there is no `server` in it".to_owned()));
    }
    for entry in &mut entries {
        entry.has_local = has_local;
    }
    Ok(entries)
}

/// A file that is read.
struct Reader<'a> {
    path: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn fail(&self, at: usize, problem: String) -> ConfigError {
        let line = 1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count();
        ConfigError::File { place: format!("{}:{line}", self.path), problem }
    }

    /// A server; `None` for one that is switched off.
    fn entry(&self, object: &Object<'_>) -> Result<Option<Entry>, ConfigError> {
        let is_true = |value: &Value<'_>| matches!(value, Value::BooleanLit(truth) if truth.value);
        if object.get("disabled").is_some_and(|property| is_true(&property.value)) {
            return Ok(None);
        }
        let text =
            |names: &[&str]| names.iter().find_map(|name| self.text(object, name).transpose()).transpose();
        let port = text(&["server_port", "port"])?;
        let port = port.map(|text| match text.parse() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(self
                .fail(object.range.start, "key `server_port`: expected a port from 1 to 65535".to_owned())),
        });
        Ok(Some(Entry {
            hosts: self.hosts(object)?,
            port: port.transpose()?,
            method: text(&["method"])?,
            password: text(&["password"])?,
            plugin: text(&["plugin"])?.filter(|plugin| !plugin.is_empty()),
            plugin_opts: text(&["plugin_opts"])?,
            name: text(&["remarks", "name"])?,
            users: self.users(object)?,
            has_plugin_args: object
                .get("plugin_args")
                .is_some_and(|args| !matches!(&args.value, Value::Array(list) if list.elements.is_empty())),
            has_local: false,
        }))
    }

    /// The text or number under a key.
    fn text(&self, object: &Object<'_>, key: &str) -> Result<Option<String>, ConfigError> {
        match object.get(key).map(|property| (&property.value, property.range.start)) {
            None | Some((Value::NullKeyword(_), _)) => Ok(None),
            Some((Value::StringLit(text), _)) => Ok(Some(text.value.clone().into_owned())),
            Some((Value::NumberLit(number), _)) => Ok(Some(number.value.to_owned())),
            Some((_, at)) => Err(self.fail(at, format!("key `{key}`: expected a text"))),
        }
    }

    fn hosts(&self, object: &Object<'_>) -> Result<Vec<String>, ConfigError> {
        if let Some(property) = object.get("server")
            && let Value::Array(list) = &property.value
        {
            let host = |value: &Value<'_>| match value {
                Value::StringLit(text) => Some(text.value.clone().into_owned()),
                _ => None,
            };
            let hosts: Option<Vec<_>> = list.elements.iter().take(MOST).map(host).collect();
            let wrong =
                || self.fail(property.range.start, "key `server`: expected a list of hosts".to_owned());
            return hosts.ok_or_else(wrong);
        }
        let host = self.text(object, "server")?;
        Ok(match host {
            Some(host) => vec![host],
            None => self.text(object, "address")?.into_iter().collect(),
        })
    }

    fn users(&self, object: &Object<'_>) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(property) = object.get("users") else { return Ok(Vec::new()) };
        let wrong = || {
            self.fail(property.range.start, "key `users`: expected a list of names and passwords".to_owned())
        };
        let Value::Array(list) = &property.value else { return Err(wrong()) };
        let user = |value: &Value<'_>| {
            let Value::Object(user) = value else { return Err(wrong()) };
            let (name, password) = (self.text(user, "name")?, self.text(user, "password")?);
            Ok((name.unwrap_or_default(), password.ok_or_else(wrong)?))
        };
        list.elements.iter().take(MOST).map(user).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_as_shadowsocks_rust_and_libev_have_it() {
        let text = "{ // mine\n server: '::', \"server_port\": 443, /* no\n */ \"method\": \"aes-256-gcm\",\n \
                    \"password\": \"p\\\"\\u00e9\", \"plugin\": \"obfs-rs\", \"plugin_opts\": \"obfs=http\", }";
        let wanted = Entry {
            hosts: vec!["::".into()],
            port: Some(443),
            method: Some("aes-256-gcm".into()),
            password: Some("p\"é".into()),
            plugin: Some("obfs-rs".into()),
            plugin_opts: Some("obfs=http".into()),
            ..Entry::default()
        };
        assert_eq!(parse("f", text).unwrap(), [wanted]);
        let hosts =
            &parse("f", r#"{"server":["::0","a.example"],"server_port":"80","plugin":""}"#).unwrap()[0];
        assert_eq!((hosts.hosts.len(), hosts.port, hosts.plugin.as_ref()), (2, Some(80), None));
    }

    #[test]
    fn several_servers_and_users() {
        let text = r#"{"servers":[{"address":"a.example","port":1,"method":"m","password":"k","remarks":"A",
            "users":[{"name":"u","password":"x"}]},{"server":"b","server_port":2,"disabled":true},
            {"server":"c.example","server_port":3}]}"#;
        let entries = parse("f", text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].hosts, ["a.example"]);
        assert_eq!((entries[0].name.as_deref(), entries[0].port), (Some("A"), Some(1)));
        assert_eq!(entries[0].users, [("u".to_owned(), "x".to_owned())]);
        assert_eq!(entries[1].hosts, ["c.example"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, wanted) in [
            ("", "f:1: expected a JSON object"),
            ("[]", "f:1: expected a JSON object"),
            ("{}", "f:1: there is no `server` in it"),
            ("{\"server\":", "configuration file f:1:"),
            ("{\n\"server\": {}}", "f:2: key `server`: expected a text"),
            ("{\"server\":\"a\",\"server_port\":0}", "key `server_port`: expected a port"),
            ("{\"servers\":1}", "key `servers`: expected a list of servers"),
            ("{\"servers\":[1]}", "key `servers`: expected a list of servers"),
            ("{\"server\":\"a\",\"users\":[{}]}", "key `users`: expected a list"),
            ("{\"server\":[1]}", "key `server`: expected a list of hosts"),
        ] {
            let message = parse("f", text).unwrap_err().to_string();
            assert!(message.contains(wanted) && !message.contains('\n'), "{text}: {message}");
        }
        assert!(parse("f", &"[".repeat(100_000)).is_err());
        assert!(read_limited("/no/such/file").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        assert!(
            read_limited("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("/dev/zero: it is longer than 1024 KiB")
        );
    }
}
