//! SentencePiece models, each as the class of `transformers` that reads it has it: the pieces, the normalisation of the text
//! and the tokens around it.
//!
//! ```text
//! DebertaV2Tokenizer    Unigram; its own normalisation (NFC), not the file's        [CLS] A [SEP] B [SEP]
//! XLMRobertaTokenizer   Unigram; ids are fairseq's: <s> <pad> </s> <unk>, the pieces from the fourth on, <mask>
//! T5Tokenizer           Unigram; <extra_id_99> … <extra_id_0> follow the pieces     A </s> B </s>
//! LlamaTokenizer        BPE; pairs in the order of their pieces' ids, bytes for what the vocabulary lacks
//! others                either; all as the file says, like SentencePiece's own program
//! ```

mod pieces;
mod proto;

use std::path::Path;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip as StripDecoder;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{Lowercase, NFC, Precompiled, Sequence as Normalizers, Strip};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::class::Class;
use super::fault;
use super::settings::{Added, Settings, add_tokens};
use crate::text::pipeline::SPACE;
use crate::text::vocabulary::Unknown;
use crate::text::{Error, pipeline};
pub(super) use pieces::{bpe, merges_by_score};
use pieces::{escaped, merges_by_id};
pub(super) use proto::{Model, ModelType, Piece, PieceKind};

/// How many sentinels a T5 has, where tokenizer_config.json does not say.
const SENTINELS: usize = 100;
/// The most that a file can ask for.
const MOST_SENTINELS: usize = 10_000;

/// Reads the model alone.
pub(super) fn read(path: &Path) -> Result<Model, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    Model::parse(&bytes).map_err(|reason| fault(path, format!("not a SentencePiece model: {reason}")))
}

pub(super) fn load(path: &Path, settings: &Settings, class: Class) -> Result<(Tokenizer, Unknown), Error> {
    let model = read(path)?;
    let file = File { path, model, settings };
    match class {
        Class::DebertaV2 => file.deberta(),
        Class::XlmRoberta => file.xlm_roberta(),
        Class::T5 => file.t5(),
        Class::Llama => file.llama(),
        _ => file.as_it_says(),
    }
}

/// A model with the files beside it.
struct File<'f> {
    path: &'f Path,
    model: Model,
    settings: &'f Settings,
}

impl File<'_> {
    fn deberta(&self) -> Result<(Tokenizer, Unknown), Error> {
        let usual = |role: &str| Class::DebertaV2.usual(role).map(str::to_owned);
        let unk = self.settings.required("unk", usual)?;
        let vocab = self.scored(0);
        let by_name = vocab.iter().position(|(piece, score)| *piece == unk && *score == 0.0);
        let unk_id = by_name.unwrap_or(self.model.unk.0 as usize);
        let mut tokenizer = self.unigram(Class::DebertaV2, vocab, unk_id)?;
        let space = ReplacePattern::Regex(r"\s{2,}|[\n\r\t]".into());
        let lowercase = self.settings.flag("do_lower_case")?.unwrap_or(false).then_some(Lowercase.into());
        let steps: [NormalizerWrapper; 3] = [replace(space, " ")?, NFC.into(), Strip::new(false, true).into()];
        tokenizer.with_normalizer(Some(Normalizers::new(lowercase.into_iter().chain(steps).collect())));
        let punctuation = Punctuation::new(SplitDelimiterBehavior::Isolated);
        let punctuation = self.settings.flag("split_by_punct")?.unwrap_or(false).then_some(punctuation.into());
        let scheme = if self.add_prefix_space()? { PrependScheme::Always } else { PrependScheme::First };
        let space = Metaspace::new(SPACE, scheme, true);
        let steps = punctuation.into_iter().chain([space.clone().into()]).collect();
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(steps)));
        tokenizer.with_decoder(Some(space));
        self.add(&mut tokenizer, Added::default(), usual)?;
        let (cls, sep) = (self.settings.required("cls", usual)?, self.settings.required("sep", usual)?);
        let pair = [&cls, "$A", &sep, "$B:1", &format!("{sep}:1")];
        let template = pipeline::template(&tokenizer, &[&cls, "$A", &sep], &pair)?;
        tokenizer.with_post_processor(Some(template));
        Ok((tokenizer, Unknown::Id(unk_id as u32)))
    }

    fn xlm_roberta(&self) -> Result<(Tokenizer, Unknown), Error> {
        const UNK: usize = 3;
        let usual = |role: &str| Class::XlmRoberta.usual(role).map(str::to_owned);
        let mut vocab = Vec::new();
        for role in ["bos", "pad", "eos", "unk"] {
            vocab.push((self.settings.required(role, usual)?, 0.0));
        }
        // The file begins with <unk>, <s> and </s>.
        vocab.extend(self.scored(3));
        vocab.push((self.settings.required("mask", usual)?, 0.0));
        let mut tokenizer = self.unigram(Class::XlmRoberta, vocab, UNK)?;
        self.words(
            &mut tokenizer,
            if self.add_prefix_space()? { PrependScheme::Always } else { PrependScheme::Never },
        )?;
        self.add(&mut tokenizer, Added::default(), usual)?;
        let (bos, eos) = (self.settings.required("bos", usual)?, self.settings.required("eos", usual)?);
        let template = pipeline::template(&tokenizer, &[&bos, "$A", &eos], &[&bos, "$A", &eos, &eos, "$B", &eos])?;
        tokenizer.with_post_processor(Some(template));
        Ok((tokenizer, Unknown::Id(UNK as u32)))
    }

    fn t5(&self) -> Result<(Tokenizer, Unknown), Error> {
        const UNK: usize = 2;
        let usual = |role: &str| Class::T5.usual(role).map(str::to_owned);
        let count = self.settings.value("extra_ids")?.unwrap_or(SENTINELS);
        if count > MOST_SENTINELS {
            let expected = format!("`extra_ids` is {count}, expected at most {MOST_SENTINELS}");
            return Err(fault(&self.settings.config_path, expected));
        }
        let sentinels: Vec<String> = (0..count).rev().map(|i| format!("<extra_id_{i}>")).collect();
        let mut vocab = self.scored(0);
        vocab.extend(sentinels.iter().map(|token| (token.clone(), 0.0)));
        let mut tokenizer = self.unigram(Class::T5, vocab, UNK)?;
        self.words(&mut tokenizer, PrependScheme::Always)?;
        let sentinels = sentinels.into_iter().map(|token| AddedToken::from(token, true)).collect();
        self.add(&mut tokenizer, Added { tokens: sentinels, raw: false }, usual)?;
        let eos = self.settings.required("eos", usual)?;
        let template = pipeline::template(&tokenizer, &["$A", &eos], &["$A", &eos, "$B", &eos])?;
        tokenizer.with_post_processor(Some(template));
        Ok((tokenizer, Unknown::Id(UNK as u32)))
    }

    fn llama(&self) -> Result<(Tokenizer, Unknown), Error> {
        if self.model.model_type != ModelType::Bpe {
            return Err(fault(self.path, "it is a Unigram model, and LlamaTokenizer reads BPE".into()));
        }
        let usual = |role: &str| Class::Llama.usual(role).map(str::to_owned);
        let bpe = pieces::bpe(&self.model, merges_by_id(&self.model)).fuse_unk(true).byte_fallback(true).build();
        let mut tokenizer = Tokenizer::new(bpe.map_err(Error::engine("build its model"))?);
        let (prefix, legacy) = (self.add_prefix_space()?, self.settings.flag("legacy")?.unwrap_or(false));
        let scheme = match (prefix, legacy) {
            (false, _) => PrependScheme::Never,
            (true, true) => PrependScheme::Always,
            (true, false) => PrependScheme::First,
        };
        tokenizer.with_pre_tokenizer(Some(Metaspace::new(SPACE, scheme, false)));
        tokenizer.with_decoder(Some(Decoders::new(decoder(true, prefix)?)));
        self.add(&mut tokenizer, Added::default(), usual)?;
        self.begin_and_end(&mut tokenizer, usual)?;
        Ok((tokenizer, Unknown::None))
    }

    /// As SentencePiece's own program cuts text.
    fn as_it_says(&self) -> Result<(Tokenizer, Unknown), Error> {
        let Model { bos, eos, unk, .. } = &self.model;
        let usual = |role: &str| {
            let (id, piece) = match role {
                "bos" => bos,
                "eos" => eos,
                "unk" => unk,
                _ => return None,
            };
            (*id >= 0).then(|| piece.clone())
        };
        let mut tokenizer = Tokenizer::new(self.model_as_it_says()?);
        let legacy = self.settings.flag("legacy")?.unwrap_or(true);
        let steps = normalizer(self.path, &self.model, legacy)?;
        tokenizer.with_normalizer((!steps.is_empty()).then(|| Normalizers::new(steps)));
        tokenizer.with_pre_tokenizer(pre_tokenizer(&self.model, legacy)?);
        let steps = decoder(self.model.byte_fallback, self.model.add_dummy_prefix)?;
        tokenizer.with_decoder(Some(Decoders::new(steps)));
        self.add(&mut tokenizer, Added { tokens: Vec::new(), raw: self.model.add_dummy_prefix }, usual)?;
        self.begin_and_end(&mut tokenizer, usual)?;
        Ok((tokenizer, Unknown::Id(unk.0 as u32)))
    }

    fn model_as_it_says(&self) -> Result<ModelWrapper, Error> {
        let Model { unk, byte_fallback, .. } = &self.model;
        let build = Error::engine("build its model");
        if self.model.model_type == ModelType::Unigram {
            return Unigram::from(self.scored(0), Some(unk.0 as usize), *byte_fallback).map(Into::into).map_err(build);
        }
        let unk = self.model.pieces[unk.0 as usize].text.clone();
        let bpe = pieces::bpe(&self.model, merges_by_score(&self.model)).unk_token(unk).fuse_unk(true);
        let bpe = bpe.byte_fallback(*byte_fallback).ignore_merges(user_defined(&self.model).next().is_some());
        bpe.build().map(Into::into).map_err(build)
    }

    /// Words of a Unigram model: white space parts them.
    fn words(&self, tokenizer: &mut Tokenizer, scheme: PrependScheme) -> Result<(), Error> {
        let space = Metaspace::new(SPACE, scheme, true);
        tokenizer.with_normalizer(charsmap(self.path, &self.model)?);
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![WhitespaceSplit.into(), space.clone().into()])));
        tokenizer.with_decoder(Some(space));
        Ok(())
    }

    /// The pieces from one on, with their scores.
    fn scored(&self, from: usize) -> Vec<(String, f64)> {
        self.model.pieces.iter().skip(from).map(|piece| (piece.text.clone(), piece.score)).collect()
    }

    fn unigram(&self, class: Class, vocab: Vec<(String, f64)>, unk_id: usize) -> Result<Tokenizer, Error> {
        if self.model.model_type != ModelType::Unigram {
            return Err(fault(self.path, format!("it is a BPE model, and {} reads Unigram", class.name())));
        }
        let model = Unigram::from(vocab, Some(unk_id), false).map_err(Error::engine("build its model"))?;
        Ok(Tokenizer::new(model))
    }

    fn add_prefix_space(&self) -> Result<bool, Error> {
        Ok(self.settings.flag("add_prefix_space")?.unwrap_or(true))
    }

    /// Adds the tokens of the files beside the model, then those that it marks itself.
    fn add(
        &self,
        tokenizer: &mut Tokenizer,
        mut added: Added,
        usual: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Error> {
        // Where the file decides all, its user-defined pieces are cut out by the pre-tokenizer.
        let marked = |kind| kind == PieceKind::Control || kind == PieceKind::UserDefined && !added.raw;
        let marked = self.model.pieces.iter().filter(|piece| marked(piece.kind));
        let is_there = |piece: &&proto::Piece| tokenizer.token_to_id(&piece.text).is_some();
        let tokens: Vec<AddedToken> = marked
            .filter(is_there)
            .map(|piece| AddedToken::from(piece.text.clone(), piece.kind == PieceKind::Control).normalized(false))
            .collect();
        added.tokens.extend(tokens);
        add_tokens(tokenizer, self.path, self.settings, added, usual)
    }

    /// The tokens that begin and end a text, where tokenizer_config.json says so.
    fn begin_and_end(&self, tokenizer: &mut Tokenizer, usual: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        let token = |flag: &str, role: &str| -> Result<Option<String>, Error> {
            let is_set = self.settings.flag(flag)?.unwrap_or(false);
            is_set.then(|| self.settings.required(role, &usual)).transpose()
        };
        let (bos, eos) = (token("add_bos_token", "bos")?, token("add_eos_token", "eos")?);
        let around = pipeline::around(tokenizer, bos.as_deref(), eos.as_deref())?;
        tokenizer.with_post_processor(around);
        Ok(())
    }
}

/// How SentencePiece's own program brings a text to one form.
pub(super) fn normalizer(path: &Path, model: &Model, legacy: bool) -> Result<Vec<NormalizerWrapper>, Error> {
    let mut steps: Vec<NormalizerWrapper> = charsmap(path, model)?.map(Into::into).into_iter().collect();
    let regex = |pattern: &str| ReplacePattern::Regex(pattern.into());
    if model.remove_extra_whitespaces {
        // Spaces only: SentencePiece leaves ends of lines alone.
        steps.extend([replace(regex(r"\A +| +\z"), "")?, replace(regex(" {2,}"), " ")?]);
    }
    if model.escape_whitespaces {
        steps.push(replace(ReplacePattern::String(" ".into()), "▁")?);
    }
    if model.add_dummy_prefix && legacy {
        // The pre-tokenizer puts no space before a text that begins with one.
        steps.push(replace(regex(r"\A▁"), "▁▁")?);
    }
    Ok(steps)
}

/// How it begins a text, and which pieces it cuts out whole.
pub(super) fn pre_tokenizer(model: &Model, legacy: bool) -> Result<Option<PreTokenizers>, Error> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    if model.add_dummy_prefix {
        let scheme = if legacy { PrependScheme::Always } else { PrependScheme::First };
        steps.push(Metaspace::new(SPACE, scheme, false).into());
    }
    let mut whole: Vec<&str> = user_defined(model).collect();
    // The longest one that fits is meant.
    whole.sort_by_key(|piece| std::cmp::Reverse(piece.chars().count()));
    if !whole.is_empty() {
        let pattern = whole.into_iter().map(escaped).collect::<Vec<_>>().join("|");
        let split = Split::new(SplitPattern::Regex(pattern), SplitDelimiterBehavior::Isolated, false);
        steps.push(split.map_err(Error::engine("build its pre-tokenizer"))?.into());
    }
    Ok((!steps.is_empty()).then(|| PreTokenizers::new(steps)))
}

fn charsmap(path: &Path, model: &Model) -> Result<Option<Precompiled>, Error> {
    if model.charsmap.is_empty() {
        return Ok(None);
    }
    let refuse = |error| fault(path, format!("its normalisation cannot be read: {error}"));
    Precompiled::from(&model.charsmap).map(Some).map_err(refuse)
}

fn user_defined(model: &Model) -> impl Iterator<Item = &str> {
    let pieces = model.pieces.iter().filter(|piece| piece.kind == PieceKind::UserDefined);
    pieces.map(|piece| piece.text.as_str())
}

pub(super) fn replace(pattern: ReplacePattern, content: &str) -> Result<NormalizerWrapper, Error> {
    Replace::new(pattern, content).map(Into::into).map_err(Error::engine("build its normaliser"))
}

pub(super) fn replace_decoder(pattern: &str, content: &str) -> Result<DecoderWrapper, Error> {
    let replace = Replace::new(ReplacePattern::String(pattern.into()), content);
    replace.map(Into::into).map_err(Error::engine("build its decoder"))
}

/// Puts spaces back, then bytes; the space before a text is no part of it.
pub(super) fn decoder(bytes: bool, prefix: bool) -> Result<Vec<DecoderWrapper>, Error> {
    let mut steps = vec![replace_decoder("▁", " ")?];
    if bytes {
        steps.push(ByteFallback::new().into());
    }
    if bytes || prefix {
        steps.push(Fuse::new().into());
    }
    if prefix {
        steps.push(StripDecoder::new(' ', 1, 0).into());
    }
    Ok(steps)
}
