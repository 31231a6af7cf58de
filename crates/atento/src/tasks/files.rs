//! What tasks that learn from pairs of texts ask of the files that hold them.

use crate::data::{OnBadLine, OnTruncate};
use crate::messages;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, Error, FileSettings, Place, Recipe};

/// The parts of the data that the recipe names, each with its key.
pub(super) fn parts(data: &DataSettings) -> impl Iterator<Item = (&'static str, &FileSettings)> {
    let parts = [("data.train", &data.train), ("data.valid", &data.valid), ("data.test", &data.test)];
    parts.into_iter().filter_map(|(key, files)| Some((key, files.as_ref()?)))
}

/// The names of the files that are given.
pub(super) fn given(files: &FileSettings) -> Vec<&'static str> {
    let FileSettings { source, target, tsv, jsonl, csv, conll, squad, .. } = files;
    let named = [("source", source), ("target", target), ("tsv", tsv), ("jsonl", jsonl), ("csv", csv)];
    let named = named.into_iter().chain([("conll", conll), ("squad", squad)]);
    named.filter_map(|(name, path)| path.as_ref().map(|_| name)).collect()
}

pub(super) fn enumerate(names: &[&str]) -> String {
    if names.is_empty() { "none of them".to_string() } else { format!("`{}`", names.join("` and `")) }
}

/// Refuses keys of the two sides that another task has, or that go with another of the files in `with`.
pub(super) fn key_conflicts(
    key: &str,
    files: &FileSettings,
    task: &str,
    own: [&str; 2],
    with: &[&str],
    place: &dyn Fn(&str) -> Place,
) -> Result<(), Error> {
    let [first, second] = own;
    let FileSettings { source_key, target_key, prompt_key, completion_key, .. } = files;
    let keys = [
        ("source_key", source_key),
        ("target_key", target_key),
        ("prompt_key", prompt_key),
        ("completion_key", completion_key),
    ];
    let stated = keys.iter().filter_map(|(name, value)| value.as_ref().map(|_| *name));
    for name in stated {
        if !own.contains(&name) {
            let message =
                format!("`{key}.{name}` does not go with `task` \"{task}\": here they are `{first}` and `{second}`");
            return conflict(place(&format!("{key}.{name}")), message);
        }
        if !given(files).iter().any(|file| with.contains(file)) {
            let files = with.iter().map(|file| format!("`{key}.{file}`")).collect::<Vec<_>>().join(" and ");
            return conflict(place(key), format!("`{key}.{first}` and `{key}.{second}` go with {files} only"));
        }
    }
    let values = own.map(|name| keys.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.as_ref()));
    if let [Some(value), Some(other)] = values
        && value == other
    {
        let message = format!("`{key}.{first}` and `{key}.{second}` are both {}", messages::text(value));
        return conflict(place(&format!("{key}.{second}")), message);
    }
    Ok(())
}

/// What the recipe does with an example that is too long.
pub(super) fn on_truncate(recipe: &Recipe) -> OnTruncate {
    match recipe.data.on_truncate {
        recipe::OnTruncate::Error => OnTruncate::Error,
        recipe::OnTruncate::Warn => OnTruncate::Warn,
        recipe::OnTruncate::Drop => OnTruncate::Drop,
        recipe::OnTruncate::Split => OnTruncate::Split,
    }
}

/// What the recipe does with a line that holds no example.
pub(super) fn on_bad_line(recipe: &Recipe) -> OnBadLine {
    match recipe.data.on_bad_line {
        recipe::OnBadLine::Error => OnBadLine::Error,
        recipe::OnBadLine::Skip => OnBadLine::Skip,
    }
}
