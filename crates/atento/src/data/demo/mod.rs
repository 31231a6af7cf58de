mod clauses;
mod english;
mod german;
mod grammar;
mod lexicon;
mod line;
mod render_english;
mod render_german;
mod sampler;
mod tree;

/// Dump.
pub fn dump(n: usize, seed: u64) -> Vec<(String, String)> {
    let mut s = sampler::Sampler::new(seed);
    (0..n)
        .map(|_| {
            let t = grammar::sentence(&mut s);
            (render_english::sentence(&t), render_german::sentence(&t))
        })
        .collect()
}
#[test]
fn show() {
    for (a, b) in dump(400, 1) {
        println!("{a}\t{b}");
    }
}
