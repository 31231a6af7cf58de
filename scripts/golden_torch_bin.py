"""Writes the files of crates/atento/tests/fixtures/torch_bin: what `torch.save` makes of tensors, and what it should not.

malicious.bin runs a shell command on the machine that unpickles it without care: it makes a file named
`pickle-was-executed` in the working directory.

Made with torch 2.15.0 and transformers 5.23.0:
    python scripts/golden_torch_bin.py
"""

import collections
import json
import os
import pathlib
import shutil
import zipfile

import torch
from transformers import AutoModelForSeq2SeqLM

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures"
OUT = FIXTURES / "torch_bin"


class Malicious:
    """Data whose pickle says: call os.system."""

    def __reduce__(self):
        return os.system, ("touch pickle-was-executed",)


def matrix(dtype=torch.float32):
    """Six numbers that every element type has."""
    return torch.tensor([[0.5, -1.0, 2.0], [3.0, -4.0, 0.25]], dtype=dtype)


def types():
    """A tensor of every element type that is read, and of every odd shape."""
    return {
        "f32": matrix(),
        "f16": matrix(torch.float16),
        "bf16": matrix(torch.bfloat16),
        "f64": matrix(torch.float64),
        "parameter": torch.nn.Parameter(matrix()),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "i64": torch.arange(3),
        "bool": torch.tensor([True, False]),
    }


def views():
    """Tensors that share one storage: two names for one, a transposed view, a row, a column, every other element."""
    base = torch.arange(24.0).reshape(2, 3, 4)
    return {
        "base": base,
        "tied": base,
        "transposed": base.permute(2, 0, 1),
        "row": base[1, 2],
        "column": base[:, :, 1],
        "strided": base[1, :, ::2],
        "reshaped": base.view(6, 4),
        "one_column": base[:, 1:2, :],
    }


def save_shards(path):
    """Two files and their index, as `save_pretrained` once wrote them."""
    shards = {
        "pytorch_model-00001-of-00002.bin": {"first.weight": matrix(), "first.bias": torch.arange(2.0)},
        "pytorch_model-00002-of-00002.bin": {"second.weight": -matrix()},
    }
    weight_map = {}
    for file, tensors in shards.items():
        torch.save(tensors, path / file)
        weight_map.update(dict.fromkeys(tensors, file))
    index = {"metadata": {"total_size": 56}, "weight_map": weight_map}
    (path / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def compress(path, compressed):
    """The same archive, deflated."""
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as packed:
        for info in plain.infolist():
            packed.writestr(zipfile.ZipInfo(info.filename), plain.read(info), zipfile.ZIP_DEFLATED)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    state = collections.OrderedDict(weight=matrix(), bias=torch.arange(2.0))
    torch.save(types(), OUT / "types.bin")
    torch.save(views(), OUT / "views.bin")
    # Six elements of a storage of two.
    torch.save({"repeated": torch.arange(2.0).unsqueeze(1).expand(2, 3)}, OUT / "repeated.bin")
    module = torch.nn.Linear(3, 2)
    module.load_state_dict(state)
    # Of a module, with the `_metadata` attribute that its state dict has.
    torch.save(module.state_dict(), OUT / "module.bin")
    torch.save(state, OUT / "protocol4.bin", pickle_protocol=4)
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    compress(OUT / "protocol4.bin", OUT / "compressed.bin")
    wrapped = {"state_dict": state, "epoch": 3, "lr": 1e-3, "betas": [0.9, 0.98], "shape": torch.Size([2]), "none": None}
    torch.save(wrapped, OUT / "wrapped.bin")
    torch.save({"epoch": 3, "weights": state}, OUT / "nested.bin")
    torch.save({"weight": matrix(), "note": Malicious()}, OUT / "malicious.bin")
    save_shards(OUT)
    model = AutoModelForSeq2SeqLM.from_pretrained(FIXTURES / "conformance/marian-tiny")
    torch.save(model.state_dict(), OUT / "marian-tiny.bin")
    for path in sorted(OUT.iterdir()):
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
