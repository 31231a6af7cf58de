//! Tests of whole data sets: from files to batches, and back to a saved position.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::text::{Kind, Tokenizer, TrainOptions};

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let lines = ["the quick brown fox jumps over the lazy dog 0 1 2 3 4 5 6 7 8 9"];
    let options = TrainOptions {
        kind: Kind::Characters,
        byte_fallback: Some(false),
        min_frequency: 1,
        ..TrainOptions::default()
    };
    let lines = lines.map(|line| Ok::<_, Error>(line.to_owned()));
    Arc::new(Tokenizer::train(lines, &options).unwrap())
});

fn text_pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn from_text(pairs: &[(&str, &str)], options: PairOptions) -> Result<Dataset, Error> {
    Dataset::from_text("memory", &text_pairs(pairs), TOKENIZER.clone(), TOKENIZER.clone(), options)
}

/// A TSV file of `n` pairs with lengths between 1 and 18 characters; every seventh source is empty.
fn tsv(dir: &TempDir, n: usize) -> ParallelSource {
    let path = dir.path().join("pairs.tsv");
    let line = |i: usize| {
        let source = if i % 7 == 3 { String::new() } else { format!("{i}{}", "x".repeat(i * 5 % 17)) };
        format!("{source}\t{}{i}\n", "y".repeat(i * 3 % 16))
    };
    std::fs::write(&path, (0..n).map(line).collect::<String>()).unwrap();
    ParallelSource::from_path(path)
}

fn open(source: ParallelSource, window_pairs: usize) -> Dataset {
    Dataset::open(source, TOKENIZER.clone(), TOKENIZER.clone(), PairOptions::default(), window_pairs).unwrap()
}

fn all(batches: Batches) -> Vec<(PackedBatch, Cursor)> {
    batches.collect::<Result<_, _>>().unwrap()
}

fn small(order: Order, epochs: u64) -> BatchOptions {
    BatchOptions { max_tokens: 60, order, seed: 5, epochs: Some(epochs), ..BatchOptions::default() }
}

#[test]
fn every_reason_to_leave_a_pair_out_is_counted_once() {
    let pairs = [
        ("the fox", "the dog"),
        ("", "x"),
        (" ", ""),
        ("x", " \t"),
        ("the fox", "the dog "),
        ("same", "same"),
        ("same", "same"),
        ("a", "jumps over the lazy dog"),
        ("jumps over the lazy dog", "jumps over the lazy fox"),
        ("12 Ω", "34"),
    ];
    let options = PairOptions {
        max_length: 20,
        on_truncate: OnTruncate::Drop,
        max_ratio: Some(3.0),
        drop_duplicates: true,
        drop_identical: true,
        ..PairOptions::default()
    };
    let report = from_text(&pairs, options.clone()).unwrap().report().clone();
    let expected = DataReport {
        pairs_read: 10,
        kept: 2,
        empty_source: 2,
        empty_target: 1,
        duplicates: 2,
        duplicates_dropped: 2,
        identical_both_sides: 1,
        identical_dropped: 1,
        ratio_dropped: 1,
        too_long_dropped: 1,
        source_tokens: 8 + 5,
        target_tokens: 8 + 3,
        unknown_tokens: 1,
        longest_source: 8,
        longest_target: 8,
        ..DataReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(report.kept + report.dropped(), report.pairs_read);
    let text = report.to_string();
    assert!(text.starts_with("pairs: 10 read, 2 used, 8 left out\n  2 with an empty source: left out\n"), "{text}");

    let keep = PairOptions { drop_duplicates: false, drop_identical: false, on_truncate: OnTruncate::Warn, ..options };
    let dataset = from_text(&pairs, keep).unwrap();
    let report = dataset.report();
    assert_eq!((report.duplicates, report.duplicates_dropped), (2, 0));
    assert_eq!((report.identical_both_sides, report.identical_dropped), (2, 0));
    assert_eq!((report.truncated, report.truncated_tokens), (1, 8));
    assert_eq!(report.kept + report.dropped(), report.pairs_read);
    let cut = &dataset.pairs().unwrap()[4];
    assert_eq!((cut.source.len(), cut.target.len()), (20, 20));
    assert_eq!((cut.source[19], cut.target[19]), (2, 2));
    assert!(report.to_string().contains("1 cut to the longest length, 8 tokens lost"));
}

#[test]
fn a_sentence_that_is_too_long_is_named_by_file_and_line() {
    let dir = TempDir::new().unwrap();
    let (source, target) = (dir.path().join("en"), dir.path().join("de"));
    std::fs::write(&source, "the\nfox\n").unwrap();
    std::fs::write(&target, "the\nthe lazy dog\n").unwrap();
    let files = ParallelSource::Files { source, target };
    let options = PairOptions { max_length: 8, ..PairOptions::default() };
    let error = Dataset::open(files, TOKENIZER.clone(), TOKENIZER.clone(), options, 10).unwrap_err().to_string();
    assert!(
        error.contains("de, line 2: the target sentence has 13 tokens with its end token, the limit is 8"),
        "{error}"
    );
}

#[test]
fn options_that_cannot_work_are_refused_with_what_would() {
    let refusal = |options| from_text(&[("a", "b")], options).unwrap_err().to_string();
    let split = refusal(PairOptions { on_truncate: OnTruncate::Split, ..PairOptions::default() });
    assert!(split.contains("on_truncate = \"split\": parallel text cannot be split"), "{split}");
    assert!(refusal(PairOptions { max_length: 1, ..PairOptions::default() }).starts_with("max_length = 1"));
    for ratio in [0.5, f64::NAN, f64::INFINITY] {
        assert!(refusal(PairOptions { max_ratio: Some(ratio), ..PairOptions::default() }).starts_with("max_ratio = "));
    }
    let dataset = from_text(&[("the fox", "dog")], PairOptions::default()).unwrap();
    let error = dataset.batches(BatchOptions { max_tokens: 7, ..BatchOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("longest sentence has 8 tokens"));
    let nothing = from_text(&[("", "b"), ("a", "")], PairOptions::default()).unwrap_err().to_string();
    assert!(nothing.contains("memory: every pair was left out:\npairs: 2 read, 0 used"), "{nothing}");
}

#[test]
fn faults_in_the_files_show_when_the_data_set_is_opened() {
    let dir = TempDir::new().unwrap();
    let (source, target) = (dir.path().join("en"), dir.path().join("de"));
    std::fs::write(&source, "1\n2\n3\n").unwrap();
    std::fs::write(&target, "1\n2\n").unwrap();
    let files = ParallelSource::Files { source, target };
    let open =
        |window| Dataset::open(files.clone(), TOKENIZER.clone(), TOKENIZER.clone(), PairOptions::default(), window);
    assert!(matches!(open(1), Err(Error::UnequalLineCounts { .. })));
    assert!(matches!(open(100), Err(Error::UnequalLineCounts { .. })));
    assert!(open(0).unwrap_err().to_string().starts_with("window_pairs = 0"));
}

#[test]
fn every_pair_appears_once_an_epoch_in_another_order() {
    let dir = TempDir::new().unwrap();
    for window in [7, 50, 1000] {
        for order in [Order::Bucketed, Order::Shuffled, Order::AsWritten] {
            let dataset = open(tsv(&dir, 200), window);
            assert_eq!(dataset.pairs().is_some(), window == 1000);
            let mut epochs: [Vec<u64>; 3] = Default::default();
            let mut epoch = 0;
            for (batch, after) in all(dataset.batches(small(order, 3)).unwrap()) {
                epochs[epoch].extend(batch.ids);
                epoch = after.epoch as usize;
            }
            assert_eq!(epoch, 3, "the cursor after the last batch is the end of the last epoch");
            assert_eq!(epochs[0] == epochs[1], order == Order::AsWritten);
            for mut ids in epochs {
                ids.sort_unstable();
                assert_eq!(ids, (0..200).filter(|i| i % 7 != 3).collect::<Vec<u64>>());
            }
        }
    }
}

#[test]
fn a_joint_tokenizer_learns_from_pairs_as_from_two_files() {
    let dir = TempDir::new().unwrap();
    let [a, b, both] = ["a", "b", "both.tsv"].map(|name| dir.path().join(name));
    std::fs::write(&a, "the fox\nthe dog\n").unwrap();
    std::fs::write(&b, "der fuchs\nder hund\n").unwrap();
    std::fs::write(&both, "the fox\tder fuchs\nthe dog\tder hund\n").unwrap();
    let options = TrainOptions { vocab_size: 290, ..TrainOptions::default() };
    let of_files = Tokenizer::learn_from_files(&[a, b], &options).unwrap().tokenizer;
    let pairs = ParallelSource::from_path(both);
    let of_pairs = Tokenizer::train(pairs.sentences(&PairOptions::default()).unwrap(), &options).unwrap();
    assert_eq!(of_files.to_json_bytes().unwrap(), of_pairs.to_json_bytes().unwrap());
}

#[test]
fn a_window_without_usable_pairs_is_passed_over() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    std::fs::write(&path, "a\tb\n\t\n\t\n\tx\n2\t3\n\t\n").unwrap();
    let dataset = open(ParallelSource::from_path(path), 2);
    let dealt = all(dataset.batches(small(Order::AsWritten, 2)).unwrap());
    let seen: Vec<(u64, u64)> = dealt.iter().map(|(batch, after)| (batch.ids[0], after.epoch)).collect();
    assert_eq!(seen, [(0, 0), (4, 1), (0, 1), (4, 2)]);
}

#[test]
fn a_cursor_that_does_not_exist_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut batches = open(tsv(&dir, 40), 10).batches(small(Order::Bucketed, 9)).unwrap();
    let window = Cursor { epoch: 0, window: 4, batch: 0 };
    assert!(batches.seek(window).unwrap_err().to_string().contains("the data has 4 windows"));
    batches.seek(Cursor { epoch: 1, window: 1, batch: 99 }).unwrap();
    let message = batches.next().unwrap().unwrap_err().to_string();
    assert!(message.contains("(epoch 1, window 1, batch 99) does not exist: this window has"), "{message}");
    assert!(batches.next().is_none());
}

#[test]
fn a_file_that_changes_or_goes_away_is_noticed() {
    let dir = TempDir::new().unwrap();
    let source = tsv(&dir, 40);
    let mut batches = open(source.clone(), 10).batches(small(Order::Bucketed, 9)).unwrap();
    tsv(&dir, 15);
    let error = batches.find_map(Result::err).unwrap().to_string();
    assert!(error.contains("pairs.tsv: window 1 has other text than when the run began"), "{error}");
    std::fs::remove_file(dir.path().join("pairs.tsv")).unwrap();
    batches.seek(Cursor::default()).unwrap();
    assert!(batches.next().unwrap().unwrap_err().to_string().contains("pairs.tsv: cannot open"));
}

#[test]
fn a_file_edited_without_a_change_in_its_counts_is_noticed_in_every_window() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    let text: String = (0..40).map(|line| format!("ab{line}\tcd{line}\n")).collect();
    for (edited, from) in [(3, 0), (3, 2), (25, 0), (25, 2)] {
        std::fs::write(&path, &text).unwrap();
        let mut batches = open(ParallelSource::from_path(&path), 10).batches(small(Order::Bucketed, 9)).unwrap();
        std::fs::write(&path, text.replace(&format!("ab{edited}\t"), &format!("ba{edited}\t"))).unwrap();
        batches.seek(Cursor { epoch: 0, window: from, batch: 0 }).unwrap();
        let error = batches.find_map(Result::err).unwrap().to_string();
        assert!(error.contains(&format!("window {} has other text", edited / 10)), "{error}");
    }
}

#[test]
fn held_out_pairs_that_are_trained_on_are_known() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    std::fs::write(&path, "ab\tcd\nef\tgh\n").unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let held_out = [pair("ef ", "gh"), pair("ab", "gh"), pair("x", "y")];
    let source = ParallelSource::from_path(path);
    let options = PairOptions::default();
    let dataset = Dataset::open_beside(&held_out, source, TOKENIZER.clone(), TOKENIZER.clone(), options, 1).unwrap();
    let held: Vec<bool> = held_out.iter().map(|(a, b)| dataset.holds(a, b)).collect();
    assert_eq!(held, [true, false, false]);
}

/// What is held out of a file with these lines, and the ids of what is dealt out.
fn held_out(lines: &[String], window: usize, options: PairOptions) -> (Dataset, Vec<u64>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    std::fs::write(&path, lines.concat()).unwrap();
    let source = ParallelSource::from_path(path);
    let dataset = Dataset::open(source, TOKENIZER.clone(), TOKENIZER.clone(), options, window).unwrap();
    let dealt = all(dataset.batches(small(Order::AsWritten, 1)).unwrap());
    (dataset, dealt.into_iter().flat_map(|(batch, _)| batch.ids).collect())
}

#[test]
fn pairs_are_held_out_by_their_text_whatever_the_window_and_the_order() {
    let options = PairOptions { valid_fraction: 0.3, ..PairOptions::default() };
    let mut lines: Vec<String> = (0..100).map(|i| format!("{}\t{i}\n", i % 50)).collect();
    let (whole, dealt) = held_out(&lines, 1000, options.clone());
    let (report, mut expected) = (whole.report(), whole.held_out().to_vec());
    assert_eq!((report.held_out, report.kept + report.dropped()), (expected.len() as u64, 100));
    assert!((10..60).contains(&expected.len()), "{}", expected.len());
    // All pairs of a source sentence are on one side, and each pair is on one.
    let is_held_out = |id: &u64| expected.iter().any(|(source, _)| *source == (id % 50).to_string());
    assert_eq!(dealt, (0..100).filter(|id| !is_held_out(id)).collect::<Vec<u64>>());
    for window in [7, 30] {
        let (windows, ids) = held_out(&lines, window, options.clone());
        assert_eq!((windows.held_out(), windows.report(), &ids), (&expected[..], report, &dealt));
    }
    lines.reverse();
    let mut found = held_out(&lines, 30, options.clone()).0.held_out().to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    // Sentences that are held out teach the tokenizer nothing.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    std::fs::write(&path, lines.concat()).unwrap();
    let learned = ParallelSource::from_path(path).sentences(&options).unwrap().count();
    assert_eq!(learned, 2 * dealt.len());
}

#[test]
fn a_pair_that_is_too_long_is_not_held_out() {
    let lines: Vec<String> = (0..40).map(|i| format!("{i}\t{}\n", "x".repeat(30))).collect();
    let options =
        PairOptions { valid_fraction: 0.5, max_length: 20, on_truncate: OnTruncate::Warn, ..PairOptions::default() };
    let (dataset, dealt) = held_out(&lines, 1000, options);
    assert_eq!((dataset.report().held_out, dataset.report().truncated, dealt.len()), (0, 40, 40));
}

#[test]
fn endless_batches_can_be_left_at_any_time() {
    let dir = TempDir::new().unwrap();
    for (window, taken) in [(10, 0), (10, 1), (10, 100), (1000, 3)] {
        let mut batches =
            open(tsv(&dir, 60), window).batches(BatchOptions { epochs: None, ..small(Order::Bucketed, 0) }).unwrap();
        assert_eq!(batches.by_ref().take(taken).filter(Result::is_ok).count(), taken);
        batches.seek(Cursor { epoch: 1 << 40, ..Cursor::default() }).unwrap();
        assert!(batches.next().unwrap().is_ok());
    }
}

#[test]
fn duplicates_stay_left_out_when_the_data_is_read_again_from_the_middle() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pairs.tsv");
    let lines: String = (0..40).map(|i| format!("{}\tx\n", i % 13)).collect();
    std::fs::write(&path, lines).unwrap();
    let options = PairOptions { drop_duplicates: true, ..PairOptions::default() };
    let source = ParallelSource::from_path(path);
    let dataset = Dataset::open(source, TOKENIZER.clone(), TOKENIZER.clone(), options, 5).unwrap();
    assert_eq!((dataset.report().kept, dataset.report().duplicates), (13, 27));
    let mut batches = dataset.batches(small(Order::AsWritten, 1)).unwrap();
    batches.seek(Cursor { epoch: 0, window: 2, batch: 0 }).unwrap();
    let ids: Vec<u64> = all(batches).into_iter().flat_map(|(batch, _)| batch.ids).collect();
    assert_eq!(ids, [10, 11, 12]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_rest_after_any_cursor_is_the_tail_of_the_uninterrupted_sequence(
        window in prop_oneof![Just(9usize), Just(31), Just(500)],
        order in prop_oneof![Just(Order::Bucketed), Just(Order::Shuffled), Just(Order::AsWritten)],
        stop in 0usize..60,
        threads in 1usize..4,
    ) {
        let dir = TempDir::new().unwrap();
        let source = tsv(&dir, 80);
        let whole = all(open(source.clone(), window).batches(small(order, 2)).unwrap());
        let stop = stop % whole.len();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut batches = pool.install(|| open(source, window)).batches(small(order, 2)).unwrap();
        let before: Vec<_> = batches.by_ref().take(stop).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&before[..], &whole[..stop]);
        let saved = serde_json::to_string(&batches.cursor()).unwrap();
        batches.seek(serde_json::from_str(&saved).unwrap()).unwrap();
        prop_assert_eq!(&all(batches)[..], &whole[stop..]);
    }
}

#[test]
fn multi30k_is_dealt_out_whole() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/multi30k");
    if !folder.exists() {
        return;
    }
    let [source, target] = ["train.en.gz", "train.de.gz"].map(|name| folder.join(name));
    let tokenizer = Tokenizer::learn_from_files(&[&source, &target], &TrainOptions::default()).unwrap().tokenizer;
    let tokenizer = Arc::new(tokenizer);
    let files = ParallelSource::Files { source, target };
    let dataset =
        Dataset::open(files, tokenizer.clone(), tokenizer, PairOptions::default(), dataset::WINDOW_PAIRS).unwrap();
    let report = dataset.report();
    assert_eq!((report.pairs_read, report.kept, report.unknown_tokens), (29_000, 29_000, 0));
    let options = BatchOptions { epochs: Some(1), ..BatchOptions::default() };
    let dealt = all(dataset.batches(options).unwrap());
    let tokens: usize = dealt.iter().map(|(batch, _)| batch.target_tokens()).sum();
    assert_eq!(tokens as u64, report.target_tokens);
    let fullest = dealt.iter().map(|(batch, _)| batch.source_tokens().max(batch.target_tokens()));
    let mean = fullest.sum::<usize>() / dealt.len();
    assert!((3900..=4096).contains(&mean), "batches hold {mean} of 4096 tokens");
}
