//! The ids of our connections: whoever has the key sees of any packet whether it belongs to one, without a table and
//! wherever the packet comes from.

use super::hmac;
use crate::wire::quic::ID_LENGTH;
use quinn::{ConnectionId, ConnectionIdGenerator};
use rustls::crypto::tls13::OkmBlock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How much of an id is random. The rest is made of it with the key: of the ids of others, one in 2^48 looks like one
/// of ours.
const RANDOM: usize = 6;

/// Makes ids, and knows them again.
#[derive(Clone)]
pub(super) struct ConnectionIds(Arc<OkmBlock>);

impl fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionIds")
    }
}

impl ConnectionIds {
    /// With this key. Whoever has the same knows the same ids: a server that was restarted does.
    pub(super) fn new(key: [u8; 32]) -> ConnectionIds {
        ConnectionIds(Arc::new(OkmBlock::new(&key)))
    }

    /// With a key of this process alone.
    pub(super) fn random() -> ConnectionIds {
        ConnectionIds::new(rand::random())
    }

    /// Whether this is an id of ours. How long that takes says nothing.
    #[cfg(feature = "server")]
    pub(super) fn validates(&self, id: &[u8; ID_LENGTH]) -> bool {
        let (random, seal) = id.split_at(RANDOM);
        let wanted = self.seal(random);
        wanted.iter().zip(seal).fold(0, |differences, (wanted, found)| differences | (wanted ^ found)) == 0
    }

    /// What follows from the random bytes: their HMAC, as far as it fits.
    fn seal(&self, random: &[u8]) -> [u8; ID_LENGTH - RANDOM] {
        *hmac::sign(&self.0, random).as_ref().first_chunk().expect("a hash is longer than an id")
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let random: [u8; RANDOM] = rand::random();
        ConnectionId::new(&[random, self.seal(&random)].concat())
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_known_and_no_others() {
        let mut ids = ConnectionIds::random();
        let id = |ids: &mut ConnectionIds| *ids.generate_cid().first_chunk::<ID_LENGTH>().unwrap();
        let own: Vec<_> = (0..100).map(|_| id(&mut ids)).collect();
        assert!(own.iter().all(|id| ids.validates(id) && ids.clone().validates(id)));
        assert!(own.windows(2).all(|pair| pair[0][..RANDOM] != pair[1][..RANDOM]), "each is another");
        let mut others = ConnectionIds::random();
        assert!(own.iter().all(|id| !others.validates(id)) && !ids.validates(&id(&mut others)));
        for bit in 0..ID_LENGTH * 8 {
            let mut changed = own[0];
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!ids.validates(&changed), "bit {bit}");
        }
        assert!(!ids.validates(&[0; ID_LENGTH]));
    }

    #[test]
    fn who_has_the_key_knows_them_after_a_restart() {
        let id = ConnectionIds::new([7; 32]).generate_cid();
        assert!(ConnectionIds::new([7; 32]).validates(id.first_chunk().unwrap()));
    }
}
