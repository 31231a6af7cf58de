use atento_tensor::ops::RopeScaling;

use super::*;
use crate::families::{self, parameter_count};

fn read(object: &Value) -> Result<LlamaConfig, String> {
    read_config(Path::new("m/config.json"), object.as_object().unwrap()).map_err(|error| error.to_string())
}

/// A small one of each class.
fn classes() -> [(&'static str, LlamaConfig); 5] {
    let plain = || LlamaConfig { kv_heads: 2, eos_id: Some(0), ..LlamaConfig::new(300, 2, 48, 4, 64) };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position: 16,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: None,
        mscale: Some(0.7),
        mscale_all_dim: None,
        truncate: false,
    };
    [
        ("Llama", LlamaConfig { mlp_bias: true, rope_theta: 5e5, ..plain() }),
        ("Llama", LlamaConfig { qkv_bias: true, out_bias: true, rope_scaling: yarn, ..plain() }),
        (
            "Mistral",
            LlamaConfig {
                class: Class::Mistral,
                window: Some(8),
                windowed: vec![true; 2],
                tie_embeddings: false,
                ..plain()
            },
        ),
        (
            "Qwen2",
            LlamaConfig {
                class: Class::Qwen2,
                qkv_bias: true,
                window: Some(8),
                windowed: vec![false, true],
                ..plain()
            },
        ),
        (
            "Qwen3",
            LlamaConfig {
                class: Class::Qwen3,
                qk_norm: true,
                head_dim: 16,
                rope_scaling: RopeScaling::Linear { factor: 2.0 },
                ..plain()
            },
        ),
    ]
}

#[test]
fn what_is_written_is_read_back_as_the_class_that_says_it_all() {
    for (class, config) in classes() {
        config.validate().unwrap();
        let written = config.to_json().unwrap();
        assert_eq!(written["architectures"], json!([format!("{class}ForCausalLM")]));
        assert_eq!(read(&Value::Object(written.clone())).unwrap(), config, "{class}");
        let again = families::read(Path::new("config.json"), &written, None).unwrap();
        assert_eq!(again.to_json().unwrap(), written);
    }
}

#[test]
fn keys_left_out_have_the_values_of_the_class() {
    let llama = read(&json!({"model_type": "llama", "num_attention_heads": 16})).unwrap();
    assert_eq!((llama.kv_heads, llama.head_dim, llama.d_ff, llama.max_positions), (16, 256, 11_008, 2048));
    assert_eq!((llama.bos_id, llama.eos_id, llama.norm_eps, llama.tie_embeddings), (Some(1), Some(2), 1e-6, false));
    let mistral = read(&json!({"model_type": "mistral"})).unwrap();
    assert_eq!((mistral.kv_heads, mistral.window, mistral.windowed[31]), (8, Some(4096), true));
    let mistral = read(&json!({"model_type": "mistral", "sliding_window": null})).unwrap();
    assert_eq!((mistral.window, mistral.windowed[31]), (None, false));
    // It stays one, though a Llama computes the same.
    assert_eq!(mistral.to_json().unwrap()["model_type"], "mistral");
    let qwen = json!({"model_type": "qwen2", "use_sliding_window": true, "max_window_layers": 30});
    let qwen = read(&qwen).unwrap();
    assert_eq!((qwen.window, qwen.windowed[29], qwen.windowed[30]), (Some(4096), false, true));
    assert_eq!((qwen.qkv_bias, qwen.out_bias, qwen.eos_id), (true, false, None));
    let qwen = read(&json!({"model_type": "qwen3", "sliding_window": 4096})).unwrap();
    assert_eq!((qwen.head_dim, qwen.qk_norm, qwen.window), (128, true, None));
}

#[test]
fn positions_are_read_as_writers_new_and_old_say_them() {
    let llama3 =
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 8192 };
    let numbers = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4,
        "original_max_position_embeddings": 8192
    });
    let mut new = numbers.clone();
    new["rope_theta"] = json!(500_000.0);
    for object in [
        json!({"model_type": "llama", "rope_parameters": new}),
        json!({"model_type": "llama", "rope_theta": 500_000.0, "rope_scaling": numbers}),
    ] {
        let config = read(&object).unwrap();
        assert_eq!((config.rope_theta, config.rope_scaling), (500_000.0, llama3));
    }
    let old = json!({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2}});
    assert_eq!(read(&old).unwrap().rope_scaling, RopeScaling::Linear { factor: 2.0 });
}

#[test]
fn a_wrong_value_is_named_by_its_key_in_the_file() {
    for (key, value, expected) in [
        ("num_attention_heads", json!(5), "`num_attention_heads` is 5, expected a divisor of hidden_size = 4096"),
        ("num_key_value_heads", json!(3), "`num_key_value_heads` is 3, expected a divisor of heads = 32"),
        ("num_hidden_layers", json!("2"), "`num_hidden_layers` is \"2\", expected a whole number"),
        ("num_hidden_layers", json!(1_u64 << 40), "expected a whole number from 1 to"),
        ("head_dim", json!(7), "`head_dim` is 7, expected an even number"),
        ("hidden_act", json!("sine"), "`hidden_act` is \"sine\", expected one of silu"),
        ("rope_theta", json!(0), "`rope_theta` is 0, expected a number above 1"),
        ("rope_scaling", json!([2]), "`rope_scaling` is [2], expected an object"),
        ("rope_scaling", json!({"rope_type": "spiral"}), "`rope_type` is \"spiral\", expected one of \"default\""),
        ("rope_scaling", json!({"rope_type": "linear"}), "key `factor` is missing"),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 0}), "`factor` is 0, expected a number above 0"),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4}),
            "`high_freq_factor` is 4, expected a number above low_freq_factor = 4",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2, "beta_slow": 0}),
            "`beta_slow` is 0, expected a number",
        ),
        ("partial_rotary_factor", json!(0.5), "`partial_rotary_factor` is 0.5, expected 1.0"),
        ("rope_parameters", json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor` is 0.5, expected 1.0"),
    ] {
        let mut object = json!({"model_type": "llama"});
        object[key] = value;
        let message = read(&object).unwrap_err();
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
    let types = json!({
        "model_type": "qwen2", "num_hidden_layers": 2, "use_sliding_window": true, "layer_types": ["full_attention"]
    });
    let message = read(&types).unwrap_err();
    assert!(message.contains("`layer_types` is [\"full_attention\"], expected \"full_attention\" or"), "{message}");
}

#[test]
fn what_no_class_can_say_is_refused_before_it_is_trained() {
    let plain = LlamaConfig { window: Some(8), windowed: vec![true; 2], ..LlamaConfig::new(300, 2, 48, 4, 64) };
    let message = LlamaConfig { qkv_bias: true, out_bias: true, ..plain.clone() }.to_json().unwrap_err().to_string();
    assert!(message.contains("`sliding_window` is 8, expected none beside biases"), "{message}");
    let message =
        LlamaConfig { class: Class::Mistral, mlp_bias: true, ..plain.clone() }.to_json().unwrap_err().to_string();
    assert!(message.contains("`mlp_bias` is true, expected what a Mistral has"), "{message}");
    let special = SpecialIds::default();
    let mut settings = LlamaFamily.preset(Preset::Tiny);
    (settings.sliding_window, settings.attention_bias) = (Some(8), true);
    assert!(LlamaFamily.of_recipe(&settings, 300, special).unwrap_err().to_string().contains("window"));
    settings.qk_norm = true;
    assert_eq!(LlamaFamily.of_recipe(&settings, 300, special).unwrap().class(), "Qwen3");
}

#[test]
fn published_shapes_have_the_published_numbers_of_parameters() {
    for (name, count) in [
        ("smollm-135m", 134_515_008),
        ("smollm-360m", 361_821_120),
        ("smollm-1.7b", 1_711_376_384),
        ("llama-2-7b", 6_738_415_616),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.2-1b", 1_235_814_400_usize),
        ("mistral-7b", 7_241_732_096),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen3-0.6b", 596_049_920),
    ] {
        let config = published::shape(name).unwrap();
        config.validate().unwrap();
        assert_eq!(parameter_count(&config), count, "{name}");
    }
}
