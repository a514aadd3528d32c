//! What counts as an address that others can connect to; the configuration and Bootstrap share it.

use std::net::IpAddr;

/// A DNS name of 253 bytes and a port, with room.
const BYTES_MAX: usize = 261;

/// `host:port`: a name or an IP address (IPv6 in brackets) that is no wildcard, and a port from 1 to 65535.
pub fn is_reachable(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let host_fits = match bare.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && ip.is_ipv6() == host.starts_with('['),
        Err(_) => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    // `parse` alone would take "+80".
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port_fits = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    host_fits && port_fits && address.len() <= BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_a_port_are_reachable_and_nothing_else_is() {
        for good in ["node-1:7101", "127.0.0.1:1", "[::1]:65535", "node_1.pi.svc.cluster.local:80"] {
            assert!(is_reachable(good), "{good}");
        }
        let long = format!("{}:80", "a".repeat(300));
        for bad in [
            "",
            ":80",
            "h",
            "h:",
            "h:0",
            "h:65536",
            "h:+80",
            "0.0.0.0:80",
            "[::]:80",
            "::1:80",
            "[h]:80",
            "http://h:80",
            "h h:80",
            long.as_str(),
        ] {
            assert!(!is_reachable(bad), "{bad}");
        }
    }
}
