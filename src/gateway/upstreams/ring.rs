//! Consistent hashing: who is asked with a key, and who next if that one is out.

use std::net::SocketAddr;

use pingora_ketama::{Bucket, Continuum};

/// Points that each unit of weight has on the ring.
const POINTS: u64 = 160;
/// More points than this are not made; weights then count for less.
const MOST_POINTS: u64 = 160 * 1_024;
/// So many points are walked along before any target will do.
const STEPS: usize = 4_096;

/// Where keys belong.
pub(super) struct Ring {
    continuum: Continuum,
    /// Sorted: the ring tells addresses, and we count in places.
    places: Box<[(SocketAddr, u16)]>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring of these addresses, each of which occurs once, with weights of one and more.
    pub(super) fn new(targets: &[(SocketAddr, u32)]) -> Self {
        let total: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let shrunk = |weight: u32| match total * POINTS > MOST_POINTS {
            true => u32::try_from(u64::from(weight) * MOST_POINTS / (total * POINTS)).unwrap_or(weight),
            false => weight,
        };
        let buckets: Vec<Bucket> =
            targets.iter().map(|(address, weight)| Bucket::new(*address, shrunk(*weight).max(1))).collect();
        let mut places: Vec<(SocketAddr, u16)> =
            targets.iter().zip(0_u16..).map(|((address, _), place)| (*address, place)).collect();
        places.sort_unstable();
        Self { continuum: Continuum::new(&buckets), places: places.into() }
    }

    /// The place of `key`, then those that follow it on the ring; some may come more than once.
    pub(super) fn along(&self, key: &[u8]) -> impl Iterator<Item = usize> {
        let place = |address: &SocketAddr| {
            let found = self.places.binary_search_by(|(other, _)| other.cmp(address)).ok()?;
            Some(usize::from(self.places[found].1))
        };
        self.continuum.node_iter(key).take(STEPS).filter_map(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u16) -> SocketAddr {
        ([10, 0, 0, 1], 1_000 + number).into()
    }

    fn keys() -> impl Iterator<Item = [u8; 4]> {
        (0..10_000_u32).map(|key| key.wrapping_mul(2_654_435_761).to_be_bytes())
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let ring = Ring::new(&[(address(1), 1), (address(2), 1), (address(3), 2)]);
        let mut counts = [0; 3];
        for key in keys() {
            counts[ring.along(&key).next().unwrap()] += 1;
        }
        assert!((2_000..3_000).contains(&counts[0]) && (2_000..3_000).contains(&counts[1]), "{counts:?}");
        assert!((4_500..5_500).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn great_weights_make_no_great_ring() {
        let many: Vec<_> = (0..256).map(|number| (address(number), 100)).collect();
        let ring = Ring::new(&many);
        assert!(ring.along(b"key").next().is_some());
        assert_eq!(Ring::new(&[]).along(b"key").next(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn only_keys_of_a_target_that_goes_move(weights in prop::collection::vec(1_u32..4, 2..6), gone in any::<prop::sample::Index>()) {
            let all: Vec<_> = weights.iter().zip(0..).map(|(weight, number)| (address(number), *weight)).collect();
            let gone = gone.index(all.len());
            let mut fewer = all.clone();
            fewer.remove(gone);
            let (before, after) = (Ring::new(&all), Ring::new(&fewer));
            for key in keys().take(500) {
                let was = before.along(&key).next().unwrap();
                let is = fewer[after.along(&key).next().unwrap()].0;
                if was == gone {
                    // Who follows on the ring takes over, as long as it is merely left out as well.
                    let next = before.along(&key).find(|place| *place != gone).unwrap();
                    prop_assert_eq!(all[next].0, is);
                } else {
                    prop_assert_eq!(all[was].0, is);
                }
            }
        }
    }
}
