//! `atento attention MODEL TEXT [TARGET]`: what a model looks at, as a page, a drawing or JSON.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use atento::explain::{AttentionMaps, Choice, Error};
use atento::families::Head;
use atento::generate;
use atento::models::Precision;
use atento::pipelines::TextModel;
use atento::pipelines::texts::{self, TooLong};
use atento::pipelines::translate;

use super::generate::template;
use super::hub::Locator;
use super::model::{self, AdapterArgs, WeightsArgs};
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::out_file::OutFile;
use crate::ui::output::Output;
use crate::ui::table::bytes;
use crate::ui::unknown::Unknowns;

/// Pages beyond this size are slow to open.
const LARGE: usize = 64 << 20;

/// Show what a model looks at: the attention weights of every layer and head
///
/// Writes a page that needs no network: all heads side by side, one of them large. With --out FILE.svg it is a drawing.
///
/// For a translator, TARGET is a translation; without one the model translates the text by its own settings. The
/// weights are those of the encoder, of the decoder, and of the decoder on the source. The decoder reads its start
/// token and then the translation, without its last token. For a model that judges texts, TEXT may be a pair with a tab
/// between its texts. A language model that was trained with a prompt template gets TEXT in that template; --raw turns
/// this off.
///
/// With --json one object on standard output: {"tokens", "attentions"}, "attentions" being [layer][head][query][key],
/// each row of keys with the sum 1. Layer 0 is the first block. For a translator also "target_tokens", which the
/// decoder reads, and "decoder" and "cross", nested alike. With an adapter of virtual tokens, "virtual_tokens" says how
/// many keys stand before those of "tokens".
#[derive(Debug, clap::Args)]
pub struct AttentionArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    /// The text
    text: String,

    /// For a translator: a translation of the text [default: the model's own]
    target: Option<String>,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// A layer, repeatable: 0 is the first block, -1 the last one [default: all]
    #[arg(long = "layer", value_name = "L", allow_negative_numbers = true)]
    layers: Vec<i64>,

    /// A head, repeatable: 0 is the first one, -1 the last one [default: all]
    #[arg(long = "head", value_name = "H", allow_negative_numbers = true)]
    heads: Vec<i64>,

    /// Give a language model the text as it is, without the template that it was taught with
    #[arg(long)]
    raw: bool,

    /// What is written: html, a page, or svg, a drawing [default: svg if the file ends in .svg, else html]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<Format>,

    /// The file to write (`-`: standard output) [default: attention.html, or attention.svg]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Html,
    Svg,
}

/// Where a page or a drawing goes.
enum Place {
    Stdout,
    File(PathBuf, OutFile),
}

impl AttentionArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        self.adapter.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model, the text or a setting is wrong; the output cannot be written.
pub fn run(args: &AttentionArgs, options: &Options) -> Result<(), Failure> {
    let place = args.place(options.json)?;
    let mut maps = args.look(options)?;
    maps.choose(&Choice { layers: args.layers.clone(), heads: args.heads.clone() })?;
    let Some(place) = place else {
        let mut out = Output::open();
        out.json(&maps)?;
        return out.finish();
    };
    let drawn = args.draw(&maps)?;
    match place {
        Place::Stdout => {
            let mut out = Output::open();
            out.bytes(drawn.as_bytes())?;
            out.finish()
        }
        Place::File(path, file) => {
            file.write(|out| out.write_all(drawn.as_bytes()))?;
            let (path, heads) = (path.display(), maps.heads());
            options.note(format_args!("{path}: {heads} heads on {} tokens", maps.text.spelled.len()));
            if drawn.len() > LARGE {
                let size = bytes(drawn.len() as u64);
                options.note(format_args!("{path} has {size}: --layer and --head make a smaller one"));
            }
            Ok(())
        }
    }
}

impl AttentionArgs {
    fn format(&self) -> Format {
        let is_svg = |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"));
        let of_file = if self.out.as_ref().is_some_and(is_svg) { Format::Svg } else { Format::Html };
        self.format.unwrap_or(of_file)
    }

    /// Where the page or the drawing goes; nowhere with --json.
    fn place(&self, is_json: bool) -> anyhow::Result<Option<Place>> {
        if is_json {
            if self.out.is_some() || self.format.is_some() {
                bail!("--out and --format are for the page and the drawing; JSON goes to standard output");
            }
            return Ok(None);
        }
        let usual = match self.format() {
            Format::Html => "attention.html",
            Format::Svg => "attention.svg",
        };
        let path = self.out.clone().unwrap_or_else(|| usual.into());
        if path == Path::new("-") {
            return Ok(Some(Place::Stdout));
        }
        let file = OutFile::check("--out", &path, [])?;
        Ok(Some(Place::File(path, file)))
    }

    /// The weights of all layers and heads.
    fn look(&self, options: &Options) -> Result<AttentionMaps, Failure> {
        let head = self.adapter.open(&self.model)?.head();
        if let Some(target) = self.target.as_ref().filter(|_| head != Head::Translation) {
            let (model, does) = (self.model.display(), head.does());
            let tab = if head == Head::Language { "" } else { "; a pair is one TEXT with a tab between its texts" };
            return Err(
                anyhow!("{model}: this model {does}, and only a translator has a TARGET ({target:?}){tab}").into()
            );
        }
        match head {
            Head::Translation => self.of_translator(options),
            Head::Language => self.of_language(options),
            _ => self.of_encoder(options),
        }
    }

    fn of_translator(&self, options: &Options) -> Result<AttentionMaps, Failure> {
        let pretrained = model::load(&self.model, &self.adapter, &WeightsArgs::default(), options)?;
        let mut unknown = Unknowns::default();
        unknown.look(&pretrained.tokenizer, &self.text, || "the text".to_owned())?;
        unknown.tell(options);
        pretrained.attention(&self.text, self.target.as_deref()).map_err(failure)
    }

    fn of_language(&self, options: &Options) -> Result<AttentionMaps, Failure> {
        let language = model::load_language(&self.model, &self.adapter, &WeightsArgs::default(), false, options)?;
        match language.templates.as_ref().filter(|_| !self.raw) {
            None => language.attention(&self.text).map_err(failure),
            Some(templates) => {
                let prompt = template::fill(Some(&templates.prompt), &self.text)?;
                language.attention_of(&language.tokenizer.encode_prompt(&prompt)?).map_err(failure)
            }
        }
    }

    fn of_encoder(&self, options: &Options) -> Result<AttentionMaps, Failure> {
        let dir = self.adapter.open(&self.model)?;
        let precision = if dir.is_int8()? { Precision::Int8 } else { Precision::F32 };
        let model = TextModel::states(&dir, precision)?;
        model.notes.iter().for_each(|note| options.note(note));
        let (a, b) = match self.text.split('\t').collect::<Vec<_>>()[..] {
            [text] => (text, None),
            [a, b] => (a, Some(b)),
            ref parts => {
                let tabs = parts.len() - 1;
                return Err(anyhow!("there are {tabs} tabs; expected a text, or two with one tab between them").into());
            }
        };
        if self.text.trim().is_empty() {
            return Err(anyhow!("the text is empty").into());
        }
        let mut unknown = Unknowns::default();
        unknown.look_at_parts(&model.tokenizer, &self.text, "the text")?;
        unknown.tell(options);
        let tokens = model.encode(a, b, TooLong::Refuse).map_err(|error| match error {
            error @ (texts::Error::TooLong { .. } | texts::Error::Empty) => anyhow!("the text {error}"),
            error => error.into(),
        })?;
        model.attention(&tokens).map_err(failure)
    }

    fn draw(&self, maps: &AttentionMaps) -> Result<String, Failure> {
        let name = self.model.canonicalize().ok();
        let name = name.as_deref().unwrap_or(&self.model).file_name();
        let title = name.map_or_else(|| self.model.display().to_string(), |name| name.to_string_lossy().into_owned());
        let drawn = match self.format() {
            Format::Svg => maps.to_svg(&title),
            Format::Html => {
                let texts = [Some(self.text.as_str()), maps.target.as_ref().map(|target| target.text.as_str())];
                maps.to_html(&title, &texts.into_iter().flatten().collect::<Vec<_>>())
            }
        };
        drawn.map_err(Failure::run)
    }
}

/// Whose fault an error is.
fn failure(error: Error) -> Failure {
    match error {
        error @ Error::NonFinite => Failure::run(error),
        Error::Translate(translate::Error::Search(error @ generate::Error::NonFiniteLogits { .. })) => {
            Failure::run(error)
        }
        error => error.into(),
    }
}
