//! 6. Sinusoidal positions.
//!
//! Attention does not know the order of the words: shuffle the rows of x, and the rows of z are shuffled alike. So
//! each position gets a vector of its own, added to the word's:
//!
//!   PE(pos, 2i)   = sin(pos / 10000^(2i/d))
//!   PE(pos, 2i+1) = cos(pos / 10000^(2i/d))
//!
//! The first columns turn fast, the last ones slowly, like the hands of a clock.
//!
//! Run it: cargo run --release --example 06_positions

mod common;

use atento::layers::mechanisms::{Matrix, scaled_dot_product, self_attention, sinusoidal_positions};
use common::{AXES, SENTENCE, check_rows_sum_to_one, embed, print_matrix};

fn main() {
    let (n_positions, d) = (24, 64);
    let positions = sinusoidal_positions(n_positions, d);
    print_heat_map("Positions (down) x dimensions (across)", &positions);

    // The dot product of two positions depends on their distance alone, and is largest at distance 0.
    let similarity = positions.matmul(&positions.transpose());
    print_heat_map("Similarity of positions", &similarity);
    for distance in 0..n_positions {
        for start in 0..n_positions - distance {
            let difference = similarity.at(start, start + distance) - similarity.at(0, distance);
            assert!(difference.abs() < 1e-3, "distance {distance} from {start}: {difference}");
        }
    }
    println!("\nEqual distances, equal similarity: the diagonals are constant.");

    // Without positions the two "the" cannot be told apart; with them they can.
    let x = embed(&SENTENCE);
    let with_positions = x.plus(&sinusoidal_positions(SENTENCE.len(), AXES.len()));
    let (plain, placed) = (self_attention(&x), self_attention(&with_positions));
    assert_eq!(plain.context.row(0), plain.context.row(3));
    assert_ne!(placed.context.row(0), placed.context.row(3));

    let placed = scaled_dot_product(&with_positions, &with_positions, &with_positions, None);
    print_matrix("Word vectors plus positions", &SENTENCE, &AXES, &with_positions);
    print_matrix("Attention matrix α with positions", &SENTENCE, &SENTENCE, &placed.weights);
    check_rows_sum_to_one(&placed.weights);
    print_matrix("Context vectors z", &SENTENCE, &AXES, &placed.context);
}

/// Prints a matrix as shades, from its smallest number (blank) to its largest (@).
fn print_heat_map(title: &str, matrix: &Matrix) {
    const SHADES: &[u8] = b" .:-=+*#%@";
    let lowest = matrix.data.iter().copied().fold(f32::INFINITY, f32::min);
    let highest = matrix.data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    println!("\n{title}: {} x {}, from {lowest:.2} (blank) to {highest:.2} (@)", matrix.rows, matrix.cols);
    for i in 0..matrix.rows {
        let shade = |number: &f32| {
            let level = (number - lowest) / (highest - lowest) * (SHADES.len() - 1) as f32;
            SHADES[level.round() as usize] as char
        };
        println!("{i:>4} {}", matrix.row(i).iter().map(shade).collect::<String>());
    }
}
