"""Writes the encoder-decoder fixtures of crates/atento/tests/fixtures/conformance.

Each is a small random model in Hugging Face's format with what `transformers` and PyTorch compute for it: logits,
greedy and beam search, the gradient of every parameter, and ten losses of AdamW. Biases, norms and the output bias are
moved off 0 and 1, so that a dropped bias or a swapped norm shows. Searches are repeated in float64 and have to give
the same tokens, so that no result hangs on the rounding of a tie.

Made with transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0, torch 2.15.0 (CPU, one thread):
    python scripts/golden_marian.py
"""

import copy
import json
import logging
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
)

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures/conformance"

SENTENCES = [
    ("the red cat sees a dog.", "die rote katze sieht einen hund."),
    ("two dogs run in the rain.", "zwei hunde rennen im regen."),
    ("a bird sings at noon.", "ein vogel singt am mittag."),
    ("I read the old book.", "ich lese das alte buch."),
    ("he eats green apples.", "er isst grüne äpfel."),
    ("she asks: where is it?", "sie fragt: wo ist es?"),
]
# Cases: a known sentence, unknown characters, a single letter.
CASES = [SENTENCES[1], ("a café — 12 €", "ein café"), ("x", "x")]

LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY, STEPS = 1e-3, (0.9, 0.999), 1e-8, 0.01, 10
BATCH, LONGEST, NEW_TOKENS = 2, 8, 12


def train_tokenizer(specials, kind, vocab_size):
    """A tokenizer with Metaspace and an end token; `specials` by id."""
    model = models.Unigram() if kind == "unigram" else models.BPE(unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    options = {"vocab_size": vocab_size, "special_tokens": specials, "show_progress": False}
    if kind == "unigram":
        trainer = trainers.UnigramTrainer(unk_token="<unk>", max_piece_length=4, **options)
    else:
        trainer = trainers.BpeTrainer(**options)
    tokenizer.train_from_iterator([side for pair in SENTENCES for side in pair] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", specials.index("</s>"))]
    )
    return tokenizer


def trained(model):
    """The parameters that training changes, by name. Untied models keep a `shared` table that nothing reads."""
    untied = not model.config.tie_word_embeddings
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: parameter for name, parameter in named.items() if not (untied and name == "model.shared.weight")}


def randomise(model, generator):
    """Draws every parameter and the output bias, none of them where initialisation would leave it. Position tables,
    which are parameters to Marian but no part of its files, stay as they are."""
    for name, parameter in trained(model).items():
        noise = torch.randn(parameter.shape, generator=generator)
        if "layer_norm" in name and name.endswith("weight"):
            parameter.data = 1.0 + 0.3 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.3 * noise
        elif "embed" in name or "shared" in name or "lm_head" in name:
            parameter.data = 0.6 * noise
        else:
            parameter.data = 0.4 * noise
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(0.5 * torch.randn(model.final_logits_bias.shape, generator=generator))


def training_batches(tokenizer, pad_id, generator):
    """Ten batches of known sentences, cut to unequal lengths and padded."""
    tensors = {}
    for step in range(STEPS):
        chosen = torch.randperm(len(SENTENCES), generator=generator)[:BATCH].tolist()
        sides = {"source": [], "target": []}
        for row, index in enumerate(chosen):
            for side, text in zip(sides, SENTENCES[index]):
                ids = tokenizer.encode(text).ids
                keep = LONGEST - 2 * row - (side == "target")
                sides[side].append(ids[: keep - 1] + ids[-1:])
        length = max(map(len, sides["source"]))
        padded = [ids + [pad_id] * (length - len(ids)) for ids in sides["source"]]
        mask = [[1] * len(ids) + [0] * (length - len(ids)) for ids in sides["source"]]
        length = max(map(len, sides["target"]))
        labels = [ids + [-100] * (length - len(ids)) for ids in sides["target"]]
        for key, rows in [("input_ids", padded), ("attention_mask", mask), ("labels", labels)]:
            tensors[f"{step}.{key}"] = torch.tensor(rows)
    return tensors


def search(model, source, beam):
    """The generated ids, start token included, padding stripped."""
    generated = model.generate(torch.tensor([source]), num_beams=beam, do_sample=False, max_new_tokens=NEW_TOKENS)
    return generated[0].tolist()


def write_cases(model, tokenizer, directory):
    """Logits, greedy and beam search of each case."""
    double = copy.deepcopy(model).double()
    start = model.config.decoder_start_token_id
    cases, logits = [], {}
    for i, (text, target) in enumerate(CASES):
        source = tokenizer.encode(text).ids
        decoder_input = [start] + tokenizer.encode(target).ids[:-1]
        case = {"text": text, "input_ids": source, "target": target, "decoder_input_ids": decoder_input}
        with torch.no_grad():
            output = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([decoder_input]))
        logits[f"{i}.logits"] = output.logits[0].contiguous()
        for beam in (1, 4):
            case[f"beam{beam}"] = search(model, source, beam)
            case[f"beam{beam}_text"] = tokenizer.decode(case[f"beam{beam}"], skip_special_tokens=True)
            assert case[f"beam{beam}"] == search(double, source, beam), f"{directory}: {text}: a tie"
        cases.append(case)
    # The tests take the length limit from the first case; other cases may end sooner.
    assert all(len(cases[0][f"beam{beam}"]) == NEW_TOKENS + 1 for beam in (1, 4)), f"{directory}: first case ends"
    ended = sum(case["beam1"][-1] == model.config.eos_token_id for case in cases)
    (directory / "expected.json").write_text(json.dumps({"cases": cases}, ensure_ascii=False) + "\n")
    save_file(logits, directory / "expected.safetensors")
    return ended


def write_training(model, batches, directory):
    """The gradients of the first step and ten losses of AdamW."""
    optimizer = torch.optim.AdamW(
        trained(model).values(), lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY
    )
    losses = []
    model.train()
    for step in range(STEPS):
        optimizer.zero_grad()
        batch = {key: batches[f"{step}.{key}"] for key in ("input_ids", "attention_mask", "labels")}
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            grads = {name: parameter.grad.clone() for name, parameter in trained(model).items()}
            save_file(grads, directory / "grads.safetensors")
        optimizer.step()
    save_file(batches, directory / "train_batches.safetensors")
    recorded = {"lr": LEARNING_RATE, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY, "losses": losses}
    (directory / "train_losses.json").write_text(json.dumps(recorded) + "\n")


def write_fixture(name, model_class, config_class, specials, kind, seed, vocab_size, d_model, n_heads, **options):
    """One directory."""
    directory = FIXTURES / name
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(specials, kind, vocab_size)
    config = config_class(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=d_model,
        encoder_attention_heads=n_heads,
        decoder_attention_heads=n_heads,
        max_position_embeddings=20,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        **options,
    )
    generator = torch.Generator().manual_seed(seed)
    model = model_class(config).eval()
    randomise(model, generator)
    if config.model_type == "marian":
        model.generation_config.bad_words_ids = [[config.pad_token_id]]
    model.generation_config.max_length = None
    model.save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=20, **names)
    settings = {"model_max_length": 20, "tokenizer_class": wrapped.__class__.__name__, **names}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    ended = write_cases(model, tokenizer, directory)
    write_training(model, training_batches(tokenizer, config.pad_token_id, generator), directory)
    size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"{name}: {config.vocab_size} tokens, {size} bytes, {ended} greedy searches end early")


def main():
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    marian = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    marian_specials = ["<pad>", "</s>", "<unk>"]
    # Target and output tables tied, the source's its own; embeddings not scaled; widths unlike.
    write_fixture(
        "marian-tiny", MarianMTModel, MarianConfig, marian_specials, "unigram", seed=23, vocab_size=64,
        d_model=12, n_heads=3, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=10, decoder_ffn_dim=7,
        activation_function="swish", scale_embedding=False, share_encoder_decoder_embeddings=False, **marian,
    )
    # Three tables.
    write_fixture(
        "marian-untied", MarianMTModel, MarianConfig, marian_specials, "bpe", seed=64, vocab_size=60,
        d_model=10, n_heads=5, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=5, decoder_ffn_dim=9,
        activation_function="gelu", scale_embedding=True, tie_word_embeddings=False, **marian,
    )
    # Pre-norm, one table for all, padding not token 0, the decoder starting from the end token; layers unlike.
    write_fixture(
        "m2m100-tiny", M2M100ForConditionalGeneration, M2M100Config, ["<s>", "<pad>", "</s>", "<unk>"], "unigram",
        seed=51, vocab_size=70, d_model=8, n_heads=2, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=9,
        decoder_ffn_dim=14, activation_function="relu", scale_embedding=True, bos_token_id=0, pad_token_id=1,
        eos_token_id=2, decoder_start_token_id=2,
    )


if __name__ == "__main__":
    main()
