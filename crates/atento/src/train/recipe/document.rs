//! Writes the commented default recipe from the schema.

use super::section::{Field, Kind};
use super::settings::Recipe;
use super::validate::expected;
use super::{Error, schema};

impl Recipe {
    /// A recipe with every key, its meaning and its default, that trains on the built-in corpus as it is.
    /// Keys without a default stand there as comments.
    pub fn documented_default() -> Result<String, Error> {
        let mut recipe = Self::default();
        recipe.data.corpus = Some(super::Corpus::Demo);
        let values = recipe.to_table()?;
        let mut text = String::from("# A training recipe with every key at its default.\n");
        table(&mut text, &schema(), Some(&values), "");
        Ok(text)
    }
}

fn table(text: &mut String, fields: &[Field], values: Option<&toml::Table>, prefix: &str) {
    let is_table = |field: &&Field| matches!(field.kind, Kind::Table(_));
    for field in fields.iter().filter(|field| !is_table(field)) {
        comment(text, &sentence(field));
        match values.and_then(|values| values.get(field.name)) {
            Some(value) => text.push_str(&format!("{} = {value}\n", field.name)),
            None => text.push_str(&format!("# {} = {}\n", field.name, placeholder(&field.kind))),
        }
    }
    for field in fields.iter().filter(is_table) {
        let Kind::Table(inner) = &field.kind else {
            continue;
        };
        let values = values.and_then(|values| values.get(field.name)).and_then(toml::Value::as_table);
        text.push('\n');
        comment(text, &field.about);
        let hash = if values.is_some() { "" } else { "# " };
        text.push_str(&format!("{hash}[{prefix}{}]\n", field.name));
        table(text, inner, values, &format!("{prefix}{}.", field.name));
    }
}

fn sentence(field: &Field) -> String {
    match (&field.kind, field.range) {
        (Kind::Choice(_), _) | (_, Some(_)) => {
            let expected = expected(field);
            let mut letters = expected.chars();
            let first = letters.next().map_or(String::new(), |letter| letter.to_uppercase().to_string());
            format!("{} {first}{}.", field.about, letters.as_str())
        }
        _ => field.about.clone(),
    }
}

fn placeholder(kind: &Kind) -> &'static str {
    match kind {
        Kind::Boolean => "false",
        Kind::Whole | Kind::Number => "1",
        Kind::TwoNumbers => "[0.0, 0.0]",
        Kind::Texts | Kind::Wholes | Kind::Tokens => "[]",
        Kind::Choice(_) | Kind::Text | Kind::Path => "\"…\"",
        Kind::Table(_) => "{}",
    }
}

fn comment(text: &mut String, about: &str) {
    const WIDTH: usize = 100;
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
