//! Training: recipes, run directories, checkpoints, schedules and what is reported.

mod atomic;
pub mod checkpoint;
pub mod early_stopping;
mod exact;
pub mod recipe;
pub mod schedule;
pub mod stop;

pub use early_stopping::EarlyStopping;
pub use recipe::Recipe;
pub use schedule::Schedule;
pub use stop::StopFlag;
