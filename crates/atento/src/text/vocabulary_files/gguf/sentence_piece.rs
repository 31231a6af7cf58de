//! SentencePiece's BPE as `LlamaConverter` of `transformers` makes a tokenizer.json of it: spaces are `▁`, one is put before
//! a text and after a special token, and the pairs follow from the scores.

use tokenizers::Tokenizer;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Sequence as Normalizers};

use super::super::sentence_piece::{self, Model, ModelType, Piece, PieceKind, bpe, merges_by_score};
use super::{CONTROL, USER_DEFINED, Vocabulary, engine};

/// A piece that text gives.
const NORMAL: i64 = 1;

/// A tokenizer of the pieces with these scores.
pub(super) fn build(
    vocabulary: &Vocabulary<'_>,
    scores: &[f64],
    unk: u32,
    space_prefix: bool,
) -> Result<Tokenizer, String> {
    let Vocabulary { tokens, types, .. } = vocabulary;
    if scores.len() != tokens.len() {
        return Err(format!("it has {} tokens and {} scores", tokens.len(), scores.len()));
    }
    let piece = |((text, kind), score): ((&&str, &i64), &f64)| Piece {
        text: (*text).to_owned(),
        score: *score,
        kind: match *kind {
            NORMAL => PieceKind::Normal,
            CONTROL => PieceKind::Control,
            USER_DEFINED => PieceKind::UserDefined,
            _ => PieceKind::Other,
        },
    };
    let model = Model {
        pieces: tokens.iter().zip(types).zip(scores).map(piece).collect(),
        model_type: ModelType::Bpe,
        byte_fallback: true,
        unk: (unk.into(), tokens.get(unk as usize).copied().unwrap_or_default().to_owned()),
        bos: (-1, String::new()),
        eos: (-1, String::new()),
        charsmap: Vec::new(),
        add_dummy_prefix: space_prefix,
        remove_extra_whitespaces: false,
        escape_whitespaces: true,
    };
    model.check()?;
    let pairs = bpe(&model, merges_by_score(&model)).unk_token(model.unk.1.clone());
    let mut tokenizer = Tokenizer::new(engine(pairs.fuse_unk(true).byte_fallback(true).build())?);
    let prefix = space_prefix.then(|| NormalizerWrapper::from(Prepend::new("▁".into())));
    let space = engine(sentence_piece::replace(ReplacePattern::String(" ".into()), "▁"))?;
    tokenizer.with_normalizer(Some(Normalizers::new(prefix.into_iter().chain([space]).collect())));
    tokenizer.with_decoder(Some(Decoders::new(engine(sentence_piece::decoder(true, space_prefix))?)));
    Ok(tokenizer)
}
