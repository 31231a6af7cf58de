//! Finds the first stop string in a text that arrives in pieces.
//!
//! The first is the one that is complete first; of two that are complete at the same character, the longer. That does
//! not depend on how the text is cut into pieces.

use super::Error;

/// Texts at which generation ends. They are not part of the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopStrings(Vec<String>);

impl StopStrings {
    /// Any number of texts.
    ///
    /// # Errors
    /// [`Error::EmptyStop`].
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        let stops: Vec<String> = stops.into_iter().map(Into::into).collect();
        match stops.iter().position(String::is_empty) {
            Some(index) => Err(Error::EmptyStop { index }),
            None => Ok(StopStrings(stops)),
        }
    }

    /// Moves the part of `held` that cannot belong to a stop string any more to `out`. If a stop string is complete,
    /// moves only what stands before it, drops the rest and returns true.
    pub(super) fn release(&self, held: &mut String, out: &mut String) -> bool {
        let found = |stop: &String| held.find(stop.as_str()).map(|start| (start + stop.len(), start));
        if let Some((_, start)) = self.0.iter().filter_map(found).min() {
            out.push_str(&held[..start]);
            held.clear();
            return true;
        }
        let beginning = |stop: &String| {
            let is_beginning = |n: &usize| held.as_bytes().ends_with(&stop.as_bytes()[..*n]);
            (1..stop.len().min(held.len() + 1)).rev().find(is_beginning).unwrap_or(0)
        };
        // Both are UTF-8, so where their bytes match, characters begin and end.
        let sure = held.len() - self.0.iter().map(beginning).max().unwrap_or(0);
        out.push_str(&held[..sure]);
        held.drain(..sure);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out of a text cut into pieces: before a stop or the end, and whether a stop was found.
    fn feed(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops = StopStrings::new(stops.iter().copied()).unwrap();
        let (mut held, mut outs) = (String::new(), Vec::new());
        for piece in pieces {
            let mut out = String::new();
            held.push_str(piece);
            let stopped = stops.release(&mut held, &mut out);
            outs.push(out);
            if stopped {
                return (outs, true);
            }
        }
        outs.push(held);
        (outs, false)
    }

    #[test]
    fn what_may_begin_a_stop_string_is_held_back_until_it_is_decided() {
        assert_eq!(feed(&["\n\nQ:"], &["a\n", "\nQ", "!"]).0, ["a", "", "\n\nQ!", ""]);
        assert_eq!(feed(&["\n\nQ:"], &["a\n", "\nQ", ":x"]), (vec!["a".into(), "".into(), "".into()], true));
        assert_eq!(feed(&["aab"], &["xaa", "ab"]), (vec!["x".into(), "a".into()], true));
        assert_eq!(feed(&["END"], &["the EN"]).0, ["the ", "EN"]);
    }

    #[test]
    fn the_stop_string_that_is_complete_first_wins() {
        assert_eq!(feed(&["abcd", "bc"], &["xabcd"]), (vec!["xa".into()], true));
        assert_eq!(feed(&["c", "abc"], &["xabc"]), (vec!["x".into()], true));
    }

    #[test]
    fn characters_are_never_cut() {
        // é is C3 A9, Ã is C3 83: a common first byte is no reason to hold anything back.
        assert_eq!(feed(&["Ãx"], &["é", "Ã", "é"]).0, ["é", "", "Ãé", ""]);
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopStrings::new(["a", ""]).unwrap_err();
        assert_eq!(error.to_string(), "stop string 1 (from 0) is empty: remove it");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_nothing_is_lost(
            text in "[abé]{0,24}",
            stops in prop::collection::vec("[abé]{1,4}", 0..3),
            cuts in prop::collection::vec(0usize..24, 0..6),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            // The shortest beginning of the text that ends with a stop string, without the longest it ends with.
            let ends: Vec<usize> = (0..=text.len()).filter(|&i| text.is_char_boundary(i)).collect();
            let stopped = |&end: &usize| stops.iter().filter(|stop| text[..end].ends_with(**stop)).map(|s| s.len()).max();
            let expected = ends.iter().find_map(|end| stopped(end).map(|n| &text[..end - n]));
            let mut cuts: Vec<usize> = cuts.into_iter().filter_map(|i| ends.get(i).copied()).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (outs, found) = feed(&stops, &pieces);
            prop_assert_eq!(found, expected.is_some());
            prop_assert_eq!(outs.concat(), expected.unwrap_or(&text));
        }
    }
}
