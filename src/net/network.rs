//! Networks as users write them: an address and how many of its bits count. And the proxies in them whose
//! word a server takes about where visitors come from.

use std::fmt;
use std::net::IpAddr;

/// An address with a prefix length (RFC 4632 section 3.1, RFC 4291 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Any address in it. Where it is IPv4 in IPv6's clothes, it has been undressed.
    address: IpAddr,
    /// The number of leading bits that count.
    prefix: u8,
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/PREFIX`, IPv6 with or without brackets. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        let written: IpAddr = match bare {
            Some(bare) => IpAddr::V6(bare.parse().ok()?),
            None => address.parse().ok()?,
        };
        let bits = bits(written);
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().ok().filter(|prefix| *prefix <= bits)?
            }
            Some(_) => return None,
            None => bits,
        };
        // ::ffff:10.0.0.0/104 is 10.0.0.0/8; with fewer than 96 bits it is more than IPv4.
        let address = written.to_canonical();
        Some(match prefix.checked_sub(bits - self::bits(address)) {
            Some(prefix) => Network { address, prefix },
            None => Network { address: written, prefix },
        })
    }

    /// How many bits an address of its family has.
    pub fn bits(&self) -> u8 {
        bits(self.address)
    }

    /// Whether an address is in it. IPv4 in IPv6's clothes is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differing = number(self.address) ^ number(address);
        self.address.is_ipv4() == address.is_ipv4()
            && differing.checked_shr(u32::from(self.bits() - self.prefix)).unwrap_or(0) == 0
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network { address, prefix } = self;
        if *prefix == self.bits() { address.fmt(f) } else { write!(f, "{address}/{prefix}") }
    }
}

/// What stands in front of a server.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Whose word is taken about where visitors come from.
    pub trusted: Vec<Network>,
    /// Whether they say it with the PROXY protocol.
    pub proxy_protocol: bool,
}

impl TrustedProxies {
    /// Whether the word of this address is taken.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Whether a connection from this address begins with a PROXY header.
    pub fn sends_proxy_header(&self, address: IpAddr) -> bool {
        self.proxy_protocol && self.trust(address)
    }
}

impl fmt::Display for TrustedProxies {
    /// What the start-up line says of it, with the comma in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trusted.is_empty() {
            return Ok(());
        }
        let header = if self.proxy_protocol { "PROXY header and " } else { "" };
        let trusted: Vec<_> = self.trusted.iter().map(Network::to_string).collect();
        write!(f, ", {header}X-Forwarded-For taken from {}", trusted.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_in_every_spelling() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("10.1.2.3/8", "10.1.2.3/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:0.0.0.0/95", "::ffff:0.0.0.0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(
                Network::parse(text).map(|network| network.to_string()).as_deref(),
                Some(shown),
                "{text}"
            );
        }
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.0/256",
            "10.0.0.0/255.0.0.0",
            "::1/129",
            "[10.0.0.1]",
            "[::1",
            "localhost",
            "10.0.0.1:80",
            " ::1",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_prefix_decides() {
        for (network, inside, outside) in [
            (
                "10.1.2.3/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.9.9.9"][..],
                &["11.0.0.0", "9.255.255.255", "::a01:203"][..],
            ),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127", "192.0.3.128"]),
            ("127.0.0.1", &["127.0.0.1", "::ffff:127.0.0.1"], &["127.0.0.2", "::1"]),
            ("0.0.0.0/0", &["1.2.3.4", "255.255.255.255", "::ffff:1.2.3.4"], &["::1", "2001:db8::1"]),
            ("::/0", &["::1", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "10.0.0.1"]),
            ("2001:db8::1/127", &["2001:db8::", "2001:db8::1"], &["2001:db8::2"]),
            ("::1", &["::1"], &["::2", "0.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.2.3.4", "::ffff:10.2.3.4"], &["11.2.3.4"]),
        ] {
            let parsed = Network::parse(network).unwrap();
            for address in inside {
                assert!(parsed.contains(address.parse().unwrap()), "{address} in {network}");
            }
            for address in outside {
                assert!(!parsed.contains(address.parse().unwrap()), "{address} in {network}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_each_of_its_networks_and_no_other_bit_is(ip in any::<u128>(), prefix in 0..=128_u8) {
            let address = IpAddr::V6(ip.into());
            // What looks like IPv4 has its own test.
            prop_assume!(address.to_canonical() == address);
            let network = Network::parse(&format!("{address}/{prefix}")).unwrap();
            prop_assert!(network.contains(address));
            for bit in 0..128_u8 {
                let other = IpAddr::V6((ip ^ (1 << (127 - bit))).into());
                prop_assume!(other.to_canonical() == other);
                prop_assert_eq!(network.contains(other), bit >= prefix);
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./\\[\\]]{0,30}") {
            if let Some(network) = Network::parse(&text) {
                prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
            }
        }
    }
}
