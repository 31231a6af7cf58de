//! Training: recipes, run directories, checkpoints, schedules and what is reported.

pub mod recipe;

pub use recipe::Recipe;
