//! What the passes refuse before they write anything.

use super::*;

/// Attention of one head of four numbers.
fn one_head(segments: &[Segment]) -> Attention<'_> {
    Attention {
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 4,
        scale: 1.0,
        causal: false,
        window: None,
        bias: None,
        dropout: None,
        segments,
    }
}

fn panics<R>(f: impl FnOnce() -> R) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
}

#[test]
fn segments_may_share_keys_in_the_forward_but_not_queries() {
    let data = Case { lengths: &[(3, 7), (2, 7)], ..PLAIN }.data();
    let mut shared = Data { segments: data.segments.clone(), ..data };
    shared.segments[1].key_start = 0;
    let attention = PLAIN.attention(&shared);
    let qkv = Qkv::Separate {
        query: Rows { data: &shared.query, stride: 32 },
        key: Rows { data: &shared.key, stride: 32 },
        value: Rows { data: &shared.value, stride: 32 },
    };
    let mut out = vec![0.0; shared.query.len()];
    attention.forward(&qkv, &mut out, None);
    assert!(out.iter().all(|&x| x != 0.0));
    let mut overlapping = attention.segments.to_vec();
    overlapping[1].query_start = 2;
    let attention = Attention { segments: &overlapping, ..attention };
    assert!(panics(|| attention.forward(&qkv, &mut out, None)));
}

#[test]
#[should_panic(expected = "two segments share key row 4")]
fn a_backward_over_shared_keys_is_refused() {
    let mut data = Case { lengths: &[(3, 7), (2, 7)], ..PLAIN }.data();
    data.segments[1].key_start = 4;
    run(&PLAIN, &data, Layout::QueryAndPacked);
}

#[test]
#[should_panic(expected = "but qkv has")]
fn a_segment_beyond_its_buffer_is_refused() {
    let mut data = PLAIN.data();
    data.segments[0].key_len = usize::MAX;
    run(&PLAIN, &data, Layout::QueryAndPacked);
}

/// Sizes whose products wrap, and views whose rows would overlap: each must panic before anything is written.
#[test]
fn sizes_that_cannot_be_counted_and_rows_that_overlap_are_refused() {
    let half = usize::MAX / 2 + 1;
    let segments = [Segment { query_start: 0, query_len: 2, key_start: 0, key_len: 2 }];
    let plain = one_head(&segments);
    let x = [0.5f32; 24];
    let forward = |attention: Attention<'_>, qkv: Qkv<'_>| {
        let mut out = [9.0f32; 8];
        (panics(|| attention.forward(&qkv, &mut out, None)), out)
    };
    let refused = |attention: Attention<'_>, qkv: Qkv<'_>| forward(attention, qkv) == (true, [9.0; 8]);
    let packed = Qkv::Packed(&x);
    assert!(!forward(plain, packed).0);
    for (n_heads, n_kv_heads, head_dim) in
        [(half, half, 2), (half, 1, 2), (2, 2, half), (1, 1, half), (1, 1, usize::MAX)]
    {
        let attention = Attention { n_heads, n_kv_heads, head_dim, ..plain };
        assert!(refused(attention, packed), "{n_heads}, {n_kv_heads}, {head_dim}");
        let attention = Attention { segments: &[], ..attention };
        assert!(refused(attention, packed), "{n_heads}, {n_kv_heads}, {head_dim}, no segments");
    }
    let rows = |stride| Rows { data: &x[..8], stride };
    for stride in [0, 3, usize::MAX] {
        assert!(refused(plain, Qkv::Separate { query: rows(stride), key: rows(4), value: rows(4) }), "{stride}");
        assert!(refused(plain, Qkv::Separate { query: rows(4), key: rows(4), value: rows(stride) }), "{stride}");
    }
    for (query_start, query_len) in [(usize::MAX, 2), (1, usize::MAX), (2, 1), (1, 2)] {
        let segments = [Segment { query_start, query_len, ..segments[0] }];
        assert!(refused(Attention { segments: &segments, ..plain }, packed), "{query_start}, {query_len}");
    }
    let bias = |max_query_len, max_key_len| Some(super::Bias { data: &[], max_query_len, max_key_len });
    for (queries, keys) in [(half, 2), (2, half), (half, half)] {
        assert!(refused(Attention { bias: bias(queries, keys), ..plain }, packed), "{queries}, {keys}");
    }
    let mut overlapping = [9.0f32; 8];
    let grad = QkvGrad::Separate {
        query: RowsMut { data: &mut overlapping, stride: 2 },
        key: RowsMut { data: &mut [0.0; 8], stride: 4 },
        value: RowsMut { data: &mut [0.0; 8], stride: 4 },
    };
    assert!(panics(|| plain.backward(&packed, &[0.0; 8], &[0.0; 2], &[0.0; 8], grad, None)));
    assert_eq!(overlapping, [9.0; 8]);
}

#[test]
fn a_window_needs_a_key() {
    let segments = [Segment { query_start: 0, query_len: 2, key_start: 0, key_len: 2 }];
    let plain = one_head(&segments);
    let x = [0.5f32; 24];
    for (causal, window, fine) in
        [(true, 1, true), (true, usize::MAX, true), (true, 0, false), (false, 1, true), (false, 0, false)]
    {
        let attention = Attention { causal, window: Some(window), ..plain };
        let refused = panics(|| attention.forward(&Qkv::Packed(&x), &mut [0.0; 8], None));
        assert_eq!(refused, !fine, "causal {causal}, window {window}");
    }
}

/// Sizes that are counted in 32 bits, or that make the scratch's length wrap; no row is needed for them.
#[test]
fn heads_too_long_for_the_loops_or_the_scratch_are_refused() {
    let attention = Attention { head_dim: usize::MAX / 8, ..one_head(&[]) };
    let (none, grad) = (Qkv::Packed(&[]), QkvGrad::Packed(&mut []));
    assert!(panics(|| attention.forward(&none, &mut [], None)));
    assert!(panics(|| attention.backward(&none, &[], &[], &[], grad, None)));
    let empty = [Segment { query_start: 0, query_len: 0, key_start: 0, key_len: 0 }];
    let weights = |head_dim| panics(|| Attention { head_dim, ..one_head(&empty) }.weights(&none, 0, &mut []));
    assert!(!weights(64));
    assert!((u32::MAX as usize).checked_add(1).is_none_or(weights));

    let len = |key_len: usize, fixed: usize, rows: usize, copies: usize| {
        let segments = [Segment { query_start: 0, query_len: 1, key_start: 0, key_len }];
        scratch::scratch_len(&one_head(&segments), fixed, rows, copies)
    };
    assert_eq!(len(7, 10, 3, 2), 10 + (3 + 2 * 7) * 4);
    assert!(panics(|| len(usize::MAX / 2 + 1, 0, 0, 2)), "copies × keys");
    assert!(panics(|| len(usize::MAX, 0, 1, 1)), "copied keys + rows");
    assert!(panics(|| len(usize::MAX / 4 + 1, 0, 0, 1)), "rows × head_dim");
    assert!(panics(|| len(0, 4, usize::MAX / 4, 0)), "rows · head_dim + fixed");
}

#[test]
fn pairs_are_those_of_a_query_and_a_key_that_it_sees() {
    let segment = |query_len, key_len| Segment { query_start: 0, query_len, key_start: 0, key_len };
    for (query_len, key_len, causal, window, expected) in [
        (4, 4, false, None, 16),
        (4, 4, true, None, 10),
        (1, 7, true, None, 7),
        (3, 2, true, None, 3),
        (5, 5, true, Some(2), 9),
        (5, 5, false, Some(2), 13),
        (0, 5, false, None, 0),
    ] {
        let found = segment(query_len, key_len).pairs(causal, window);
        assert_eq!(found, expected, "{query_len} queries, {key_len} keys, causal {causal}, window {window:?}");
    }
}
