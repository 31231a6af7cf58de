"""Greedy decoding of a GPT-2 with a cache in eager PyTorch: the peer of crates/atento/benches/gpt2_decode.rs.

    python bench/gpt2_decode.py --preset gpt2 --batch 1 --prompt 32 --new-tokens 64

The model is written out: linear maps, layer norms, `scaled_dot_product_attention` over keys and values in buffers of the
final length. Weights are random; reading the prompt is not counted. Prints one line of JSON.
"""

import argparse
import time

import torch
import torch.nn.functional as F

import common

PRESETS = {"gpt2": (12, 768, 12), "gpt2-medium": (24, 1024, 16), "gpt2-large": (36, 1280, 20)}
VOCAB_SIZE, POSITIONS = 50_257, 1024
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Decoder:
    """Weights are [out, in], as `F.linear` reads them."""

    def __init__(self, layers, d_model, heads, batch, length, dtype):
        draw = lambda *shape: (torch.randn(*shape) * 0.02).to(dtype)
        norm = lambda: (torch.ones(d_model, dtype=dtype), torch.zeros(d_model, dtype=dtype))
        affine = lambda inputs, outputs: (draw(outputs, inputs), torch.zeros(outputs, dtype=dtype))
        self.d_model, self.heads, self.length = d_model, heads, 0
        self.tokens, self.positions, self.final_norm = draw(VOCAB_SIZE, d_model), draw(POSITIONS, d_model), norm()
        self.blocks = [
            (norm(), affine(d_model, 3 * d_model), affine(d_model, d_model), norm(), affine(d_model, 4 * d_model),
             affine(4 * d_model, d_model))
            for _ in range(layers)
        ]
        shape = (batch, heads, length, d_model // heads)
        self.caches = [(torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)) for _ in range(layers)]

    def step(self, ids):
        """Logits of the last of `ids`: [batch, new tokens], which are appended to the cache."""
        batch, new = ids.shape
        start, end = self.length, self.length + new
        x = self.tokens[ids] + self.positions[start:end]
        for (norm, qkv, out, mlp_norm, up, down), (keys, values) in zip(self.blocks, self.caches):
            projected = F.linear(F.layer_norm(x, (self.d_model,), *norm), *qkv)
            query, key, value = projected.view(batch, new, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            keys[:, :, start:end], values[:, :, start:end] = key, value
            context = F.scaled_dot_product_attention(query, keys[:, :, :end], values[:, :, :end], is_causal=new > 1)
            x = x + F.linear(context.transpose(1, 2).reshape(batch, new, self.d_model), *out)
            hidden = F.gelu(F.linear(F.layer_norm(x, (self.d_model,), *mlp_norm), *up), approximate="tanh")
            x = x + F.linear(hidden, *down)
        self.length = end
        return F.linear(F.layer_norm(x[:, -1], (self.d_model,), *self.final_norm), self.tokens)


def run(decoder, prompt, new_tokens):
    """Seconds of a step."""
    decoder.length = 0
    ids = decoder.step(prompt).argmax(-1, keepdim=True)
    start = time.perf_counter()
    for _ in range(new_tokens):
        ids = decoder.step(ids).argmax(-1, keepdim=True)
    return (time.perf_counter() - start) / new_tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="gpt2")
    for name, default in [("batch", 1), ("prompt", 32), ("new-tokens", 64)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--type", choices=TYPES, default="f32", help="of weights, activations and cache")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    threads = common.use_threads(args.threads)
    torch.manual_seed(1)
    with torch.inference_mode():
        decoder = Decoder(*PRESETS[args.preset], args.batch, args.prompt + args.new_tokens, TYPES[args.type])
        prompt = torch.randint(VOCAB_SIZE, (args.batch, args.prompt))
        run(decoder, prompt, 4)
        seconds = min(run(decoder, prompt, args.new_tokens) for _ in range(3))
    common.emit(ms=seconds * 1e3, tokens_per_second=args.batch / seconds, threads=threads, torch=torch.__version__)


if __name__ == "__main__":
    main()
