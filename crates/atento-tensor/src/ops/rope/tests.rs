use super::*;
use crate::ops::finite_differences::*;
use crate::{Grads, Params, Pool};

const POSITIONS: [u32; 3] = [5, 0, 9];

#[test]
fn queries_and_keys_turn_by_their_position_and_values_stay() {
    let (head_dim, width) = (4, 3 * 4);
    let x = values(3 * width, 1);
    for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
        let reference = |x: &[f64]| -> Vec<f64> {
            let rows = x.chunks(width).zip(POSITIONS);
            rows.flat_map(|(row, position)| {
                let (turned, rest) = row.split_at(2 * head_dim);
                let heads = turned.chunks(head_dim);
                let turned = heads.flat_map(move |head| rope::reference(head, position, 10_000.0, pairing));
                turned.chain(rest.iter().copied()).collect::<Vec<_>>()
            })
            .collect()
        };
        let (params, dy) = (Params::new(), values(x.len(), 2));
        let mut grads = Grads::zeros(&params);
        let mut g = Graph::train(&params, &mut grads, &Pool::new(), 0);
        let input = g.variable(&x, &[3, width]);
        let y = g.rope(&input, &Rope::new(head_dim, 10, 10_000.0, pairing), 2, &POSITIONS);
        assert_close("y", y.values(), &reference(&wide(&x)));
        let dx = g.backward_from(vec![(y, buffer(&dy))], &[&input]);
        assert_close("dx", &dx[0], &gradient(&wide(&x), |x| weighted(&reference(x), &dy)));
    }
}

#[test]
#[should_panic(expected = "position 9 in a table of 9")]
fn a_position_beyond_the_table_is_refused() {
    let params = Params::new();
    let mut g = Graph::infer(&params, &Pool::new());
    let x = g.constant(&[0.0; 12], &[3, 4]);
    let _ = g.rope(&x, &Rope::new(4, 9, 10_000.0, Pairing::HalfSplit), 1, &POSITIONS);
}
