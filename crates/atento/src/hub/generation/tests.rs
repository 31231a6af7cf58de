//! What generation_config.json may say.

use super::*;

fn parse(object: Value) -> Result<GenerationConfig, Error> {
    let Value::Object(object) = object else { unreachable!() };
    GenerationConfig::from_json(Path::new("generation_config.json"), &object)
}

#[test]
fn what_is_written_is_read_back() {
    let config = GenerationConfig {
        num_beams: 4,
        length_penalty: 0.6,
        early_stopping: EarlyStopping::Exhaustive,
        no_repeat_ngram_size: 3,
        eos_ids: vec![1, 5],
        forced_eos_id: Some(1),
        min_new_tokens: Some(2),
        repetition_penalty: 1.3,
        sampling: Sampling { do_sample: Some(false), top_p: Some(0.9), ..Sampling::default() },
        ..GenerationConfig::of_model(&TransformerConfig::tiny(90))
    };
    assert_eq!(parse(Value::Object(config.to_json())).unwrap(), config);
    assert_eq!(config.to_json()["length_penalty"], json!(0.6));
}

#[test]
fn padding_is_banned_and_the_end_never_is() {
    let config = parse(json!({"bad_words_ids": [[0], [1], [3, 4]], "suppress_tokens": [7, 0], "eos_token_id": 1}));
    assert_eq!(config.unwrap().banned_ids(), [0, 7]);
}

#[test]
fn settings_without_an_effect_here_are_listed() {
    let config = parse(json!({"do_sample": true, "num_beam_groups": 3, "max_time": null}));
    let config = config.unwrap();
    assert_eq!(config.not_honoured, ["num_beam_groups"]);
    assert_eq!(config.beyond_search(), ["num_beam_groups", "do_sample"]);
    // Contrastive search takes two candidates at least.
    let config = parse(json!({"penalty_alpha": 0.6, "top_k": 1})).unwrap();
    assert_eq!((config.sampling.contrast(), config.beyond_search().len()), (None, 0));
}

#[test]
fn what_nothing_here_reads_is_written_again() {
    let object = json!({
        "num_beams": 4, "length_penalty": 0.5, "stop_strings": ["."], "of_next_year": {"a": [1, null]},
        "eos_token_id": [1], "pad_token_id": -1, "early_stopping": false, "top_k": 50, "max_length": null
    });
    let config = parse(object.clone()).unwrap();
    let Value::Object(object) = object else { unreachable!() };
    let mut config = config.with_file(&object);
    assert_eq!(config.to_json(), object);
    config.length_penalty = 1.0;
    config.num_beams = 2;
    let written = config.to_json();
    assert!(!written.contains_key("length_penalty"));
    assert_eq!((&written["num_beams"], written.len()), (&json!(2), object.len() - 1));
}

#[test]
fn wrong_types_are_named() {
    for (object, key) in [
        (json!({"num_beams": "4"}), "num_beams"),
        (json!({"num_beams": 0}), "num_beams"),
        (json!({"max_new_tokens": 0}), "max_new_tokens"),
        (json!({"bad_words_ids": [0]}), "bad_words_ids"),
        (json!({"early_stopping": 3}), "early_stopping"),
        (json!({"eos_token_id": "1"}), "eos_token_id"),
        (json!({"pad_token_id": 1_u64 << 32}), "pad_token_id"),
        (json!({"bos_token_id": [1, 2]}), "bos_token_id"),
        (json!({"num_beams": 5000}), "num_beams"),
        (json!({"bad_words_ids": [[]]}), "bad_words_ids"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"length_penalty": 1e300}), "length_penalty"),
        (json!({"temperature": -0.5}), "temperature"),
        (json!({"top_p": 0}), "top_p"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"do_sample": 1}), "do_sample"),
    ] {
        let message = parse(object).unwrap_err().to_string();
        assert!(message.starts_with(&format!("generation_config.json: key `{key}` is ")), "{message}");
    }
}
