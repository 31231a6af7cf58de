"""The model of crates/atento/benches/decoder_step.rs in PyTorch: eager, scaled_dot_product_attention, fused AdamW.

    python bench/decoder_step.py --layers 6 --d-model 384 --heads 6 --seq-len 256 --batch 8 --vocab-size 8192 [--autocast]

With --autocast the forward runs in bf16 where PyTorch's `autocast` would have it so; weights, moments and loss are f32.
One step is forward, backward, the gradient's norm and the update, on one repeated batch of random tokens. Prints the
median step of --steps after three warm-up steps, as one line of JSON.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

import common


class Block(nn.Module):
    """A pre-norm layer: causal self-attention with one fused Q-K-V projection, then a GELU feed-forward."""

    def __init__(self, d_model, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d_model)
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        batch, seq_len, d_model = x.shape
        heads = self.query_key_value(self.norm(x)).view(batch, seq_len, 3, self.heads, d_model // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(context.transpose(1, 2).reshape(batch, seq_len, d_model))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh"))


class Decoder(nn.Module):
    """Token and learned position embeddings, blocks, a final norm; the output projection is the token table."""

    def __init__(self, args):
        super().__init__()
        self.tokens = nn.Embedding(args.vocab_size, args.d_model)
        self.positions = nn.Embedding(args.seq_len, args.d_model)
        self.blocks = nn.ModuleList(Block(args.d_model, args.heads) for _ in range(args.layers))
        self.norm = nn.LayerNorm(args.d_model)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


def flops(args):
    """Operations of a step: 6 per weight and token, and the causal half of the attention products."""
    tokens = args.batch * args.seq_len
    weights = 12 * args.d_model**2 * args.layers + args.vocab_size * args.d_model
    attention = 3 * 2 * tokens * args.seq_len * args.d_model * args.layers
    return 6 * weights * tokens + attention


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("layers", 6), ("d-model", 384), ("heads", 6), ("seq-len", 256), ("batch", 8)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--autocast", action="store_true")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    rss_before = common.peak_rss_mb()
    torch.manual_seed(1)
    model = Decoder(args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
    ids = torch.randint(args.vocab_size, (args.batch * args.seq_len + 1,))
    inputs, targets = ids[:-1].view(args.batch, args.seq_len), ids[1:]
    losses, times = [], []
    for _ in range(args.steps + 3):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.autocast):
            logits = model(inputs).view(-1, args.vocab_size)
        loss = F.cross_entropy(logits.float(), targets)
        loss.backward()
        nn.utils.get_total_norm([p.grad for p in model.parameters()])
        optimizer.step()
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"the loss must fall on one repeated batch: {losses}"
    seconds = statistics.median(times[3:])
    common.emit(
        ms=seconds * 1e3,
        tokens_per_second=args.batch * args.seq_len / seconds,
        gflops=flops(args) / seconds / 1e9,
        peak_rss_mb=common.peak_rss_mb(),
        import_rss_mb=rss_before,
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
