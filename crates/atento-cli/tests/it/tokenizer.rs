//! `tokenizer` and `bleu`.

use insta::assert_snapshot;

use crate::support::{Folder, SENTENCES};

#[test]
fn every_kind_of_tokenizer_is_learned_used_and_undone() {
    let folder = Folder::new();
    let text: String = SENTENCES.iter().map(|(source, target)| format!("{source}\n{target}\n")).collect();
    folder.write("text", text);
    for kind in ["bpe", "byte-bpe", "unigram", "char"] {
        let train = ["tokenizer", "train", "text", "--kind", kind, "--vocab-size", "400", "--out", "t.json", "-q"];
        folder.run(&train, "").output();
        let ids = folder.run(&["tokenizer", "encode", "t.json", "zwei Hunde"], "").output();
        assert!(ids.ends_with(" 2\n"), "{kind}: {ids}");
        let text = folder.run(&["tokenizer", "decode", "t.json"], &ids).output();
        assert_eq!(text, "zwei Hunde\n", "{kind}");
        let kept = folder.run(&["tokenizer", "decode", "t.json", "--keep-special", "1"], "").output();
        assert_eq!(kept, "<pad>\n", "{kind}");
    }
    let train = ["tokenizer", "train", "text", "--kind", "wordpiece", "--vocab-size", "60", "--purpose", "encoder"];
    folder.run(&train, "").output();
    let pieces = folder.run(&["tokenizer", "encode", "tokenizer.json", "--tokens", "ein Hund"], "").output();
    assert_eq!(pieces, "[CLS] ein Hund [SEP]\n");
}

#[test]
fn json_has_ids_tokens_and_offsets_in_bytes() {
    let folder = Folder::new();
    folder.model();
    let object = folder.run(&["tokenizer", "encode", "m", "--json", "schläft"], "").objects().remove(0);
    let offsets = object["offsets"].as_array().unwrap();
    assert_eq!(offsets.len(), object["ids"].as_array().unwrap().len());
    assert_eq!(object["tokens"].as_array().unwrap().last().unwrap(), "</s>");
    // The umlaut has two bytes.
    assert_eq!(offsets[offsets.len() - 2][1], 8);
    let bare = folder.run(&["tokenizer", "encode", "m", "--json", "--no-special", "schläft"], "").objects().remove(0);
    assert_eq!(bare["ids"].as_array().unwrap().len(), offsets.len() - 1);
}

#[test]
fn inspect_tells_what_a_tokenizer_is_made_of() {
    let folder = Folder::new();
    folder.model();
    assert_snapshot!(folder.run(&["tokenizer", "inspect", "m"], "").output(), @r"
    vocabulary      320 tokens
    model           BPE
    normalizer      Sequence
    pre-tokenizer   Metaspace
    post-processor  TemplateProcessing
    decoder         Sequence
    special tokens  <s> 0, <pad> 1, </s> 2, <unk> 3
    ");
}

#[test]
fn ids_that_are_none_are_refused() {
    let folder = Folder::new();
    folder.model();
    assert_snapshot!(folder.run(&["tokenizer", "decode", "m", "--on-error", "stop"], "5 x\n").refusal(), @r#"error: standard input, line 1: "x" is not a token id; expected whole numbers separated by spaces"#);
    assert_snapshot!(folder.run(&["tokenizer", "decode", "m", "99999"], "").refusal(), @"error: text 1: id 99999, but the tokenizer has ids 0 to 319");
}

#[test]
fn bleu_reads_references_and_prints_signatures() {
    let folder = Folder::new();
    folder.write("hyp", "the cat sat on the mat\n");
    folder.write("ref", "the cat sat on a mat\n");
    assert_snapshot!(folder.run(&["bleu", "hyp", "ref"], "").output(), @r"
    BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0 = 53.73 83.3/60.0/50.0/33.3 (BP = 1.000 ratio = 1.000 hyp_len = 6 ref_len = 6)
    chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0 = 72.08
    ");
}

#[test]
fn bleu_draws_its_resamples_by_the_seed() {
    let folder = Folder::new();
    let lines = |step: usize| -> String { (0..60).map(|i| format!("a{} b c{} d e f\n", i % step, i % 7)).collect() };
    for (name, step) in [("ref", 5), ("one", 4), ("two", 3)] {
        folder.write(name, lines(step));
    }
    let draw = |seed: &[&str]| folder.run(&[&["bleu", "one", "ref", "--paired", "two"], seed].concat(), "").output();
    assert_ne!(draw(&["--seed", "1"]), draw(&["--seed", "2"]));
    assert_eq!(draw(&["--seed", "12345"]), draw(&[]));
    assert!(draw(&["--seed", "7"]).contains("|seed:7|"));
}

#[test]
fn bleu_and_eval_leave_a_byte_order_mark_out() {
    let folder = Folder::new();
    folder.model();
    folder.write("en", "a dog runs\ntwo dogs\n");
    folder.write("de", "ein Hund\nzwei Hunde\n");
    folder.write("marked", "\u{feff}ein Hund\nzwei Hunde\n");
    let eval = |target: &str| {
        folder.run(&["eval", "m", "--json", "--source", "en", "--target", target, "--save-hypotheses", "hyp"], "")
    };
    assert_eq!(eval("de").output(), eval("marked").output());
    let bleu = |files: [&str; 2]| folder.run(&[&["bleu", "--json"], &files[..]].concat(), "");
    assert_eq!(bleu(["de", "marked"]).output(), bleu(["de", "de"]).output());
    let scores = |ran: crate::support::Ran| ran.objects()[0]["bleu"].clone();
    assert_eq!(scores(bleu(["hyp", "marked"])), scores(eval("marked")));
}
