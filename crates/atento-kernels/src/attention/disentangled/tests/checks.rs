//! What the passes refuse.

use super::*;

const SEGMENT: Segment = Segment { query_start: 0, query_len: 3, key_start: 0, key_len: 3 };

fn attention(segments: &[Segment]) -> Disentangled<'_> {
    Disentangled { n_heads: 1, head_dim: 2, scale: 1.0, span: 2, buckets: Buckets::Identity, dropout: None, segments }
}

fn forward(attention: &Disentangled<'_>, table: usize) {
    let keys = vec![0.0; table];
    attention.forward(&[0.0; 18], Relative { keys: Some(&keys), queries: None }, &mut [0.0; 6], None);
}

#[test]
fn a_sound_attention_passes() {
    forward(&attention(&[SEGMENT]), 8);
}

#[test]
#[should_panic(expected = "relative keys have 6 numbers, not 2 × 2 × 1 × 2")]
fn a_table_of_other_rows() {
    forward(&attention(&[SEGMENT]), 6);
}

#[test]
#[should_panic(expected = "has keys other than its queries")]
fn keys_of_another_sequence() {
    forward(&attention(&[Segment { key_len: 2, ..SEGMENT }]), 8);
}

#[test]
#[should_panic(expected = "segment 0 is")]
fn a_segment_beyond_its_buffers() {
    forward(&attention(&[Segment { query_start: 1, key_start: 1, ..SEGMENT }]), 8);
}

#[test]
#[should_panic(expected = "two segments share query row")]
fn segments_that_overlap() {
    let last = Segment { query_start: 2, query_len: 1, key_start: 2, key_len: 1 };
    forward(&attention(&[SEGMENT, last]), 8);
}

#[test]
#[should_panic(expected = "a span of 0")]
fn no_span() {
    forward(&Disentangled { span: 0, ..attention(&[SEGMENT]) }, 0);
}

#[test]
#[should_panic(expected = "16 buckets up to position 9")]
fn positions_that_end_before_the_logarithm_begins() {
    let buckets = Buckets::Log { bucket_size: 16, max_position: 9 };
    forward(&Disentangled { buckets, ..attention(&[SEGMENT]) }, 8);
}

#[test]
#[should_panic(expected = "heads of 9223372036854775807")]
fn sizes_that_cannot_be_counted() {
    forward(&Disentangled { n_heads: 3, head_dim: usize::MAX / 2, ..attention(&[SEGMENT]) }, 8);
}

#[test]
#[should_panic(expected = "a gradient of relative queries, which are left out")]
fn a_gradient_of_a_table_that_is_left_out() {
    let (out, lse, dout) = ([0.0; 6], [0.0; 3], [0.0; 6]);
    let gradient = RelativeGrad { keys: None, queries: Some(&mut [0.0; 8]) };
    attention(&[SEGMENT]).backward(&[0.0; 18], Relative::default(), &out, &lse, &dout, &mut [0.0; 18], gradient);
}
