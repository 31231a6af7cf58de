use crate::support::*;
use atento_kernels::cross_entropy::*;

struct Losses {
    losses: Vec<f32>,
    nll: Vec<f32>,
    logz: Vec<f32>,
}

fn run(x: &mut [f32], targets: &[u32], smoothing: f32, scale: f32, want_grad: bool) -> Losses {
    let n = targets.len();
    let mut r = Losses { losses: vec![0.0; n], nll: vec![0.0; n], logz: vec![0.0; n] };
    forward_backward(x, targets, smoothing, scale, want_grad, &mut r.losses, &mut r.nll, Some(&mut r.logz));
    r
}

#[test]
fn losses_and_gradients_match_the_reference() {
    for (rows, classes) in [(1, 1), (3, 37), (2, 64), (9, 4099)] {
        let x = values(rows * classes, 7);
        let targets: Vec<u32> = (0..rows).map(|r| (r * 13 % classes) as u32).collect();
        for_each_level(|_| {
            for smoothing in [0.0, 0.1f32] {
                let eps = f64::from(smoothing);
                let rows_of = |x: &[f64], eps: f64| -> Vec<f64> {
                    x.chunks(classes).zip(&targets).map(|(x, &t)| reference(x, t as usize, eps)).collect()
                };
                let mut logits = x.clone();
                let plain = run(&mut logits, &targets, smoothing, 0.5, false);
                assert_eq!(logits, x, "without a gradient the logits stay");
                let r = run(&mut logits, &targets, smoothing, 0.5, true);
                assert_eq!(plain.nll.len(), r.nll.len());
                assert_close("loss", &r.losses, &rows_of(&wide(&x), eps), 2e-6);
                assert_close("loss without gradient", &plain.losses, &rows_of(&wide(&x), eps), 2e-6);
                assert_close("nll", &r.nll, &rows_of(&wide(&x), 0.0), 2e-6);
                if classes < 100 {
                    let slopes = gradient(&x, |x| 0.5 * rows_of(x, eps).iter().sum::<f64>());
                    assert_close("dx", &logits, &slopes, 1e-6);
                }
            }
        });
    }
}

#[test]
fn smoothed_losses_are_those_of_pytorch() {
    let mut x = values(12, 5);
    let r = run(&mut x, &[1, 4], 0.1, 1.0, true);
    assert_close("loss", &r.losses, &[7.62043129e-1, 3.30682012], 1e-6);
    assert_close("nll", &r.nll, &[5.80043133e-1, 3.42148678], 1e-6);
    #[rustfmt::skip]
    let dx = [
        1.10781813e-1, -3.56792450e-1, 2.66142668e-2, 1.73464127e-1, -1.96865594e-3, 4.79008992e-2,
        2.66565931e-1, 5.22855705e-3, 7.95178565e-2, 4.05866708e-1, -8.84002832e-1, 1.26823779e-1,
    ];
    assert_close("dx", &x, &dx, 3e-7);
}

#[test]
fn huge_logits_give_finite_losses() {
    let mut x = vec![3e4, -3e4, f32::NEG_INFINITY, 3e4];
    let r = run(&mut x, &[1], 0.0, 1.0, true);
    assert!((r.losses[0] - 60_000.69).abs() < 0.01 && (r.logz[0] - 30_000.69).abs() < 0.01);
    assert_eq!(x, [0.5, -1.0, 0.0, 0.5]);
}

#[test]
fn softmax_and_log_softmax_agree_and_sum_to_one() {
    for width in [1, 2, 31, 1000] {
        for_each_level(|_| {
            let x = values(5 * width, 2);
            let (mut p, mut log_p) = (x.clone(), x.clone());
            softmax(&mut p, width);
            log_softmax(&mut log_p, width);
            let exp: Vec<f64> = log_p.iter().map(|&l| f64::from(l).exp()).collect();
            assert_close("p", &p, &exp, 1e-6);
            for p in p.chunks(width) {
                assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
            let target = |x: &[f64]| -> f64 { reference(x, 0, 0.0) };
            let first: Vec<f64> = x.chunks(width).map(|x| -target(&wide(x))).collect();
            let ours: Vec<f32> = log_p.chunks(width).map(|l| l[0]).collect();
            assert_close("log p", &ours, &first, 2e-6);
        });
    }
}

#[test]
fn rows_of_nothing_but_negative_infinity_become_zero() {
    let mut x = vec![f32::NEG_INFINITY; 20];
    x[19] = 0.0;
    softmax(&mut x, 10);
    assert_eq!(x[..19], [0.0; 19]);
    assert_eq!(x[19], 1.0);
}

#[test]
fn the_gradient_of_softmax_is_that_of_finite_differences() {
    let (x, dy, width) = (values(21, 3), values(21, 4), 7);
    let slopes = gradient(&x, |x| {
        let p: Vec<f64> = x
            .chunks(width)
            .flat_map(|x| (0..width).map(|t| (-reference(x, t, 0.0)).exp()).collect::<Vec<_>>())
            .collect();
        weighted(&p, &dy)
    });
    let (mut p, mut dx) = (x.clone(), dy.clone());
    softmax(&mut p, width);
    softmax_backward(&p, width, &mut dx);
    assert_close("dx", &dx, &slopes, 1e-6);
}
