//! Rows for tokens that are added to a model's vocabulary.
//!
//! Each new row of the embedding table, and of the output projection where that is a table of its own, is the mean of
//! the rows of all tokens before it: such a row says nothing of its token yet, and has the size that the model expects.
//! The new elements of an output bias are the mean of the others.

use atento_tensor::Params;

/// Fills `grown`, the parameters of the same model with more tokens, from `params`, whose first `used` rows have tokens.
/// Rows that had no token before are new too.
///
/// # Panics
/// If the two differ in more than the size of the vocabulary.
pub fn grow(params: &Params, grown: &mut Params, used: usize) {
    for entry in grown.entries().to_vec() {
        let name = &entry.name;
        let from = params.entry(name).unwrap_or_else(|| panic!("grow: no parameter {name}"));
        let (values, target) = (params.get(from.weight), grown.get_mut(entry.weight));
        let has_more_rows = from.dims[0] < entry.dims[0] && from.dims[1..] == entry.dims[1..];
        if is_vocabulary(name) || has_more_rows {
            fill(values, target, used, entry.dims[1..].iter().product());
        } else {
            assert_eq!(from.dims, entry.dims, "grow: the shapes of {name}");
            target.copy_from_slice(values);
        }
    }
}

/// Whether the first dimension of a parameter is the vocabulary.
pub(crate) fn is_vocabulary(name: &str) -> bool {
    let tables = [
        "wte.weight",
        "shared.weight",
        "embed_tokens.weight",
        "word_embeddings.weight",
        "tok_embeddings.weight",
        "lm_head.weight",
        "lm_head.bias",
        "predictions.bias",
    ];
    name == "final_logits_bias" || tables.iter().any(|table| name.ends_with(table))
}

/// Copies `[old, width]` to `[rows, width]`, and fills the rows from `used` on with the mean of those before.
fn fill(values: &[f32], target: &mut [f32], used: usize, width: usize) {
    target[..values.len()].copy_from_slice(values);
    let mut mean = vec![0.0_f64; width];
    for row in values.chunks_exact(width).take(used) {
        mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / used as f64);
    }
    for row in target.chunks_exact_mut(width).skip(used) {
        row.iter_mut().zip(&mean).for_each(|(value, &mean)| *value = mean as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::config::{Norm, TieEmbeddings};
    use crate::models::{Gpt2, Gpt2Config, Transformer, TransformerConfig};

    fn check(old: &Params, new: &mut Params, vocabulary: &[&str]) {
        grow(old, new, 18);
        for entry in new.entries().to_vec() {
            let from = old.entry(&entry.name).unwrap();
            let (before, after) = (old.get(from.weight), new.get(entry.weight));
            if !vocabulary.contains(&entry.name.as_str()) {
                assert_eq!(before, after, "{}", entry.name);
                continue;
            }
            let width: usize = entry.dims[1..].iter().product();
            assert_eq!((after.len(), &after[..18 * width]), (23 * width, &before[..18 * width]), "{}", entry.name);
            for column in 0..width {
                let mean = before[..18 * width].iter().skip(column).step_by(width).sum::<f32>() / 18.0;
                let new = after[18 * width..].iter().skip(column).step_by(width);
                assert!(new.into_iter().all(|value| (value - mean).abs() < 1e-5), "{}", entry.name);
            }
        }
    }

    #[test]
    fn new_rows_are_the_mean_of_the_others_and_the_rest_stays_in_every_kind_of_model() {
        for (tie_embeddings, vocabulary) in [(true, &["wte.weight"][..]), (false, &["wte.weight", "lm_head.weight"])] {
            let config = |vocab_size| Gpt2Config { tie_embeddings, ..Gpt2Config::new(vocab_size, 1, 8, 2, 8) };
            let mut new = Gpt2::unloaded(config(23));
            check(&Gpt2::init(config(20), 3).params, &mut new.params, vocabulary);
        }
        let (bias, both) = ("final_logits_bias", ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]);
        for (tie_embeddings, norm, vocabulary) in [
            (TieEmbeddings::All, Norm::Post, &["shared.weight", bias][..]),
            (TieEmbeddings::Decoder, Norm::Pre, &both),
            (TieEmbeddings::None, Norm::Post, &[both[0], both[1], "lm_head.weight", bias]),
        ] {
            let config = |vocab_size| {
                TransformerConfig {
                    d_model: 8,
                    encoder_layers: 1,
                    decoder_layers: 1,
                    encoder_heads: 2,
                    decoder_heads: 2,
                    tie_embeddings,
                    ..TransformerConfig::tiny(vocab_size)
                }
                .with_norm(norm)
            };
            let mut new = Transformer::init(config(23), 1);
            check(&Transformer::init(config(20), 3).params, &mut new.params, vocabulary);
        }
    }
}
