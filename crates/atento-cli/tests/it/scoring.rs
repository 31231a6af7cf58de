//! `score`, `inspect` and `doctor`.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::Folder;

#[test]
fn score_gives_each_target_token_its_log_probability() {
    let folder = Folder::new();
    folder.model();
    let objects = folder.run(&["score", "m", "--json"], "a dog\tein Hund\ntwo dogs\t\n").objects();
    let ids = folder.run(&["tokenizer", "encode", "m", "--json", "ein Hund"], "").objects().remove(0);
    assert_eq!(objects[0]["ids"], ids["ids"]);
    // An empty target is its end token alone.
    assert_eq!(objects[1]["ids"], json!([2]));
    for object in &objects {
        let logprobs: Vec<f64> = object["logprobs"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(logprobs.len(), object["ids"].as_array().unwrap().len());
        assert!(logprobs.iter().all(|&logprob| logprob < 0.0));
        let sum = object["sum_logprob"].as_f64().unwrap();
        assert!((sum - logprobs.iter().sum::<f64>()).abs() < 1e-6);
        assert!((object["perplexity"].as_f64().unwrap().ln() + sum / logprobs.len() as f64).abs() < 1e-6);
    }
    let text = folder.run(&["score", "m", "a dog\tein Hund"], "").output();
    assert_eq!(text.trim_end().split('\t').count(), 3);
}

#[test]
fn inspect_lists_the_parameters_by_module() {
    let folder = Folder::new();
    folder.model();
    let object = folder.run(&["inspect", "m", "--json"], "").objects().remove(0);
    let modules = object["modules"].as_array().unwrap();
    let names: Vec<&str> = modules.iter().map(|module| module["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shared", "final_logits_bias", "encoder.layers.0", "decoder.layers.0"]);
    let sum: u64 = modules.iter().map(|module| module["parameters"].as_u64().unwrap()).sum();
    assert_eq!(object["total"], sum);
    assert_eq!(object["trainable"], sum - modules[1]["parameters"].as_u64().unwrap());
    let table = &modules[0]["tensors"][0];
    assert_eq!((&table["dtype"], &table["tied_to"][2]), (&json!("F32"), &json!("lm_head.weight")));
}

/// The counts of Hu et al. 2021, tables 2 to 4 and 18, by arithmetic.
#[test]
fn a_plan_of_an_adapter_has_the_counts_of_the_paper() {
    let folder = Folder::new();
    for (shape, rank, targets, trainable) in [
        ("roberta-base", "8", "q,v", 294_912),
        ("roberta-large", "8", "q,v", 786_432),
        ("deberta-v2-xxlarge", "16", "q,v", 4_718_592),
        ("gpt2-medium", "4", "q,v", 393_216),
        ("gpt2-large", "4", "q,v", 737_280),
        ("gpt3-175b", "1", "q,v", 4_718_592),
        ("gpt3-175b", "8", "q,v", 37_748_736),
    ] {
        let command = ["inspect", "plan", shape, "--method", "lora", "--rank", rank, "--targets", targets, "--json"];
        let plan = folder.run(&command, "").objects().remove(0)["plan"].clone();
        assert_eq!(plan["trainable"], trainable, "{shape}");
        let full = &plan["full"];
        assert!(plan["all"].as_u64() > full["all"].as_u64() && full["trainable"].as_u64() > Some(100 * trainable));
        let bytes = |of: &Value| of["memory_bytes"]["total"].as_f64().unwrap();
        assert!(bytes(&plan) < 0.7 * bytes(full), "{shape}");
    }
    // Keys and values of 20 tokens in 12 blocks, 20 rows, and two bottlenecks of 64 in each block.
    let bottleneck = 64 * 768 + 64 + 768 * 64 + 768;
    for (shape, method, trainable) in [
        ("bert-base", "prefix", 20 * 12 * 2 * 768),
        ("gpt2", "prefix", 20 * 12 * 2 * 768),
        ("gpt2", "prompt", 20 * 768),
        ("bert-base", "houlsby", 2 * 12 * bottleneck),
        ("bert-base", "ia3", 12 * (768 + 768 + 768 + 3072)),
    ] {
        let plan = folder.run(&["inspect", "plan", shape, "--method", method, "--json"], "").objects().remove(0);
        assert_eq!(plan["plan"]["trainable"], trainable, "{shape}, {method}");
    }
    let found = folder.run(&["inspect", "plan", "gpt2", "--method", "lora", "--targets", "c_atn"], "").refusal();
    assert!(found.contains("\"c_atn\" matches no module of the model; the nearest is `c_attn`"), "{found}");
}

#[test]
fn a_plan_is_made_of_a_config_alone() {
    let folder = Folder::new();
    let config = json!({
        "model_type": "marian", "vocab_size": 100, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "max_position_embeddings": 32, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
        "activation_function": "relu",
    });
    folder.write("other.json", config.to_string());
    assert_snapshot!(folder.run(&["inspect", "plan", "other.json"], "").output(), @r"
    shared                                        800
      weight                          [100, 8]    800  = encoder.embed_tokens.weight, decoder.embed_tokens.weight, lm_head.weight
    final_logits_bias                             100
    encoder.layers.0                              600
      self_attn.q_proj.weight         [8, 8]       64
      self_attn.q_proj.bias           [8]           8
      self_attn.k_proj.weight         [8, 8]       64
      self_attn.k_proj.bias           [8]           8
      self_attn.v_proj.weight         [8, 8]       64
      self_attn.v_proj.bias           [8]           8
      self_attn.out_proj.weight       [8, 8]       64
      self_attn.out_proj.bias         [8]           8
      self_attn_layer_norm.weight     [8]           8
      self_attn_layer_norm.bias       [8]           8
      fc1.weight                      [16, 8]     128
      fc1.bias                        [16]         16
      fc2.weight                      [8, 16]     128
      fc2.bias                        [8]           8
      final_layer_norm.weight         [8]           8
      final_layer_norm.bias           [8]           8
    decoder.layers.0                              904
      self_attn.q_proj.weight         [8, 8]       64
      self_attn.q_proj.bias           [8]           8
      self_attn.k_proj.weight         [8, 8]       64
      self_attn.k_proj.bias           [8]           8
      self_attn.v_proj.weight         [8, 8]       64
      self_attn.v_proj.bias           [8]           8
      self_attn.out_proj.weight       [8, 8]       64
      self_attn.out_proj.bias         [8]           8
      self_attn_layer_norm.weight     [8]           8
      self_attn_layer_norm.bias       [8]           8
      encoder_attn.q_proj.weight      [8, 8]       64
      encoder_attn.q_proj.bias        [8]           8
      encoder_attn.k_proj.weight      [8, 8]       64
      encoder_attn.k_proj.bias        [8]           8
      encoder_attn.v_proj.weight      [8, 8]       64
      encoder_attn.v_proj.bias        [8]           8
      encoder_attn.out_proj.weight    [8, 8]       64
      encoder_attn.out_proj.bias      [8]           8
      encoder_attn_layer_norm.weight  [8]           8
      encoder_attn_layer_norm.bias    [8]           8
      fc1.weight                      [16, 8]     128
      fc1.bias                        [16]         16
      fc2.weight                      [8, 16]     128
      fc2.bias                        [8]           8
      final_layer_norm.weight         [8]           8
      final_layer_norm.bias           [8]           8

    parameters  2,404 (2,304 trainable)
    in memory   9.4 KiB

    in training                      full
    trained                         2,304
    of all                       95.8403%
    weights                       9.4 KiB
    gradients                     9.0 KiB
    Adam's moments               18.0 KiB
    activations of 4,096 tokens   4.9 MiB
    memory in all                 4.9 MiB
    file of what is trained       9.0 KiB
    operations a token            1.422e4
    ");
}

#[test]
fn options_of_every_verb_may_stand_anywhere() {
    let folder = Folder::new();
    folder.model();
    let object = folder.run(&["inspect", "plan", "m", "--json"], "").output();
    for arguments in [["--json", "inspect", "plan", "m"], ["inspect", "--json", "plan", "m"]] {
        assert_eq!(folder.run(&arguments, "").output(), object);
    }
    folder.run(&["inspect", "m", "plan", "m"], "").refusal();
}

#[test]
fn doctor_tells_what_the_machine_has() {
    let folder = Folder::new();
    let object = folder.run(&["doctor", "--json", "--no-measure", "--threads", "2"], "").objects().remove(0);
    assert_eq!((&object["threads"], &object["devices"]), (&json!(2), &json!(["cpu"])));
    assert!(object["version"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")));
    assert!(object["simd_available"].as_array().unwrap().contains(&object["simd"]));
}
