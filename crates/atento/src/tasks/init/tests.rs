//! Drafts of recipes for the forms that data come in.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn drafted(files: &[PathBuf], wishes: &Wishes) -> String {
    draft(files, wishes).unwrap()
}

/// The draft as a recipe, which its files have to bear.
fn recipe(files: &[PathBuf], wishes: &Wishes) -> crate::train::recipe::Recipe {
    let text = drafted(files, wishes);
    crate::train::recipe::Recipe::read_text(&text, "the draft").unwrap_or_else(|error| panic!("{error}\n{text}")).recipe
}

fn refused(files: &[PathBuf], wishes: &Wishes) -> String {
    draft(files, wishes).unwrap_err().to_string()
}

const ENGLISH: [&str; 4] = ["a dog runs fast", "two men sit there", "the child plays outside", "she reads a book"];
const GERMAN: [&str; 4] =
    ["ein Hund läuft schnell", "zwei Männer sitzen da", "das Kind spielt draußen", "sie liest ein Buch"];

fn pairs(rest: &str, ends: &str) -> String {
    let row = |i: usize| format!("{} {i}\t{} {i}{rest}{ends}", ENGLISH[i % 4], GERMAN[i % 4]);
    (0..60).map(row).collect()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn pairs_with_credits_and_blank_lines_are_to_be_translated() {
    let folder = Folder::new();
    let rows = pairs("\tCC-BY 2.0 (France) Attribution: #1", "\r\n") + "\r\n\r\nonly one column\r\n";
    let path = folder.write("messy.tsv", ["\u{feff}", &rows].concat());
    let wishes = Wishes { minutes: Some(5.0), ..Wishes::default() };
    let text = drafted(std::slice::from_ref(&path), &wishes);
    let recipe = recipe(std::slice::from_ref(&path), &wishes);
    assert_eq!(recipe.task.word(), "translation");
    let train = recipe.data.train.unwrap();
    assert_eq!(
        (train.tsv, train.source_key.as_deref(), train.target_key.as_deref()),
        (Some(path), Some("1"), Some("2"))
    );
    assert_eq!((recipe.data.valid_fraction, recipe.train.max_minutes), (0.05, Some(5.0)));
    for seen in ["61 rows, 2 blank ones", "Column 2: Latin letters with ä, ß, 5", "where rows come from, left out"] {
        assert!(text.contains(seen), "{seen} in\n{text}");
    }
    assert!(
        text.contains("1 rows have another number of columns than the first, or")
            && text.contains("on_bad_line = \"skip\""),
        "{text}"
    );
}

#[test]
fn two_files_and_their_sets_belong_together() {
    let folder = Folder::new();
    let lines =
        |sentences: &[&str]| sentences.iter().cycle().take(40).map(|line| format!("{line}\n")).collect::<String>();
    let files: Vec<PathBuf> =
        [("train.en", &ENGLISH), ("train.de", &GERMAN), ("val.en", &ENGLISH), ("val.de", &GERMAN)]
            .into_iter()
            .map(|(name, sentences)| folder.write(name, lines(sentences)))
            .collect();
    let data = recipe(&files, &Wishes::default()).data;
    let (train, valid) = (data.train.unwrap(), data.valid.unwrap());
    assert_eq!((train.source, train.target), (Some(files[0].clone()), Some(files[1].clone())));
    assert_eq!((valid.source, valid.target), (Some(files[2].clone()), Some(files[3].clone())));
    let short = folder.write("short.de", "ein Hund\n");
    let message = refused(&[files[0].clone(), short.clone()], &Wishes::default());
    assert_eq!(
        message,
        format!(
            "{} has 40 lines and {} has 1: lines of the same number belong together, so there are as many",
            name(&files[0]),
            name(&short)
        )
    );
}

#[test]
fn labels_prompts_conversations_and_texts_are_known() {
    let folder = Folder::new();
    let labels: String = (0..60).map(|i| format!("{} {i}\t{}\n", ENGLISH[i % 4], ["good", "bad"][i % 2])).collect();
    let labels = folder.write("reviews.tsv", labels);
    let found = recipe(std::slice::from_ref(&labels), &Wishes::default());
    assert_eq!((found.task.word(), found.data.train.unwrap().tsv), ("classify", Some(labels)));

    let csv: String = (0..9).map(|i| format!("{},{}\n", ENGLISH[i % 4], GERMAN[i % 4])).collect();
    let csv = folder.write("answers.csv", format!("question,answer\n{csv}"));
    let found = recipe(std::slice::from_ref(&csv), &Wishes::default());
    let train = found.data.train.unwrap();
    assert_eq!((found.task.word(), train.prompt_key.as_deref()), ("instruct", Some("question")));

    let chats = folder.write("chats.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}\n");
    assert_eq!(recipe(&[chats], &Wishes::default()).task.word(), "instruct");
    let book = folder.write("book.txt", ENGLISH.join("\n").repeat(30));
    assert_eq!(recipe(std::slice::from_ref(&book), &Wishes::default()).data.text, Some(book));
    let values: String = (0..30).map(|i| format!("{}\t{}.5\n", ENGLISH[i % 4], i % 5)).collect();
    assert_eq!(recipe(&[folder.write("values.tsv", values)], &Wishes::default()).task.word(), "regress");
}

#[test]
fn pairs_stand_in_csv_and_a_record_of_another_length_is_left_out() {
    let folder = Folder::new();
    let rows: String = (0..40).map(|i| format!("{i},\"{}, {i}\",{} {i}\n", ENGLISH[i % 4], GERMAN[i % 4])).collect();
    let path = folder.write("pairs.csv", format!("id,en,de\n{rows}too short\n"));
    let data = recipe(std::slice::from_ref(&path), &Wishes::default()).data;
    let train = data.train.unwrap();
    assert_eq!(
        (train.csv, train.source_key.as_deref(), train.target_key.as_deref()),
        (Some(path), Some("en"), Some("de"))
    );
    assert_eq!(data.on_bad_line, crate::train::recipe::OnBadLine::Skip);
}

#[test]
fn a_csv_file_whose_first_line_names_no_columns_is_refused() {
    let folder = Folder::new();
    let row = |i: usize| format!("{} at {i};{}\n", ENGLISH[i % 4], GERMAN[i % 4]);
    let rows: String = (0..9).map(row).collect();
    for (text, expected) in [
        (format!("en;de\n{rows}"), "line 1: the first line has semicolons"),
        (rows.replace(';', ","), "line 1: the first line names the columns, and"),
        (format!("text,text\n{}", rows.replace(';', ",")), "line 1: two columns are named"),
    ] {
        let message = refused(&[folder.write("x.csv", text)], &Wishes::default());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn json_is_told_apart_by_what_it_holds() {
    let folder = Folder::new();
    let squad = "{\"version\": \"1.1\",\n \"data\": [{\"paragraphs\": []}]}";
    for text in [squad.to_owned(), squad.replace('\n', "")] {
        let path = folder.write("train.json", text);
        let found = recipe(std::slice::from_ref(&path), &Wishes::default());
        assert_eq!((found.task.word(), found.data.train.unwrap().squad), ("qa", Some(path)));
    }
    let objects: String = (0..40)
        .map(|i| format!("{{\"source\": \"{} {i}\", \"target\": \"{} {i}\"}}\n", ENGLISH[i % 4], GERMAN[i % 4]))
        .collect();
    let path = folder.write("pairs.json", &objects);
    let found = recipe(std::slice::from_ref(&path), &Wishes::default());
    assert_eq!((found.task.word(), found.data.train.unwrap().jsonl), ("translation", Some(path)));
    let array = folder.write("array.json", format!("[\n{}]", objects.trim_end().replace('\n', ",\n")));
    let message = refused(&[array], &Wishes::default());
    assert!(message.contains("array.json is one JSON array") && message.contains("jq -c '.[]'"), "{message}");
    let other = folder.write("other.json", "{\n  \"name\": 1\n}\n");
    assert!(refused(&[other], &Wishes::default()).contains("is neither of SQuAD's form"));
}

#[test]
fn what_fits_no_task_is_refused_with_what_was_seen() {
    let folder = Folder::new();
    let numbers = folder.write("numbers.tsv", "1\t2\n3\t4\n5\t6\n");
    let message = refused(std::slice::from_ref(&numbers), &Wishes::default());
    assert!(message.contains("of its columns 0 hold texts"), "{message}");
    let book = folder.write("book.txt", "a dog runs\n");
    let wishes = Wishes { task: crate::train::recipe::Task::named("classify"), ..Wishes::default() };
    let message = refused(std::slice::from_ref(&book), &wishes);
    assert!(message.starts_with("these data hold text without answers: they are for causal-lm"), "{message}");
    let message = refused(&[numbers, book], &Wishes::default());
    assert!(message.contains("have different forms"), "{message}");
    assert!(refused(&[], &Wishes::default()).starts_with("no data is named"));
    let empty = folder.write("empty.tsv", "");
    assert!(refused(&[empty], &Wishes::default()).ends_with("the file is empty"));
    let json = folder.write("broken.jsonl", "{\"a\": 1}\nnot json\n");
    assert!(refused(&[json], &Wishes::default()).contains("broken.jsonl, line 2: "));
}
