//! Addresses that are not on the public Internet (RFC 6890 and its registries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether a fetch may connect to `address`: it is public, or on the list.
pub(super) fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    // An IPv4 address in IPv6 clothes reaches the IPv4 host, so it is judged, and allowed, as that.
    let address = address.to_canonical();
    allowed.iter().any(|range| range.contains(&address)) || !is_special_use(address)
}

fn is_special_use(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_use_v4(address),
        IpAddr::V6(address) => is_special_use_v6(address),
    }
}

fn is_special_use_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0, ..] => true,                                  // this network
        [10, ..] => true,                                 // private
        [100, second, ..] if second & 0xC0 == 64 => true, // shared by carriers
        [127, ..] => true,                                // loopback
        [169, 254, ..] => true,                           // link local, cloud metadata
        [172, second, ..] if second & 0xF0 == 16 => true, // private
        [192, 0, 0, _] => true,                           // protocol assignments
        [192, 0, 2, _] => true,                           // documentation
        [192, 31, 196, _] => true,                        // AS112
        [192, 52, 193, _] => true,                        // AMT
        [192, 88, 99, _] => true,                         // 6to4 relay
        [192, 168, ..] => true,                           // private
        [192, 175, 48, _] => true,                        // AS112
        [198, 18 | 19, ..] => true,                       // benchmarks
        [198, 51, 100, _] => true,                        // documentation
        [203, 0, 113, _] => true,                         // documentation
        [first, ..] => first >= 224,                      // multicast, reserved, broadcast
    }
}

fn is_special_use_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // Only 2000::/3 is public unicast at all; loopback, unspecified, link local, unique local, multicast, discard-only and
        // the NAT64 prefixes (64:ff9b::/96, 64:ff9b:1::/48) lie outside.
        [first, ..] if first & 0xE000 != 0x2000 => true,
        [0x2001, second, ..] if second < 0x0200 => true, // protocol assignments: Teredo, ORCHID, benchmarks …
        [0x2001, 0x0DB8, ..] => true,                    // documentation
        [0x2002, ..] => true,                            // 6to4, which carries any IPv4 address
        [0x3FFF, second, ..] => second < 0x1000,         // documentation
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, allowed: &[&str], expected: bool) {
        let allowed: Vec<IpNet> = allowed.iter().filter_map(|range| range.parse().ok()).collect();
        let parsed = address.parse().expect("a test address");
        assert_eq!(is_allowed(parsed, &allowed), expected, "{address}");
    }

    #[test]
    fn refuses_special_use_addresses() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            check(address, &[], false);
        }
    }

    #[test]
    fn lets_public_addresses_pass() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            check(address, &[], true);
        }
    }

    #[test]
    fn an_allowed_range_admits_its_addresses_in_either_clothes_and_no_others() {
        check("127.0.0.1", &["127.0.0.0/8"], true);
        check("::ffff:127.0.0.1", &["127.0.0.0/8"], true);
        check("10.0.0.1", &["127.0.0.0/8"], false);
        check("::1", &["127.0.0.0/8"], false);
        check("::1", &["::1/128"], true);
    }
}
