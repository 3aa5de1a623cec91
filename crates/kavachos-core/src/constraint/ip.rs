//! `ipAllowlist`: from which addresses a call may come.
//!
//! An IPv4 address written in IPv6 (`::ffff:192.0.2.1`) is the IPv4 address, in the list and in the call. So `::/0`
//! means every IPv6 address and no IPv4 one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::wire;
use crate::invalid::Invalid;
use crate::time::clip;

/// The most addresses and prefixes in one list.
pub const MAX_IP_PREFIXES: usize = 256;
/// How many bits an IPv4 address is shifted by when it is written in IPv6.
const MAPPED_BITS: u8 = 96;

/// One address (`192.0.2.1`) or prefix (`2001:db8::/32`), IPv4 where it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix(IpNet);

impl IpPrefix {
    fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }

    fn covers(&self, child: &Self) -> bool {
        self.0.contains(&child.0)
    }
}

impl FromStr for IpPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| {
            Invalid::new(format!(
                "`{}` is not an address or prefix like `192.0.2.1` or `2001:db8::/32`{why}",
                clip(text)
            ))
        };
        if text.contains('%') {
            return Err(wrong(": leave the zone id out"));
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        // The parser of std takes no leading zeros, which some readers take for octal.
        let address: IpAddr = address.parse().map_err(|_| wrong(""))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => {
                prefix_length(bits, width).ok_or_else(|| wrong(": the length is wrong"))?
            }
            None => width,
        };
        let net = IpNet::new(address, bits).map_err(|_| wrong(""))?;
        if net != net.trunc() {
            return Err(Invalid::new(format!(
                "`{}` has bits set behind its length; write `{}` or a single address",
                clip(text),
                net.trunc()
            )));
        }
        Ok(Self(unmapped(net)))
    }
}

/// Reads `0` to `width`, digits only and no leading zero.
fn prefix_length(text: &str, width: u8) -> Option<u8> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let length: u8 = text.parse().ok()?;
    (plain && length <= width).then_some(length)
}

/// The IPv4 prefix that an IPv4-mapped one means.
fn unmapped(net: IpNet) -> IpNet {
    let address = net.addr().to_canonical();
    let shorter = net.prefix_len().checked_sub(MAPPED_BITS);
    match (net, shorter) {
        (IpNet::V6(_), Some(bits)) if address.is_ipv4() => IpNet::new(address, bits).unwrap_or(net),
        _ => net,
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            fmt::Display::fmt(&self.0.addr(), f)
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

impl Serialize for IpPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The addresses a call may come from, at least one, sorted and each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct IpAllowlist(Vec<IpPrefix>);

impl IpAllowlist {
    /// Whether a call from this address is allowed; one whose address nobody knows is not.
    pub(super) fn allows(&self, ip: Option<IpAddr>) -> bool {
        ip.is_some_and(|ip| self.0.iter().any(|prefix| prefix.contains(ip)))
    }

    pub(super) fn narrower_than(&self, parent: &Self) -> Result<(), Invalid> {
        let outside = self
            .0
            .iter()
            .find(|child| !parent.0.iter().any(|prefix| prefix.covers(child)));
        match outside {
            None => Ok(()),
            Some(prefix) => Err(Invalid::new(format!(
                "`{prefix}` is not inside one of the parent's prefixes"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for IpAllowlist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut prefixes: Vec<IpPrefix> = wire::list(deserializer, MAX_IP_PREFIXES)?;
        prefixes.sort_unstable();
        prefixes.dedup();
        Ok(Self(prefixes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn list(texts: &[&str]) -> IpAllowlist {
        IpAllowlist::deserialize(&json!(texts)).unwrap()
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.1.2",
            "010.0.0.1",
            "10.0.0.08",
            "0x0a.0.0.1",
            "167772161",
            " 10.0.0.1",
            "10.0.0.1 ",
            "10.0.0.256",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.1/8",
            "2001:db8::1/32",
            "2001:db8::/129",
            "fe80::1%eth0",
            "fe80::1%1/64",
            "[::1]",
            "::1::",
            "localhost",
            "*",
            "::ffff:0:0/90",
        ] {
            assert!(text.parse::<IpPrefix>().is_err(), "{text}");
        }
        let error = "10.0.0.1/8".parse::<IpPrefix>().unwrap_err();
        assert!(error.message().contains("`10.0.0.0/8`"), "{error}");
        for value in [
            json!([]),
            json!("10.0.0.1"),
            json!([1]),
            json!(vec!["::1"; 257]),
        ] {
            assert!(IpAllowlist::deserialize(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn one_list_has_one_form() {
        let written = [
            "::ffff:10.0.0.0/104",
            "2001:0DB8:0::1",
            "10.0.0.0/8",
            "::FFFF:c000:201",
            "0.0.0.0/0",
        ];
        assert_eq!(
            serde_json::to_value(list(&written)).unwrap(),
            json!(["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1", "2001:db8::1"])
        );
    }

    #[test]
    fn only_listed_addresses_pass() {
        for (prefixes, ip, allowed) in [
            (&["192.0.2.0/24"][..], "192.0.2.255", true),
            (&["192.0.2.0/24"], "192.0.3.0", false),
            (&["192.0.2.0/24"], "::ffff:192.0.2.7", true),
            (&["::ffff:192.0.2.0/120"], "192.0.2.7", true),
            (&["::ffff:192.0.2.0/120"], "::ffff:192.0.3.7", false),
            (&["2001:db8::/32"], "2001:db8:ffff::1", true),
            (&["2001:db8::/32"], "2001:db9::1", false),
            (&["::1"], "::1", true),
            (&["::1"], "127.0.0.1", false),
            (&["::/0"], "2001:db8::1", true),
            (&["::/0"], "192.0.2.1", false),
            (&["::/0"], "::ffff:192.0.2.1", false),
            (&["0.0.0.0/0"], "192.0.2.1", true),
            (&["0.0.0.0/0"], "2001:db8::1", false),
            (&["10.0.0.1", "2001:db8::/64"], "10.0.0.1", true),
        ] {
            let ip = Some(ip.parse().unwrap());
            assert_eq!(list(prefixes).allows(ip), allowed, "{prefixes:?} {ip:?}");
        }
        assert!(!list(&["0.0.0.0/0", "::/0"]).allows(None));
    }

    #[test]
    fn a_narrower_list_lies_inside_the_parents() {
        for (child, parent, narrower) in [
            (&["10.1.0.0/16"][..], &["10.0.0.0/8"][..], true),
            (&["10.0.0.0/8"], &["10.0.0.0/8", "::1"], true),
            (&["10.0.0.0/7"], &["10.0.0.0/8"], false),
            (&["10.1.2.3", "11.0.0.1"], &["10.0.0.0/8"], false),
            (&["::1"], &["0.0.0.0/0"], false),
            (&["::ffff:10.1.2.3"], &["10.0.0.0/8"], true),
            (&["::/1"], &["::/0"], true),
        ] {
            let verdict = list(child).narrower_than(&list(parent));
            assert_eq!(verdict.is_ok(), narrower, "{child:?} {parent:?}");
        }
    }

    /// A prefix from a small world, so that related ones are common.
    fn prefixes() -> impl Strategy<Value = String> {
        let v4 = (0_u32..16, 26_u8..=32).prop_map(|(low, bits)| {
            let net = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            format!(
                "{}/{bits}",
                std::net::Ipv4Addr::from((0x0a00_0000 | low) & net)
            )
        });
        let v6 = (0_u128..16, 122_u8..=128).prop_map(|(low, bits)| {
            let net = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            let mapped = 0xffff_0a00_0000 | low;
            format!("{}/{bits}", std::net::Ipv6Addr::from(mapped & net))
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn what_a_narrower_list_allows_its_parent_allows(
            child in prop::collection::vec(prefixes(), 1..3),
            parent in prop::collection::vec(prefixes(), 1..4),
            low in 0_u32..70,
        ) {
            let read = |texts: &[String]| IpAllowlist::deserialize(&json!(texts)).unwrap();
            let (child, parent) = (read(&child), read(&parent));
            let ip = Some(IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 | low)));
            if child.narrower_than(&parent).is_ok() && child.allows(ip) {
                prop_assert!(parent.allows(ip));
            }
        }
    }
}
