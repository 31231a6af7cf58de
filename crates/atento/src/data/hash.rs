//! A 64-bit hash that is the same in every build and on every machine: FNV-1a (Fowler, Noll and Vo),
//! finished with the mixer of MurmurHash3 so that every bit depends on all of the text.
//!
//! It tells equal documents, chooses their split, and tells whether the data of a run has changed; among ten million
//! documents the chance that any two different ones share a hash is 3 in a million. It does not resist an adversary.

/// The hash of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |state: u64, &byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// The hash of what `first` and then `second` are hashes of.
pub(crate) fn combine(first: u64, second: u64) -> u64 {
    mix(first.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(second))
}

fn mix(mut bits: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ bits >> 33).wrapping_mul(factor);
    }
    bits ^ bits >> 33
}

/// The hash of what `state` is the hash of, and then these tokens.
pub(crate) fn add_ids(state: u64, ids: &[u32]) -> u64 {
    let fnv = ids.iter().fold(state, |state, &id| (state ^ u64::from(id)).wrapping_mul(0x0000_0100_0000_01b3));
    combine(fnv, ids.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b""), mix(0xcbf2_9ce4_8422_2325));
        // FNV-1a of "a" as published is af63dc4c8601ec8c.
        assert_eq!(hash(b"a"), mix(0xaf63_dc4c_8601_ec8c));
        assert_ne!(combine(hash(b"a"), hash(b"b")), combine(hash(b"b"), hash(b"a")));
        assert_ne!(add_ids(add_ids(0, &[1]), &[2, 3]), add_ids(add_ids(0, &[1, 2]), &[3]));
    }
}
