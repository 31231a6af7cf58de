"""Greedy decoding of a GPT-2 of random weights with llama.cpp: another peer of crates/atento/benches/gpt2_decode.rs.

    python bench/llama_gpt2.py --type q8_0 --prompt 32 --new-tokens 64

The GGUF file is made first, with matrices in --type and all else in f32. The server of xllamacpp runs in this process and
answers three times; its own timings of the fastest answer count, which leave out loading. Prints one line of JSON.
"""

import argparse
import json
import os
import resource
import tempfile

import gguf
import numpy as np
import xllamacpp

LAYERS, D_MODEL, HEADS, VOCAB_SIZE, POSITIONS = 12, 768, 12, 50_257, 1024
TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}


def write(path, kind):
    """A GPT-2 of 124 million random parameters whose output is its table of tokens."""
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(D_MODEL)
    writer.add_feed_forward_length(4 * D_MODEL)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    # Any words: prompts are given as ids.
    writer.add_token_list([f"w{i}" for i in range(VOCAB_SIZE)])
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCAB_SIZE)
    writer.add_token_merges(["w 1"])
    writer.add_bos_token_id(VOCAB_SIZE - 1)
    writer.add_eos_token_id(VOCAB_SIZE - 1)
    rng = np.random.default_rng(1)

    def matrix(name, rows, columns, quantized=True):
        values = (rng.standard_normal((rows, columns), dtype=np.float32) * 0.02).astype(np.float32)
        kind_here = TYPES[kind] if quantized else TYPES["f32"]
        data = values if kind_here == TYPES["f32"] else gguf.quants.quantize(values, kind_here)
        writer.add_tensor(name, data, raw_dtype=kind_here)

    def vector(name, size, value):
        writer.add_tensor(name, np.full(size, value, dtype=np.float32))

    matrix("token_embd.weight", VOCAB_SIZE, D_MODEL)
    matrix("position_embd.weight", POSITIONS, D_MODEL, quantized=False)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        shapes = [("attn_qkv", 3, 1), ("attn_output", 1, 1), ("ffn_up", 4, 1), ("ffn_down", 1, 4)]
        for name, outputs, inputs in shapes:
            matrix(f"{block}.{name}.weight", outputs * D_MODEL, inputs * D_MODEL)
            vector(f"{block}.{name}.bias", outputs * D_MODEL, 0.0)
        for name in ["attn_norm", "ffn_norm"]:
            vector(f"{block}.{name}.weight", D_MODEL, 1.0)
            vector(f"{block}.{name}.bias", D_MODEL, 0.0)
    vector("output_norm.weight", D_MODEL, 1.0)
    vector("output_norm.bias", D_MODEL, 0.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--type", choices=TYPES, default="f32")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def main():
    args = parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/gpt2.gguf"
        write(path, args.type)
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx, params.n_parallel = POSITIONS, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
        server = xllamacpp.Server(params)
        request = {
            "prompt": [int(id) for id in np.random.default_rng(3).integers(VOCAB_SIZE - 1, size=args.prompt)],
            "temperature": 0,
            "n_predict": args.new_tokens,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        answers = [server.handle_completions(request) for _ in range(3)]
    timings = [(json.loads(a) if isinstance(a, str) else a)["timings"] for a in answers]
    best = max(timings, key=lambda timing: timing["predicted_per_second"])
    assert best["predicted_n"] == args.new_tokens and best["prompt_n"] == args.prompt, best
    rate = best["predicted_per_second"]
    print(
        json.dumps(
            {
                "ms": round(1e3 / rate, 3),
                "tokens_per_second": round(rate, 3),
                "prompt_tokens_per_second": round(max(t["prompt_per_second"] for t in timings), 3),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "threads": args.threads,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
