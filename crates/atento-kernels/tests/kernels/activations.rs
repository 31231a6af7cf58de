use crate::support::*;
use atento_kernels::activation::{self, Activation};
use atento_kernels::gated;

const ALL: [Activation; 6] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Tanh,
];

#[test]
fn values_and_slopes_match_the_reference() {
    let x: Vec<f32> = (-400..=400).map(|i| i as f32 / 40.0 + 0.003).collect();
    let dy = values(x.len(), 3);
    for_each_level(|level| {
        for act in ALL {
            let (mut y, mut dx) = (vec![0.0; x.len()], vec![f32::NAN; x.len()]);
            activation::forward(act, &x, &mut y);
            activation::backward(act, &x, &dy, &mut dx);
            let name = format!("{act:?} at {level:?}");
            let expected: Vec<f64> = x.iter().map(|&x| activation::reference(act, x.into())).collect();
            assert_close(&name, &y, &expected, 1e-6);
            let slopes = gradient(&x, |x| {
                let y: Vec<f64> = x.iter().map(|&x| activation::reference(act, x)).collect();
                weighted(&y, &dy)
            });
            assert_close(&name, &dx, &slopes, 1e-6);
        }
    });
}

#[test]
fn values_and_slopes_are_those_of_pytorch() {
    let x = [-3.0, -1.0, -0.25, 0.5, 1.5, 4.0];
    let golden = [
        (Activation::Relu, [0.0, 0.0, 0.0, 0.5, 1.5, 4.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        (
            Activation::Gelu,
            [-4.04969409e-3, -1.58655254e-1, -1.00323419e-1, 3.45731231e-1, 1.39978920, 3.99987332],
            [-1.19456472e-2, -8.33154706e-2, 3.04626645e-1, 8.67495125e-1, 1.12746919, 1.00050365],
        ),
        (
            Activation::GeluTanh,
            [-3.63739208e-3, -1.58808009e-1, -1.00324649e-1, 3.45714010e-1, 1.39957158, 3.99992975],
            [-1.15841666e-2, -8.29640838e-2, 3.04645905e-1, 8.67369904e-1, 1.12771079, 1.00033512],
        ),
        (
            Activation::Silu,
            [-1.42277620e-1, -2.68941421e-1, -1.09455875e-1, 3.11229666e-1, 1.22636171, 3.92805516],
            [-8.81041060e-2, 7.23294881e-2, 3.76289978e-1, 7.39961187e-1, 1.04129415, 1.05266461],
        ),
        (
            Activation::Tanh,
            [-9.95054754e-01, -7.61594156e-01, -2.44918662e-01, 4.62117157e-01, 9.05148254e-01, 9.99329300e-01],
            [9.86603717e-03, 4.19974342e-01, 9.40014849e-01, 7.86447733e-01, 1.80706639e-01, 1.34095068e-03],
        ),
    ];
    for (act, y, slope) in golden {
        let (mut out, mut dx) = ([0.0; 6], [0.0; 6]);
        activation::forward(act, &x, &mut out);
        activation::backward(act, &x, &[1.0; 6], &mut dx);
        assert_close("value", &out, &y, 5e-7);
        assert_close("slope", &dx, &slope, 5e-7);
    }
}

#[test]
fn nan_stays_nan_and_names_round_trip() {
    for act in ALL {
        let mut out = [0.0];
        activation::forward(act, &[f32::NAN], &mut out);
        assert!(out[0].is_nan(), "{act:?}");
        assert_eq!(act.name().parse(), Ok(act));
    }
    assert_eq!("swish".parse(), Ok(Activation::Silu));
    let error = "gleu".parse::<Activation>().unwrap_err();
    assert!(error.to_string().contains("'gleu'"));
}

#[test]
fn gated_functions_and_their_gradients_match_the_reference() {
    for (rows, d_ff) in [(0, 3), (1, 1), (3, 37), (300, 64)] {
        // Never 0, where ReLU has no slope.
        let x: Vec<f32> = values(rows * 2 * d_ff, 1).iter().map(|x| x + 0.01).collect();
        let dy = values(rows * d_ff, 2);
        for act in ALL {
            let forward =
                |x: &[f64]| -> Vec<f64> { x.chunks(2 * d_ff).flat_map(|x| gated::reference(act, x)).collect() };
            let expected = forward(&wide(&x));
            let slopes = (rows <= 3).then(|| gradient(&x, |x| weighted(&forward(x), &dy)));
            for_each_level(|level| {
                let (mut y, mut dx) = (vec![0.0; rows * d_ff], vec![f32::NAN; x.len()]);
                gated::forward(act, &x, d_ff, &mut y);
                gated::backward(act, &x, d_ff, &dy, &mut dx);
                let name = format!("{act:?} at {level:?}");
                assert_close(&name, &y, &expected, 1e-6);
                if let Some(slopes) = &slopes {
                    assert_close(&name, &dx, slopes, 1e-6);
                }
            });
        }
    }
}
