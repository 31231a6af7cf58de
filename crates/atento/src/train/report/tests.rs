use std::collections::BTreeMap;

use super::*;

fn record(step: u64) -> Record {
    let progress = step as f64 / 8000.0;
    // A wiggle that needs no random numbers.
    let wiggle = ((step * 7919) % 1000) as f64 / 1000.0 - 0.5;
    let mut eval = BTreeMap::new();
    if step.is_multiple_of(500) {
        eval.insert("eval_loss".to_string(), 1.9 + 5.5 * (-6.0 * progress).exp() + 0.3 * progress);
        eval.insert("eval_bleu".to_string(), 41.0 * (1.0 - (-5.0 * progress).exp()));
    }
    Record {
        step,
        epoch: progress * 20.0,
        loss: Some(1.6 + 7.0 * (-7.0 * progress).exp() + wiggle * 0.15),
        objective: None,
        lr: Some(5e-4 * (step as f64 / 1000.0).min((1000.0 / step as f64).sqrt())),
        grad_norm: Some(0.6 + wiggle * 0.3 + 2.0 * (-20.0 * progress).exp()),
        tokens: Some(step * 3000),
        tokens_per_second: Some(11_000.0 + wiggle * 900.0),
        eval,
    }
}

fn report() -> Report {
    let rows = |rows: &[(&str, &str)]| {
        rows.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>()
    };
    let table = |title: &str, lines: &[(&str, &str)]| Table { title: title.to_string(), rows: rows(lines) };
    Report {
        title: "multi30k-en-de".into(),
        subtitle: "A Transformer learning to translate English into German from 29,000 pairs.".into(),
        measures: [("test_bleu", 41.237), ("valid_loss", 1.9021)].map(|(name, value)| (name.into(), value)).into(),
        loss_unit: "nats per target token".into(),
        tokens: "Source and target tokens".into(),
        exported: Some(6000),
        tables: vec![
            table(
                "Model",
                &[
                    ("architecture", "transformer, post-norm"),
                    ("d_model × d_ff", "256 × 1024"),
                    ("layers", "3 + 3"),
                    ("heads", "4"),
                ],
            ),
            table(
                "Data",
                &[
                    ("data.train", ""),
                    ("pairs", "29,000 read, 28,988 used"),
                    ("", "3 cut to the longest length, 9 tokens lost"),
                ],
            ),
            table("Timing", &[("steps", "8,000"), ("BLEU signature", "nrefs:1|case:mixed|tok:13a")]),
        ],
        sample_headings: ["Source", "Reference"].map(str::to_owned),
        matrix: Some((vec!["no".into(), "<yes>".into()], vec![vec![9, 1], vec![2, 8]])),
        samples: vec![
            Sample {
                source: "A man in an orange hat starring at something.".into(),
                reference: "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.".into(),
                hypothesis: "Ein Mann mit einem orangefarbenen Hut starrt etwas an.".into(),
            },
            Sample { source: "<script>alert(1)</script> & \"quotes\"".into(), ..Sample::default() },
        ],
        recipe: "seed = 1\n\n[model]\nd_model = 256\n".into(),
    }
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let records: Vec<_> = (1..=160).map(|index| record(index * 50)).collect();
    let html = report().to_html(&records).unwrap();
    for absent in ["http:", "https:", "//", "<script", "url(", "@import", "<link", "src="] {
        assert!(!html.contains(absent), "{absent}");
    }
    for present in [
        "multi30k-en-de",
        "<dt>Test BLEU</dt><dd>41.24</dd>",
        "orangefarbenen",
        "d_model = 256",
        "training",
        "validation",
        "<h3>BLEU<small>on the validation data</small></h3>",
        "<small>nats per target token</small>",
        "<small>source and target tokens per second</small>",
        "Learning rate",
        "prefers-color-scheme: dark",
    ] {
        assert!(html.contains(present), "{present}");
    }
    assert_eq!(html.matches("<svg").count(), 5);
    assert!(html.contains("&lt;script&gt;alert(1)"), "samples are escaped");
    assert!(html.contains("&lt;yes&gt;") && html.contains("--share: 80.0%"), "the confusion matrix");
    assert!(html.contains("<title>training, step 8,000: 1."), "points say what they are");
    assert_eq!(html.matches("exported: step 6,000").count(), 5, "every chart marks the exported step");
    assert!(html.len() < 400_000, "{} bytes", html.len());
}

#[test]
fn a_run_without_metrics_has_a_report() {
    let html = Report { title: "empty".into(), ..Report::default() }.to_html(&[]).unwrap();
    assert!(!html.contains("<svg") && !html.contains("Curves") && html.contains("empty"));
}

#[test]
fn a_single_evaluation_is_drawn() {
    let html = report().to_html(&[record(500)]).unwrap();
    assert_eq!(html.matches("<svg").count(), 5);
    assert!(!html.contains("NaN") && !html.contains("inf,"));
}

#[test]
fn a_page_holds_on_a_narrow_screen() {
    let html = report().to_html(&[record(500)]).unwrap();
    assert!(html.contains("<span class=\"name\">pairs</span><span class=\"value\">29,000 read, 28,988 used</span>"));
    assert!(html.contains("<li class=\"part\">data.train</li>") && html.contains("<li>3 cut to the longest length"));
    assert!(html.contains("nrefs:1|<wbr>case:mixed|<wbr>tok:13a"), "a signature may break at its bars");
    let css = include_str!("style.css");
    let rule = |selector: &str| {
        let rules = css.lines().filter(|line| line.trim_start().starts_with(selector));
        rules.map(str::trim).collect::<Vec<_>>().join(" ")
    };
    assert!(rule(".facts li {").contains("flex-wrap: wrap"), "a long value has its own line");
    assert!(rule(".facts li, .facts span").contains("overflow-wrap: anywhere"));
    assert!(rule(".samples td {").contains("white-space: pre-wrap"), "samples keep their line ends");
    assert!(rule(".scroll").contains("overflow-x: auto"));
    // A width that a screen may not have belongs into `min(100%, …)` or to the whole page.
    let is_fixed = |rule: &&str| {
        let mut declarations = rule.split(['{', ';', '}']).map(str::trim);
        declarations.any(|text| (text.starts_with("width:") || text.starts_with("min-width:")) && text.ends_with("px"))
    };
    let fixed: Vec<&str> = css.lines().filter(|rule| !rule.starts_with(".legend i")).filter(is_fixed).collect();
    assert!(fixed.is_empty(), "{fixed:?}");
    assert!(html.matches("<table class=\"numbers").count() <= html.matches("scroll\">").count(), "wide tables scroll");
}
