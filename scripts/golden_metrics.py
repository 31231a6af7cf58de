#!/usr/bin/env python3
"""Records what scikit-learn, SciPy, seqeval and the rules of SQuAD say of drawn labels, values, entities and answers.

The records lie in crates/atento/tests/fixtures/measures; the tests compare crates/atento/src/eval and
crates/atento/src/train/probe with them and need no Python. To remake them:

    python3 -m venv .venv && .venv/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 seqeval==1.2.2
    .venv/bin/python scripts/golden_metrics.py
"""

import collections
import itertools
import json
import random
import re
import string
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as lenient_scores
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import BILOU, IOB2, IOBES
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

FIXTURES = Path(__file__).parent.parent / "crates/atento/tests/fixtures/measures"
AVERAGES = ("macro", "micro", "weighted")


def label_records(draw):
    """Pairs of labels: of few and many labels, mostly right and not, with labels that never occur, and of one label alone."""
    cases = ((2, 2, 40, 0.7), (2, 2, 1, 0.0), (5, 5, 60, 0.4), (7, 4, 30, 0.8), (3, 1, 5, 1.0), (4, 3, 6, 0.0))
    for labels, used, count, right in cases:
        gold = [draw.randrange(used) for _ in range(count)]
        found = [label if draw.random() < right else draw.randrange(used) for label in gold]
        every = list(range(labels))
        yield {
            "labels": labels,
            "gold": gold,
            "found": found,
            "accuracy": metrics.accuracy_score(gold, found),
            "each": np.transpose(metrics.precision_recall_fscore_support(gold, found, labels=every, zero_division=0)).tolist(),
            "f1": [metrics.f1_score(gold, found, average=average, zero_division=0) for average in AVERAGES],
            "matthews": metrics.matthews_corrcoef(gold, found),
        }


def multi_label_records(draw):
    """Flags of labels, one of which no text has; and flags of which none is set."""
    for labels, texts, share in ((3, 20, 0.4), (4, 12, 0.6), (2, 4, 0.0)):
        gold = [[int(label > 0 and draw.random() < share) for label in range(labels)] for _ in range(texts)]
        other = lambda label, flag: flag if draw.random() < 0.7 else int(label > 0 and draw.random() < share)
        found = [[other(label, flag) for label, flag in enumerate(row)] for row in gold]
        yield {
            "labels": labels,
            "gold": sum(gold, []),
            "found": sum(found, []),
            "accuracy": metrics.accuracy_score(gold, found),
            "each": np.transpose(metrics.precision_recall_fscore_support(gold, found, zero_division=0)).tolist(),
            "f1": [metrics.f1_score(gold, found, average=average, zero_division=0) for average in AVERAGES],
        }


def value_records(draw):
    """Series with ties, without, and of two values."""
    for count, step in ((2, 1), (20, 4), (30, 100)):
        steps = [draw.randint(-2 * step, 2 * step) for _ in range(count)]
        x = [value / step for value in steps]
        y = [(value + draw.randint(-2 * step, 2 * step)) / step for value in steps]
        yield {"x": x, "y": y, "pearson": stats.pearsonr(x, y)[0], "spearman": stats.spearmanr(x, y)[0]}


def spoken(prefixes, kinds, draw):
    """The labels of a text, drawn at random."""
    labels = ["O"] + [f"{prefix}-{kind}" for prefix in prefixes for kind in kinds]
    return [draw.choice(labels) for _ in range(draw.randint(0, 12))]


def entity_records(draw):
    """Texts whose labels follow each other in every way, read by the default rules and by those of each scheme."""
    settings = [("BI", "lenient", None), ("I", "lenient", None), ("BIES", "lenient", None), ("BILU", "lenient", None)]
    settings += [("BI", "IOB2", IOB2), ("BIES", "IOBES", IOBES), ("BILU", "BILOU", BILOU)]
    for prefixes, mode, scheme in settings:
        gold = [spoken(prefixes, ("PER", "X-Y"), draw) for _ in range(25)]
        other = lambda label: label if draw.random() < 0.8 else draw.choice(spoken(prefixes, ("PER", "X-Y"), draw) or ["O"])
        found = [[other(label) for label in row] for row in gold]
        score, rows = strict_scores, (gold, found)
        if not scheme:
            # The default rules know no L and U; with E and S in their place the same is said.
            known = lambda label: label.replace("L-", "E-").replace("U-", "S-")
            score, rows = lenient_scores, [[[known(label) for label in row] for row in side] for side in rows]
        options = {"zero_division": 0} | ({"scheme": scheme} if scheme else {})
        each, overall = (score(*rows, average=average, **options) for average in (None, "micro"))
        yield {
            "mode": mode,
            "gold": [" ".join(row) for row in gold],
            "found": [" ".join(row) for row in found],
            "overall": [float(score) for score in overall],
            "each": np.transpose(each).tolist(),
        }


def words_of(answer):
    """The words of an answer that are compared: lower case, no punctuation, no articles."""
    bare = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def overlap(gold, found):
    """F1 of two lists of words; of empty ones, whether both are empty."""
    if not gold or not found:
        return float(gold == found)
    common = sum((collections.Counter(gold) & collections.Counter(found)).values())
    return 0.0 if common == 0 else 2 * common / (len(gold) + len(found))


def scores_of(question):
    """Exact match and F1 by the rules of SQuAD 2.0."""
    gold = [words_of(answer) for answer in question["gold"] if words_of(answer)] or [[]]
    found = words_of(question["found"])
    return max(float(words == found) for words in gold), max(overlap(words, found) for words in gold)


def first_scores_of(question):
    """Exact match and F1 by the rules of SQuAD 1.1, to which two empty answers have no word in common."""
    found = words_of(question["found"])
    gold = [words_of(answer) for answer in question["gold"]]
    exact = max((float(words == found) for words in gold), default=0.0)
    return exact, max((overlap(words, found) if words else 0.0 for words in gold), default=0.0)


def summary(scores):
    """The means of exact match and F1, and how many there are; nothing of none."""
    return [*np.mean(scores, axis=0).tolist(), len(scores)] if scores else None


def best_threshold(questions, scores):
    """The highest sum of scores over the thresholds below which questions are answered, as a share, and that threshold."""
    order = sorted(range(len(questions)), key=lambda at: questions[at]["no_answer"])
    gain = lambda at: scores[at] if questions[at]["gold"] else -float(bool(questions[at]["found"]))
    sums = list(itertools.accumulate(map(gain, order), initial=sum(not question["gold"] for question in questions)))
    answered = sums.index(max(sums))
    return [sums[answered] / len(questions), questions[order[answered - 1]]["no_answer"] if answered else 0.0]


def answer_record(draw, threshold, kinds):
    """Questions with answers, without, or both."""
    words = ["the", "a", "An", "U.S.", "army", "Army", "(army)", "1,000", "Ärmel", "cat's", "e", "–", "x-ray", "\u00b2"]
    phrase = lambda least: " ".join(draw.choice(words) for _ in range(draw.randint(least, 4)))
    questions = []
    for _ in range(24):
        gold = [phrase(1) for _ in range(draw.randint(1, 3))] if draw.choice(kinds) else []
        found = draw.choice([*gold, phrase(0), phrase(0).upper(), ""])
        questions.append({"gold": gold, "found": found, "no_answer": draw.randint(0, 8) / 8})
    raw = [scores_of(question) for question in questions]
    kept = [(float(not q["gold"]),) * 2 if q["no_answer"] > threshold else score for q, score in zip(questions, raw)]
    return {
        "threshold": threshold,
        "questions": questions,
        "words": [" ".join(words_of(question["found"])) for question in questions],
        "first": summary([first_scores_of(question) for question in questions]),
        "overall": summary(kept),
        "has_answer": summary([score for q, score in zip(questions, kept) if q["gold"]]),
        "no_answer": summary([score for q, score in zip(questions, kept) if not q["gold"]]),
        "best_exact": best_threshold(questions, [exact for exact, _ in raw]),
        "best_f1": best_threshold(questions, [f1 for _, f1 in raw]),
    }


def answer_records(draw):
    """Three sets of questions: all have answers, none has, some have; the last with a threshold that some are above."""
    for threshold, kinds in ((1.0, [True]), (1.0, [False]), (1.0, [True, False]), (0.5, [True, False])):
        yield answer_record(draw, threshold, kinds)


def drawn_features(draw, rows, width):
    """Features in sixteenths that hang together, have means and sizes of their own, and the last of which is constant."""
    base = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(rows)]
    mixed = [[row[at] + 0.8 * row[at - 1] for at in range(width)] for row in base]
    sized = [[round(16 * (value * (1 + at % 3) + at % 2)) / 16 for at, value in enumerate(row)] for row in mixed]
    return [row[:-1] + [2.5] for row in sized]


def probe_records(draw):
    """Logistic regressions of two labels and of more, of more rows than columns and of fewer, as given and standardised."""
    for rows, width, classes in ((60, 5, 2), (70, 6, 4), (12, 20, 3)):
        features = drawn_features(draw, rows, width)
        plane = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(classes)]
        score = lambda row, weights: sum(x * w for x, w in zip(row, weights)) + draw.gauss(0, 2)
        labels = [max(range(classes), key=lambda label: score(row, plane[label])) for row in features]
        labels[:classes] = range(classes)
        fits = []
        for c, standardised in ((0.01, False), (1.0, False), (10.0, False), (1.0, True)):
            scaler = StandardScaler(with_mean=standardised, with_std=standardised).fit(features)
            model = LogisticRegression(C=c, tol=1e-14, max_iter=100_000, solver="newton-cholesky")
            model.fit(scaler.transform(features), labels)
            scale = scaler.scale_ if standardised else np.ones(width)
            shift = scaler.mean_ if standardised else np.zeros(width)
            weight = model.coef_ / scale
            bias = model.intercept_ - weight @ shift
            fits.append({"c": c, "standardised": standardised, "weight": weight.ravel().tolist(), "bias": bias.tolist()})
        yield {"width": width, "classes": classes, "features": sum(features, []), "labels": labels, "fits": fits}


def ridge_records(draw):
    """Ridge regressions of more rows than columns and of fewer."""
    for rows, width in ((40, 6), (8, 15)):
        features = drawn_features(draw, rows, width)
        values = [round(8 * (sum(row[:3]) + draw.gauss(0, 1))) / 8 for row in features]
        fits = []
        for alpha in (0.01, 1.0, 100.0):
            model = Ridge(alpha=alpha, solver="svd").fit(features, values)
            fits.append({"alpha": alpha, "weight": model.coef_.tolist(), "bias": float(model.intercept_)})
        yield {"width": width, "features": sum(features, []), "values": values, "fits": fits}


def write(name, sections):
    """One record a line, numbers with twelve digits."""
    short = lambda value: float(f"{value:.12g}") if isinstance(value, float) else value

    def deep(value):
        if isinstance(value, dict):
            return {key: deep(entry) for key, entry in value.items()}
        return [deep(entry) for entry in value] if isinstance(value, list) else short(value)

    texts = []
    for section, records in sections.items():
        lines = ",\n".join(json.dumps(deep(record), ensure_ascii=False, separators=(",", ":")) for record in records)
        texts.append(f'"{section}": [\n{lines}\n]')
    with open(FIXTURES / name, "w", encoding="utf-8", newline="\n") as file:
        file.write("{\n" + ",\n".join(texts) + "\n}\n")


def main():
    warnings.simplefilter("ignore")
    draw = random.Random(20)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    makers = (label_records, multi_label_records, value_records, entity_records, answer_records)
    write("measures.json", {maker.__name__.removesuffix("_records"): list(maker(draw)) for maker in makers})
    makers = (probe_records, ridge_records)
    write("probes.json", {maker.__name__.removesuffix("_records"): list(maker(draw)) for maker in makers})


if __name__ == "__main__":
    main()
