//! Why the program cannot start as it was asked to.

use thiserror::Error;

/// Why the program cannot start as it was asked to. Each names what was wrong, the value it had and
/// what was expected, on one line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// An option has a value that it cannot have.
    #[error("{}", of_option(name, value, expected))]
    Option {
        /// The option's name.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A variable, or the flag that stands for it, has a value that it cannot have.
    #[error("{name}: `{value}` is not {expected}")]
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
    /// The command line is not one.
    #[error("command line: {0} (see --help)")]
    CommandLine(String),
    /// Two options cannot both be meant.
    #[error("options `{one}` and `{other}` exclude each other{}{advice}", if advice.is_empty() { "" } else { ": " })]
    Conflict {
        /// An option as it was written.
        one: String,
        /// The other one.
        other: String,
        /// What would do, or nothing.
        advice: String,
    },
    /// What other programs have and this one has not.
    #[error("`{0}` is not supported by this version")]
    Unsupported(String),
    /// An option says nothing without another one.
    #[error("{option} needs {needs}")]
    Needs {
        /// The option, and where it says nothing.
        option: String,
        /// What would do.
        needs: String,
    },
    /// The option string says something that cannot be told.
    #[error("SS_PLUGIN_OPTIONS: {0}")]
    NotUnderstood(String),
    /// Nothing was said at all. The text says how the program is used.
    #[error("SS_REMOTE_HOST is not set: this is a plugin, which a Shadowsocks program starts\n\n{0}")]
    NothingSaid(String),
    /// Something that is needed was not given at all.
    #[error("{name} is not set: expected {expected} (see obfs-rs --help)")]
    Missing {
        /// The variable, and the flag that would do.
        name: String,
        /// What it may be.
        expected: String,
    },
}

impl ConfigError {
    pub(super) fn option(
        name: impl Into<String>,
        value: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        ConfigError::Option { name: name.into(), value: one_line(value), expected: expected.into() }
    }

    pub(super) fn variable(
        name: impl Into<String>,
        value: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        ConfigError::Variable { name: name.into(), value: one_line(value), expected: expected.into() }
    }
}

/// What is wrong with an option's value, or with an option that has none.
fn of_option(name: &str, value: &str, expected: &str) -> String {
    match (value, expected.starts_with("possible")) {
        ("", true) => format!("option `{name}` is not {expected}"),
        ("", false) => format!("option `{name}` has no value: expected {expected}"),
        _ => format!("option `{name}`: `{value}` is not {expected}"),
    }
}

/// A value as it can stand in a message of one line.
pub(super) fn one_line(value: impl Into<String>) -> String {
    let value: String = value.into();
    if value.contains(char::is_control) { value.escape_debug().to_string() } else { value }
}
