//! Checks of heads.

use super::*;
use crate::families;
use crate::models::Gpt2Config;

fn with(labels: &[&str], objective: Objective) -> Headed {
    let trunk: Arc<dyn Config> = Arc::new(Gpt2Config { pad_id: Some(3), ..Gpt2Config::new(700, 2, 48, 4, 64) });
    Headed::new(&trunk, Head::Labels, labels.iter().map(|&label| label.into()).collect(), objective).unwrap()
}

fn config() -> Headed {
    with(&["negative", "neutral", "positive"], Objective::Classification)
}

fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Headed, String> {
    let mut object = config().to_json().unwrap();
    change(&mut object);
    assert!(declared(&object) == Some(Head::Labels));
    Headed::read(Path::new("m/config.json"), &object, &config().trunk, Head::Labels).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_read_back() {
    let values = with(&["stars"], Objective::Regression);
    for config in [config(), values, with(&["a", "b"], Objective::MultiLabel)] {
        let written = config.to_json().unwrap();
        let read = families::read(Path::new("config.json"), &written, None).unwrap();
        assert_eq!((read.head(), read.to_json().unwrap()), (Head::Labels, written));
        assert_eq!(read.parameters(), config.parameters());
    }
}

#[test]
fn what_no_classifier_can_have_is_named() {
    config().validate().unwrap();
    let one = Headed { labels: vec!["one".into()], ..config() };
    assert_eq!(one.validate().unwrap_err().key, "labels");
    let mut twice = config();
    twice.labels[2] = "negative".into();
    assert_eq!(twice.validate().unwrap_err().found, "\"negative\" twice");
}

#[test]
fn keys_left_out_have_the_values_of_the_class() {
    let number = |number: Option<usize>| {
        read(|object| {
            object.retain(|key, _| !["id2label", "label2id", "num_labels", "problem_type"].contains(&key.as_str()));
            object.extend(number.map(|number| ("num_labels".into(), json!(number))));
        })
        .unwrap()
    };
    assert_eq!(
        (number(None).labels, number(None).objective),
        (vec!["LABEL_0".to_owned(), "LABEL_1".into()], Objective::Classification)
    );
    assert_eq!((number(Some(1)).labels.len(), number(Some(1)).objective), (1, Objective::Regression));
}

#[test]
fn a_wrong_value_is_named_by_its_key() {
    for (key, value, expected) in [
        ("num_labels", json!(4), "`num_labels` is 4, expected 3, as many as `id2label` has"),
        ("num_labels", json!(u64::MAX), "expected a whole number from 1 to"),
        ("id2label", json!({"0": "a", "2": "b"}), "`id2label` is {\"0\":\"a\",\"2\":\"b\"}, expected an object with"),
        ("id2label", json!({"0": "a", "1": "b", "2": "a"}), "expected labels that differ"),
        (
            "problem_type",
            json!("ranking"),
            "expected \"single_label_classification\", \"multi_label_classification\" or",
        ),
    ] {
        let message = read(|object| drop(object.insert(key.into(), value))).unwrap_err();
        assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
    }
}
