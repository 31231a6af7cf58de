"""Writes the fixtures of Llama-like decoders of crates/atento/tests/fixtures/conformance, as golden_gpt2.py writes GPT-2's.

Between them they have everything that such a model may have: key and value heads that are shared, biases of both kinds,
windows in all layers and in some, normalised queries and keys, tied and untied outputs, and every scaling of positions.

Made with transformers 5.24.0, tokenizers 0.23.3, safetensors 0.8.0, torch 2.15.0 (CPU, one thread):
    python scripts/golden_llama.py
"""

import logging

import torch
from golden_gpt2 import VOCAB_SIZE, record, write_classifier
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES = dict(
    vocab_size=VOCAB_SIZE,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=None,
    attn_implementation="eager",
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=2.0)
SOME = ["full_attention", "sliding_attention"]

# Name, seed, classes, and what differs from the sizes above.
MODELS = [
    (
        "llama-tiny",
        21,
        (LlamaConfig, LlamaForCausalLM),
        dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rope_parameters=LLAMA3),
    ),
    ("mistral-tiny", 22, (MistralConfig, MistralForCausalLM), dict(sliding_window=4, rope_parameters=LINEAR, head_dim=6)),
    (
        "qwen2-tiny",
        23,
        (Qwen2Config, Qwen2ForCausalLM),
        dict(use_sliding_window=True, sliding_window=3, layer_types=SOME, tie_word_embeddings=True),
    ),
    ("qwen3-tiny", 24, (Qwen3Config, Qwen3ForCausalLM), dict(head_dim=6, rope_parameters=YARN)),
]

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, seed, (config, model), options in MODELS:
        record(name, seed, model(config(**SIZES, **options)))
    write_classifier(
        "llama-classifier",
        25,
        ["red", "green", "blue"],
        [2, 0, 0, 1],
        lambda **options: LlamaConfig(**{**SIZES, **options}),
        LlamaForSequenceClassification,
    )
