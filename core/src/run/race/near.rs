//! Whether an answer from there is a matter of a few milliseconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an endpoint says by itself that it is in this process, on this machine or in its
/// network. Names are not resolved.
pub(super) fn is_near(endpoint: &str) -> bool {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return false };
    matches!(scheme, "mem" | "unix") || is_host_near(host(rest))
}

/// The host of what stands behind `://`, without the brackets and the zone of an address.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => place.rsplit_once(':').map_or(place, |(host, _)| host),
    };
    host.split_once('%').map_or(host, |(address, _)| address)
}

fn is_host_near(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(address)) => is_near_v4(address),
        Ok(IpAddr::V6(address)) => is_near_v6(address),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn is_near_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

fn is_near_v6(address: Ipv6Addr) -> bool {
    let is_local = address.is_unique_local() || address.is_unicast_link_local();
    let mapped = address.to_ipv4_mapped();
    address.is_loopback() || is_local || mapped.is_some_and(is_near_v4)
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn an_address_of_this_machine_or_its_network_is_near_and_a_name_is_not() {
        for near in [
            "mem://lobby",
            "unix:///run/emitwire",
            "tcp://127.0.0.1:7300",
            "tcp://10.1.2.3",
            "wss://192.168.0.7:443/chat?room=1",
            "wss://172.16.0.1",
            "tcp://169.254.1.1:1",
            "wss://ada:secret@10.1.2.3:1/",
            "tcp://[::1]:7300",
            "tcp://[fe80::1%eth0]:7300",
            "tcp://[fd12::1]",
            "tcp://[::ffff:10.0.0.1]:1",
            "ws://LocalHost:80/",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "tcp://192.0.2.1:7300",
            "tcp://172.32.0.1:1",
            "tcp://[2001:db8::1]:7300",
            "wss://example.com/10.0.0.1",
            "wss://localhost.example.com",
            "wss://example.com/?at=@127.0.0.1",
            "race(tcp://127.0.0.1:1, tcp://127.0.0.1:2)",
            "nowhere",
            "",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }
}
