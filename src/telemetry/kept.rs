//! Warnings that are kept, for one who puts them where they belong.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The most that is kept, in lines: what warns more often than that says the same again.
const MOST: usize = 1000;

/// Warnings that nobody has asked for yet.
#[derive(Debug, Clone, Default)]
pub struct KeptWarnings(Arc<Mutex<Vec<String>>>);

impl KeptWarnings {
    /// Those that came since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a> MakeWriter<'a> for KeptWarnings {
    type Writer = KeptWarnings;

    fn make_writer(&'a self) -> KeptWarnings {
        self.clone()
    }
}

/// A write is a line.
impl Write for KeptWarnings {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(String::from_utf8_lossy(line).trim().to_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
