//! What becomes of documents: which side they are on, what is left out, what separates them.

use super::super::documents::PIECE_BYTES;
use super::super::report::SplitUsed;
use super::*;

#[test]
fn a_single_text_is_split_at_a_character_as_nanogpt_does() {
    let dir = TempDir::new().unwrap();
    let text = sentences(2, 40).join("\n");
    let made = make(&job(&[&write(&dir, "a.txt", &text)], Boundary::File, PrepareOptions::default()), &CHARACTERS);
    let made = made.unwrap();
    let characters: Vec<char> = text.chars().collect();
    let cut = (characters.len() as f64 * 0.9) as usize;
    let [head, tail] = [&characters[..cut], &characters[cut..]].map(|half| half.iter().collect::<String>());
    assert_eq!(made.train, encode(&CHARACTERS, &head));
    assert_eq!(made.val, encode(&CHARACTERS, &tail));
    let (report, unknown) = (&made.report, made.report.train.unknown_tokens + made.report.val.unknown_tokens);
    assert_eq!(report.split, SplitUsed::Tail { first_character: cut as u64, only_document: true });
    assert_eq!((report.documents, report.train.documents, report.val.documents, unknown), (1, 1, 1, 0));
    assert_eq!((report.train.bytes as usize, report.val.bytes as usize), (head.len(), tail.len()));
    assert_eq!(made.sidecar.end_token, None);
    assert!(report.to_string().contains("(there is only one document)"), "{report}");
}

#[test]
fn a_tail_split_cuts_through_many_documents_once() {
    let dir = TempDir::new().unwrap();
    let lines = sentences(3, 50);
    let path = write(&dir, "a.txt", format!("{}\n\n\n", lines.join("\n")));
    let options = PrepareOptions { split: Split::Tail, valid_fraction: 0.3, ..PrepareOptions::default() };
    let made = make(&job(&[&path], Boundary::Line, options), &CHARACTERS).unwrap();
    let all: String = lines.concat();
    let end = CHARACTERS.special().eos.unwrap();
    let text = |ids: &[u32]| {
        let ids: Vec<u32> = ids.iter().copied().filter(|&id| id != end).collect();
        CHARACTERS.decode(&ids, false).unwrap()
    };
    assert_eq!(text(&made.train) + &text(&made.val), all);
    assert_eq!(made.report.train.characters, (all.chars().count() as f64 * 0.7) as u64);
    assert_eq!((made.report.documents, made.report.empty), (52, 2));
    let ends = |ids: &[u32]| ids.iter().filter(|&&id| id == end).count();
    assert_eq!(ends(&made.train) + ends(&made.val), 50);
    assert_eq!(made.report.train.documents + made.report.val.documents, 51);
}

#[test]
fn documents_are_on_one_side_by_their_text_alone() {
    let dir = TempDir::new().unwrap();
    let mut lines = sentences(4, 400);
    let options = PrepareOptions { valid_fraction: 0.25, seed: 7, ..PrepareOptions::default() };
    let sides = |lines: &[String], options: &PrepareOptions| -> [HashSet<String>; 2] {
        let path = write(&dir, "lines", lines.join("\n"));
        let made = make(&job(&[&path], Boundary::Line, options.clone()), &BYTES).unwrap();
        assert_eq!(made.report.split, SplitUsed::Documents);
        [made.train, made.val].map(|ids| documents(&BYTES, &ids).into_iter().collect())
    };
    let [train, val] = sides(&lines, &options);
    assert!(train.is_disjoint(&val));
    assert_eq!(train.len() + val.len(), lines.iter().collect::<HashSet<_>>().len());
    assert!((70..130).contains(&val.len()), "{}", val.len());
    Rng::new(1, 1).shuffle(&mut lines);
    assert_eq!(sides(&lines, &options), [train.clone(), val.clone()]);
    let [_, fewer] = sides(&lines[..200], &options);
    assert!(fewer.is_subset(&val));
    assert_ne!(sides(&lines, &PrepareOptions { seed: 8, ..options.clone() })[1], val);
    let made = make(
        &job(&[&write(&dir, "lines", "a\nb")], Boundary::Line, PrepareOptions { valid_fraction: 0.0, ..options }),
        &BYTES,
    );
    assert_eq!((made.as_ref().unwrap().report.split.clone(), made.unwrap().val.len()), (SplitUsed::None, 0));
}

#[test]
fn two_documents_are_cut_on_a_line_and_the_report_says_where() {
    let dir = TempDir::new().unwrap();
    let texts = [sentences(21, 300).join("\n"), sentences(22, 10).join("\n")];
    let paths = texts.each_ref().map(|text| write(&dir, &format!("{}.txt", text.len()), text));
    for (seed, drop_duplicates) in [(1, false), (2, false), (3, true)] {
        let options = PrepareOptions { seed, drop_duplicates, ..PrepareOptions::default() };
        // The second copy of the first is cut as the first is.
        let job = job(&[&paths[0], &paths[1], &paths[0]], Boundary::File, options);
        let made = make(&job, &CHARACTERS).unwrap();
        let copies = if drop_duplicates { 1 } else { 2 };
        let all = texts[0].len() * copies + texts[1].len();
        let share = made.report.val.bytes as f64 / all as f64;
        assert!((0.07..0.13).contains(&share), "{share}");
        let val = documents(&CHARACTERS, &made.val);
        assert_eq!(val.len(), copies);
        assert!(val.iter().all(|end| texts[0].ends_with(&format!("\n{end}"))), "{val:?}");
        let start = texts[0].strip_suffix(&val[0]).unwrap();
        let expected: Vec<&str> = [start, &texts[1], start].into_iter().take(1 + copies).collect();
        assert_eq!(documents(&CHARACTERS, &made.train), expected);
        let place = format!("{}, document at line 1", paths[0].display());
        let SplitUsed::Cut { document, bytes } = &made.report.split else { panic!("{:?}", made.report.split) };
        assert_eq!((document, *bytes * copies as u64), (&place, made.report.val.bytes));
        assert!(made.report.notes()[0].contains(&place), "{:?}", made.report.notes());
    }
}

#[test]
fn a_cut_document_of_many_pieces_is_whole_on_both_sides_together() {
    let dir = TempDir::new().unwrap();
    let texts = [[long_text(31), long_text(32)].join("\n"), "ha us".to_owned()];
    assert!(texts[0].len() > 2 * PIECE_BYTES);
    let paths = texts.each_ref().map(|text| write(&dir, &format!("{}.txt", text.len()), text));
    for valid_fraction in [0.1, 0.5, 0.9] {
        let options = PrepareOptions { valid_fraction, ..PrepareOptions::default() };
        let made = make(&job(&[&paths[0], &paths[1]], Boundary::File, options), &BYTES).unwrap();
        let share = made.report.val.bytes as f64 / texts.concat().len() as f64;
        assert!((share - valid_fraction).abs() < 0.2 * valid_fraction, "{share}");
        let (train, val) = (documents(&BYTES, &made.train), documents(&BYTES, &made.val));
        let rest = val.iter().max_by_key(|text| text.len()).unwrap();
        assert_eq!(format!("{}{rest}", train[0]), texts[0]);
    }
}

#[test]
fn validation_that_cannot_be_or_is_trained_on_is_told() {
    let dir = TempDir::new().unwrap();
    let notes = |text: &str, options: PrepareOptions| {
        make(&job(&[&write(&dir, "a", text)], Boundary::Line, options), &BYTES).unwrap().report.notes()
    };
    let tiny = PrepareOptions { valid_fraction: 0.01, ..PrepareOptions::default() };
    assert!(notes("ha\nus\nen", tiny)[0].starts_with("no validation: the text is too short"));
    assert!(notes("ha\nus", PrepareOptions { valid_fraction: 0.0, ..PrepareOptions::default() }).is_empty());
    let many = sentences(23, 500).join("\n");
    assert_eq!(notes(&many, PrepareOptions::default()), [""; 0]);
    let mut job = job(&[&write(&dir, "a", "ha\nus\n")], Boundary::Line, PrepareOptions::default());
    job.valid = Some(TextSource { boundary: Boundary::Line, ..TextSource::new([write(&dir, "b", "us\n")]) });
    let told = make(&job, &BYTES).unwrap().report.notes();
    assert!(told[0].starts_with("1 document of the training text is in the validation text too"), "{told:?}");
}

#[test]
fn empty_documents_and_duplicates_are_counted() {
    let dir = TempDir::new().unwrap();
    let path = write(
        &dir,
        "a.jsonl",
        "{\"text\":\"a\"}\n{\"text\":\"q\"}\n{\"text\":\"a\"}\n{\"text\":\" \\n\"}\n{\"text\":\"a\"}\n",
    );
    let options = PrepareOptions { valid_fraction: 0.0, ..PrepareOptions::default() };
    let made = make(&job(&[&path], Boundary::File, options.clone()), &CHARACTERS).unwrap();
    let report = made.report;
    assert_eq!((report.documents, report.empty, report.duplicates, report.duplicates_dropped), (5, 1, 2, 0));
    assert_eq!((report.train.documents, report.train.characters, report.train.tokens), (4, 4, 8));
    let dropping = PrepareOptions { drop_duplicates: true, ..options };
    let made = make(&job(&[&path], Boundary::File, dropping), &CHARACTERS).unwrap();
    assert_eq!(documents(&CHARACTERS, &made.train), ["a", "<unk>"]);
    let report = made.report;
    assert_eq!((report.duplicates, report.duplicates_dropped, report.train.documents), (2, 2, 2));
    assert_eq!(report.train.unknown_tokens, 1);
    let blank = write(&dir, "blank", " \n \n");
    let message =
        make(&job(&[&blank], Boundary::Line, PrepareOptions::default()), &CHARACTERS).err().unwrap().to_string();
    assert!(message.contains("nothing is left to train on:\ndocuments: 2 in 1 file\n  2 empty"), "{message}");
}

#[test]
fn validation_files_count_as_earlier_documents() {
    let dir = TempDir::new().unwrap();
    let (train, valid) = (write(&dir, "train", "ha\nus\nen\nus\n"), write(&dir, "valid", "us\nth\n"));
    let mut job = job(&[&train], Boundary::Line, PrepareOptions::default());
    job.valid = Some(TextSource { boundary: Boundary::Line, ..TextSource::new([valid]) });
    let made = make(&job, &BYTES).unwrap();
    assert_eq!(documents(&BYTES, &made.train), ["ha", "us", "en", "us"]);
    assert_eq!(documents(&BYTES, &made.val), ["us", "th"]);
    assert_eq!((made.report.split, made.report.duplicates, made.report.in_both_splits), (SplitUsed::Files, 2, 2));
    job.options.drop_duplicates = true;
    let made = make(&job, &BYTES).unwrap();
    assert_eq!(documents(&BYTES, &made.train), ["ha", "en"]);
    assert_eq!((made.report.files, made.report.duplicates_dropped, made.report.in_both_splits), (2, 2, 2));
    job.options.split = Split::Documents;
    assert!(make(&job, &BYTES).err().unwrap().to_string().starts_with("split = documents"));
}

#[test]
fn without_an_end_token_the_separators_stay() {
    let dir = TempDir::new().unwrap();
    let options =
        PrepareOptions { end_token: false, split: Split::Documents, valid_fraction: 0.0, ..PrepareOptions::default() };
    for (boundary, text, expected) in [
        (Boundary::Line, "ha\r\nus", "ha\nus\n"),
        (Boundary::BlankLine, "ha\nen\n\n\nus\n", "ha\nen\n\nus\n\n"),
        (Boundary::File, "ha\r\n\nus", "ha\r\n\nus"),
    ] {
        let made = make(&job(&[&write(&dir, "a", text)], boundary, options.clone()), &BYTES).unwrap();
        assert_eq!(BYTES.decode(&made.train, false).unwrap(), expected);
        assert_eq!(made.sidecar.end_token, None);
    }
}

#[test]
fn an_end_token_in_the_text_is_counted() {
    let dir = TempDir::new().unwrap();
    let path = write(&dir, "a", "ha</s>us\nen\n");
    let options = PrepareOptions { valid_fraction: 0.0, ..PrepareOptions::default() };
    let made = make(&job(&[&path], Boundary::Line, options), &BYTES).unwrap();
    assert_eq!((made.report.train.end_tokens_in_text, made.report.train.documents), (1, 2));
    assert!(made.report.to_string().contains("1 end tokens spelled out in the text"), "{}", made.report);
}

#[test]
fn a_long_document_has_the_tokens_of_the_whole_and_ends_up_on_its_side() {
    let dir = TempDir::new().unwrap();
    let texts = [long_text(5), "ha us".to_owned(), long_text(6), long_text(5)];
    assert!(texts[0].len() > PIECE_BYTES && texts[2].len() > PIECE_BYTES);
    let name = |(at, text): (usize, &String)| write(&dir, &format!("{at}.txt"), text);
    let paths: Vec<PathBuf> = texts.iter().enumerate().map(name).collect();
    let paths: Vec<&PathBuf> = paths.iter().collect();
    let end = BYTES.special().eos.unwrap();
    let whole = texts.each_ref().map(|text| [encode(&BYTES, text), vec![end]].concat());
    let mut sides_seen = HashSet::new();
    for seed in 0..5 {
        for drop_duplicates in [false, true] {
            let (valid_fraction, split) = (0.5, Split::Documents);
            let options = PrepareOptions { valid_fraction, seed, drop_duplicates, split, ..PrepareOptions::default() };
            let made = match make(&job(&paths, Boundary::File, options), &BYTES) {
                Ok(made) => made,
                Err(error) => {
                    assert!(matches!(error, Error::NothingLeft { .. }), "{error}");
                    continue;
                }
            };
            let (mut train, mut val) = (&made.train[..], &made.val[..]);
            let (mut documents, mut bytes) = (0, 0);
            let used = if drop_duplicates { 3 } else { 4 };
            for (ids, text) in whole.iter().zip(&texts).take(used) {
                match val.strip_prefix(&ids[..]) {
                    Some(rest) => (val, documents, bytes) = (rest, documents + 1, bytes + text.len() as u64),
                    None => train = train.strip_prefix(&ids[..]).unwrap(),
                }
            }
            assert!(train.is_empty() && val.is_empty());
            let report = made.report;
            assert_eq!((report.val.documents, report.val.bytes), (documents, bytes));
            assert_eq!(report.train.documents, used as u64 - documents);
            assert_eq!((report.duplicates, report.in_both_splits), (1, 0));
            sides_seen.insert(documents);
        }
    }
    assert!(sides_seen.len() > 1, "{sides_seen:?}");
}

#[test]
fn the_files_do_not_depend_on_the_number_of_threads() {
    let dir = TempDir::new().unwrap();
    write(&dir, "in/a.txt", long_text(8));
    write(&dir, "in/b/c.txt.gz", gzip(&sentences(9, 50).join("\n")));
    let json = |text: String| serde_json::json!({ "text": text }).to_string();
    let lines: Vec<String> = sentences(10, 3000).into_iter().map(json).collect();
    write(&dir, "in/d.jsonl.gz", gzip(&lines.join("\n")));
    let files = |threads: usize, boundary| -> Vec<Vec<u8>> {
        let out = dir.path().join("out");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let job = job(&[&dir.path().join("in")], boundary, PrepareOptions::default());
        pool.install(|| prepare(&job, &BYTES, &out, &mut |_| {})).unwrap();
        let files = ["train.bin", "val.bin", "tokens.json"].map(|name| fs::read(out.join(name)).unwrap());
        fs::remove_dir_all(out).unwrap();
        files.to_vec()
    };
    for boundary in [Boundary::File, Boundary::Line] {
        let one = files(1, boundary);
        assert!(one.iter().all(|file| !file.is_empty()));
        assert_eq!(files(3, boundary), one);
    }
}
