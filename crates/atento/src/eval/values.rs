//! placeholder until the measures land
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let s = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    let below = (s(&|x, _| x * x) * s(&|_, y| y * y)).sqrt();
    (below > 0.0).then(|| s(&|x, y| x * y) / below)
}
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let ranks = |v: &[f64]| -> Vec<f64> {
        v.iter()
            .map(|x| v.iter().filter(|y| *y < x).count() as f64 + 0.5 * v.iter().filter(|y| *y == x).count() as f64)
            .collect()
    };
    pearson(&ranks(a), &ranks(b))
}
