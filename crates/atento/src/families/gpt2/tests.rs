use super::*;

fn config() -> Gpt2Config {
    Gpt2Config { eos_id: Some(0), dropout: 0.2, d_ff: 200, ..Gpt2Config::new(700, 2, 48, 4, 64) }
}

#[test]
fn what_is_written_is_read_back() {
    let object = write_config(&config());
    assert_eq!(object["resid_pdrop"], json!(0.2));
    assert_eq!(read_config(Path::new("config.json"), &object).unwrap(), config());
}

#[test]
fn that_there_are_no_biases_is_read_back() {
    let config = Gpt2Config { bias: false, ..config() };
    assert_eq!(read_config(Path::new("config.json"), &write_config(&config)).unwrap(), config);
}

#[test]
fn keys_left_out_have_the_values_of_the_class() {
    let config = read_config(Path::new("config.json"), &Map::new()).unwrap();
    assert_eq!(config.parameter_count(), 124_439_808);
    assert_eq!((config.bos_id, config.eos_id, config.pad_id), (Some(END_OF_TEXT), Some(END_OF_TEXT), None));
    let Value::Object(small) = json!({"vocab_size": 65, "bos_token_id": null}) else { unreachable!() };
    let config = read_config(Path::new("config.json"), &small).unwrap();
    assert_eq!((config.bos_id, config.eos_id), (None, None));
}

#[test]
fn a_wrong_value_is_named_by_its_key_in_the_file() {
    for (key, value, expected) in [
        ("n_head", json!(5), "`n_head` is 5, expected a divisor of d_model = 48"),
        ("n_layer", json!("2"), "`n_layer` is \"2\", expected a whole number"),
        ("activation_function", json!("geluu"), "`activation_function` is \"geluu\", expected one of gelu_new"),
        ("eos_token_id", json!("0"), "`eos_token_id` is \"0\", expected a token id"),
        ("add_cross_attention", json!(true), "`add_cross_attention` is true, expected false"),
    ] {
        let mut object = write_config(&config());
        object.insert(key.into(), value);
        let message = read_config(Path::new("m/config.json"), &object).unwrap_err().to_string();
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn tokens_that_the_table_does_not_have_are_none() {
    for (ids, found) in [(json!(50256), None), (json!(-1), None), (json!([900, 5]), Some(5))] {
        let mut object = write_config(&config());
        for key in ["bos_token_id", "eos_token_id"] {
            object.insert(key.into(), ids.clone());
        }
        let config = read_config(Path::new("config.json"), &object).unwrap();
        assert_eq!((config.bos_id, config.eos_id), (found, found));
    }
}

#[test]
fn only_a_blocks_own_mask_is_a_mask() {
    assert!(is_mask("transformer.h.3.attn.bias") && is_mask("h.11.attn.masked_bias"));
    assert!(!is_mask("h.3.attn.c_attn.bias") && !is_mask("h.x.attn.bias") && !is_mask("attn.bias"));
}
