//! Adapters put on models and merged into them, as a person does it.

use serde_json::{Value, json};

use crate::support::{Folder, fixture};

/// An adapter for the queries of `bert-labels`: rank 1, its numbers a wave.
fn adapter(folder: &Folder, name: &str, module: &str) {
    let config = json!({
        "peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": [module], "base_model_name_or_path": "some/bert",
    });
    std::fs::create_dir(folder.path(name)).unwrap();
    folder.write(&format!("{name}/adapter_config.json"), config.to_string());
    let model = std::fs::read_to_string(fixture("bert-labels").join("config.json")).unwrap();
    let model: Value = serde_json::from_str(&model).unwrap();
    let (width, layers) = (model["hidden_size"].as_u64().unwrap(), model["num_hidden_layers"].as_u64().unwrap());
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for layer in 0..layers {
        for (half, shape) in [("A", [1, width]), ("B", [width, 1])] {
            let start = data.len();
            data.extend((0..width).flat_map(|at| (0.9 * at as f32 + layer as f32).sin().to_le_bytes()));
            let path =
                format!("base_model.model.bert.encoder.layer.{layer}.attention.self.{module}.lora_{half}.weight");
            header.insert(path, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
        }
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    folder.write(&format!("{name}/adapter_model.safetensors"), bytes);
}

#[test]
fn an_adapter_is_put_on_its_base_and_merged_into_it() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    let base = fixture("bert-labels").display().to_string();
    let logits = |command: &[&str]| -> Vec<f64> {
        let object = folder.run(&[&["classify", "--json"], command].concat(), "").objects().remove(0);
        serde_json::from_value(object["logits"].clone()).unwrap()
    };
    let apart = |one: &[f64], other: &[f64]| one.iter().zip(other).fold(0f64, |most, (x, y)| most.max((x - y).abs()));
    let adapted = logits(&[&base, "a red cat runs", "--adapter", "a"]);
    assert!(apart(&adapted, &logits(&[&base, "a red cat runs"])) > 1e-4);
    let told = folder.run(&["adapter", "merge", &base, "a", "--out", "merged", "--json"], "").objects().remove(0);
    assert!(told["modules"].as_u64().unwrap() > 0 && told["largest_difference"].as_f64().unwrap() < 1e-5, "{told}");
    assert!(apart(&adapted, &logits(&["merged", "a red cat runs"])) < 1e-5);
}

#[test]
fn what_an_adapter_is_not_for_is_told() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    adapter(&folder, "b", "querry");
    let base = fixture("bert-labels").display().to_string();
    let message = folder.run(&["classify", &base, "x", "--adapter", "b"], "").refusal();
    assert!(message.contains("is of no module of the model (the nearest is"), "{message}");
    let message = folder.run(&["classify", "a", "x"], "").refusal();
    assert!(message.contains("the directory holds an adapter of some/bert: name its base"), "{message}");
    let message = folder.run(&["classify", &base, "x", "--adapter", "none"], "").refusal();
    assert!(message.contains("none/adapter_config.json"), "{message}");
    let bytes = std::fs::read(folder.path("a/adapter_model.safetensors")).unwrap();
    folder.write("a/adapter_model.safetensors", &bytes[..bytes.len() - 4]);
    let message = folder.run(&["adapter", "merge", &base, "a", "--out", "m"], "").refusal();
    assert!(message.contains("adapter_model.safetensors") && !folder.path("m").exists(), "{message}");
}
