//! The parts around a model: normaliser, pre-tokenizer, decoder and post-processor of each kind.

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{BertNormalizer, Lowercase, NFC, Sequence as Normalizers, Strip};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use super::Error;
use super::train::{Kind, Purpose, TrainOptions};

/// What stands for a space inside a token of [`Kind::Bpe`] and [`Kind::Unigram`]: U+2581.
pub(super) const SPACE: char = '▁';
/// What marks a WordPiece token as the continuation of a word.
pub(super) const CONTINUATION: &str = "##";

/// A whole tokenizer around a trained model.
pub(super) fn assemble(
    model: ModelWrapper,
    special: &[String],
    options: &TrainOptions,
) -> Result<tokenizers::Tokenizer, Error> {
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(normalizer(options)?);
    tokenizer.with_pre_tokenizer(pre_tokenizer(options.kind));
    tokenizer.with_decoder(Some(decoder(options)));
    tokenizer.with_post_processor(post_processor(options.purpose, special)?);
    let added: Vec<AddedToken> = special.iter().map(|token| AddedToken::from(token.as_str(), true)).collect();
    tokenizer.add_special_tokens(&added);
    Ok(tokenizer)
}

/// Brings text to one form before it is cut.
pub(super) fn normalizer(options: &TrainOptions) -> Result<Option<NormalizerWrapper>, Error> {
    let mut steps: Vec<NormalizerWrapper> = match options.kind {
        Kind::ByteLevelBpe => vec![],
        Kind::Characters => vec![NFC.into()],
        Kind::Bpe | Kind::Unigram => {
            let white_space = ReplacePattern::Regex(r"\s+".into());
            let one_space = Replace::new(white_space, " ").map_err(Error::engine("build its normaliser"))?;
            vec![NFC.into(), one_space.into(), Strip::new(true, true).into()]
        }
        // Accents stay: an umlaut is a letter, not an ornament.
        Kind::WordPiece => vec![NFC.into(), BertNormalizer::new(true, true, Some(false), false).into()],
    };
    if options.lowercase {
        steps.push(Lowercase.into());
    }
    Ok((!steps.is_empty()).then(|| Normalizers::new(steps).into()))
}

/// Cuts text into the words inside which the model works.
pub(super) fn pre_tokenizer(kind: Kind) -> Option<PreTokenizerWrapper> {
    match kind {
        Kind::Bpe | Kind::Unigram => Some(Metaspace::new(SPACE, PrependScheme::Always, true).into()),
        Kind::ByteLevelBpe => Some(ByteLevel::new(false, true, true).into()),
        Kind::WordPiece => Some(BertPreTokenizer.into()),
        Kind::Characters => None,
    }
}

fn decoder(options: &TrainOptions) -> DecoderWrapper {
    match options.kind {
        Kind::Bpe | Kind::Unigram => {
            let spaces = Metaspace::new(SPACE, PrependScheme::Always, true);
            Decoders::new(vec![ByteFallback::new().into(), spaces.into()]).into()
        }
        Kind::ByteLevelBpe => ByteLevel::new(false, true, true).into(),
        Kind::WordPiece => WordPieceDecoder::new(CONTINUATION.into(), true).into(),
        Kind::Characters => Decoders::new(vec![ByteFallback::new().into(), Fuse::new().into()]).into(),
    }
}

fn post_processor(purpose: Purpose, special: &[String]) -> Result<Option<PostProcessorWrapper>, Error> {
    let (single, pair, used): (_, _, &[&str]) = match purpose {
        Purpose::Translation => ("$A </s>", "$A </s> $B </s>", &["</s>"]),
        Purpose::Encoder => ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", &["[CLS]", "[SEP]"]),
        Purpose::UntypedEncoder => ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", &["[CLS]", "[SEP]"]),
        Purpose::Causal => return Ok(None),
    };
    let id = |name: &str| special.iter().position(|token| token == name).map(|id| id as u32);
    let split = |template: &'static str| template.split(' ').collect::<Vec<_>>();
    build_template(id, &split(single), &split(pair), used).map(Some)
}

/// A post-processor that puts tokens around a text and around two: `$A` and `$B:1` stand for the texts, `[SEP]:1` for a
/// token of type 1.
pub(super) fn template(
    tokenizer: &tokenizers::Tokenizer,
    single: &[&str],
    pair: &[&str],
) -> Result<PostProcessorWrapper, Error> {
    let used: Vec<&str> = single.iter().copied().filter(|piece| *piece != "$A").collect();
    build_template(|token| tokenizer.token_to_id(token), single, pair, &used)
}

/// A post-processor that puts these tokens before and after every text; `None` where there are none.
pub(super) fn around(
    tokenizer: &tokenizers::Tokenizer,
    bos: Option<&str>,
    eos: Option<&str>,
) -> Result<Option<PostProcessorWrapper>, Error> {
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let around = |text: &str, kind: &str| -> Vec<String> {
        let typed = |token: Option<&str>| token.map(|token| format!("{token}{kind}"));
        typed(bos).into_iter().chain([format!("{text}{kind}")]).chain(typed(eos)).collect()
    };
    let (single, second) = (around("$A", ""), around("$B", ":1"));
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    let pair: Vec<&str> = single.iter().copied().chain(second.iter().map(String::as_str)).collect();
    template(tokenizer, &single, &pair).map(Some)
}

fn build_template(
    id: impl Fn(&str) -> Option<u32>,
    single: &[&str],
    pair: &[&str],
    used: &[&str],
) -> Result<PostProcessorWrapper, Error> {
    let refuse = |detail: String| Error::Engine { action: "build its post-processor", detail };
    let owned = |pieces: &[&str]| pieces.iter().map(|piece| (*piece).to_owned()).collect::<Vec<String>>();
    let template = TemplateProcessing::builder()
        .try_single(owned(single))
        .map_err(refuse)?
        .try_pair(owned(pair))
        .map_err(refuse)?
        .special_tokens(used.iter().filter_map(|name| Some(((*name).to_owned(), id(name)?))).collect::<Vec<_>>())
        .build()
        .map_err(|e| refuse(e.to_string()))?;
    Ok(template.into())
}
