//! vocab.json and merges.txt: pairs of bytes, as `GPT2Tokenizer` and `RobertaTokenizer` of `transformers` read them.
//!
//! ```text
//! vocab.json   {"!": 0, …, "<|endoftext|>": 50256}
//! merges.txt   #version: 0.2, then a pair a line, the first to be merged first: "Ġ t"
//! ```
//!
//! GPT-2 has nothing around a text, but for the token that begins it where `add_bos_token` is set. RoBERTa has
//! `<s> A </s>` and `<s> A </s></s> B </s>`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tokenizers::PostProcessorWrapper;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;

use super::class::Class;
use super::settings::{Added, Settings, add_tokens};
use super::{fault, read_json, read_text};
use crate::text::vocabulary::Unknown;
use crate::text::{Error, pipeline};

pub(super) const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";

pub(super) fn load(path: &Path, settings: &Settings, class: Class) -> Result<(tokenizers::Tokenizer, Unknown), Error> {
    let vocab: Vocab = read_json::<HashMap<String, u32>>(path)?.into_iter().collect();
    let ids: HashSet<u32> = vocab.values().copied().collect();
    if ids.len() < vocab.len() {
        return Err(fault(path, shared_id(&vocab)));
    }
    let merges = read_merges(&path.with_file_name(MERGES), &vocab)?;
    let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(Error::engine("build its model"))?;
    let add_prefix_space = settings.flag("add_prefix_space")?.unwrap_or(false);
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(add_prefix_space, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let usual = |role: &str| class.usual(role).map(str::to_owned);
    add_tokens(&mut tokenizer, path, settings, Added::default(), usual)?;
    let token = |role: &str| -> Result<(String, u32), Error> {
        let token = settings.required(role, usual)?;
        let id = tokenizer.token_to_id(&token);
        id.map(|id| (token.clone(), id)).ok_or_else(|| fault(path, format!("it does not have the token {token:?}")))
    };
    let around: Option<PostProcessorWrapper> = if class == Class::Roberta {
        let trim_offsets = settings.flag("trim_offsets")?.unwrap_or(true);
        let around = RobertaProcessing::new(token("sep")?, token("cls")?);
        Some(around.trim_offsets(trim_offsets).add_prefix_space(add_prefix_space).into())
    } else if settings.flag("add_bos_token")?.unwrap_or(false) {
        let (bos, _) = token("bos")?;
        Some(pipeline::template(&tokenizer, &[&bos, "$A"], &[&bos, "$A", &format!("{bos}:1"), "$B:1"])?)
    } else {
        None
    };
    tokenizer.with_post_processor(around);
    Ok((tokenizer, Unknown::None))
}

/// What is wrong with a vocabulary in which tokens share an id.
pub(super) fn shared_id<'v>(vocab: impl IntoIterator<Item = (&'v String, &'v u32)>) -> String {
    let mut tokens: Vec<(u32, &String)> = vocab.into_iter().map(|(token, id)| (*id, token)).collect();
    tokens.sort();
    let pair = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0);
    pair.map_or_else(String::new, |pair| format!("{:?} and {:?} have the same id {}", pair[0].1, pair[1].1, pair[0].0))
}

fn read_merges(path: &Path, vocab: &Vocab) -> Result<Merges, Error> {
    let text = String::from_utf8(read_text(path)?).map_err(|error| fault(path, format!("not UTF-8: {error}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let refuse = |what: String| fault(path, format!("line {}: {what}", number + 1));
            let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
                return Err(refuse(format!("{line:?} is not two tokens with a space between them")));
            };
            let merged = format!("{left}{right}");
            match [left, right, &merged].into_iter().find(|token| !vocab.contains_key(*token)) {
                Some(token) => Err(refuse(format!("{line:?} needs the token {token:?}, which {VOCAB} does not have"))),
                None => Ok((left.to_owned(), right.to_owned())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::super::settings::CONFIG;
    use super::*;
    use crate::text::{Kind, Purpose, Tokenizer, TrainOptions};

    const SPECIAL_MAP: &str = "special_tokens_map.json";
    const ADDED: &str = "added_tokens.json";

    const TRICKY: [&str; 9] = [
        "the cats' dogs don't, I'll say we've",
        "  two  spaces,   three and a tail   ",
        "\n\nlines\r\nand\ttabs \n",
        "1234567890 3.14159 1,000,000",
        "👩‍👩‍👧 emoji 🎉🎉 naïve café ½",
        "日本語 العربية нет",
        "a\u{0}b\u{85}c\u{a0}d\u{feff}e",
        "<|endoftext|>the end<pad> <unk></s>",
        "",
    ];

    /// A byte-level tokenizer, and its files in a directory as older writers left them.
    fn split() -> (Tokenizer, tempfile::TempDir) {
        let text = ["the cat and the dogs don't", "naïve café 🎉 12345", "  spaces  and\nlines"].repeat(8);
        let lines = text.iter().map(|line| Ok((*line).to_owned()));
        let options = TrainOptions {
            kind: Kind::ByteLevelBpe,
            purpose: Purpose::Causal,
            vocab_size: 330,
            ..TrainOptions::default()
        };
        let tokenizer = Tokenizer::train::<Error>(lines, &options).unwrap();
        let whole: Value = serde_json::from_slice(&tokenizer.to_json_bytes().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let pair = |merge: &Value| -> String {
            merge.as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let merges: Vec<String> = whole["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
        write(&directory, VOCAB, &whole["model"]["vocab"].to_string());
        write(&directory, MERGES, &format!("#version: 0.2\n{}\n", merges.join("\n")));
        let unk = json!({"content": "<unk>", "lstrip": false});
        let special = json!({"pad_token": "<pad>", "bos_token": null, "unk_token": unk, "eos_token": "</s>"});
        write(&directory, SPECIAL_MAP, &special.to_string());
        (tokenizer, directory)
    }

    fn write(directory: &tempfile::TempDir, name: &str, text: &str) {
        fs::write(directory.path().join(name), text).unwrap();
    }

    fn load(directory: &tempfile::TempDir) -> Result<Tokenizer, Error> {
        Tokenizer::load(directory.path().join(VOCAB))
    }

    #[test]
    fn the_two_files_give_the_ids_of_the_one() {
        let (whole, directory) = split();
        let found = load(&directory).unwrap();
        assert!(found.vocab_size() > 280, "pairs were learned");
        for text in TRICKY {
            let ids = whole.encode_ids(text, true).unwrap();
            assert_eq!(found.encode_ids(text, true).unwrap(), ids, "{text:?}");
            assert_eq!(found.decode(&ids, false).unwrap(), text);
        }
        // Saved again, they are one file.
        let again = Tokenizer::from_json_bytes(&found.to_json_bytes().unwrap()).unwrap();
        TRICKY.iter().for_each(|text| {
            assert_eq!(again.encode(text, true).unwrap(), found.encode(text, true).unwrap(), "{text:?}");
        });
    }

    #[test]
    fn tokens_beside_the_vocabulary_follow_it_as_in_transformers() {
        let (whole, directory) = split();
        let size = whole.vocab_size() as u32;
        let ids = |text: &str| load(&directory).unwrap().encode_ids(text, true).unwrap();
        fs::remove_file(directory.path().join(SPECIAL_MAP)).unwrap();
        assert_eq!(ids("<|endoftext|>"), [size], "the usual token, where no file says otherwise");
        write(&directory, ADDED, &json!({"<|y|>": size + 1, "<|x|>": size}).to_string());
        assert_eq!(ids("<|y|><|x|><|endoftext|>"), [size + 1, size, size + 2]);
        let decoder = json!({size.to_string(): {"content": "<|z|>", "lstrip": true, "special": false}});
        let config = json!({"added_tokens_decoder": decoder, "add_bos_token": true, "add_prefix_space": true});
        write(&directory, CONFIG, &config.to_string());
        assert_eq!(ids("  <|z|>"), [size + 1, size], "the only list, with the spaces before its token");
        assert_eq!(ids("cat")[1..], whole.encode_ids(" cat", true).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        let (_, directory) = split();
        let refuse = |name: &str, text: &str, expected: &str| {
            let before = fs::read(directory.path().join(name)).ok();
            write(&directory, name, text);
            let message = load(&directory).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(expected), "{message}");
            match before {
                Some(before) => fs::write(directory.path().join(name), before).unwrap(),
                None => fs::remove_file(directory.path().join(name)).unwrap(),
            }
        };
        let merges = fs::read_to_string(directory.path().join(MERGES)).unwrap();
        let start: String = merges.lines().take(2).map(|line| format!("{line}\n")).collect();
        refuse(MERGES, &format!("{start}t\n"), "line 3: \"t\" is not two tokens");
        refuse(MERGES, "t h e\n", "line 1: \"t h e\" is not two tokens");
        refuse(MERGES, "t q\n", "line 1: \"t q\" needs the token \"tq\", which vocab.json does not have");
        refuse(VOCAB, "[]", "not what it should hold");
        refuse(VOCAB, "{\"a\": -1}", "not what it should hold");
        refuse(VOCAB, "{\"b\": 0, \"a\": 1, \"c\": 1}", "\"a\" and \"c\" have the same id 1");
        refuse(ADDED, "{\"<|x|>\": 9999}", "\"<|x|>\" is to have id 9999, but it gets id");
        refuse(CONFIG, "{\"add_prefix_space\": 1}", "key `add_prefix_space`");
        refuse(CONFIG, "{\"add_bos_token\": true}", "`bos_token` is null");
        refuse(SPECIAL_MAP, "{\"pad_token\": 3}", "key `pad_token`");
        fs::remove_file(directory.path().join(MERGES)).unwrap();
        assert!(load(&directory).unwrap_err().to_string().contains("merges.txt: cannot read the tokenizer"));
    }
}
