//! What a server says to peers that it has forgotten (RFC 9000 section 10.3): with a key that is the same after a restart,
//! they hear at once that their connection is gone, where they would otherwise wait for its time-out.

use super::hmac;
use quinn::crypto::{CryptoError, HmacKey};
use rustls::crypto::tls13::OkmBlock;

/// Makes the tokens by which they know that it is the server who says so.
pub(super) struct ResetKey(OkmBlock);

/// As long as the hash of the suite.
const LENGTH: usize = 32;

impl ResetKey {
    pub(super) fn new(secret: [u8; LENGTH]) -> ResetKey {
        ResetKey(OkmBlock::new(&secret))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        LENGTH
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = hmac::sign(&self.0, data);
        let differences = tag.as_ref().iter().zip(signature).fold(0, |all, (a, b)| all | (a ^ b));
        if signature.len() == LENGTH && differences == 0 { Ok(()) } else { Err(CryptoError) }
    }
}
