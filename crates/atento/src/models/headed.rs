//! A Transformer with a head: labels for texts or tokens, the ends of an answer, a choice, masked words (Devlin et al. 2019,
//! §3.1, §4 and appendix A; Radford et al. 2018, §3.2, for decoders).
//!
//! A head is one part or several ([`Part`]), each of which reads states of the last block. The part of masked words is
//! computed at the tokens that are asked for and nowhere else.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, CrossEntropy};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::trunk::{Texts, Trunk};
use super::virtual_tokens::Prompted;
use crate::families::heads::{Headed as HeadedConfig, Norm, Part, Reads, Transform};
use crate::families::{Config, Start};
use crate::layers::{LayerNorm, Linear, activation};

/// The random stream that heads start from.
const INIT_STREAM: u64 = 0x7363;

/// A Transformer and what stands on it.
pub struct Headed {
    /// All that determines it but its weights.
    pub config: HeadedConfig,
    /// The Transformer; its parameters hold those of the head too.
    pub trunk: Box<dyn Trunk>,
    parts: Vec<Layers>,
}

/// The layers of a part.
struct Layers {
    reads: Reads,
    transform: Option<(f32, Linear, Activation, Option<LayerNorm>)>,
    dropout: f32,
    output: Option<Linear>,
}

impl Headed {
    /// A model whose Transformer and head start so.
    ///
    /// # Panics
    /// If the Transformer is of a family that heads cannot stand on.
    #[must_use]
    pub fn build(config: HeadedConfig, start: Start) -> Self {
        let mut trunk = config.trunk(start).expect("a family that heads can stand on");
        let (seed, normal) = match start {
            Start::Random(seed) | Start::NewHead(seed) => (seed, Init::Normal(config.trunk.initializer_range())),
            Start::Unloaded | Start::Outline => (0, Init::Zeros),
        };
        let (d_model, table) = (config.sizes().d_model, trunk.token_table());
        let rng = &mut Rng::new(seed, INIT_STREAM);
        let params = trunk.params_mut();
        if matches!(start, Start::NewHead(_)) {
            params.start_values();
        }
        let parts = config.parts.iter().map(|part| Layers::init(params, part, d_model, table, normal, rng)).collect();
        Self { config, trunk, parts }
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        self.trunk.params()
    }

    /// The states of the last block.
    ///
    /// # Shapes
    /// result: [tokens, d_model].
    ///
    /// # Panics
    /// As [`Trunk::encode`].
    #[must_use]
    pub fn states(&self, g: &mut Graph<'_>, texts: Texts<'_>) -> Tensor {
        self.trunk.encode(g, texts, &mut |_| ())
    }

    /// The states that the head reads: those of some tokens, and those of whole texts where the head has a part on them. The
    /// Transformer computes no other last states ([`Trunk::encode_rows`]).
    ///
    /// Behind a prompt, a text's first state is that of the prompt's first row. A mean that the family takes is over the rows of
    /// the prompt too, as in `transformers`; one that stands in config.json as this program's own is over the text's own rows.
    ///
    /// # Shapes
    /// `rows`: `[chosen]`; results: [chosen, d_model], [texts, d_model].
    ///
    /// # Panics
    /// As [`Trunk::encode_rows`]; if a text is empty.
    #[must_use]
    pub fn read(&self, g: &mut Graph<'_>, texts: Texts<'_>, rows: &[u32]) -> (Tensor, Option<Tensor>) {
        let part = self.part(|reads| reads != Reads::Tokens);
        let prompted = Prompted::of(texts, self.params(), self.config.sizes().vocab_size);
        let all_texts = prompted.as_ref().map_or(texts, Prompted::texts);
        let place = |rows: &[u32]| prompted.as_ref().map_or_else(|| rows.into(), |prompted| prompted.places(rows));
        let of_texts: Arc<[u32]> = match part.map(|part| part.reads) {
            None => Arc::default(),
            Some(Reads::First) => all_texts.first_rows().into(),
            Some(Reads::Last) => place(&texts.last_rows(self.config.sizes().pad_id)),
            Some(Reads::Mean) if self.config.pooling.is_none() => {
                let states = self.trunk.through(g, all_texts, &mut |_| (), None);
                let whole = g.mean_pool(&states, all_texts.cu_seqlens);
                return (g.gather_rows(&states, &place(rows)), Some(whole));
            }
            Some(Reads::Mean | Reads::Tokens) => {
                let states = self.states(g, texts);
                let whole = part.map(|part| self.text_states(g, part, &states, texts));
                return (g.gather_rows(&states, rows), whole);
            }
        };
        let all: Arc<[u32]> = place(rows).iter().chain(&*of_texts).copied().collect();
        let states = self.trunk.through(g, all_texts, &mut |_| (), Some(&all));
        let (chosen, end) = (rows.len() as u32, all.len() as u32);
        match part {
            None => (states, None),
            Some(_) if rows.is_empty() => (g.gather_rows(&states, &[]), Some(states)),
            Some(_) => {
                let parts = [0..chosen, chosen..end].map(|rows| rows.collect::<Vec<u32>>());
                (g.gather_rows(&states, &parts[0]), Some(g.gather_rows(&states, &parts[1])))
            }
        }
    }

    /// What each text gives each output, of a model without a prompt: see [`Headed::read`].
    ///
    /// # Shapes
    /// `states`: those of the texts, [tokens, d_model]; result: [texts, outputs].
    ///
    /// # Panics
    /// If no part reads whole texts, a text is empty, or a prompt stands before the texts.
    #[must_use]
    pub fn of_texts(&self, g: &mut Graph<'_>, states: &Tensor, texts: Texts<'_>) -> Tensor {
        let read = self.text_states(g, self.text_part(), states, texts);
        self.of_read_texts(g, &read)
    }

    /// As [`Headed::of_texts`], from what [`Headed::read`] gives for whole texts.
    ///
    /// # Shapes
    /// `read`: [texts, d_model]; result: [texts, outputs].
    ///
    /// # Panics
    /// If no part reads whole texts.
    #[must_use]
    pub fn of_read_texts(&self, g: &mut Graph<'_>, read: &Tensor) -> Tensor {
        g.label(|| "head".into());
        self.text_part().logits(g, read)
    }

    /// What the output on whole texts reads: the features of each text.
    ///
    /// # Shapes
    /// result: [texts, width].
    ///
    /// # Panics
    /// As [`Headed::of_texts`].
    #[must_use]
    pub fn features(&self, g: &mut Graph<'_>, texts: Texts<'_>) -> Tensor {
        let (_, read) = self.read(g, texts, &[]);
        self.text_part().before_output(g, &read.expect("a head on whole texts"))
    }

    /// What each token gives each output.
    ///
    /// # Shapes
    /// `states`: [rows, d_model]; result: [rows, outputs].
    ///
    /// # Panics
    /// If no part reads tokens.
    #[must_use]
    pub fn of_tokens(&self, g: &mut Graph<'_>, states: &Tensor) -> Tensor {
        let part = self.part(|reads| reads == Reads::Tokens).expect("a head on tokens");
        part.logits(g, states)
    }

    /// The loss of predicting the label of each text; see [`Graph::cross_entropy`].
    ///
    /// # Shapes
    /// As [`Headed::of_texts`]; `targets`: `[texts]`.
    ///
    /// # Panics
    /// As [`Headed::of_texts`].
    pub fn text_loss(
        &self,
        g: &mut Graph<'_>,
        states: &Tensor,
        texts: Texts<'_>,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let read = self.text_states(g, self.text_part(), states, texts);
        self.read_text_loss(g, &read, targets, smoothing, scale)
    }

    /// As [`Headed::text_loss`], from what [`Headed::read`] gives for whole texts.
    ///
    /// # Shapes
    /// `read`: [texts, d_model]; `targets`: `[texts]`.
    ///
    /// # Panics
    /// If no part reads whole texts.
    pub fn read_text_loss(
        &self,
        g: &mut Graph<'_>,
        read: &Tensor,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        g.label(|| "head".into());
        self.text_part().loss(g, read, targets, smoothing, scale)
    }

    /// The loss of predicting words or labels of single tokens, at `rows` alone; see [`Graph::cross_entropy`].
    ///
    /// # Shapes
    /// `states`: [tokens, d_model]; `rows`, `targets`: `[chosen]`.
    ///
    /// # Panics
    /// If no part reads tokens, or a row is not one of the states.
    pub fn token_loss(
        &self,
        g: &mut Graph<'_>,
        states: &Tensor,
        rows: &[u32],
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let read = g.gather_rows(states, rows);
        self.read_token_loss(g, &read, targets, smoothing, scale)
    }

    /// As [`Headed::token_loss`], from what [`Headed::read`] gives for tokens.
    ///
    /// # Shapes
    /// `read`: [chosen, d_model]; `targets`: `[chosen]`.
    ///
    /// # Panics
    /// If no part reads tokens.
    pub fn read_token_loss(
        &self,
        g: &mut Graph<'_>,
        read: &Tensor,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let part = self.part(|reads| reads == Reads::Tokens).expect("a head on tokens");
        part.loss(g, read, targets, smoothing, scale)
    }

    fn text_part(&self) -> &Layers {
        self.part(|reads| reads != Reads::Tokens).expect("a head on whole texts")
    }

    fn part(&self, wanted: impl Fn(Reads) -> bool) -> Option<&Layers> {
        self.parts.iter().find(|part| wanted(part.reads))
    }

    /// The states that a part on whole texts reads: [texts, d_model].
    fn text_states(&self, g: &mut Graph<'_>, part: &Layers, states: &Tensor, texts: Texts<'_>) -> Tensor {
        g.label(|| "head".into());
        let reads_prompt = part.reads == Reads::First && self.params().prompt().is_some();
        assert!(!reads_prompt, "Headed: the first state is the prompt's, which is not among those of the texts");
        match part.reads {
            Reads::First => g.gather_rows(states, &texts.first_rows()),
            Reads::Last => g.gather_rows(states, &texts.last_rows(self.config.sizes().pad_id)),
            Reads::Mean => g.mean_pool(states, texts.cu_seqlens),
            Reads::Tokens => states.clone(),
        }
    }
}

impl Layers {
    fn init(p: &mut Params, part: &Part, d_model: usize, table: Weight, normal: Init, rng: &mut Rng) -> Self {
        let transform = part.transform.as_ref().map(|transform| {
            let Transform { dense, width, bias, activation: function, norm, dropout } = transform;
            let dense = Linear::stacked(p, &[(dense, *width)], d_model, *bias, normal, rng);
            let norm = norm.as_ref().map(|Norm { path, eps, bias }| match bias {
                true => LayerNorm::init(p, path, *width, *eps, rng),
                false => LayerNorm::init_without_bias(p, path, *width, *eps, rng),
            });
            (*dropout, dense, activation(function), norm)
        });
        let output = part.output.as_ref().map(|output| {
            let shape = [output.outputs, part.width(d_model)];
            let layout = atento_tensor::ops::WeightLayout::OutIn;
            let weight = output.weight.as_ref().map_or(table, |name| p.add_matrix(name, shape, layout, normal, rng));
            let bias = output.bias.as_ref().map(|name| p.add(name, &[output.outputs], Init::Zeros, rng));
            Linear::over(weight, bias)
        });
        Self { reads: part.reads, transform, dropout: part.dropout, output }
    }

    /// What the output reads.
    fn before_output(&self, g: &mut Graph<'_>, read: &Tensor) -> Tensor {
        let mut x = read.clone();
        if let Some((dropout, dense, function, norm)) = &self.transform {
            x = g.dropout(&x, *dropout);
            x = dense.forward_activated(g, &x, *function);
            x = norm.as_ref().map_or_else(|| x.clone(), |norm| norm.forward(g, &x));
        }
        g.dropout(&x, self.dropout)
    }

    fn logits(&self, g: &mut Graph<'_>, read: &Tensor) -> Tensor {
        let x = self.before_output(g, read);
        self.output.as_ref().map_or_else(|| x.clone(), |output| output.forward(g, &x))
    }

    fn loss(
        &self,
        g: &mut Graph<'_>,
        read: &Tensor,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let x = self.before_output(g, read);
        self.output.as_ref().expect("a part with an output").cross_entropy(g, &x, targets, smoothing, scale)
    }
}
