//! What the verbs for models with heads say of themselves.

use insta::assert_snapshot;

use crate::help::help;

#[test]
fn classify_explains_itself() {
    assert_snapshot!(help("classify"), @r"
    Give texts labels or values

    Usage: atento classify [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --on-too-long <WHAT>  A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn tag_explains_itself() {
    assert_snapshot!(help("tag"), @r"
    Find entities in texts, or whatever else a model's labels of tokens say

    Usage: atento tag [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --on-too-long <WHAT>  A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn answer_explains_itself() {
    assert_snapshot!(help("answer"), @r#"
    Find answers to questions in texts

    Usage: atento answer [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --max-len <N>         The longest question with a window of the context, in tokens; at most the model's positions [default: 384]
          --stride <N>          Tokens that a window has in common with the one before, at most a third of it [default: 128]
          --max-answer-len <N>  The longest answer, in tokens [default: 30]
          --null-threshold <X>  Give no answer where the logits of none exceed those of the best one by more than this [default: always answer]
          --logits              With --json: tokens and logits too, as "input_ids", "start_logits", "end_logits"; of a context in several windows those of each, in "windows"
      -h, --help                Print help (see more with '--help')
    "#);
}

#[test]
fn choose_explains_itself() {
    assert_snapshot!(help("choose"), @r"
    Choose one of several texts

    Usage: atento choose [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --on-too-long <WHAT>  A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn fill_mask_explains_itself() {
    assert_snapshot!(help("fill-mask"), @r"
    Find the words that masked tokens stand for

    Usage: atento fill-mask [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --top-k <N>           Words for each mask [default: 5]
          --on-too-long <WHAT>  A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn embed_explains_itself() {
    assert_snapshot!(help("embed"), @r"
    Turn texts into vectors

    Usage: atento embed [OPTIONS] <MODEL> [TEXT]...

    Arguments:
      <MODEL>    A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      [TEXT]...  The texts, each an argument; without any, lines of standard input

    Options:
          --adapter <DIR>       Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
          --any-base            Put it on a model that is not the one it was made for
      -i, --input <FILE>        Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
          --on-error <WHAT>     A line that cannot be used: skip it or stop there [default: skip; stop for texts given as arguments]
          --layer <L>           A layer, repeatable: 0 is the embeddings, 1 the first block, -1 the last one [default: -1]
          --pooling <HOW>       What a vector is made of: cls (the first token), mean, max, last (the last token), none (a vector a token) [default: the model's, or mean]
          --combine <HOW>       What is made of several layers: each (a vector of each), sum, concat [default: each]
          --normalize           Scale vectors to length 1
          --prompt <TEXT>       A text to set before each text
          --prompt-name <NAME>  A prompt of a sentence-transformers directory to set before each text, by its name
          --format <FORMAT>     How vectors are written: jsonl, npy or safetensors [default: jsonl]
      -o, --out <FILE>          The file for npy or safetensors
          --on-too-long <WHAT>  A text beyond the model's positions: skip the line or cut the end off, of a pair that of the longer text [default: skip]
      -h, --help                Print help (see more with '--help')
    ");
}

#[test]
fn probe_explains_itself() {
    assert_snapshot!(help("probe"), @r"
    Find which layer of a frozen model knows most of what labels say

    Usage: atento probe [OPTIONS] --train <FILE> --valid <FILE> <MODEL>

    Arguments:
      <MODEL>  A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub

    Options:
          --adapter <DIR>     Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
          --any-base          Put it on a model that is not the one it was made for
          --train <FILE>      Labelled texts to solve outputs on: TSV, CSV if it ends in .csv, JSON objects if it ends in .jsonl; gzip is read as it is
          --valid <FILE>      Labelled texts to choose the regularisation on
          --test <FILE>       Labelled texts that nothing is chosen on
          --pooling <HOW>     What a text's vector is made of: cls (the first token), mean, max, last (the last token) [default: the model's, or mean]
          --values            Labels are values
          --multi-label       A text has any number of labels, set apart by commas
          --text-key <NAME>   The column of texts [default: found by the names of published data sets]
          --pair-key <NAME>   The column of second texts
          --label-key <NAME>  The column of labels
          --max-length <N>    The most tokens of a text; longer ones are cut and counted [default: the model's positions]
      -h, --help              Print help (see more with '--help')
    ");
}

#[test]
fn attention_explains_itself() {
    assert_snapshot!(help("attention"), @r"
    Show what a model looks at: the attention weights of every layer and head

    Usage: atento attention [OPTIONS] <MODEL> <TEXT> [TARGET]

    Arguments:
      <MODEL>   A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
      <TEXT>    The text
      [TARGET]  For a translator: a translation of the text [default: the model's own]

    Options:
          --adapter <DIR>    Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
          --any-base         Put it on a model that is not the one it was made for
          --layer <L>        A layer, repeatable: 0 is the first block, -1 the last one [default: all]
          --head <H>         A head, repeatable: 0 is the first one, -1 the last one [default: all]
          --raw              Give a language model the text as it is, without the template that it was taught with
          --format <FORMAT>  What is written: html, a page, or svg, a drawing [default: svg if the file ends in .svg, else html]
      -o, --out <FILE>       The file to write (`-`: standard output) [default: attention.html, or attention.svg]
      -h, --help             Print help (see more with '--help')
    ");
}
