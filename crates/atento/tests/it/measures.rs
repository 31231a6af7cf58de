//! Measures of labels, values, entities and answers against what scikit-learn, SciPy, seqeval and the rules of SQuAD gave,
//! recorded in `fixtures/measures/measures.json` (remade by `scripts/golden_metrics.py`).

use std::path::Path;

use atento::eval::answers::{Best, Question, Scores, normalized, squad1, squad2};
use atento::eval::entities::{EntityScores, Mode, Scheme, entities};
use atento::eval::labels::{Average, ConfusionMatrix, MultiLabel};
use atento::eval::values::{pearson, spearman};
use atento::eval::{Counts, Error};
use serde_json::Value;

const AVERAGES: [Average; 3] = [Average::Macro, Average::Micro, Average::Weighted];

/// The records of a section.
fn golden(section: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/measures/measures.json");
    let mut golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(golden[section].take()).unwrap()
}

fn items<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-10, "{what}: {found} is not {expected}");
}

/// Precision, recall, F1 and how many there are in the data.
#[track_caller]
fn assert_counts(counts: Counts, expected: &Value, what: &str) {
    assert_close(counts.precision(), &expected[0], what);
    assert_close(counts.recall(), &expected[1], what);
    assert_close(counts.f1(), &expected[2], what);
    assert_close(counts.gold as f64, &expected[3], what);
}

#[test]
fn measures_of_single_labels_are_those_of_scikit_learn() {
    for record in golden("label") {
        let labels = record["labels"].as_u64().unwrap() as usize;
        let (gold, found) = (items::<usize>(&record["gold"]), items::<usize>(&record["found"]));
        let matrix = ConfusionMatrix::of(gold.into_iter().zip(found), labels);
        let what = record.to_string();
        assert_close(matrix.accuracy(), &record["accuracy"], &what);
        assert_close(matrix.matthews(), &record["matthews"], &what);
        for label in 0..labels {
            assert_counts(matrix.label(label), &record["each"][label], &what);
            assert_close(matrix.f1(Average::Binary(label)), &record["each"][label][2], &what);
        }
        for (at, average) in AVERAGES.into_iter().enumerate() {
            assert_close(matrix.f1(average), &record["f1"][at], &format!("{average:?} of {what}"));
        }
    }
}

#[test]
fn measures_of_any_number_of_labels_are_those_of_scikit_learn() {
    for record in golden("multi_label") {
        let labels = record["labels"].as_u64().unwrap() as usize;
        let flags = |side: &str| items::<u8>(&record[side]).iter().map(|flag| *flag == 1).collect::<Vec<_>>();
        let scores = MultiLabel::of(&flags("gold"), &flags("found"), labels);
        let what = record.to_string();
        assert_close(scores.subset_accuracy(), &record["accuracy"], &what);
        for label in 0..labels {
            assert_counts(scores.label(label), &record["each"][label], &what);
            assert_close(scores.f1(Average::Binary(label)), &record["each"][label][2], &what);
        }
        for (at, average) in AVERAGES.into_iter().enumerate() {
            assert_close(scores.f1(average), &record["f1"][at], &format!("{average:?} of {what}"));
        }
    }
}

#[test]
fn correlations_are_those_of_scipy() {
    for record in golden("value") {
        let (x, y) = (items::<f64>(&record["x"]), items::<f64>(&record["y"]));
        assert_close(pearson(&x, &y).unwrap(), &record["pearson"], "pearson");
        assert_close(spearman(&x, &y).unwrap(), &record["spearman"], "spearman");
    }
}

#[test]
fn scores_of_entities_are_those_of_seqeval() {
    for record in golden("entity") {
        let mode = match record["mode"].as_str().unwrap() {
            "IOB2" => Mode::Strict(Scheme::Iob2),
            "IOBES" => Mode::Strict(Scheme::Iobes),
            "BILOU" => Mode::Strict(Scheme::Bilou),
            _ => Mode::Lenient,
        };
        let mut scores = EntityScores::new(mode);
        for (gold, found) in items::<String>(&record["gold"]).iter().zip(&items::<String>(&record["found"])) {
            let words = |labels: &str| labels.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            scores.add(&words(gold), &words(found)).unwrap();
        }
        let what = format!("{mode:?}");
        let overall = scores.overall();
        assert!(overall.right > 0 && overall.right < overall.gold, "{what}: {overall:?}");
        assert_counts(overall, &record["overall"], &what);
        assert!(scores.kinds().keys().eq(["PER", "X-Y"]), "{what}");
        for (counts, expected) in scores.kinds().values().zip(record["each"].as_array().unwrap()) {
            assert_counts(*counts, expected, &what);
        }
    }
}

#[test]
fn labels_that_say_nothing_of_entities_are_refused() {
    let strict = Mode::Strict(Scheme::Iob2);
    for (label, mode) in
        [("PER", Mode::Lenient), ("BPER", Mode::Lenient), ("O-PER", strict), ("E-PER", strict), ("", strict)]
    {
        let error = entities(&["O", label], mode).unwrap_err();
        assert!(matches!(&error, Error::EntityLabel { found, .. } if found == label), "{label}: {error}");
    }
    let message = entities(&["E-PER"], strict).unwrap_err().to_string();
    assert!(message.contains("`E-PER`") && message.contains("letters B I and"), "{message}");
    let mut scores = EntityScores::new(strict);
    assert_eq!(scores.add(&["O", "O"], &["O"]), Err(Error::EntityWords { gold: 2, found: 1 }));
    assert!(scores.add(&["B-PER"], &["S-PER"]).is_err());
    assert_eq!(scores, EntityScores::new(strict));
}

#[test]
fn a_label_without_a_kind_is_one_of_a_kind_without_a_name() {
    for mode in [Mode::Lenient, Mode::Strict(Scheme::Iob2)] {
        let found = entities(&["B", "I", "O", "B-"], mode).unwrap();
        let places: Vec<_> = found.iter().map(|entity| (entity.kind, entity.start, entity.end)).collect();
        assert_eq!(places, [("_", 0, 2), ("_", 3, 4)]);
    }
}

#[track_caller]
fn assert_scores(scores: Option<Scores>, expected: &Value, what: &str) {
    let Some(scores) = scores else {
        assert!(expected.is_null(), "{what}");
        return;
    };
    assert_close(scores.exact_match, &expected[0], what);
    assert_close(scores.f1, &expected[1], what);
    assert_eq!(scores.count as u64, expected[2].as_u64().unwrap(), "{what}");
}

#[track_caller]
fn assert_best(best: Best, expected: &Value, what: &str) {
    assert_close(best.score, &expected[0], what);
    assert_close(best.threshold, &expected[1], what);
}

fn question(raw: &Value) -> Question<'_> {
    Question {
        gold: raw["gold"].as_array().unwrap().iter().map(|gold| gold.as_str().unwrap()).collect(),
        found: raw["found"].as_str().unwrap(),
        no_answer: raw["no_answer"].as_f64().unwrap(),
    }
}

#[test]
fn scores_of_answers_are_those_of_squad() {
    for record in golden("answer") {
        let questions: Vec<Question<'_>> = record["questions"].as_array().unwrap().iter().map(question).collect();
        for (question, words) in questions.iter().zip(record["words"].as_array().unwrap()) {
            assert_eq!(normalized(question.found), *words, "{:?}", question.found);
        }
        assert_scores(Some(squad1(&questions)), &record["first"], "SQuAD 1.1");
        let scores = squad2(&questions, record["threshold"].as_f64().unwrap());
        assert_scores(Some(scores.overall), &record["overall"], "overall");
        assert_scores(scores.has_answer, &record["has_answer"], "has answer");
        assert_scores(scores.no_answer, &record["no_answer"], "no answer");
        assert_best(scores.best_exact_match, &record["best_exact"], "best exact match");
        assert_best(scores.best_f1, &record["best_f1"], "best F1");
    }
}
