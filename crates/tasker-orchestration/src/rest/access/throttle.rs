//! Slows down addresses whose requests keep failing to authenticate.
//!
//! Only responses to failures are delayed. A valid key works at once, even from an address that others share and
//! misuse.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many failures in quick succession are not delayed.
const BURST: u32 = 10;
/// The time after which one failure is forgotten.
const RECOVERY: Duration = Duration::from_secs(1);
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// The most addresses to remember. When there are more, all are forgotten: an attacker with so many addresses is not
/// slowed down in any case.
const MAX_ADDRESSES: usize = 10_000;

/// Remembers the recent failures of each address.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// The time at which every failure of an address is forgotten.
    forgotten_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    /// Records a failure, and returns how long to delay the response.
    pub(super) fn failure(&self, address: IpAddr, now: Instant) -> Duration {
        let address = network(address);
        let mut forgotten_at = self.forgotten_at.lock();
        if forgotten_at.len() >= MAX_ADDRESSES && !forgotten_at.contains_key(&address) {
            forgotten_at.clear();
        }
        let free = BURST * RECOVERY;
        let at = forgotten_at.entry(address).or_insert(now);
        *at = ((*at).max(now) + RECOVERY).min(now + free + MAX_DELAY);
        at.duration_since(now).saturating_sub(free)
    }
}

/// The address, or the /64 network of an IPv6 address, because one host may use every address of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn delays_grow_to_a_limit_and_end() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let failure = |text, after| throttle.failure(address(text), now + Duration::from_secs(after)).as_secs();
        let delays: Vec<_> = (0..20).map(|_| failure("192.0.2.1", 0)).collect();
        assert_eq!(delays[..10], [0; 10]);
        assert_eq!(delays[10..], [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]);
        assert_eq!(failure("::ffff:192.0.2.1", 0), 5, "the same address");
        assert_eq!(failure("192.0.2.2", 0), 0, "another address");
        assert_eq!(failure("192.0.2.1", 3), 3);
        assert_eq!(failure("192.0.2.1", 60), 0);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..10 {
            assert_eq!(throttle.failure(address(&format!("2001:db8::{number}")), now), Duration::ZERO);
        }
        assert_eq!(throttle.failure(address("2001:db8::ffff"), now), Duration::from_secs(1));
        assert_eq!(throttle.failure(address("2001:db8:0:1::1"), now), Duration::ZERO);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..2 * MAX_ADDRESSES + 1 {
            throttle.failure(IpAddr::V4(u32::try_from(number).unwrap().into()), now);
            assert!(throttle.forgotten_at.lock().len() <= MAX_ADDRESSES);
        }
        assert_eq!(throttle.forgotten_at.lock().len(), 1);
    }
}
