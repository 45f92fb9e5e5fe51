//! A connection over HTTP/2 whose first request shows whose it is: what the client says, and what the website says.

use super::SWITCH;
use super::pieces::{cuts, pieces};
use obfs_rs::transport::h2::takeover::{Takeover, Whose};

pub fn check(bytes: &[u8]) {
    let at = bytes.windows(2).position(|two| two == [SWITCH; 2]);
    let (client, site) = at.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let mut found = None;
    for (ends, site_ends) in cuts(client).into_iter().zip(cuts(site)) {
        let mut takeover = Takeover::default();
        let mut told = Vec::new();
        for piece in pieces(client, &ends) {
            takeover.client_says(piece, |request| request.uri().path().ends_with("Tun"));
            told.extend_from_slice(takeover.for_site());
            if takeover.whose() != Whose::Unknown {
                break;
            }
        }
        let by_client = takeover.whose();
        for piece in pieces(site, &site_ends) {
            takeover.site_says(piece);
        }
        told.extend_from_slice(takeover.for_site());
        assert!(client.starts_with(&told));
        assert_eq!(*found.get_or_insert(by_client), by_client, "in pieces it is another's");
        match takeover.whose() {
            // A request of ours is told to nobody.
            Whose::Ours => assert!(told.len() < client.len() && by_client == Whose::Ours),
            Whose::Unknown => {}
            Whose::Visitors => {
                let rest = takeover.into_visitors();
                assert!(client.starts_with(&[told, rest].concat()));
            }
        }
    }
}
