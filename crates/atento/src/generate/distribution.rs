//! The distribution a token is drawn from: a row's logits after temperature, top-k, top-p, min-p and typical-p.
//!
//! The semantics are those of Hugging Face's warpers (transformers 5.23) with `min_tokens_to_keep` 1. Nothing here
//! sorts a vocabulary: top-k selects, the others walk from the best token on as far as they keep. The surviving tokens
//! stay in the order of their ids, so that a near-tie that falls the other way moves a draw by no more than its own
//! probability.
//!
//! Numerics: f32, like PyTorch's; sums of probabilities in f64. Buffers are kept from row to row.

use atento_kernels::cross_entropy::softmax;
use atento_kernels::exp_sum::max as maximum;

use super::WarperOptions;
use super::select::{key, kth_largest, walk};

/// Tokens that may come next and how likely each is.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    /// Ascending.
    tokens: Vec<u32>,
    scores: Vec<f32>,
    /// The softmax of `scores`.
    probs: Vec<f32>,
    /// What a walk goes through.
    order: Vec<u64>,
    buffer: Vec<f32>,
}

impl Distribution {
    /// Becomes what `warpers` make of a row of processed logits: finite or −∞. Empty where all are −∞.
    ///
    /// # Shapes
    /// - `scores`: `[vocab_size]`, overwritten
    pub(super) fn set(&mut self, scores: &mut [f32], warpers: &WarperOptions) {
        self.tokens.clear();
        self.scores.clear();
        let max = maximum(scores);
        if max == f32::NEG_INFINITY {
            return self.softmax();
        }
        if warpers.is_greedy() {
            // The first of the largest.
            self.tokens.extend((0..).zip(&*scores).find(|&(_, &score)| score == max).map(|(token, _)| token));
            self.scores.push(max);
            return self.softmax();
        }
        let temperature = warpers.temperature as f32;
        if temperature != 1.0 {
            // The largest becomes 0, so that no temperature, however low, overflows.
            scores.iter_mut().for_each(|score| *score = (*score - max) / temperature);
        }
        let threshold = kth_largest(scores, warpers.top_k, &mut self.buffer);
        for (token, &score) in (0..).zip(&*scores) {
            if score >= threshold && score > f32::NEG_INFINITY {
                self.tokens.push(token);
                self.scores.push(score);
            }
        }
        self.softmax();
        if warpers.top_p < 1.0 {
            self.top_p(warpers.top_p);
        }
        if warpers.min_p > 0.0 {
            let least = warpers.min_p as f32 * maximum(&self.probs);
            self.keep(|_, prob, _| prob >= least);
        }
        if warpers.typical_p < 1.0 {
            self.typical_p(warpers.typical_p);
        }
    }

    fn softmax(&mut self) {
        self.probs.clone_from(&self.scores);
        if !self.probs.is_empty() {
            let n = self.probs.len();
            softmax(&mut self.probs, n);
        }
    }

    /// Keeps what `wanted` says of (score, probability, place).
    fn keep(&mut self, wanted: impl Fn(f32, f32, usize) -> bool) {
        let mut kept = 0;
        for i in 0..self.tokens.len() {
            if wanted(self.scores[i], self.probs[i], i) {
                self.tokens[kept] = self.tokens[i];
                self.scores[kept] = self.scores[i];
                kept += 1;
            }
        }
        self.tokens.truncate(kept);
        self.scores.truncate(kept);
        self.softmax();
    }

    /// Keeps a token iff the tokens likelier than it have less than `mass` together. Of equally likely tokens the lower
    /// id counts as likelier; PyTorch's sort leaves their order open.
    fn top_p(&mut self, mass: f64) {
        let Distribution { scores, probs, order, .. } = self;
        // However many tokens are this unlikely, all of them together are less than what may be removed.
        let negligible = 0.999 * (1.0 - mass) / probs.len() as f64;
        let mass_of = |place: usize| f64::from(probs[place]);
        order.clear();
        order.extend((0..probs.len()).filter(|&place| mass_of(place) >= negligible).map(|i| key(-scores[i], i)));
        let (mut before, mut last) = (0.0, 0);
        walk(order, |place| {
            let stays = before < mass;
            if stays {
                last = key(-scores[place], place);
                before += mass_of(place);
            }
            stays
        });
        self.keep(|score, _, place| key(-score, place) <= last);
    }

    /// Keeps the tokens whose surprise is nearest to the entropy, up to the first with which they have `mass`.
    fn typical_p(&mut self, mass: f64) {
        let Distribution { probs, order, buffer, scores, .. } = self;
        let (max, best) = (maximum(scores), maximum(probs));
        // ln p = score − max + ln p(best)
        let shift = best.ln() - max;
        let expected = |(&score, &p): (&f32, &f32)| -f64::from(p) * f64::from(score + shift);
        let entropy = scores.iter().zip(&*probs).map(expected).sum::<f64>() as f32;
        buffer.clear();
        buffer.extend(scores.iter().map(|score| (-(score + shift) - entropy).abs()));
        order.clear();
        order.extend(buffer.iter().enumerate().map(|(place, &distance)| key(distance, place)));
        let (mut sum, mut last) = (0.0, 0.0);
        walk(order, |place| {
            last = buffer[place];
            sum += f64::from(probs[place]);
            sum < mass
        });
        let distances = std::mem::take(buffer);
        self.keep(|_, _, place| distances[place] <= last);
        self.buffer = distances;
    }

    /// The token of a number `u` in [0, 1), by the inverse of the cumulative distribution; `None` where it is empty.
    pub(super) fn draw(&self, u: f64) -> Option<u32> {
        let weights = self.probs.iter().map(|&p| f64::from(p));
        draw(self.tokens.iter().copied().zip(weights), u)
    }

    /// How likely a token is.
    pub(super) fn prob(&self, token: u32) -> f32 {
        self.tokens.binary_search(&token).map_or(0.0, |place| self.probs[place])
    }

    /// The token of `u` under max(0, p − q) normalised, p being this distribution: what replaces a proposal of `q`
    /// that was rejected.
    pub(super) fn draw_without(&self, q: &Distribution, u: f64) -> Option<u32> {
        let mut others = q.tokens.iter().zip(&q.probs).peekable();
        let excess = self.tokens.iter().zip(&self.probs).map(move |(&token, &p)| {
            while others.next_if(|&(&other, _)| other < token).is_some() {}
            let q = others.next_if(|&(&other, _)| other == token).map_or(0.0, |(_, &q)| q);
            (token, (f64::from(p) - f64::from(q)).max(0.0))
        });
        // Nothing is left where p and q are equal but for rounding, in which case p itself is right.
        draw(excess, u).or_else(|| self.draw(u))
    }

    /// Tokens with their probabilities, by ascending id.
    #[cfg(test)]
    pub(super) fn entries(&self) -> Vec<(u32, f32)> {
        self.tokens.iter().copied().zip(self.probs.iter().copied()).collect()
    }
}

fn draw(weighted: impl Iterator<Item = (u32, f64)> + Clone, u: f64) -> Option<u32> {
    let mut left = u * weighted.clone().map(|(_, weight)| weight).sum::<f64>();
    let mut found = None;
    for (token, weight) in weighted {
        if weight > 0.0 {
            found = Some(token);
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    found
}
