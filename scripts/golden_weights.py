"""Writes attention.safetensors beside models of crates/atento/tests/fixtures/conformance: the attention weights of the first
case of their expected.json, as transformers computes them (output_attentions, eager), [layers, heads, queries, keys]; of
translators "decoder" and "cross" too.

Writes crates/atento/tests/fixtures/attention/deberta, a small DeBERTa with the tokenizer of the fixture `bert`, and its weights
for the ids of the first case there.

Made with transformers 5.24.0, safetensors 0.8.0, torch 2.15.0 (CPU, one thread), after golden_encoders.py, golden_gpt2.py,
golden_llama.py and golden_marian.py, whose models it reads:
    python scripts/golden_weights.py
"""

import json
import logging
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
)

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures"
CONFORMANCE = FIXTURES / "conformance"
TRANSLATORS = ["marian-tiny", "m2m100-tiny"]
TEXTS = [
    "gpt2-tiny",
    "llama-tiny",
    "mistral-tiny",
    "qwen3-tiny",
    "bert",
    "roberta-words",
    "distilbert-labels",
    "electra-words",
    "modernbert-words",
]


def first_case(folder):
    return json.loads((folder / "expected.json").read_text())["cases"][0]


def together(layers):
    return torch.cat(layers).contiguous()


def text(model, folder, ids):
    found = model.eval()(torch.tensor([ids]), output_attentions=True)
    save_file({"attentions": together(found.attentions)}, folder / "attention.safetensors")


def translation(name):
    folder = CONFORMANCE / name
    case, model = first_case(folder), AutoModelForSeq2SeqLM.from_pretrained(folder, attn_implementation="eager").eval()
    ids = [torch.tensor([case[key]]) for key in ("input_ids", "decoder_input_ids")]
    found = model(input_ids=ids[0], decoder_input_ids=ids[1], output_attentions=True)
    weights = {
        "attentions": together(found.encoder_attentions),
        "decoder": together(found.decoder_attentions),
        "cross": together(found.cross_attentions),
    }
    save_file(weights, folder / "attention.safetensors")


def deberta():
    bert, folder = CONFORMANCE / "bert", FIXTURES / "attention/deberta"
    vocab_size = json.loads((bert / "config.json").read_text())["vocab_size"]
    torch.manual_seed(41)
    config = DebertaV2Config(
        vocab_size=vocab_size, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=32, type_vocab_size=0, relative_attention=True, position_buckets=4,
        max_relative_positions=16, pos_att_type=["c2p", "p2c"], share_att_key=True, norm_rel_ebd="layer_norm",
        position_biased_input=False, pad_token_id=0, num_labels=2,
    )
    model = DebertaV2ForSequenceClassification(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bert / name, folder / name)
    ids = first_case(bert)["input_ids"]
    (folder / "expected.json").write_text(json.dumps({"cases": [{"text": first_case(bert)["text"], "input_ids": ids}]}))
    text(model, folder, ids)


@torch.no_grad()
def main():
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in TEXTS:
        folder = CONFORMANCE / name
        model = AutoModel.from_pretrained(folder, attn_implementation="eager")
        text(model, folder, first_case(folder)["input_ids"])
    for name in TRANSLATORS:
        translation(name)
    deberta()


if __name__ == "__main__":
    main()
