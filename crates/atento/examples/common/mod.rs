//! The sentence that the tour looks at, vectors for its words, and printing.

#![allow(dead_code, reason = "each example uses a part of this")]

use atento::layers::mechanisms::Matrix;

/// What "it" is takes the rest of the sentence to know: that is what attention is for.
pub const SENTENCE: [&str; 9] = ["The", "dog", "chased", "the", "cat", "because", "it", "was", "angry"];

/// A German beginning of its translation.
pub const TRANSLATION: [&str; 5] = ["Der", "Hund", "jagte", "die", "Katze"];

/// What the numbers of a word's vector stand for. A trained model finds its own axes; these are chosen by hand so
/// that the attention matrices can be understood by looking.
pub const AXES: [&str; 6] = ["animal", "dog", "cat", "motion", "mood", "grammar"];

/// One row per word.
pub fn embed(words: &[&str]) -> Matrix {
    let rows: Vec<[f32; 6]> = words.iter().map(|word| word_vector(word)).collect();
    Matrix::from_rows(&rows)
}

fn word_vector(word: &str) -> [f32; 6] {
    match word.to_lowercase().as_str() {
        "the" | "der" | "die" => [0.2, 0.0, 0.0, 0.0, 0.0, 1.2],
        "dog" | "hund" => [1.4, 1.5, 0.0, 0.3, 0.4, 0.0],
        "cat" | "katze" => [1.4, 0.0, 1.5, 0.2, 0.0, 0.0],
        "chased" | "jagte" => [0.3, 0.4, 0.2, 2.0, 0.3, 0.0],
        "because" => [0.0, 0.0, 0.0, 0.1, 0.4, 1.0],
        "it" => [1.5, 0.9, 0.4, 0.0, 0.7, 0.3],
        "was" => [0.0, 0.0, 0.0, 0.4, 0.5, 1.0],
        "angry" => [0.4, 0.8, 0.0, 0.2, 1.8, 0.0],
        unknown => panic!("no vector was written down for the word {unknown:?}"),
    }
}

/// Prints a matrix with a label before each row and, where given, over each column.
pub fn print_matrix(title: &str, row_labels: &[&str], column_labels: &[&str], matrix: &Matrix) {
    println!("\n{title}: {} x {}", matrix.rows, matrix.cols);
    if !column_labels.is_empty() {
        let header: String = column_labels.iter().map(|label| format!("{label:>8}")).collect();
        println!("{:9}{header}", "");
    }
    for (i, label) in row_labels.iter().enumerate() {
        let numbers: String = matrix.row(i).iter().map(|number| format!("{number:8.3}")).collect();
        println!("{label:>9}{numbers}");
    }
}

/// Stops the example if a row of attention weights is not a distribution.
pub fn check_rows_sum_to_one(weights: &Matrix) {
    for i in 0..weights.rows {
        let sum: f32 = weights.row(i).iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "row {i} of the attention matrix sums to {sum}");
    }
    println!("\nEach of the {} rows of α sums to 1.", weights.rows);
}

/// Says which other word gets most of the weight of `words[i]`.
pub fn print_favourite(words: &[&str], i: usize, weights: &Matrix) {
    let others = (0..words.len()).filter(|&j| j != i);
    if let Some(j) = others.max_by(|&a, &b| weights.at(i, a).total_cmp(&weights.at(i, b))) {
        println!("Apart from itself, {:?} looks most at {:?} ({:.3}).", words[i], words[j], weights.at(i, j));
    }
}
