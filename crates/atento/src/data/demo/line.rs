//! A sentence under construction: words joined by spaces.

/// Words so far.
#[derive(Debug, Default)]
pub(super) struct Line(String);

impl Line {
    /// Appends a word or several; nothing when empty.
    pub fn push(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(words);
    }

    /// Appends a comma to the last word.
    pub fn comma(&mut self) {
        self.0.push(',');
    }

    /// The sentence with a capital first letter and its final mark.
    pub fn finish(self, mark: &str) -> String {
        let mut letters = self.0.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        let mut sentence: String = first.collect();
        sentence.push_str(letters.as_str());
        sentence.push_str(mark);
        sentence
    }

    /// The words as they are.
    pub fn into_string(self) -> String {
        self.0
    }
}
