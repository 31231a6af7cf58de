//! How a text is tokenised for a model, in training and afterwards alike: everything that trains, scores, searches or
//! generates gets its ids here.
//!
//! ```text
//! text, document   what the post-processor adds before it, the text, what it adds after it
//! prompt           the same without what comes after: a completion follows
//! source           as a text, and the end token where the post-processor adds none
//! target           as a source, but it begins with the token that a search is made to begin with
//! ```
//!
//! A text that already begins with what is added before it, as one written by a template may, gets it once.

use super::{Error, TargetStart, Tokenizer};

impl Tokenizer {
    /// The ids of a prompt: a continuation follows.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        let ids = self.encode_ids(text, false)?;
        Ok([self.prefix_of(&ids), &ids].concat())
    }

    /// The ids of a whole text for a language model.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode_prompt(text)?;
        if !ids.ends_with(&self.affixes.suffix) {
            ids.extend(&self.affixes.suffix);
        }
        Ok(ids)
    }

    /// The ids of the source of a pair, which is translated.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_source(&self, text: &str) -> Result<Vec<u32>, Error> {
        let ids = self.encode_ids(text, true)?;
        Ok(self.ended(ids, &self.affixes.suffix))
    }

    /// The ids of the target of a pair, as a search would find them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; [`Error::TargetLanguage`].
    pub fn encode_target(&self, text: &str) -> Result<Vec<u32>, Error> {
        if let Some(target) = &self.of_target {
            return target.encode_target(text);
        }
        let marks = |id: &u32| self.affixes.prefix.contains(id) || self.affixes.suffix.contains(id);
        match self.roles().target_start {
            TargetStart::Forced(start) => {
                let mut ids = self.encode_ids(text, false)?;
                if ids.first() != Some(&start) {
                    ids.insert(0, start);
                }
                Ok(self.ended(ids, &[]))
            }
            TargetStart::Language { source, target } => {
                let other = |id: &u32| if *id == source { target } else { *id };
                let affixes = [&self.affixes.prefix, &self.affixes.suffix];
                let [prefix, suffix] = affixes.map(|ids| ids.iter().map(other).collect::<Vec<_>>());
                let ids = [prefix, self.encode_ids(text, false)?, suffix.clone()].concat();
                Ok(self.ended(ids, &suffix))
            }
            TargetStart::Undeclared(source) if marks(&source) => {
                Err(Error::TargetLanguage { token: self.id_to_token(source).unwrap_or_else(|| source.to_string()) })
            }
            TargetStart::AsSource | TargetStart::Undeclared(_) => self.encode_source(text),
        }
    }

    /// What is added before a text of these ids: nothing where they begin with it.
    pub fn prefix_of(&self, ids: &[u32]) -> &[u32] {
        let prefix = &self.affixes.prefix;
        if ids.starts_with(prefix) { &[] } else { prefix }
    }

    /// What is added before every text.
    pub fn prefix(&self) -> &[u32] {
        &self.affixes.prefix
    }

    /// With the end token, unless `added`, the end of `ids`, holds it.
    fn ended(&self, mut ids: Vec<u32>, added: &[u32]) -> Vec<u32> {
        let eos = self.special().eos;
        ids.extend(eos.filter(|eos| !added.contains(eos) && ids.last() != Some(eos)));
        ids
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Roles, SpecialIds};
    use super::*;

    /// Words a, b with the ids 4 and 5; `<s>` 0, `</s>` 1, X 2, Y 3; `single` is the template of a text.
    fn tokenizer(single: &[&str]) -> Tokenizer {
        let ids = [("<s>", 0), ("</s>", 1), ("X", 2), ("Y", 3)];
        let added = ids.map(|(content, id)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        });
        let piece = |name: &&str| match *name {
            "A" => json!({"Sequence": {"id": "A", "type_id": 0}}),
            name => json!({"SpecialToken": {"id": name, "type_id": 0}}),
        };
        let special: Value = ids
            .map(|(name, id)| (name.to_owned(), json!({"id": name, "ids": [id], "tokens": [name]})))
            .into_iter()
            .collect();
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
            "post_processor": {"type": "TemplateProcessing", "single": single.iter().map(piece).collect::<Vec<_>>(),
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": special},
            "model": {"type": "WordLevel", "unk_token": "?",
                "vocab": {"<s>": 0, "</s>": 1, "X": 2, "Y": 3, "a": 4, "b": 5, "?": 6}},
        });
        Tokenizer::from_json_bytes(file.to_string().as_bytes()).unwrap()
    }

    fn with(tokenizer: Tokenizer, target_start: TargetStart) -> Tokenizer {
        tokenizer.with_roles(Roles { special: SpecialIds { eos: Some(1), ..SpecialIds::default() }, target_start })
    }

    #[test]
    fn a_prompt_gets_what_comes_before_a_text_once_and_nothing_behind_it() {
        let tokenizer = tokenizer(&["<s>", "A", "</s>"]);
        assert_eq!(tokenizer.encode_text("a b").unwrap(), [0, 4, 5, 1]);
        assert_eq!(tokenizer.encode_prompt("a b").unwrap(), [0, 4, 5]);
        assert_eq!(tokenizer.encode_prompt("<s> a b").unwrap(), [0, 4, 5]);
        assert_eq!(tokenizer.encode_text("<s> a b </s>").unwrap(), [0, 4, 5, 1]);
    }

    #[test]
    fn a_source_ends_with_the_end_token_that_is_declared() {
        for (single, expected) in
            [(&["A"][..], vec![4, 1]), (&["A", "</s>"], vec![4, 1]), (&["A", "</s>", "X"], vec![4, 1, 2])]
        {
            assert_eq!(with(tokenizer(single), TargetStart::AsSource).encode_source("a").unwrap(), expected);
        }
    }

    #[test]
    fn a_target_begins_with_the_token_of_its_own_language() {
        let target = |single, start| with(tokenizer(single), start).encode_target("a");
        assert_eq!(target(&["X", "A", "</s>"], TargetStart::Forced(3)).unwrap(), [3, 4, 1]);
        assert_eq!(target(&["A"], TargetStart::Forced(3)).unwrap(), [3, 4, 1]);
        let languages = TargetStart::Language { source: 2, target: 3 };
        assert_eq!(target(&["X", "A", "</s>"], languages).unwrap(), [3, 4, 1]);
        assert_eq!(target(&["A", "</s>", "X"], languages).unwrap(), [4, 1, 3]);
        let message = target(&["X", "A", "</s>"], TargetStart::Undeclared(2)).unwrap_err().to_string();
        assert!(message.contains("would mark the target with X, the token of the source's language"), "{message}");
        assert_eq!(target(&["A", "</s>"], TargetStart::Undeclared(2)).unwrap(), [4, 1]);
    }

    #[test]
    fn two_tokens_of_one_id_are_refused_and_both_named() {
        let text = String::from_utf8(tokenizer(&["A"]).to_json_bytes().unwrap()).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            Tokenizer::from_json_bytes(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        let message = refused("\"a\": 4", "\"!!!\": 4, \"a\": 4");
        assert!(message.contains("two tokens have the id 4, \"!!!\" and \"a\""), "{message}");
        let message = refused("\"id\": 3", "\"id\": 5");
        assert!(message.contains("two tokens have the id 5, \"b\" and \"Y\""), "{message}");
        let message = refused("\"a\": 4", "\"a\": 9, \"a\": 4");
        assert!(message.contains("the token \"a\" has two ids, 9 and 4"), "{message}");
    }
}
