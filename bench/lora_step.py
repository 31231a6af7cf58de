"""Training steps of a GPT-2 with PEFT's adapter on `c_attn`, or whole: the peer of crates/atento/benches/lora_step.rs.

    python bench/lora_step.py --method lora --rank 8 --batch 4 --seq-len 256 --steps 8

Random weights, one repeated batch of random tokens. A step is forward, backward, the gradient's norm and the fused AdamW over
what is trained. Prints one line of JSON.
"""

import argparse
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import common

WARMUP = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    for name, default in [("rank", 8), ("batch", 4), ("seq-len", 256), ("steps", 8)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    threads = common.use_threads(args.threads)
    rss_before = common.peak_rss_mb()
    torch.manual_seed(1)
    config = GPT2Config(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, attn_implementation="sdpa", use_cache=False)
    model = GPT2LMHeadModel(config)
    if args.method == "lora":
        settings = dict(r=args.rank, lora_alpha=args.rank, target_modules=["c_attn"], fan_in_fan_out=True)
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98), eps=1e-9, fused=True)
    ids = torch.randint(config.vocab_size, (args.batch, args.seq_len))
    losses, times = [], []
    for _ in range(WARMUP + args.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        nn.utils.get_total_norm([p.grad for p in trained])
        optimizer.step()
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"the loss must fall on one repeated batch: {losses}"
    seconds = statistics.median(times[WARMUP:])
    common.emit(
        ms=seconds * 1e3,
        tokens_per_second=args.batch * args.seq_len / seconds,
        trainable=sum(p.numel() for p in trained),
        peak_rss_mb=common.peak_rss_mb(),
        import_rss_mb=rss_before,
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
