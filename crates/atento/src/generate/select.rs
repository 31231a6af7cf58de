//! Order where it is needed and no further: the k-th largest of many values, and a walk from the best on that sorts
//! only what it visits.

use atento_kernels::exp_sum::max as maximum;

use super::top_k::BLOCK;

/// The `k`-th largest value, counted from 1; −∞ where fewer than `k` are larger than that. No value may be NaN.
///
/// One pass in blocks, of which only those are looked into that hold a value above the k-th largest so far; what they
/// hold is gathered in `buffer` and cut back to `k` by selection whenever it has doubled.
pub(super) fn kth_largest(values: &[f32], k: usize, buffer: &mut Vec<f32>) -> f32 {
    if k == 0 || k > values.len() {
        return f32::NEG_INFINITY;
    }
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    let mut threshold = f32::NEG_INFINITY;
    buffer.clear();
    for block in values.chunks(BLOCK) {
        if maximum(block) <= threshold {
            continue;
        }
        buffer.extend(block.iter().filter(|&&value| value > threshold));
        if buffer.len() >= 2 * k + BLOCK {
            threshold = *buffer.select_nth_unstable_by(k - 1, descending).1;
            buffer.truncate(k);
        }
    }
    if buffer.len() < k {
        return f32::NEG_INFINITY;
    }
    *buffer.select_nth_unstable_by(k - 1, descending).1
}

/// A number that sorts like `value`, then like `place`; with [`place_of`] to undo it. Integers sort several times
/// faster than pairs.
pub(super) fn key(value: f32, place: usize) -> u64 {
    let bits = value.to_bits();
    // Negative numbers grow with falling bits.
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | place as u64
}

/// The place of a [`key`].
pub(super) fn place_of(key: u64) -> usize {
    (key & 0xFFFF_FFFF) as usize
}

/// Keys sorted at first; a walk that goes further sorts four times as many each time.
const FIRST_SORTED: usize = 128;

/// Visits the places of `keys` in ascending order of the keys until `visit` returns false.
pub(super) fn walk(keys: &mut [u64], mut visit: impl FnMut(usize) -> bool) {
    let (mut rest, mut n) = (keys, FIRST_SORTED);
    while !rest.is_empty() {
        let n_sorted = n.min(rest.len());
        if n_sorted < rest.len() {
            rest.select_nth_unstable(n_sorted);
        }
        let (sorted, later) = rest.split_at_mut(n_sorted);
        sorted.sort_unstable();
        if !sorted.iter().all(|&key| visit(place_of(key))) {
            return;
        }
        (rest, n) = (later, 4 * n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_kth_largest_is_that_of_a_full_sort(
            values in prop::collection::vec(
                prop_oneof![8 => -9.0f32..9.0, 1 => Just(1.5), 1 => Just(f32::NEG_INFINITY)], 0..3000),
            k in 0usize..1000,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let expected = if k == 0 { None } else { sorted.get(k - 1) };
            let found = kth_largest(&values, k, &mut Vec::new());
            prop_assert_eq!(found, expected.copied().unwrap_or(f32::NEG_INFINITY));
        }

        #[test]
        fn a_walk_visits_the_least_in_order_and_stops_when_told(
            values in prop::collection::vec(prop_oneof![8 => -9.0f32..9.0, 1 => Just(0.0), 1 => Just(-0.0)], 0..3000),
            n in 0usize..3000,
        ) {
            let mut keys: Vec<u64> = values.iter().enumerate().map(|(place, &value)| key(value, place)).collect();
            let mut visited = Vec::new();
            walk(&mut keys, |place| {
                visited.push(place);
                visited.len() < n
            });
            let mut sorted: Vec<usize> = (0..values.len()).collect();
            sorted.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            sorted.truncate(n.max(1));
            prop_assert_eq!(visited, sorted);
        }
    }
}
