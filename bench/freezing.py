"""What freezing saves: a GPT-2 of 124 million parameters trained whole, and its last block and final norm alone, in turn.

    python3 bench/freezing.py [--rounds 2] [--atento target/release/atento]

Needs no package. The first run makes the model to start from (random weights, 388 MB, in runs/freezing). Prints, for each
round, milliseconds an update (the median), peak resident memory, the size of a checkpoint, and the ratios.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
from pathlib import Path

RECIPE = "recipes/gpt2-124m.toml"
SMALL = ["--set", "data.block_size=256", "--set", "train.accumulate=1", "--set", "train.log_every=1",
         "--set", "train.eval_every=0", "--set", "train.eval_batches=1"]
PARTS = {"all": [], "last": ["--set", 'train.train_only=["h.11", "ln_f"]']}


def train(atento, out, more):
    """Trains; returns the peak resident memory in MB."""
    shutil.rmtree(out, ignore_errors=True)
    process = subprocess.Popen([atento, "train", RECIPE, "--out", str(out), "-q", *SMALL, *more], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"training in {out} failed")
    return usage.ru_maxrss / 1024


def measure(atento, folder, name):
    out = folder / name
    memory = train(atento, out, ["--from", str(folder / "base"), "--max-steps", "6", *PARTS[name]])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # The first update touches every page for the first time.
    speeds = [line["tokens_per_second"] for line in lines if line.get("tokens_per_second")][1:]
    checkpoint = sum(file.stat().st_size for file in (out / "checkpoints" / "step-6").iterdir())
    shutil.rmtree(out)
    return 1024 / statistics.median(speeds) * 1000, memory, checkpoint / 1e6


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--atento", default="target/release/atento")
    options = options.parse_args()
    folder = Path("runs/freezing")
    if not (folder / "base" / "model").exists():
        train(options.atento, folder / "base", ["--set", "model.vocab_size=50257", "--max-steps", "1"])
    for number in range(1, options.rounds + 1):
        whole, last = (measure(options.atento, folder, name) for name in PARTS)
        for name, (time, memory, checkpoint) in [("all weights", whole), ("the last block", last)]:
            print(f"round {number}, {name}: {time:.0f} ms an update, {memory:.0f} MB, checkpoint {checkpoint:.0f} MB")
        ratios = ", ".join(f"{part / all_:.2f}" for part, all_ in zip(last, whole))
        print(f"round {number}, ratios: {ratios}", flush=True)


if __name__ == "__main__":
    main()
