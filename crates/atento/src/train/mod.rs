//! Training: recipes, run directories, checkpoints, schedules and what is reported.

pub mod optimizer;
pub mod recipe;

pub use optimizer::Optimizer;
pub use recipe::Recipe;
