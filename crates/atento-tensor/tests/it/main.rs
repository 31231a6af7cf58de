//! What a whole training step does with memory and threads. The tests count allocations of the process, so they take
//! turns ([`model::alone`]).

mod allocations;
mod model;
mod seam;
mod steps;
