//! The head that a state dict brings for a base without one: an output that was trained whole beside the pairs.

use std::sync::Arc;

use crate::families::heads::{Headed, Objective, SPAN_OUTPUTS};
use crate::families::{Config, Head};
use crate::hub::Weights;
use crate::models::config::ConfigError;

/// The heads that such an output may be of. Of several that have the same names, the first is taken: labels of whole texts.
const HEADS: [Head; 3] = [Head::Labels, Head::Tags, Head::Span];

/// The head on a model that has all parameters called `names`, with as many outputs as the state dict has rows for. Its labels
/// are called as `transformers` calls labels without names.
pub(super) fn found_in(weights: &Weights, names: &[&str], model: &dyn Config) -> Option<Headed> {
    let trunk = model.without_output();
    HEADS.into_iter().find_map(|head| {
        let outputs = rows_of_output(weights, &with_outputs(&trunk, head, SPAN_OUTPUTS).ok()?)?;
        if head == Head::Span && outputs != SPAN_OUTPUTS {
            return None;
        }
        let headed = with_outputs(&trunk, head, outputs).ok()?;
        let own = headed.parameters();
        let has = |name: &&str| own.iter().any(|(own, _)| headed.sources(own).iter().any(|source| source == name));
        names.iter().all(has).then_some(headed)
    })
}

/// A head with so many outputs; one output alone is a value.
fn with_outputs(trunk: &Arc<dyn Config>, head: Head, outputs: usize) -> Result<Headed, ConfigError> {
    let labels = if head.has_labels() { (0..outputs).map(|id| format!("LABEL_{id}")).collect() } else { Vec::new() };
    let is_value = head == Head::Labels && outputs == 1;
    Headed::new(trunk, head, labels, if is_value { Objective::Regression } else { Objective::Classification })
}

/// The rows that the state dict has for the output of a head.
fn rows_of_output(weights: &Weights, headed: &Headed) -> Option<usize> {
    let name = headed.parts.iter().find_map(|part| part.output.as_ref()?.weight.as_ref())?;
    let stored = headed.sources(name).into_iter().find(|stored| weights.contains(stored))?;
    weights.get(&stored).ok()?.shape.first().copied()
}
