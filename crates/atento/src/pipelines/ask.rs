//! The short way to ask a model with a head about one text.

use super::texts::answer::AnswerOptions;
use super::texts::embed::EmbedOptions;
use super::texts::tag::Entity;
use super::texts::{self, TooLong};
use super::{Error, Model, TextModel};
use crate::families::Head;

/// Words that are named for a mask.
const WORDS: usize = 5;

impl Model {
    /// The labels of a text with their probabilities, the likeliest first; the outputs of a model of values with those.
    ///
    /// # Errors
    /// The model does not label texts; a text without a token, or longer than its positions.
    pub fn classify(&self, text: &str) -> Result<Vec<(String, f32)>, Error> {
        let model = self.texts("classify", Head::Labels)?;
        let [judged] = &model.classify(&[&model.encode(text, None, TooLong::Refuse)?])?[..] else {
            return Err(texts::Error::Empty.into());
        };
        let values = judged.probabilities.as_ref().unwrap_or(&judged.logits).iter().copied();
        let mut labels: Vec<(String, f32)> = model.model.config.labels.iter().cloned().zip(values).collect();
        labels.sort_by(|(_, x), (_, y)| y.total_cmp(x));
        Ok(labels)
    }

    /// The entities of a text.
    ///
    /// # Errors
    /// The model does not label tokens; a text without a token, or longer than its positions.
    pub fn tag(&self, text: &str) -> Result<Vec<Entity>, Error> {
        let model = self.texts("tag", Head::Tags)?;
        let tagged = model.tag(&[&model.encode(text, None, TooLong::Refuse)?])?;
        Ok(tagged.into_iter().flat_map(|tagged| tagged.entities).collect())
    }

    /// The answer to a question in the words of a context, however long that is.
    ///
    /// # Errors
    /// The model finds no answers; an empty context, or a question that leaves no room for it.
    pub fn answer(&self, question: &str, context: &str) -> Result<String, Error> {
        let (model, how) = (self.texts("answer", Head::Span)?, AnswerOptions::default());
        let windows = model.encode_question(question, context, &how)?;
        let answers = model.answer(&[&windows], &how)?;
        let words = |from: usize, to: usize| context.chars().skip(from).take(to - from).collect();
        Ok(answers.first().map(|answer| words(answer.start, answer.end)).unwrap_or_default())
    }

    /// Which of several texts goes with a prompt, as its number from 0.
    ///
    /// # Errors
    /// The model does not choose; nothing to choose from; a text longer than its positions.
    pub fn choose(&self, prompt: &str, choices: &[&str]) -> Result<usize, Error> {
        let model = self.texts("choose", Head::Choice)?;
        let pairs = choices.iter().map(|choice| model.encode(prompt, Some(choice), TooLong::Refuse));
        let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
        let found = model.choose(&[&pairs])?;
        found.first().map(|found| found.choice).ok_or_else(|| texts::Error::Empty.into())
    }

    /// The five likeliest words for each mask of a text, with their probabilities.
    ///
    /// # Errors
    /// The model finds no words; a text without a mask, or longer than the model's positions.
    pub fn fill_mask(&self, text: &str) -> Result<Vec<Vec<(String, f32)>>, Error> {
        let model = match self {
            Self::Text(model) if model.model.config.head == Head::Pretraining => &**model,
            _ => self.texts("fill-mask", Head::Words)?,
        };
        let text = model.encode(text, None, TooLong::Refuse)?;
        model.require_mask(&text)?;
        let masks = model.fill_mask(&[&text], WORDS)?.into_iter().flatten();
        let named = masks.map(|words| {
            let words = words.iter();
            words.map(|word| Ok((model.tokenizer.decode(&[word.id], false)?, word.probability))).collect()
        });
        named.collect()
    }

    /// The mean of a text's last states.
    ///
    /// # Errors
    /// The model translates or goes on with texts; a text without a token, or longer than its positions.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        let Self::Text(model) = self else {
            let (does, asked) = (self.head().does(), "embed");
            return Err(Error::OtherKind { does, asked, expected: "reads whole texts" });
        };
        let found = model.embed(&[&model.encode(text, None, TooLong::Refuse)?], &EmbedOptions::default())?;
        Ok(found.into_iter().flat_map(|found| found.layers).flatten().collect())
    }

    fn texts(&self, asked: &'static str, expected: Head) -> Result<&TextModel, Error> {
        match self {
            Self::Text(model) if model.model.config.head == expected => Ok(model),
            _ => Err(self.other_kind(asked, expected)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Model {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
        Model::load(root.join(name)).unwrap()
    }

    #[test]
    fn a_model_with_a_head_answers_about_one_text_and_names_what_it_does_not_do() {
        let labels = model("bert-labels").classify("a red cat runs").unwrap();
        assert!(labels.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{labels:?}");
        assert!((labels.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-5, "{labels:?}");
        let words = model("bert-words");
        let filled = words.fill_mask("a [MASK] cat [MASK]").unwrap();
        assert_eq!(filled.iter().map(Vec::len).collect::<Vec<_>>(), [WORDS, WORDS]);
        assert!(words.fill_mask("a cat").unwrap_err().to_string().contains("[MASK]"));
        assert!(words.embed("a cat").unwrap().iter().all(|x| x.is_finite()));
        let message = words.classify("a cat").unwrap_err().to_string();
        assert!(message.contains("classify is for a model that gives whole texts labels"), "{message}");
        assert!(model("gpt2-tiny").embed("a cat").is_err());
        let context = "the red cat runs and the dog sees it";
        let answer = model("bert-span").answer("what runs", context).unwrap();
        assert!(!answer.is_empty() && context.contains(&answer), "{answer:?}");
        assert!(model("bert-choice").choose("a cat", &["runs", "a dog", "sees"]).unwrap() < 3);
        assert!(model("bert-choice").choose("a cat", &[]).is_err());
        model("bert-tags").tag("a red cat").unwrap();
    }
}
