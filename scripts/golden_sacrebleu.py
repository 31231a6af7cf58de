#!/usr/bin/env python3
"""Records what sacreBLEU says about the texts in crates/atento/tests/fixtures/sacrebleu, as golden.json beside them.

The tests compare crates/atento/src/eval with these records and need no Python. To remake them:

    python3 -m venv .venv && .venv/bin/pip install sacrebleu==2.6.0 numpy==2.4.6 regex
    .venv/bin/python scripts/golden_sacrebleu.py
"""

import itertools
import json
from pathlib import Path

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest
from sacrebleu.utils import sum_of_lists

FIXTURES = Path(__file__).parent.parent / "crates/atento/tests/fixtures/sacrebleu"
TOKENIZERS = ("13a", "none", "intl", "char")

# Segments that a file of lines cannot hold.
MULTI_LINE = ["Über-\nraschung\nda-\n", "a\nb. c,\n5.\n", "-\n", "„Ja\n.“\n5\n.\n", "\n"]


def read(name):
    """The lines of a file, ended by line feeds alone."""
    with open(FIXTURES / name, encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def reference_sets():
    """One reference, two, and two of which the second lacks every third line."""
    first, second = read("references_0.txt"), read("references_1.txt")
    gaps = [None if index % 3 == 2 else line for index, line in enumerate(second)]
    return {"one": [first], "two": [first, second], "gaps": [first, gaps]}


def sentence_scores(metric, hypotheses, streams):
    """The score of every line by itself."""
    return [metric.sentence_score(h, list(refs)).score for h, refs in zip(hypotheses, zip(*streams))]


def record(metric, options, references, hypotheses, streams, with_sentences):
    """What `metric` says of the corpus and, if asked, of each of its sentences."""
    score = metric.corpus_score(hypotheses, streams)
    statistics = sum_of_lists(metric._extract_corpus_statistics(hypotheses, streams))
    result = {
        **options,
        "references": references,
        "signature": str(metric.get_signature()),
        "printed": str(score),
        "score": score.score,
        "statistics": statistics,
    }
    if isinstance(metric, BLEU):
        result |= {"precisions": score.precisions, "bp": score.bp}
    if with_sentences:
        result["sentences"] = sentence_scores(metric, hypotheses, streams)
    return result


def bleu_records(hypotheses, sets):
    """BLEU for every tokenizer, case, smoothing and reference set; sentences with the effective order."""
    smoothings = [("exp", None), ("floor", None), ("floor", 0.5), ("add-k", None), ("add-k", 2.25), ("none", None)]
    for tokenize, lowercase, (method, value) in itertools.product(TOKENIZERS, (False, True), smoothings):
        options = {"tokenize": tokenize, "lowercase": lowercase, "smooth_method": method, "smooth_value": value}
        for references, effective_order in (("one", False), ("gaps", False), ("two", True)):
            options["effective_order"] = effective_order
            metric = BLEU(force=True, **options)
            yield record(metric, options, references, hypotheses, sets[references], effective_order)


def chrf_records(hypotheses, sets):
    """chrF, chrF+ and chrF++ for every case, white space, smoothing and reference set."""
    for word_order, lowercase, whitespace, eps in itertools.product((0, 1, 2), *[(False, True)] * 3):
        options = {"char_order": 6, "word_order": word_order, "beta": 2}
        options |= {"lowercase": lowercase, "whitespace": whitespace, "eps_smoothing": eps}
        for references in sets:
            plain = references == "two" and not whitespace
            yield record(CHRF(**options), options, references, hypotheses, sets[references], plain)
    options = {"char_order": 8, "word_order": 3, "beta": 3, "lowercase": False, "whitespace": False, "eps_smoothing": False}
    yield record(CHRF(**options), options, "two", hypotheses, sets["two"], True)


def token_records(texts):
    """The tokens of every text by every tokenizer."""
    for text in texts:
        yield {"text": text, **{name: BLEU(tokenize=name)._preprocess_segment(text).split() for name in TOKENIZERS}}


def paired_records(baseline, system, streams):
    """The paired bootstrap of the two systems with the default number of resamples and seed."""
    metrics = {"BLEU": BLEU(force=True, references=streams), "chrF": CHRF(references=streams)}
    test = PairedTest([("baseline", baseline), ("system", system)], metrics, references=None, test_type="bs")
    signatures, results = test()
    for name, signature in signatures.items():
        first, second = results[name]
        yield {
            "metric": name,
            "signature": str(signature),
            "baseline": [float(first.score), float(first.mean), float(first.ci)],
            "system": [float(second.score), float(second.mean), float(second.ci)],
            "p_value": float(second.p_value),
        }


def main():
    hypotheses, sets = read("hypotheses.txt"), reference_sets()
    other = read("other_hypotheses.txt")
    sections = {
        "bleu": bleu_records(hypotheses, sets),
        "chrf": chrf_records(hypotheses, sets),
        "tokens": token_records(hypotheses + MULTI_LINE),
        "paired": paired_records(hypotheses, other, sets["two"]),
    }
    with open(FIXTURES / "golden.json", "w", encoding="utf-8", newline="\n") as file:
        file.write('{"sacrebleu": ' + json.dumps(sacrebleu.__version__))
        for name, records in sections.items():
            lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in records)
            file.write(f',\n"{name}": [\n{lines}\n]')
        file.write("\n}\n")


if __name__ == "__main__":
    main()
