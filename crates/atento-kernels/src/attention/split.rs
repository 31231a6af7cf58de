//! Parallel division of attention over segments, heads and query blocks.
//!
//! Halves recursively until a part is a few microseconds of work, so that hundreds of sentences
//! make tens of tasks, one long sequence still occupies every core, and a decoding step with
//! little to do never leaves its thread. No table is built. A part's numbers do not depend on how
//! the work was divided, so neither do results on the thread count.

use std::ops::Range;

use super::{Segment, tile::QUERIES};

/// Multiply-adds of a part that is not worth dividing: about 10 µs.
const GRAIN: usize = 1 << 20;

/// Query blocks that stay together, because a part begins with gathering its keys.
const FEWEST_BLOCKS: usize = 16;

/// A share of the work: these segments, heads and, if it is one segment only, query blocks.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub segments: Range<usize>,
    pub heads: Range<usize>,
    pub blocks: Range<usize>,
}

/// What may be divided, besides heads.
#[derive(Clone, Copy)]
pub(super) struct Divide {
    pub segments: bool,
    pub blocks: bool,
    /// Keys that a query meets, at most.
    pub reach: usize,
}

/// Runs `work` on parts of `segments` × `heads`; `unit` is the cost of a query-key pair of a head.
pub(super) fn split(segments: &[Segment], heads: usize, unit: usize, divide: Divide, work: &(impl Fn(Part) + Sync)) {
    let part = Part { segments: 0..segments.len(), heads: 0..heads, blocks: 0..usize::MAX };
    run(segments, part, unit, divide, work);
}

fn run(segments: &[Segment], part: Part, unit: usize, divide: Divide, work: &(impl Fn(Part) + Sync)) {
    let halves = if cost(&segments[part.segments.clone()], &part, unit, divide.reach) <= GRAIN {
        None
    } else {
        halve(segments, &part, divide)
    };
    match halves {
        None => work(part),
        Some((left, right)) => {
            rayon::join(|| run(segments, left, unit, divide, work), || run(segments, right, unit, divide, work));
        }
    }
}

/// Multiply-adds of a part, and a little for each of its segments and heads.
fn cost(segments: &[Segment], part: &Part, unit: usize, reach: usize) -> usize {
    const OVERHEAD: usize = 1 << 12;
    let one_head: usize = segments
        .iter()
        .map(|segment| {
            let blocks = segment.query_len.div_ceil(QUERIES);
            let taken = part.blocks.end.min(blocks).saturating_sub(part.blocks.start);
            let queries = (taken * QUERIES).min(segment.query_len);
            OVERHEAD.saturating_add(queries.saturating_mul(segment.key_len.min(reach)).saturating_mul(unit))
        })
        .fold(0, usize::saturating_add);
    one_head.saturating_mul(part.heads.len())
}

fn halve(segments: &[Segment], part: &Part, divide: Divide) -> Option<(Part, Part)> {
    let (mut left, mut right) = (part.clone(), part.clone());
    if divide.segments && part.segments.len() > 1 {
        (left.segments, right.segments) = middle(&part.segments);
    } else if part.heads.len() > 1 {
        (left.heads, right.heads) = middle(&part.heads);
    } else if divide.blocks && part.segments.len() == 1 {
        let blocks = segments[part.segments.start].query_len.div_ceil(QUERIES);
        let range = part.blocks.start..part.blocks.end.min(blocks);
        if range.len() < 2 * FEWEST_BLOCKS {
            return None;
        }
        (left.blocks, right.blocks) = middle(&range);
    } else {
        return None;
    }
    Some((left, right))
}

fn middle(range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + range.len() / 2;
    (range.start..middle, middle..range.end)
}
