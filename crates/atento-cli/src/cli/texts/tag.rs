//! `atento tag MODEL`: labels of tokens, and the entities that they make.

use atento::families::Head;
use atento::pipelines::TextModel;
use atento::pipelines::texts::tag::{Entity, Tagged};
use atento::text::EncodedPair;
use serde_json::{Value, json};

use super::{ModelAndTexts, TooLongArgs, load, ready};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Find entities in texts, or whatever else a model's labels of tokens say
///
/// A word has the label of its first token; words are joined to an entity as `B-` and `I-` say, or by equal labels. Prints
/// `entity TAB label` for each, all on one line.
///
/// With --json every line gives {"text", "entities": [{"text", "label", "start", "end", "score"}], "tokens": [{"id", "label",
/// "logits"}]}. "start" and "end" are characters of the text; "tokens" are all of them, those around the text included. A
/// line that cannot be used gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct TagArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    #[command(flatten)]
    too_long: TooLongArgs,
}

impl TagArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.input.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or a line is wrong; standard output cannot be written.
pub fn run(args: &TagArgs, options: &Options) -> Result<(), Failure> {
    let models = load(&args.input, &[Head::Tags], "tag", options)?;
    let prepare = |model: &TextModel, line: &str| {
        anyhow::ensure!(!line.trim().is_empty(), "the text is empty");
        ready(model, line, None, args.too_long.what())
    };
    let work = |model: &TextModel, texts: &[&_]| model.tag(texts);
    args.input.each(&models, options, prepare, work, |model, out, text, tokens, tagged| {
        if options.json {
            return out.json(&object(text, tokens, &tagged, &model.model.config.labels));
        }
        let plain = |entity: &Entity| format!("{}\t{}", part(text, entity).replace('\t', " "), entity.label);
        out.line(tagged.entities.iter().map(plain).collect::<Vec<_>>().join("\t"))
    })
}

fn object(text: &str, tokens: &EncodedPair, tagged: &Tagged, labels: &[String]) -> Value {
    let entity = |entity: &Entity| {
        let Entity { label, start, end, score } = entity;
        json!({ "text": part(text, entity), "label": label, "start": start, "end": end, "score": score })
    };
    let token = |(id, logits): (&u32, &Vec<f32>)| {
        let best = (1..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        json!({ "id": id, "label": labels[best], "logits": logits })
    };
    let tokens: Vec<Value> = tokens.ids.iter().zip(&tagged.logits).map(token).collect();
    json!({ "text": text, "entities": tagged.entities.iter().map(entity).collect::<Vec<_>>(), "tokens": tokens })
}

/// The characters of an entity.
fn part(text: &str, entity: &Entity) -> String {
    text.chars().skip(entity.start).take(entity.end - entity.start).collect()
}
