use super::*;
#[test]
fn show() {
    let t = std::time::Instant::now();
    let c = DemoCorpus::generate(DemoOptions::default());
    eprintln!(
        "{:?} {} {} {}",
        t.elapsed(),
        c.train.len(),
        c.valid.len(),
        c.test.len()
    );
    for (n, p) in [("train", &c.train), ("valid", &c.valid), ("test", &c.test)] {
        let s: String = p.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
        std::fs::write(format!("/tmp/corpus_s/{n}.tsv"), s).unwrap();
    }
}
