//! What the program says of itself.

use insta::assert_snapshot;

use crate::support::Folder;

/// The short help of a verb, without the options that every verb has.
#[track_caller]
pub fn help(verb: &str) -> String {
    let folder = Folder::new();
    let words: Vec<&str> = verb.split_whitespace().collect();
    let long = folder.run(&[&words[..], &["--help"]].concat(), "").output();
    let short = folder.run(&[&words[..], &["-h"]].concat(), "").output();
    for text in [&long, &short] {
        assert!(text.contains(&format!("Usage: atento {verb}")), "{text}");
        assert!(text.contains("--threads <N>"), "{text}");
    }
    short.split("Options of every verb:").next().unwrap_or_default().to_owned()
}

#[test]
fn the_program_lists_its_verbs() {
    assert_snapshot!(help(""), @r"
    Transformers from raw text to a trained and evaluated model

    Usage: atento [OPTIONS] <COMMAND>

    Commands:
      demo         Train the original Transformer on the built-in English–German corpus, score it and translate
      recipe       Print a commented recipe with every key of a task
      init         Look at data and write a recipe that fits them
      train        Train a model as a recipe says
      compare      Compare runs: the settings in which they differ, their results, and their curves on one page
      translate    Translate sentences
      generate     Continue texts with a language model
      eval         Measure a model on data: a translator, a language model, or one that labels, tags, answers, chooses or fills masks
      bleu         Score translations with BLEU and chrF, identical to sacreBLEU
      score        Score given translations or texts: the log-probability of every token
      classify     Give texts labels or values
      tag          Find entities in texts, or whatever else a model's labels of tokens say
      answer       Find answers to questions in texts
      choose       Choose one of several texts
      fill-mask    Find the words that masked tokens stand for
      embed        Turn texts into vectors
      probe        Find which layer of a frozen model knows most of what labels say
      tokenizer    Learn a tokenizer, use it, look into it
      prepare      Build the examples that a masked language model is pre-trained on, count what was drawn, and show some
      inspect      Show the parameters of a model by module: shapes, element types, tying, sizes
      attention    Show what a model looks at: the attention weights of every layer and head
      checkpoint   List the checkpoints of a run, and make models of them
      convert      Write a model anew, its weights in another type
      adapter      Merge adapters into models and take them out again, show what they are and what they change, convert and combine them
      doctor       Show what this machine has: CPU features in use, threads, memory, devices, versions
      completions  Print a script that completes commands and options in a shell
      man          Write manual pages, one for each verb
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version
    ");
}

#[test]
fn train_explains_itself() {
    assert_snapshot!(help("train"), @r"
    Train a model as a recipe says

    Usage: atento train [OPTIONS] <RECIPE>

    Arguments:
      <RECIPE>  The recipe, a TOML file; a run's config.toml is one

    Options:
          --set <KEY=VALUE>  Replace a setting of the recipe, such as model.dropout=0.3; repeatable
          --from <MODEL>     Start from the weights and the tokenizer of this model, a directory or org/name on the Hugging Face Hub [default: the recipe's `from`, or a new model]
          --out <DIR>        The run directory [default: the recipe's, or runs/ and the recipe's name]
          --resume           Go on with the run in the run directory
          --max-steps <N>    The limit in updates, in place of the recipe's
          --dry-run          Check everything, print what the run would take, and write nothing
          --seeds <N>        Make this many runs, with seeds from the recipe's on, and print how their results are spread
          --vary <KEY=V,V…>  Make a run with each of these values of a setting, such as train.top_layers=2,6, and print a table of them
          --show-masks       Print a few prompts with their completions, what is learned between ⟦ and ⟧, and write nothing
      -h, --help             Print help (see more with '--help')
    ");
}

#[test]
fn translate_explains_itself() {
    assert_snapshot!(help("translate"), @r"
    Translate sentences

    Usage: atento translate [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>        Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
          --any-base             Put it on a model that is not the one it was made for
      -i, --input <FILE>         Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --beam <N>             Hypotheses kept at each step; 1 is greedy search [default: the model's]
          --length-penalty <A>   Divide log-probabilities by length^A; 0 compares sums, 1 means [default: the model's]
          --gnmt-penalty <A>     Divide log-probabilities by ((5 + length) / 6)^A instead
          --max-len <N>          The most tokens of a translation, its end token counted, its start token not [default: the model's]
          --min-len <N>          The fewest tokens of a translation before its end token
          --no-repeat-ngram <N>  No sequence of this many tokens occurs twice; 0 allows all
          --batch-tokens <N>     Source tokens searched together; speed and memory depend on it
          --n-best <N>           Hypotheses to print for each sentence; without --json always N lines, `score TAB text`, empty ones where there are fewer [default: 1]
          --on-too-long <WHAT>   A sentence beyond the model's positions: skip it, cut its end off, or split it [default: skip]
          --on-error <WHAT>      A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --weights <KIND>       How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
      -h, --help                 Print help (see more with '--help')
    ");
}

#[test]
fn generate_explains_itself() {
    assert_snapshot!(help("generate"), @r"
    Continue texts with a language model

    Usage: atento generate [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>           Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base                Put it on a model that is not the one it was made for
          --prompt <TEXT>           A text to go on with; repeatable
      -i, --input <FILE>            Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --raw                     Give the model each prompt as it is, without the template that it was taught with
          --chat                    Give the model each prompt as a conversation, in its chat template
          --system <TEXT>           With --chat: what stands before the conversation as the system's message
          --greedy                  Take the likeliest token each time
          --beam <N>                Beam search with this many hypotheses
          --length-penalty <A>      Beam search: divide log-probabilities by length^A
          --temperature <T>         Divide logits by this before drawing; 0 is greedy
          --top-k <K>               Draw from the K likeliest tokens only; 0 draws from all [contrastive search: candidates]
          --top-p <P>               Draw from the fewest tokens that together have this probability
          --min-p <P>               Draw from tokens at least this times as likely as the likeliest
          --typical-p <P>           Draw from tokens whose surprise is nearest to the expected, until they together have this probability
          --repetition-penalty <R>  Make tokens of prompt and text less likely; 1 changes nothing
          --frequency-penalty <A>   Subtract this from a token's logit for each time it was generated
          --presence-penalty <A>    Subtract this from a token's logit if it was generated
          --no-repeat-ngram <N>     No sequence of this many tokens occurs twice; 0 allows all
          --bad-word <TEXT>         A text that must not be generated, as its tokens with and without a space before it; repeatable
          --penalty-alpha <A>       Contrastive search: the weight of the resemblance to what was said, 0 to 1
          --draft <MODEL>           A smaller model of the same tokenizer that drafts tokens for the model to judge
          --draft-tokens <N>        Tokens drafted at a time [default: 4]
          --n <N>                   Continuations of each prompt [default: 1]
          --max-new-tokens <N>      The most tokens of a continuation [default: the model's, or 128, as far as its positions go]
          --min-new-tokens <N>      The fewest tokens before an end token [default: the model's]
          --ignore-end              Do not end at the model's end token
          --stop <TEXT>             End before this text; repeatable [default: the model's stop_strings]
          --slide                   Beyond the model's positions go on with the later half of the text
          --on-too-long <WHAT>      A prompt that the model has no room for: skip the line or cut the beginning off [default: skip]
          --on-error <WHAT>         A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --weights <KIND>          How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
      -h, --help                    Print help (see more with '--help')
    ");
}

#[test]
fn eval_explains_itself() {
    assert_snapshot!(help("eval"), @r#"
    Measure a model on data: a translator, a language model, or one that labels, tags, answers, chooses or fills masks

    Usage: atento eval [OPTIONS] <MODEL>

    Arguments:
      <MODEL>  A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub

    Options:
          --data <PATH>         One file of pairs, `source TAB target`, or text for a language model: a file, a directory, or token files (.bin, or a directory with val.bin); JSON objects if it ends in .jsonl; for a model with a head, data with the answers; gzip is read as it is
          --on-too-long <WHAT>  What is beyond the model's positions: skip it, cut its end off, or split the source of a pair [default: skip]
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip]
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
          --any-base            Put it on a model that is not the one it was made for
          --weights <KIND>      How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
      -h, --help                Print help (see more with '--help')

    Options for translators:
          --source <FILE>           Source sentences, one a line
          --target <FILE>           Target sentences, as many lines
          --source-key <KEY>        The key of the source sentence in JSON objects (a dot descends), or its column in a CSV or TSV file: of TSV the number from 1, or the name in a header [default: source]
          --target-key <KEY>        The same of the target sentence [default: target]
          --beam <N>                Hypotheses kept at each step; 1 is greedy search [default: the model's]
          --length-penalty <A>      Divide log-probabilities by length^A; 0 compares sums, 1 means [default: the model's]
          --gnmt-penalty <A>        Divide log-probabilities by ((5 + length) / 6)^A instead
          --max-len <N>             The most tokens of a translation, its end token counted, its start token not [default: the model's]
          --min-len <N>             The fewest tokens of a translation before its end token
          --no-repeat-ngram <N>     No sequence of this many tokens occurs twice; 0 allows all
          --batch-tokens <N>        Source tokens searched together; speed and memory depend on it
          --save-hypotheses <FILE>  Write the translations to this file, a line for every pair

    Options for language models:
          --stride <N>      Tokens from the beginning of a window to the next one's; fewer predict better and take longer [default: half a window]
          --block-size <N>  Tokens of a window [default: the model's positions, at most 4096]
          --start-token     Begin with the model's start token, so that the first token of the text is scored too
          --text-key <KEY>  The key of the text in JSON objects; a dot descends [default: text]

    Options for prompts with completions:
          --prompt-key <KEY>            The key of the prompt, or its column in CSV or TSV (there the number from 1, or the name in a header) [default: prompt]
          --completion-key <KEY>        The same of the completion [default: completion]
          --prompt-template <TEXT>      How a prompt is written for the model, `{prompt}` in its place [default: the model's, or "{prompt}\n"]
          --completion-template <TEXT>  How a completion is written, with <end> for the end token [default: the model's, or "{completion}<end>"]

    Options for labels, tags, answers and masked words:
          --pair-key <KEY>      The column or key of second texts
          --label-key <KEY>     The column or key of labels
          --null-threshold <X>  How much better an answer must be than none to be given, where questions may have none [default: 0]
          --mistakes <N>        Show so many of what the model is most wrong about, the worst first; 20 at most
    "#);
}

#[test]
fn bleu_explains_itself() {
    assert_snapshot!(help("bleu"), @r"
    Score translations with BLEU and chrF, identical to sacreBLEU

    Usage: atento bleu [OPTIONS] <HYP> <REF>...

    Arguments:
      <HYP>     The text to score, one segment a line (`-`: standard input; gzip is read as it is)
      <REF>...  The references, line for line

    Options:
          --tokenize <NAME>       BLEU's tokenizer: 13a, none, intl or char [default: 13a]
          --smooth-method <NAME>  BLEU's smoothing of zero precisions: exp, floor, add-k or none [default: exp]
          --lowercase             Ignore case, in all metrics
          --metrics <METRICS>     The metrics, separated by commas [default: bleu,chrf] [possible values: bleu, chrf, chrf++]
          --sentence-level        Score every line by itself (BLEU over the n-gram orders the line is long enough for)
          --paired <OTHER_HYP>    Test whether this second output differs from HYP, the baseline, by more than chance (paired bootstrap, drawn by --seed) [default seed: 12345]
      -h, --help                  Print help (see more with '--help')
    ");
}

#[test]
fn score_explains_itself() {
    assert_snapshot!(help("score"), @r"
    Score given translations or texts: the log-probability of every token

    Usage: atento score [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-too-long <WHAT>  A text, or a side of a pair, beyond the model's positions: skip the line or cut the end off [default: skip]
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn tokenizer_explains_itself() {
    assert_snapshot!(help("tokenizer"), @r"
    Learn a tokenizer, use it, look into it

    Usage: atento tokenizer [OPTIONS] <COMMAND>

    Commands:
      train    Learn a vocabulary from files of text and write a tokenizer.json
      encode   Text to token ids, on one line each
      decode   Token ids to text
      inspect  What a tokenizer is made of
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help
    ");
}

#[test]
fn tokenizer_train_explains_itself() {
    assert_snapshot!(help("tokenizer train"), @r"
    Learn a vocabulary from files of text and write a tokenizer.json

    Usage: atento tokenizer train [OPTIONS] <FILE>...

    Arguments:
      <FILE>...  Files of text, one sentence a line; gzip is read as it is

    Options:
          --kind <KIND>                   How text is cut into tokens [default: bpe] [possible values: bpe, byte-bpe, wordpiece, unigram, char]
          --vocab-size <N>                Entries of the vocabulary, special tokens counted [default: 8000]
          --purpose <PURPOSE>             What the tokens are for: decides the special tokens [default: translation] [possible values: translation, causal, encoder, untyped-encoder]
          --min-frequency <N>             A piece must occur this often to be learned, with char a character [default: 2]; not with unigram
          --limit-alphabet <N>            Keep this many characters at most, the most frequent ones; not with byte-bpe
          --character-coverage <SHARE>    Keep the most frequent characters that make up this share of the text, such as 0.9995; not with byte-bpe [default: 1]
          --byte-fallback[=<true|false>]  Turn characters that are not kept into the tokens of their bytes (256 entries) instead of <unk> [default: true with bpe, unigram and char; the other kinds cannot] [possible values: true, false]
          --lowercase                     Turn all text to lower case first
          --out <FILE>                    The file to write [default: tokenizer.json]
      -h, --help                          Print help (see more with '--help')
    ");
}

#[test]
fn tokenizer_encode_explains_itself() {
    assert_snapshot!(help("tokenizer encode"), @r"
    Text to token ids, on one line each

    Usage: atento tokenizer encode [OPTIONS] <TOKENIZER> [TEXT]...

    Arguments:
      <TOKENIZER>  A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
      [TEXT]...    The texts, each an argument; without any, lines of standard input

    Options:
      -i, --input <FILE>     Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>  A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --tokens           Print the pieces instead of their ids
          --no-special       Add no special tokens, such as the final </s>
      -h, --help             Print help (see more with '--help')
    ");
}

#[test]
fn tokenizer_decode_explains_itself() {
    assert_snapshot!(help("tokenizer decode"), @r"
    Token ids to text

    Usage: atento tokenizer decode [OPTIONS] <TOKENIZER> [TEXT]...

    Arguments:
      <TOKENIZER>  A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
      [TEXT]...    The texts, each an argument; without any, lines of standard input

    Options:
      -i, --input <FILE>     Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>  A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --keep-special     Show special tokens, such as </s>
      -h, --help             Print help (see more with '--help')
    ");
}

#[test]
fn tokenizer_inspect_explains_itself() {
    assert_snapshot!(help("tokenizer inspect"), @r"
    What a tokenizer is made of

    Usage: atento tokenizer inspect [OPTIONS] <TOKENIZER>

    Arguments:
      <TOKENIZER>  A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub

    Options:
      -h, --help  Print help
    ");
}

#[test]
fn prepare_explains_itself() {
    assert_snapshot!(help("prepare"), @r"
    Build the examples that a masked language model is pre-trained on, count what was drawn, and show some

    Usage: atento prepare [OPTIONS] --tokenizer <DIR> <FILE>...

    Arguments:
      <FILE>...  Files and directories of text (`-`: standard input; gzip is read as it is); .jsonl holds a JSON object on each line

    Options:
          --tokenizer <DIR>         A tokenizer.json, a directory with one, or org/name on the Hugging Face Hub
          --objective <OBJECTIVE>   What is learned: masked tokens, and whether a second segment is the next one, or in order [default: mlm+nsp] [possible values: mlm, mlm+nsp, mlm+sop]
          --seq-len <N>             The most tokens of an example, special ones counted [default: 128]
          --mask-prob <SHARE>       The share of tokens that are chosen to be predicted [default: 0.15]
          --short-seq-prob <SHARE>  The share of examples that aim at a random length below the longest [default: 0.1]
          --whole-words             Choose all tokens of a word or none
          --spans                   Choose words that follow one another: a geometric number, ten at most
          --documents <DOCUMENTS>   What a document is in plain text [default: blank-line] [possible values: blank-line, file, line]
          --text-key <KEY>          The key of the text in JSON objects; a dot descends [default: text]
          --drop-duplicates         Leave out every document equal to an earlier one
          --on-error <WHAT>         A line of a .jsonl file that cannot be used: skip it or stop there [default: skip]
          --show <N>                Print this many examples, with what became of each token that was chosen [default: 0]
          --out <DIR>               Keep the files in this directory
      -h, --help                    Print help (see more with '--help')
    ");
}

#[test]
fn inspect_explains_itself() {
    assert_snapshot!(help("inspect"), @r"
    Show the parameters of a model by module: shapes, element types, tying, sizes

    Usage: atento inspect [OPTIONS] <MODEL>
           atento inspect [OPTIONS] [MODEL] <COMMAND>

    Commands:
      plan  Show the parameters that a config.json describes, and what training takes of memory and work
      help  Print this message or the help of the given subcommand(s)

    Arguments:
      <MODEL>  A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub

    Options:
      -h, --help  Print help (see more with '--help')
    ");
}

#[test]
fn inspect_plan_explains_itself() {
    assert_snapshot!(help("inspect plan"), @r"
    Show the parameters that a config.json describes, and what training takes of memory and work

    Usage: atento inspect plan [OPTIONS] [CONFIG]

    Arguments:
      [CONFIG]  A config.json, a model directory or a run directory, or the name of a published shape

    Options:
          --config <CONFIG>     The same
          --method <METHOD>     What is trained: full, or an adapter: lora, ia3, bitfit, prefix, prompt, houlsby [default: full]
          --rank <N>            The rank of low-rank pairs [default: 8]
          --targets <NAMES>     The modules that are adapted: ends of their paths, or q, k, v, o, or all-linear [default: those of the model's type]
          --virtual-tokens <N>  Virtual tokens of a prompt or a prefix [default: 20]
          --size <N>            The width of Houlsby's layers [default: 64]
          --tokens <N>          Tokens of a batch, which activations are counted for [default: 4096]
      -h, --help                Print help
    ");
}

#[test]
fn convert_explains_itself() {
    assert_snapshot!(help("convert"), @r"
    Write a model anew, its weights in another type

    Usage: atento convert [OPTIONS] --out <DIR> <MODEL>

    Arguments:
      <MODEL>  A model directory, a run directory or a checkpoint in one, org/name on the Hugging Face Hub, or a GGUF file

    Options:
          --out <DIR>       The directory to write
          --weights <KIND>  The type of the weights: f32, f16, bf16, int8 for the matrices, or gguf, which keeps a GGUF file as it is [default: f32]
      -h, --help            Print help (see more with '--help')
    ");
}

#[test]
fn doctor_explains_itself() {
    assert_snapshot!(help("doctor"), @r"
    Show what this machine has: CPU features in use, threads, memory, devices, versions

    Usage: atento doctor [OPTIONS]

    Options:
          --no-measure  Measure nothing; takes no time
      -h, --help        Print help
    ");
}
