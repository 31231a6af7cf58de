//! A text as one sequence of tokens.

use std::path::Path;

use super::super::documents::PIECE_BYTES;
use super::*;

fn ids(whole: &Whole) -> Vec<u32> {
    whole.tokens.read(0..whole.tokens.len()).unwrap()
}

#[test]
fn a_file_is_one_text_and_end_tokens_stand_between_documents() {
    let dir = TempDir::new().unwrap();
    let end = BYTES.special().eos.unwrap();
    let open = |path: &Path| Whole::open(path, "text", &BYTES, &mut Err).unwrap();
    let plain = open(&write(&dir, "a.txt", "das haus\n\n das\n"));
    assert_eq!((ids(&plain), plain.bytes), (encode(&BYTES, "das haus\n\n das\n"), Some(15)));
    assert_eq!(ids(&open(&write(&dir, "a.gz", gzip("das haus\n\n das\n")))), ids(&plain));
    let lines = "{\"text\": \"das\"}\n{\"text\": \"\"}\n{\"text\": \"haus\"}\n";
    let objects = open(&write(&dir, "lines/b.jsonl", lines));
    let joined = [encode(&BYTES, "das"), vec![end], encode(&BYTES, "haus")].concat();
    assert_eq!((ids(&objects), objects.bytes), (joined.clone(), Some(7)));
    write(&dir, "lines/.hidden", "x");
    write(&dir, "lines/c.txt", "das");
    let both = open(&dir.path().join("lines"));
    assert_eq!((ids(&both), both.hidden), ([joined, vec![end], encode(&BYTES, "das")].concat(), 1));
    assert_eq!(ids(&both.begun_by(end).unwrap())[..2], [end, encode(&BYTES, "das")[0]]);
}

#[test]
fn a_long_text_has_the_tokens_of_the_whole() {
    let dir = TempDir::new().unwrap();
    let text = long_text(3);
    let whole = Whole::open(&write(&dir, "a.txt", &text), "text", &BYTES, &mut Err).unwrap();
    assert!(text.len() > PIECE_BYTES);
    assert_eq!((ids(&whole), whole.bytes), (encode(&BYTES, &text), Some(text.len() as u64)));
    let unknown = Whole::open(&write(&dir, "b.txt", "hase ♞"), "text", &CHARACTERS, &mut Err).unwrap();
    assert_eq!((unknown.unknown_tokens, &unknown.unknown.examples[..]), (1, &["♞".to_owned()][..]));
    assert!(unknown.unknown.first_places[0].ends_with("b.txt, document at line 1"), "{:?}", unknown.unknown);
}

#[test]
fn token_files_are_read_as_they_lie() {
    let dir = TempDir::new().unwrap();
    let text = write(&dir, "a.txt", long_text(4));
    let made = dir.path().join("made");
    let report = prepare(&job(&[&text], Boundary::Line, PrepareOptions::default()), &BYTES, &made, &mut |_| {});
    let report = report.unwrap();
    let open = |name: &str| Whole::open(&made.join(name), "text", &BYTES, &mut Err);
    let (train, val, directory) = (open("train.bin").unwrap(), open("val.bin").unwrap(), open("").unwrap());
    assert_eq!((train.tokens.len() as u64, train.bytes), (report.train.tokens, Some(report.train.bytes)));
    assert_eq!((val.tokens.len() as u64, val.bytes), (report.val.tokens, Some(report.val.bytes)));
    assert_eq!(ids(&directory), ids(&val));
    let message = Whole::open(&made, "text", &CHARACTERS, &mut Err).unwrap_err().to_string();
    assert!(message.contains("tokens.json: tokenizer_hash is "), "{message}");
    // Without its description a file is tokens and nothing else.
    std::fs::copy(made.join("val.bin"), dir.path().join("other.bin")).unwrap();
    let bare = Whole::open(&dir.path().join("other.bin"), "text", &BYTES, &mut Err).unwrap();
    assert_eq!((ids(&bare), bare.bytes), (ids(&val), None));
}

#[test]
fn a_text_of_nothing_is_refused() {
    let dir = TempDir::new().unwrap();
    for name in ["a.txt", "a.jsonl", "a.bin"] {
        let error = Whole::open(&write(&dir, name, ""), "text", &BYTES, &mut Err).unwrap_err();
        assert!(matches!(&error, Error::Empty { .. }), "{error}");
        assert!(error.to_string().contains(name));
    }
}
