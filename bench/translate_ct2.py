"""Beam-search translation with CTranslate2: another peer of `atento translate MODEL --beam 4`.

    python bench/translate_ct2.py --model DIR --source FILE --beam 4 --compute-type float32 --out FILE

CTranslate2's own converter reads the Hugging Face directory. Sentences are handed over all at once; CTranslate2 sorts them
by length and cuts batches of --batch-sizes sentences. One translator of all threads and as many translators as threads, of
one thread each, are tried with every batch size on an eighth of the sentences, then the whole file is translated with the
fastest. Time counts tokenising, searching and detokenising, neither converting nor loading; prints one line of JSON.
"""

import argparse
import tempfile
import time
from pathlib import Path

import ctranslate2
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer

import common


def translator(converted, compute_type, inter_threads, threads):
    """A pool of `inter_threads` translators that share the threads."""
    return ctranslate2.Translator(
        converted,
        device="cpu",
        compute_type=compute_type,
        inter_threads=inter_threads,
        intra_threads=threads // inter_threads,
    )


def translate(pool, tokenizer, sentences, beam, batch_size, limit):
    """The best translation of each sentence, and sentences per second."""
    start = time.perf_counter()
    sources = [encoding.tokens for encoding in tokenizer.encode_batch(sentences)]
    results = pool.translate_batch(sources, beam_size=beam, max_batch_size=batch_size, max_decoding_length=limit)
    ids = [[tokenizer.token_to_id(token) for token in result.hypotheses[0]] for result in results]
    texts = tokenizer.decode_batch(ids, skip_special_tokens=True)
    return texts, len(sentences) / (time.perf_counter() - start)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="Hugging Face directory of an encoder–decoder with tokenizer.json")
    parser.add_argument("--source", required=True, help="one sentence on each line, plain or .gz")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--compute-type", default="float32", help="float32, int8 or another of CTranslate2's types")
    parser.add_argument("--batch-sizes", default="16,32,64,128")
    parser.add_argument("--inter-threads", help="translators side by side; 1 and all threads are tried if left out")
    parser.add_argument("--limit", type=int, default=256, help="the longest translation in tokens")
    parser.add_argument("--out", help="where to write the translations, in the order of the sentences")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    sentences = common.read_lines(args.source)
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    pools = [int(args.inter_threads)] if args.inter_threads else sorted({1, threads})
    with tempfile.TemporaryDirectory() as scratch:
        quantization = None if args.compute_type == "float32" else args.compute_type
        converted = TransformersConverter(args.model).convert(f"{scratch}/model", quantization=quantization)
        trials = {}
        for inter in pools:
            pool = translator(converted, args.compute_type, inter, threads)
            translate(pool, tokenizer, sentences[:64], args.beam, sizes[0], args.limit)
            for size in sizes if len(sizes) * len(pools) > 1 else []:
                part = sentences[::8] if len(sentences) >= 800 else sentences
                trials[inter, size] = translate(pool, tokenizer, part, args.beam, size, args.limit)[1]
        inter, size = max(trials, key=trials.get) if trials else (pools[0], sizes[0])
        pool = translator(converted, args.compute_type, inter, threads)
        translate(pool, tokenizer, sentences[:64], args.beam, size, args.limit)
        texts, rate = translate(pool, tokenizer, sentences, args.beam, size, args.limit)
    if args.out:
        Path(args.out).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    common.emit(
        sentences_per_second=rate,
        sentences=len(sentences),
        batch_size=size,
        inter_threads=inter,
        trials={f"{inter} x {size}": round(value, 1) for (inter, size), value in trials.items()},
        peak_rss_mb=common.peak_rss_mb(),
        threads=threads,
        ctranslate2=ctranslate2.__version__,
    )


if __name__ == "__main__":
    main()
