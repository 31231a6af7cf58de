//! What can be wrong with the texts and names an evaluation is given.

use crate::messages;

/// An evaluation refused its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is not a single hypothesis line.
    #[error("there are no hypotheses to score: give at least one line")]
    NoHypotheses,
    /// There is not a single reference stream.
    #[error("there are no references to score against: give at least one")]
    NoReferences,
    /// A reference stream and the hypotheses have different line counts.
    #[error(
        "reference {stream} has {references} lines but there are {hypotheses} hypotheses: \
         line n of every file must be the same sentence"
    )]
    LineCount {
        /// Number of the reference stream, counted from 1.
        stream: usize,
        /// Lines in that stream.
        references: usize,
        /// Hypothesis lines.
        hypotheses: usize,
    },
    /// A line has no reference in any stream.
    #[error("line {line} has no reference in any stream: drop the line or add a reference")]
    LineWithoutReference {
        /// The line, counted from 1.
        line: usize,
    },
    /// Two systems to compare were scored on different numbers of lines.
    #[error("the baseline has {baseline} lines but the system has {system}: compare the same lines")]
    SystemLineCount {
        /// Lines of the baseline.
        baseline: usize,
        /// Lines of the system.
        system: usize,
    },
    /// A bootstrap without resamples.
    #[error("the number of bootstrap resamples must be at least 1")]
    NoResamples,
    /// A label that says of no entity where it begins and ends.
    #[error(
        "the label {} says nothing of entities: labels are `O`, or one of the letters {} and a kind, such as `B-PER`",
        messages::quoted(found),
        spaced(letters)
    )]
    EntityLabel {
        /// The label.
        found: String,
        /// The letters that labels may begin with.
        letters: &'static str,
    },
    /// The labels found are not as many as those of the data.
    #[error("a text has {gold} labels in the data but {found} were found: every word has one of each")]
    EntityWords {
        /// Labels in the data.
        gold: usize,
        /// Labels found.
        found: usize,
    },
    /// A name is not one of those known.
    #[error("unknown {what} {}{}; known: {known}", messages::quoted(found), meant(*nearest))]
    UnknownName {
        /// The kind of thing named, such as "tokenizer".
        what: &'static str,
        /// The name given.
        found: String,
        /// The known name that is nearly spelled so, if one is.
        nearest: Option<&'static str>,
        /// All known names, separated by commas.
        known: String,
    },
}

impl Error {
    /// Names the known spellings, and the one that is near `found`.
    pub(crate) fn unknown_name(what: &'static str, found: &str, known: &[&'static str]) -> Self {
        let nearest = messages::nearest(found, known.iter().copied());
        Error::UnknownName { what, found: found.to_owned(), nearest, known: known.join(", ") }
    }
}

/// The letters that stand before a kind, with spaces between.
fn spaced(letters: &str) -> String {
    letters.chars().filter(|letter| *letter != 'O').map(String::from).collect::<Vec<_>>().join(" ")
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
