//! Whose turn it is, by weight.

/// The order of turns: within one round each has as many as its weight, as far apart as they can be.
pub(super) fn of(weights: &[u32]) -> Box<[u16]> {
    let mut turns = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let Ok(index) = u16::try_from(index) else { break };
        let weight = u64::from(*weight);
        // Its turns lie in the middle of equal parts of the round, told in fractions of it.
        turns.extend((0..weight).map(|turn| ((2 * turn + 1) * u64::from(u32::MAX) / (2 * weight), index)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn turns_are_spread() {
        assert_eq!(*of(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(*of(&[1, 3]), [1, 0, 1, 1]);
        assert_eq!(*of(&[2, 4]), [1, 0, 1, 1, 0, 1]);
        assert!(of(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn each_has_its_share_of_every_part_of_the_round(weights in prop::collection::vec(1_u32..=100, 1..8)) {
            let turns = of(&weights);
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            prop_assert_eq!(turns.len(), total);
            for (index, weight) in weights.iter().enumerate() {
                let mut had = 0_usize;
                for (place, turn) in turns.iter().enumerate() {
                    had += usize::from(usize::from(*turn) == index);
                    // Never further from what is due than there are targets.
                    let due = *weight as usize * (place + 1);
                    prop_assert!((had * total).abs_diff(due) <= total * weights.len(), "{:?}", turns);
                }
                prop_assert_eq!(had, *weight as usize);
            }
        }
    }
}
