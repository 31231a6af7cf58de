//! vocab.txt: one WordPiece a line, as `BertTokenizer` of `transformers` reads it.

use std::path::Path;

use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::class::Class;
use super::settings::{Added, Settings, add_tokens};
use super::{fault, read_text};
use crate::text::pipeline::CONTINUATION;
use crate::text::vocabulary::Unknown;
use crate::text::{Error, pipeline};

/// The longest word in characters that is cut into pieces; a longer one is the unknown token.
const LONGEST_WORD: usize = 100;

pub(super) fn load(path: &Path, settings: &Settings) -> Result<(tokenizers::Tokenizer, Unknown), Error> {
    let text = String::from_utf8(read_text(path)?).map_err(|error| fault(path, format!("not UTF-8: {error}")))?;
    // A piece that stands there twice has the id of its last line.
    let vocab: Vocab = text.lines().zip(0..).map(|(piece, id)| (piece.trim_end().to_owned(), id)).collect();
    let usual = |role: &str| Class::Bert.usual(role).map(str::to_owned);
    let [unk, cls, sep] = ["unk", "cls", "sep"].map(|role| settings.required(role, usual));
    let (unk, cls, sep) = (unk?, cls?, sep?);
    let has_lines = !text.trim().is_empty();
    if !has_lines {
        return Err(fault(path, "it is empty".into()));
    }
    let model = WordPiece::builder()
        .vocab(vocab)
        .unk_token(unk.clone())
        .continuing_subword_prefix(CONTINUATION.into())
        .max_input_chars_per_word(LONGEST_WORD)
        .build()
        .map_err(Error::engine("build its model"))?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    if tokenizer.token_to_id(&unk).is_none() {
        return Err(fault(path, format!("it does not have the token {unk:?}, which stands for what it lacks")));
    }
    tokenizer.with_normalizer(Some(BertNormalizer::new(
        true,
        settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
        settings.flag("strip_accents")?,
        settings.flag("do_lower_case")?.unwrap_or(true),
    )));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(WordPieceDecoder::new(CONTINUATION.into(), true)));
    add_tokens(&mut tokenizer, path, settings, Added::default(), usual)?;
    let (single, pair) = ([&cls, "$A", &sep], [&cls, "$A", &sep, "$B:1", &format!("{sep}:1")]);
    let template = pipeline::template(&tokenizer, &single, &pair)?;
    tokenizer.with_post_processor(Some(template));
    Ok((tokenizer, Unknown::Token(unk)))
}
