//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of one address beyond its limit that are still told so, by HTTP; more are closed unheard.
const REFUSALS_MAX: u64 = 64;

/// The connections of every address, from their accept to their end.
#[derive(Debug)]
pub(super) struct Addresses {
    counts: Mutex<HashMap<IpAddr, u64>>,
    connections_max: Option<u64>,
}

/// A place among the connections of an address; given back when it is dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    /// Where it is counted; `None`: there is no limit.
    counted: Option<(Arc<Addresses>, IpAddr)>,
    /// There was no place left: it may only be told so.
    pub(super) refused: bool,
}

impl Addresses {
    /// At most so many of each address; `None`: no limit, and nothing is counted.
    pub(super) fn new(connections_max: Option<u64>) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), connections_max })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        // No code under this lock can panic half-way through a change.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, a place only to be refused in, or not even that.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<AddressPlace> {
        let Some(connections_max) = self.connections_max else {
            return Some(AddressPlace { counted: None, refused: false });
        };
        let address = whose(address);
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= connections_max.saturating_add(REFUSALS_MAX) {
            return None;
        }
        *count += 1;
        let refused = *count > connections_max;
        drop(counts);
        Some(AddressPlace { counted: Some((Arc::clone(self), address)), refused })
    }
}

impl AddressPlace {
    /// One more for the same address, as [`Addresses::admit`] gives it.
    pub(super) fn another(&self) -> Option<Self> {
        match &self.counted {
            None => Some(Self { counted: None, refused: false }),
            Some((addresses, address)) => addresses.admit(*address),
        }
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let Some((addresses, address)) = &self.counted else { return };
        let mut counts = addresses.counts();
        if let Some(count) = counts.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, which is what one customer has at least.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let addresses = Addresses::new(Some(3));
        let admit = |text: &str| addresses.admit(text.parse().unwrap());
        let mut places: Vec<_> = (0..3).map(|_| admit("192.0.2.1").unwrap()).collect();
        assert!(places.iter().all(|place| !place.refused), "limit − 1 and limit");
        // Written another way it is the same; another address has places of its own.
        places.push(admit("::ffff:192.0.2.1").unwrap());
        assert!(places[3].refused, "limit + 1");
        assert!(!admit("192.0.2.2").unwrap().refused);
        for _ in 1..REFUSALS_MAX {
            places.push(admit("192.0.2.1").unwrap());
        }
        assert!(admit("192.0.2.1").is_none());
        places.truncate(2);
        assert!(!admit("192.0.2.1").unwrap().refused);
        places.clear();
        assert!(addresses.counts().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Addresses::new(Some(1));
        let admit = |text: &str| addresses.admit(text.parse().unwrap()).unwrap();
        let _first = admit("2001:db8::1");
        assert!(admit("2001:db8::ffff:2").refused);
        assert!(!admit("2001:db8:0:1::1").refused);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let addresses = Addresses::new(None);
        let places: Vec<_> =
            (0..100).map(|_| addresses.admit("192.0.2.1".parse().unwrap()).unwrap()).collect();
        assert!(places.iter().all(|place| !place.refused));
        assert!(addresses.counts().is_empty());
    }
}
