//! Models of the Hugging Face Hub, by their names wherever a verb takes a model.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::hub::remote::{Error, Fetched, Hub, Name, Part, Progress, base_of_adapter};
use atento::messages::nearest;
use atento::train::{checkpoint_model, is_checkpoint};
use indicatif::HumanBytes;

use super::train;
use crate::ui::bar::Bar;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Finds the models that the arguments of a verb name.
pub struct Locator<'o> {
    options: &'o Options,
}

impl<'o> Locator<'o> {
    /// Tells what it fetches as the options say.
    pub fn new(options: &'o Options) -> Self {
        Self { options }
    }

    /// Puts the directory of a model of the Hub in the place of its name, and that of its model in the place of a checkpoint.
    /// Any other path where something lies stays as it is. Of an adapter the model that it is for is fetched too.
    ///
    /// # Errors
    /// Nothing lies there, and the Hub does not give such a model.
    pub fn model(&self, path: &mut PathBuf) -> Result<(), Failure> {
        self.adapter(path)?;
        self.base(path);
        Ok(())
    }

    /// Fetches the model that an adapter is for, where that is one of the Hub. Whoever opens the adapter says what to do without.
    fn base(&self, path: &Path) {
        let Some(base) = base_of_adapter(path) else { return };
        if let Err(error) = self.fetch(&base, Part::Model) {
            self.options.note(format_args!("the model that {} is for was not fetched: {error}", path.display()));
        }
    }

    /// The same of an adapter that is put on a model of its own.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn adapter(&self, path: &mut PathBuf) -> Result<(), Failure> {
        self.find(path, Part::Model)?;
        if is_checkpoint(path) {
            let is_new = !path.join("model").is_dir();
            *path = checkpoint_model(path).map_err(train::failure)?;
            if is_new {
                self.options.note(format_args!("the model of the checkpoint was written to {}", path.display()));
            }
        }
        Ok(())
    }

    /// The same of a model of which only the tokenizer or the configuration is wanted.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn description(&self, path: &mut PathBuf) -> Result<(), Failure> {
        self.find(path, Part::Description)
    }

    /// The same of a model that the cache may have and that nobody asks the Hub for.
    pub fn cached(&self, path: &mut PathBuf) {
        let cached = || Hub::from_env().ok()?.cached(&named(path)?);
        if let Some(dir) = cached() {
            *path = dir;
        }
    }

    fn find(&self, path: &mut PathBuf, part: Part) -> Result<(), Failure> {
        let Some(name) = named(path) else { return Ok(()) };
        let text = path.display().to_string();
        if let Some(near) = near(path) {
            return Err(anyhow!(
                "{text}: not found; there is `{near}` beside it (hf://{text} asks the Hugging Face Hub)"
            )
            .into());
        }
        *path = self.fetch(&name, part).map_err(|error| failure(error, &text))?;
        Ok(())
    }

    fn fetch(&self, name: &Name, part: Part) -> Result<PathBuf, Error> {
        let mut bar: Option<(usize, Bar)> = None;
        let mut show = |progress: Progress<'_>| {
            let shown = bar.as_ref().filter(|(number, _)| *number == progress.number);
            if shown.is_none() {
                bar = Some((progress.number, Bar::of_bytes(self.options, progress.total, progress.file)));
            }
            if let Some((_, bar)) = &bar {
                bar.set_bytes(progress.done);
            }
        };
        let Fetched { dir, files, bytes, note } = Hub::from_env()?.fetch(name, part, &mut show)?;
        drop(bar);
        note.iter().for_each(|note| self.options.note(note));
        if files > 0 {
            let (size, dir) = (HumanBytes(bytes), dir.display());
            self.options.note(format_args!("{name}: {files} files ({size}) were fetched into {dir}"));
        }
        Ok(dir)
    }
}

/// The name of a model of the Hub that stands where a path could; none where something lies there.
fn named(path: &Path) -> Option<Name> {
    let text = path.to_str()?;
    // A tokenizer may be named by its file.
    let is_path = || path.exists() || path.is_symlink() || path.extension().is_some_and(|ending| ending == "json");
    if !Name::is_explicit(text) && is_path() { None } else { Name::parse(text) }
}

/// What lies beside a path that it may have been meant for.
fn near(path: &Path) -> Option<String> {
    if Name::is_explicit(path.to_str()?) {
        return None;
    }
    let entries = std::fs::read_dir(path.parent()?).ok()?.flatten();
    let beside: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    nearest(path.file_name()?.to_str()?, beside.iter().map(String::as_str)).map(str::to_owned)
}

/// Whose fault it was, for the exit code; `text` is what stood in the place of a path.
fn failure(error: Error, text: &str) -> Failure {
    let is_of_machine = error.is_of_machine();
    let told = match Name::is_explicit(text) {
        true => anyhow!(error),
        false => anyhow!("{error} (and nothing lies at {text} here)"),
    };
    if is_of_machine { Failure::Run(told) } else { Failure::Input(told) }
}
