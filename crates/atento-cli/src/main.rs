//! The `atento` program: Transformers from raw text to a trained and evaluated model.

mod cli {
    pub mod adapter;
    pub mod attention;
    pub mod bleu;
    pub mod checkpoint;
    pub mod compare;
    pub mod completions;
    pub mod convert;
    pub mod demo;
    pub mod doctor;
    pub mod eval;
    pub mod generate;
    pub mod hub;
    pub mod init;
    pub mod inspect;
    pub mod model;
    pub mod prepare;
    pub mod probe;
    pub mod recipe;
    pub mod score;
    pub mod texts;
    pub mod tokenizer;
    pub mod train;
    pub mod translate;
}
mod ui {
    pub mod bar;
    pub mod failure;
    pub mod input;
    pub mod lines;
    pub mod number;
    pub mod options;
    pub mod out_file;
    pub mod output;
    pub mod progress;
    pub mod signals;
    pub mod stderr;
    pub mod table;
    pub mod unknown;
}

use std::process::ExitCode;

use anyhow::Context;
use atento_kernels::matmul::packed::Unit;
use atento_kernels::memory::LargePages;
use atento_kernels::simd::{self, Level};
use clap::{CommandFactory, Parser, Subcommand};

use cli::hub::Locator;
use ui::failure::{Failure, catch_bugs};
use ui::options::Options;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// Transformers from raw text to a trained and evaluated model
///
/// Data goes to standard output, progress and messages to standard error.
/// Exit codes: 0 done, 1 the run failed, 2 the command, a setting or a file was wrong.
#[derive(Parser)]
#[command(name = "atento", version = env!("ATENTO_VERSION"), arg_required_else_help = true, term_width = 0)]
struct Command {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Demo(cli::demo::DemoArgs),
    Recipe(cli::recipe::RecipeArgs),
    Init(cli::init::InitArgs),
    Train(cli::train::TrainArgs),
    Compare(cli::compare::CompareArgs),
    Translate(cli::translate::TranslateArgs),
    Generate(cli::generate::GenerateArgs),
    Eval(cli::eval::EvalArgs),
    Bleu(cli::bleu::BleuArgs),
    Score(cli::score::ScoreArgs),
    Classify(cli::texts::classify::ClassifyArgs),
    Tag(cli::texts::tag::TagArgs),
    Answer(cli::texts::answer::AnswerArgs),
    Choose(cli::texts::choose::ChooseArgs),
    FillMask(cli::texts::fill_mask::FillMaskArgs),
    Embed(cli::texts::embed::EmbedArgs),
    Probe(cli::probe::ProbeArgs),
    Tokenizer(cli::tokenizer::TokenizerArgs),
    Prepare(cli::prepare::PrepareArgs),
    Inspect(cli::inspect::InspectArgs),
    Attention(cli::attention::AttentionArgs),
    Checkpoint(cli::checkpoint::CheckpointVerb),
    Convert(cli::convert::ConvertArgs),
    Adapter(cli::adapter::AdapterVerb),
    Doctor(cli::doctor::DoctorArgs),
    Completions(cli::completions::CompletionsArgs),
    Man(cli::completions::ManArgs),
}

fn main() -> ExitCode {
    match Command::try_parse() {
        Ok(command) => catch_bugs(|| run(command)),
        Err(error) => ui::failure::refuse_command(error),
    }
}

fn run(Command { options, mut verb }: Command) -> Result<(), Failure> {
    ui::signals::survive_file_limits().context("cannot take over signals").map_err(Failure::Run)?;
    // A recipe may say how many threads to start.
    if !matches!(verb, Verb::Train(_) | Verb::Demo(_)) {
        options.start_threads(None)?;
    }
    tell_unknown_units(&options);
    verb.locate(&Locator::new(&options))?;
    match verb {
        Verb::Demo(args) => cli::demo::run(&args, &options),
        Verb::Recipe(args) => cli::recipe::run(&args, &options),
        Verb::Init(args) => cli::init::run(&args, &options),
        Verb::Train(args) => cli::train::run(&args, &options),
        Verb::Compare(args) => cli::compare::run(&args, &options),
        Verb::Translate(args) => cli::translate::run(&args, &options),
        Verb::Generate(args) => cli::generate::run(&args, &options),
        Verb::Eval(args) => cli::eval::run(&args, &options),
        Verb::Bleu(args) => cli::bleu::run(&args, &options),
        Verb::Score(args) => cli::score::run(&args, &options),
        Verb::Classify(args) => cli::texts::classify::run(&args, &options),
        Verb::Tag(args) => cli::texts::tag::run(&args, &options),
        Verb::Answer(args) => cli::texts::answer::run(&args, &options),
        Verb::Choose(args) => cli::texts::choose::run(&args, &options),
        Verb::FillMask(args) => cli::texts::fill_mask::run(&args, &options),
        Verb::Embed(args) => cli::texts::embed::run(&args, &options),
        Verb::Probe(args) => cli::probe::run(&args, &options),
        Verb::Tokenizer(args) => cli::tokenizer::run(&args, &options),
        Verb::Prepare(args) => cli::prepare::run(&args, &options),
        Verb::Inspect(args) => cli::inspect::run(&args, &options),
        Verb::Attention(args) => cli::attention::run(&args, &options),
        Verb::Checkpoint(args) => cli::checkpoint::run(&args, &options),
        Verb::Convert(args) => cli::convert::run(&args, &options),
        Verb::Adapter(args) => cli::adapter::run(&args, &options),
        Verb::Doctor(args) => cli::doctor::run(&args, &options),
        Verb::Completions(args) => cli::completions::complete(&args, Command::command()),
        Verb::Man(args) => cli::completions::manual(&args, Command::command(), &options),
    }
}

impl Verb {
    /// Finds the models that the verb's arguments name, some of them on the Hugging Face Hub.
    fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        match self {
            Verb::Init(args) => args.locate(locator),
            Verb::Train(args) => args.locate(locator),
            Verb::Translate(args) => args.locate(locator),
            Verb::Generate(args) => args.locate(locator),
            Verb::Eval(args) => args.locate(locator),
            Verb::Score(args) => args.locate(locator),
            Verb::Classify(args) => args.locate(locator),
            Verb::Tag(args) => args.locate(locator),
            Verb::Answer(args) => args.locate(locator),
            Verb::Choose(args) => args.locate(locator),
            Verb::FillMask(args) => args.locate(locator),
            Verb::Embed(args) => args.locate(locator),
            Verb::Probe(args) => args.locate(locator),
            Verb::Tokenizer(args) => args.locate(locator),
            Verb::Prepare(args) => args.locate(locator),
            Verb::Inspect(args) => args.locate(locator),
            Verb::Attention(args) => args.locate(locator),
            Verb::Convert(args) => args.locate(locator),
            Verb::Adapter(args) => args.locate(locator),
            Verb::Demo(_) | Verb::Recipe(_) | Verb::Bleu(_) | Verb::Doctor(_) => Ok(()),
            Verb::Checkpoint(_) | Verb::Compare(_) | Verb::Completions(_) | Verb::Man(_) => Ok(()),
        }
    }
}

/// Tells what the environment names and this machine does not have, so that the best there is is taken. To know the units is
/// to ask the system for AMX tiles, which is best done before threads start.
fn tell_unknown_units(options: &Options) {
    let units: Vec<&str> = Unit::available().into_iter().map(Unit::name).collect();
    let levels: Vec<&str> = simd::available().into_iter().map(Level::name).collect();
    for (variable, names) in [("ATENTO_SIMD", levels), ("ATENTO_BF16", units)] {
        let Some(wanted) = std::env::var_os(variable).filter(|wanted| !wanted.is_empty()) else { continue };
        if names.iter().all(|name| wanted != *name) {
            let names = names.join(", ");
            options.note(format_args!("{variable} is {wanted:?} and has no effect; this machine has {names}"));
        }
    }
}
