//! A key that signs as its client prefers.
//!
//! OpenSSL, and with it most websites, takes the first of the signature schemes in a hello that its key can
//! do; rustls takes the one of them that it likes best itself, which for RSA is another, and in TLS 1.2
//! everybody on the way can see it.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::sync::Arc;

/// The pair for one hello, which has these schemes. Keys of other kinds than RSA have one scheme each.
pub fn in_client_order(pair: Arc<CertifiedKey>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
    if pair.key.algorithm() != SignatureAlgorithm::RSA {
        return pair;
    }
    let key = InClientOrder { key: Arc::clone(&pair.key), schemes: schemes.to_vec() };
    Arc::new(CertifiedKey { cert: pair.cert.clone(), key: Arc::new(key), ocsp: pair.ocsp.clone() })
}

#[derive(Debug)]
struct InClientOrder {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

impl SigningKey for InClientOrder {
    /// What is offered are those that the connection can use, in rustls's order.
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut usable = self.schemes.iter().filter(|scheme| offered.contains(scheme));
        let chosen = usable.find_map(|scheme| self.key.choose_scheme(std::slice::from_ref(scheme)));
        chosen.or_else(|| self.key.choose_scheme(offered))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
