"""nanoGPT's CPU setting for tiny Shakespeare, whole, in eager PyTorch: the peer of recipes/shakespeare-char.toml.

    python bench/shakespeare_char.py --text ../shared/data/tinyshakespeare/input.txt

4 layers, 4 heads, width 128, blocks of 64, batches of 12, no dropout, no biases; 2,000 updates of AdamW (rate 1e-3 down
to 1e-4 by a cosine after 100 steps of warm-up, betas 0.9 and 0.99, decay 0.1 on matrices, clipping at 1); every 250
updates the loss of 20 random batches of each split, as published at github.com/karpathy/nanoGPT. The module is this
repository's own. Prints one line of JSON: the time of the whole run, its evaluations counted, and the loss on all of the
validation text at the end.
"""

import argparse
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from torch import nn

import common

LAYERS, HEADS, D_MODEL, BLOCK, BATCH = 4, 4, 128, 64, 12
STEPS, EVAL_EVERY, EVAL_BATCHES = 2000, 250, 20
RATE, LEAST_RATE, WARMUP, BETAS, DECAY, CLIP = 1e-3, 1e-4, 100, (0.9, 0.99), 0.1, 1.0


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.feed_forward_norm = nn.LayerNorm(D_MODEL, bias=False), nn.LayerNorm(D_MODEL, bias=False)
        self.query_key_value = nn.Linear(D_MODEL, 3 * D_MODEL, bias=False)
        self.output = nn.Linear(D_MODEL, D_MODEL, bias=False)
        self.up, self.down = nn.Linear(D_MODEL, 4 * D_MODEL, bias=False), nn.Linear(4 * D_MODEL, D_MODEL, bias=False)

    def forward(self, x):
        batch, length, _ = x.shape
        heads = self.query_key_value(self.norm(x)).view(batch, length, 3, HEADS, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(context.transpose(1, 2).reshape(batch, length, D_MODEL))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


class Model(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, D_MODEL), nn.Embedding(BLOCK, D_MODEL)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D_MODEL, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                residual = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.tokens.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def rate(step):
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    return LEAST_RATE + (RATE - LEAST_RATE) * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


def batch(ids):
    at = torch.randint(len(ids) - BLOCK, (BATCH,)).tolist()
    rows = torch.stack([ids[i : i + BLOCK + 1] for i in at])
    return rows[:, :-1], rows[:, 1:]


@torch.no_grad()
def estimate(model, splits):
    model.eval()
    losses = [sum(model(*batch(ids)).item() for _ in range(EVAL_BATCHES)) / EVAL_BATCHES for ids in splits]
    model.train()
    return losses


@torch.no_grad()
def whole(model, ids):
    """The mean loss of consecutive blocks that cover the text."""
    blocks = (len(ids) - 1) // BLOCK
    inputs, targets = ids[: blocks * BLOCK].view(blocks, BLOCK), ids[1 : blocks * BLOCK + 1].view(blocks, BLOCK)
    return sum(model(a, b).item() * len(a) for a, b in zip(inputs.split(64), targets.split(64))) / blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    threads = common.use_threads(args.threads)
    text = pathlib.Path(args.text).read_text()
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    ids = torch.tensor([number[character] for character in text])
    train, valid = ids[: int(len(ids) * 0.9)], ids[int(len(ids) * 0.9) :]
    torch.manual_seed(1337)
    start = time.perf_counter()
    model = Model(len(characters))
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    for step in range(STEPS):
        if step % EVAL_EVERY == 0:
            estimate(model, (train, valid))
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        loss = model(*batch(train))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    estimate(model, (train, valid))
    seconds = time.perf_counter() - start
    common.emit(
        seconds=seconds,
        loss=whole(model, valid),
        tokens_per_second=STEPS * BATCH * BLOCK / seconds,
        parameters=sum(p.numel() for p in model.parameters()),
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
