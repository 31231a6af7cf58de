//! How config.json says what the rotary positions are: `rope_parameters`, or `rope_theta` and `rope_scaling` of older
//! writers.

use std::path::Path;

use atento_tensor::ops::RopeScaling;
use serde_json::{Map, Value, json};

use crate::hub::Error;
use crate::hub::json::Keys;

const THETA: f64 = 10_000.0;
const NEW: &str = "rope_parameters";
const OLD: &str = "rope_scaling";

/// The base of the wavelengths and how they are scaled.
///
/// # Errors
/// A scaling that is not known, or lacks a number.
pub(super) fn read(
    path: &Path,
    object: &Map<String, Value>,
    max_positions: usize,
) -> Result<(f64, RopeScaling), Error> {
    let keys = Keys::new(path, object);
    let theta: f64 = keys.or("rope_theta", THETA)?;
    require_whole_heads(keys)?;
    let key = [NEW, OLD].into_iter().find(|key| object.get(*key).is_some_and(|value| !value.is_null()));
    let Some(key) = key else { return Ok((theta, RopeScaling::None)) };
    let Some(Value::Object(said)) = object.get(key) else {
        return Err(keys.wrong(key, "an object: {\"rope_type\": …, …}"));
    };
    let inner = Keys::new(path, said);
    let theta = inner.or("rope_theta", theta)?;
    require_whole_heads(inner)?;
    // Older files call it `type`.
    let named = ["rope_type", "type"].into_iter().find(|key| said.contains_key(*key)).unwrap_or("rope_type");
    let kind: String = inner.or(named, "default".to_owned())?;
    let original = inner.or("original_max_position_embeddings", max_positions)?;
    let positive = |key: &str| -> Result<f64, Error> {
        let value: f64 = inner.required(key)?;
        if value > 0.0 && value.is_finite() { Ok(value) } else { Err(inner.wrong(key, "a number above 0")) }
    };
    let scaling = match kind.as_str() {
        // Within the positions that the model has, dynamic scaling changes nothing.
        "default" | "dynamic" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: positive("factor")? },
        "llama3" => {
            let [factor, low_freq_factor, high_freq_factor] =
                [positive("factor")?, positive("low_freq_factor")?, positive("high_freq_factor")?];
            if high_freq_factor <= low_freq_factor {
                let expected = format!("a number above low_freq_factor = {low_freq_factor}");
                return Err(inner.wrong("high_freq_factor", expected));
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position: original }
        }
        "yarn" => RopeScaling::Yarn {
            factor: match said.contains_key("factor") {
                true => positive("factor")?,
                false => max_positions as f64 / original.max(1) as f64,
            },
            original_max_position: original,
            beta_fast: if said.contains_key("beta_fast") { positive("beta_fast")? } else { 32.0 },
            beta_slow: if said.contains_key("beta_slow") { positive("beta_slow")? } else { 1.0 },
            attention_factor: inner.optional("attention_factor")?,
            mscale: inner.optional("mscale")?,
            mscale_all_dim: inner.optional("mscale_all_dim")?,
            truncate: inner.or("truncate", true)?,
        },
        _ => {
            let known = "one of \"default\", \"linear\", \"dynamic\", \"llama3\", \"yarn\"";
            return Err(inner.wrong(named, known));
        }
    };
    if original == 0 {
        return Err(inner.wrong("original_max_position_embeddings", "a whole number from 1"));
    }
    Ok((theta, scaling))
}

fn require_whole_heads(keys: Keys<'_>) -> Result<(), Error> {
    const KEY: &str = "partial_rotary_factor";
    if keys.or(KEY, 1.0_f64)? == 1.0 { Ok(()) } else { Err(keys.wrong(KEY, "1.0: whole heads are turned")) }
}

/// Writes both forms, for readers new and old.
pub(super) fn write(theta: f64, scaling: &RopeScaling, object: &mut Map<String, Value>) {
    let mut said = match *scaling {
        RopeScaling::None => json!({"rope_type": "default"}),
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position,
        }),
        RopeScaling::Yarn {
            factor,
            original_max_position,
            beta_fast,
            beta_slow,
            attention_factor,
            mscale,
            mscale_all_dim,
            truncate,
        } => {
            let mut said = json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original_max_position,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "truncate": truncate,
            });
            let given =
                [("attention_factor", attention_factor), ("mscale", mscale), ("mscale_all_dim", mscale_all_dim)];
            for (key, value) in given.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                said[key] = json!(value);
            }
            said
        }
    };
    let old = if *scaling == RopeScaling::None { Value::Null } else { said.clone() };
    said["rope_theta"] = json!(theta);
    object.insert("rope_theta".into(), json!(theta));
    object.insert(OLD.into(), old);
    object.insert(NEW.into(), said);
}
