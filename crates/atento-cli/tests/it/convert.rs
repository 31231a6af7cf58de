//! `convert`: models written anew.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Folder, reference_models};

fn continued(folder: &Folder, model: &str, options: &[&str]) -> Value {
    let prompt = ["generate", model, "--json", "--greedy", "--max-new-tokens", "12", "--prompt", "a cat"];
    folder.run(&[&prompt[..], options].concat(), "").objects().remove(0)
}

#[test]
fn a_language_model_in_int8_goes_on_as_the_one_rounded_when_it_is_loaded() {
    let folder = Folder::new();
    for (number, model) in reference_models(&["GPT2LMHeadModel"]).iter().enumerate() {
        let (path, small, wide) = (model.to_str().unwrap(), format!("small{number}"), format!("wide{number}"));
        let object = folder.run(&["convert", path, "--weights", "int8", "--out", &small, "--json"], "").objects();
        assert_eq!((&object[0]["path"], &object[0]["weights"]), (&json!(small), &json!("int8")));
        let expected = continued(&folder, path, &["--weights", "int8"]);
        assert_eq!(continued(&folder, &small, &[]), expected);
        assert_eq!(continued(&folder, &small, &["--weights", "int8"]), expected);
        let inspected = folder.run(&["inspect", &small, "--json"], "").objects().remove(0);
        let dtypes = |module: &Value| module["tensors"][0]["dtype"].as_str().unwrap().to_owned();
        let dtypes: Vec<String> = inspected["modules"].as_array().unwrap().iter().map(dtypes).collect();
        assert_eq!((dtypes[0].as_str(), dtypes[1].as_str()), ("I8", "F32"));
        let scored = folder.run(&["score", &small, "--json", "a red cat"], "").objects().remove(0);
        assert!(scored["perplexity"].as_f64().unwrap() > 1.0);

        // It is trained only after it was made f32 knowingly.
        folder.write("text.txt", "the cat sees the dog.\n".repeat(40));
        folder.write(
            "r.toml",
            "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\nblock_size = 16\n[train]\nmax_steps = 2\nbatch_tokens = 64\n",
        );
        let message = folder.run(&["train", "r.toml", "--from", &small, "--out", "run"], "").refusal();
        assert!(message.contains("the weights are in int8"), "{message}");
        folder.run(&["convert", &small, "--out", &wide], "").output();
        let (found, exact) = (continued(&folder, &wide, &[]), continued(&folder, &small, &["--weights", "f32"]));
        assert_eq!(found, exact);
        let run = format!("run{number}");
        folder.run(&["train", "r.toml", "--from", &wide, "--out", &run, "--quiet"], "").output();
    }
}

#[test]
fn half_the_bytes_are_read_back_and_pytorchs_file_becomes_safetensors() {
    let folder = Folder::new();
    folder.model();
    let described = std::fs::read_to_string(folder.path("m/tokenizer_config.json")).unwrap();
    let described = described.replacen('{', "{\n  \"chat_template\": \"{{ messages }}\",", 1);
    folder.write("m/tokenizer_config.json", &described);
    let translate = |model: &str| folder.run(&["translate", model, "--json", "a dog runs"], "").objects().remove(0);
    for kind in ["f32", "bf16", "f16"] {
        folder.run(&["convert", "m", "--weights", kind, "--out", kind], "").output();
        assert!(translate(kind)["translations"].is_array());
    }
    assert_eq!(translate("f32"), translate("m"));
    assert_eq!(std::fs::read_to_string(folder.path("f32/tokenizer_config.json")).unwrap(), described);
    let size = |model: &str| std::fs::metadata(folder.path(model).join("model.safetensors")).unwrap().len();
    // The header stays as it is.
    assert!(5 * size("bf16") < 4 * size("m") && 5 * size("f16") < 4 * size("m"));

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atento/tests/fixtures");
    std::fs::create_dir(folder.path("torch")).unwrap();
    for (from, to) in [
        ("conformance/marian-tiny/config.json", "config.json"),
        ("conformance/marian-tiny/tokenizer.json", "tokenizer.json"),
        ("torch_bin/marian-tiny.bin", "pytorch_model.bin"),
    ] {
        std::fs::copy(fixtures.join(from), folder.path("torch").join(to)).unwrap();
    }
    let line = folder.run(&["convert", "torch", "--out", "safe"], "").output();
    assert!(line.starts_with("safe: ") && line.contains(" parameters, f32, "), "{line}");
    assert!(folder.path("safe/model.safetensors").exists() && !folder.path("safe/pytorch_model.bin").exists());
    assert_eq!(translate("safe"), translate("torch"));
}

#[test]
fn nothing_is_written_over() {
    let folder = Folder::new();
    folder.model();
    let message = folder.run(&["convert", "m", "--out", "m"], "").refusal();
    assert!(message.contains("m is not empty: name a new directory"), "{message}");
}

#[test]
fn a_translator_in_few_bits_is_smaller_and_scores_almost_alike() {
    let folder = Folder::new();
    folder.model();
    folder.write("pairs.tsv", "Two dogs run .\tZwei Hunde laufen .\nA dog .\tEin Hund .\n");
    let measure = |args: &[&str]| {
        let args = [&["eval"], args, &["--data", "pairs.tsv", "--json", "--quiet"]].concat();
        let found = folder.run(&args, "").objects().remove(0);
        found["loss"].as_f64().unwrap()
    };
    let exact = measure(&["m"]);
    for weights in ["bf16", "int8"] {
        let rounded = measure(&["m", "--weights", weights]);
        assert!(rounded != exact && (rounded - exact).abs() < 0.05 * exact, "{weights}: {rounded} and {exact}");
    }
    folder.run(&["convert", "m", "--out", "n", "--weights", "int8"], "").output();
    assert_eq!(measure(&["n"]), measure(&["m", "--weights", "int8"]), "what is stored so is held so");
    let size = |model: &str| std::fs::metadata(folder.path(model).join("model.safetensors")).unwrap().len();
    assert!(2 * size("n") < size("m"));
    let translate = |args: &[&str]| folder.run(&[&["translate"], args].concat(), "Two dogs run .\n").output();
    assert_eq!(translate(&["n"]), translate(&["m", "--weights", "int8"]));
    let widened = measure(&["n", "--weights", "f32"]);
    assert!((widened - measure(&["n"])).abs() < 1e-5 * exact, "{widened}: the numbers that int8 stands for");
}

#[test]
fn a_matrix_with_a_number_that_is_not_finite_is_named_and_never_rounded() {
    let folder = Folder::new();
    let model = reference_models(&["GPT2LMHeadModel"]).remove(0);
    std::fs::create_dir(folder.path("m")).unwrap();
    for entry in std::fs::read_dir(&model).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), folder.path("m").join(entry.file_name())).unwrap();
    }
    let file = folder.path("m/model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let (name, tensor) =
        tensors.as_object().unwrap().iter().find(|(name, _)| name.ends_with("h.0.attn.c_attn.weight")).unwrap();
    assert_eq!(tensor["dtype"], "F32");
    let at = 8 + header + tensor["data_offsets"][0].as_u64().unwrap() as usize;
    for value in [f32::NAN, f32::INFINITY] {
        bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&file, &bytes).unwrap();
        let converted = folder.run(&["convert", "m", "--weights", "int8", "--out", "small"], "").refusal();
        let held = folder.run(&["generate", "m", "--weights", "int8", "--prompt", "a"], "").refusal();
        for message in [converted, held] {
            assert!(message.contains(name) && message.contains("element 2"), "{message}");
        }
        assert!(!folder.path("small/model.safetensors").exists());
    }
}

/// A directory with the file as it is goes on as the one with plain numbers does, and is a base for adapters.
fn blocks_are_kept(folder: &Folder, file: &str, plain: &str) {
    let kept = format!("{plain}-kept");
    let object = folder.run(&["convert", file, "--out", &kept, "--weights", "gguf", "--json"], "").objects().remove(0);
    assert_eq!(object["bytes"], json!(folder.path(file).metadata().unwrap().len()));
    let scored = |model: &str, more: &[&str]| {
        let command = [&["score", model, "--json", "the cat sees a dog"], more].concat();
        folder.run(&command, "").objects().remove(0)["perplexity"].as_f64().unwrap()
    };
    let exact = scored(plain, &[]);
    assert!((scored(&kept, &[]) / exact - 1.0).abs() < 1e-5);
    continued(folder, &kept, &[]);
    let told = folder.run(&["inspect", &kept, "--json"], "").output();
    assert!(told.contains("\"Q8_0\"") || told.contains("\"Q4_1\""), "{told}");
    folder.write("text.txt", "the cat sees a dog and the dog sees a cat\n".repeat(40));
    let recipe = "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\nblock_size = 16\n[train]\nmethod = \"lora\"\n\
                  max_steps = 6\nbatch_tokens = 64\n[lora]\nrank = 2\ntargets = [\"all-linear\"]\n[optimizer]\nlr = 0.05\n\
                  [schedule]\nkind = \"constant\"\nwarmup_steps = 1\n";
    folder.write("lora.toml", recipe);
    let run = format!("{plain}-lora");
    folder.run(&["train", "lora.toml", "--from", &kept, "--out", &run, "-q"], "").output();
    // What a run would take counts the base as it is held.
    let planned = |more: &[&str]| {
        let command = [&["train", "lora.toml", "--dry-run", "--json", "--from"], more].concat();
        folder.run(&command, "").objects().remove(0)["state_bytes"].as_u64().unwrap()
    };
    let [exact_base, in_blocks] = [planned(&[plain]), planned(&[&kept])];
    let in_int8 = planned(&[plain, "--set", "train.base_dtype=int8"]);
    assert!(in_blocks < exact_base && in_int8 < exact_base, "{in_blocks} {in_int8} {exact_base}");
    let rounded = ["train", "lora.toml", "--from", &kept, "--out", "rounded", "--set", "train.base_dtype=int8"];
    let message = folder.run(&rounded, "").refusal();
    assert!(message.contains("keeps the blocks of its GGUF file"), "{message}");
    let adapted = scored(&run, &[]);
    assert!(adapted < 0.9 * exact, "{adapted} {exact}");
    // Merged, the numbers are plain ones.
    let merged = format!("{plain}-merged");
    folder.run(&["adapter", "merge", &kept, &run, "--out", &merged], "").output();
    assert!((scored(&merged, &[]) / adapted - 1.0).abs() < 1e-4);
    assert!(
        folder.path(&merged).join("model.safetensors").exists() && !folder.path(&merged).join("model.gguf").exists()
    );
    let message = folder.run(&["convert", plain, "--out", "other", "--weights", "gguf"], "").refusal();
    assert!(message.contains("--weights gguf keeps a GGUF file as it is, and this is none"), "{message}");
}

#[test]
fn a_gguf_file_becomes_a_directory_that_the_verbs_read() {
    let folder = Folder::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atento/tests/fixtures/gguf");
    for name in ["llama", "gpt2"] {
        let file = format!("{name}.gguf");
        std::fs::copy(fixtures.join(&file), folder.path(&file)).unwrap();
        let message = folder.run(&["generate", &file, "--prompt", "the cat"], "").refusal();
        assert!(message.contains(&format!("`atento convert {file} --out DIR` makes one of it")), "{message}");
        let object = folder.run(&["convert", &file, "--out", name, "--json"], "").objects().remove(0);
        let written = folder.path(name).join("model.safetensors").metadata().unwrap().len();
        assert_eq!((&object["path"], &object["bytes"]), (&json!(name), &json!(written)));
        assert!(object["parameters"].as_u64().unwrap() * 4 < written);
        continued(&folder, name, &[]);
        let scored = folder.run(&["score", name, "--json", "the cat"], "").objects().remove(0);
        assert!(scored["perplexity"].as_f64().unwrap() > 1.0);
        let message = folder.run(&["convert", &file, "--out", name], "").refusal();
        assert!(message.contains(&format!("{name} is not empty: name a new directory")), "{message}");
        let message = folder.run(&["convert", &file, "--out", "small", "--weights", "int8"], "").refusal();
        assert!(message.contains("a GGUF file becomes f32, f16 or bf16"), "{message}");
        folder.run(&["convert", name, "--out", &format!("{name}-int8"), "--weights", "int8"], "").output();
        blocks_are_kept(&folder, &file, name);
    }
    folder.write("cut.gguf", "GGUF\u{3}\0\0\0");
    let message = folder.run(&["convert", "cut.gguf", "--out", "cut"], "").refusal();
    assert!(message.contains("cut.gguf: not a usable GGUF file: the number of tensors takes 8 bytes"), "{message}");
    assert!(!folder.path("cut").exists());
}
