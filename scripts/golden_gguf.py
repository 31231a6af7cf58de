"""Writes the files of crates/atento/tests/fixtures/gguf: what llama.cpp's package makes of its types and keys.

types.safetensors   blocks of every type as they lie in a file (`Q4_0.bytes`), and their numbers (`Q4_0.values`)
keys.gguf           a value of every type, lists, tensors of several types and shapes, an alignment of its own
llama.gguf          a model of one block with SentencePiece tokens, its weights in several types
gpt2.gguf           another with pairs of bytes
logits.safetensors  what `transformers`, which reads such files too, computes with both for the tokens 0 to 9

The package quantizes to no type with blocks of 256: their blocks are bytes at random, with scales in range.

Made with gguf 0.19.0, safetensors 0.8.0, torch 2.15.0 and transformers 5.24.0:
    python scripts/golden_gguf.py
"""

import pathlib

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

OUT = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures/gguf"
Type = GGMLQuantizationType
QUANTIZED = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# Where the scales (f16) of a block of 256 lie.
SCALES = {Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,)}


def blocks_of(kind, rng):
    """Two blocks of a type, as bytes."""
    if kind in QUANTIZED:
        return quantize(rng.standard_normal(64).astype(np.float32), kind).view(np.uint8)
    blocks = rng.integers(0, 256, (2, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    for at in SCALES[kind]:
        scales = rng.uniform(-0.1, 0.1, (2, 1)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8)
    return blocks.reshape(-1)


def write_types(rng):
    """Bytes and numbers of every type."""
    tensors = {}
    for kind in [*QUANTIZED, *SCALES]:
        stored = blocks_of(kind, rng)
        data = {Type.F32: stored.view(np.float32), Type.F16: stored.view(np.float16)}.get(kind, stored)
        tensors[f"{kind.name}.bytes"] = stored
        tensors[f"{kind.name}.values"] = dequantize(data, kind).astype(np.float32).reshape(-1)
    save_file(tensors, OUT / "types.safetensors")


def finish(writer):
    """Writes the file and closes it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_keys():
    """A file with a value of every type."""
    writer = GGUFWriter(OUT / "keys.gguf", "none")
    writer.add_custom_alignment(64)
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60000)
    writer.add_int16("i16", -30000)
    writer.add_uint32("u32", 4000000000)
    writer.add_int32("i32", -2000000000)
    writer.add_float32("f32", 0.5)
    writer.add_bool("bool", True)
    writer.add_string("text", "naïve 🎉")
    writer.add_uint64("u64", 2**63)
    writer.add_int64("i64", -(2**63))
    writer.add_float64("f64", 0.1)
    writer.add_array("texts", ["a", "", "éé"])
    writer.add_array("numbers", [3, -4])
    writer.add_key_value("same", [7, 7, 7], GGUFValueType.ARRAY, GGUFValueType.UINT32)
    writer.add_array("lists", [[1, 2], [3]])
    writer.add_tensor("matrix", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("half", np.array([0.5, -2.0], dtype=np.float16))
    quantized = quantize(np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32), Type.Q8_0)
    writer.add_tensor("quantized", quantized, raw_dtype=Type.Q8_0)
    finish(writer)


def begin_model(name, tokens, types):
    """A file with the keys that both models have."""
    writer = GGUFWriter(OUT / f"{name}.gguf", name)
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_tokenizer_model(name)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    return writer


def add_tensors(writer, kinds, matrices, vectors, rng):
    """Matrices in these types, one after another, and vectors in F32."""
    for number, (name, shape) in enumerate(matrices.items()):
        kind = kinds[number % len(kinds)]
        writer.add_tensor(name, quantize(0.3 * rng.standard_normal(shape).astype(np.float32), kind), raw_dtype=kind)
    for name, size in vectors.items():
        writer.add_tensor(name, (1 + 0.1 * rng.standard_normal(size)).astype(np.float32))


def write_llama(rng):
    """A model with two keys for four queries, an output of its own and SentencePiece tokens."""
    tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "t", "h", "e", "c", "a", "he", "▁t", "▁the", "at", "▁c"]
    writer = begin_model("llama", tokens, [2, 3, 3, 6] + [1] * (len(tokens) - 4))
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_token_scores([0.0] * 4 + [-float(i) for i in range(len(tokens) - 4)])
    matrices = {
        "token_embd.weight": (len(tokens), 32),
        "output.weight": (len(tokens), 32),
        "blk.0.attn_q.weight": (32, 32),
        "blk.0.attn_k.weight": (16, 32),
        "blk.0.attn_v.weight": (16, 32),
        "blk.0.attn_output.weight": (32, 32),
        "blk.0.ffn_gate.weight": (32, 32),
        "blk.0.ffn_up.weight": (32, 32),
        "blk.0.ffn_down.weight": (32, 32),
    }
    vectors = {"output_norm.weight": 32, "blk.0.attn_norm.weight": 32, "blk.0.ffn_norm.weight": 32}
    add_tensors(writer, [Type.F16, Type.Q8_0, Type.Q4_0, Type.Q5_1], matrices, vectors, rng)
    finish(writer)


def write_gpt2(rng):
    """A model with pairs of bytes."""
    tokens = ["<|endoftext|>", "t", "h", "e", "Ġ", "c", "a", "Ġt", "he", "Ġthe", "at"]
    writer = begin_model("gpt2", tokens, [3] + [1] * (len(tokens) - 1))
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_merges(["h e", "Ġ t", "Ġt he", "a t"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    matrices = {
        "token_embd.weight": (len(tokens), 32),
        "position_embd.weight": (32, 32),
        "blk.0.attn_qkv.weight": (96, 32),
        "blk.0.attn_output.weight": (32, 32),
        "blk.0.ffn_up.weight": (32, 32),
        "blk.0.ffn_down.weight": (32, 32),
    }
    vectors = {f"blk.0.{name}.bias": size for name, size in [("attn_qkv", 96), ("attn_output", 32), ("ffn_up", 32)]}
    vectors |= {"blk.0.ffn_down.bias": 32}
    for norm in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]:
        vectors |= {f"{norm}.weight": 32, f"{norm}.bias": 32}
    add_tensors(writer, [Type.BF16, Type.Q5_0, Type.Q4_1], matrices, vectors, rng)
    finish(writer)


def write_logits():
    """What both models compute. The reader of `transformers` leaves two sizes of GPT-2 as GPT-2 has them."""
    logits = {}
    for name in ["llama", "gpt2"]:
        file = f"{name}.gguf"
        config = AutoConfig.from_pretrained(OUT, gguf_file=file)
        if name == "gpt2":
            config.n_positions = config.n_inner = 32
        model = AutoModelForCausalLM.from_pretrained(OUT, gguf_file=file, config=config, dtype=torch.float32).eval()
        with torch.no_grad():
            logits[name] = model(torch.arange(10)[None]).logits[0].numpy()
    save_file(logits, OUT / "logits.safetensors")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_types(np.random.default_rng(7))
    write_keys()
    write_llama(np.random.default_rng(8))
    write_gpt2(np.random.default_rng(9))
    write_logits()
