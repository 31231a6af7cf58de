//! A TSV file whose first line names its columns and is read as an example, since nobody chose columns by name.

use std::path::Path;

use super::lines::LineReader;
use super::tsv::Columns;

/// Usual names of the columns of pairs, of prompts with completions, and of what stands beside them.
const NAMES: [&str; 33] = [
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
    "sentence",
    "sentence1",
    "sentence2",
    "premise",
    "hypothesis",
    "gold_label",
    "labels",
    "category",
    "translation",
    "reference",
    "id",
    "score",
    "license",
    "attribution",
    "domain",
];

/// Languages by which columns are named.
const LANGUAGES: [&str; 24] = [
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "ro", "ru", "uk", "tr", "ar", "zh", "ja", "ko", "hi", "vi",
    "fi", "sv", "da", "el", "hu",
];

/// The same, by their names.
const LANGUAGE_NAMES: [&str; 24] = [
    "english",
    "german",
    "french",
    "spanish",
    "italian",
    "portuguese",
    "dutch",
    "polish",
    "czech",
    "romanian",
    "russian",
    "ukrainian",
    "turkish",
    "arabic",
    "chinese",
    "japanese",
    "korean",
    "hindi",
    "vietnamese",
    "finnish",
    "swedish",
    "danish",
    "greek",
    "hungarian",
];

/// What is told of a TSV file whose first line holds nothing but usual names of columns, in the columns that are chosen by
/// number or else in all; `None` of any other, and where columns are chosen by the names in a header.
pub fn note(path: &Path, columns: Option<&Columns>) -> Option<String> {
    if matches!(columns, Some(Columns::Names(..))) {
        return None;
    }
    let first = LineReader::open(path).ok()?.next()?.ok()?;
    let cells: Vec<&str> = first.split('\t').map(str::trim).collect();
    let chosen = match columns {
        Some(Columns::Numbers(first, second)) => {
            vec![*cells.get(first.checked_sub(1)?)?, *cells.get(second.checked_sub(1)?)?]
        }
        _ => cells.clone(),
    };
    are_names(&chosen).then(|| {
        format!(
            "{}: line 1 looks like a header ({}) and is used as an example: it is a header where columns are chosen by name",
            path.display(),
            cells.join(", ")
        )
    })
}

/// The cells of a line that holds nothing but usual names of columns.
pub fn names(line: &str) -> Option<Vec<String>> {
    let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
    are_names(&cells).then(|| cells.into_iter().map(str::to_owned).collect())
}

/// Whether all cells, of which there are several, are usual names of columns.
fn are_names(cells: &[&str]) -> bool {
    let is_known = |cell: &&str| {
        let name = cell.to_lowercase();
        [&NAMES[..], &LANGUAGES, &LANGUAGE_NAMES].iter().any(|known| known.contains(&name.as_str()))
    };
    cells.len() > 1 && cells.iter().all(is_known)
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
            ("English\tGerman", true),
            ("id\tsentence\tid\ttranslation", true),
            ("de\ten\tdomain", true),
            ("en\ttarget text", false),
            ("answer\tdie Antwort", false),
            ("source", false),
        ] {
            std::fs::write(&path, format!("{first}\na dog\tein Hund\n")).unwrap();
            assert_eq!(note(&path, None).is_some(), is_header, "{first}");
            assert_eq!(note(&path, Some(&Columns::Numbers(1, 2))).is_some(), is_header, "{first}");
            assert_eq!(note(&path, Some(&Columns::Names("en".into(), "de".into()))), None);
        }
        assert_eq!(note(&folder.path().join("none.tsv"), None), None);
    }
}
