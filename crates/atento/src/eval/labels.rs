//! placeholder until the measures land
pub enum Average {
    Binary(usize),
    Macro,
    Micro,
}
pub struct ConfusionMatrix {
    counts: Vec<u64>,
    labels: usize,
}
impl ConfusionMatrix {
    pub fn of(pairs: impl Iterator<Item = (usize, usize)>, labels: usize) -> Self {
        let mut counts = vec![0; labels * labels];
        pairs.for_each(|(gold, found)| counts[gold * labels + found] += 1);
        Self { counts, labels }
    }
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.labels)
    }
    pub fn accuracy(&self) -> f64 {
        let all: u64 = self.counts.iter().sum();
        (0..self.labels).map(|l| self.counts[l * self.labels + l]).sum::<u64>() as f64 / all.max(1) as f64
    }
    fn f1_of(&self, l: usize) -> f64 {
        let right = self.counts[l * self.labels + l];
        let gold: u64 = self.counts[l * self.labels..(l + 1) * self.labels].iter().sum();
        let found: u64 = (0..self.labels).map(|g| self.counts[g * self.labels + l]).sum();
        if gold + found == 0 { 0.0 } else { 2.0 * right as f64 / (gold + found) as f64 }
    }
    pub fn f1(&self, average: Average) -> f64 {
        match average {
            Average::Binary(l) => self.f1_of(l),
            Average::Macro => (0..self.labels).map(|l| self.f1_of(l)).sum::<f64>() / self.labels as f64,
            Average::Micro => self.accuracy(),
        }
    }
    pub fn matthews(&self) -> f64 {
        let n = self.labels;
        let all: f64 = self.counts.iter().sum::<u64>() as f64;
        let right: f64 = (0..n).map(|l| self.counts[l * n + l] as f64).sum();
        let gold: Vec<f64> = (0..n).map(|l| self.counts[l * n..(l + 1) * n].iter().sum::<u64>() as f64).collect();
        let found: Vec<f64> = (0..n).map(|l| (0..n).map(|g| self.counts[g * n + l]).sum::<u64>() as f64).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let below = ((all * all - dot(&found, &found)) * (all * all - dot(&gold, &gold))).sqrt();
        if below == 0.0 { 0.0 } else { (right * all - dot(&gold, &found)) / below }
    }
}
pub struct MultiLabel {
    right: f64,
    micro: f64,
    all: f64,
}
impl MultiLabel {
    pub fn of(gold: &[bool], found: &[bool], labels: usize) -> Self {
        let right = gold.chunks(labels).zip(found.chunks(labels)).filter(|(a, b)| a == b).count() as f64;
        let count = |wanted: (bool, bool)| gold.iter().zip(found).filter(|(g, f)| (**g, **f) == wanted).count() as f64;
        let below = 2.0 * count((true, true)) + count((true, false)) + count((false, true));
        let micro = if below == 0.0 { 0.0 } else { 2.0 * count((true, true)) / below };
        Self { right, micro, all: (gold.len() / labels.max(1)) as f64 }
    }
    pub fn subset_accuracy(&self) -> f64 {
        self.right / self.all.max(1.0)
    }
    pub fn f1(&self, _: Average) -> f64 {
        self.micro
    }
}
