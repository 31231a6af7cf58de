//! Changes to a JSON value, which stands for a TOML table too.

use serde_json::{Map, Value, json};

use super::mutate::NUMBERS;
use super::random::Random;

/// Changes one place of the value.
pub fn change(value: &mut Value, random: &mut Random) {
    let place = descend(value, random);
    match place {
        Value::Object(object) if !object.is_empty() && !random.once_in(4) => change_object(object, random),
        Value::Array(array) if !array.is_empty() && !random.once_in(4) => change_array(array, random),
        Value::Number(_) if !random.once_in(4) => *place = number(random),
        Value::String(text) if !random.once_in(3) => *text = other_text(text, random),
        Value::Bool(truth) if !random.once_in(3) => *truth = !*truth,
        _ => *place = anything(random),
    }
}

/// A place in the value: at each level a child, or now and then the level itself.
fn descend<'v>(value: &'v mut Value, random: &mut Random) -> &'v mut Value {
    if random.once_in(5) {
        return value;
    }
    let children = match &*value {
        Value::Object(object) => object.len(),
        Value::Array(array) => array.len(),
        _ => 0,
    };
    if children == 0 {
        return value;
    }
    let at = random.below(children);
    let child = match value {
        Value::Object(object) => object.values_mut().nth(at),
        Value::Array(array) => array.get_mut(at),
        _ => None,
    };
    descend(child.expect("it was counted"), random)
}

fn change_object(object: &mut Map<String, Value>, random: &mut Random) {
    let at = random.below(object.len());
    let (key, value) = object.iter().nth(at).map(|(key, value)| (key.clone(), value.clone())).expect("it was counted");
    match random.below(5) {
        0 => _ = object.remove(&key),
        1 => _ = object.insert(other_text(&key, random), value),
        2 => _ = object.insert(key, anything(random)),
        3 => {
            // The value of another key.
            let other = object.values().nth(random.below(object.len())).cloned();
            object.insert(key, other.unwrap_or_default());
        }
        _ => {
            object.remove(&key);
            object.insert(other_text(&key, random), value);
        }
    }
}

fn change_array(array: &mut Vec<Value>, random: &mut Random) {
    let (at, other) = (random.below(array.len()), random.below(array.len()));
    match random.below(6) {
        0 => _ = array.remove(at),
        1 => array.insert(at, array[other].clone()),
        2 => array.swap(at, other),
        3 => array.truncate(at),
        4 => array[at] = anything(random),
        _ => _ = array.splice(at..at, std::iter::repeat_n(array[other].clone(), 1 + random.below(200))).count(),
    }
}

fn number(random: &mut Random) -> Value {
    serde_json::from_str(random.pick(&NUMBERS)).unwrap_or_else(|_| json!(random.next()))
}

fn other_text(text: &str, random: &mut Random) -> String {
    let characters: Vec<char> = text.chars().collect();
    let at = random.below(characters.len() + 1);
    let (front, back): (String, String) = (characters[..at].iter().collect(), characters[at..].iter().collect());
    match random.below(8) {
        0 => String::new(),
        1 => front,
        2 => front + "\u{0}" + &back,
        3 => front + "é🎉" + &back,
        4 => text.repeat(1 + random.below(400)),
        5 => text.to_uppercase(),
        6 => random
            .pick(&["(", "[a-z]*+", "\\p{L}+|", "(a+)+$", "(?=", ".*", "<unk>", "../..", "/", "\n", "{", "▁", "Ġ"])
            .into(),
        _ => front + random.pick(&NUMBERS) + &back,
    }
}

/// A value of any type.
fn anything(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 | 3 => number(random),
        4 => json!(other_text("text", random)),
        5 => json!([]),
        6 => json!({}),
        7 => (0..random.pick(&[3, 100, 200])).fold(json!(1), |inner, _| json!([inner])),
        _ => json!({ "type": "Sequence", "content": other_text("[UNK]", random), "id": number(random) }),
    }
}
