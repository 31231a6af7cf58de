//! Which tokenizer a model has, where no tokenizer.json says so: the class of Hugging Face's `transformers` that reads its
//! files.
//!
//! `tokenizer_class` in tokenizer_config.json decides, then `model_type` in config.json.

use serde_json::{Map, Value};

/// A tokenizer class, by the files and the defaults that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// WordPiece: BERT, DistilBERT, ELECTRA.
    Bert,
    /// Pairs of bytes with `<s>` and `</s>` around a text.
    Roberta,
    /// Pairs of bytes and nothing around a text.
    Gpt2,
    /// SentencePiece, DeBERTa's.
    DebertaV2,
    /// SentencePiece with fairseq's ids.
    XlmRoberta,
    /// SentencePiece with T5's sentinels.
    T5,
    /// SentencePiece, Llama's.
    Llama,
    /// SentencePiece, exactly as its own program has it.
    SentencePiece,
    /// Two SentencePiece models and a vocabulary.
    Marian,
}

/// The roles of special tokens, in the order in which they get ids.
pub(super) const ROLES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

const BERT_TYPES: [&str; 7] =
    ["bert", "distilbert", "electra", "convbert", "mobilebert", "megatron-bert", "nomic_bert"];
const BERT_CLASSES: [&str; 6] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "ConvBertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
];

impl Class {
    /// The class that the files of a directory name. `None` where they name none that is known here.
    pub fn of(tokenizer_config: &Map<String, Value>, config: &Map<String, Value>) -> Option<Self> {
        let text = |file: &Map<String, Value>, key: &str| file.get(key).and_then(Value::as_str).map(str::to_owned);
        let model_type = text(config, "model_type").unwrap_or_default();
        let class = text(tokenizer_config, "tokenizer_class").or_else(|| text(config, "tokenizer_class"));
        let Some(class) = class.filter(|class| !says_nothing(class)) else { return Self::of_type(&model_type) };
        let class = class.strip_suffix("Fast").unwrap_or(&class);
        Some(match class {
            class if BERT_CLASSES.contains(&class) => Class::Bert,
            "RobertaTokenizer" => Class::Roberta,
            "GPT2Tokenizer" => Class::Gpt2,
            "DebertaV2Tokenizer" => Class::DebertaV2,
            "XLMRobertaTokenizer" => Class::XlmRoberta,
            "T5Tokenizer" => Class::T5,
            // The files of models that borrow the class are read as SentencePiece reads them.
            "LlamaTokenizer" if model_type == "llama" => Class::Llama,
            "LlamaTokenizer" => Class::SentencePiece,
            "MarianTokenizer" => Class::Marian,
            _ => return None,
        })
    }

    fn of_type(model_type: &str) -> Option<Self> {
        Some(match model_type {
            model_type if BERT_TYPES.contains(&model_type) => Class::Bert,
            "roberta" => Class::Roberta,
            "gpt2" => Class::Gpt2,
            "deberta-v2" => Class::DebertaV2,
            "xlm-roberta" | "xlm-roberta-xl" => Class::XlmRoberta,
            "t5" | "mt5" => Class::T5,
            "llama" | "mistral" => Class::SentencePiece,
            "marian" => Class::Marian,
            _ => return None,
        })
    }

    /// The class that a file is of by its name, where nothing else says it.
    pub fn of_file(name: &str) -> Option<Self> {
        Some(match name {
            "vocab.txt" => Class::Bert,
            "vocab.json" => Class::Gpt2,
            "source.spm" => Class::Marian,
            name if name.ends_with(".model") || name.ends_with(".spm") => Class::SentencePiece,
            _ => return None,
        })
    }

    /// The names that the file of its vocabulary can have.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Class::Bert => &["vocab.txt"],
            Class::Roberta | Class::Gpt2 => &["vocab.json"],
            Class::DebertaV2 => &["spm.model"],
            Class::XlmRoberta => &["sentencepiece.bpe.model"],
            Class::T5 => &["spiece.model"],
            Class::Llama => &["tokenizer.model"],
            Class::SentencePiece => &["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model"],
            Class::Marian => &["source.spm"],
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Class::Bert => "BertTokenizer",
            Class::Roberta => "RobertaTokenizer",
            Class::Gpt2 => "GPT2Tokenizer",
            Class::DebertaV2 => "DebertaV2Tokenizer",
            Class::XlmRoberta => "XLMRobertaTokenizer",
            Class::T5 => "T5Tokenizer",
            Class::Llama => "LlamaTokenizer",
            Class::SentencePiece => "SentencePiece",
            Class::Marian => "MarianTokenizer",
        }
    }

    /// The token that has a role where no file names one.
    pub fn usual(self, role: &str) -> Option<&'static str> {
        let of =
            |tokens: [Option<&'static str>; 7]| ROLES.iter().position(|name| *name == role).and_then(|at| tokens[at]);
        let (unk, pad) = (Some("<unk>"), Some("<pad>"));
        match self {
            Class::Bert => of([None, None, Some("[UNK]"), Some("[SEP]"), Some("[PAD]"), Some("[CLS]"), Some("[MASK]")]),
            Class::DebertaV2 => of([
                Some("[CLS]"),
                Some("[SEP]"),
                Some("[UNK]"),
                Some("[SEP]"),
                Some("[PAD]"),
                Some("[CLS]"),
                Some("[MASK]"),
            ]),
            Class::Roberta | Class::XlmRoberta => {
                of([Some("<s>"), Some("</s>"), unk, Some("</s>"), pad, Some("<s>"), Some("<mask>")])
            }
            Class::Gpt2 => {
                let end = Some("<|endoftext|>");
                of([end, end, end, None, None, None, None])
            }
            Class::T5 | Class::Marian => of([None, Some("</s>"), unk, None, pad, None, None]),
            Class::Llama => of([Some("<s>"), Some("</s>"), unk, None, None, None, None]),
            Class::SentencePiece => None,
        }
    }
}

/// The class of tokenizers that their tokenizer.json describes whole.
fn says_nothing(class: &str) -> bool {
    matches!(class, "PreTrainedTokenizerFast" | "PreTrainedTokenizer" | "TokenizersBackend" | "PythonBackend")
}
