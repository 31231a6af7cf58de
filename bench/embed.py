"""Vectors of sentences with transformers: the peer of `atento embed MODEL`.

    python bench/embed.py --model DIR --source FILE --batch-sizes 1,8,16,32,64,128 --against FILE.npy

Sentences are sorted by length, so that a batch pads little; a vector is the mean of the last states over the real
tokens, scaled to length 1 where the directory says so. Every batch size of the list is tried on at most
--trial-batches batches, spread over the file, then the whole file is done with the fastest. Time counts tokenising, the
model and the pooling, not loading; prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

import common


class Embedder:
    """A model, its tokenizer, and what sentence-transformers' files say of them."""

    def __init__(self, directory):
        directory = Path(directory)
        self.model = AutoModel.from_pretrained(directory, attn_implementation="sdpa").eval()
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=self.model.config.pad_token_id)
        self.tokenizer.enable_truncation(json.loads((directory / "sentence_bert_config.json").read_text())["max_seq_length"])
        modules = json.loads((directory / "modules.json").read_text())
        self.normalizes = any(module["type"].endswith("Normalize") for module in modules)

    def embed(self, sentences):
        """The vectors of one batch."""
        encoded = self.tokenizer.encode_batch_fast(sentences)
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        padded = not bool(mask.all())
        states = self.model(input_ids=ids, attention_mask=mask if padded else None).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        vectors = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(vectors, dim=1) if self.normalizes else vectors

    def timed(self, batches):
        """Vectors of the batches, and sentences per second."""
        start = time.perf_counter()
        vectors = [self.embed(batch) for batch in batches]
        return vectors, sum(map(len, batches)) / (time.perf_counter() - start)


def cut(sentences, size):
    """Batches of `size`, in the order given."""
    return [sentences[i : i + size] for i in range(0, len(sentences), size)]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a directory of sentence-transformers")
    parser.add_argument("--source", required=True, help="one sentence on each line, plain or .gz")
    parser.add_argument("--batch-sizes", default="1,8,16,32,64,128")
    parser.add_argument("--trial-batches", type=int, default=64)
    parser.add_argument("--against", help="vectors to compare with, .npy")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


@torch.inference_mode()
def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    embedder = Embedder(args.model)
    sentences = common.read_lines(args.source)
    lengths = [sum(e.attention_mask) for e in embedder.tokenizer.encode_batch_fast(sentences)]
    order = sorted(range(len(sentences)), key=lambda i: lengths[i])
    ordered = [sentences[i] for i in order]
    embedder.embed(ordered[:8])
    trials = {}
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    for size in sizes if len(sizes) > 1 else []:
        batches = cut(ordered, size)
        trials[size] = embedder.timed(batches[:: -(-len(batches) // args.trial_batches)])[1]
    best = max(trials, key=trials.get) if trials else sizes[0]
    vectors, rate = embedder.timed(cut(ordered, best))
    difference = None
    if args.against:
        found = numpy.empty((len(sentences), vectors[0].shape[1]), dtype=numpy.float32)
        found[order] = torch.cat(vectors).numpy()
        difference = float(numpy.abs(found - numpy.load(args.against)).max())
    common.emit(
        sentences_per_second=rate,
        sentences=len(sentences),
        batch_size=best,
        trials={size: round(value, 2) for size, value in trials.items()},
        difference=difference,
        peak_rss_mb=common.peak_rss_mb(),
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
