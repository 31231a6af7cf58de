//! What is on the disk, and what is wrong with it; the last tests use real text where it is present.

use std::path::Path;

use super::super::report::SplitUsed;
use super::*;

#[test]
fn what_is_wrong_with_the_text_is_named_and_nothing_is_left_behind() {
    let dir = TempDir::new().unwrap();
    let fine = write(&dir, "fine.txt", "ha us\n");
    let bad = write(&dir, "bad.txt", b"ha\nf\xfcr\n");
    let message =
        make(&job(&[&fine, &bad], Boundary::File, PrepareOptions::default()), &BYTES).err().unwrap().to_string();
    assert!(message.contains("bad.txt, line 2: not valid UTF-8 at byte 1"), "{message}");
    let json = write(&dir, "bad.jsonl", "{\"text\": \"ha\"}\n{\"txt\": \"us\"}\n");
    let message = make(&job(&[&json], Boundary::File, PrepareOptions::default()), &BYTES).err().unwrap().to_string();
    assert!(message.contains("bad.jsonl, line 2: no value at key \"text\" (did you mean \"txt\"?)"), "{message}");
    for valid_fraction in [1.0, -0.1, f64::NAN] {
        let options = PrepareOptions { valid_fraction, ..PrepareOptions::default() };
        let message = make(&job(&[&fine], Boundary::File, options), &BYTES).err().unwrap().to_string();
        assert!(message.starts_with("valid_fraction = "), "{message}");
    }
    let options = PrepareOptions { split: Split::Tail, drop_duplicates: true, ..PrepareOptions::default() };
    assert!(make(&job(&[&fine], Boundary::File, options), &BYTES).is_err());
}

#[test]
fn an_output_that_exists_is_not_touched() {
    let dir = TempDir::new().unwrap();
    let job = job(&[&write(&dir, "a.txt", "ha us en th")], Boundary::File, PrepareOptions::default());
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    prepare(&job, &BYTES, &out, &mut |_| {}).unwrap();
    let before = fs::read(out.join("train.bin")).unwrap();
    let message = prepare(&job, &BYTES, &out, &mut |_| {}).unwrap_err().to_string();
    assert!(
        message.ends_with("out: exists already and is not an empty directory; remove it or name another"),
        "{message}"
    );
    assert_eq!(fs::read(out.join("train.bin")).unwrap(), before);
    assert!(matches!(prepare(&job, &BYTES, &dir.path().join("a.txt"), &mut |_| {}), Err(Error::Exists { .. })));
    let mut done = 0;
    prepare(&job, &BYTES, &dir.path().join("more/out"), &mut |bytes| done = bytes).unwrap();
    assert_eq!(done, 11);
}

#[test]
fn a_description_that_does_not_fit_is_refused() {
    let dir = TempDir::new().unwrap();
    let job = job(&[&write(&dir, "a.txt", sentences(1, 30).join("\n"))], Boundary::Line, PrepareOptions::default());
    let out = dir.path().join("out");
    prepare(&job, &BYTES, &out, &mut |_| {}).unwrap();
    let made = TokenDirectory::open(&out, Some(Dtype::Uint16)).unwrap();
    assert_eq!(made.sidecar.as_ref().unwrap().settings, job);
    assert_eq!(made.sidecar.as_ref().unwrap().end_token, BYTES.special().eos);
    let message = made.check_tokenizer(&CHARACTERS).unwrap_err().to_string();
    assert!(
        message.contains("tokens.json: tokenizer_hash is") && message.contains("made with another one"),
        "{message}"
    );
    let loaded = Tokenizer::from_json_bytes(&BYTES.to_json_bytes().unwrap()).unwrap();
    made.check_tokenizer(&loaded).unwrap();
    assert!(made.check_vocabulary(400).is_ok());
    let message = made.check_vocabulary(99).unwrap_err().to_string();
    assert!(message.contains("train.bin: token ") && message.contains("the vocabulary has ids below 99"), "{message}");
    let message = TokenDirectory::open(&out, Some(Dtype::Uint32)).unwrap_err().to_string();
    assert!(message.ends_with("tokens.json: dtype is uint16, but uint32 was asked for"), "{message}");
    let tokens = made.train.len();
    drop(made);
    fs::write(out.join("train.bin"), vec![0; 2 * tokens - 2]).unwrap();
    let message = TokenDirectory::open(&out, None).unwrap_err().to_string();
    let expected = format!("the number of tokens of train.bin is {tokens}, but the file has {}", tokens - 1);
    assert!(message.contains(&expected), "{message}");
    fs::write(out.join("tokens.json"), "{}").unwrap();
    let message = TokenDirectory::open(&out, None).unwrap_err().to_string();
    assert!(message.contains("tokens.json: not a description of token files"), "{message}");
}

#[test]
fn files_of_nanogpt_are_read_as_they_are() {
    let dir = TempDir::new().unwrap();
    let bytes = |ids: &[u16]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    write(&dir, "train.bin", bytes(&[15496, 11, 995, 50256]));
    let made = TokenDirectory::open(dir.path(), None).unwrap();
    assert!(made.val.is_none() && made.sidecar.is_none());
    assert_eq!(made.train.read(0..4).unwrap(), [15496, 11, 995, 50256]);
    made.check_tokenizer(&BYTES).unwrap();
    assert!(made.check_vocabulary(50257).is_ok());
    assert!(made.check_vocabulary(50256).unwrap_err().to_string().contains("token 3 has id 50256"));
    write(&dir, "val.bin", bytes(&[50256, 1, 7]));
    let message = TokenDirectory::open(dir.path(), Some(Dtype::Uint32)).unwrap_err().to_string();
    assert!(message.contains("val.bin: 6 bytes are no whole number of uint32 tokens"), "{message}");
}

#[test]
fn a_text_in_memory_has_the_tokens_of_its_file() {
    let dir = TempDir::new().unwrap();
    let text = sentences(2, 20).join("\n");
    let options = PrepareOptions { valid_fraction: 0.0, end_token: false, ..PrepareOptions::default() };
    let made = make(&job(&[&write(&dir, "a.txt", &text)], Boundary::File, options), &BYTES).unwrap();
    let shard = Shard::from_text("prompt", &text, &BYTES).unwrap();
    assert_eq!(shard.read(0..shard.len()).unwrap(), made.train);
    assert_eq!(Shard::from_text("prompt", "", &BYTES).unwrap_err().to_string(), "prompt: there are no tokens in it");
}

#[test]
fn a_large_vocabulary_is_written_in_four_bytes() {
    let vocab: serde_json::Map<_, _> = (0..70_000).map(|id| (format!("w{id}"), id.into())).collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "w0" },
    });
    let tokenizer = Tokenizer::from_json_bytes(json.to_string().as_bytes()).unwrap();
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "a.txt", "w1 w69999 w65536 w3");
    let made = make(
        &job(&[&path], Boundary::File, PrepareOptions { valid_fraction: 0.0, ..PrepareOptions::default() }),
        &tokenizer,
    );
    let made = made.unwrap();
    assert_eq!((made.train, made.sidecar.dtype), (vec![1, 69_999, 65_536, 3], Dtype::Uint32));
    assert_eq!(Dtype::for_vocabulary(65_536), Dtype::Uint16);
}

#[test]
fn lessons_are_the_text_and_teach_what_lines_teach() {
    let dir = TempDir::new().unwrap();
    let text = long_text(11);
    let source = TextSource::new([write(&dir, "a.txt", &text)]);
    let lessons: Vec<String> = source.lessons().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(lessons.concat(), text);
    let characters = Tokenizer::train(source.lessons().unwrap(), &TrainOptions::characters()).unwrap();
    let distinct: HashSet<char> = text.chars().collect();
    assert_eq!(characters.vocab_size(), 3 + distinct.len());
    assert!(characters.token_to_id("\n").is_some());
    let options = TrainOptions { kind: Kind::ByteLevelBpe, ..TrainOptions::default() };
    let by_lesson = Tokenizer::train(source.lessons().unwrap(), &options).unwrap();
    assert_eq!(by_lesson.to_json_bytes().unwrap(), train(vec![text], &options).to_json_bytes().unwrap());
    let bad = TextSource::new([write(&dir, "bad", b"\xff")]);
    assert_eq!(bad.lessons().unwrap().filter(Result::is_err).count(), 1);
}

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    path.exists().then_some(path)
}

#[test]
fn tiny_shakespeare_has_the_characters_and_the_split_of_nanogpt() {
    let Some(path) = shared("tinyshakespeare/input.txt") else { return };
    let source = TextSource::new([&path]);
    let tokenizer = Tokenizer::train(source.lessons().unwrap(), &TrainOptions::characters()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 65 + 3);
    let made = make(&job(&[&path], Boundary::File, PrepareOptions::default()), &tokenizer).unwrap();
    assert_eq!((made.report.train.tokens, made.report.val.tokens), (1_003_854, 111_540));
    assert_eq!(made.report.train.unknown_tokens + made.report.val.unknown_tokens, 0);
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(tokenizer.decode(&made.train, false).unwrap() + &tokenizer.decode(&made.val, false).unwrap(), text);
}

#[test]
fn the_paragraphs_of_wikitext_are_documents() {
    let Some(path) = shared("wikitext2/valid.txt") else { return };
    let made = make(&job(&[&path], Boundary::BlankLine, PrepareOptions::default()), &BYTES).unwrap();
    let report = made.report;
    assert_eq!(report.split, SplitUsed::Documents);
    assert_eq!(report.documents, report.train.documents + report.val.documents);
    let share = report.val.bytes as f64 / (report.train.bytes + report.val.bytes) as f64;
    assert!((0.07..0.13).contains(&share), "{share}");
}
