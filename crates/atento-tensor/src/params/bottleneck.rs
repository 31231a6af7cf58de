//! Small layers behind projections, each with a residual of its own (Houlsby et al. 2019, §2).

use atento_kernels::activation::Activation;

use super::{Params, Weight};

/// `y + up · f(down · y + b) + c` in the place of what a projection gives, `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// [size, outputs]
    pub down: Weight,
    /// `[size]`
    pub down_bias: Weight,
    /// [outputs, size]
    pub up: Weight,
    /// `[outputs]`
    pub up_bias: Weight,
    /// `f`
    pub activation: Activation,
}

impl Params {
    /// Puts a bottleneck behind a matrix, in every projection that it is multiplied in, in the place of one that it may have.
    ///
    /// # Panics
    /// If `weight` is several parameters or not a projection's, or the sizes do not fit.
    #[track_caller]
    pub fn set_bottleneck(&mut self, weight: Weight, bottleneck: Bottleneck) {
        assert_eq!(weight.parts, 1, "set_bottleneck: {weight:?} is made of several parameters");
        let (outputs, _) = self.projection_sizes(weight);
        let Bottleneck { down, down_bias, up, up_bias, .. } = bottleneck;
        let fits = (down.cols, up.rows, up_bias.len()) == (outputs, outputs, outputs)
            && (down.rows, down_bias.len()) == (up.cols, up.cols);
        let name = &self.entries[weight.ids().start].name;
        assert!(fits, "set_bottleneck: {bottleneck:?} for {name}, which gives {outputs}");
        self.bottlenecks.insert(weight.first, bottleneck);
    }

    /// The bottleneck behind a parameter; none where `weight` is several.
    #[must_use]
    pub fn bottleneck(&self, weight: Weight) -> Option<Bottleneck> {
        self.bottlenecks.get(&weight.first).filter(|_| weight.parts == 1).copied()
    }

    /// Whether there is one behind a part of a weight.
    #[must_use]
    pub fn has_bottleneck(&self, weight: Weight) -> bool {
        !self.bottlenecks.is_empty()
            && self.entries[weight.ids()].iter().any(|part| self.bottlenecks.contains_key(&part.weight.first))
    }
}
