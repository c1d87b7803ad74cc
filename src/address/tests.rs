use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::AddressPolicy;
use super::AddressPolicy::{PrivateToo, PublicOnly};

fn is_allowed(policy: AddressPolicy, address: IpAddr) -> bool {
    policy.check(address).is_ok()
}

/// What a policy says of an address: by whom it may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    All,
    Private,
    Nobody,
}
use By::{All, Nobody, Private};

fn judged(address: IpAddr) -> By {
    match (is_allowed(PublicOnly, address), is_allowed(PrivateToo, address)) {
        (true, true) => All,
        (false, true) => Private,
        (false, false) => Nobody,
        (true, false) => panic!("{address} is allowed where less is"),
    }
}

/// Ranges, each with who may dial the address before it, those of it, and the one behind it.
#[rustfmt::skip]
const RANGES: &[(&str, By, By, By)] = &[
    ("0.0.0.0/8",          Nobody,  Nobody,  All),
    ("10.0.0.0/8",         All,     Private, All),
    ("100.64.0.0/10",      All,     Private, All),
    ("100.100.100.200/32", Private, Nobody,  Private),
    ("127.0.0.0/8",        All,     Private, All),
    ("168.63.129.16/32",   All,     Nobody,  All),
    ("169.254.0.0/16",     All,     Nobody,  All),
    ("172.16.0.0/12",      All,     Private, All),
    ("192.0.0.0/24",       All,     Nobody,  All),
    ("192.0.2.0/24",       All,     Nobody,  All),
    ("192.88.99.0/24",     All,     Nobody,  All),
    ("192.168.0.0/16",     All,     Private, All),
    ("198.18.0.0/15",      All,     Nobody,  All),
    ("198.51.100.0/24",    All,     Nobody,  All),
    ("203.0.113.0/24",     All,     Nobody,  All),
    ("224.0.0.0/4",        All,     Nobody,  Nobody),
    ("240.0.0.0/4",        Nobody,  Nobody,  Nobody),
    ("255.255.255.255/32", Nobody,  Nobody,  Nobody),
    ("::/128",             Nobody,  Nobody,  Private),
    ("::1/128",            Nobody,  Private, Nobody),
    ("::/96",              Nobody,  Nobody,  Nobody),
    ("::ffff:0:0:0/96",    Nobody,  Nobody,  Nobody),
    ("64:ff9b::/96",       Nobody,  Nobody,  Nobody),
    ("64:ff9b:1::/48",     Nobody,  Nobody,  Nobody),
    ("100::/64",           Nobody,  Nobody,  Nobody),
    ("2001::/32",          All,     Nobody,  Nobody),
    ("2001::/23",          All,     Nobody,  All),
    ("2001:db8::/32",      All,     Nobody,  All),
    ("2002::/16",          All,     Nobody,  All),
    ("3fff::/20",          All,     Nobody,  All),
    ("2000::/3",           Nobody,  All,     Nobody),
    ("5f00::/16",          Nobody,  Nobody,  Nobody),
    ("fc00::/7",           Nobody,  Private, Nobody),
    ("fd00:42::42/128",    Private, Nobody,  Private),
    ("fd00:c1::a9fe:a9fe/128", Private, Nobody, Private),
    ("fd00:ec2::/32",      Private, Nobody,  Private),
    ("fd20:ce::254/128",   Private, Nobody,  Private),
    ("fe80::/10",          Nobody,  Nobody,  Nobody),
    ("fec0::/10",          Nobody,  Nobody,  Nobody),
    ("ff00::/8",           Nobody,  Nobody,  Nobody),
];

/// The first and the last address of a range, as numbers.
fn edges(cidr: &str) -> (IpAddr, u128, u128) {
    let (net, bits) = cidr.split_once('/').unwrap();
    let (net, bits): (IpAddr, u32) = (net.parse().unwrap(), bits.parse().unwrap());
    let (first, width) = match net {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let rest = if bits == 0 {
        u128::MAX
    } else {
        (1_u128 << (width - bits)) - 1
    };
    (net, first, first | rest)
}

/// The address of that number, of the family of another.
fn numbered(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

#[test]
fn every_range_is_judged_from_its_first_address_to_its_last_and_not_beyond() {
    for (cidr, before, within, behind) in RANGES {
        let (net, first, last) = edges(cidr);
        let top = edges(if net.is_ipv4() {
            "255.255.255.255/32"
        } else {
            "ff00::/8"
        })
        .2;
        // The first and last of a range that begins or ends with a smaller one are that one's.
        let inner = |number| {
            RANGES.iter().any(|(other, ..)| {
                let (like, from, to) = edges(other);
                other != cidr
                    && like.is_ipv4() == net.is_ipv4()
                    && to - from < last - first
                    && (from..=to).contains(&number)
            })
        };
        for number in [first, last] {
            let found = judged(numbered(net, number));
            assert!(
                inner(number) || found == *within,
                "{cidr}: {}: {found:?}",
                numbered(net, number)
            );
        }
        if first > 0 {
            assert_eq!(judged(numbered(net, first - 1)), *before, "before {cidr}");
        }
        if last < top {
            assert_eq!(judged(numbered(net, last + 1)), *behind, "behind {cidr}");
        }
    }
}

#[test]
fn every_range_of_the_table_is_in_the_test() {
    let in_test = |cidr: &str| RANGES.iter().any(|(known, ..)| *known == cidr);
    for range in super::V4
        .iter()
        .map(|net| &net.2)
        .chain(super::V6.iter().map(|net| &net.2))
    {
        assert!(in_test(range.cidr), "{}", range.cidr);
    }
}

#[test]
fn what_a_range_is_called_is_what_it_covers() {
    let ranges = super::V4.iter().map(|net| (IpAddr::V4(net.0), net.1, net.2.cidr));
    for (net, bits, cidr) in ranges.chain(super::V6.iter().map(|net| (IpAddr::V6(net.0), net.1, net.2.cidr))) {
        assert_eq!(format!("{net}/{bits}"), cidr);
    }
}

#[test]
fn nobody_dials_where_a_cloud_hands_out_credentials() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
    ] {
        assert_eq!(judged(address.parse().unwrap()), Nobody, "{address}");
    }
}

#[test]
fn an_ipv4_address_is_judged_the_same_however_it_is_wrapped_or_not_dialled_at_all() {
    for (cidr, ..) in RANGES {
        let (net, first, last) = edges(cidr);
        if net.is_ipv6() {
            continue;
        }
        for number in [first, last] {
            let v4 = Ipv4Addr::from_bits(u32::try_from(number).unwrap());
            assert_eq!(judged(v4.to_ipv6_mapped().into()), judged(v4.into()), "{v4}");
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for wrapped in [
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            ] {
                assert_eq!(judged(wrapped.into()), Nobody, "{wrapped}");
            }
        }
    }
    assert_eq!(judged("::ffff:1.1.1.1".parse().unwrap()), All);
    assert_eq!(judged("::1.1.1.1".parse().unwrap()), Nobody);
}

#[test]
fn hosts_that_mean_something_only_inside_are_refused_where_only_public_ones_are_allowed() {
    for inside in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "printer",
        "printer.",
        "db.internal",
        "metadata.google.internal",
        "nas.local",
        "NAS.Local.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1",
        "[::1]",
        "::1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.0.0.1",
        "[fd00::1]",
        "0x",
        "1.",
        "127.0.0.1.",
        "[fe80::1%25eth0]",
        "",
        ".",
    ] {
        assert!(PublicOnly.check_host(inside).is_err(), "{inside}");
    }
    for public in [
        "shop.example",
        "Shop.Example.",
        "1.1.1.1",
        "[2606:4700::1111]",
        "local.example",
        "a.localhost.example",
        "1.example",
        "x0.de",
    ] {
        assert_eq!(PublicOnly.check_host(public), Ok(()), "{public}");
    }
}

#[test]
fn hosts_inside_are_looked_up_where_private_ones_are_allowed_and_addresses_judged_at_once() {
    for host in [
        "localhost",
        "printer",
        "nas.local",
        "127.0.0.1",
        "[::1]",
        "192.168.1.9",
        "127.1",
        "shop.example",
    ] {
        assert_eq!(PrivateToo.check_host(host), Ok(()), "{host}");
    }
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "[::]",
        "[::ffff:169.254.169.254]",
        "224.0.0.1",
    ] {
        assert!(PrivateToo.check_host(host).is_err(), "{host}");
    }
}

#[test]
fn a_refusal_says_what_was_found_and_what_is_allowed_in_a_few_words() {
    let refused = PublicOnly.check_host("nas.local").unwrap_err().to_string();
    assert_eq!(
        refused,
        "\"nas.local\" is a name that means something only within a network, allowed are names and public addresses"
    );
    let refused = PublicOnly.check_host("nas.local").unwrap_err();
    assert_eq!(
        refused.why(),
        "a name that means something only within a network, allowed are names and public addresses"
    );
    let refused = PublicOnly.check("10.1.2.3".parse().unwrap()).unwrap_err();
    assert_eq!(
        refused.why(),
        "a private address (10.0.0.0/8), allowed are public addresses"
    );
    let long = PublicOnly.check_host(&"x".repeat(10_000)).unwrap_err().to_string();
    assert!(long.len() < 500, "{}", long.len());
    let metadata = PrivateToo.check("169.254.169.254".parse().unwrap()).unwrap_err();
    assert_eq!(
        metadata.to_string(),
        "169.254.169.254 is a link-local address (169.254.0.0/16), allowed are public, loopback and private addresses"
    );
}

/// Addresses of any range and of none, with those near the edges as likely as the rest.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let near = (0..RANGES.len(), 0..=2_u128, any::<bool>()).prop_map(|(index, off, at_end)| {
        let (net, first, last) = edges(RANGES[index].0);
        let top = if net.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
        let number = if at_end {
            last.saturating_add(off).min(top)
        } else {
            first.saturating_sub(off)
        };
        numbered(net, number)
    });
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        near,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn what_the_standard_library_calls_special_is_not_public(address in addresses()) {
        let is_special_v4 = |v4: Ipv4Addr| v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast()
            || v4.is_unspecified() || v4.is_broadcast() || v4.is_documentation();
        let is_special = match address {
            IpAddr::V4(v4) => is_special_v4(v4),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local()
                || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some_and(is_special_v4),
        };
        prop_assert!(!is_special || judged(address) != All, "{address}");
    }

    #[test]
    fn an_address_is_judged_the_same_as_text(address in addresses()) {
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        prop_assert_eq!(PublicOnly.check_host(&host), PublicOnly.check(address));
    }
}
