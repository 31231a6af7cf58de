//! Which row of the relative tables a pair of positions has.

/// How a relative position, query minus key, becomes a number of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// Each relative position is a bucket of its own.
    Identity,
    /// Near positions are buckets of their own, farther ones share buckets that widen with the logarithm of the distance (He
    /// et al., "DeBERTaV3", 2021, and the `make_log_bucket_position` of `transformers`).
    Log {
        /// Buckets of either direction. Distances up to half of it are buckets of their own. At least 2.
        bucket_size: usize,
        /// The first distance beyond the buckets. More than half the buckets and one.
        max_position: usize,
    },
}

impl Buckets {
    /// The bucket of a relative position: negative for negative positions, and never falling as positions rise.
    ///
    /// The logarithms are rounded to f32 before they are divided, as in `transformers`, whose numbers these are.
    #[must_use]
    pub fn bucket(self, relative: isize) -> isize {
        let Buckets::Log { bucket_size, max_position } = self else { return relative };
        let (middle, distance) = (bucket_size / 2, relative.unsigned_abs());
        if distance <= middle {
            return relative;
        }
        let log = |x: f32| f64::from(x).ln() as f32;
        let widest = log(((max_position - 1) as f64 / middle as f64) as f32);
        let beyond = log(distance as f32 / middle as f32) / widest * (middle - 1) as f32;
        (beyond.ceil() + middle as f32) as isize * relative.signum()
    }

    /// The row of a table of `2·span` rows: the bucket, counted from the middle and held within the table.
    #[must_use]
    pub fn row(self, relative: isize, span: usize) -> usize {
        held(self.bucket(relative), span)
    }

    /// That the logarithms are of numbers above 1, and divided by more than nothing.
    #[track_caller]
    pub(super) fn check(self) {
        if let Buckets::Log { bucket_size, max_position } = self {
            assert!(
                bucket_size >= 2 && max_position > bucket_size / 2 + 1,
                "disentangled attention: {bucket_size} buckets up to position {max_position}"
            );
        }
    }
}

/// The row of a bucket in a table of `2·span` rows.
pub(super) fn held(bucket: isize, span: usize) -> usize {
    let row = bucket.saturating_add_unsigned(span).max(0) as usize;
    row.min(2 * span - 1)
}
