"""Writes the files of crates/atento/tests/fixtures/gguf: what llama.cpp's package makes of its types and keys.

types.safetensors   blocks of every type as they lie in a file (`Q4_0.bytes`), and their numbers (`Q4_0.values`)
keys.gguf           a value of every type, lists, tensors of several types and shapes, an alignment of its own

The package quantizes F16 to Q8_0 only; blocks of the other types are bytes at random, with scales in range.

Made with gguf 0.19.0 and safetensors 0.8.0:
    python scripts/golden_gguf.py
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_types(np.random.default_rng(7))
    write_keys()
