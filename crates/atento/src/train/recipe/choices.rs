//! The words that keys of a recipe accept.

use super::section::choice;
use crate::models::config;

choice! {
    /// Text that comes with the program.
    Corpus {
        /// English–German sentences made by a grammar.
        Demo = "demo",
    }
}

choice! {
    /// What happens to a sentence longer than `data.max_length`, or to a prompt with its completion longer than
    /// `data.block_size`.
    OnTruncate {
        /// The run stops and names the sentence.
        Error = "error",
        /// The pair is cut to the length and counted in the report.
        Warn = "warn",
        /// The pair is left out and counted in the report.
        Drop = "drop",
        /// The pair is cut into several.
        Split = "split",
    }
}

choice! {
    /// What happens to a line that holds no example: it has another number of columns, is no UTF-8 text or no JSON, lacks a
    /// key, or is too long to be read.
    OnBadLine {
        /// The run stops and names all such lines.
        Error = "error",
        /// The line is left out and counted in the report; of two parallel files, the line beside it too.
        Skip = "skip",
    }
}

choice! {
    /// How text becomes tokens.
    TokenizerKind {
        /// Byte-pair encoding over characters.
        Bpe = "bpe",
        /// Byte-pair encoding over bytes, as GPT-2's.
        ByteBpe = "byte_bpe",
        /// WordPiece, as BERT's.
        WordPiece = "wordpiece",
        /// A unigram language model over pieces.
        Unigram = "unigram",
        /// One token for each character.
        Char = "char",
    }
}

choice! {
    /// Where a document of plain text ends.
    Documents {
        /// A file is one document.
        File = "file",
        /// At a blank line.
        BlankLine = "blank-line",
        /// Every line is one.
        Line = "line",
    }
}

choice! {
    /// Which stretches of text a language model learns from, and in which order.
    Sampling {
        /// Stretches that begin anywhere, each drawn by itself.
        Random = "random",
        /// All stretches of the text, one after the other, in random order.
        Sequential = "sequential",
    }
}

choice! {
    /// A named set of sizes.
    Preset {
        /// The smallest: learns the demo corpus in minutes on two cores.
        Tiny = "tiny",
        /// For tens of thousands of sentences.
        Small = "small",
        /// The paper's base model.
        Base = "base",
        /// The paper's big model.
        Big = "big",
    }
}

choice! {
    /// The function between the two linear maps of a feed-forward block.
    Activation {
        /// max(0, x), the paper's.
        Relu = "relu",
        /// x Φ(x), exact.
        Gelu = "gelu",
        /// x Φ(x), approximated with tanh.
        GeluNew = "gelu_new",
        /// x σ(x).
        Silu = "silu",
        /// tanh(x).
        Tanh = "tanh",
    }
}

choice! {
    /// Where the layer norm of a block stands.
    Norm {
        /// After the residual sum, as in the paper.
        Post = "post",
        /// Before the block, with one more at the end of the stack.
        Pre = "pre",
    }
}

choice! {
    /// Which of the three embedding tables are one.
    TieEmbeddings {
        /// Source, target and output share one table.
        All = "all",
        /// Target and output share one; the source has its own.
        Decoder = "decoder",
        /// Three tables.
        None = "none",
    }
}

choice! {
    /// What happens when the loss or a gradient is not finite.
    OnNonFinite {
        /// The run stops and names step, tensor, layer and sentences.
        Stop = "stop",
        /// The step is skipped and counted.
        Skip = "skip",
    }
}

choice! {
    /// How much of a model is trained.
    Method {
        /// All of it.
        Full = "full",
        /// The top blocks, or what patterns name; where nothing is said, the top two blocks with what stands above them.
        Partial = "partial",
        /// Nothing but the output, solved on features that the rest of the model gives once.
        Features = "features",
        /// Low-rank pairs beside a model that stays as it is, with its output for labels or answers: an adapter (`[lora]`).
        Lora = "lora",
        /// Factors on keys, values and what feed-forward layers compute, beside a model that stays as it is: an adapter (`[ia3]`; Liu et al. 2022).
        Ia3 = "ia3",
        /// All biases, with an output for labels or answers: an adapter (Ben Zaken et al. 2022).
        BitFit = "bitfit",
        /// Keys and values before those of every text, in every block of a model that stays as it is: an adapter (`[prompt]`; Li & Liang 2021).
        Prefix = "prefix",
        /// Rows in the place of tokens before every text of a model that stays as it is: an adapter (`[prompt]`; Lester et al. 2021).
        Prompt = "prompt",
        /// Small layers behind those of a model that stays as it is: an adapter (`[houlsby]`; Houlsby et al. 2019).
        Houlsby = "houlsby",
    }
}

impl Method {
    /// Whether what comes out is an adapter for the model that the run starts from.
    #[must_use]
    pub fn is_adapter(self) -> bool {
        !matches!(self, Self::Full | Self::Partial | Self::Features)
    }
}

choice! {
    /// How matrices are held that are not trained.
    BaseDtype {
        /// As the model that the run starts from has them.
        Stored = "stored",
        /// As brain floats: half the bytes of f32.
        Bf16 = "bf16",
        /// As whole numbers with a factor for each output: a quarter of the bytes.
        Int8 = "int8",
        /// As fifteen levels at equal distances with a factor for each 64 numbers: a seventh of the bytes.
        Int4 = "int4",
        /// As the sixteen levels of NormalFloat with a factor for each 64 numbers: a seventh of the bytes (QLoRA; Dettmers et al. 2023).
        Nf4 = "nf4",
    }
}

choice! {
    /// How products with weights are computed in updates. Weights, moments, sums and all else are f32 in each.
    Precision {
        /// In f32.
        F32 = "f32",
        /// Operands rounded to bf16: fastest, on processors with AMX tiles or AVX512-BF16.
        Bf16 = "bf16",
        /// Operands as sums of two bf16 numbers: nearly the results of f32, on the same processors (Henry et al. 2019).
        Bf16x3 = "bf16x3",
    }
}

choice! {
    /// Which biases of the model are trained with an adapter.
    AdaptedBiases {
        /// None.
        None = "none",
        /// All.
        All = "all",
        /// Those of the modules that have a pair.
        LoraOnly = "lora_only",
    }
}

choice! {
    /// How pairs begin: the thin matrix that reads the input so, and the other with zeros, but for the last.
    PairStart {
        /// Uniform in ±1/√inputs, as PEFT has it.
        Uniform = "uniform",
        /// Normal with standard deviation 1/rank.
        Gaussian = "gaussian",
        /// Both as the greatest singular values of the matrix with their vectors, in whose place they stand (PiSSA, Meng et al.
        /// 2024). The adapter is saved as what has changed, of twice the rank, and goes with the model as it is.
        Principal = "pissa",
    }
}

choice! {
    /// What one vector of a text is made of, for an output that stands on it alone.
    TextPooling {
        /// The state of the first token; behind a prompt (`train.method` "prompt"), that of its first row.
        Cls = "cls",
        /// The mean of the states of the text's own tokens, without those of a prompt.
        Mean = "mean",
        /// The state of the last token.
        Last = "last",
    }
}

choice! {
    /// The measure on the validation data by which runs are compared.
    Metric {
        /// Cross-entropy per target token; smaller is better.
        Loss = "loss",
        /// sacreBLEU; greater is better.
        Bleu = "bleu",
        /// The share of labels that are right.
        Accuracy = "accuracy",
        /// F1: of two labels that of the second, of any number of labels over all of them together.
        F1 = "f1",
        /// The mean of the labels' F1.
        F1Macro = "f1_macro",
        /// Matthews' correlation.
        Matthews = "mcc",
        /// Pearson's correlation of values.
        Pearson = "pearson",
        /// Spearman's correlation of values.
        Spearman = "spearman",
        /// The share of answers that are exactly right.
        ExactMatch = "exact_match",
        /// The share of masked words that are found.
        WordAccuracy = "word_accuracy",
        /// The share of pairs of which it is found whether the second text follows the first.
        NextAccuracy = "next_accuracy",
    }
}

impl Metric {
    /// Whether a smaller one is better.
    #[must_use]
    pub fn should_fall(self) -> bool {
        self == Self::Loss
    }

    /// Whether `value` is better than `other`; what is not a number never is.
    #[must_use]
    pub fn is_better(self, value: f64, other: f64) -> bool {
        if self.should_fall() { value < other } else { value > other }
    }

    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Bleu => "BLEU",
            Self::Accuracy => "accuracy",
            Self::F1 => "F1",
            Self::F1Macro => "macro F1",
            Self::Matthews => "Matthews correlation",
            Self::Pearson => "Pearson correlation",
            Self::Spearman => "Spearman correlation",
            Self::ExactMatch => "exact match",
            Self::WordAccuracy => "word accuracy",
            Self::NextAccuracy => "next-sentence accuracy",
        }
    }
}

choice! {
    /// What is masked as one.
    MaskUnits {
        /// Single tokens, as BERT first did.
        Tokens = "tokens",
        /// All tokens of a word.
        Words = "words",
        /// Some words in a row (SpanBERT).
        Spans = "spans",
    }
}

choice! {
    /// When the examples of masked words are drawn.
    Drawing {
        /// Anew in each epoch.
        EachEpoch = "each_epoch",
        /// Once.
        Once = "once",
    }
}

choice! {
    /// What is learned of the second text of a pair.
    Second {
        /// Whether it follows the first one, or is of another document (BERT).
        Next = "next",
        /// Whether the two are in order (ALBERT).
        Order = "order",
    }
}

choice! {
    /// Factors on the loss of labels.
    ClassWeights {
        /// Every text weighs the same.
        None = "none",
        /// Every label weighs the same, however rare: n / (labels · count).
        Balanced = "balanced",
    }
}

choice! {
    /// The rule that turns gradients into updates.
    OptimizerKind {
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// Adam; weight decay is added to the gradient.
        Adam = "adam",
        /// Gradient descent with momentum.
        Sgd = "sgd",
    }
}

choice! {
    /// How the learning rate moves; the formulas stand in `train::schedule`.
    ScheduleKind {
        /// Linear warm-up, then 1/√step, scaled by 1/√d_model: the paper's.
        Noam = "noam",
        /// Linear warm-up to `optimizer.lr`, then falling as 1/√step.
        InverseSqrt = "inverse_sqrt",
        /// Linear warm-up, then a straight line down.
        Linear = "linear",
        /// Linear warm-up, then half a cosine down.
        Cosine = "cosine",
        /// Linear warm-up, then level.
        Constant = "constant",
        /// Linear warm-up, then level, multiplied by `factor` when validation stops improving.
        Plateau = "plateau",
        /// Linear warm-up, level, and a final decay.
        Wsd = "wsd",
    }
}

impl Activation {
    /// The recipe's word for one of the functions that a model may have.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "relu" => Self::Relu,
            "gelu" => Self::Gelu,
            // Also called swish.
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            // `gelu_new`, `gelu_fast` and `gelu_pytorch_tanh` are one function.
            _ => Self::GeluNew,
        }
    }
}

impl TieEmbeddings {
    /// Of a model with one table, or two.
    #[must_use]
    pub fn all_or_none(tied: bool) -> Self {
        if tied { Self::All } else { Self::None }
    }
}

impl From<TieEmbeddings> for config::TieEmbeddings {
    fn from(tie: TieEmbeddings) -> Self {
        match tie {
            TieEmbeddings::All => Self::All,
            TieEmbeddings::Decoder => Self::Decoder,
            TieEmbeddings::None => Self::None,
        }
    }
}

impl From<config::TieEmbeddings> for TieEmbeddings {
    fn from(tie: config::TieEmbeddings) -> Self {
        match tie {
            config::TieEmbeddings::All => Self::All,
            config::TieEmbeddings::Decoder => Self::Decoder,
            config::TieEmbeddings::None => Self::None,
        }
    }
}
