//! A SentencePiece model as it lies in its file: a message of protocol buffers, of which the fields that tokenising needs
//! are read.
//!
//! ```text
//! message          1 pieces*          2 trainer_spec       3 normalizer_spec
//! piece            1 text             2 score (f32)        3 kind
//! trainer_spec     3 model_type       35 byte_fallback     40 unk_id    41 bos_id    42 eos_id
//!                  45 unk_piece       46 bos_piece         47 eos_piece
//! normalizer_spec  2 charsmap         3 add_dummy_prefix   4 remove_extra_whitespaces    5 escape_whitespaces
//! ```
//!
//! Source: `sentencepiece_model.proto` of SentencePiece. A field is a varint `number << 3 | wire type` and its value: a varint
//! (type 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).

use std::collections::HashSet;

/// The longest piece in bytes. Training keeps pieces below a hundred; longer ones would take long to take apart.
const LONGEST: usize = 4096;

/// How a model cuts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ModelType {
    Unigram,
    Bpe,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum PieceKind {
    Normal,
    /// A special token: no text gives it.
    Control,
    /// A piece that text always gives whole.
    UserDefined,
    /// The unknown piece, those of bytes, and those that are not in use.
    Other,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Piece {
    pub(in super::super) text: String,
    /// The logarithm of its probability (Unigram), or minus the number of its merge (BPE).
    pub(in super::super) score: f64,
    pub(in super::super) kind: PieceKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Model {
    pub(in super::super) pieces: Vec<Piece>,
    pub(in super::super) model_type: ModelType,
    pub(in super::super) byte_fallback: bool,
    /// The ids and the texts of the special pieces; a negative id where there is none.
    pub(in super::super) unk: (i64, String),
    pub(in super::super) bos: (i64, String),
    pub(in super::super) eos: (i64, String),
    /// The normalisation, compiled; empty where there is none.
    pub(in super::super) charsmap: Vec<u8>,
    pub(in super::super) add_dummy_prefix: bool,
    pub(in super::super) remove_extra_whitespaces: bool,
    pub(in super::super) escape_whitespaces: bool,
}

impl Model {
    /// Reads the bytes of a model.
    ///
    /// # Errors
    /// In words: they are no such message, or one that no text can be cut by.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Model {
            pieces: Vec::new(),
            model_type: ModelType::Unigram,
            byte_fallback: false,
            unk: (0, "<unk>".into()),
            bos: (1, "<s>".into()),
            eos: (2, "</s>".into()),
            charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        // Every model has both: a file without them is cut off between two fields.
        let mut specs = [false; 2];
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => {
                    let piece = parse_piece(piece).map_err(|e| format!("piece {}: {e}", model.pieces.len()))?;
                    model.pieces.push(piece);
                }
                (2, Value::Bytes(spec)) => {
                    model.read_trainer(spec)?;
                    specs[0] = true;
                }
                (3, Value::Bytes(spec)) => {
                    model.read_normalizer(spec)?;
                    specs[1] = true;
                }
                (1..=3, _) => return Err("a field is not what it should hold".into()),
                _ => {}
            }
        }
        model.check()?;
        match specs.iter().zip(["trainer_spec", "normalizer_spec"]).find(|(there, _)| !**there) {
            Some((_, missing)) => Err(format!("it has no {missing}: the file is cut off")),
            None => Ok(model),
        }
    }

    fn read_trainer(&mut self, spec: &[u8]) -> Result<(), String> {
        for field in Fields(spec) {
            match field? {
                (3, Value::Varint(1)) => self.model_type = ModelType::Unigram,
                (3, Value::Varint(2)) => self.model_type = ModelType::Bpe,
                (3, Value::Varint(other)) => {
                    let name = if other == 3 { "WORD" } else { "CHAR" };
                    return Err(format!("its model_type is {other} ({name}), expected UNIGRAM (1) or BPE (2)"));
                }
                (35, Value::Varint(on)) => self.byte_fallback = on != 0,
                (40, Value::Varint(id)) => self.unk.0 = id as i64,
                (41, Value::Varint(id)) => self.bos.0 = id as i64,
                (42, Value::Varint(id)) => self.eos.0 = id as i64,
                (45, Value::Bytes(piece)) => self.unk.1 = text(piece)?,
                (46, Value::Bytes(piece)) => self.bos.1 = text(piece)?,
                (47, Value::Bytes(piece)) => self.eos.1 = text(piece)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, spec: &[u8]) -> Result<(), String> {
        for field in Fields(spec) {
            match field? {
                (2, Value::Bytes(charsmap)) => self.charsmap = charsmap.to_vec(),
                (3, Value::Varint(on)) => self.add_dummy_prefix = on != 0,
                (4, Value::Varint(on)) => self.remove_extra_whitespaces = on != 0,
                (5, Value::Varint(on)) => self.escape_whitespaces = on != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks what cutting text by the pieces needs.
    pub(in super::super) fn check(&self) -> Result<(), String> {
        if self.pieces.is_empty() {
            return Err("it has no pieces".into());
        }
        let mut texts = HashSet::new();
        for (id, piece) in self.pieces.iter().enumerate() {
            if piece.text.is_empty() {
                return Err(format!("piece {id} is empty"));
            }
            if piece.text.len() > LONGEST {
                let length = piece.text.len();
                return Err(format!("piece {id} has {length} bytes, expected at most {LONGEST}"));
            }
            if !piece.score.is_finite() {
                return Err(format!("piece {id}, {:?}, has the score {}", piece.text, piece.score));
            }
            if !texts.insert(piece.text.as_str()) {
                return Err(format!("the piece {:?} stands there twice", piece.text));
            }
        }
        match usize::try_from(self.unk.0) {
            Ok(id) if id < self.pieces.len() => Ok(()),
            _ => Err(format!("unk_id is {}, expected the id of one of its {} pieces", self.unk.0, self.pieces.len())),
        }
    }
}

fn parse_piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => piece.text = text(bytes)?,
            (2, Value::Four(bytes)) => piece.score = f32::from_le_bytes(bytes).into(),
            (3, Value::Varint(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    3 => PieceKind::Control,
                    4 => PieceKind::UserDefined,
                    _ => PieceKind::Other,
                }
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| format!("not UTF-8: {error}"))
}

/// The value of a field.
enum Value<'b> {
    Varint(u64),
    Bytes(&'b [u8]),
    Four([u8; 4]),
    Eight,
}

/// The fields of a message: the number of each and its value.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Value<'b>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn read(&mut self) -> Result<(u64, Value<'b>), String> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Eight)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Four([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            other => return Err(format!("a field has the wire type {other}: it is no SentencePiece model")),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number has no end: it is no SentencePiece model".into())
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], String> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return Err("it ends in the middle of a field: the file is cut off, or no SentencePiece model".into());
        };
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    /// A piece with its score and kind.
    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        bytes(
            1,
            &[bytes(1, text.as_bytes()), vec![2 << 3 | 5], score.to_le_bytes().to_vec(), vec![3 << 3, kind]].concat(),
        )
    }

    #[test]
    fn fields_are_read_and_others_are_passed_over() {
        let other = [vec![9 << 3 | 1], vec![0; 8], vec![10 << 3, 0x96, 1]].concat();
        let trainer = bytes(2, &[3 << 3, 2, 0x98, 2, 1]);
        let model =
            [piece("<unk>", 0.0, 2), other, piece("a", -1.5, 1), piece("<x>", 0.0, 4), trainer, bytes(3, &[])].concat();
        let model = Model::parse(&model).unwrap();
        assert_eq!((model.model_type, model.byte_fallback, model.unk.0), (ModelType::Bpe, true, 0));
        let expected = Piece { text: "a".into(), score: -1.5, kind: PieceKind::Normal };
        assert_eq!((&model.pieces[1], model.pieces[2].kind), (&expected, PieceKind::UserDefined));
        assert!(model.add_dummy_prefix && model.charsmap.is_empty());
    }

    #[test]
    fn what_is_no_model_is_refused_in_words() {
        let refuse = |bytes: &[u8], expected: &str| {
            let message = Model::parse(bytes).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        refuse(&[], "it has no pieces");
        refuse(b"version https://git-lfs", "wire type 6");
        refuse(&piece("a", 0.0, 1)[..4], "ends in the middle of a field");
        refuse(&[0xff; 12], "a number has no end");
        refuse(&piece("", 0.0, 1), "piece 0 is empty");
        refuse(&piece("a", f32::NAN, 1), "piece 0, \"a\", has the score NaN");
        refuse(&[piece("a", 0.0, 1), piece("a", 0.0, 1)].concat(), "the piece \"a\" stands there twice");
        refuse(&[piece("a", 0.0, 1), bytes(2, &[3 << 3, 4])].concat(), "model_type is 4 (CHAR)");
        refuse(&[piece("a", 0.0, 1), bytes(2, &[0xc0, 2, 7])].concat(), "unk_id is 7");
        refuse(&[piece("a", 0.0, 1), bytes(2, &[])].concat(), "it has no normalizer_spec: the file is cut off");
        refuse(&bytes(1, &bytes(1, &[0xff])), "piece 0: not UTF-8");
    }
}
