//! Which addresses a webhook may go to. A receiver's URL is a stranger's text, and the machine that sends to it
//! stands inside a network: without a rule, whoever may add an endpoint can have that machine POST to its
//! neighbours, to itself, or to the service that hands out its credentials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses a transport may dial.
///
/// What counts is the address that is dialled, not the name in the URL: a name may lead to a public address when
/// it is looked at and to another when it is used. So [`AddressPolicy::check`] belongs between the look-up of a
/// name and the connection, and an answer with one address that is forbidden is refused as a whole.
///
/// ```
/// use std::net::IpAddr;
/// use tillite::transport::AddressPolicy;
///
/// let inside: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
/// let refused = AddressPolicy::PublicOnly.check(inside).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "::ffff:127.0.0.1 is a loopback address (127.0.0.0/8), allowed are public addresses"
/// );
/// assert!(AddressPolicy::PrivateToo.check(inside).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressPolicy {
    /// Addresses of the public Internet, and nothing else. Names that mean something only within a network are
    /// refused before they are looked up.
    PublicOnly,
    /// Loopback and private addresses too: for test mode, and for receivers within the host's own network. What
    /// is link-local, reserved or no single machine stays forbidden, and so does where clouds are known to hand out
    /// credentials, public addresses and private ones among it.
    PrivateToo,
}

impl AddressPolicy {
    /// Whether an address may be dialled. An IPv4 address that is written as an IPv6 one (`::ffff:0:0/96`) is
    /// judged as what it stands for; one that is wrapped otherwise (NAT64, 6to4, Teredo) is forbidden.
    ///
    /// # Errors
    /// [`Forbidden`], which names the range.
    pub fn check(self, address: IpAddr) -> Result<(), Forbidden> {
        let range = match address {
            IpAddr::V4(v4) => range_of_v4(v4),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => range_of_v4(v4),
                None => range_of_v6(v6),
            },
        };
        match range {
            Some(range) if range.reach == Reach::Nobody || self == AddressPolicy::PublicOnly => {
                let why = format!("{} ({}), allowed are {}", range.what, range.cidr, self.allowed());
                Err(Forbidden {
                    what: address.to_string(),
                    why,
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether the host of a URL may be looked up, or dialled if it is an address (an IPv6 one in brackets). A
    /// host that passes may still lead to an address that is forbidden.
    ///
    /// # Errors
    /// [`Forbidden`]; with [`AddressPolicy::PublicOnly`] also for `localhost`, for names under `localhost`,
    /// `local` and `internal` and those of one label, and for addresses in another spelling than four decimal
    /// numbers.
    pub fn check_host(self, host: &str) -> Result<(), Forbidden> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return self.check(address);
        }
        if self == AddressPolicy::PrivateToo {
            return Ok(());
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        let found = if bare.is_some() || is_number(last) {
            "no address in a common spelling"
        } else if last == "localhost" {
            "a name of the machine itself"
        } else if !name.contains('.') {
            "a name of one label, which means something only within a network"
        } else if ["local", "internal"].contains(&last) {
            "a name that means something only within a network"
        } else {
            return Ok(());
        };
        // A host name has at most 253 characters; what is longer is not repeated.
        let shown: String = host.chars().take(253).collect();
        Err(Forbidden {
            what: format!("{shown:?}"),
            why: format!("{found}, allowed are names and {}", self.allowed()),
        })
    }

    const fn allowed(self) -> &'static str {
        match self {
            AddressPolicy::PublicOnly => "public addresses",
            AddressPolicy::PrivateToo => "public, loopback and private addresses",
        }
    }
}

/// Why an address or a host may not be dialled, with what is allowed.
///
/// As a text it begins with the address or the host: for the operator's eyes. Whoever may add an endpoint and read
/// what became of its deliveries learns by it what names lead to within the network; a transport tells
/// [`Forbidden::why`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    what: String,
    why: String,
}

impl Forbidden {
    /// What it is that may not be dialled, and what may be, without the address or the host itself:
    /// `a loopback address (127.0.0.0/8), allowed are public addresses`.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.what, self.why)
    }
}

impl std::error::Error for Forbidden {}

/// Who an address of a range that is not public leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The machine itself, or one within the same network.
    Inside,
    /// No machine that a webhook could be meant for.
    Nobody,
}

/// Addresses that are not public.
struct Range {
    cidr: &'static str,
    what: &'static str,
    reach: Reach,
}

/// The network part of an address: the first bits of it.
struct Net<A>(A, u32, Range);

const fn v4(a: [u8; 4], bits: u32, cidr: &'static str, reach: Reach, what: &'static str) -> Net<Ipv4Addr> {
    Net(Ipv4Addr::new(a[0], a[1], a[2], a[3]), bits, Range { cidr, what, reach })
}

const fn v6(a: [u16; 8], bits: u32, cidr: &'static str, reach: Reach, what: &'static str) -> Net<Ipv6Addr> {
    let address = Ipv6Addr::new(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    Net(address, bits, Range { cidr, what, reach })
}

/// IANA's registry of special purposes, what is not for one machine, and where a cloud's machines ask for their
/// credentials; the first that fits counts.
#[rustfmt::skip]
const V4: &[Net<Ipv4Addr>] = &[
    v4([0, 0, 0, 0],         8,  "0.0.0.0/8",          Reach::Nobody, "an address of this network"),
    v4([10, 0, 0, 0],        8,  "10.0.0.0/8",         Reach::Inside, "a private address"),
    v4([100, 100, 100, 200], 32, "100.100.100.200/32", Reach::Nobody, "where a cloud hands out credentials"),
    v4([100, 64, 0, 0],      10, "100.64.0.0/10",      Reach::Inside, "an address shared by a provider's customers"),
    v4([127, 0, 0, 0],       8,  "127.0.0.0/8",        Reach::Inside, "a loopback address"),
    v4([168, 63, 129, 16],   32, "168.63.129.16/32",   Reach::Nobody, "where a cloud hands out credentials"),
    v4([169, 254, 0, 0],     16, "169.254.0.0/16",     Reach::Nobody, "a link-local address"),
    v4([172, 16, 0, 0],      12, "172.16.0.0/12",      Reach::Inside, "a private address"),
    v4([192, 0, 0, 0],       24, "192.0.0.0/24",       Reach::Nobody, "an address of protocols"),
    v4([192, 0, 2, 0],       24, "192.0.2.0/24",       Reach::Nobody, "an address for documentation"),
    v4([192, 88, 99, 0],     24, "192.88.99.0/24",     Reach::Nobody, "a relay of 6to4"),
    v4([192, 168, 0, 0],     16, "192.168.0.0/16",     Reach::Inside, "a private address"),
    v4([198, 18, 0, 0],      15, "198.18.0.0/15",      Reach::Nobody, "an address for measuring"),
    v4([198, 51, 100, 0],    24, "198.51.100.0/24",    Reach::Nobody, "an address for documentation"),
    v4([203, 0, 113, 0],     24, "203.0.113.0/24",     Reach::Nobody, "an address for documentation"),
    v4([224, 0, 0, 0],       4,  "224.0.0.0/4",        Reach::Nobody, "a multicast address"),
    v4([255, 255, 255, 255], 32, "255.255.255.255/32", Reach::Nobody, "the broadcast address"),
    v4([240, 0, 0, 0],       4,  "240.0.0.0/4",        Reach::Nobody, "a reserved address"),
];

/// The same of IPv6. What wraps an IPv4 address is forbidden with whatever is in it.
#[rustfmt::skip]
const V6: &[Net<Ipv6Addr>] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0],             128, "::/128",             Reach::Nobody, "the unspecified address"),
    v6([0, 0, 0, 0, 0, 0, 0, 1],             128, "::1/128",            Reach::Inside, "the loopback address"),
    v6([0, 0, 0, 0, 0, 0, 0, 0],             96,  "::/96",              Reach::Nobody, "an IPv4 address wrapped up"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0],        96,  "::ffff:0:0:0/96",    Reach::Nobody, "an IPv4 address wrapped up"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0],     96,  "64:ff9b::/96",       Reach::Nobody, "an IPv4 address behind NAT64"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0],     48,  "64:ff9b:1::/48",     Reach::Nobody, "an IPv4 address behind NAT64"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0],         64,  "100::/64",           Reach::Nobody, "an address that discards"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0],        32,  "2001::/32",          Reach::Nobody, "an IPv4 address behind Teredo"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0],        23,  "2001::/23",          Reach::Nobody, "an address of protocols"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],    32,  "2001:db8::/32",      Reach::Nobody, "an address for documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0],        16,  "2002::/16",          Reach::Nobody, "an IPv4 address behind 6to4"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0],        20,  "3fff::/20",          Reach::Nobody, "an address for documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0],        16,  "5f00::/16",          Reach::Nobody, "a segment identifier"),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],  128, "fd00:42::42/128",    Reach::Nobody, "where a cloud hands out credentials"),
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, "fd00:c1::a9fe:a9fe/128", Reach::Nobody, "where a cloud hands out credentials"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0],    32,  "fd00:ec2::/32",      Reach::Nobody, "where a cloud hands out credentials"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "fd20:ce::254/128",   Reach::Nobody, "where a cloud hands out credentials"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0],        7,   "fc00::/7",           Reach::Inside, "a private address"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0],        10,  "fe80::/10",          Reach::Nobody, "a link-local address"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0],        10,  "fec0::/10",          Reach::Nobody, "a site-local address"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0],        8,   "ff00::/8",           Reach::Nobody, "a multicast address"),
];

/// All that IPv6 has given out to single machines of the public Internet is `2000::/3`.
const NOT_GIVEN_OUT: Range = Range {
    cidr: "outside of 2000::/3",
    what: "an address that nobody was given",
    reach: Reach::Nobody,
};

fn range_of_v4(address: Ipv4Addr) -> Option<&'static Range> {
    let differs = |net: &Ipv4Addr| net.to_bits() ^ address.to_bits();
    let found = V4
        .iter()
        .find(|Net(net, bits, _)| differs(net).leading_zeros() >= *bits);
    found.map(|Net(_, _, range)| range)
}

fn range_of_v6(address: Ipv6Addr) -> Option<&'static Range> {
    let differs = |net: &Ipv6Addr| net.to_bits() ^ address.to_bits();
    let found = V6
        .iter()
        .find(|Net(net, bits, _)| differs(net).leading_zeros() >= *bits);
    let is_given_out = address.segments()[0] >> 13 == 1;
    found
        .map(|Net(_, _, range)| range)
        .or((!is_given_out).then_some(&NOT_GIVEN_OUT))
}

/// Whether a label is a number as C's `inet_aton` reads one: a host that ends in it is an address there.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
