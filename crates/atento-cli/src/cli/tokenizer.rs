//! `atento tokenizer`: learning a vocabulary, and text to ids and back.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use atento::hub::ModelDir;
use atento::text::{Encoding, Kind, Learned, Purpose, Tokenizer, TrainOptions};
use serde_json::{Map, Value, json};

use super::translate::one_line;
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::lines::OnErrorArgs;
use crate::ui::number::positive;
use crate::ui::options::Options;
use crate::ui::out_file::OutFile;
use crate::ui::output::Output;
use crate::ui::table::{self, Align, thousands};

/// Learn a tokenizer, use it, look into it
#[derive(Debug, clap::Args)]
pub struct TokenizerArgs {
    #[command(subcommand)]
    verb: TokenizerVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TokenizerVerb {
    Train(TrainArgs),
    Encode(EncodeArgs),
    Decode(DecodeArgs),
    Inspect(InspectArgs),
}

/// Learn a vocabulary from files of text and write a tokenizer.json
#[derive(Debug, clap::Args)]
struct TrainArgs {
    /// Files of text, one sentence a line; gzip is read as it is
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How text is cut into tokens
    #[arg(long, value_enum, default_value = "bpe")]
    kind: KindName,

    /// Entries of the vocabulary, special tokens counted
    #[arg(long, value_name = "N", default_value_t = 8000, value_parser = positive)]
    vocab_size: usize,

    /// What the tokens are for: decides the special tokens
    #[arg(long, value_enum, default_value = "translation")]
    purpose: PurposeName,

    /// A piece must occur this often to be learned, with char a character [default: 2]; not with unigram
    #[arg(long, value_name = "N")]
    min_frequency: Option<u64>,

    /// Keep this many characters at most, the most frequent ones; not with byte-bpe
    #[arg(long, value_name = "N", value_parser = positive)]
    limit_alphabet: Option<usize>,

    /// Keep the most frequent characters that make up this share of the text, such as 0.9995; not with byte-bpe
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    character_coverage: f64,

    /// Turn characters that are not kept into the tokens of their bytes (256 entries) instead of <unk> [default: true with
    /// bpe, unigram and char; the other kinds cannot]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    byte_fallback: Option<bool>,

    /// Turn all text to lower case first
    #[arg(long)]
    lowercase: bool,

    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "tokenizer.json")]
    out: PathBuf,
}

/// Text to token ids, on one line each
///
/// With --json every line gives {"ids", "tokens", "offsets"}; offsets are bytes of the text, [0, 0] for tokens that
/// were added.
#[derive(Debug, clap::Args)]
struct EncodeArgs {
    /// A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
    tokenizer: PathBuf,

    #[command(flatten)]
    texts: TextArgs,

    #[command(flatten)]
    on_error: OnErrorArgs,

    /// Print the pieces instead of their ids
    #[arg(long)]
    tokens: bool,

    /// Add no special tokens, such as the final </s>
    #[arg(long)]
    no_special: bool,
}

/// Token ids to text
///
/// Each line, or argument, is a sequence of ids separated by spaces. With --json every line gives {"ids", "text"}.
#[derive(Debug, clap::Args)]
struct DecodeArgs {
    /// A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
    tokenizer: PathBuf,

    #[command(flatten)]
    texts: TextArgs,

    #[command(flatten)]
    on_error: OnErrorArgs,

    /// Show special tokens, such as </s>
    #[arg(long)]
    keep_special: bool,
}

/// What a tokenizer is made of
#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
    tokenizer: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum KindName {
    /// Byte-pair encoding over characters
    Bpe,
    /// Byte-pair encoding over bytes, as GPT-2's
    #[value(alias = "byte_bpe", alias = "byte-level-bpe")]
    ByteBpe,
    /// WordPiece, as BERT's
    Wordpiece,
    /// A unigram language model over pieces
    Unigram,
    /// One token for each character
    #[value(alias = "characters")]
    Char,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Bpe => Kind::Bpe,
            KindName::ByteBpe => Kind::ByteLevelBpe,
            KindName::Wordpiece => Kind::WordPiece,
            KindName::Unigram => Kind::Unigram,
            KindName::Char => Kind::Characters,
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PurposeName {
    /// <pad>, </s>, <unk>; a text ends with </s>
    Translation,
    /// <pad>, </s>, <unk>; nothing is added to a text
    Causal,
    /// [PAD], [UNK], [CLS], [SEP], [MASK]; [CLS] text [SEP]
    Encoder,
    /// The same; both texts of a pair have type 0, as RoBERTa wants them
    UntypedEncoder,
}

impl From<PurposeName> for Purpose {
    fn from(name: PurposeName) -> Self {
        match name {
            PurposeName::Translation => Purpose::Translation,
            PurposeName::Causal => Purpose::Causal,
            PurposeName::Encoder => Purpose::Encoder,
            PurposeName::UntypedEncoder => Purpose::UntypedEncoder,
        }
    }
}

impl TokenizerArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        match &mut self.verb {
            TokenizerVerb::Train(_) => Ok(()),
            TokenizerVerb::Encode(args) => locator.description(&mut args.tokenizer),
            TokenizerVerb::Decode(args) => locator.description(&mut args.tokenizer),
            TokenizerVerb::Inspect(args) => locator.description(&mut args.tokenizer),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// A file or setting is wrong; a file or standard output cannot be written.
pub fn run(args: &TokenizerArgs, options: &Options) -> Result<(), Failure> {
    match &args.verb {
        TokenizerVerb::Train(args) => train(args, options),
        TokenizerVerb::Encode(args) => encode(args, options),
        TokenizerVerb::Decode(args) => decode(args, options),
        TokenizerVerb::Inspect(args) => inspect(args, options),
    }
}

fn train(args: &TrainArgs, options: &Options) -> Result<(), Failure> {
    if let (KindName::Unigram, Some(_)) = (args.kind, args.min_frequency) {
        return Err(anyhow!("--min-frequency has no meaning with --kind unigram: leave it out").into());
    }
    let usual = TrainOptions::default();
    let how = TrainOptions {
        kind: args.kind.into(),
        purpose: args.purpose.into(),
        vocab_size: args.vocab_size,
        min_frequency: args.min_frequency.unwrap_or(usual.min_frequency),
        lowercase: args.lowercase,
        limit_alphabet: args.limit_alphabet,
        character_coverage: args.character_coverage,
        byte_fallback: args.byte_fallback,
        ..usual
    };
    OutFile::check("--out", &args.out, args.files.iter().map(PathBuf::as_path))?;
    let Learned { tokenizer, notes } = Tokenizer::learn_from_files(&args.files, &how)?;
    notes.iter().for_each(|note| options.note(note));
    tokenizer.save(&args.out).map_err(Failure::run)?;
    let (size, path) = (tokenizer.vocab_size(), args.out.display());
    if size < args.vocab_size {
        let (size, wanted) = (thousands(size), thousands(args.vocab_size));
        options.note(format_args!("the text gives only {size} tokens of the {wanted} asked for"));
    }
    let mut out = Output::open();
    if options.json {
        out.json(&json!({ "path": args.out, "vocab_size": size }))?;
    } else {
        out.line(format_args!("{path}: {} tokens", thousands(size)))?;
    }
    out.finish()
}

fn encode(args: &EncodeArgs, options: &Options) -> Result<(), Failure> {
    let tokenizer = load(&args.tokenizer)?;
    let prepare = |text: &str| Ok(tokenizer.encode(text, !args.no_special)?);
    each_line(&args.texts, args.on_error, options, ("text", prepare), |out, encoding| {
        let Encoding { ids, tokens, offsets } = encoding;
        if options.json {
            return out.json(&json!({ "ids": ids, "tokens": tokens, "offsets": offsets }));
        }
        match args.tokens {
            true => out.line(tokens.join(" ")),
            false => out.line(ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        }
    })
}

fn decode(args: &DecodeArgs, options: &Options) -> Result<(), Failure> {
    let tokenizer = load(&args.tokenizer)?;
    let prepare = |text: &str| {
        let ids = ids(text, &tokenizer)?;
        let text = tokenizer.decode(&ids, !args.keep_special)?;
        Ok((ids, text))
    };
    each_line(&args.texts, args.on_error, options, ("ids", prepare), |out, (ids, text)| match options.json {
        true => out.json(&json!({ "ids": ids, "text": text })),
        false if args.texts.is_one_argument() => out.line(text),
        false => out.line(one_line(text)),
    })
}

/// Prints a line for every line. The text of a bad one is called by the name that stands beside `prepare`.
fn each_line<T: Send>(
    texts: &TextArgs,
    on_error: OnErrorArgs,
    options: &Options,
    (name, prepare): (&str, impl Fn(&str) -> anyhow::Result<T> + Sync),
    write: impl Fn(&mut Output, &T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut texts = texts.open(options)?;
    let mut out = Output::open();
    on_error.each_block(&mut texts, prepare, |lines| {
        for line in lines {
            match &line.ready {
                Ok(ready) => write(&mut out, ready)?,
                Err(fault) if options.json => out.json(&json!({ name: line.text, "error": fault }))?,
                Err(_) => out.line("")?,
            }
        }
        out.flush()?;
        Ok(())
    })
}

fn ids(text: &str, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    let size = tokenizer.vocab_size();
    let id = |word: &str| match word.parse::<u32>() {
        Ok(id) if (id as usize) < size => Ok(id),
        Ok(id) => bail!("id {id}, but the tokenizer has ids 0 to {}", size.saturating_sub(1)),
        Err(_) => bail!("{word:?} is not a token id; expected whole numbers separated by spaces"),
    };
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(id).collect()
}

fn inspect(args: &InspectArgs, options: &Options) -> Result<(), Failure> {
    let tokenizer = load(&args.tokenizer)?;
    let parts: Value = serde_json::from_slice(&tokenizer.to_json_bytes()?)?;
    let part = |name: &str| parts[name]["type"].clone();
    let special = special_tokens(&parts);
    let mut out = Output::open();
    if options.json {
        out.json(&json!({
            "vocab_size": tokenizer.vocab_size(),
            "model": part("model"),
            "normalizer": part("normalizer"),
            "pre_tokenizer": part("pre_tokenizer"),
            "post_processor": part("post_processor"),
            "decoder": part("decoder"),
            "special_tokens": special,
        }))?;
        return out.finish();
    }
    let mut rows = vec![vec!["vocabulary".to_owned(), format!("{} tokens", thousands(tokenizer.vocab_size()))]];
    for (title, name) in [
        ("model", "model"),
        ("normalizer", "normalizer"),
        ("pre-tokenizer", "pre_tokenizer"),
        ("post-processor", "post_processor"),
        ("decoder", "decoder"),
    ] {
        rows.push(vec![title.to_owned(), part(name).as_str().unwrap_or("none").to_owned()]);
    }
    let listed: Vec<String> = special.iter().map(|(token, id)| format!("{token} {id}")).collect();
    rows.push(vec!["special tokens".to_owned(), listed.join(", ")]);
    table::lines(&[Align::Left, Align::Left], &rows).into_iter().try_for_each(|line| out.line(line))?;
    out.finish()
}

/// Special tokens with their ids, in the order of the file.
fn special_tokens(parts: &Value) -> Map<String, Value> {
    let added = parts["added_tokens"].as_array().into_iter().flatten();
    let special = added.filter(|token| token["special"] == true);
    special.filter_map(|token| Some((token["content"].as_str()?.to_owned(), token["id"].clone()))).collect()
}

/// The tokenizer in a file, or that of a model or run directory.
fn load(path: &Path) -> Result<Tokenizer, Failure> {
    if !path.is_dir() {
        return Ok(Tokenizer::load(path)?);
    }
    let direct = path.join("tokenizer.json");
    if direct.is_file() {
        return Ok(Tokenizer::load(direct)?);
    }
    let dir = ModelDir::open(path).map_err(|error| anyhow!(error).context("no tokenizer.json there, nor a model"))?;
    Ok(Tokenizer::load(dir.tokenizer_path()?)?)
}
