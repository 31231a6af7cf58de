"""Beam-search translation with transformers' `generate`: the peer of `atento translate MODEL --beam 4`.

    python bench/translate.py --model DIR --source FILE --beam 4 --batch-sizes 1,16,64,128 --out FILE

Sentences are sorted by length, so that a batch pads little and its searches end together. Every batch size of the list
is tried (on at most --trial-batches batches, spread over the file), then the whole file is translated with the fastest.
Time counts tokenising, searching and detokenising, not loading; prints one line of JSON.
"""

import argparse
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM

import common


class Translator:
    """A model, its tokenizer, and the search."""

    def __init__(self, directory, beam, attention):
        self.model = AutoModelForSeq2SeqLM.from_pretrained(directory, attn_implementation=attention).eval()
        self.tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
        self.tokenizer.enable_padding(pad_id=self.model.config.pad_token_id)
        self.beam = beam
        generation = self.model.generation_config
        if generation.max_length is None and generation.max_new_tokens is None:
            generation.max_new_tokens = 256  # atento's limit where the model names none

    def translate(self, sentences):
        """The best translation of each sentence of one batch."""
        encoded = self.tokenizer.encode_batch(sentences)
        output = self.model.generate(
            input_ids=torch.tensor([e.ids for e in encoded]),
            attention_mask=torch.tensor([e.attention_mask for e in encoded]),
            num_beams=self.beam,
            do_sample=False,
        )
        return self.tokenizer.decode_batch(output.tolist(), skip_special_tokens=True)

    def timed(self, batches):
        """Translations of the batches, and sentences per second."""
        start = time.perf_counter()
        translations = [self.translate(batch) for batch in batches]
        return translations, sum(map(len, batches)) / (time.perf_counter() - start)


def cut(sentences, size):
    """Batches of `size`, in the order given."""
    return [sentences[i : i + size] for i in range(0, len(sentences), size)]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="Hugging Face directory of an encoder–decoder with tokenizer.json")
    parser.add_argument("--source", required=True, help="one sentence on each line, plain or .gz")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--batch-sizes", default="1,16,64,128")
    parser.add_argument("--trial-batches", type=int, default=64)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--out", help="where to write the translations, in the order of the sentences")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


@torch.inference_mode()
def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    translator = Translator(args.model, args.beam, args.attention)
    sentences = common.read_lines(args.source)
    lengths = [len(e.ids) for e in translator.tokenizer.encode_batch_fast(sentences)]
    order = sorted(range(len(sentences)), key=lambda i: lengths[i])
    ordered = [sentences[i] for i in order]
    translator.translate(ordered[:8])
    trials = {}
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    for size in sizes if len(sizes) > 1 else []:
        batches = cut(ordered, size)
        trials[size] = translator.timed(batches[:: -(-len(batches) // args.trial_batches)])[1]
    best = max(trials, key=trials.get) if trials else sizes[0]
    translations, rate = translator.timed(cut(ordered, best))
    if args.out:
        by_place = dict(zip(order, (text for batch in translations for text in batch)))
        Path(args.out).write_text("".join(f"{by_place[i]}\n" for i in range(len(sentences))), encoding="utf-8")
    common.emit(
        sentences_per_second=rate,
        sentences=len(sentences),
        batch_size=best,
        trials={size: round(value, 2) for size, value in trials.items()},
        peak_rss_mb=common.peak_rss_mb(),
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
