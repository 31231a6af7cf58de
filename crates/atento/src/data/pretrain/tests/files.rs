use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::data::tokens;

/// The report of a text in a file of this name.
fn of(name: &str, bytes: &[u8], objective: Objective) -> Result<(CorpusReport, Vec<Vec<u32>>), String> {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let config = config(dir.path().join(name), options(objective, 16));
    let data = prepare(&config, &tokenizer(40), dir.path().join("data"));
    let data = data.map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))?;
    let examples = epoch(&data, 0, 0, BatchSize::Examples(8)).iter().flat_map(unmasked).map(|(ids, ..)| ids).collect();
    Ok((*data.report(), examples))
}

const TEXT: &str = "w00001 w00002\nw00003\n\nw00004 w00005\nw00006 w00007\n";

#[test]
fn text_is_the_same_however_it_is_written() {
    let (plain, _) = of("text", TEXT.as_bytes(), Objective::MlmNsp).unwrap();
    assert_eq!((plain.documents, plain.sentences, plain.tokens, plain.one_line_documents), (2, 4, 7, 0));
    let windows = TEXT.replace('\n', "\r\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(TEXT.as_bytes()).unwrap();
    let json = "{\"text\": \"w00001 w00002\\nw00003\"}\n\n{\"text\": \"w00004 w00005\\nw00006 w00007\"}\n";
    let blank = format!("\n \n{TEXT}\n\n\t\n");
    let others: [(&str, &[u8]); 4] = [
        ("text", windows.as_bytes()),
        ("text.gz", &gzip.finish().unwrap()),
        ("text.jsonl", json.as_bytes()),
        ("text", blank.as_bytes()),
    ];
    for (name, bytes) in others {
        let (found, _) = of(name, bytes, Objective::MlmNsp).unwrap();
        assert_eq!((found.documents, found.sentences, found.tokens), (2, 4, 7), "{name}");
    }
}

#[test]
fn texts_without_text_are_refused() {
    for text in ["", "\n", " \n\t\n\n"] {
        for objective in [Objective::Mlm, Objective::MlmNsp] {
            let message = of("text", text.as_bytes(), objective).unwrap_err();
            assert!(message.starts_with("text: nothing is left to train on:\ndocuments: 0 in 1 file"), "{message}");
        }
    }
    let message = of("text.jsonl", b"{\"text\": \"\"}\n", Objective::Mlm).unwrap_err();
    assert!(message.contains("1 empty: left out"), "{message}");
    assert!(of("text", b"w00001\n\nf\xfcr\n", Objective::Mlm).unwrap_err().contains("text, line 3: not valid UTF-8"));
}

#[test]
fn one_document_has_no_other_to_draw_from() {
    let one = "w00001 w00002\nw00003 w00004\n";
    for text in [one.to_owned(), format!("{one}\n{one}\n{one}")] {
        let message = of("text", text.as_bytes(), Objective::MlmNsp).unwrap_err();
        assert!(message.starts_with("text: there is one document, so no segment of another"), "{message}");
        assert!(
            of("text", text.as_bytes(), Objective::MlmSop).is_ok()
                && of("text", text.as_bytes(), Objective::Mlm).is_ok()
        );
    }
}

#[test]
fn a_document_of_one_line_is_cut_for_pairs_only_and_that_is_told() {
    let text = "w00001 w00002. w00003 w00004. w00005\n\nw00006\nw00007. w00008\n";
    let (pairs, _) = of("text", text.as_bytes(), Objective::MlmSop).unwrap();
    assert_eq!((pairs.sentences, pairs.one_line_documents, pairs.cut_by_ends), (5, 1, 1));
    assert!(pairs.to_string().contains("1 of one line: cut into sentences after . ! ?"));
    let (single, _) = of("text", text.as_bytes(), Objective::Mlm).unwrap();
    assert_eq!((single.sentences, single.one_line_documents, single.cut_by_ends), (3, 1, 0));
}

#[test]
fn an_endless_line_is_cut_and_no_token_of_it_is_lost() {
    let words = 60_000;
    let line: String = (0..words).map(|word| format!("w{:05} ", word % 40)).collect();
    assert!(line.len() > crate::data::tokens::documents::PIECE_BYTES);
    let text = format!("{line}\n\nw00001 w00002\n");
    let (report, examples) = of("text", text.as_bytes(), Objective::Mlm).unwrap();
    assert_eq!((report.documents, report.tokens), (2, words + 2));
    assert!(examples.iter().all(|ids| ids.len() <= 16));
    assert_eq!(examples.iter().map(|ids| ids.len() - 2).sum::<usize>() as u64, words + 2);
    let (report, examples) = of("text", text.as_bytes(), Objective::MlmNsp).unwrap();
    // Each piece of the line is one sentence, of which an example has as much as it can hold.
    assert!(report.sentences < 6 && examples.len() > 4000, "{} of {}", examples.len(), report.sentences);
}

#[test]
fn a_bad_line_is_named_or_costs_one_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text.jsonl");
    let lines = "{\"text\": \"w00001 w00002\"}\n{\"txt\": \"w00003\"}\nno json\n{\"text\": \"w00004\"}\n";
    std::fs::write(&path, lines).unwrap();
    let (config, tokenizer) = (config(path, options(Objective::Mlm, 16)), tokenizer(40));
    let message = prepare(&config, &tokenizer, dir.path().join("data")).unwrap_err().to_string();
    assert!(message.ends_with("text.jsonl, line 2: no value at key \"text\" (did you mean \"txt\"?)"), "{message}");
    assert!(!dir.path().join("data").exists());
    let (markers, mut told) = (Markers::of(&tokenizer).unwrap(), Vec::new());
    let mut on_fault = |fault: tokens::Error| {
        told.push(fault.to_string());
        Ok(())
    };
    let out = dir.path().join("data");
    let data = PretrainData::prepare(&config, &tokenizer, markers, out, &mut on_fault, &mut |_| {}).unwrap();
    assert_eq!((data.report().bad_lines, data.report().documents, data.report().tokens), (2, 2, 3));
    assert!(told.len() == 2 && told[1].contains("line 3"), "{told:?}");
}

#[test]
fn duplicates_are_counted_and_left_out_where_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let long = format!("{}\n", "w00009 ".repeat(60_000));
    // The second copy of a document of several pieces is taken back when its end shows that it is one.
    let text = format!("{TEXT}\n{long}\n{TEXT}\nw00008\n\n{long}\nw00010x\n");
    std::fs::write(dir.path().join("text"), &text).unwrap();
    let tokenizer = tokenizer(40);
    let mut config = config(dir.path().join("text"), options(Objective::Mlm, 16));
    let kept = *prepare(&config, &tokenizer, dir.path().join("kept")).unwrap().report();
    assert_eq!((kept.documents, kept.duplicates, kept.duplicates_dropped, kept.distinct_documents), (8, 3, 0, 5));
    config.texts.drop_duplicates = true;
    let dropped = *prepare(&config, &tokenizer, dir.path().join("dropped")).unwrap().report();
    assert_eq!((dropped.documents, dropped.documents_kept, dropped.duplicates_dropped), (8, 5, 3));
    assert_eq!(kept.tokens - dropped.tokens, 60_007);
    let without = format!("{TEXT}\n{long}\nw00008\n\nw00010x\n");
    std::fs::write(dir.path().join("text"), without).unwrap();
    prepare(&config, &tokenizer, dir.path().join("without")).unwrap();
    for file in ["tokens.bin", "words.bin", "sentences.bin", "units.bin"] {
        let read = |name: &str| std::fs::read(dir.path().join(name).join(file)).unwrap();
        assert_eq!(read("dropped"), read("without"), "{file}");
    }
}

#[test]
fn folds_divide_the_documents() {
    let corpus = Corpus::new(&documents(400), false);
    let with = |name: &str, fold| {
        let mut config = corpus.config(options(Objective::Mlm, 32));
        config.texts.fold = fold;
        *prepare(&config, &corpus.tokenizer, corpus.dir.path().join(name)).unwrap().report()
    };
    let (train, valid) = (with("train", Fold::Training(0.2)), with("valid", Fold::Validation(0.2)));
    assert_eq!((train.documents, train.documents_kept + valid.documents_kept), (400, 400));
    assert_eq!((train.other_fold, valid.other_fold), (valid.documents_kept, train.documents_kept));
    assert!((50..115).contains(&valid.documents_kept), "{}", valid.documents_kept);
}

#[test]
fn a_directory_is_opened_with_its_own_tokenizer_and_its_own_files() {
    let corpus = Corpus::new(&documents(20), false);
    let asked = options(Objective::MlmNsp, 32);
    let made = corpus.prepare("data", asked);
    let (path, markers) = (corpus.dir.path().join("data"), Markers::of(&corpus.tokenizer).unwrap());
    let open = |tokenizer: &Tokenizer, options| PretrainData::open(&path, tokenizer, markers.clone(), options);
    let opened = open(&corpus.tokenizer, asked).unwrap();
    assert_eq!(epoch(&opened, 4, 0, BatchSize::Tokens(64)), epoch(&made, 4, 0, BatchSize::Tokens(64)));
    assert_eq!((opened.hash().unwrap(), opened.report()), (made.hash().unwrap(), made.report()));
    let message = open(&tokenizer(7), asked).unwrap_err().to_string();
    assert!(message.contains("pretrain.json: tokenizer_hash is"), "{message}");
    let single = prepare(&corpus.config(asked), &corpus.tokenizer, path.clone()).unwrap_err().to_string();
    assert!(single.contains("data: exists already"), "{single}");
    let damage = |file: &str, bytes: &[u8]| {
        let file = path.join(file);
        let sound = std::fs::read(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
        let result = open(&corpus.tokenizer, asked).and_then(|data| data.drawn(0, 0));
        std::fs::write(&file, sound).unwrap();
        result.unwrap_err().to_string()
    };
    assert!(damage("words.bin", &[1; 4]).contains("words.bin: 2 numbers, expected"));
    assert!(damage("units.bin", &[0; 24]).contains("units.bin: 6 numbers"));
    let units = std::fs::read(path.join("units.bin")).unwrap();
    let mut wrong = units.clone();
    wrong[24] ^= 1;
    assert!(damage("units.bin", &wrong).contains("has sentences that are not as long as it is"));
    wrong.clone_from(&units);
    wrong[40] = 250;
    assert!(damage("units.bin", &wrong).contains("is in no document"));
    wrong.clone_from(&units);
    wrong[32..34].copy_from_slice(&[255, 255]);
    assert!(damage("units.bin", &wrong).contains("sentences that do not exist"));
    let mut ids = std::fs::read(path.join("tokens.bin")).unwrap();
    ids[1] = 255;
    assert!(damage("tokens.bin", &ids).contains("the vocabulary has ids below"));
    assert!(damage("pretrain.json", b"{}").contains("not a description of token files"));
}

#[test]
fn files_made_without_sentences_are_not_used_for_pairs() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("text"), "w00001. w00002.\n\nw00003\n").unwrap();
    let (tokenizer, out) = (tokenizer(10), dir.path().join("data"));
    prepare(&config(dir.path().join("text"), options(Objective::Mlm, 16)), &tokenizer, out.clone()).unwrap();
    let markers = Markers::of(&tokenizer).unwrap();
    let message =
        PretrainData::open(&out, &tokenizer, markers, options(Objective::MlmSop, 16)).unwrap_err().to_string();
    assert!(message.contains("2 documents of one line were not cut into sentences"), "{message}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let corpus = Corpus::new(&documents(3), false);
    let refused = |change: &dyn Fn(&mut PretrainConfig)| {
        let mut config = corpus.config(options(Objective::MlmNsp, 16));
        change(&mut config);
        prepare(&config, &corpus.tokenizer, corpus.dir.path().join("data")).unwrap_err().to_string()
    };
    assert!(refused(&|config| config.examples.mask_prob = 0.0).starts_with("mask_prob = 0: expected a share above 0"));
    assert!(refused(&|config| config.examples.mask_share = 1.5).starts_with("mask_share = 1.5"));
    assert!(refused(&|config| config.examples.random_share = 0.3).starts_with("random_share = 0.3: together with"));
    assert!(refused(&|config| config.examples.short_seq_prob = f64::NAN).starts_with("short_seq_prob = NaN"));
    assert!(
        refused(&|config| config.examples.seq_len = 4).contains("expected 5 to 1048576, since 3 tokens are special")
    );
    assert!(refused(&|config| config.texts.fold = Fold::Training(1.0)).starts_with("valid_fraction = 1"));
}
