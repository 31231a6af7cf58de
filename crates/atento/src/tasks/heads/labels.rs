//! Which labels a head has: those of the run that goes on, of the model to start from, or of the training data.

use crate::data::labelled::{Aim, LabelSet};
use crate::families::Head;
use crate::families::heads::Objective;
use crate::hub::ModelDir;
use crate::pipelines::LoadError;
use crate::train::Error;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::Recipe;

/// The labels of the run that goes on, of the model to start from where it has those of the data, or those that `of_data`
/// finds in the training data.
///
/// # Errors
/// Whatever `of_data` finds; a model that cannot be read, or whose labels are partly those of the data.
pub(crate) fn settle(
    recipe: &Recipe,
    resumed: Option<&Checkpoint>,
    aim: Aim,
    of_data: impl FnOnce() -> Result<LabelSet, Error>,
) -> Result<LabelSet, Error> {
    if let Some(checkpoint) = resumed
        && let Some(headed) = checkpoint.state.identity.model.headed()
    {
        return Ok(LabelSet::of_model(aim, headed.labels.clone()));
    }
    let of_data = of_data()?;
    let Some(path) = &recipe.from else { return Ok(of_data) };
    let dir = ModelDir::open(path).map_err(LoadError::from)?;
    let config = dir.model_config().map_err(LoadError::from)?;
    let head = recipe.task.head();
    let of_model = config
        .headed()
        .filter(|headed| headed.head == head && (head != Head::Labels || headed.objective == objective(aim)));
    let Some(headed) = of_model else { return Ok(of_data) };
    // A model that knows these labels keeps its outputs; names that nobody has given are no labels.
    let is_named = headed.labels.iter().enumerate().any(|(at, name)| *name != format!("LABEL_{at}"));
    let are_known = of_data.names.iter().all(|name| headed.labels.contains(name));
    let is_number = |name: &String| name.parse().is_ok_and(|at: usize| at < headed.labels.len());
    let are_numbers =
        || of_data.names.iter().all(is_number) && headed.labels.iter().all(|label| label.parse::<usize>().is_err());
    let is_value = aim == Aim::Value;
    if is_value && headed.labels.len() == 1 || !is_value && (are_known || are_numbers()) {
        return Ok(LabelSet::of_model(aim, headed.labels.clone()));
    }
    if !is_value && is_named && headed.labels.iter().any(|label| of_data.names.contains(label)) {
        let problem = format!(
            "the labels of the data ({}) and those of the model ({}) contradict each other: rename those of the data, or \
             start from a model without labels",
            of_data.names.join(", "),
            headed.labels.join(", ")
        );
        return Err(Error::Setting { key: "from", problem });
    }
    Ok(of_data)
}

/// What outputs of whole texts are measured by.
pub(crate) fn objective(aim: Aim) -> Objective {
    match aim {
        Aim::Label => Objective::Classification,
        Aim::ManyLabels => Objective::MultiLabel,
        Aim::Value => Objective::Regression,
    }
}

/// That a label of the model never occurs in the training data, if one does not; labels come with their counts.
pub(crate) fn unheard(labels: &[(String, u64)]) -> Vec<String> {
    let never: Vec<String> =
        labels.iter().filter(|(_, count)| *count == 0).map(|(label, _)| format!("{label:?}")).collect();
    let told = || format!("labels that the training data never has: {}", never.join(", "));
    (!never.is_empty()).then(told).into_iter().collect()
}
