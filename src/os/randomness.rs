//! Whether there are random bytes: without them, whoever needs the first would end the process, whatever it is at.

use rand::TryRng as _;
use rand::rngs::SysRng;
use thiserror::Error;

/// There are none.
#[derive(Debug, Error)]
#[error(
    "this system gives no random bytes, without which nothing can be disguised ({0}); is there a /dev/urandom?"
)]
pub struct NoRandomness(String);

/// Asks for some in each of the ways in which this program does. (Tables of the standard library have a third, which
/// needs no more than these.)
///
/// # Errors
///
/// There are none.
pub fn check() -> Result<(), NoRandomness> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    #[cfg(feature = "tls")]
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandomness("the library for TLS gets none".to_owned()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_system_that_tests_run_on_has_some() {
        super::check().unwrap();
    }
}
