//! What the columns of a table hold, as far as a look at it tells: texts, labels, numbers, or names of those who wrote them.

use std::collections::HashSet;

/// Distinct values that are told apart; a column with more holds no labels.
const MOST_DISTINCT: usize = 5000;
/// The most labels that a column is thought to hold.
const MOST_LABELS: usize = 500;
/// The longest label, in characters.
const LONGEST_LABEL: usize = 80;

/// What a column holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Its name, where the file has names.
    pub name: Option<String>,
    /// Cells that are not empty.
    pub filled: usize,
    /// Their characters and words, and the most characters of one.
    pub characters: usize,
    pub words: usize,
    pub longest: usize,
    pub bytes: usize,
    numbers: usize,
    fractions: usize,
    credits: usize,
    distinct: HashSet<String>,
    pub letters: Letters,
}

/// Letters by the script that they are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Letters {
    counts: [usize; SCRIPTS.len()],
    /// Of the Latin ones, those that English does not have.
    marked: Vec<(char, usize)>,
}

/// Scripts by the ranges of their characters.
const SCRIPTS: [(&str, &[(char, char)]); 11] = [
    ("Latin", &[('A', 'Z'), ('a', 'z'), ('\u{c0}', '\u{24f}'), ('\u{1e00}', '\u{1eff}')]),
    ("Greek", &[('\u{370}', '\u{3ff}')]),
    ("Cyrillic", &[('\u{400}', '\u{52f}')]),
    ("Hebrew", &[('\u{590}', '\u{5ff}')]),
    ("Arabic", &[('\u{600}', '\u{6ff}'), ('\u{750}', '\u{77f}')]),
    ("Devanagari", &[('\u{900}', '\u{97f}')]),
    ("Thai", &[('\u{e00}', '\u{e7f}')]),
    ("Georgian", &[('\u{10a0}', '\u{10ff}')]),
    ("Japanese kana", &[('\u{3040}', '\u{30ff}')]),
    ("Han", &[('\u{3400}', '\u{4dbf}'), ('\u{4e00}', '\u{9fff}')]),
    ("Hangul", &[('\u{ac00}', '\u{d7af}')]),
];
/// Those that are written without spaces between words.
const WITHOUT_SPACES: [&str; 3] = ["Thai", "Japanese kana", "Han"];

impl Letters {
    fn add(&mut self, text: &str) {
        for c in text.chars().filter(|c| c.is_alphabetic()) {
            let script = SCRIPTS.iter().position(|(_, ranges)| ranges.iter().any(|&(a, z)| (a..=z).contains(&c)));
            let Some(script) = script else { continue };
            self.counts[script] += 1;
            if script == 0 && !c.is_ascii() {
                let c = c.to_lowercase().next().unwrap_or(c);
                match self.marked.iter_mut().find(|(known, _)| *known == c) {
                    Some((_, count)) => *count += 1,
                    None => self.marked.push((c, 1)),
                }
            }
        }
    }

    /// The scripts of at least a hundredth of the letters, the most frequent first.
    pub fn scripts(&self) -> Vec<&'static str> {
        let all: usize = self.counts.iter().sum();
        let mut found: Vec<(usize, &str)> = self
            .counts
            .iter()
            .zip(SCRIPTS)
            .filter(|(count, _)| **count * 100 > all)
            .map(|(&n, (name, _))| (n, name))
            .collect();
        found.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// Whether words are not set apart by spaces.
    pub fn has_no_spaces(&self) -> bool {
        self.scripts().first().is_some_and(|script| WITHOUT_SPACES.contains(script))
    }

    /// In words: "Latin letters with ä, ö, ü, ß".
    pub fn in_words(&self) -> String {
        let scripts = self.scripts();
        if scripts.is_empty() {
            return "no letters".into();
        }
        let mut marked = self.marked.clone();
        marked.sort_by_key(|&(c, count)| (std::cmp::Reverse(count), c));
        let marked: Vec<String> = marked.iter().take(6).map(|(c, _)| c.to_string()).collect();
        let with = match marked.is_empty() || scripts[0] != "Latin" {
            true => String::new(),
            false => format!(" with {}", marked.join(", ")),
        };
        format!("{} letters{with}", scripts.join(" and "))
    }
}

impl Column {
    pub fn of_name(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::default() }
    }

    pub fn add(&mut self, cell: &str) {
        let cell = cell.trim();
        if cell.is_empty() {
            return;
        }
        let (characters, lower) = (cell.chars().count(), cell.to_lowercase());
        self.filled += 1;
        self.bytes += cell.len();
        self.characters += characters;
        self.words += cell.split_whitespace().count();
        self.longest = self.longest.max(characters);
        if let Ok(number) = cell.parse::<f64>() {
            self.numbers += 1;
            self.fractions += usize::from(number.fract() != 0.0);
        }
        self.credits += usize::from(
            ["attribution", "cc-by", "cc by", "http://", "https://"].iter().any(|sign| lower.contains(sign)),
        );
        self.letters.add(cell);
        if self.distinct.len() <= MOST_DISTINCT {
            self.distinct.insert(cell.to_owned());
        }
    }

    fn mean_words(&self) -> f64 {
        self.words as f64 / self.filled.max(1) as f64
    }

    fn mostly(&self, count: usize) -> bool {
        2 * count > self.filled
    }

    /// Whether it holds numbers, not all of them whole: values to predict.
    pub fn holds_values(&self) -> bool {
        self.filled > 0 && self.numbers == self.filled && self.fractions > 0
    }

    /// Whether it holds numbers alone.
    pub fn holds_numbers(&self) -> bool {
        self.filled > 0 && self.numbers == self.filled
    }

    /// Labels, few of them and short; `None` where the column holds something else.
    pub fn labels(&self) -> Option<usize> {
        let count = self.distinct.len();
        let are_few = (2..=MOST_LABELS).contains(&count) && count * 10 <= self.filled.max(20);
        (are_few && self.longest <= LONGEST_LABEL && !self.holds_values()).then_some(count)
    }

    /// Whether it holds texts: no numbers, no labels, nobody's credits.
    pub fn holds_texts(&self) -> bool {
        let speaks = self.mean_words() >= 1.5 || self.letters.has_no_spaces();
        self.filled > 0 && speaks && !self.mostly(self.numbers) && !self.mostly(self.credits) && self.labels().is_none()
    }

    /// Whether it says where its row comes from.
    pub fn holds_credits(&self) -> bool {
        self.filled > 0 && self.mostly(self.credits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[&str]) -> Column {
        let mut column = Column::default();
        cells.iter().for_each(|cell| column.add(cell));
        column
    }

    #[test]
    fn texts_labels_values_and_credits_are_told_apart() {
        let texts = column(&["a dog runs", "two men sit", "", "the children play outside"]);
        assert!(texts.holds_texts() && texts.labels().is_none() && texts.filled == 3);
        let labels: Vec<&str> = ["good", "bad"].into_iter().cycle().take(40).collect();
        assert_eq!((column(&labels).labels(), column(&labels).holds_texts()), (Some(2), false));
        let digits: Vec<&str> = ["0", "1"].into_iter().cycle().take(40).collect();
        assert_eq!((column(&digits).labels(), column(&digits).holds_values()), (Some(2), false));
        assert!(column(&["1.5", "2", "3.25"]).holds_values());
        assert!(column(&["CC-BY 2.0 (France) Attribution: tatoeba.org #1 (CM)"; 3]).holds_credits());
        let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
        let ids = column(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!ids.holds_texts() && ids.labels().is_none());
    }

    #[test]
    fn letters_are_told_by_script() {
        assert_eq!(column(&["Grüße an alle", "schön"]).letters.in_words(), "Latin letters with ß, ö, ü");
        assert_eq!(column(&["a dog"]).letters.in_words(), "Latin letters");
        assert_eq!(column(&["Привет, мир"]).letters.in_words(), "Cyrillic letters");
        let chinese = column(&["一只狗在跑", "两个男人", "孩子在外面玩"]);
        assert!(chinese.letters.has_no_spaces() && chinese.holds_texts());
        assert_eq!(column(&["12 34"]).letters.in_words(), "no letters");
    }
}
