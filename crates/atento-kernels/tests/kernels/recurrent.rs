use crate::support::*;
use atento_kernels::additive_attention::{self, Gradients, Inputs};
use atento_kernels::gru;

fn gru_rows(x: &[f64], h: &[f64], h_prev: &[f64], hidden: usize) -> Vec<f64> {
    let gates = x.chunks(3 * hidden).zip(h.chunks(3 * hidden));
    gates.zip(h_prev.chunks(hidden)).flat_map(|((x, h), p)| gru::reference(x, h, p)).collect()
}

#[test]
fn the_recurrent_cell_and_all_its_gradients_match_the_reference() {
    for (rows, hidden) in [(0, 2), (1, 1), (3, 19)] {
        let (x, h) = (values(rows * 3 * hidden, 1), values(rows * 3 * hidden, 2));
        let (prev, dy) = (values(rows * hidden, 3), values(rows * hidden, 4));
        let (xw, hw, pw) = (wide(&x), wide(&h), wide(&prev));
        for_each_level(|_| {
            let (mut out, mut saved) = (vec![0.0; prev.len()], vec![0.0; rows * 4 * hidden]);
            gru::forward(&x, &h, &prev, hidden, &mut out, &mut saved);
            assert_close("h", &out, &gru_rows(&xw, &hw, &pw, hidden), 1e-6);
            let (mut dx, mut dh, mut dprev) = (vec![0.0; x.len()], vec![0.0; h.len()], vec![0.0; prev.len()]);
            gru::backward(&dy, &prev, &saved, hidden, &mut dx, &mut dh, &mut dprev);
            assert_close("dx", &dx, &gradient(&x, |x| weighted(&gru_rows(x, &hw, &pw, hidden), &dy)), 1e-6);
            assert_close("dh", &dh, &gradient(&h, |h| weighted(&gru_rows(&xw, h, &pw, hidden), &dy)), 1e-6);
            assert_close("dprev", &dprev, &gradient(&prev, |p| weighted(&gru_rows(&xw, &hw, p, hidden), &dy)), 1e-6);
        });
    }
}

#[test]
fn the_recurrent_cell_is_that_of_pytorch() {
    #[rustfmt::skip]
    let gates_h = [
        4.68320007, 1.60479984, -1.63519992, -6.73599908e-1, 2.38879981, 3.35040000,
        7.90400035e-1, -4.31839985, 2.36959989, 1.30080003, -2.03040002, -3.09919997,
    ];
    let (x, h_prev, dy) = (values(12, 6), values(4, 8), values(4, 10));
    let (mut out, mut saved) = ([0.0; 4], [0.0; 16]);
    gru::forward(&x, &gates_h, &h_prev, 2, &mut out, &mut saved);
    assert_close("h", &out, &[7.86848732e-1, -2.54154037e-1, 3.52538602e-1, 1.86665148], 1e-6);
    let (mut dx, mut dh, mut dprev) = ([0.0; 12], [0.0; 12], [0.0; 4]);
    gru::backward(&dy, &h_prev, &saved, 2, &mut dx, &mut dh, &mut dprev);
    #[rustfmt::skip]
    let golden = [
        -8.69538550e-3, -1.21271348e-2, -1.34100983e-1, 7.42578890e-2, -7.53652963e-1, -1.48410315e-2,
        -3.44302132e-4, 4.11310431e-4, 1.08377889e-1, -6.34097538e-2, 1.93501612e-3, -3.08002509e-2,
    ];
    assert_close("dx", &dx, &golden, 1e-6);
    let summed: Vec<f32> = (0..6).map(|i| dh[i] + dh[6 + i]).collect();
    let golden = [-9.03968764e-3, -1.17158244e-2, -2.57230936e-2, 1.08481352e-2, -7.48247930e-1, -6.39392104e-3];
    assert_close("dh", &summed, &golden, 1e-6);
}

/// Owned inputs of additive attention over ragged sequences, one of them empty.
struct Case {
    q: Vec<f32>,
    k: Vec<f32>,
    values: Vec<f32>,
    v: Vec<f32>,
    cu_k: Vec<u32>,
}

const HIDDEN: usize = 37;
const WIDTH: usize = 5;

impl Case {
    fn new() -> Case {
        let v = values(HIDDEN, 4).iter().map(|v| v * 0.2).collect();
        let cu_k = vec![0, 3, 3, 4, 9];
        Case { q: values(4 * HIDDEN, 1), k: values(9 * HIDDEN, 2), values: values(9 * WIDTH, 3), v, cu_k }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { q_proj: &self.q, k_proj: &self.k, values: &self.values, v: &self.v, cu_k: &self.cu_k }
    }

    fn reference(&self, q: &[f64], k: &[f64], values: &[f64], v: &[f64]) -> Vec<f64> {
        let sequence = |b: usize| {
            let (start, end) = (self.cu_k[b] as usize, self.cu_k[b + 1] as usize);
            let (k, values) = (&k[start * HIDDEN..end * HIDDEN], &values[start * WIDTH..end * WIDTH]);
            additive_attention::reference(&q[b * HIDDEN..][..HIDDEN], k, values, v, WIDTH)
        };
        (0..4).flat_map(sequence).collect()
    }
}

#[test]
fn additive_attention_and_all_its_gradients_match_the_reference() {
    let case = Case::new();
    let dy = values(4 * WIDTH, 8);
    let [q, k, x, v] = [&case.q, &case.k, &case.values, &case.v].map(|x| wide(x));
    for_each_level(|_| {
        let (mut alpha, mut context) = (vec![0.0; 9], vec![f32::NAN; 4 * WIDTH]);
        additive_attention::forward(case.inputs(), &mut alpha, &mut context);
        assert_close("context", &context, &case.reference(&q, &k, &x, &v), 1e-6);
        assert_eq!(context[WIDTH..2 * WIDTH], [0.0; WIDTH], "a sequence without keys");
        let [mut dq, mut dk, mut dvalues, mut dv] =
            [&case.q, &case.k, &case.values, &case.v].map(|x| vec![0.0; x.len()]);
        let gradients = Gradients { dq_proj: &mut dq, dk_proj: &mut dk, dvalues: &mut dvalues, dv: &mut dv };
        additive_attention::backward(case.inputs(), &alpha, &dy, gradients);
        assert_close("dq", &dq, &gradient(&case.q, |q| weighted(&case.reference(q, &k, &x, &v), &dy)), 2e-6);
        assert_close("dk", &dk, &gradient(&case.k, |k| weighted(&case.reference(&q, k, &x, &v), &dy)), 2e-6);
        assert_close(
            "dvalues",
            &dvalues,
            &gradient(&case.values, |x| weighted(&case.reference(&q, &k, x, &v), &dy)),
            2e-6,
        );
        assert_close("dv", &dv, &gradient(&case.v, |v| weighted(&case.reference(&q, &k, &x, v), &dy)), 2e-6);
    });
}

#[test]
fn additive_attention_is_that_of_pytorch() {
    let (q, k, x, v) = (values(3, 1), values(6, 2), values(4, 4), values(3, 3));
    let inputs = Inputs { q_proj: &q, k_proj: &k, values: &x, v: &v, cu_k: &[0, 2] };
    let (mut alpha, mut context) = ([0.0; 2], [0.0; 2]);
    additive_attention::forward(inputs, &mut alpha, &mut context);
    assert_close("alpha", &alpha, &[6.47371096e-2, 9.35262890e-1], 1e-6);
    assert_close("context", &context, &[-1.25008397, 2.29916076e-1], 1e-6);
    let (mut dq, mut dk, mut dvalues, mut dv) = ([0.0; 3], [0.0; 6], [0.0; 4], [0.0; 3]);
    let gradients = Gradients { dq_proj: &mut dq, dk_proj: &mut dk, dvalues: &mut dvalues, dv: &mut dv };
    additive_attention::backward(inputs, &alpha, &values(2, 5), gradients);
    assert_close("dq", &dq, &[1.86901140e-3, 2.70863770e-2, 1.83804473e-1], 1e-6);
    let golden = [-1.55720414e-3, 9.10218646e-2, -1.32337152e-3, 3.42621555e-3, -6.39354876e-2, 1.85127844e-1];
    assert_close("dk", &dk, &golden, 1e-6);
    assert_close("dv", &dv, &[-1.39524734e-3, -3.91682227e-2, 1.69264779e-1], 1e-6);
    assert_close("dvalues", &dvalues, &[1.29474221e-2, 1.08758341e-1, 1.87052581e-1, 1.57124161], 1e-6);
}
