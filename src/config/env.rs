//! What the process was started with, beside its command line.

use super::error::ConfigError;
use super::sip003;
use std::ffi::OsString;

/// What a variable or an argument has to be.
pub(crate) const TEXT: &str = if cfg!(windows) { "Unicode text" } else { "text in UTF-8" };

/// What the process was started with, gathered by the caller so that configuration is a pure function.
#[derive(Debug, Default)]
pub struct ProcessEnv {
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
                None => Err(ConfigError::variable(name, &value.to_string_lossy(), TEXT)),
            },
        }
    }

    /// The user's own folder.
    pub(super) fn home(&self) -> Result<Option<String>, ConfigError> {
        match self.var("HOME")? {
            None if cfg!(windows) => self.var("USERPROFILE"),
            home => Ok(home),
        }
    }

    /// Whether a Shadowsocks program started us with its addresses.
    pub(super) fn is_hosted(&self) -> bool {
        let is_set = |name| self.vars.iter().any(|(key, _)| key == name);
        is_set(sip003::REMOTE_HOST) && is_set(sip003::LOCAL_HOST)
    }

    /// Whether anything was passed on as a Shadowsocks program passes it.
    pub fn has_plugin_variables(&self) -> bool {
        self.vars.iter().any(|(name, _)| name.to_string_lossy().starts_with("SS_"))
    }
}
