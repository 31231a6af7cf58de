//! What happened to the pairs of a data set: nothing is left out without being counted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LineReport;
use crate::messages::{self, group_thousands};
use crate::text::Tokenizer;

/// Counts over one reading of a data set.
///
/// Every pair read is kept or counted in exactly one reason of [`dropped`](Self::dropped).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// Lines of the files that hold no pair.
    pub lines: LineReport,
    /// Pairs in the files.
    pub pairs_read: u64,
    /// Pairs that are used.
    pub kept: u64,
    /// Pairs left out because the source sentence is empty or white space.
    pub empty_source: u64,
    /// Pairs left out because only the target sentence is empty or white space.
    pub empty_target: u64,
    /// Pairs equal to an earlier one, both sides.
    pub duplicates: u64,
    /// How many of the duplicates were left out: all with `drop_duplicates`, else none.
    pub duplicates_dropped: u64,
    /// Pairs whose two sides are the same text (and that are no dropped duplicate).
    pub identical_both_sides: u64,
    /// How many of those were left out: all with `drop_identical`, else none.
    pub identical_dropped: u64,
    /// Held-out pairs that are in the training data too: the measures of this set are better than they should be.
    pub in_training_too: u64,
    /// Pairs that are held out for validation.
    pub held_out: u64,
    /// Pairs left out because one side is longer than `max_ratio` times the other, in tokens.
    pub ratio_dropped: u64,
    /// Pairs left out because a side is longer than `max_length` and `on_truncate` is "drop".
    pub too_long_dropped: u64,
    /// Pairs that are used with a side cut to `max_length`.
    pub truncated: u64,
    /// Tokens that were cut off those.
    pub truncated_tokens: u64,
    /// Source tokens that are used, end tokens included.
    pub source_tokens: u64,
    /// Target tokens that are used, end tokens included.
    pub target_tokens: u64,
    /// How many of both are the unknown token.
    pub unknown_tokens: u64,
    /// Tokens of the longest source sentence that is used.
    pub longest_source: u64,
    /// Tokens of the longest target sentence that is used.
    pub longest_target: u64,
}

impl DataReport {
    /// Pairs that are not used, over all reasons.
    pub fn dropped(&self) -> u64 {
        let empty = self.empty_source + self.empty_target;
        let unfit = self.ratio_dropped + self.too_long_dropped;
        empty + self.duplicates_dropped + self.identical_dropped + self.held_out + unfit
    }

    /// What was left out, cut or not known, in one line; `None` where nothing was. The tokens are those of `tokenizer`.
    pub fn losses(&self, tokenizer: &Tokenizer) -> Option<String> {
        let cut = format!("cut to the longest length, {} tokens lost", group_thousands(self.truncated_tokens));
        let lines = [
            counted(self.empty_source, "with an empty source left out"),
            counted(self.empty_target, "with an empty target left out"),
            (self.duplicates_dropped, format!("{} left out", messages::count(self.duplicates_dropped, "duplicate"))),
            counted(self.identical_dropped, "identical on both sides left out"),
            counted(self.held_out, "held out for validation (data.valid_fraction)"),
            counted(self.ratio_dropped, "with lengths too different left out"),
            counted(self.too_long_dropped, "too long left out"),
            counted(self.truncated, &cut),
            (self.unknown_tokens, tokenizer.unknown_in_words(self.unknown_tokens)),
            (self.in_training_too, in_training_too(self.in_training_too)),
        ];
        let of_lines = self.lines.told().map(|lines| format!("left out {lines}"));
        let of_pairs = joined(self.pairs_read, "pair", lines);
        of_lines.into_iter().chain(of_pairs).reduce(|lines, pairs| format!("{lines}; {pairs}"))
    }
}

/// A number of things, and it with what became of them.
pub(crate) fn counted(count: u64, what: &str) -> (u64, String) {
    (count, format!("{} {what}", group_thousands(count)))
}

/// What is told of held-out examples that are trained on.
pub(crate) fn in_training_too(count: u64) -> String {
    let count = group_thousands(count);
    format!("{count} in the training data too (the results on this set are better than on new text)")
}

/// `of 7 pairs, 2 with an empty source left out; 1 too long left out`, of what occurred.
pub(crate) fn joined<const N: usize>(all: u64, thing: &str, lines: [(u64, String); N]) -> Option<String> {
    let found: Vec<String> = lines.into_iter().filter(|(count, _)| *count > 0).map(|(_, line)| line).collect();
    (!found.is_empty()).then(|| format!("of {}, {}", messages::count(all, thing), found.join("; ")))
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.kept.max(1) as f64;
        writeln!(f, "pairs: {} read, {} used, {} left out", self.pairs_read, self.kept, self.dropped())?;
        let kept_or_not = |found: u64, dropped: u64| if dropped == found { "left out" } else { "kept" };
        let lines = [
            (self.empty_source, "with an empty source: left out"),
            (self.empty_target, "with an empty target: left out"),
            (self.duplicates, &format!("duplicates: {}", kept_or_not(self.duplicates, self.duplicates_dropped))),
            (
                self.identical_both_sides,
                &format!("identical on both sides: {}", kept_or_not(self.identical_both_sides, self.identical_dropped)),
            ),
            (self.held_out, "held out: validated on"),
            (self.ratio_dropped, "with lengths too different: left out"),
            (self.too_long_dropped, "too long: left out"),
            (self.truncated, &format!("cut to the longest length, {} tokens lost", self.truncated_tokens)),
            (self.in_training_too, "in the training data too: kept"),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        if self.lines.blank > 0 {
            writeln!(f, "  {} without text: passed over", messages::count(self.lines.blank, "line"))?;
        }
        for (count, what) in self.lines.bad().into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {} {what}: left out", messages::count(count, "line"))?;
        }
        write!(
            f,
            "tokens: {} source ({:.1} a sentence, longest {}), {} target ({:.1}, longest {}), {} unknown",
            self.source_tokens,
            self.source_tokens as f64 / pairs,
            self.longest_source,
            self.target_tokens,
            self.target_tokens as f64 / pairs,
            self.longest_target,
            self.unknown_tokens
        )
    }
}
