//! `atento fill-mask MODEL`: the words that masked tokens may stand for.

use atento::families::Head;
use atento::pipelines::TextModel;
use atento::pipelines::texts::fill_mask::Word;
use serde_json::json;

use super::{ModelAndTexts, TooLongArgs, load, ready};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::number::positive;
use crate::ui::options::Options;

/// Find the words that masked tokens stand for
///
/// A text has the model's mask token, such as [MASK] or <mask>, in place of each word that is looked for. Prints the words of
/// a mask, the likeliest first, as `word TAB probability`, all on one line; several masks are set apart by ` | `.
///
/// With --json every line gives {"text", "masks": [[{"token", "id", "prob"}]]}, a list for each mask, the likeliest first.
/// "token" is the vocabulary's spelling. A line that cannot be used gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct FillMaskArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    /// Words for each mask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    top_k: usize,

    #[command(flatten)]
    too_long: TooLongArgs,
}

impl FillMaskArgs {
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
pub fn run(args: &FillMaskArgs, options: &Options) -> Result<(), Failure> {
    let models = load(&args.input, &[Head::Words, Head::Pretraining], "fill-mask", options)?;
    let mask = models.get(0).mask()?;
    let prepare = |model: &TextModel, line: &str| {
        let found = ready(model, line, None, args.too_long.what())?;
        let dropped = found.input.dropped;
        model.require_mask(&found.input).map_err(|_| match dropped > 0 && line.contains(&mask) {
            true => anyhow::anyhow!(
                "{mask} is among the {dropped} tokens that would be cut off: shorten the text before it"
            ),
            false => anyhow::anyhow!("the text has no {mask}{}", hint(line, &mask)),
        })?;
        anyhow::Ok(found)
    };
    let work = |model: &TextModel, texts: &[&_]| model.fill_mask(texts, args.top_k);
    args.input.each(&models, options, prepare, work, |model, out, text, _, masks| {
        if options.json {
            let word = |word: &Word| {
                let token = model.tokenizer.id_to_token(word.id);
                json!({ "token": token, "id": word.id, "prob": word.probability })
            };
            let masks: Vec<Vec<_>> = masks.iter().map(|words| words.iter().map(word).collect()).collect();
            return out.json(&json!({ "text": text, "masks": masks }));
        }
        let masks: Vec<String> = masks.iter().map(|words| plain(model, words)).collect();
        out.line(masks.join(" | "))
    })
}

/// What a text has in place of the mask, where that looks like one.
fn hint(line: &str, mask: &str) -> String {
    let others = ["[MASK]", "<mask>", "[mask]", "<MASK>", "___"];
    match others.into_iter().find(|other| *other != mask && line.contains(other)) {
        Some(other) => format!(", but {other}: this model's mask is {mask}"),
        None => " in place of a word".into(),
    }
}

fn plain(model: &TextModel, words: &[Word]) -> String {
    let spelled = |word: &Word| {
        let text = model.tokenizer.decode(&[word.id], false).unwrap_or_default();
        let text = if text.trim().is_empty() { model.tokenizer.id_to_token(word.id).unwrap_or_default() } else { text };
        format!("{}\t{:.4}", text.trim(), word.probability)
    };
    words.iter().map(spelled).collect::<Vec<_>>().join("\t")
}
