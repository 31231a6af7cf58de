//! The parameter table of the encoder–decoder: every name with its shape, in arena order.
//!
//! Names are Hugging Face's without the `model.` prefix, so that a checkpoint's name map is one rule.

use super::config::{Norm, TieEmbeddings, TransformerConfig};

/// A parameter's name and dimensions; weights of linear maps are `[out, in]`.
pub type NamedShape = (String, Vec<usize>);

impl TransformerConfig {
    /// Every parameter of the model with its shape, embeddings first, in a fixed order.
    ///
    /// `final_logits_bias` (post-norm only) is part of the checkpoint but not trained by the reference.
    pub fn parameters(&self) -> Vec<NamedShape> {
        let mut table = self.embedding_parameters();
        for layer in 0..self.encoder_layers {
            self.push_layer(&mut table, &format!("encoder.layers.{layer}"), &["self_attn"], self.encoder_ffn);
        }
        self.push_final_norm(&mut table, "encoder.layer_norm");
        for layer in 0..self.decoder_layers {
            let attentions = ["self_attn", "encoder_attn"];
            self.push_layer(&mut table, &format!("decoder.layers.{layer}"), &attentions, self.decoder_ffn);
        }
        self.push_final_norm(&mut table, "decoder.layer_norm");
        table
    }

    /// How many numbers [`TransformerConfig::parameters`] holds.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    fn embedding_parameters(&self) -> Vec<NamedShape> {
        let names: &[&str] = match self.tie_embeddings {
            TieEmbeddings::All => &["shared.weight"],
            TieEmbeddings::Decoder => &["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"],
            TieEmbeddings::None => &["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"],
        };
        let table = vec![self.vocab_size, self.d_model];
        let mut parameters: Vec<NamedShape> = names.iter().map(|name| (name.to_string(), table.clone())).collect();
        if self.norm == Norm::Post {
            parameters.push(("final_logits_bias".into(), vec![self.vocab_size]));
        }
        parameters
    }

    fn push_layer(&self, table: &mut Vec<NamedShape>, layer: &str, attentions: &[&str], d_ff: usize) {
        for attention in attentions {
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                push_linear(table, &format!("{layer}.{attention}.{projection}"), self.d_model, self.d_model);
            }
            self.push_norm(table, &format!("{layer}.{attention}_layer_norm"));
        }
        push_linear(table, &format!("{layer}.fc1"), d_ff, self.d_model);
        push_linear(table, &format!("{layer}.fc2"), self.d_model, d_ff);
        self.push_norm(table, &format!("{layer}.final_layer_norm"));
    }

    fn push_norm(&self, table: &mut Vec<NamedShape>, name: &str) {
        table.push((format!("{name}.weight"), vec![self.d_model]));
        table.push((format!("{name}.bias"), vec![self.d_model]));
    }

    /// Pre-norm leaves the last residual sum unnormalised, so it ends in one more norm; post-norm does not.
    fn push_final_norm(&self, table: &mut Vec<NamedShape>, name: &str) {
        if self.norm == Norm::Pre {
            self.push_norm(table, name);
        }
    }
}

fn push_linear(table: &mut Vec<NamedShape>, name: &str, d_out: usize, d_in: usize) {
    table.push((format!("{name}.weight"), vec![d_out, d_in]));
    table.push((format!("{name}.bias"), vec![d_out]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_has_the_parameter_count_of_the_paper() {
        // 37,000 shared word pieces, table 3 of the paper: 65 million.
        let count = TransformerConfig::base(37_000).parameter_count();
        assert!((62_000_000..66_000_000).contains(&count), "{count}");
    }

    #[test]
    fn names_are_unique_and_follow_tying_and_norm() {
        for (tie, norm, tables) in [
            (TieEmbeddings::All, Norm::Post, 1),
            (TieEmbeddings::Decoder, Norm::Post, 2),
            (TieEmbeddings::None, Norm::Pre, 3),
        ] {
            let mut config = TransformerConfig::tiny(100).with_norm(norm);
            config.tie_embeddings = tie;
            let parameters = config.parameters();
            let names: std::collections::HashSet<_> = parameters.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), parameters.len());
            let of_table = |shape: &[usize]| shape == [100, 128];
            assert_eq!(parameters.iter().filter(|(_, shape)| of_table(shape)).count(), tables);
            assert_eq!(names.contains(&"encoder.layer_norm.weight".to_string()), norm == Norm::Pre);
            assert_eq!(names.contains(&"final_logits_bias".to_string()), norm == Norm::Post);
        }
    }
}
