//! The keys of a recipe, table by table, with their texts, defaults and ranges.

use std::path::PathBuf;

use super::choices::*;
use super::registered::{Arch, Task};
use super::section::{Range, TokenName, section};

fn at_least(min: f64) -> Range {
    Range::from(min)
}

fn fraction() -> Range {
    Range::from(0.0).below(1.0)
}

section! {
    /// `[data.train]`, `[data.valid]`, `[data.test]`: where pairs of sentences lie, prompts with their completions, or
    /// what a head learns. One form: `source` with `target`, `tsv`, `jsonl`, `csv`, `conll` or `squad`; the task says which.
    /// Files ending in `.gz` are read as they are.
    FileSettings {
        /// Source sentences, one on each line.
        source: Option<PathBuf> = None;
        /// Target sentences, one on each line; as many lines as `source`.
        target: Option<PathBuf> = None;
        /// Columns set apart by tabs: source and target, prompt and completion, or text and label.
        tsv: Option<PathBuf> = None;
        /// Lines that are JSON objects.
        jsonl: Option<PathBuf> = None;
        /// The key of the source sentence in a JSON object, or its column in a CSV file; "source" if left out. Of a TSV file its column: the number from 1, or the name in the first line, which is a header then.
        source_key: Option<String> = None;
        /// The key of the target sentence in a JSON object, or its column in a CSV or TSV file; "target" if left out.
        target_key: Option<String> = None;
        /// A CSV file, its columns named in its first line.
        csv: Option<PathBuf> = None;
        /// The key of the prompt in a JSON object, its column in a CSV or TSV file (of TSV the number from 1, or the name in a header); "prompt" if left out.
        prompt_key: Option<String> = None;
        /// The key of the completion in a JSON object, its column in a CSV or TSV file; "completion" if left out.
        completion_key: Option<String> = None;
        /// Labels: the key or column of the text, or of the first of two; a number from 1 for a TSV file without a header. Found by usual names if left out.
        text_key: Option<String> = None;
        /// Labels: the key or column of the second text.
        pair_key: Option<String> = None;
        /// Labels: the key or column of the label or value; of words in a `conll` file the number of the column, the last if left out. Multiple choice: the key of the right choice.
        label_key: Option<String> = None;
        /// Labels of words: a line for each word, columns set apart by spaces or a tab, a blank line after each sentence.
        conll: Option<PathBuf> = None;
        /// Questions with answers in a context: JSON as that of SQuAD 1.1 or 2.0.
        squad: Option<PathBuf> = None;
    }
}

section! {
    /// `[data]`: the sentences.
    DataSettings {
        /// Text that comes with the program, instead of files.
        corpus: Option<Corpus> = None;
        /// Language models: the text to learn, a file (plain, or JSON objects if it ends in .jsonl) or a directory of them.
        text: Option<PathBuf> = None;
        /// Language models: text of its own to watch the loss on; without it, a share of `text`.
        valid_text: Option<PathBuf> = None;
        /// Language models: a directory with `train.bin` and `val.bin`, tokens as nanoGPT prepares them, instead of text.
        tokens: Option<PathBuf> = None;
        /// Language models: the key of the text in a JSON object.
        text_key: String = "text".into();
        /// Language models: where a document of plain text ends.
        documents: Documents = Documents::File;
        /// The share of the training data that is validated on instead, where nothing else is. Language models: whole documents, or the last part of one where whole ones cannot give it; 0.1 if left out. Pairs: those that a hash of their source sentence chooses.
        valid_fraction: f64 = 0.0, in fraction();
        /// Language models: put the end token behind every document.
        end_token: bool = true;
        /// Language models: let tokens see those of their own document only.
        document_attention: bool = false;
        /// Language models: the tokens that are learned at a stretch, of prompts the most of an example; the model's positions if left out.
        block_size: Option<usize> = None, in at_least(1.0);
        /// Language models: which stretches.
        sampling: Sampling = Sampling::Random;
        /// Prompts: what the model reads; `{prompt}` is the prompt, another name in braces the column or key of that name. It is kept with the model.
        prompt_template: String = "{prompt}\n".into();
        /// Prompts: what it learns to write behind that; `{completion}` is the completion, a final `<end>` the end token.
        completion_template: String = "{completion}<end>".into();
        /// Conversations (JSON objects with `messages`): the file of the chat template (Jinja) that writes them; the model's own if left out. It is kept with the model.
        chat_template: Option<PathBuf> = None;
        /// Prompts: learn to write them too.
        train_on_prompt: bool = false;
        /// The examples to train on.
        train: Option<FileSettings> = None;
        /// The examples on which loss and measures are watched during training.
        valid: Option<FileSettings> = None;
        /// The examples on which the finished model is scored, once.
        test: Option<FileSettings> = None;
        /// The longest sentence in tokens, its end token counted, on either side; if left out, at most the model's positions.
        max_length: usize = 512, in at_least(2.0);
        /// What happens to a longer one; "error" if left out with prompts.
        on_truncate: OnTruncate = OnTruncate::Warn;
        /// Pairs, prompts, labels, questions: what happens to a line that holds none, such as one with a tab too many; of tagged words with its sentence, of SQuAD's files to an entry.
        on_bad_line: OnBadLine = OnBadLine::Error;
        /// Keep only the first of equal examples.
        drop_duplicates: bool = true;
        /// Leave out pairs whose two sides are the same text.
        drop_identical: bool = false;
        /// Leave out pairs where one side has more than this many times the tokens of the other; 0 keeps all.
        max_ratio: f64 = 0.0, in at_least(0.0);
        /// Masked words: the share of tokens that are to be predicted.
        mask_prob: f64 = 0.15, in Range::above(0.0).up_to(1.0);
        /// Masked words: the share of those that the mask token replaces.
        mask_share: f64 = 0.8, in Range::from(0.0).up_to(1.0);
        /// Masked words: the share of those that a random word replaces; the rest stays as it is.
        random_share: f64 = 0.1, in Range::from(0.0).up_to(1.0);
        /// Masked words: what is masked as one.
        mask_units: MaskUnits = MaskUnits::Tokens;
        /// Masked words: the share of examples that are shorter than they could be.
        short_prob: f64 = 0.1, in Range::from(0.0).up_to(1.0);
        /// Masked words: whether examples are drawn anew in each epoch.
        draw: Drawing = Drawing::EachEpoch;
        /// Masked words in pairs of texts: what is learned of the second.
        second: Second = Second::Next;
        /// Labels: a text may have any number of them, set apart by commas, or none.
        multi_label: bool = false;
        /// Questions: tokens that a window of a context has in common with the one before.
        stride: usize = 128, in at_least(0.0);
        /// Questions: the longest answer that is looked for, in tokens.
        max_answer_length: usize = 30, in at_least(1.0);
        /// Questions of which some have no answer: how much more than the best answer's logits those of no answer must be for none to be given.
        null_threshold: f64 = 0.0;
        /// Pairs held in memory at once, shuffled and sorted into batches of like length.
        window: usize = 65536, in at_least(1.0);
    }
}

section! {
    /// `[tokenizer]`: how text becomes tokens, one vocabulary for both languages.
    TokenizerSettings {
        /// A `tokenizer.json` to use as it is; without one, a tokenizer is learned from the training text.
        file: Option<PathBuf> = None;
        /// The method to learn.
        kind: TokenizerKind = TokenizerKind::Bpe;
        /// Entries of the vocabulary, special tokens counted.
        vocab_size: usize = 8000, in at_least(16.0).up_to(4_000_000.0);
        /// A piece must occur this often to be learned.
        min_frequency: u64 = 2, in at_least(1.0);
        /// Turn all text to lower case first.
        lowercase: bool = false;
        /// Tokens to add to the tokenizer, of the model that is trained further or a new one; their rows begin as the mean of all others.
        add_tokens: Vec<String> = Vec::new();
        /// Keep this many characters at most, the most frequent ones; all if left out. Not with "byte_bpe".
        limit_alphabet: Option<usize> = None, in at_least(1.0);
        /// Keep the most frequent characters that make up this share of the text. Not with "byte_bpe".
        character_coverage: f64 = 1.0, in Range::above(0.0).up_to(1.0);
        /// Characters that are not kept become the tokens of their bytes (256 entries) instead of the unknown token. If left out: for translation with "bpe" and "unigram" from 2048 entries on.
        byte_fallback: Option<bool> = None;
    }
}

section! {
    /// `[model]`: what is trained. The sizes that are left out are those of the preset.
    ModelSettings {
        /// The family.
        arch: Arch = Arch::default();
        /// The named sizes to start from.
        preset: Preset = Preset::Small;
        /// Transformer, decoder-only: the width of embeddings and residual stream.
        d_model: usize = 256, in at_least(1.0).up_to(65536.0);
        /// Transformer: blocks in the encoder.
        encoder_layers: usize = 3, in at_least(1.0).up_to(1024.0);
        /// Transformer: blocks in the decoder.
        decoder_layers: usize = 3, in at_least(1.0).up_to(1024.0);
        /// Transformer, decoder-only: attention heads; they divide `d_model`.
        heads: usize = 4, in at_least(1.0).up_to(1024.0);
        /// Transformer, decoder-only: the inner width of feed-forward blocks.
        d_ff: usize = 1024, in at_least(1.0).up_to(1_048_576.0);
        /// Transformer, decoder-only: the function inside feed-forward blocks; of Llama, that of the gate.
        activation: Activation = Activation::Relu;
        /// Transformer: where the layer norms stand.
        norm: Norm = Norm::Post;
        /// Transformer, RNN, GPT-2: the share of values set to zero at the output of each block and of the embeddings. ModernBERT: inside feed-forward blocks, and of the embeddings.
        dropout: f64 = 0.1, in fraction();
        /// Transformer, decoder-only: the share of attention weights set to zero.
        attention_dropout: f64 = 0.0, in fraction();
        /// Transformer: the share of values set to zero inside feed-forward blocks.
        activation_dropout: f64 = 0.0, in fraction();
        /// Which embedding tables are one.
        tie_embeddings: TieEmbeddings = TieEmbeddings::All;
        /// Transformer, decoder-only: positions in the table, the longest sentence in tokens.
        max_positions: usize = 512, in at_least(2.0).up_to(1_048_576.0);
        /// RNN: the width of each recurrent state.
        hidden: usize = 256, in at_least(1.0).up_to(65536.0);
        /// RNN: the width of embeddings.
        embedding: usize = 256, in at_least(1.0).up_to(65536.0);
        /// RNN: recurrent layers in the encoder and in the decoder. Decoder-only: blocks.
        layers: usize = 1, in at_least(1.0).up_to(1024.0);
        /// GPT-2: whether there are biases; without them, all are 0.
        bias: bool = true;
        /// Transformer: attention heads in the decoder; as many as in the encoder if left out.
        decoder_heads: Option<usize> = None, in at_least(1.0).up_to(1024.0);
        /// Transformer: the inner width of feed-forward blocks in the decoder; the encoder's if left out.
        decoder_d_ff: Option<usize> = None, in at_least(1.0).up_to(1_048_576.0);
        /// Transformer: multiply embeddings by the square root of their width.
        scale_embedding: bool = true;
        /// GPT-2, ModernBERT: the share of values set to zero in the embeddings; `dropout` if left out.
        embedding_dropout: Option<f64> = None, in fraction();
        /// Decoder-only: what layer norms add to the variance, RMS norms to the mean square.
        layer_norm_eps: f64 = 1e-5, in Range::above(0.0).below(1.0);
        /// Decoder-only, encoders: the standard deviation of random weights. Narrow models leave the beginning sooner with larger ones than 0.02, which was chosen for a width of 768: one over the square root of the width is a good start.
        initializer_range: f64 = 0.02, in Range::from(0.0).up_to(100.0);
        /// GPT-2: divide attention scores by the square root of a head's width.
        scale_attention: bool = true;
        /// GPT-2: divide the attention scores of block i by i too.
        scale_by_layer: bool = false;
        /// Llama: key and value heads, each of which serves several query heads; they divide `heads`; as many as those if left out.
        kv_heads: Option<usize> = None, in at_least(1.0).up_to(1024.0);
        /// Llama: the width of a head; `d_model` divided by `heads` if left out.
        head_dim: Option<usize> = None, in at_least(2.0).up_to(65536.0);
        /// Llama, ModernBERT: the base of the wavelengths of rotary positions; of ModernBERT, in global blocks.
        rope_theta: f64 = 10_000.0, in Range::above(1.0);
        /// Llama: the last tokens that a token sees, itself included, in every block; all if left out.
        sliding_window: Option<usize> = None, in at_least(1.0).up_to(16_777_216.0);
        /// ModernBERT: the base of the wavelengths of rotary positions in local blocks.
        local_rope_theta: f64 = 10_000.0, in Range::above(1.0);
        /// ModernBERT: tokens that a token sees around itself in local blocks, half of them on each side.
        local_window: usize = 128, in at_least(1.0).up_to(16_777_216.0);
        /// ModernBERT: the first block of every this many is global, its tokens see the whole text; the others are local.
        global_every: usize = 3, in at_least(1.0).up_to(1024.0);
        /// ModernBERT, masked words: whether a dense layer and a norm stand before the projection onto words. Without them, `transformers` reads the encoder and not the head.
        head_transform: bool = true;
        /// Llama, ModernBERT: whether the projections of the attention have biases.
        attention_bias: bool = false;
        /// Llama: whether each head of queries and keys is normalised.
        qk_norm: bool = false;
        /// Rows of the embedding tables; as many as the tokenizer has ids if left out.
        vocab_size: Option<usize> = None, in at_least(1.0).up_to(16_777_216.0);
    }
}

section! {
    /// `[train.early_stopping]`: when to stop before the limit.
    EarlyStoppingSettings {
        /// What is watched; also what makes a checkpoint the best.
        metric: Metric = Metric::Loss;
        /// Stop after this many evaluations without a new best; 0 never stops early.
        patience: usize = 0, in at_least(0.0);
    }
}

section! {
    /// `[train]`: how long, in which batches, and what is written when.
    /// The run ends at the first limit reached; schedules follow the share of the nearest limit that is used.
    TrainSettings {
        /// The limit in updates. 10,000 if no limit is given; none if one of the other two is.
        max_steps: Option<usize> = Some(10_000), in at_least(1.0);
        /// The limit in passes over the training data.
        max_epochs: Option<usize> = None, in at_least(1.0);
        /// The limit in minutes of training, pauses between resumed parts not counted.
        max_minutes: Option<f64> = None, in Range::above(0.0);
        /// The most source tokens of one batch, and the most target tokens; of a language model, tokens. All of them are real.
        batch_tokens: usize = 4096, in at_least(1.0);
        /// The most pairs in one batch; 0 sets no limit.
        max_sentences: usize = 0, in at_least(0.0);
        /// How much of the model is trained. Where it is left out: "partial" if one of the next three keys is given, else "full".
        method: Method = Method::Full;
        /// Parameters that keep the values they start with, by module path: "h.0" is all of the first block; * stands for any text.
        freeze: Vec<String> = Vec::new();
        /// The only parameters that are trained, by module path; empty trains all that `freeze` does not name.
        train_only: Vec<String> = Vec::new();
        /// The only blocks that are trained, counted from the last one, with what stands above them; all if left out.
        top_layers: Option<usize> = None, in at_least(0.0).up_to(1024.0);
        /// How matrices that are not trained are held. Rounded, they take less memory, and the model computes something slightly else.
        base_dtype: BaseDtype = BaseDtype::Stored;
        /// The factor on the learning rate from each block to the one below it; 1 trains all alike.
        layer_decay: f64 = 1.0, in Range::above(0.0).up_to(1.0);
        /// The updates after which one more block is trained, from the last one down; 0 trains all from the start (Howard & Ruder 2018).
        unfreeze_every: usize = 0, in at_least(0.0);
        /// Whole texts: the vector that the output reads, in place of what the family has for it. Of features, the mean where it is left out. A mean is over the tokens of the text, without a prompt before them.
        pooling: Option<TextPooling> = None;
        /// Whole texts: the output is solved on the model's features, as with "features", before anything is trained (Kumar et al. 2022).
        solve_output: bool = false;
        /// The directory of features that were computed, for runs on the same model and data; the run's own where it is left out.
        features_dir: Option<PathBuf> = None;
        /// Labels: factors on the loss, by label; "balanced" makes all labels weigh the same.
        class_weights: ClassWeights = ClassWeights::None;
        /// Batches whose gradients are summed for one update.
        accumulate: usize = 1, in at_least(1.0);
        /// The share of the target's probability spread over the whole vocabulary; 0 where a language model's is left out. The losses of logs and curves are without it.
        label_smoothing: f64 = 0.1, in fraction();
        /// The largest norm of the whole gradient; a longer one is scaled down. 0 never scales.
        clip_norm: f64 = 1.0, in at_least(0.0);
        /// Put sentences of like length into one batch.
        bucket: bool = true;
        /// Keep only each layer's input and compute the rest again in the backward pass: less memory, a third more time.
        checkpoint_activations: bool = false;
        /// How products with weights are computed in updates, forward and backward: in "bf16" and "bf16x3" on processors with AMX tiles or AVX512-BF16. Weights, moments, sums and validation stay f32.
        precision: Precision = Precision::F32;
        /// What happens when the loss or a gradient is not finite.
        on_non_finite: OnNonFinite = OnNonFinite::Stop;
        /// The most updates skipped in a row before the run stops; 0 sets no limit.
        max_skips: usize = 10, in at_least(0.0);
        /// Updates between lines of the log.
        log_every: usize = 50, in at_least(1.0);
        /// Updates between evaluations; 0 evaluates only at the end.
        eval_every: usize = 1000, in at_least(0.0);
        /// Updates between checkpoints; 0 saves at evaluations only.
        save_every: usize = 0, in at_least(0.0);
        /// Checkpoints kept besides the best.
        keep_last: usize = 3, in at_least(1.0);
        /// When to stop before the limit.
        early_stopping: EarlyStoppingSettings = EarlyStoppingSettings::default();
        /// The decay of an exponential moving average of the weights, which is then evaluated and exported; 0 keeps none.
        ema: f64 = 0.0, in fraction();
        /// Export the mean of the last this many checkpoints; 0 exports the best weights, or the last. If left out, a translator is what validation says is better: the best, or the mean of the last three or five.
        average_last: Option<usize> = None, in at_least(0.0);
        /// The beam with which validation sentences are translated; 0 leaves out BLEU.
        eval_beam: usize = 1, in at_least(0.0).up_to(1024.0);
        /// Language models: random batches of 4,096 tokens that the loss is watched on during training; 0 takes all of the validation text.
        eval_batches: usize = 0, in at_least(0.0);
        /// The most validation sentences translated for BLEU; 0 takes all.
        eval_max_sentences: usize = 0, in at_least(0.0);
    }
}

section! {
    /// `[lora]`: the adapter that `train.method` "lora" trains (Hu et al. 2021).
    LoraSettings {
        /// The rank of the pairs.
        rank: usize = 8, in at_least(1.0);
        /// α: what a pair gives counts α / rank.
        alpha: f64 = 16.0, in Range::above(0.0);
        /// The probability with which inputs of the pairs are dropped in training.
        dropout: f64 = 0.0, in fraction();
        /// The modules that get a pair, by the ends of their paths; "q", "k", "v", "o": queries, keys, values and outputs of attention, also where one matrix computes several; "all-linear": every projection but the output. Where it is empty, those that PEFT has for the model's type.
        targets: Vec<String> = Vec::new();
        /// A regular expression that the whole path of a module must match, in place of `targets`.
        target_pattern: Option<String> = None;
        /// Which of those get none, by the ends of their paths.
        exclude: Vec<String> = Vec::new();
        /// The blocks whose modules get one, counted from 0; all where it is empty.
        layers: Vec<usize> = Vec::new();
        /// Other ranks, "NAME=RANK", by the end of the path or a regular expression for it.
        ranks: Vec<String> = Vec::new();
        /// Other α, "NAME=ALPHA", likewise.
        alphas: Vec<String> = Vec::new();
        /// Which biases of the model are trained too.
        bias: AdaptedBiases = AdaptedBiases::None;
        /// Modules that are trained whole, by the ends of their paths. An output for labels or answers is one without being named.
        modules_to_save: Vec<String> = Vec::new();
        /// Tokens whose rows of the table of tokens are trained, by their text or id, such as `["<a>", 17]`. Where the table is the output too, they are trained as both.
        trainable_tokens: Vec<TokenName> = Vec::new();
        /// What a pair gives counts α / √rank (Kalajdzievski 2023).
        rank_stabilized: bool = false;
        /// The lengths of the adapted rows are trained by themselves (Liu et al. 2024).
        dora: bool = false;
        /// How the pairs begin.
        start: PairStart = PairStart::Uniform;
        /// The factor on the learning rate of the thin matrix that begins with zeros (LoRA+, Hayou et al. 2024); 1 trains both alike.
        up_rate: f64 = 1.0, in Range::above(0.0);
    }
}

section! {
    /// `[ia3]`: the adapter that `train.method` "ia3" trains (Liu et al. 2022).
    Ia3Settings {
        /// The modules with factors on what they give, by the ends of their paths. Where it is empty, those that PEFT has for the model's type.
        targets: Vec<String> = Vec::new();
        /// Which of those have factors on what they take instead.
        feedforward: Vec<String> = Vec::new();
        /// Modules that are trained whole, by the ends of their paths. An output for labels or answers is one without being named.
        modules_to_save: Vec<String> = Vec::new();
    }
}

section! {
    /// `[prompt]`: the adapter that `train.method` "prefix" or "prompt" trains (Li & Liang 2021; Lester et al. 2021).
    PromptSettings {
        /// Virtual tokens before every text. They take positions, but for the keys and values of "prefix" in encoders.
        tokens: usize = 20, in at_least(1.0).up_to(65_536.0);
        /// Modules that are trained whole, by the ends of their paths. An output for labels or answers is one without being named.
        modules_to_save: Vec<String> = Vec::new();
    }
}

section! {
    /// `[houlsby]`: the adapter that `train.method` "houlsby" trains (Houlsby et al. 2019).
    HoulsbySettings {
        /// The width of the small layers.
        size: usize = 64, in at_least(1.0).up_to(65_536.0);
        /// The modules that have one behind them, by the ends of their paths. Where it is empty, those that end attention and feed-forward layers.
        targets: Vec<String> = Vec::new();
        /// Which of those have none.
        exclude: Vec<String> = Vec::new();
        /// Modules that are trained whole, by the ends of their paths. An output for labels or answers is one without being named.
        modules_to_save: Vec<String> = Vec::new();
    }
}

section! {
    /// `[optimizer]`: how gradients become updates.
    OptimizerSettings {
        /// The rule.
        kind: OptimizerKind = OptimizerKind::AdamW;
        /// The highest learning rate; the noam schedule has its own.
        lr: f64 = 5e-4, in Range::above(0.0);
        /// Adam: how slowly the means of the gradient and of its square move.
        betas: [f64; 2] = [0.9, 0.98], in fraction();
        /// Adam: what is added to the root of the second moment.
        eps: f64 = 1e-9, in Range::above(0.0);
        /// The share of each weight, times the learning rate, removed at each update; biases and norms are spared.
        weight_decay: f64 = 0.01, in at_least(0.0);
        /// SGD: the share of the last update carried into the next.
        momentum: f64 = 0.9, in fraction();
    }
}

section! {
    /// `[schedule]`: how the learning rate moves.
    ScheduleSettings {
        /// The shape.
        kind: ScheduleKind = ScheduleKind::InverseSqrt;
        /// Updates until the learning rate is at its highest; if left out, those of the first tenth of the run, and 4,000 at most.
        warmup_steps: Option<usize> = None, in at_least(0.0);
        /// Linear, cosine, wsd, plateau: the lowest learning rate, as a share of the highest.
        min_lr: f64 = 0.0, in Range::from(0.0).up_to(1.0);
        /// Linear, cosine: the update at which the lowest is reached; 0 means the end of training. Wsd: updates of the final decay; 0 means a fifth of the training.
        decay_steps: usize = 0, in at_least(0.0);
        /// Noam: a factor on the paper's formula.
        scale: f64 = 1.0, in Range::above(0.0);
        /// Plateau: what the learning rate is multiplied by.
        factor: f64 = 0.5, in Range::above(0.0).below(1.0);
        /// Plateau: evaluations without a new best that are waited for.
        patience: usize = 3, in at_least(0.0);
    }
}

section! {
    /// `[search]`: how the finished model translates; written into its `generation_config.json`.
    SearchSettings {
        /// Hypotheses kept at each step; 1 is greedy.
        beam: usize = 4, in at_least(1.0).up_to(1024.0);
        /// The exponent of the length by which scores are divided; 0 divides by nothing.
        length_penalty: f64 = 1.0, in at_least(-10.0).up_to(10.0);
        /// The longest translation in tokens; if left out, at most the model's positions.
        max_length: usize = 256, in at_least(1.0);
        /// The longest translation as a multiple of the source's tokens, plus ten; 0 sets no such limit.
        max_length_ratio: f64 = 0.0, in at_least(0.0);
        /// The shortest translation in tokens.
        min_length: usize = 0, in at_least(0.0);
        /// No sequence of this many tokens occurs twice; 0 allows all.
        no_repeat_ngram: usize = 0, in at_least(0.0);
    }
}

section! {
    /// A training run, described in full.
    Recipe {
        /// What is trained.
        task: Task = Task::default();
        /// The number from which initial weights, dropout and order of the data follow.
        seed: u64 = 1, in at_least(0.0);
        /// Threads to compute with; all cores if left out.
        threads: Option<usize> = None, in at_least(1.0).up_to(4096.0);
        /// The run directory, from the working directory; `runs/` and the recipe's name if left out.
        out: Option<PathBuf> = None;
        /// Train this model further, a model directory, a run directory or org/name on the Hugging Face Hub: its weights and its tokenizer; a new model if left out. `--from` takes its place.
        from: Option<PathBuf> = None;
        /// The sentences.
        data: DataSettings = DataSettings::default();
        /// How text becomes tokens.
        tokenizer: TokenizerSettings = TokenizerSettings::default();
        /// The model: its family, and its sizes where they are not the preset's.
        model: ModelSettings = ModelSettings::default();
        /// How long, in which batches, and what is written when.
        train: TrainSettings = TrainSettings::default();
        /// The adapter, where low-rank pairs are trained.
        lora: LoraSettings = LoraSettings::default();
        /// The adapter, where factors are trained.
        ia3: Ia3Settings = Ia3Settings::default();
        /// The adapter, where virtual tokens are trained.
        prompt: PromptSettings = PromptSettings::default();
        /// The adapter, where small layers are trained.
        houlsby: HoulsbySettings = HoulsbySettings::default();
        /// How gradients become updates.
        optimizer: OptimizerSettings = OptimizerSettings::default();
        /// How the learning rate moves.
        schedule: ScheduleSettings = ScheduleSettings::default();
        /// How the finished model translates.
        search: SearchSettings = SearchSettings::default();
    }
}

impl Recipe {
    /// Virtual tokens that are trained before every text.
    #[must_use]
    pub fn virtual_tokens(&self) -> usize {
        match self.train.method {
            Method::Prefix | Method::Prompt => self.prompt.tokens,
            _ => 0,
        }
    }
}

impl TrainSettings {
    /// Whether the output is solved on features, at first or for good.
    #[must_use]
    pub fn solves(&self) -> bool {
        self.solve_output || self.method == Method::Features
    }

    /// The first setting that names a part of the model to be trained, if one does.
    #[must_use]
    pub fn part_named(&self) -> Option<&'static str> {
        [
            ("train.freeze", !self.freeze.is_empty()),
            ("train.train_only", !self.train_only.is_empty()),
            ("train.top_layers", self.top_layers.is_some()),
            ("train.unfreeze_every", self.unfreeze_every > 0),
        ]
        .into_iter()
        .find_map(|(key, is_given)| is_given.then_some(key))
    }
}

impl FileSettings {
    /// The names of columns that are given.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        [
            ("source_key", &self.source_key),
            ("target_key", &self.target_key),
            ("prompt_key", &self.prompt_key),
            ("completion_key", &self.completion_key),
            ("text_key", &self.text_key),
            ("pair_key", &self.pair_key),
            ("label_key", &self.label_key),
        ]
        .into_iter()
        .filter_map(|(name, key)| key.as_ref().map(|_| name))
        .collect()
    }
}
