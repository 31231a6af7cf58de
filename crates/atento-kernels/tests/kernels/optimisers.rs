use crate::support::*;
use atento_kernels::optim::*;

const SETTINGS: AdamW = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.05, step: 1 };

#[test]
fn three_steps_are_those_of_pytorch() {
    for_each_level(|_| {
        let (mut p, mut m, mut v) = (values(5, 1), [0.0; 5], [0.0; 5]);
        for step in 1..=3 {
            adamw_step(&mut p, &values(5, 19 + step), &mut m, &mut v, AdamW { step: step as u64, ..SETTINGS }, 0.5);
        }
        let golden = [-1.25206066, -3.58771257e-1, 1.33199619, -8.78046974e-1, 2.21774641e-2];
        assert_close("adamw", &p, &golden, 5e-7);

        let (mut p, mut m, mut v) = (values(5, 1), [0.0; 5], [0.0; 5]);
        for step in 1..=3 {
            adam_step(&mut p, &values(5, 19 + step), &mut m, &mut v, AdamW { step: step as u64, ..SETTINGS }, 0.5);
        }
        let golden = [-1.27126170, -3.61158555e-1, 1.33739154, -8.86420947e-1, 2.48514695e-2];
        assert_close("adam", &p, &golden, 5e-7);

        let (mut p, mut buffer) = (values(5, 1), [f32::MAX; 5]);
        for step in 1..=3 {
            let settings = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.05, step: step as u64 };
            sgd_step(&mut p, &values(5, 19 + step), &mut buffer, settings, 0.5);
        }
        let golden = [-1.24461336, -2.19315839e-1, 1.39077171, -9.67505923e-1, 5.77916025e-2];
        assert_close("sgd", &p, &golden, 5e-7);
    });
}

#[test]
fn ten_steps_follow_the_f64_reference() {
    let n = 40_003;
    for decoupled in [true, false] {
        for_each_level(|_| {
            let (mut p, mut m, mut v) = (values(n, 1), vec![0.0; n], vec![0.0; n]);
            let (mut pw, mut mw, mut vw) = (wide(&p), vec![0.0; n], vec![0.0; n]);
            for step in 1..=10 {
                let grads = values(n, step + 2);
                let settings = AdamW { lr: 1e-3, step: step as u64, ..SETTINGS };
                let kernel = if decoupled { adamw_step } else { adam_step };
                kernel(&mut p, &grads, &mut m, &mut v, settings, 1.0);
                reference(&mut pw, &wide(&grads), &mut mw, &mut vw, settings, decoupled);
            }
            assert_close("values", &p, &pw, 1e-6);
            assert_close("m", &m, &mw, 1e-6);
            assert_close("v", &v, &vw, 1e-6);
        });
    }
}

#[test]
fn the_moving_average_moves_by_its_share() {
    let (mut average, values) = (vec![1.0, 2.0], [2.0, 0.0]);
    ema_update(&mut average, &values, 0.75);
    assert_eq!(average, [1.25, 1.5]);
}
