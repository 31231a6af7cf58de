use std::sync::Arc;

use super::super::testing::{Case, Found, Op, assert_close};
use super::{DisentangledSpec, Segment};
use crate::ops::Buckets;
use crate::{Graph, Tensor, Weight};

const LOG: Buckets = Buckets::Log { bucket_size: 4, max_position: 6 };

fn spec(n_heads: usize, head_dim: usize, terms: usize, span: usize, buckets: Buckets) -> DisentangledSpec {
    let scale = ((head_dim * (1 + terms)) as f32).powf(-0.5);
    DisentangledSpec { n_heads, head_dim, scale, dropout: 0.0, span, buckets }
}

/// Sequences one after the other.
fn segments(lengths: &[usize]) -> Arc<[Segment]> {
    let mut start = 0;
    let one = |&len: &usize| {
        let segment = Segment { query_start: start, query_len: len, key_start: start, key_len: len };
        start += len;
        segment
    };
    lengths.iter().map(one).collect()
}

/// Which of the terms there are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Terms {
    None,
    Keys,
    Queries,
    Both,
}

/// A case whose leaves are the packed projection and the tables that the terms need.
fn case(spec: DisentangledSpec, terms: Terms, rows: usize) -> Case {
    let width = spec.n_heads * spec.head_dim;
    let tables = match terms {
        Terms::None => 0,
        Terms::Keys | Terms::Queries => 1,
        Terms::Both => 2,
    };
    (0..tables).fold(Case::new().leaf(&[rows, 3 * width]), |case, _| case.leaf(&[2 * spec.span, width]))
}

/// The op over such leaves.
fn op(
    spec: DisentangledSpec,
    terms: Terms,
    lengths: &[usize],
) -> impl Fn(&mut Graph<'_>, &[Tensor], &[Weight]) -> Vec<Tensor> {
    let segments = segments(lengths);
    move |g, x, _| {
        let (keys, queries) = match terms {
            Terms::None => (None, None),
            Terms::Keys => (Some(&x[1]), None),
            Terms::Queries => (None, Some(&x[1])),
            Terms::Both => (Some(&x[1]), Some(&x[2])),
        };
        vec![g.disentangled_attention(spec, &x[0], keys, queries, &segments)]
    }
}

fn check(spec: DisentangledSpec, terms: Terms, lengths: &[usize]) -> Found {
    let rows = lengths.iter().sum();
    let found = case(spec, terms, rows).check_plain(&op(spec, terms, lengths));
    assert_eq!(found.shapes, [[rows, spec.n_heads * spec.head_dim]]);
    found
}

#[test]
fn every_combination_of_terms_has_the_gradients_of_finite_differences() {
    for (terms, count) in [(Terms::None, 0), (Terms::Keys, 1), (Terms::Queries, 1), (Terms::Both, 2)] {
        for (span, buckets) in [(4, LOG), (3, Buckets::Identity), (1, Buckets::Identity)] {
            check(spec(2, 3, count, span, buckets), terms, &[5, 1, 0, 2]);
        }
    }
}

#[test]
fn without_terms_it_is_the_plain_attention() {
    use crate::ops::{AttentionInput::Packed, AttentionSpec};
    let found = check(spec(2, 3, 0, 1, Buckets::Identity), Terms::None, &[4, 2]);
    let segments = segments(&[4, 2]);
    let plain = AttentionSpec::new(2, 3, false, 0.0);
    let plain = case(spec(2, 3, 0, 1, Buckets::Identity), Terms::None, 6)
        .run(&|g, x, _| vec![g.attention(plain, Packed(&x[0]), None, &segments)]);
    assert_close(&found.outputs[0], &plain.outputs[0]);
    assert_close(&found.leaf_grads[0], &plain.leaf_grads[0]);
}

#[test]
fn dropped_weights_are_dropped_in_the_backward() {
    let kept = spec(2, 3, 2, 4, LOG);
    let dropped = DisentangledSpec { dropout: 0.4, ..kept };
    let found = case(dropped, Terms::Both, 6).check(&op(dropped, Terms::Both, &[4, 2]));
    assert_ne!(found.outputs, check(kept, Terms::Both, &[4, 2]).outputs);
}

#[test]
fn a_constant_among_the_inputs_is_left_alone() {
    let spec = spec(1, 2, 2, 3, Buckets::Identity);
    let segments = segments(&[3]);
    let constant = |phase: usize| super::super::testing::wave(12, phase);
    Case::new().leaf(&[3, 6]).leaf(&[6, 2]).check_plain(&|g, x, _| {
        let keys = g.constant(&constant(5), &[6, 2]);
        vec![g.disentangled_attention(spec, &x[0], Some(&keys), Some(&x[1]), &segments)]
    });
    Case::new().leaf(&[6, 2]).check_plain(&|g, x, _| {
        let qkv = g.constant(&super::super::testing::wave(18, 7), &[3, 6]);
        let queries = g.constant(&constant(5), &[6, 2]);
        vec![g.disentangled_attention(spec, &qkv, Some(&x[0]), Some(&queries), &segments)]
    });
}

#[test]
fn rows_outside_every_segment_are_zero() {
    let spec = spec(1, 2, 2, 3, Buckets::Identity);
    let found = case(spec, Terms::Both, 4).check_plain(&op(spec, Terms::Both, &[3]));
    assert_eq!(found.outputs[0][6..], [0.0; 2]);
    assert_eq!(found.leaf_grads[0][18..], [0.0; 6]);
}

#[test]
fn tables_of_fewer_rows_give_the_same_where_they_reach() {
    let (whole, part) = (spec(1, 2, 2, 8, Buckets::Identity), spec(1, 2, 2, 4, Buckets::Identity));
    let found = case(whole, Terms::Both, 4).run(&op(whole, Terms::Both, &[4]));
    // Rows of the relative positions −4 to 3.
    let rows = |phase: usize| super::super::testing::wave(32, phase)[8..24].to_vec();
    let case = Case::new().leaf(&[4, 6]).leaf_of(&rows(10), &[8, 2]).leaf_of(&rows(20), &[8, 2]);
    let cut = case.run(&op(part, Terms::Both, &[4]));
    assert_eq!(cut.outputs, found.outputs);
    assert_eq!(cut.leaf_grads[0], found.leaf_grads[0]);
    for table in [1, 2] {
        assert_eq!(cut.leaf_grads[table], found.leaf_grads[table][8..24]);
    }
}

#[test]
fn recomputed_activations_have_the_same_gradients() {
    let spec = DisentangledSpec { dropout: 0.3, ..spec(2, 3, 2, 4, LOG) };
    let plain = op(spec, Terms::Both, &[5, 2]);
    let recomputed: Op<'_> = &|g, x, _| {
        let again = op(spec, Terms::Both, &[5, 2]);
        let inputs = Vec::from_iter(x);
        vec![g.checkpoint(&inputs, move |g, x| again(g, x, &[]).remove(0))]
    };
    let case = case(spec, Terms::Both, 7);
    assert_eq!(case.run(recomputed), case.run(&plain));
}

#[test]
fn values_and_gradients_are_those_of_transformers() {
    let cases = [
        (spec(2, 2, 2, 4, LOG), Terms::Both, &[6, 2][..]),
        (spec(1, 2, 2, 3, Buckets::Identity), Terms::Both, &[5]),
        (spec(1, 2, 1, 4, Buckets::Identity), Terms::Keys, &[4]),
        (spec(1, 2, 1, 4, Buckets::Identity), Terms::Queries, &[4]),
    ];
    let mut lines = include_str!("golden.txt").lines();
    for (spec, terms, lengths) in cases {
        let name = lines.next().unwrap();
        let found = case(spec, terms, lengths.iter().sum()).run(&op(spec, terms, lengths));
        println!("{name}");
        for values in found.outputs.iter().chain(&found.leaf_grads) {
            let expected = lines.next().unwrap().split(' ').map(|x| x.parse().unwrap());
            assert_close(values, &Vec::from_iter(expected));
        }
    }
    assert_eq!(lines.next(), None);
}
