//! The buckets beside those of `transformers`; the passes beside the reference.

use super::*;

mod checks;
mod passes;

#[test]
fn buckets_are_those_of_transformers_at_every_position() {
    const LONGEST: isize = 1200;
    for line in include_str!("buckets.txt").lines() {
        let numbers = Vec::from_iter(line.split(' ').map(|x| x.parse::<usize>().unwrap()));
        let [bucket_size, max_position, starts @ ..] = &numbers[..] else { panic!("{line}") };
        let buckets = Buckets::Log { bucket_size: *bucket_size, max_position: *max_position };
        let middle = bucket_size / 2;
        for distance in 0..=LONGEST {
            let begun = starts.iter().filter(|&&start| start <= distance as usize).count();
            let expected = (distance as usize).min(middle) + begun;
            assert_eq!(buckets.bucket(distance), expected as isize, "{buckets:?}, {distance}");
            assert_eq!(buckets.bucket(-distance), -(expected as isize), "{buckets:?}, {distance}");
        }
    }
}

#[test]
fn rows_are_held_within_the_table() {
    let rows = |buckets: Buckets, span| [-9, -4, -3, 0, 3, 4, 9].map(|relative| buckets.row(relative, span));
    assert_eq!(rows(Buckets::Identity, 4), [0, 0, 1, 4, 7, 7, 7]);
    assert_eq!(rows(Buckets::Identity, 1), [0, 0, 0, 1, 1, 1, 1]);
    // Distances 3 and 4 are bucket 3, 5 and beyond bucket 4 and more.
    let log = Buckets::Log { bucket_size: 4, max_position: 6 };
    assert_eq!(rows(log, 4), [0, 1, 1, 4, 7, 7, 7]);
}
