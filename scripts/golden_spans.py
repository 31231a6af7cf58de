"""Records the windows of questions and where answers begin and end in them, as run_qa of transformers makes them for
training, for crates/atento/src/data/labelled/spans.rs.

The tokenizers are those of crates/atento/tests/fixtures/tokenizers, made by golden_tokenizers.py. Answers of which run_qa
gives places behind the context, or ends before beginnings, are not recorded.

    pip install transformers==5.24.0 sentencepiece==0.2.3 protobuf
    python scripts/golden_spans.py             # writes crates/atento/tests/fixtures/spans
"""

import json
import random
from pathlib import Path

from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "crates/atento/tests/fixtures"
KINDS = ["bert", "roberta", "xlm-roberta"]
CONTEXT = "The man climbed over the house. " * 2 + "A small dog 日本 was running under the été field, the naïve café 🎉 here. Big!"


def positions(offsets, sequence_ids, start, end):
    first = sequence_ids.index(1)
    last = len(sequence_ids) - 1 - sequence_ids[::-1].index(1)
    if not (offsets[first][0] <= start and offsets[last][1] >= end):
        return [0, 0]
    begin = first
    while begin < len(offsets) and offsets[begin][0] <= start:
        begin += 1
    while offsets[last][1] >= end:
        last -= 1
    return [begin - 1, last + 1]


def main():
    rng, found = random.Random(2), {}
    for kind in KINDS:
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / kind)
        found[kind] = []
        for max_length, stride in ((24, 5), (40, 0), (500, 128)):
            for _ in range(5):
                start = rng.randrange(len(CONTEXT) - 12)
                text = CONTEXT[start : start + rng.randint(1, 12)]
                cut = {"truncation": "only_second", "max_length": max_length, "stride": stride}
                encodings = tokenizer("where", CONTEXT, return_overflowing_tokens=True, **cut).encodings
                windows, is_sound = [], True
                for window in encodings:
                    span = positions(window.offsets, window.sequence_ids, start, start + len(text))
                    is_sound &= span == [0, 0] or span[0] <= span[1] and window.sequence_ids[span[0]] == 1
                    windows.append({"ids": window.ids, "span": span})
                if is_sound:
                    case = {"answer": text, "start": start, "max_length": max_length, "stride": stride}
                    found[kind].append(case | {"windows": windows})
    out = FIXTURES / "spans"
    out.mkdir(exist_ok=True)
    content = {"question": "where", "context": CONTEXT, "kinds": found}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace('{"answer"', '\n{"answer"')
    (out / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
