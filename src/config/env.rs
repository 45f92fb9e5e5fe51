//! What the process was started with.

use super::error::ConfigError;
use std::ffi::OsString;

/// What the process was started with, gathered by the caller so that configuration is a pure function.
#[derive(Debug, Default)]
pub struct ProcessEnv {
    /// The command line, the program's own name first.
    pub args: Vec<OsString>,
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
                None => Err(ConfigError::variable(name, value.to_string_lossy(), "text in UTF-8")),
            },
        }
    }

    /// The program's file name, without a folder and without `.exe`.
    pub(super) fn program(&self) -> String {
        let path = self.args.first().map(std::path::Path::new);
        path.and_then(|path| path.file_stem())
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}
