use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// The two segments of an example, and what is around them.
fn segments(ids: &[u32], types: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let middle = 1 + ids[1..].iter().position(|&id| id == SEP).unwrap();
    assert_eq!((ids[0], ids[ids.len() - 1]), (CLS, SEP));
    let first_of_second = if middle + 1 == ids.len() { ids.len() } else { middle + 1 };
    assert!(types[..first_of_second].iter().all(|&kind| kind == 0));
    assert!(types[first_of_second..].iter().all(|&kind| kind == 1));
    let second = if first_of_second == ids.len() { &[][..] } else { &ids[middle + 1..ids.len() - 1] };
    (ids[1..middle].to_vec(), second.to_vec())
}

fn is_run(ids: &[u32]) -> bool {
    ids.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[test]
fn every_token_is_in_one_example_of_single_segments() {
    for (documents, seq_len) in [(documents(90), 24), (vec![vec![700], vec![1], vec![2, 90, 4]], 16)] {
        let corpus = Corpus::new(&documents, false);
        let data = corpus.prepare("data", options(Objective::Mlm, seq_len));
        let mut all = Vec::new();
        for batch in epoch(&data, 5, 2, BatchSize::Tokens(200)) {
            assert!(batch.is_next.is_none() && batch.ids.len() <= 200);
            for (ids, types, _) in unmasked(&batch) {
                let (first, second) = segments(&ids, &types);
                assert!(ids.len() <= seq_len && second.is_empty() && is_run(&first));
                assert_eq!(corpus.document(first[0]), corpus.document(first[first.len() - 1]));
                all.extend(first);
            }
        }
        all.sort_unstable();
        assert_eq!(all, (FIRST..FIRST + corpus.starts[documents.len()] as u32).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_true_pair_goes_on_and_a_drawn_one_is_of_another_document(
        shape in proptest::collection::vec(proptest::collection::vec(1usize..30, 1..6), 2..12),
        seed in any::<u64>(), seq_len in 5usize..40, is_order in any::<bool>(),
    ) {
        let corpus = Corpus::new(&shape, false);
        let objective = if is_order { Objective::MlmSop } else { Objective::MlmNsp };
        prop_assume!(is_order || shape.len() > 1);
        let data = corpus.prepare("data", options(objective, seq_len));
        let drawn = data.drawn(seed, 0).unwrap();
        prop_assume!(drawn.examples > 0);
        let mut count = 0;
        for (ids, types, label) in epoch(&data, seed, 0, BatchSize::Examples(3)).iter().flat_map(unmasked) {
            let (first, second) = segments(&ids, &types);
            prop_assert!(ids.len() <= seq_len && !first.is_empty() && !second.is_empty());
            prop_assert!(is_run(&first) && is_run(&second));
            let is_one_document = corpus.document(first[0]) == corpus.document(second[0]);
            let follows = second[0] > first[first.len() - 1];
            let answer = if is_order { is_one_document && follows } else { is_one_document };
            prop_assert_eq!(label, Some(answer));
            prop_assert!(is_order || !answer || follows);
            prop_assert!(!is_order || is_one_document);
            // What is between the two was cut off, and the whole was gathered as one.
            count += 1;
        }
        prop_assert_eq!(count, drawn.examples);
    }
}

#[test]
fn a_run_goes_on_from_every_cursor_as_if_it_had_not_stopped() {
    let corpus = Corpus::new(&documents(60), false);
    let data = corpus.prepare("data", options(Objective::MlmNsp, 32));
    for size in [BatchSize::Tokens(100), BatchSize::Examples(7)] {
        let all: Vec<_> = data.batches(3, Cursor::default(), size).unwrap().take(200).map(Result::unwrap).collect();
        assert!(all[199].1.epoch >= 1);
        for (at, (_, after)) in all.iter().enumerate().step_by(17) {
            let rest = data.batches(3, *after, size).unwrap();
            let rest: Vec<_> = rest.take(all.len() - at - 1).map(Result::unwrap).collect();
            assert_eq!(rest, all[at + 1..]);
        }
        let in_first = all.iter().position(|(_, after)| after.epoch == 1).unwrap() + 1;
        assert_eq!(data.batches_per_epoch(3, size).unwrap(), in_first as u64);
    }
    let refused = |cursor| data.batches(3, cursor, BatchSize::Examples(7)).unwrap_err().to_string();
    assert!(refused(Cursor { epoch: 0, window: 9, index: 0 }).contains("an epoch has 1 windows"));
    assert!(refused(Cursor { epoch: 0, window: 0, index: 99_999 }).contains("does not exist: the window has"));
    let message = data.batches(3, Cursor::default(), BatchSize::Tokens(31)).unwrap_err().to_string();
    assert!(message.contains("batch_tokens = 31: an example of seq_len = 32"), "{message}");
}

#[test]
fn windows_follow_one_another_in_an_epoch() {
    // More tokens than one window holds.
    let text: Vec<Vec<usize>> = vec![vec![20; 5000]; 24];
    let corpus = Corpus::new(&text[..1], false);
    let many = std::fs::read_to_string(corpus.dir.path().join("text")).unwrap();
    std::fs::write(corpus.dir.path().join("text"), many.repeat(24)).unwrap();
    let data = corpus.prepare("data", options(Objective::Mlm, 512));
    assert_eq!(data.report().duplicates, 23);
    let size = BatchSize::Examples(500);
    let all: Vec<_> = data.batches(1, Cursor::default(), size).unwrap().take(15).map(Result::unwrap).collect();
    assert!(all.iter().any(|(_, after)| after.window > 0 && after.epoch == 0));
    let epoch = all.iter().position(|(_, after)| after.epoch == 1).unwrap();
    assert!(all[..epoch].iter().all(|(batch, _)| batch.examples() == 500), "a batch goes on in the next window");
    let drawn = data.drawn(1, 0).unwrap();
    let dealt: usize = all[..=epoch].iter().map(|(batch, _)| batch.examples()).sum();
    assert_eq!((dealt as u64, drawn.maskable), (drawn.examples, 24 * 100_000));
    for (at, (_, after)) in all.iter().enumerate() {
        let mut rest = data.batches(1, *after, size).unwrap();
        if let Some(next) = all.get(at + 1) {
            assert_eq!(&rest.next().unwrap().unwrap(), next);
        }
    }
}

#[test]
fn epochs_differ_unless_they_are_drawn_once_and_evaluations_never_do() {
    let corpus = Corpus::new(&documents(60), false);
    let size = BatchSize::Tokens(300);
    let anew = corpus.prepare("anew", options(Objective::MlmNsp, 32));
    let of =
        |data: &PretrainData, seed, number| -> Vec<PretrainBatch> { epoch(data, seed, number, BatchSize::Examples(1)) };
    let set =
        |batches: Vec<PretrainBatch>| -> HashSet<Vec<u32>> { batches.into_iter().map(|batch| batch.ids).collect() };
    assert_eq!(of(&anew, 1, 1), of(&anew, 1, 1));
    let shared = |a: Vec<PretrainBatch>, b: Vec<PretrainBatch>| set(a).intersection(&set(b)).count();
    assert!(shared(of(&anew, 1, 0), of(&anew, 1, 1)) < 5 && shared(of(&anew, 1, 0), of(&anew, 2, 0)) < 5);
    let once = corpus.prepare("once", ExampleOptions { draw: Draw::Once, ..options(Objective::MlmNsp, 32) });
    assert_ne!(of(&once, 1, 0), of(&once, 1, 1));
    assert_eq!(set(of(&once, 1, 0)), set(of(&once, 1, 1)));
    let evaluate = |data: &PretrainData| -> Vec<_> {
        data.evaluation_batches(size).unwrap().map(|item| item.unwrap().0).collect()
    };
    assert_eq!(evaluate(&anew), evaluate(&anew));
    assert_eq!(evaluate(&anew), evaluate(&once));
    let first = &unmasked(&evaluate(&anew)[0])[0].0;
    assert_eq!(first[1], FIRST, "an evaluation is in the order of the text");
}

#[test]
fn any_number_of_threads_makes_the_same_files_and_batches() {
    let corpus = Corpus::new(&documents(300), true);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let name = format!("data{threads}");
            let data = corpus.prepare(&name, options(Objective::MlmNsp, 40));
            let files = ["tokens.bin", "words.bin", "sentences.bin", "units.bin", "pretrain.json"];
            let bytes = files.map(|file| std::fs::read(corpus.dir.path().join(&name).join(file)).unwrap());
            let dealt = data.batches(9, Cursor::default(), BatchSize::Tokens(256)).unwrap();
            let dealt: Vec<_> = dealt.take(150).map(Result::unwrap).collect();
            (bytes, dealt, data.drawn(9, 1).unwrap(), data.hash().unwrap())
        })
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}
