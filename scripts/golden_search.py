"""Records what Hugging Face `generate` returns for a toy model, for the tests of crates/atento/src/generate.

The toy's logits are a hash of (sentence, last two tokens, step, token) made of wrapping 32-bit integer arithmetic and
single float32 roundings only, so that generate/toy.rs computes them bit for bit and no table needs storing.

    pip install torch==2.15.0 transformers==5.23.0
    python scripts/golden_search.py        # writes crates/atento/tests/fixtures/search/expected.json
"""

import json
import random
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

VOCAB = 24
START, EOS, SECOND_EOS = 0, 1, 2
OUT = Path(__file__).parent.parent / "crates/atento/tests/fixtures/search/expected.json"


def uniform(*words):
    """float32 in [0, 1) from 32-bit words: multiply-xorshift rounds, then Murmur3's finaliser."""
    h = np.uint32(0x12345678)
    for word in words:
        h = (h ^ np.asarray(word, np.uint32)) * np.uint32(0x9E3779B1)
        h = h ^ (h >> np.uint32(15))
    h = h * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h = h ^ (h >> np.uint32(16))
    return (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def toy_logits(sentence, prefix, eos_bias):
    """Mostly a Markov table of the last two tokens, so that n-grams repeat; the step breaks ties between paths."""
    tokens = np.arange(VOCAB)
    last, before = prefix[-1], prefix[-2] if len(prefix) > 1 else 9999
    markov = uniform(sentence, before, last, tokens)
    drift = uniform(sentence, 777, len(prefix), tokens)
    logits = np.float32(8.0) * (markov * markov) + drift
    for eos in (EOS, SECOND_EOS):
        logits[eos] += np.float32(eos_bias)
    return logits


class ToyConfig(PretrainedConfig):
    model_type = "toy"

    def __init__(self, **kwargs):
        super().__init__(is_encoder_decoder=True, **kwargs)
        self.vocab_size = VOCAB
        self.num_hidden_layers = 1
        self.hidden_size = 1


class ToyEncoder(torch.nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids, **_):
        return BaseModelOutput(last_hidden_state=input_ids[:, :, None].float())


class Toy(PreTrainedModel, GenerationMixin):
    config_class = ToyConfig
    main_input_name = "input_ids"
    eos_bias = 0.0

    def __init__(self, config):
        super().__init__(config)
        self.encoder = ToyEncoder()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def get_encoder(self, *_, **__):
        return self.encoder

    def prepare_inputs_for_generation(self, decoder_input_ids, encoder_outputs=None, **_):
        return {"decoder_input_ids": decoder_input_ids, "encoder_outputs": encoder_outputs}

    def forward(self, input_ids=None, decoder_input_ids=None, encoder_outputs=None, **_):
        sentences = encoder_outputs[0][:, 0, 0].long().tolist()
        rows = [toy_logits(s, p, self.eos_bias) for s, p in zip(sentences, decoder_input_ids.tolist())]
        return Seq2SeqLMOutput(logits=torch.from_numpy(np.stack(rows))[:, None, :])


def record(model, case):
    options = dict(case["options"])
    model.eos_bias = case["eos_bias"]
    eos = options.pop("eos_ids")
    sentences = torch.tensor(case["sentences"])[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = model.generate(
            input_ids=sentences, decoder_start_token_id=START, eos_token_id=eos or None,
            pad_token_id=VOCAB + 1 if eos else None, use_cache=False, do_sample=False,
            return_dict_in_generate=True, output_scores=True, **options,
        )
    n_best = case["options"]["num_return_sequences"]
    scores = getattr(out, "sequences_scores", None)
    expected = [[] for _ in case["sentences"]]
    for i, ids in enumerate(out.sequences.tolist()):
        if scores is not None and scores[i] < -1e5:
            continue  # A placeholder (score -1e9): too many bans to fill all of n_best with real hypotheses.
        # The padding id lies outside the vocabulary, so whatever follows it was never generated.
        ids = [t for t in ids[1:] if 0 <= t < VOCAB]
        score = None if scores is None else float(f"{scores[i].item():.7g}")
        expected[i // n_best].append({"ids": ids, "score": score})
    return expected


def random_case(rng):
    beam = rng.choice([1, 2, 3, 4, 5, 6])
    max_new = rng.choice([1, 2, 5, 9, 14])
    options = {
        "num_beams": beam,
        "num_return_sequences": rng.choice([1, 1, beam]),
        "max_new_tokens": max_new,
        "min_new_tokens": rng.choice([None, None, None, 3, 7]),
        "no_repeat_ngram_size": rng.choice([None, None, 1, 2, 3]),
        "length_penalty": rng.choice([0.0, 0.6, 1.0, 1.0, 2.0, -1.0]) if beam > 1 else None,
        "early_stopping": rng.choice([False, True, "never"]) if beam > 1 else None,
        "bad_words_ids": rng.choice([None, None, [[START]], [[START], [5], [7, 9], [3, 4, 5]]]),
        "suppress_tokens": rng.choice([None, None, None, [11, 6]]),
        "forced_bos_token_id": rng.choice([None, None, None, None, 8]),
        "forced_eos_token_id": rng.choice([None, None, None, EOS]),
        "eos_ids": rng.choice([[EOS], [EOS], [EOS], [EOS, SECOND_EOS], []]),
    }
    if not options["eos_ids"]:
        options["min_new_tokens"] = None
        options["forced_eos_token_id"] = None
    options = {name: value for name, value in options.items() if value is not None}
    return {
        "eos_bias": rng.choice([-4.0, 0.0, 1.5, 3.0, 5.0]),
        "sentences": rng.sample(range(100), rng.choice([1, 2, 3, 4])),
        "options": options,
    }


def main():
    transformers.logging.set_verbosity_error()
    rng = random.Random(20240229)
    model = Toy(ToyConfig()).eval()
    # These pin the toy itself, so that a mismatch there is not mistaken for one of the search.
    logits = toy_logits(3, [START, 5, 7], 1.5).tolist()
    cases = []
    for number in range(280):
        case = random_case(rng)
        if number >= 220:
            case["options"]["repetition_penalty"] = rng.choice([0.7, 0.9, 1.1, 1.3, 2.0])
        case["expected"] = record(model, case)
        cases.append(case)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    OUT.write_text(f'{{"versions":{json.dumps(versions)},\n"toy_logits":{json.dumps(logits)},\n"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
