//! Which addresses belong to somebody in the open internet, and which to a machine, a network or a protocol.
//!
//! The tables are those of the special-purpose address registries (RFC 6890 and its updates). IPv6 is read the other way
//! round: only global unicast is anybody's, and what carries an IPv4 address inside (mapped, compatible, NAT64, 6to4,
//! Teredo) is refused as a whole, whatever it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::FetchError;

/// Whether this machine itself may be fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loopback {
    /// Never.
    #[default]
    Refused,
    /// Yes, also without TLS: for development and tests.
    Allowed,
}

/// Special IPv4 networks: address, length of the prefix, what they are for.
const SPECIAL_V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "a private network"),
    ([100, 64, 0, 0], 10, "a provider's inner network"),
    ([127, 0, 0, 0], 8, "this machine"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "a private network"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 31, 196, 0], 24, "AS112"),
    ([192, 52, 193, 0], 24, "AMT"),
    ([192, 88, 99, 0], 24, "6to4 relays"),
    ([192, 168, 0, 0], 16, "a private network"),
    ([192, 175, 48, 0], 24, "AS112"),
    ([198, 18, 0, 0], 15, "benchmarks"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    // Multicast 224/4, reserved 240/4 and broadcast.
    ([224, 0, 0, 0], 3, "multicast or reserved"),
];

/// Special networks inside IPv6's global unicast, `2000::/3`.
const SPECIAL_V6: [([u16; 3], u32, &str); 6] = [
    (
        [0x2001, 0, 0],
        23,
        "protocol assignments, Teredo among them",
    ),
    ([0x2001, 0x0db8, 0], 32, "documentation"),
    ([0x2002, 0, 0], 16, "6to4, which carries an IPv4 address"),
    ([0x2620, 0x004f, 0x8000], 48, "AS112"),
    ([0x3ffe, 0, 0], 16, "the former 6bone"),
    ([0x3fff, 0, 0], 20, "documentation"),
];

/// What the address is reserved for; `None` when it is anybody's.
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Whether a connection may go to this address.
///
/// # Errors
/// [`FetchError::Refused`] with what the address is reserved for.
pub fn permitted(address: IpAddr, loopback: Loopback) -> Result<(), FetchError> {
    // `::ffff:127.0.0.1` is not loopback here: another notation of an address is no way around a rule.
    if loopback == Loopback::Allowed && address.is_loopback() {
        return Ok(());
    }
    match special_use(address) {
        None => Ok(()),
        Some(what) => Err(FetchError::Refused(format!(
            "`{address}` is not a public address ({what})"
        ))),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let inside = |(network, prefix, _): &&([u8; 4], u32, &str)| {
        let network = Ipv4Addr::from(*network).to_bits();
        (bits ^ network).leading_zeros() >= *prefix
    };
    SPECIAL_V4.iter().find(inside).map(|(.., what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        return Some("this machine");
    }
    let bits = address.to_bits();
    if bits >> 125 != 0b001 {
        return Some("not global unicast");
    }
    let inside = |(network, prefix, _): &&([u16; 3], u32, &str)| {
        let [a, b, c] = *network;
        let network = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits();
        (bits ^ network).leading_zeros() >= *prefix
    };
    SPECIAL_V6.iter().find(inside).map(|(.., what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(text: &str) -> bool {
        special_use(text.parse().unwrap()).is_some()
    }

    /// The first and the last address of each network, the one before and the one after; `-` where that is special too.
    const EDGES: &str = "
        0.0.0.0      0.255.255.255    -                1.0.0.0
        10.0.0.0     10.255.255.255   9.255.255.255    11.0.0.0
        100.64.0.0   100.127.255.255  100.63.255.255   100.128.0.0
        127.0.0.0    127.255.255.255  126.255.255.255  128.0.0.0
        169.254.0.0  169.254.255.255  169.253.255.255  169.255.0.0
        172.16.0.0   172.31.255.255   172.15.255.255   172.32.0.0
        192.0.0.0    192.0.0.255      191.255.255.255  192.0.1.0
        192.168.0.0  192.168.255.255  192.167.255.255  192.169.0.0
        198.18.0.0   198.19.255.255   198.17.255.255   198.20.0.0
        203.0.113.0  203.0.113.255    203.0.112.255    203.0.114.0
        224.0.0.0    255.255.255.255  223.255.255.255  -
        2001::       2001:1ff:ffff::  2000:ffff::      2001:200::
        2001:db8::   2001:db8:ffff::  2001:db7::       2001:db9::
        2002::       2002:ffff::      2001:ffff::      2003::
        3fff::       3fff:fff::       -                3fff:1000::";

    #[test]
    fn the_ends_of_every_special_network_are_special_and_their_neighbours_are_not() {
        for line in EDGES.trim().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (network, neighbours) = words.split_at(2);
            assert!(network.iter().all(|address| special(address)), "{line}");
            let mut open = neighbours.iter().filter(|address| **address != "-");
            assert!(open.all(|address| !special(address)), "{line}");
        }
    }

    #[test]
    fn ipv6_that_carries_ipv4_is_refused_whatever_it_carries() {
        for public in ["8.8.8.8", "127.0.0.1", "169.254.169.254"] {
            let v4: Ipv4Addr = public.parse().unwrap();
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for carried in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
            ] {
                assert!(special_use(carried.into()).is_some(), "{carried}");
                assert!(
                    permitted(carried.into(), Loopback::Allowed).is_err(),
                    "{carried}"
                );
            }
        }
    }

    #[test]
    fn what_belongs_to_nobody_in_the_open_is_special() {
        for text in [
            "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "100::1", "5f00::1",
        ] {
            assert!(special(text), "{text}");
        }
        for text in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(!special(text), "{text}");
        }
    }

    #[test]
    fn loopback_is_permitted_only_where_it_is_configured() {
        for text in ["127.0.0.1", "127.9.9.9", "::1"] {
            let address = text.parse().unwrap();
            assert!(permitted(address, Loopback::Refused).is_err(), "{text}");
            assert!(permitted(address, Loopback::Allowed).is_ok(), "{text}");
        }
        for text in ["10.0.0.1", "169.254.169.254", "::", "0.0.0.0"] {
            assert!(
                permitted(text.parse().unwrap(), Loopback::Allowed).is_err(),
                "{text}"
            );
        }
    }
}
