//! Names by which a web page of another site cannot address this machine.

use std::net::IpAddr;

/// Whether the host of a request is `localhost` or an IP address. With DNS rebinding, a site lets its own name point to
/// this machine, but it cannot do so with these.
pub fn is_local_name(host: &str) -> bool {
    let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ip.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}
