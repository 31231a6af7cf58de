//! BLEU, chrF and the paired bootstrap against what sacreBLEU recorded in `fixtures/sacrebleu/golden.json`
//! (remade by `scripts/golden_sacrebleu.py`).

use std::path::Path;

use atento::eval::{
    Bleu, BleuOptions, Bootstrap, Chrf, ChrfOptions, CorpusMetric, Interval, SACREBLEU_VERSION, Smoothing, Tokenizer,
};
use serde_json::Value;

type Stream = Vec<Option<String>>;

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sacrebleu");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The lines of a file, ended by line feeds alone: a carriage return belongs to its line.
fn lines(name: &str) -> Vec<String> {
    let text = fixture(name);
    let text = text.strip_suffix('\n').unwrap();
    text.split('\n').map(str::to_owned).collect()
}

fn golden(section: &str) -> Vec<Value> {
    let mut golden: Value = serde_json::from_str(&fixture("golden.json")).unwrap();
    assert_eq!(golden["sacrebleu"], SACREBLEU_VERSION);
    serde_json::from_value(golden[section].take()).unwrap()
}

/// The reference sets `one`, `two`, and `gaps`, where the second stream lacks every third line.
fn references(name: &Value) -> Vec<Stream> {
    let stream = |file| lines(file).into_iter().map(Some).collect::<Stream>();
    let (first, mut second) = (stream("references_0.txt"), stream("references_1.txt"));
    match name.as_str().unwrap() {
        "one" => vec![first],
        "two" => vec![first, second],
        _ => {
            second.iter_mut().skip(2).step_by(3).for_each(|line| *line = None);
            vec![first, second]
        }
    }
}

#[track_caller]
fn assert_close(value: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    let difference = (value - expected).abs();
    assert!(difference <= 1e-9, "{what}: {value} is not {expected}");
}

fn assert_sentences(record: &Value, streams: &[Stream], score: impl Fn(&str, &[&str]) -> f64) {
    let Some(expected) = record["sentences"].as_array() else {
        return;
    };
    let hypotheses = lines("hypotheses.txt");
    assert_eq!(expected.len(), hypotheses.len());
    for (line, (hypothesis, expected)) in hypotheses.iter().zip(expected).enumerate() {
        let references: Vec<&str> = streams.iter().filter_map(|s| s[line].as_deref()).collect();
        let what = format!("line {} under {}", line + 1, record["signature"]);
        assert_close(score(hypothesis, &references), expected, &what);
    }
}

fn bleu_of(record: &Value) -> Bleu {
    let smoothing = record["smooth_method"].as_str().unwrap().parse().unwrap();
    let smoothing = match (smoothing, record["smooth_value"].as_f64()) {
        (Smoothing::Floor(_), Some(value)) => Smoothing::Floor(value),
        (Smoothing::AddK(_), Some(value)) => Smoothing::AddK(value),
        (other, _) => other,
    };
    Bleu::new(BleuOptions {
        tokenizer: record["tokenize"].as_str().unwrap().parse().unwrap(),
        lowercase: record["lowercase"].as_bool().unwrap(),
        smoothing,
        effective_order: record["effective_order"].as_bool().unwrap(),
    })
}

#[test]
fn bleu_of_corpus_and_sentences_is_sacrebleus() {
    for record in golden("bleu") {
        let (bleu, streams) = (bleu_of(&record), references(&record["references"]));
        let hypotheses = lines("hypotheses.txt");
        let score = bleu.corpus(&hypotheses, &streams).unwrap();
        let signature = score.signature.as_str();
        assert_eq!(signature, record["signature"]);
        assert_eq!(score.to_string(), record["printed"], "{signature}");
        assert_close(score.score, &record["score"], signature);
        assert_close(score.bp, &record["bp"], signature);
        for (precision, expected) in score.precisions.iter().zip(record["precisions"].as_array().unwrap()) {
            assert_close(*precision, expected, signature);
        }
        let mut statistics = vec![score.sys_len, score.ref_len];
        statistics.extend(score.counts.iter().chain(&score.totals));
        assert_eq!(Value::from(statistics), record["statistics"], "{signature}");
        assert_sentences(&record, &streams, |hypothesis, references| {
            bleu.sentence(hypothesis, references).unwrap().score
        });
    }
}

#[test]
fn chrf_of_corpus_and_sentences_is_sacrebleus() {
    for record in golden("chrf") {
        let flag = |name: &str| record[name].as_bool().unwrap();
        let number = |name: &str| record[name].as_u64().unwrap();
        let chrf = Chrf::new(ChrfOptions {
            char_order: number("char_order") as usize,
            word_order: number("word_order") as usize,
            beta: number("beta") as u32,
            lowercase: flag("lowercase"),
            whitespace: flag("whitespace"),
            eps_smoothing: flag("eps_smoothing"),
        });
        let (hypotheses, streams) = (lines("hypotheses.txt"), references(&record["references"]));
        let score = chrf.corpus(&hypotheses, &streams).unwrap();
        let signature = score.signature.as_str();
        assert_eq!(signature, record["signature"]);
        assert_eq!(score.to_string(), record["printed"], "{signature}");
        assert_close(score.score, &record["score"], signature);
        let sums = chrf.statistics(&hypotheses, &streams).unwrap().sums();
        assert_eq!(Value::from(sums), record["statistics"], "{signature}");
        assert_sentences(&record, &streams, |hypothesis, references| {
            chrf.sentence(hypothesis, references).unwrap().score
        });
    }
}

#[test]
fn tokens_are_sacrebleus() {
    for record in golden("tokens") {
        let text = record["text"].as_str().unwrap();
        for name in Tokenizer::NAMES {
            let tokens = name.parse::<Tokenizer>().unwrap().tokenize(text);
            assert_eq!(Value::from(tokens), record[name], "{name} of {text:?}");
        }
    }
}

/// sacreBLEU resamples in `f32`, so means and half-widths agree to its precision; p-values and scores do exactly.
#[test]
fn the_paired_bootstrap_is_sacrebleus() {
    let records = golden("paired");
    assert_paired(&Bleu::default(), &records[0]);
    assert_paired(&Chrf::default(), &records[1]);
}

fn assert_paired(metric: &impl CorpusMetric, record: &Value) {
    let streams = references(&Value::from("two"));
    let statistics = |name| metric.statistics(&lines(name), &streams).unwrap();
    let (baseline, system) = (statistics("hypotheses.txt"), statistics("other_hypotheses.txt"));
    let bootstrap = Bootstrap::default();
    let result = bootstrap.paired(metric, &baseline, &system).unwrap();
    assert_eq!(metric.name(), record["metric"]);
    let signature = metric.signature(baseline.references());
    assert_eq!(bootstrap.signature(&signature), record["signature"]);
    assert_eq!(result.p_value, record["p_value"]);
    let assert_side = |score: f64, interval: Interval, expected: &Value| {
        assert_close(score, &expected[0], "score");
        assert!((interval.mean - expected[1].as_f64().unwrap()).abs() < 1e-4);
        assert!((interval.half_width - expected[2].as_f64().unwrap()).abs() < 1e-4);
    };
    assert_side(result.baseline_score, result.baseline_interval, &record["baseline"]);
    assert_side(result.system_score, result.system_interval, &record["system"]);
    assert_eq!(bootstrap.interval(metric, &system), Ok(result.system_interval));
}
