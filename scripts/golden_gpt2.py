"""Writes the decoder-only fixtures of crates/atento/tests/fixtures/conformance.

Each is a small random GPT-2 in Hugging Face's format with what `transformers` and PyTorch compute for it: logits, hidden
states of every layer, greedy and beam search, the gradient of every parameter, and ten losses of AdamW. Biases and norms
are moved off 0 and 1, so that a dropped bias or a swapped norm shows. Searches are repeated in float64 and have to give
the same tokens, so that no result hangs on the rounding of a tie.

Beside them are two small classifiers, one of three labels with padding at the end of texts and one of a single value, with
their logits, loss and gradients.

Made with transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0, torch 2.15.0 (CPU, one thread):
    python scripts/golden_gpt2.py
"""

import copy
import json
import logging
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures/conformance"

TEXTS = ["The red cat sees a dog.", "naïve café, 12 €", "x", "Two dogs run in the rain and sleep at noon."]
END = "<|endoftext|>"
VOCAB_SIZE = 290
BATCH, LENGTH, NEW_TOKENS = 2, 12, 10
LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY, STEPS = 1e-3, (0.9, 0.999), 1e-8, 0.01, 10

# Name, seed and what differs from a tied model of two layers.
MODELS = [
    ("gpt2-tiny", 11, {}),
    (
        "gpt2-untied",
        12,
        {
            "tie_word_embeddings": False,
            "n_inner": 20,
            "activation_function": "relu",
            "scale_attn_by_inverse_layer_idx": True,
            "n_layer": 3,
            "n_head": 2,
        },
    ),
]

# Name, seed, labels, and what each text is to give.
CLASSIFIERS = [
    ("gpt2-classifier", 13, ["red", "green", "blue"], [2, 0, 0, 1]),
    ("gpt2-regression", 14, ["stars"], [0.5, -1.0, 4.0, 2.25]),
]


def train_tokenizer():
    """GPT-2's byte-level byte-pair encoding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    return tokenizer


def randomise(model, generator):
    """Draws every parameter, none of them where initialisation would leave it."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if ("ln_" in name or "norm" in name) and name.endswith("weight"):
            parameter.data = 1.0 + 0.3 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.3 * noise
        else:
            parameter.data = 0.4 * noise


def search(model, ids, beams):
    """The tokens after the prompt."""
    prompt = torch.tensor([ids])
    found = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        num_beams=beams,
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        pad_token_id=0,
    )
    return found[0, len(ids) :].tolist()


def cases(model, tokenizer):
    double = copy.deepcopy(model).double()
    listed, tensors = [], {}
    for number, text in enumerate(TEXTS):
        ids = tokenizer.encode(text).ids
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        tensors[f"{number}.logits"] = out.logits[0].contiguous()
        tensors[f"{number}.hidden"] = torch.stack([state[0] for state in out.hidden_states])
        found = {"greedy": search(model, ids, 1), "beam4": search(model, ids, 4)}
        again = {"greedy": search(double, ids, 1), "beam4": search(double, ids, 4)}
        assert found == again, f"a search of {text!r} hangs on rounding: choose another seed"
        listed.append({"text": text, "input_ids": ids, **found})
    return listed, tensors


def train(model, generator):
    batches, losses = {}, []
    for step in range(STEPS):
        ids = torch.randint(1, VOCAB_SIZE, (BATCH, LENGTH), generator=generator)
        labels = ids.clone()
        labels[1, : step % 4] = -100
        batches[f"{step}.input_ids"], batches[f"{step}.labels"] = ids, labels
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY
    )
    gradients = {}
    for step in range(STEPS):
        loss = model(batches[f"{step}.input_ids"], labels=batches[f"{step}.labels"]).loss
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    return batches, gradients, losses


def write(name, seed, options):
    # The stored values of the size-dependent keys are tried as well: 64 positions, 290 tokens.
    settings = dict(n_embd=16, n_layer=2, n_head=4, n_positions=64, vocab_size=VOCAB_SIZE)
    config = GPT2Config(
        **{**settings, **options},
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    record(name, seed, GPT2LMHeadModel(config))


def record(name, seed, model):
    """Writes a model, whose parameters are drawn here, with everything that is computed for it."""
    generator = torch.Generator().manual_seed(seed)
    directory = FIXTURES / name
    tokenizer = train_tokenizer()
    model = model.eval()
    randomise(model, generator)
    model.tie_weights()
    model.save_pretrained(directory)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END).save_pretrained(directory)
    listed, tensors = cases(model, tokenizer)
    save_file(tensors, directory / "expected.safetensors")
    batches, gradients, losses = train(model, generator)
    save_file(batches, directory / "train_batches.safetensors")
    save_file(gradients, directory / "grads.safetensors")
    options = {"lr": LEARNING_RATE, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}
    texts = {"expected.json": {"cases": listed}, "train_losses.json": {**options, "losses": losses}}
    for file, content in texts.items():
        (directory / file).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def small_gpt2(**options):
    sizes = dict(n_embd=8, n_layer=2, n_head=2, n_positions=48, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    return GPT2Config(**sizes, **options)


def write_classifier(name, seed, labels, targets, make_config=small_gpt2, make_model=GPT2ForSequenceClassification):
    generator = torch.Generator().manual_seed(seed)
    directory = FIXTURES / name
    tokenizer = train_tokenizer()
    pad = tokenizer.token_to_id("!")
    config = make_config(
        vocab_size=VOCAB_SIZE,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=pad,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = make_model(config).eval()
    randomise(model, generator)
    model.save_pretrained(directory)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END).save_pretrained(directory)
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    longest = max(len(row) for row in ids)
    padded = torch.tensor([row + [pad] * (longest - len(row)) for row in ids])
    out = model(padded, attention_mask=(padded != pad).long(), labels=torch.tensor(targets))
    out.loss.backward()
    listed = [
        {"text": text, "input_ids": row, "target": target, "logits": logits}
        for text, row, target, logits in zip(TEXTS, ids, targets, out.logits.tolist())
    ]
    save_file({name: parameter.grad for name, parameter in model.named_parameters()}, directory / "grads.safetensors")
    content = {"loss": out.loss.item(), "cases": listed}
    (directory / "expected.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in MODELS:
        write(*model)
    for classifier in CLASSIFIERS:
        write_classifier(*classifier)
