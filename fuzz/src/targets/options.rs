//! What operators and users write: option strings and configuration files. A wrong one is told in one line.

use super::pieces::Numbers;
use obfs_rs::config::file::File;
use obfs_rs::config::options::find;
use obfs_rs::config::sip003::{self, PluginOption, parse_options};
use obfs_rs::config::{ProcessEnv, Settings, read};
use std::ffi::OsString;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    option_string(text);
    addresses(text);
    file(text);
}

/// An error stands in a log, and says what was wrong.
fn in_one_line(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}

fn option_string(text: &str) {
    let options = match parse_options(text) {
        Ok(options) => options,
        Err(error) => return in_one_line(&error),
    };
    // What was meant, with a backslash wherever one may stand.
    let escape = |text: &str| -> String {
        text.chars().flat_map(|c| (!c.is_alphanumeric()).then_some('\\').into_iter().chain([c])).collect()
    };
    let written = |PluginOption { key, value }: &PluginOption| match value {
        Some(value) => format!("{}={}", escape(key), escape(value)),
        None => escape(key),
    };
    let again = options.iter().map(written).collect::<Vec<_>>().join(";");
    assert_eq!(parse_options(&again).as_ref(), Ok(&options));
    // Other files than this text are not to be read.
    let names_file = |option: &PluginOption| find(&option.key).is_some_and(|spec| spec.name == "c");
    if text.contains('\0') || options.iter().any(names_file) {
        return;
    }
    for (remote, local) in [("192.0.2.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")] {
        let vars = [
            (sip003::REMOTE_HOST, remote),
            (sip003::REMOTE_PORT, "8388"),
            (sip003::LOCAL_HOST, local),
            (sip003::LOCAL_PORT, "1984"),
            (sip003::PLUGIN_OPTIONS, text),
        ];
        let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value))).to_vec();
        let env = ProcessEnv { vars, parent: None };
        match read(Settings::default(), &env) {
            Ok(config) => {
                assert!(config.hosted);
                config.warnings.iter().for_each(in_one_line);
            }
            Err(error) => in_one_line(&error),
        }
    }
}

/// The other variables: one with anything, and all with a part of it.
fn addresses(text: &str) {
    if text.contains('\0') {
        return;
    }
    let usual = [
        (sip003::REMOTE_HOST, "192.0.2.1"),
        (sip003::REMOTE_PORT, "8388"),
        (sip003::LOCAL_HOST, "127.0.0.1"),
        (sip003::LOCAL_PORT, "1984"),
    ];
    let mut parts = text.splitn(usual.len(), '\n');
    let all = usual.map(|(name, _)| (name, parts.next().unwrap_or_default()));
    let mut one = usual;
    one[Numbers::new(text.as_bytes()).below(usual.len())].1 = text;
    for vars in [one, all] {
        let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value))).to_vec();
        match read(Settings::default(), &ProcessEnv { vars, parent: None }) {
            Ok(config) => config.warnings.iter().for_each(in_one_line),
            Err(error) => in_one_line(&error),
        }
    }
}

fn file(text: &str) {
    let parsed = File::parse("config.json", text);
    match &parsed {
        Ok(file) => {
            for (option, place) in &file.options {
                assert!(option.value.is_some() && place.starts_with("config.json:"));
            }
            file.notes.iter().for_each(in_one_line);
        }
        Err(error) => in_one_line(error),
    }
    // What is JSON without anything beside it is taken, or one of its values is not.
    let plain = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
    if let (Ok(_), Err(error)) = (plain, parsed) {
        assert!(error.to_string().contains("key `"), "{error}");
    }
}
