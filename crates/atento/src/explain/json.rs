//! Attention weights as JSON: `tokens` and `attentions[layer][head][query][key]`; of a translator also `target_tokens`,
//! `decoder` and `cross`, which are nested alike; `virtual_tokens` where an adapter brings keys before those of the text.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{AttentionMaps, Between};

/// Layers of heads of queries.
type Nested<'a> = Vec<Vec<Vec<&'a [f32]>>>;

impl Serialize for AttentionMaps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tokens", &self.text.spelled)?;
        if self.virtual_tokens > 0 {
            map.serialize_entry("virtual_tokens", &self.virtual_tokens)?;
        }
        if let Some(target) = &self.target {
            map.serialize_entry("target_tokens", &target.spelled)?;
        }
        for stack in &self.stacks {
            let name = match stack.between {
                Between::Text => "attentions",
                Between::Target => "decoder",
                Between::Cross => "cross",
            };
            let keys = self.keys(stack.between).len();
            let layers = stack.layers.iter().map(|layer| {
                let rows = layer.heads.iter().map(|head| head.weights.chunks(keys).collect());
                rows.collect()
            });
            map.serialize_entry(name, &layers.collect::<Nested<'_>>())?;
        }
        map.end()
    }
}
