//! The options of the chores: `--name value`, the rest are words.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// What the command line asks for; a path is taken from the working directory.
#[derive(Debug, Default)]
pub struct Options {
    /// Words without dashes.
    pub words: Vec<String>,
    /// Rounds of a comparison.
    pub rounds: Option<usize>,
    /// The Python environment.
    pub venv: Option<PathBuf>,
    /// The model directory.
    pub model: Option<PathBuf>,
    /// The GGUF file.
    pub gguf: Option<PathBuf>,
    /// The data directory.
    pub data: Option<PathBuf>,
    /// Sentences with labels.
    pub sentences: Option<PathBuf>,
    /// The directory of a sentence encoder.
    pub encoder: Option<PathBuf>,
    /// The recipe to train.
    pub recipe: Option<PathBuf>,
    /// Updates measured in a run.
    pub steps: Option<usize>,
    /// Hypotheses kept by the search.
    pub beam: Option<usize>,
    /// Inputs of each target of the fuzzer.
    pub runs: Option<usize>,
    /// What the fuzzer's inputs follow from.
    pub seed: Option<u64>,
    /// The one kind of file that the fuzzer changes.
    pub target: Option<String>,
    /// The binary that the fuzzer tries, in place of the one it builds.
    pub program: Option<PathBuf>,
    /// An input that the fuzzer kept.
    pub repeat: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after the verb.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                options.words.push(arg);
                continue;
            };
            let mut value = || args.next().with_context(|| format!("--{name} needs a value"));
            match name {
                "rounds" => options.rounds = Some(number(name, &value()?)?),
                "venv" => options.venv = Some(std::path::absolute(value()?)?),
                "model" => options.model = Some(std::path::absolute(value()?)?),
                "gguf" => options.gguf = Some(std::path::absolute(value()?)?),
                "data" => options.data = Some(std::path::absolute(value()?)?),
                "sentences" => options.sentences = Some(std::path::absolute(value()?)?),
                "encoder" => options.encoder = Some(std::path::absolute(value()?)?),
                "recipe" => options.recipe = Some(std::path::absolute(value()?)?),
                "steps" => options.steps = Some(number(name, &value()?)?),
                "beam" => options.beam = Some(number(name, &value()?)?),
                "runs" => options.runs = Some(number(name, &value()?)?),
                "seed" => options.seed = Some(number(name, &value()?)?),
                "target" => options.target = Some(value()?),
                "program" => options.program = Some(std::path::absolute(value()?)?),
                "repeat" => options.repeat = Some(std::path::absolute(value()?)?),
                _ => bail!("no option --{name}\n\n{}", super::USAGE),
            }
        }
        Ok(options)
    }
}

fn number<T: FromStr + PartialOrd + From<u8>>(name: &str, value: &str) -> Result<T> {
    match value.parse() {
        Ok(number) if number >= T::from(1) => Ok(number),
        _ => bail!("--{name} {value}: expected a whole number from 1 up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_and_options_may_stand_in_any_order() {
        let options = parse("step --rounds 3 train --venv /tmp/v").unwrap();
        assert_eq!(options.words, ["step", "train"]);
        assert_eq!(options.rounds, Some(3));
        assert_eq!(options.venv, Some(PathBuf::from("/tmp/v")));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, part) in
            [("--rounds", "needs a value"), ("--rounds 0", "from 1 up"), ("--ronds 3", "no option --ronds")]
        {
            assert!(parse(line).unwrap_err().to_string().contains(part), "{line}");
        }
    }
}
