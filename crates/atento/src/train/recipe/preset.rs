//! The sizes behind `model.preset`.
//!
//! `base` and `big` of the Transformer are those of Vaswani et al. 2017, table 3. `base` of the RNN is
//! RNNsearch (Bahdanau et al. 2015, §A.2: 1000 hidden units, 620-dimensional embeddings). The smaller ones
//! are ours, for tens of thousands of sentences on a few cores.

use super::choices::{Activation, Arch, Preset};
use super::settings::ModelSettings;

impl ModelSettings {
    /// The settings of a named set of sizes.
    pub fn preset(arch: Arch, preset: Preset) -> Self {
        let (d_model, blocks, heads, d_ff, transformer_dropout) = match preset {
            Preset::Tiny => (128, 2, 4, 512, 0.1),
            Preset::Small => (256, 3, 4, 1024, 0.1),
            Preset::Base => (512, 6, 8, 2048, 0.1),
            Preset::Big => (1024, 6, 16, 4096, 0.3),
        };
        let (hidden, embedding, layers, rnn_dropout) = match preset {
            Preset::Tiny => (128, 128, 1, 0.1),
            Preset::Small => (256, 256, 1, 0.2),
            Preset::Base => (1000, 620, 1, 0.2),
            Preset::Big => (1024, 1024, 4, 0.2),
        };
        // Of decoder-only models: ours, nanoGPT's for characters, and GPT-2's smallest two.
        let (blocks_alone, positions) = match preset {
            Preset::Tiny => (4, 64),
            Preset::Small => (6, 256),
            Preset::Base => (12, 1024),
            Preset::Big => (24, 1024),
        };
        if arch == Arch::Gpt2 {
            let (d_model, heads) = match preset {
                Preset::Tiny => (128, 4),
                Preset::Small => (384, 6),
                Preset::Base => (768, 12),
                Preset::Big => (1024, 16),
            };
            return Self {
                arch,
                preset,
                d_model,
                heads,
                layers: blocks_alone,
                d_ff: 4 * d_model,
                activation: Activation::GeluNew,
                max_positions: positions,
                ..Self::default()
            };
        }
        Self {
            arch,
            preset,
            d_model,
            encoder_layers: blocks,
            decoder_layers: blocks,
            heads,
            d_ff,
            hidden,
            embedding,
            layers,
            dropout: if arch == Arch::Rnn { rnn_dropout } else { transformer_dropout },
            ..Self::default()
        }
    }

    /// The width that learning-rate schedules scale by: `d_model`, or the recurrent state's.
    pub fn width(&self) -> usize {
        match self.arch {
            Arch::Transformer | Arch::Gpt2 => self.d_model,
            Arch::Rnn => self.hidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_model_is_the_small_transformer() {
        assert_eq!(ModelSettings::default(), ModelSettings::preset(Arch::Transformer, Preset::Small));
    }

    #[test]
    fn heads_divide_the_width_in_every_preset() {
        for preset in [Preset::Tiny, Preset::Small, Preset::Base, Preset::Big] {
            for arch in [Arch::Transformer, Arch::Gpt2] {
                let model = ModelSettings::preset(arch, preset);
                assert_eq!(model.d_model % model.heads, 0);
            }
        }
    }
}
