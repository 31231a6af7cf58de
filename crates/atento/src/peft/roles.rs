//! Queries, keys, values and outputs of attention by one name in every family: `q`, `k`, `v` and `o`. Where a family computes
//! several of them by one matrix, a name is a part of its outputs, as `enable_lora` of loralib has it.

use std::ops::Range;

/// The end of a module's path, and which of how many equal parts of its outputs, where it is a part.
type Place = (&'static str, Option<(usize, usize)>);

/// The names.
const ROLES: [&str; 4] = ["q", "k", "v", "o"];

const OF_BERT: [Place; 4] =
    [("self.query", None), ("self.key", None), ("self.value", None), ("attention.output.dense", None)];
const OF_LLAMA: [Place; 4] = [("q_proj", None), ("k_proj", None), ("v_proj", None), ("o_proj", None)];

fn places(model_type: &str) -> Option<[Place; 4]> {
    let fused = |name, output| [(name, Some((0, 3))), (name, Some((1, 3))), (name, Some((2, 3))), (output, None)];
    Some(match model_type {
        "bert" | "roberta" | "xlm-roberta" | "camembert" | "electra" => OF_BERT,
        "distilbert" => [("q_lin", None), ("k_lin", None), ("v_lin", None), ("out_lin", None)],
        "deberta-v2" => {
            [("query_proj", None), ("key_proj", None), ("value_proj", None), ("attention.output.dense", None)]
        }
        "gpt2" => fused("c_attn", "attn.c_proj"),
        "modernbert" => fused("Wqkv", "Wo"),
        "llama" | "mistral" | "qwen2" | "qwen3" | "smollm3" => OF_LLAMA,
        "marian" | "bart" | "mbart" | "m2m_100" => {
            [("q_proj", None), ("k_proj", None), ("v_proj", None), ("out_proj", None)]
        }
        _ => return None,
    })
}

/// A part of the outputs of modules whose paths end so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The end of their paths.
    pub module: &'static str,
    /// Which part, counted from 0.
    pub at: usize,
    /// How many equal parts there are.
    pub of: usize,
}

impl Part {
    /// Its outputs, of so many.
    #[must_use]
    pub fn range(&self, outputs: usize) -> Range<usize> {
        let len = outputs / self.of;
        self.at * len..(self.at + 1) * len
    }
}

/// Names of modules in the place of the roles among them, and the parts of modules that those are.
#[must_use]
pub fn resolve(model_type: &str, names: &[String]) -> (Vec<String>, Vec<Part>) {
    let (mut found, mut parts) = (Vec::new(), Vec::new());
    for name in names {
        let role = ROLES.iter().position(|role| role == name);
        let Some((place, part)) = role.and_then(|role| places(model_type).map(|places| places[role])) else {
            found.push(name.clone());
            continue;
        };
        parts.extend(part.map(|(at, of)| Part { module: place, at, of }));
        if !found.iter().any(|found| found == place) {
            found.push(place.to_owned());
        }
    }
    (found, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_modules_or_parts_of_their_outputs() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(resolve("bert", &names(&["q", "v"])), (names(&["self.query", "self.value"]), Vec::new()));
        let (found, parts) = resolve("gpt2", &names(&["q", "mlp.c_fc", "v"]));
        assert_eq!(found, names(&["c_attn", "mlp.c_fc"]));
        assert_eq!(parts.iter().map(|part| part.range(12)).collect::<Vec<_>>(), [0..4, 8..12]);
        assert_eq!(resolve("rnn", &names(&["q"])), (names(&["q"]), Vec::new()));
    }
}
