//! Keeps `f64` in JSON bit for bit.
//!
//! A resumed run must be bit-identical, and `serde_json` rounds what it parses to within one unit in the
//! last place, not to the nearest; it also has no infinities. So these numbers are written as text, in
//! Rust's shortest form, whose parsing is exact.

/// For `#[serde(with = "exact")]` on an `f64`.
pub fn serialize<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// For `#[serde(with = "exact")]` on an `f64`.
pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom(format!("expected a number in quotes, got \"{text}\"")))
}

/// For `#[serde(with = "exact::option")]` on an `Option<f64>`.
pub mod option {
    /// Writes text or null.
    pub fn serialize<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads text or null.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let text: Option<String> = serde::Deserialize::deserialize(deserializer)?;
        let parse = |text: String| {
            text.parse().map_err(|_| serde::de::Error::custom(format!("expected a number in quotes, got \"{text}\"")))
        };
        text.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Numbers {
        #[serde(with = "super")]
        one: f64,
        #[serde(with = "super::option")]
        other: Option<f64>,
    }

    proptest! {
        #[test]
        fn numbers_come_back_bit_for_bit(one in prop::num::f64::ANY, other in prop::option::of(prop::num::f64::NORMAL)) {
            let text = serde_json::to_string(&Numbers { one, other }).unwrap();
            let back: Numbers = serde_json::from_str(&text).unwrap();
            prop_assert!(one.to_bits() == back.one.to_bits() || one.is_nan() && back.one.is_nan());
            prop_assert_eq!(other.map(f64::to_bits), back.other.map(f64::to_bits));
        }
    }
}
