use std::panic::{AssertUnwindSafe, catch_unwind};

use atento_kernels::matmul::Precision;
use half::bf16;

use super::*;

fn rng() -> Rng {
    Rng::new(1, 2)
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

/// `a` and `b` of four values, `c` of three, `d` of four: parameter number i is all i.
fn four() -> (Params, Vec<Weight>) {
    let (mut params, mut rng) = (Params::new(), rng());
    let dims = [("a", vec![2, 2]), ("b", vec![2, 2]), ("c", vec![3]), ("d", vec![2, 2])];
    let weights: Vec<Weight> = dims.iter().map(|(name, dims)| params.add(name, dims, Init::Ones, &mut rng)).collect();
    for (i, weight) in weights.iter().enumerate() {
        params.get_mut(*weight).fill(i as f32);
    }
    (params, weights)
}

#[test]
fn an_outline_of_any_size_has_the_table_and_no_values() {
    let (mut outline, rng) = (Params::outline(), &mut Rng::new(1, 0));
    outline.add("a", &[1 << 20, 1 << 20], Init::Xavier, rng);
    outline.add("b", &[7], Init::Ones, rng);
    assert_eq!((outline.count(), outline.has_values()), ((1 << 40) + 7, false));
    assert_eq!(outline.entries()[0].dims, [1 << 20, 1 << 20]);
    assert_eq!(outline.trainable_count(), outline.count());
    outline.freeze(|entry| entry.name == "a");
    assert_eq!((outline.count(), outline.trainable_count()), ((1 << 40) + 7, 7));
}

#[test]
fn neighbours_fuse_into_one_matrix() {
    let mut params = Params::new();
    let mut rng = rng();
    params.add("x", &[5], Init::Zeros, &mut rng);
    let q = params.add("q", &[4, 3], Init::Xavier, &mut rng);
    let k = params.add("k", &[2, 3], Init::Xavier, &mut rng);
    let fused = params.fused(&[q, k]);
    assert_eq!((fused.rows, fused.cols), (6, 3));
    assert_eq!(params.get(fused)[12..], *params.get(k));
    assert_eq!(params.parts(fused).collect::<Vec<_>>(), [q, k]);
}

#[test]
fn room_beyond_the_parameters_is_not_theirs() {
    let mut params = Params::with_room(5);
    params.add("a", &[3], Init::Ones, &mut rng());
    assert_eq!((params.count(), params.values()), (3, &[1.0; 3][..]));
    params.add("b", &[3], Init::Zeros, &mut rng());
    assert_eq!(params.values_mut(), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
#[should_panic(expected = "not neighbours")]
fn strangers_do_not_fuse() {
    let mut params = Params::new();
    let mut rng = rng();
    let q = params.add("q", &[4, 3], Init::Zeros, &mut rng);
    params.add("x", &[1], Init::Zeros, &mut rng);
    let k = params.add("k", &[4, 3], Init::Zeros, &mut rng);
    let _ = params.fused(&[q, k]);
}

#[test]
fn what_trains_is_all_of_the_arena_and_every_parameter_keeps_its_values() {
    let (mut params, weights) = four();
    assert_eq!(params.update_groups(|entry| entry.decay), [(0..8, true), (8..11, false), (11..15, true)]);
    params.freeze(|entry| entry.name == "a");
    assert_eq!(params.values(), [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
    assert_eq!(params.update_groups(|entry| entry.decay), [(0..4, true), (4..7, false), (7..11, true)]);
    assert_eq!((params.count(), params.trainable_count()), (15, 11));
    params.make_buffers(|entry| entry.name == "c");
    assert_eq!((params.buffers(), params.update_groups(|entry| entry.decay)), (&[2.0; 3][..], vec![(0..8, true)]));
    for (i, weight) in weights.iter().enumerate() {
        assert!(params.get(*weight).iter().all(|value| *value == i as f32), "{i}");
    }
    let names = [0, 4].map(|position| params.entry_at(position).unwrap().name.clone());
    assert_eq!((names, params.entry_at(8)), (["b".to_owned(), "d".to_owned()], None));
    assert!(panics(|| params.clone().get_mut(weights[0]).fill(0.0)), "it is frozen");
    params.get_mut(weights[2]).fill(9.0);
    assert_eq!(params.buffers(), [9.0; 3]);
}

#[test]
fn gradients_exist_for_what_trains_alone() {
    let (mut params, weights) = four();
    params.freeze(|entry| entry.name == "b");
    params.make_buffers(|entry| entry.name == "c");
    let mut grads = Grads::zeros(&params);
    assert_eq!(grads.values.len(), 8);
    grads.find_mut(weights[3]).unwrap().fill(1.0);
    assert_eq!(grads.values, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    assert!(grads.find_mut(weights[1]).is_none() && grads.find_mut(weights[2]).is_none());
    assert!(panics(|| assert!(grads.get(weights[1]).is_empty())));
    let [none, found] = grads.find_pair_mut([weights[2], weights[3]]);
    assert!(none.is_none());
    found.unwrap().fill(2.0);
    assert_eq!(grads.get(weights[3]), [2.0; 4]);
    let fused = params.fused(&[weights[0], weights[1]]);
    assert!(panics(|| assert!(grads.find_mut(fused).is_none())), "one part is trained, the other is not");
    assert!(!grads.belong_to(&four().0) && grads.belong_to(&params));
}

#[test]
fn what_is_frozen_before_it_is_loaded_has_no_values_until_it_is_given_some() {
    let (mut params, mut rng) = (Params::unloaded(6), rng());
    let a = params.add("a", &[2, 2], Init::Normal(1.0), &mut rng);
    let b = params.add("b", &[2], Init::Ones, &mut rng);
    params.freeze(|entry| entry.name == "a");
    assert_eq!((params.has_values(), params.values()), (false, &[0.0; 2][..]));
    assert!(panics(|| assert!(matches!(params.view(a), View::Parts))));
    let wrong = Frozen::F32(vec![1.0; 3].into());
    assert!(
        panics(|| params.clone().set_frozen(a, wrong))
            && panics(|| params.clone().set_frozen(b, Frozen::F32(vec![1.0; 2].into())))
    );
    struct Mapped(Vec<f32>);
    impl AsRef<[f32]> for Mapped {
        fn as_ref(&self) -> &[f32] {
            &self.0
        }
    }
    let mapped = std::sync::Arc::new(Mapped(vec![1.0, 2.0, 3.0, 4.0]));
    params.set_frozen(a, Frozen::F32(Values::Elsewhere(mapped)));
    assert_eq!((params.get(a), params.clone().get(a)), (&[1.0, 2.0, 3.0, 4.0][..], params.get(a)));
}

#[test]
fn a_matrix_in_fewer_bits_is_never_taken_for_f32_and_neighbours_apart_are_read_by_parts() {
    let (mut params, weights) = four();
    let fused = params.fused(&weights[..2]);
    params.freeze(|entry| entry.name == "b");
    assert!(matches!(params.view(fused), View::Parts) && panics(|| assert!(params.get(fused).is_empty())));
    let scales = vec![1.0; 2];
    for frozen in
        [Frozen::Bf16(vec![bf16::ONE; 4].into()), Frozen::Int8 { values: vec![1; 4].into(), scales: scales.into() }]
    {
        params.set_frozen(weights[1], frozen);
        assert!(panics(|| assert!(params.get(weights[1]).is_empty())));
        let View::Compact(compact) = params.view(weights[1]) else { panic!("{:?}", params.view(weights[1])) };
        let mut out = [0.0; 2];
        compact.forward(Precision::F32, 1, &[1.0, 1.0], &mut out);
        assert_eq!(out, [2.0, 2.0]);
    }
    params.freeze(|_| true);
    assert!(matches!(params.view(fused), View::Parts) && params.trainable_count() == 0);
}
