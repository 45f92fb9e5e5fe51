//! The configuration file of `-c`: a JSON object with simple-obfs's keys, or ours.

use super::ConfigError;
use super::endpoints::{Addresses, Setting, Style, split_address};
use super::options::same_name;
use super::role::Role;
use super::sip003::PluginOption;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Keys of the Shadowsocks programs, whose file is often the same one.
const SHADOWSOCKS: &[&str] = &[
    "password",
    "key",
    "method",
    "mode",
    "plugin",
    "plugin_opts",
    "plugin_args",
    "plugin_mode",
    "workers",
    "no_delay",
    "reuse_port",
    "remarks",
    "tag",
    "id",
    "locals",
    "servers",
    "tunnel_address",
    "acl",
    "dns",
];

/// What a configuration file says.
#[derive(Debug, Default)]
pub struct File {
    /// Options, each with its file and line.
    pub options: Vec<(PluginOption, String)>,
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
        let bytes = std::fs::read(path)
            .map_err(|error| ConfigError::File { place: path.into(), problem: error.to_string() })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            ConfigError::File { place: format!("{path}:{line}"), problem: "this is no UTF-8".into() }
        })?;
        File::parse(path, &text)
    }

    fn parse(path: &str, text: &str) -> Result<File, ConfigError> {
        let entries: BTreeMap<String, &RawValue> =
            serde_json::from_str(text).map_err(|error| malformed(path, text, &error))?;
        let mut file = File::default();
        for (key, raw) in entries {
            // A raw value is a piece of the text, so where it stands tells its line.
            let offset = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            let place = format!("{path}:{}", line_at(text, offset));
            let Some(value) = as_text(&key, raw).map_err(|problem| ConfigError::File {
                place: place.clone(),
                problem: format!("key `{key}`: {problem}"),
            })?
            else {
                continue;
            };
            let slot = |name: &str| same_name(&key, name);
            let setting = || Some(Setting::new(format!("{place}: {key}"), value.clone()));
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
            } else if !SHADOWSOCKS.contains(&key.as_str()) {
                file.options.push((PluginOption { key, value: Some(value) }, place));
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
        Ok(Addresses {
            remote_host: self.server,
            remote_port: self.server_port,
            local_host,
            local_port,
            style: Style::Own,
            lenient: true,
        })
    }
}

/// A simple value as an option's text; an array of them, for the hosts of `server`, joined as SIP003
/// joins hosts. `None` for null.
fn as_text(key: &str, raw: &RawValue) -> Result<Option<String>, &'static str> {
    let simple = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::Array(items)) if same_name(key, "server") => {
            let hosts: Option<Vec<String>> = items.iter().map(simple).collect();
            hosts.map(|hosts| Some(hosts.join("|"))).ok_or("expected a list of hosts")
        }
        // What is no option of ours may be what it likes.
        Ok(_) if SHADOWSOCKS.contains(&key) => Ok(None),
        Ok(value) => simple(&value).map(Some).ok_or("expected a text, a number, true or false"),
        Err(_) => Err("expected a value"),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// Where the text stops being JSON, with the key before that place.
fn malformed(path: &str, text: &str, error: &serde_json::Error) -> ConfigError {
    let place = format!("{path}:{}", error.line().max(1));
    let before: String = text
        .lines()
        .take(error.line().saturating_sub(1))
        .map(|line| format!("{line}\n"))
        .chain(text.lines().nth(error.line().saturating_sub(1)).map(|line| {
            String::from_utf8_lossy(line.as_bytes().get(..error.column()).unwrap_or(line.as_bytes()))
                .into_owned()
        }))
        .collect();
    let described = error.to_string();
    let problem = described.split(" at line ").next().unwrap_or_default();
    let problem = match last_key(&before) {
        Some(key) => format!("key `{key}`: {problem}"),
        None => problem.to_owned(),
    };
    ConfigError::File { place, problem }
}

/// The last text in quotes that a colon follows.
fn last_key(text: &str) -> Option<String> {
    let mut found = None;
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let (_, inside) = rest.split_at(start + 1);
        let mut escaped = false;
        let end = inside.find(|c: char| match c {
            '\\' if !escaped => {
                escaped = true;
                false
            }
            '"' if !escaped => true,
            _ => {
                escaped = false;
                false
            }
        });
        // A text that is not ended is no key yet.
        let Some(end) = end else { break };
        let (content, behind) = inside.split_at(end);
        rest = behind.strip_prefix('"').unwrap_or_default();
        if rest.trim_start().starts_with(':') {
            found = Some(content.escape_debug().to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        File::parse("f.json", text).unwrap_err().to_string()
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
    fn what_is_wrong_is_told_with_line_and_key() {
        for (text, wanted) in [
            ("", "f.json:1: EOF while parsing a value"),
            ("[]", "f.json:1: "),
            ("{\n \"timeout\": 60\n \"obfs\": 1}", "f.json:3: key `timeout`: expected `,` or `}`"),
            ("{\n\n \"timeout\": sixty}", "f.json:3: key `timeout`: expected value"),
            ("{\n \"obfs\": {}}", "f.json:2: key `obfs`: expected a text, a number, true or false"),
            ("{\"obfs\": \"ht", "f.json:1: key `obfs`: EOF while parsing a string"),
        ] {
            let message = problem(text);
            assert!(message.contains(wanted) && !message.contains('\n'), "{text:?}: {message}");
        }
    }
}
