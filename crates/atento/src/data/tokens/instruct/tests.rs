//! Tests of examples and their batches; the last one uses real data where it is present.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::data::tokens::{CausalBatch, Cursor, Error};
use crate::data::{LineReport, OnTruncate};
use crate::text::{self, Tokenizer, TrainOptions};

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let lines = ["abcdefghijklmnopqrstuvwxyz:? 0123456789\n"].map(|line| Ok::<_, text::Error>(line.to_owned()));
    Arc::new(Tokenizer::train(lines, &TrainOptions::characters()).unwrap())
});

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn open(source: &InstructSource, options: InstructOptions) -> Result<InstructSet, Error> {
    InstructSet::open(source, TOKENIZER.clone(), options)
}

fn tsv(dir: &TempDir, text: &str, options: InstructOptions) -> Result<InstructSet, Error> {
    open(&InstructSource::from_path(write(dir, "pairs.tsv", text)), options)
}

fn ids(text: &str) -> Vec<u32> {
    TOKENIZER.encode_ids(text, false).unwrap()
}

fn end() -> u32 {
    TOKENIZER.special().eos.unwrap()
}

/// The example of one pair, packed.
fn one(set: &InstructSet) -> CausalBatch {
    set.batches(PackOptions { shuffle: false, ..PackOptions::default() }).unwrap().next().unwrap().0
}

#[test]
fn only_the_completion_and_the_end_token_are_learned() {
    let dir = TempDir::new().unwrap();
    let options = InstructOptions {
        prompt_template: "q: {prompt}\n".into(),
        completion_template: " {completion}<end>".into(),
        ..InstructOptions::default()
    };
    let set = tsv(&dir, "ab\tcd\n", options.clone()).unwrap();
    let whole = [ids("q: ab\n"), ids(" cd"), vec![end()]].concat();
    let batch = one(&set);
    assert_eq!(batch.ids, whole[..whole.len() - 1]);
    let learned = |from: usize| (1..whole.len()).map(|at| Some(whole[at]).filter(|_| at >= from)).collect::<Vec<_>>();
    assert_eq!(batch.targets, learned(6));
    assert_eq!((batch.cu_seqlens.as_slice(), batch.samples.as_slice()), (&[0, 9][..], &[0][..]));
    let piece = |text: &str, learned| MaskedPiece { text: text.into(), learned };
    assert_eq!(set.show_masks(0).unwrap(), [piece("q: ab\n", false), piece(" cd</s>", true)]);
    assert_eq!((set.report().tokens, set.report().learned_tokens, set.report().longest), (10, 4, 10));
    let set = tsv(&dir, "ab\tcd\n", InstructOptions { train_on_prompt: true, ..options.clone() }).unwrap();
    assert_eq!(one(&set).targets, learned(1));
    assert_eq!(set.show_masks(0).unwrap(), [piece("q", false), piece(": ab\n cd</s>", true)]);
    let endless = InstructOptions { completion_template: "{completion}".into(), ..options };
    assert_eq!(set.examples()[0].ids.len(), 10);
    assert_eq!(tsv(&dir, "ab\tcd\n", endless).unwrap().examples()[0].ids, [ids("q: ab\n"), ids("cd")].concat());
}

#[test]
fn every_kind_of_file_gives_the_same_examples() {
    let dir = TempDir::new().unwrap();
    let files = InstructSource::Files { prompt: write(&dir, "p", "ab\nc d\n"), completion: write(&dir, "c", "x\ny\n") };
    let sources = [
        files,
        InstructSource::from_path(write(&dir, "a.tsv", "ab\tx\nc d\ty\n")),
        InstructSource::from_path(write(&dir, "a.csv", "id,completion,prompt\n1,x,ab\n2,\"y\",\"c d\"\n")),
        InstructSource::from_path(write(
            &dir,
            "a.jsonl",
            "{\"prompt\":\"ab\",\"completion\":\"x\"}\n\n{\"completion\":\"y\",\"prompt\":\"c d\"}\n",
        )),
    ];
    let sets = sources.map(|source| open(&source, InstructOptions::default()).unwrap());
    for set in &sets {
        assert_eq!(set.examples(), sets[0].examples());
        let report = InstructReport { lines: LineReport::default(), ..set.report().clone() };
        assert_eq!(&report, sets[0].report());
    }
    assert_eq!(sets[3].report().lines.blank, 1);
    let missing = InstructSource::Csv {
        path: dir.path().join("a.csv"),
        prompt_column: "mr".into(),
        completion_column: "ref".into(),
    };
    let message = open(&missing, InstructOptions::default()).unwrap_err().to_string();
    assert!(message.ends_with("no column \"mr\" in the header; its columns are id, completion, prompt"), "{message}");
}

#[test]
fn what_is_left_out_is_counted() {
    let dir = TempDir::new().unwrap();
    let text = "a\tb\n \tb\na\t\na\tb\na\tc\nü\tb\n";
    let report = tsv(&dir, text, InstructOptions::default()).unwrap().report().clone();
    assert_eq!((report.examples, report.kept, report.empty_prompt, report.empty_completion), (6, 4, 1, 1));
    assert_eq!((report.duplicates, report.duplicates_dropped, report.unknown_tokens), (1, 0, 1));
    let dropping = InstructOptions { drop_duplicates: true, ..InstructOptions::default() };
    let set = tsv(&dir, text, dropping).unwrap();
    assert_eq!((set.report().kept, set.report().duplicates_dropped), (3, 1));
    assert_eq!(set.examples().iter().map(|example| example.id).collect::<Vec<_>>(), [0, 4, 5]);
    let message = tsv(&dir, "\tx\n", InstructOptions::default()).unwrap_err().to_string();
    assert!(
        message.contains("pairs.tsv: nothing is left to train on:\nexamples: 1 read, 0 used, 1 left out"),
        "{message}"
    );
}

#[test]
fn an_example_that_is_too_long_is_refused_cut_or_left_out_as_asked() {
    let dir = TempDir::new().unwrap();
    // With the line end and the end token: 5, 10 and 12 tokens, the last with a prompt of 9.
    let text = "ab\tc\nab\tcdefgh\nabcdefgh\tij\n";
    let options = |on_truncate, block_size| InstructOptions { on_truncate, block_size, ..InstructOptions::default() };
    assert_eq!(tsv(&dir, text, options(OnTruncate::Error, 11)).unwrap().report().kept, 3);
    let message = tsv(&dir, text, options(OnTruncate::Error, 8)).unwrap_err().to_string();
    assert!(message.contains("pairs.tsv, line 2: the example has 10 tokens, a sequence has at most 9"), "{message}");
    let dropped = tsv(&dir, text, options(OnTruncate::Drop, 8)).unwrap();
    assert_eq!((dropped.report().kept, dropped.report().too_long_dropped), (1, 2));
    let cut = tsv(&dir, text, options(OnTruncate::Warn, 8)).unwrap();
    assert_eq!(cut.examples()[1].ids, ids("ab\ncdefgh"));
    let report = cut.report();
    assert_eq!((report.kept, report.truncated, report.truncated_tokens, report.nothing_learned_dropped), (2, 1, 1, 1));
    assert!(
        tsv(&dir, text, options(OnTruncate::Split, 8)).unwrap_err().to_string().starts_with("on_truncate = \"split\"")
    );
    assert!(tsv(&dir, text, options(OnTruncate::Warn, 0)).unwrap_err().to_string().starts_with("block_size = 0"));
}

#[test]
fn an_end_token_that_does_not_exist_is_asked_for_in_vain() {
    let dir = TempDir::new().unwrap();
    let json = String::from_utf8(TOKENIZER.to_json_bytes().unwrap()).unwrap().replace("</s>", "<stop>");
    let tokenizer = Arc::new(Tokenizer::from_json_bytes(json.as_bytes()).unwrap());
    let source = InstructSource::from_path(write(&dir, "a.tsv", "a\tb\n"));
    let message = InstructSet::open(&source, tokenizer, InstructOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("completion_template asks for the end token (<end>)"), "{message}");
}

/// Pairs of different lengths.
fn pairs(count: usize) -> String {
    (0..count).map(|i| format!("{}\t{}\n", "ab".repeat(1 + i % 4), i * 7 % 1000)).collect()
}

#[test]
fn budgets_that_cannot_work_and_positions_that_do_not_exist_are_refused() {
    let dir = TempDir::new().unwrap();
    let set = tsv(&dir, &pairs(9), InstructOptions::default()).unwrap();
    let refused = |options| set.batches(options).unwrap_err().to_string();
    let message = refused(PackOptions { max_tokens: 5, ..PackOptions::default() });
    assert_eq!(message, "max_tokens = 5: the longest example has 11 tokens and must fit into a batch");
    assert!(refused(PackOptions { max_sequences: Some(0), ..PackOptions::default() }).starts_with("max_sequences = 0"));
    let mut batches = set.batches(PackOptions::default()).unwrap();
    assert!(batches.seek(Cursor { epoch: 3, index: 8 }).is_ok());
    assert!(batches.seek(Cursor { epoch: 0, index: 9 }).unwrap_err().to_string().contains("an epoch has 9"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_example_comes_once_an_epoch_and_seeking_is_skipping(
        count in 1usize..60, max_tokens in 12usize..60, max_sequences in proptest::option::of(1usize..5),
        shuffle: bool, seed: u64, stop in 0usize..200,
    ) {
        let dir = TempDir::new().unwrap();
        let set = tsv(&dir, &pairs(count), InstructOptions::default()).unwrap();
        let options = PackOptions { max_tokens, max_sequences, shuffle, seed, epochs: Some(2) };
        let mut batches = set.batches(options).unwrap();
        let whole: Vec<(CausalBatch, Cursor)> = batches.clone().collect();
        let mut samples: Vec<u64> = Vec::new();
        for (batch, after) in &whole {
            prop_assert!(batch.tokens() <= max_tokens && batch.sequences() <= max_sequences.unwrap_or(usize::MAX));
            for (bounds, &sample) in batch.cu_seqlens.windows(2).zip(&batch.samples) {
                let window = set.examples()[sample as usize].window(false);
                let range = bounds[0] as usize..bounds[1] as usize;
                prop_assert_eq!(&batch.ids[range.clone()], &window.ids[..]);
                prop_assert_eq!(&batch.targets[range], &window.targets[..]);
            }
            samples.extend(&batch.samples);
            if after.index == 0 {
                prop_assert!(shuffle || samples.is_sorted());
                samples.sort_unstable();
                prop_assert_eq!(std::mem::take(&mut samples), (0..count as u64).collect::<Vec<_>>());
            }
        }
        let stop = stop % whole.len();
        let before: Vec<_> = batches.by_ref().take(stop).collect();
        prop_assert_eq!(&before[..], &whole[..stop]);
        let saved = serde_json::to_string(&batches.cursor()).unwrap();
        batches.seek(serde_json::from_str(&saved).unwrap()).unwrap();
        prop_assert_eq!(&batches.collect::<Vec<_>>()[..], &whole[stop..]);
    }

    #[test]
    fn the_pieces_shown_are_the_text_and_only_the_completion_is_learned(prompt in "[a-z][a-z ]{0,8}", completion in "[a-z][a-z ]{0,8}") {
        let dir = TempDir::new().unwrap();
        let set = tsv(&dir, &format!("{prompt}\t{completion}\n"), InstructOptions::default()).unwrap();
        let piece = |text: String, learned| MaskedPiece { text, learned };
        let expected = [piece(format!("{prompt}\n"), false), piece(format!("{completion}</s>"), true)];
        prop_assert_eq!(&set.show_masks(0).unwrap()[..], &expected[..]);
        let learned: Vec<u32> = one(&set).targets.into_iter().flatten().collect();
        prop_assert_eq!(learned, [ids(&completion), vec![end()]].concat());
    }
}

#[test]
fn the_development_set_of_e2e_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/e2e_nlg/devset.csv");
    if !path.exists() {
        return;
    }
    let source = InstructSource::Csv { path, prompt_column: "mr".into(), completion_column: "ref".into() };
    let set = open(&source, InstructOptions::default()).unwrap();
    assert_eq!((set.report().examples, set.report().kept), (4672, 4672));
    assert_eq!(set.report().empty_prompt + set.report().empty_completion, 0);
    let tokens: usize = set
        .batches(PackOptions { epochs: Some(1), ..PackOptions::default() })
        .unwrap()
        .map(|(batch, _)| batch.tokens())
        .sum();
    assert_eq!(tokens as u64, set.report().tokens - 4672);
}
