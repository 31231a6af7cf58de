"""Recorded numbers of disentangled attention, from DebertaV2's in transformers.

Writes crates/atento-kernels/src/attention/disentangled/tests/buckets.txt: for each pair of a bucket size and a largest
position, the relative positions at which a bucket begins, from the middle bucket on. A position where the bucket grows by
two stands there twice.

Writes crates/atento-tensor/src/ops/disentangled_attention/golden.txt: for each case its name, the output and the gradient
of each leaf of DisentangledSelfAttention, a line each. Inputs are waves, as in golden_ops.py. The projections of the module
are replaced, so that its queries, keys, values, relative keys and relative queries are the leaves of the op.

Made with torch 2.15.0 and the transformers of bench/requirements.txt:
    python scripts/golden_disentangled.py
"""

import pathlib

import torch
from transformers import DebertaV2Config
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention, make_log_bucket_position

from golden_ops import wave

CRATES = pathlib.Path(__file__).parent.parent / "crates"
LONGEST = 1200
PAIRS = [(256, 512), (32, 64), (4, 12), (64, 512), (128, 512), (16, 100), (10, 11), (2, 5), (3, 12)]


def buckets():
    lines = []
    for size, largest in PAIRS:
        positions = torch.arange(-LONGEST, LONGEST + 1)
        found = make_log_bucket_position(positions, size, largest).long()
        assert (found == -found.flip(0)).all()
        middle = size // 2
        positive = found[LONGEST:].tolist()
        assert positive[: middle + 1] == list(range(middle + 1))
        starts = []
        for position in range(middle + 1, LONGEST + 1):
            starts += [position] * (positive[position] - positive[position - 1])
        lines.append(" ".join(map(str, [size, largest, *starts])))
    (CRATES / "atento-kernels/src/attention/disentangled/tests/buckets.txt").write_text("\n".join(lines) + "\n")


def attention(name, lengths, heads, dim, terms, span, size, largest):
    """The lines of a case: `lengths` of sequences that lie one after the other, and the terms among c2p and p2c."""
    width, rows = heads * dim, sum(lengths)
    config = DebertaV2Config(
        hidden_size=width, num_attention_heads=heads, relative_attention=True, position_buckets=size,
        max_relative_positions=largest, pos_att_type=terms, share_att_key=False, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    module = DisentangledSelfAttention(config).eval()
    leaves = [wave((rows, 3 * width), 0.0)] + [wave((2 * span, width), 10.0 * (k + 1)) for k in range(len(terms))]
    tables = dict(zip(terms, leaves[1:]))
    # A projection that gives what it is told, whatever it is asked.
    projections = {
        "query_proj": lambda _: part[0],
        "key_proj": lambda _: part[1],
        "value_proj": lambda _: part[2],
        "pos_key_proj": lambda _: tables["c2p"][None],
        "pos_query_proj": lambda _: tables["p2c"][None],
    }
    for projection, give in projections.items():
        setattr(module, projection, None)
        delattr(module, projection)
        setattr(module, projection, give)
    out, start = [], 0
    for length in lengths:
        part = [x[None] for x in leaves[0][start : start + length].split(width, dim=1)]
        mask = torch.ones(1, 1, length, length)
        states = torch.zeros(1, length, width)
        out.append(module(states, mask, rel_embeddings=torch.zeros(2 * span, width))[0][0])
        start += length
    y = torch.cat(out)
    y.backward(wave(y.shape, 100.0).detach())
    numbers = [y, *(leaf.grad for leaf in leaves)]
    return [name, *(" ".join(f"{x:.7g}" for x in values.detach().flatten().tolist()) for values in numbers)]


def main():
    torch.set_num_threads(1)
    buckets()
    lines = attention("log buckets", [6, 2], 2, 2, ["c2p", "p2c"], 4, 4, 6)
    lines += attention("identity beyond the span", [5], 1, 2, ["c2p", "p2c"], 3, -1, 3)
    lines += attention("c2p alone", [4], 1, 2, ["c2p"], 4, -1, 4)
    lines += attention("p2c alone", [4], 1, 2, ["p2c"], 4, -1, 4)
    (CRATES / "atento-tensor/src/ops/disentangled_attention/golden.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
