"""Records what Hugging Face's logits processors and warpers make of logits, for crates/atento/src/generate.

The processors are put together by `generate`'s own `_get_logits_processor`, so that their order is recorded too. Logits
are made like those of scripts/golden_search.py and stored, rounded to few digits.

    pip install torch==2.15.0 transformers==5.23.0
    python scripts/golden_sampling.py        # writes crates/atento/tests/fixtures/sampling/expected.json
"""

import json
import math
import random
from pathlib import Path

import torch
import transformers
from golden_search import Toy, ToyConfig, uniform
from transformers import GenerationConfig

VOCAB = 40
EOS = [1, 2]
OUT = Path(__file__).parent.parent / "crates/atento/tests/fixtures/sampling/expected.json"

ALONE = [
    {},
    *({"repetition_penalty": p} for p in (1.3, 0.7)),
    *({"no_repeat_ngram_size": n} for n in (1, 2, 3)),
    {"bad_words_ids": [[5], [1], [7, 9], [3, 4, 5]]},
    *({"min_new_tokens": n} for n in (2, 5)),
    {"suppress_tokens": [0, 8, 39]},
    *({"temperature": t} for t in (0.5, 0.9, 1.7)),
    *({"top_k": k} for k in (1, 2, 7, 40, 99)),
    *({"top_p": p} for p in (0.05, 0.5, 0.9, 0.999)),
    *({"min_p": p} for p in (0.02, 0.3, 1.0)),
    *({"typical_p": p} for p in (0.1, 0.5, 0.95)),
]


def random_options(rng):
    choices = {
        "repetition_penalty": [1.1, 1.5, 0.8],
        "no_repeat_ngram_size": [1, 2, 3],
        "bad_words_ids": [[[5], [1], [7, 9], [3, 4, 5]]],
        "min_new_tokens": [2, 5],
        "suppress_tokens": [[0, 8, 39], list(range(20))],
        "temperature": [0.3, 0.7, 1.3, 2.0],
        "top_k": [1, 3, 10, 25],
        "top_p": [0.2, 0.7, 0.95],
        "min_p": [0.01, 0.1, 0.5],
        "typical_p": [0.2, 0.6, 0.9],
    }
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.5}


def logits_of(kind, seed):
    u = uniform(seed, 1, 2, list(range(VOCAB)))
    shapes = {"peaked": 14 * u * u - 5, "flat": u, "ties": (u * 4).round() - 1, "wide": 60 * u - 30}
    return [round(float(x), 3) for x in shapes[kind]]


def main():
    transformers.logging.set_verbosity_error()
    rng = random.Random(20240307)
    model = Toy(ToyConfig())
    rows = [
        {"logits": logits_of(kind, seed), "prompt": prompt, "generated": generated}
        for seed, (kind, prompt, generated) in enumerate([
            ("peaked", [4, 7, 9, 4], [7]),
            ("peaked", [3], [6, 3, 4]),
            ("flat", [0, 1, 2], []),
            ("ties", [12, 12, 5], [12, 30, 12]),
            ("wide", [9, 7], [2, 11, 7]),
        ])
    ]
    cases = []
    for options in ALONE + [random_options(rng) for _ in range(60)]:
        expected = []
        for row in rows:
            ids = torch.tensor([row["prompt"] + row["generated"]])
            # `top_k` is 50 there if nothing is said.
            config = GenerationConfig(do_sample=True, num_beams=1, bos_token_id=0, eos_token_id=EOS, **({"top_k": 0} | options))
            model._prepare_special_tokens(config, True, device="cpu")
            processors = model._get_logits_processor(config, input_ids_seq_length=len(row["prompt"]))
            scores = processors(ids, torch.tensor([row["logits"]]))[0]
            probs = torch.softmax(scores, -1).tolist()
            kept = [i for i, score in enumerate(scores.tolist()) if score > -math.inf]
            expected.append({"tokens": kept, "probs": [float(f"{probs[i]:.6g}") for i in kept]})
        cases.append({"options": options, "expected": expected})
    dump = lambda value: json.dumps(value, separators=(",", ":"))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    OUT.parent.mkdir(exist_ok=True)
    lines = (",\n".join(map(dump, part)) for part in (rows, cases))
    OUT.write_text('{{"versions":{},\n"rows":[\n{}\n],\n"cases":[\n{}\n]}}\n'.format(dump(versions), *lines))


if __name__ == "__main__":
    main()
