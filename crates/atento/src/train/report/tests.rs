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
        highlights: rows(&[
            ("BLEU", "41.2"),
            ("Validation loss", "1.9021"),
            ("Parameters", "7,574,016"),
            ("Training time", "41m12s"),
            ("Speed", "11 204 tok/s"),
        ]),
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
                &[("pairs read", "29,000"), ("dropped: empty", "0"), ("dropped: duplicate", "12"), ("truncated", "3")],
            ),
            table(
                "Timing",
                &[("steps", "8,000"), ("forward and backward", "91 %"), ("evaluation", "6 %"), ("checkpoints", "1 %")],
            ),
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
        "7,574,016",
        "orangefarbenen",
        "d_model = 256",
        "training",
        "validation",
        ">BLEU<",
        "Learning rate",
        "prefers-color-scheme: dark",
    ] {
        assert!(html.contains(present), "{present}");
    }
    assert_eq!(html.matches("<svg").count(), 5);
    assert!(html.contains("&lt;script&gt;alert(1)"), "samples are escaped");
    assert!(html.contains("&lt;yes&gt;") && html.contains("--share: 80.0%"), "the confusion matrix");
    assert!(html.contains("<title>training, step 8000: 1."), "points say what they are");
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
