//! Every kernel, at every SIMD level: against its f64 reference, its gradients against finite
//! differences of that reference, and against numbers made with PyTorch 2 in f64.

#![allow(clippy::excessive_precision)] // Golden numbers stand as PyTorch printed them.

mod support;

mod activations;
mod compact;
mod losses;
mod matrices;
mod norms;
mod optimisers;
mod recurrent;
mod rms_norms;
mod rotary;
mod rows;
mod threads;
