//! Models of the Hugging Face Hub by their names, asked of a server on loopback.

mod server;

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};

use self::server::{COMMIT, Served, Server};
use crate::support::{Folder, Ran, fixture};

/// A folder in which the program runs, with a cache of its own, and a Hub with a model.
struct World {
    folder: Folder,
    hub: Server,
}

impl World {
    /// The Hub has the translator of [`Folder::model`].
    fn new() -> Self {
        let folder = Folder::new();
        let dir = folder.model();
        fs::write(dir.join("README.md"), "# a model").unwrap();
        fs::write(dir.join("flax_model.msgpack"), "weights of another kind").unwrap();
        Self::of(folder, dir)
    }

    fn of(folder: Folder, dir: PathBuf) -> Self {
        Self { folder, hub: Server::start(Served { dir, ..Served::default() }) }
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::cargo_bin("atento").unwrap();
        command.current_dir(self.folder.path("")).args(arguments).write_stdin("");
        for name in [
            "RAYON_NUM_THREADS",
            "HF_TOKEN",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "http_proxy",
            "HTTP_PROXY",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.folder.path("hf")).env("HF_ENDPOINT", &self.hub.address);
        command.envs(variables.iter().copied()).output().unwrap().into()
    }

    /// A file of the model in the cache.
    fn cached(&self, file: &str) -> PathBuf {
        self.folder.path("hf/hub/models--org--m/snapshots").join(COMMIT).join(file)
    }
}

const OFFLINE: (&str, &str) = ("HF_HUB_OFFLINE", "1");

#[test]
fn a_model_of_the_hub_is_fetched_once_and_used_from_the_cache() {
    let world = World::new();
    let expected = world.run(&["translate", "m", "a dog runs"], &[]).output();
    let ran = world.run(&["translate", "org/m", "a dog runs"], &[]);
    assert!(ran.stderr.contains("note: org/m: ") && ran.stderr.contains(" were fetched into "), "{ran:?}");
    assert_eq!(ran.output(), expected);
    let asked = world.hub.asked().join("\n");
    for file in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        assert!(asked.contains(&format!("/org/m/resolve/{COMMIT}/{file}")), "{asked}");
    }
    assert!(!asked.contains("README") && !asked.contains("flax"), "{asked}");
    // The layout is that of Hugging Face's libraries.
    assert_eq!(fs::read_to_string(world.folder.path("hf/hub/models--org--m/refs/main")).unwrap(), COMMIT);
    assert!(world.cached("config.json").is_symlink());
    assert!(world.cached("config.json").canonicalize().unwrap().parent().unwrap().ends_with("models--org--m/blobs"));
    // Bytes that were removed are fetched again.
    fs::remove_file(world.cached("config.json").canonicalize().unwrap()).unwrap();
    assert_eq!(world.run(&["translate", "org/m", "a dog runs"], &[]).output(), expected);
    world.hub.asked();
    // The branch is asked where it is, and no file is fetched again.
    let ran = world.run(&["translate", "org/m", "a dog runs"], &[]);
    assert!(!ran.stderr.contains("fetched"), "{ran:?}");
    assert_eq!(ran.output(), expected);
    assert_eq!(world.hub.asked(), ["/api/models/org/m/revision/main"]);
    // A commit that is whole is asked for by nobody, nor is anything offline.
    let pinned = format!("hf://org/m@{COMMIT}");
    assert_eq!(world.run(&["translate", &pinned, "a dog runs"], &[]).output(), expected);
    assert_eq!(world.run(&["translate", "org/m", "a dog runs"], &[OFFLINE]).output(), expected);
    assert_eq!(world.hub.asked(), [""; 0]);
    // Nor does anybody need the Hub to answer.
    let ran = world.run(&["translate", "org/m", "a dog runs"], &[("HF_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(ran.stderr.contains("what the cache has of org/m is used"), "{ran:?}");
    assert_eq!(ran.output(), expected);
}

#[test]
fn a_path_where_something_lies_is_no_name() {
    let world = World::new();
    fs::create_dir(world.folder.path("org")).unwrap();
    fs::rename(world.folder.path("m"), world.folder.path("org/model")).unwrap();
    world.run(&["translate", "org/model", "a dog runs"], &[]).output();
    let message = world.run(&["translate", "org/modle", "a dog runs"], &[]).refusal();
    let expected =
        "error: org/modle: not found; there is `model` beside it (hf://org/modle asks the Hugging Face Hub)\n";
    assert_eq!(message, expected);
    assert_eq!(world.hub.asked(), [""; 0]);
}

#[test]
fn a_tokenizer_needs_no_weights() {
    let world = World::new();
    let expected = world.run(&["tokenizer", "encode", "m", "a dog"], &[]).output();
    assert_eq!(world.run(&["tokenizer", "encode", "org/m", "a dog"], &[]).output(), expected);
    assert!(!world.hub.asked().iter().any(|path| path.contains("safetensors")));
}

#[test]
fn weights_may_lie_elsewhere_and_in_several_files() {
    let world = World::new();
    let expected = world.run(&["translate", "m", "a dog runs"], &[]).output();
    let dir = world.folder.path("m");
    let header = fs::read(dir.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(header[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&header[8..8 + length]).unwrap();
    let places = names.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let places: serde_json::Map<_, _> =
        places.map(|name| (name.clone(), json!("model-00001-of-00001.safetensors"))).collect();
    fs::rename(dir.join("model.safetensors"), dir.join("model-00001-of-00001.safetensors")).unwrap();
    fs::write(dir.join("model.safetensors.index.json"), json!({ "weight_map": places }).to_string()).unwrap();
    world.hub.change(|served| served.redirects = true);
    assert_eq!(world.run(&["translate", "org/m", "a dog runs"], &[]).output(), expected);
    assert!(world.hub.asked().iter().any(|path| path.starts_with("/elsewhere/model-00001")));
}

#[test]
fn what_keeps_a_model_from_being_fetched_is_told_with_what_to_do() {
    let world = World::new();
    let translate = |name: &str, variables: &[(&str, &str)]| world.run(&["translate", name, "a dog runs"], variables);
    let message = translate("org/other", &[]).refusal();
    let address = &world.hub.address;
    let expected =
        format!("error: org/other: {address} has no such model or revision (and nothing lies at org/other here)\n");
    assert_eq!(message, expected);
    let message = translate("org/m", &[OFFLINE]).refusal();
    assert!(message.contains("org/m: HF_HUB_OFFLINE is set, and the cache "), "{message}");
    let ran = translate("hf://org/m", &[("HF_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(ran.stderr.starts_with("error: org/m: cannot reach http://127.0.0.1:9: "), "{ran:?}");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    world.hub.change(|served| served.token = Some("secret".into()));
    let message = translate("org/m", &[]).refusal();
    assert!(message.contains("refuses it (status 401)") && message.contains("set HF_TOKEN to a token"), "{message}");
    let message = translate("org/m", &[("HF_TOKEN", "wrong")]).refusal();
    assert!(message.contains("may not read it") && !message.contains("wrong"), "{message}");
    translate("org/m", &[("HF_TOKEN", "secret")]).output();
    fs::remove_dir_all(world.folder.path("hf")).unwrap();
    world.hub.change(|served| *served = Served { dir: world.folder.path("hf-less"), ..Served::default() });
    fs::create_dir(world.folder.path("hf-less")).unwrap();
    let message = translate("org/m", &[]).refusal();
    assert!(message.contains("org/m: the repository has no config.json (it is empty)"), "{message}");
    // A cache that cannot be written.
    world.hub.change(|served| served.dir = world.folder.path("m"));
    world.folder.write("file", "");
    let ran = translate("org/m", &[("HF_HOME", "file")]);
    assert!(ran.stderr.contains("org/m: cannot keep "), "{ran:?}");
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_file_that_comes_cut_short_is_no_model_and_is_gone_on_from() {
    let world = World::new();
    let expected = world.run(&["translate", "m", "a dog runs"], &[]).output();
    let weights = "model.safetensors";
    world.hub.change(|served| served.cut = Some((weights.into(), 1000)));
    let ran = world.run(&["translate", "org/m", "a dog runs"], &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("org/m: model.safetensors came cut short, 1000 of "), "{ran:?}");
    assert!(!world.cached(weights).exists());
    let message = world.run(&["translate", "org/m", "a dog runs"], &[OFFLINE]).refusal();
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
    world.hub.change(|served| served.cut = None);
    assert_eq!(world.run(&["translate", "org/m", "a dog runs"], &[]).output(), expected);
    let [fetched, whole] =
        [world.cached(weights), world.folder.path("m/model.safetensors")].map(|path| fs::read(path).unwrap());
    assert!(fetched == whole);
}

#[test]
fn a_run_from_a_model_of_the_hub_goes_on_without_a_network() {
    let world = World::new();
    let recipe = "from = \"org/m\"\n[data]\ntrain = { tsv = \"pairs.tsv\" }\nvalid = { tsv = \"pairs.tsv\" }\n[train]\nmax_steps = 2\neval_every = 1\nmethod = \"partial\"\ntrain_only = [\"decoder\"]\n";
    world.folder.recipe();
    world.folder.write("f.toml", recipe);
    world.run(&["train", "f.toml", "--out", "run", "--quiet"], &[]).output();
    let config = fs::read_to_string(world.folder.path("run/config.toml")).unwrap();
    let snapshot = format!("models--org--m/snapshots/{COMMIT}\"");
    assert!(config.lines().any(|line| line.starts_with("from = ") && line.ends_with(&snapshot)), "{config}");
    world.hub.asked();
    // The cache may have moved meanwhile.
    fs::rename(world.folder.path("hf"), world.folder.path("moved")).unwrap();
    let moved = world.folder.path("moved");
    let elsewhere = [("HF_HOME", moved.to_str().unwrap())];
    let resume = ["train", "f.toml", "--out", "run", "--quiet", "--resume", "--max-steps", "4"];
    world.run(&resume, &elsewhere).output();
    assert_eq!(world.hub.asked(), [""; 0]);
    world.run(&["translate", "run", "a dog runs"], &elsewhere).output();
}

#[test]
fn the_base_of_an_adapter_is_fetched_with_it() {
    let folder = Folder::new();
    let world = World::of(folder, fixture("gpt2-tiny"));
    let (base, adapter) = (fixture("gpt2-tiny"), world.folder.path("adapter"));
    fs::create_dir(&adapter).unwrap();
    let from = fixture("gpt2-tiny.lora-ranks");
    for entry in fs::read_dir(&from).unwrap().flatten() {
        fs::copy(entry.path(), adapter.join(entry.file_name())).unwrap();
    }
    let path = adapter.join("adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["base_model_name_or_path"] = json!("org/m");
    fs::write(&path, config.to_string()).unwrap();
    let [base, from] = [base, from].map(|path| path.to_str().unwrap().to_owned());
    let texts = ["the cat sees the dog", "--json"];
    let expected = world.run(&[&["score", &base, "--adapter", &from][..], &texts].concat(), &[]).output();
    assert_eq!(world.run(&[&["score", "adapter"][..], &texts].concat(), &[]).output(), expected);
    assert!(world.hub.asked().iter().any(|path| path.ends_with("/model.safetensors")));
    assert_eq!(world.run(&[&["score", "adapter"][..], &texts].concat(), &[OFFLINE]).output(), expected);
    assert_eq!(world.hub.asked(), [""; 0]);
    let put_on = [&["score", "org/m", "--adapter", "adapter"][..], &texts].concat();
    assert_eq!(world.run(&put_on, &[OFFLINE]).output(), expected);
}
