"""Greedy decoding of a chat with llama.cpp, through its binding xllamacpp: the peer of `atento generate --chat --greedy`.

    python bench/llama_cpp.py --model FILE.gguf --prompt TEXT --new-tokens 200

The server of the library runs in this process and answers the request twice; its own timings of the faster answer count,
which leave out loading. Prints one line of JSON.
"""

import argparse
import json
import os
import resource

import xllamacpp


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a GGUF file with a chat template")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--new-tokens", type=int, default=200)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def main():
    args = parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    server = xllamacpp.Server(params)
    request = {
        "messages": [{"role": "user", "content": args.prompt}],
        "temperature": 0,
        "max_tokens": args.new_tokens,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    answers = [server.handle_chat_completions(request) for _ in range(2)]
    timings = [(json.loads(a) if isinstance(a, str) else a)["timings"] for a in answers]
    best = max(timings, key=lambda timing: timing["predicted_per_second"])
    assert best["predicted_n"] == args.new_tokens, best
    print(
        json.dumps(
            {
                "tokens_per_second": round(best["predicted_per_second"], 3),
                "prompt_tokens_per_second": round(max(t["prompt_per_second"] for t in timings), 3),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "threads": args.threads,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
