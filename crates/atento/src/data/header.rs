//! A TSV file whose first line names its columns, which TSV here does not have.

use std::path::Path;

use super::lines::LineReader;

/// Names of the two columns of pairs and of prompts with completions.
const NAMES: [&str; 20] = [
    "source",
    "target",
    "src",
    "tgt",
    "trg",
    "prompt",
    "completion",
    "question",
    "answer",
    "query",
    "input",
    "output",
    "instruction",
    "response",
    "text",
    "label",
    "context",
    "summary",
    "sentence1",
    "sentence2",
];

/// Languages by which columns are named.
const LANGUAGES: [&str; 24] = [
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "ro", "ru", "uk", "tr", "ar", "zh", "ja", "ko", "hi", "vi",
    "fi", "sv", "da", "el", "hu",
];

/// What is told of a TSV file whose first line holds nothing but usual names of columns; `None` of any other.
pub fn note(path: &Path) -> Option<String> {
    let first = LineReader::open(path).ok()?.next()?.ok()?;
    let names = || first.split('\t').map(|name| name.trim().to_lowercase());
    let all = |known: &[&str]| names().all(|name| known.contains(&name.as_str()));
    (names().count() > 1 && (all(&NAMES) || all(&LANGUAGES))).then(|| {
        let (path, shown) = (path.display(), first.split('\t').map(str::trim).collect::<Vec<_>>().join(", "));
        format!("{path}: line 1 looks like a header ({shown}) and is used as an example: TSV has no header, CSV does")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_names_alone_looks_like_a_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.tsv");
        for (first, is_header) in [
            ("source\ttarget", true),
            ("SRC\t TGT", true),
            ("en\tde", true),
            ("question\tanswer", true),
            ("en\ttarget text", false),
            ("answer\tdie Antwort", false),
            ("source", false),
        ] {
            std::fs::write(&path, format!("{first}\na dog\tein Hund\n")).unwrap();
            assert_eq!(note(&path).is_some(), is_header, "{first}");
        }
        assert_eq!(note(&folder.path().join("none.tsv")), None);
    }
}
