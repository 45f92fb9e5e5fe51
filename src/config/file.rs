//! The configuration file of `-c`: a JSON object with simple-obfs's keys, or ours. Comments are taken, and
//! a comma behind the last entry, and a byte order mark: simple-obfs takes the last two, and who writes
//! such a file by hand leaves them in.

use super::endpoints::{Addresses, Setting, split_address};
use super::error::{ConfigError, one_line};
use super::json;
use super::options::{Kind, find, same_name};
use super::role::Role;
use super::sip003::PluginOption;
use crate::os::{input, privileged};
use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::collections::BTreeMap;

/// Keys of the Shadowsocks programs, whose file is often the same one.
const SHADOWSOCKS: &[&str] = &[
    "password",
    "port_password",
    "key",
    "method",
    "protocol",
    "mode",
    "plugin",
    "plugin_opts",
    "plugin_args",
    "plugin_mode",
    "workers",
    "no_delay",
    "keep_alive",
    "reuse_port",
    "ipv6_only",
    "udp_timeout",
    "udp_max_associations",
    "remarks",
    "tag",
    "id",
    "locals",
    "servers",
    "users",
    "manager_address",
    "manager_port",
    "balancer",
    "security",
    "log",
    "runtime",
    "tunnel_address",
    "acl",
    "dns",
];

/// What `mode` says in a file of a Shadowsocks program.
const MODES: &[&str] = &["tcp_only", "udp_only", "tcp_and_udp"];

/// What a configuration file says.
#[derive(Debug, Default)]
pub struct File {
    /// Options, each with its file and line.
    pub options: Vec<(PluginOption, String)>,
    /// What the log is to warn of.
    pub notes: Vec<String>,
    /// `server`: what a client half dials, what a server half listens on.
    pub server: Option<Setting>,
    server_port: Option<Setting>,
    local_address: Option<Setting>,
    local_port: Option<Setting>,
    /// What a server half dials, host and port.
    destination: Option<Setting>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no JSON object of simple values.
    pub fn read(path: &str) -> Result<File, ConfigError> {
        /// A file of settings is a few hundred bytes; a device may have no end.
        const LONGEST: u64 = 1024 * 1024;
        let fail = |problem: String| ConfigError::File { place: path.into(), problem };
        // (It is read anew after a change of user, too.)
        let bytes = std::path::absolute(path)
            .and_then(|path| privileged::open(&path))
            .and_then(|file| input::read(&file, LONGEST))
            .map_err(|error| fail(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            ConfigError::File { place: format!("{path}:{line}"), problem: "this is no UTF-8".into() }
        })?;
        File::parse(path, &text)
    }

    /// Reads a file with this text. `path` is its name in errors.
    ///
    /// # Errors
    ///
    /// It is no JSON object of simple values.
    pub fn parse(path: &str, text: &str) -> Result<File, ConfigError> {
        // Notepad's beginning of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let fail = |at: usize, problem: String| ConfigError::File {
            place: format!("{path}:{}", line_at(text, at)),
            problem,
        };
        // Of JSON5 this is not the beginning: what is quoted must be, and so on.
        let strict = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let parsed = parse_to_ast(text, &CollectOptions::default(), &strict).map_err(|error| {
            let end = text.trim_end().len();
            // These are told where the thing begins that does not end.
            let unfinished = matches!(
                error.kind(),
                ParseErrorKind::UnterminatedObject
                    | ParseErrorKind::UnterminatedArray
                    | ParseErrorKind::UnterminatedCommentBlock
                    | ParseErrorKind::ExpectedObjectValue
            );
            if unfinished || error.range().start >= end {
                return fail(end, format!("the file ends too early, after line {}", line_at(text, end)));
            }
            ConfigError::File {
                place: format!("{path}:{}:{}", error.line_display(), error.column_display()),
                problem: json::problem(error.kind()),
            }
        })?;
        let object = match parsed.value {
            Some(Value::Object(object)) => object,
            None => return Err(fail(0, "the file is empty: expected a JSON object {…}".into())),
            Some(_) => return Err(fail(0, "expected a JSON object {…}".into())),
        };
        // Of a key that is there twice the last counts, as in most readers of JSON.
        let entries: BTreeMap<String, _> = object
            .properties
            .into_iter()
            .map(|entry| {
                let line = line_at(text, entry.range.start);
                let key = match entry.name {
                    ObjectPropName::String(name) => name.value.into_owned(),
                    ObjectPropName::Word(name) => name.value.to_owned(),
                };
                (key, (line, entry.value))
            })
            .collect();
        let has_certificate = entries.keys().any(|key| same_name(key, "cert"));
        // Two of the keys have a meaning for us, too.
        let is_shadowsocks = |key: &str, value: &Value<'_>| match (key, value) {
            ("mode", Value::StringLit(mode)) => MODES.contains(&mode.value.as_ref()),
            // What has neither is the base64 of a Shadowsocks key.
            ("key", Value::StringLit(key)) => !has_certificate || !key.value.contains(['.', '/', '\\']),
            _ => SHADOWSOCKS.contains(&key),
        };
        let mut file = File::default();
        for (key, (line, value)) in entries {
            let place = format!("{path}:{line}");
            // What is no option of ours may be what it likes.
            if is_shadowsocks(&key, &value) {
                continue;
            }
            let values = match texts(&key, &value) {
                Ok(values) => values,
                Err(_) if find(&key).is_none() && !ADDRESSES.iter().any(|name| same_name(&key, name)) => {
                    // Comments are written so, and other programs have more than options.
                    if !key.starts_with(['_', '/', '#', '$']) {
                        file.notes.push(format!("{place}: unknown key `{}`: it is ignored", one_line(&key)));
                    }
                    continue;
                }
                Err(problem) => {
                    return Err(ConfigError::File {
                        place,
                        problem: format!("key `{}`: {problem}", one_line(&key)),
                    });
                }
            };
            for value in values {
                let slot = |name: &str| same_name(&key, name);
                let setting = || Some(Setting::new(format!("{place}: {key}"), value.trim()));
                if slot("server") && value != "true" && value != "false" {
                    file.server = setting();
                } else if slot("server_port") {
                    file.server_port = setting();
                } else if slot("local_address") {
                    file.local_address = setting();
                } else if slot("local_port") {
                    file.local_port = setting();
                } else if slot("dst_addr") {
                    file.destination = setting();
                } else if !key.starts_with(['_', '/', '#', '$']) {
                    file.options.push((PluginOption { key: key.clone(), value: Some(value) }, place.clone()));
                }
            }
        }
        Ok(file)
    }

    /// The addresses that the file has for a half. simple-obfs's server dials `dst_addr` and leaves the
    /// local address to Shadowsocks, whose it is in a file for both.
    pub(super) fn addresses(self, role: Role) -> Result<Addresses, ConfigError> {
        let (local_host, local_port) = match (role, self.destination) {
            (Role::Client, _) => (self.local_address, self.local_port),
            (Role::Server, Some(Setting { name, value })) => split_address(&name, &value)?,
            (Role::Server, None) => (None, None),
        };
        Ok(Addresses { remote_host: self.server, remote_port: self.server_port, local_host, local_port })
    }
}

/// Keys that are addresses, and no options.
const ADDRESSES: &[&str] = &["server", "server_port", "local_address", "local_port", "dst_addr"];

/// The values of a key as texts: one, or none for null; for what may be given several times, one for each
/// item of a list; the hosts of `server` joined as SIP003 joins hosts.
fn texts(key: &str, value: &Value<'_>) -> Result<Vec<String>, &'static str> {
    let simple = |value: &Value<'_>| match value {
        Value::StringLit(text) => Some(text.value.clone().into_owned()),
        Value::NumberLit(number) => Some(number.value.to_owned()),
        Value::BooleanLit(truth) => Some(truth.value.to_string()),
        Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => None,
    };
    match value {
        Value::NullKeyword(_) => Ok(Vec::new()),
        Value::Array(list) if same_name(key, "server") => {
            let hosts: Option<Vec<String>> = list.elements.iter().map(simple).collect();
            hosts.map(|hosts| vec![hosts.join("|")]).ok_or("expected a list of hosts")
        }
        Value::Array(list) if find(key).is_some_and(|spec| matches!(spec.kind, Kind::Values(_))) => list
            .elements
            .iter()
            .map(simple)
            .collect::<Option<_>>()
            .ok_or("expected a list of texts, numbers, true or false"),
        value => simple(value).map(|text| vec![text]).ok_or("expected a text, a number, true or false"),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        File::parse("f.json", text).unwrap_err().to_string()
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        let Err(error) = File::read("/dev/zero") else { panic!("it is taken") };
        assert!(error.to_string().contains("/dev/zero: it is longer than 1024 KiB"), "{error}");
    }

    #[test]
    fn simple_obfs_keys_and_ours() {
        let text = r#"{ "server": ["a.example", "::1"], "server_port": 8388, "local_port": "1080",
            "timeout": 60, "fast_open": true, "obfs-host": "b.example",
            "method": "aes-256-gcm", "user": null }"#;
        let file = File::parse("f.json", text).unwrap();
        assert_eq!(file.server.as_ref().unwrap().value, "a.example|::1");
        let options: Vec<_> = file
            .options
            .iter()
            .map(|(option, place)| format!("{place} {}={}", option.key, option.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            options,
            ["f.json:2 fast_open=true", "f.json:2 obfs-host=b.example", "f.json:2 timeout=60"]
        );
    }

    #[test]
    fn files_as_people_write_them() {
        let options = |text: &str| -> Vec<String> {
            let file = File::parse("f.json", text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let option = |(option, _): (PluginOption, String)| {
                format!("{}={}", option.key, option.value.unwrap_or_default())
            };
            file.options.into_iter().map(option).collect()
        };
        for text in [
            r#"{"obfs":"http","t":60,}"#,
            "\u{feff}{\"obfs\":\"http\",\r\n\"t\":60}\r\n",
            r#"{"obfs":"http","t":60,"port_password":{"8388":"x"},"_comment":["a","b"],"//":"no"}"#,
            "{ // the disguise\n\"obfs\":\"http\", /* and\n the time */ \"t\":60 }",
            r#"{"obfs":"tls","obfs":"http","t":60,"users":[{"password":"x"}]}"#,
        ] {
            assert_eq!(options(text), ["obfs=http", "t=60"], "{text}");
        }
        assert_eq!(
            options(r#"{"header":["A: b","C: d"],"trusted":["::1","10.0.0.0/8"]}"#),
            ["header=A: b", "header=C: d", "trusted=::1", "trusted=10.0.0.0/8"]
        );
        assert_eq!(options(r#"{"mode":"tcp_and_udp","key":"MTIz"}"#), [""; 0]);
        assert_eq!(
            options(r#"{"mode":"websocket","key":"/k.pem","cert":"/c.pem","password":"x"}"#),
            ["cert=/c.pem", "key=/k.pem", "mode=websocket"]
        );
        let file = File::parse("f.json", "{\n\"zzz\":{\"a\":1}}").unwrap();
        assert_eq!(file.notes, ["f.json:2: unknown key `zzz`: it is ignored"]);
        let file = File::parse("f.json", "{\n\"z\nz\":{\"a\":1}}").unwrap();
        assert_eq!(file.notes, ["f.json:2: unknown key `z\\nz`: it is ignored"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, wanted) in [
            ("", "f.json:1: the file is empty: expected a JSON object"),
            ("[]", "f.json:1: expected a JSON object {…}"),
            ("[\"obfs\"]", "f.json:1: expected a JSON object {…}"),
            ("{\n \"timeout\": 60\n \"obfs\": 1}", "f.json:2:15: expected a comma before this"),
            ("{\n\n \"timeout\": sixty}", "f.json:3:13: unexpected"),
            ("{\n \"obfs\": {}}", "f.json:2: key `obfs`: expected a text, a number, true or false"),
            ("{\"obfs\": \"ht", "f.json:1:10: unterminated string"),
            ("{\"obfs\":\"http\",\n", "f.json:1: the file ends too early, after line 1"),
            ("{\"obfs\":\n", "f.json:1: the file ends too early, after line 1"),
            ("{\"obfs\":}", "f.json:1:9: unexpected `}`"),
            ("{\"server\": {\"a\": 1}}", "f.json:1: key `server`: expected"),
            ("{'obfs': 1}", "f.json:1:2: single-quoted texts are not allowed: use double quotes"),
            ("{obfs: 1}", "f.json:1:2: expected a key in double quotes"),
            ("{\"obfs\" \"http\"}", "f.json:1:9: expected `:` behind the key"),
            ("{\"obfs\": http}", "f.json:1:10: unexpected character or word: texts stand in double quotes"),
            ("{} {}", "f.json:1:4: unexpected text behind"),
        ] {
            let message = problem(text);
            assert!(message.contains(wanted) && !message.contains('\n'), "{text:?}: {message}");
        }
    }
}
