//! Training: recipes, run directories, checkpoints, schedules, the loop and what is reported.

pub(crate) mod added_tokens;
pub(crate) mod adopt;
pub mod build;
pub mod checkpoint;
pub mod early_stopping;
mod error;
pub mod events;
mod exact;
mod finish;
pub(crate) mod freeze;
mod learner;
pub(crate) mod memory;
pub mod metrics;
pub mod optimizer;
mod options;
pub mod plan;
pub mod recipe;
pub mod report;
mod request;
pub(crate) mod resume;
pub mod run_dir;
pub mod schedule;
pub mod step;
pub mod stop;
pub mod tensorboard;
pub mod trainer;
pub(crate) mod workload;

pub use checkpoint::{Checkpoints, TrainState};
pub use early_stopping::EarlyStopping;
pub use error::Error;
pub use events::{Event, Reporter};
pub use learner::Learner;
pub use metrics::{Metrics, Record};
pub use optimizer::Optimizer;
pub use options::TrainOptions;
pub use plan::{Plan, plan, plan_in};
pub use recipe::{OptimizerSettings, Recipe};
pub use report::Report;
pub use run_dir::RunDir;
pub use schedule::Schedule;
pub use step::{StepError, StepOptions, StepStats, train_step};
pub use stop::StopFlag;
pub use tensorboard::TensorBoard;
pub use trainer::{Summary, show_masks, train};

pub use crate::tasks::ShownExample;
