use proptest::prelude::*;

use super::*;

/// Five standard deviations of a sum of `count` draws with chance `p`, in groups of at most `group`.
fn bound(count: u64, p: f64, group: f64) -> f64 {
    5.0 * (count as f64 * group * p * (1.0 - p)).sqrt() + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn shares_are_what_was_asked_for(
        seed in any::<u64>(), mask_prob in 0.05f64..0.5, mask_share in 0.0f64..0.7, random_share in 0.0f64..0.3, kind in 0..3,
    ) {
        let corpus = Corpus::new(&documents(400), true);
        let (units, group) = [(Units::Tokens, 1.0), (Units::Words, 2.0), (Units::Spans, 20.0)][kind as usize];
        let asked = ExampleOptions { mask_prob, mask_share, random_share, units, ..options(Objective::MlmNsp, 48) };
        let data = corpus.prepare("data", asked);
        let drawn = data.drawn(seed, 0).unwrap();
        let near = |found: u64, whole: u64, p: f64, group: f64| {
            let difference = (found as f64 - whole as f64 * p).abs();
            prop_assert!(difference <= bound(whole, p, group), "{found} of {whole}, expected {p}: {drawn:?}");
            Ok(())
        };
        near(drawn.positive, drawn.pairs, 0.5, 1.0)?;
        near(drawn.short, drawn.examples, 0.1, 1.0)?;
        near(drawn.hidden, drawn.chosen, mask_share, group)?;
        near(drawn.random, drawn.chosen, random_share, group)?;
        prop_assert_eq!(drawn.hidden + drawn.random + drawn.kept, drawn.chosen);
        // One token at least is chosen; the rest is rounded up or down at random, by less than a token in each example.
        let examples: Vec<_> = epoch(&data, seed, 0, BatchSize::Examples(64)).iter().flat_map(unmasked).collect();
        let maskable = |ids: &Vec<u32>| ids.iter().filter(|&&id| id >= PIECE).count() as f64;
        let expected: f64 = examples.iter().map(|(ids, ..)| (maskable(ids) * mask_prob).max(1.0)).sum();
        let difference = drawn.chosen as f64 - expected;
        let rounding = bound(drawn.examples, 0.5, 1.0);
        // A word that is longer than what is left to choose is passed over, or chosen where it is the only one.
        let words = if units == Units::Tokens { 0.0 } else { drawn.examples as f64 * 0.05 };
        prop_assert!(difference.abs() <= rounding + words, "{} chosen, expected {expected}", drawn.chosen);
    }

    #[test]
    fn special_tokens_are_never_masked_and_never_random_words(seed in any::<u64>(), kind in 0..3) {
        let dir = TempDir::new().unwrap();
        let text = "w00000 [MASK] w00001x [SEP] unheard w00002\nw00003x [UNK] w00004\n\n".repeat(40) + "w00005\nw00000x";
        std::fs::write(dir.path().join("text"), text).unwrap();
        let units = [Units::Tokens, Units::Words, Units::Spans][kind as usize];
        let asked = ExampleOptions { mask_prob: 0.9, mask_share: 0.2, random_share: 0.6, units, ..options(Objective::MlmNsp, 20) };
        let tokenizer = tokenizer(6);
        let data = prepare(&config(dir.path().join("text"), asked), &tokenizer, dir.path().join("data")).unwrap();
        let mut random = 0;
        for batch in epoch(&data, seed, 0, BatchSize::Tokens(64)) {
            for &(row, token) in &batch.masked {
                let became = batch.ids[row as usize];
                prop_assert!(token >= PIECE && (became == MASK || became >= PIECE));
                random += usize::from(became != MASK && became != token);
            }
            let rows: Vec<u32> = batch.masked.iter().map(|&(row, _)| row).collect();
            prop_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let report = data.report();
        prop_assert!(random > 50);
        // "unheard" is not known, nor is "[UNK]", which the text spells out.
        prop_assert_eq!((report.special_in_text, report.unknown_tokens), (160, 80));
    }
}

/// Runs of rows that became the same thing: all hidden, all random or all kept.
fn fate(batch: &PretrainBatch, row: u32, token: u32) -> u8 {
    match batch.ids[row as usize] {
        MASK => 0,
        id if id == token => 1,
        _ => 2,
    }
}

#[test]
fn whole_words_are_chosen_whole_and_become_one_thing() {
    let corpus = Corpus::new(&documents(120), true);
    for units in [Units::Words, Units::Spans] {
        let asked = ExampleOptions { units, mask_share: 0.4, random_share: 0.3, ..options(Objective::Mlm, 64) };
        let data = corpus.prepare(&format!("{units:?}"), asked);
        let (mut words, mut runs) = (0, Vec::new());
        for batch in epoch(&data, 1, 0, BatchSize::Examples(1)) {
            let ids = &unmasked(&batch)[0].0;
            let chosen = |row: usize| batch.masked.iter().find(|&&(at, _)| at as usize == row).copied();
            for row in 1..ids.len() {
                // The second token of a word, but where the example begins with it.
                if ids[row] == PIECE && row > 1 {
                    let [first, second] = [row - 1, row].map(|row| chosen(row).map(|(row, id)| fate(&batch, row, id)));
                    assert_eq!(first, second);
                    words += usize::from(first.is_some());
                }
            }
            let mut row = 0;
            while row < ids.len() {
                let length = (row..ids.len()).take_while(|&row| chosen(row).is_some()).count();
                runs.extend(Some(length).filter(|&length| length > 0));
                row += length.max(1);
            }
        }
        assert!(words > 50, "{units:?}");
        let mean = runs.iter().sum::<usize>() as f64 / runs.len() as f64;
        // Spans of the lengths of SpanBERT have 3.8 words, less where the last is cut short; words apart have one.
        let expected = if units == Units::Spans { 2.5..5.0 } else { 1.3..2.0 };
        assert!(expected.contains(&mean), "{units:?}: {mean}");
    }
}
