//! Why the program cannot start as it was asked to.

use super::features::Feature;
use std::borrow::Cow;
use std::fmt::Display;
use thiserror::Error;

/// Why the program cannot start as it was asked to. Each names what was wrong, the value it had and
/// what was expected, on one line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// An option has a value that it cannot have.
    #[error("{}{}", option(name), wrong(value, expected))]
    Option {
        /// The option's name.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A variable, or the flag that stands for it, has a value that it cannot have.
    #[error("{name}{}", wrong_variable(value, expected))]
    Variable {
        /// The variable or flag.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The configuration file cannot be read or is not one.
    #[error("configuration file {place}: {problem}")]
    File {
        /// The file, and the line if there is one.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// Two options cannot both be meant.
    #[error("options `{one}` and `{other}` exclude each other{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Conflict {
        /// An option as it was written.
        one: String,
        /// The other one.
        other: String,
        /// Why, or what would do; or nothing.
        reason: String,
    },
    /// What this program has and this build has not.
    #[error("{asked}: this build has no {} (cargo feature `{feature}`)", feature.part())]
    LeftOut {
        /// What asks for it.
        asked: String,
        /// What it would need.
        feature: Feature,
    },
    /// An option says nothing without another one.
    #[error("{asked} needs {needs}")]
    Needs {
        /// What asks for it.
        asked: String,
        /// What would do.
        needs: String,
    },
    /// The option string says something that cannot be told.
    #[error("SS_PLUGIN_OPTIONS: {0}")]
    NotUnderstood(String),
    /// An option that nobody knows, where it is not safe to go on without what it may mean.
    #[error("`{name}` is no option: did you mean `{meant}`?")]
    Unknown {
        /// The name as it was written.
        name: String,
        /// The known name.
        meant: &'static str,
    },
    /// Something that is needed was not given at all.
    #[error("{name} is not set: expected {expected} (see --help)")]
    Missing {
        /// The variable, and the flag that would do.
        name: String,
        /// What it may be.
        expected: String,
    },
}

impl ConfigError {
    /// The same for a log, where nobody is to read a path or a host that only clients know.
    pub fn without_secret(self) -> Self {
        const SECRET: &[&str] =
            &["path", "obfs-uri", "host", "obfs-host", "obfs-tls-host", "sni", "peer", "header", "route"];
        let is_secret = |name: &str| {
            // In front of a name that stands in a file is its place.
            let name = name.rsplit(' ').next().unwrap_or(name).replace('_', "-");
            SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret))
        };
        match self {
            ConfigError::Option { name, value, expected } if !value.is_empty() && is_secret(&name) => {
                ConfigError::Option { name, value: "…".into(), expected }
            }
            other => other,
        }
    }

    pub(super) fn option(name: &str, value: &str, expected: impl Into<String>) -> Self {
        ConfigError::Option { name: name.into(), value: one_line(value), expected: expected.into() }
    }

    pub(crate) fn variable(name: impl Into<String>, value: &str, expected: impl Into<String>) -> Self {
        ConfigError::Variable { name: name.into(), value: one_line(value), expected: expected.into() }
    }

    pub(super) fn conflict(one: impl Display, other: impl Display, reason: &str) -> Self {
        ConfigError::Conflict { one: one.to_string(), other: other.to_string(), reason: reason.to_owned() }
    }

    /// An option that says nothing without what `needs` says.
    pub(super) fn needs(option: impl Display, needs: &str) -> Self {
        ConfigError::Needs { asked: format!("option `{option}`"), needs: needs.to_owned() }
    }

    /// An option that says nothing without TLS.
    pub(super) fn needs_tls(option: impl Display) -> Self {
        ConfigError::needs(option, "`tls`: add it, or leave this out")
    }
}

/// An option by its name; one that stands in a file has its place in front.
fn option(name: &str) -> String {
    match name.rsplit_once(": ") {
        Some((place, name)) => format!("configuration file {place}: option `{name}`"),
        None => format!("option `{name}`"),
    }
}

/// What is wrong with an option's value, or with an option that has none.
fn wrong(value: &str, expected: &str) -> String {
    match value {
        "" => format!(" has no value: expected {expected}"),
        // As the parts of a URL are joined.
        _ if value.contains('&') && value.contains('=') => {
            format!(": `{value}` is not {expected}; options are separated by `;`")
        }
        // Where a URL is expected, it is not that one.
        _ if (value.starts_with("http://") || value.starts_with("https://")) && !expected.contains("URL") => {
            format!(": `{value}` is not {expected}: leave out what a URL has beside it")
        }
        _ => format!(": `{value}` is not {expected}"),
    }
}

/// What is wrong with the value of a variable or a flag.
fn wrong_variable(value: &str, expected: &str) -> String {
    match value {
        "" => format!(" is empty: expected {expected}"),
        _ => format!(": `{value}` is not {expected}"),
    }
}

/// A value as it can stand in a message of one line: without a user and a password in a URL.
pub(super) fn one_line(value: &str) -> String {
    let value = &*without_login(value);
    if value.contains(char::is_control) { value.escape_debug().to_string() } else { value.to_owned() }
}

/// A text in which what may be a user and a password in a URL is left out; rather more than less.
fn without_login(text: &str) -> Cow<'_, str> {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let (before, behind) = (text.get(..scheme + 3), text.get(at..));
            Cow::Owned(format!("{}…{}", before.unwrap_or_default(), behind.unwrap_or_default()))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_a_password() {
        for (text, wanted) in [
            ("socks5://user:word@a.example:1080", "socks5://…@a.example:1080"),
            ("v;proxy=http://user:w@rd@a.example；x", "v;proxy=http://…@a.example；x"),
            ("http://a.example/", "http://a.example/"),
            ("user@a.example", "user@a.example"),
        ] {
            assert_eq!(one_line(text), wanted);
        }
    }

    #[test]
    fn a_value_that_says_more_than_it_may_is_told_what_is_too_much() {
        let message = |value| ConfigError::option("obfs", value, "a disguise").to_string();
        assert_eq!(message("plain"), "option `obfs`: `plain` is not a disguise");
        assert!(message("http&obfs-host=a").ends_with("is not a disguise; options are separated by `;`"));
        assert!(message("http://a").ends_with("is not a disguise: leave out what a URL has beside it"));
    }

    #[test]
    fn a_value_that_is_empty_is_told_as_such() {
        let message = ConfigError::variable("SS_REMOTE_PORT", "", "a port").to_string();
        assert_eq!(message, "SS_REMOTE_PORT is empty: expected a port");
        assert_eq!(
            ConfigError::option("obfs", "", "a disguise").to_string(),
            "option `obfs` has no value: expected a disguise"
        );
    }

    #[test]
    fn a_log_has_no_path_and_no_host() {
        for (name, option, shown) in [
            ("path", "option `path`", "…"),
            ("/etc/c.json:3: obfs_uri", "configuration file /etc/c.json:3: option `obfs_uri`", "…"),
            ("Route", "option `Route`", "…"),
            ("obfs", "option `obfs`", "/s3cret"),
            ("failover", "option `failover`", "/s3cret"),
        ] {
            let message = ConfigError::option(name, "/s3cret", "fit").without_secret().to_string();
            assert_eq!(message, format!("{option}: `{shown}` is not fit"));
        }
    }
}
