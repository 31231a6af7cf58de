"""Prints the literals of the tests in crates/atento-tensor/src/ops: outputs and gradients from PyTorch.

Inputs are waves, sin(2.3·i + phase): leaf k has phase 10·k, parameter k has 50 + 10·k, the upstream gradient of output
k has 100 + 10·k, as `ops/testing.rs` makes them. Made with torch 2.15.0:
    python scripts/golden_ops.py
"""

import torch
import torch.nn.functional as F


def wave(shape, phase):
    count = torch.Size(shape).numel()
    values = torch.sin(2.3 * torch.arange(count, dtype=torch.float64) + phase)
    return values.reshape(shape).float().requires_grad_()


def show(name, tensor):
    numbers = ", ".join(f"{float(f'{x:.7g}')!r}" for x in tensor.detach().flatten().tolist())
    print(f"  {name}: &[{numbers}]")


def golden(name, leaves, params, op, root=False):
    """`leaves`, `params`: shapes. `op` gets the tensors and returns the output."""
    leaves = [wave(shape, 10.0 * k) for k, shape in enumerate(leaves)]
    params = [wave(shape, 50.0 + 10.0 * k) for k, shape in enumerate(params)]
    y = op(leaves, params)
    y.backward(torch.ones_like(y) if root else wave(y.shape, 100.0).detach())
    print(name)
    show("y", y)
    for k, leaf in enumerate(leaves):
        show(f"d leaf {k}", leaf.grad)
    for k, param in enumerate(params):
        show(f"d param {k}", param.grad)


def attend(qkv):
    """Two causal sequences of 2 and 1 tokens, two heads of two dimensions, packed queries, keys, values."""
    out = []
    for rows in (qkv[:2], qkv[2:]):
        query, key, value = (part.reshape(len(rows), 2, 2).transpose(0, 1) for part in rows.split(4, dim=1))
        context = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out.append(context.transpose(0, 1).reshape(len(rows), 4))
    return torch.cat(out)


def main():
    torch.set_num_threads(1)
    golden("linear, gelu", [(2, 3)], [(2, 3), (2,)], lambda x, p: F.gelu(F.linear(x[0], p[0], p[1])))
    for name, f in [
        ("relu", F.relu),
        ("gelu", F.gelu),
        ("gelu_new", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", F.silu),
    ]:
        golden(f"activation {name}", [(1, 4)], [], lambda x, p: f(x[0]))
    golden("layer_norm", [(2, 4)], [(4,), (4,)], lambda x, p: F.layer_norm(x[0], (4,), p[0], p[1], 1e-5))
    golden(
        "residual_norm", [(2, 4), (2, 4)], [(4,), (4,)],
        lambda x, p: F.layer_norm(x[0] + x[1], (4,), p[0], p[1], 1e-5),
    )
    golden("rms_norm", [(2, 4)], [(4,)], lambda x, p: F.rms_norm(x[0], (4,), p[0], 1e-6))
    golden(
        "embedding", [], [(3, 2)],
        lambda x, p: 1.5 * F.embedding(torch.tensor([2, 0, 2, 1]), p[0], padding_idx=0),
    )
    golden("attention", [(3, 12)], [], lambda x, p: attend(x[0]))
    golden("swiglu", [(2, 4)], [], lambda x, p: F.silu(x[0][:, :2]) * x[0][:, 2:])
    golden(
        "cross_entropy", [(3, 2)], [(4, 2), (4,)],
        lambda x, p: F.cross_entropy(
            F.linear(x[0], p[0], p[1]), torch.tensor([3, -100, 0]), label_smoothing=0.1, reduction="sum"
        ),
        root=True,
    )


if __name__ == "__main__":
    main()
