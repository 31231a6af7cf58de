//! The share of training pairs that is held out for validation.
//!
//! The hash of its source sentence decides whether a pair is held out: not its place in the file, the seed, or the other
//! pairs. So equal pairs, and all pairs of one source sentence, are on one side, and every run on the same data watches the
//! same pairs. The share of a few pairs is only about the one asked for.

use super::hash::hash;

/// Whether pairs with this source sentence are in a share of `fraction`.
pub(super) fn takes(fraction: f64, source: &str) -> bool {
    // The upper 53 bits are a number that a float holds.
    let place = (hash(source.trim().as_bytes()) >> 11) as f64 / (1u64 << 53) as f64;
    place < fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_about_its_size_and_grows_by_adding_sentences() {
        let sentences: Vec<String> = (0..10_000).map(|i| format!("sentence {i}")).collect();
        let taken = |fraction: f64| sentences.iter().filter(|it| takes(fraction, it)).collect::<Vec<_>>();
        assert_eq!(taken(0.0).len(), 0);
        for fraction in [0.01, 0.05, 0.5] {
            let (found, expected) = (taken(fraction).len() as f64, 10_000.0 * fraction);
            assert!((found - expected).abs() < 4.0 * expected.sqrt(), "{fraction}: {found}");
        }
        assert!(taken(0.01).iter().all(|sentence| takes(0.05, sentence)));
    }

    #[test]
    fn white_space_around_a_sentence_does_not_matter() {
        for i in 0..100 {
            assert_eq!(takes(0.5, &format!("sentence {i}")), takes(0.5, &format!(" sentence {i}\t")));
        }
    }
}
