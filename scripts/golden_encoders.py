"""Writes the fixtures of models with heads of crates/atento/tests/fixtures/conformance: encoders, and decoders with the
heads that golden_gpt2.py does not write.

Each is a small random model in Hugging Face's format with what `transformers` computes for it: states of every layer and
logits of texts and of pairs of texts; the likeliest words of masked tokens; the logits of choices; of the pre-training of
BERT and ModernBERT the gradient of every parameter and ten losses of AdamW. Biases and norms are moved off 0 and 1, so that a dropped
bias or a swapped norm shows. Words that are not far apart in probability are refused, so that no order hangs on rounding.

Made with transformers 5.24.0, tokenizers 0.23.3, safetensors 0.8.0, torch 2.15.0 (CPU, one thread):
    python scripts/golden_encoders.py
"""

import json
import logging
import pathlib

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/atento/tests/fixtures/conformance"

TEXTS = ["The red cat sees a dog.", "Naïve café ☃!", "x"]
PAIRS = [("Who sees a dog?", "The red cat sees a dog."), ("x", "Two dogs run."), ("A dog?", "naïve café")]
CHOICES = ("Who runs?", ["Two dogs run.", "The red cat sees a dog.", "x"])
POSITIONS = 32
BATCH, LENGTH, STEPS = 3, 12, 10
LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY = 1e-3, (0.9, 0.999), 1e-8, 0.01


def corpus():
    """What tokenizers are trained on; the snowman is a character that they do not know."""
    texts = TEXTS + [text for pair in PAIRS for text in pair] + [CHOICES[0], *CHOICES[1]]
    return [text.replace("☃", "") for text in texts] * 3


def word_pieces():
    """BERT's tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=70, special_tokens=special, show_progress=False)
    )
    # The trainer gives pieces of one frequency numbers that differ from run to run.
    pieces = sorted(set(tokenizer.get_vocab()) - set(special))
    vocab = {piece: number for number, piece in enumerate(special + pieces)}
    tokenizer.model = models.WordPiece(vocab, unk_token="[UNK]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=POSITIONS, model_input_names=inputs, **names
    )


def word_pieces_without_types():
    """The same for models that do not tell two texts apart."""
    tokenizer = word_pieces()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


ROBERTA_NAMES = dict(
    bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>", sep_token="</s>", unk_token="<unk>"
)


def byte_pairs():
    """RoBERTa's tokenizer, with the bytes of its texts only."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return with_mask(tokenizer)


def unigrams():
    """XLM-RoBERTa's tokenizer."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    text = "".join(corpus())
    pieces = sorted({"▁", *text.replace(" ", "")}) + ["▁The", "▁red", "▁cat", "▁sees", "▁dog", "▁a", "▁run", "▁x"]
    vocab = [(piece, 0.0) for piece in special] + [(piece, -2.0 - n / 50) for n, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return with_mask(tokenizer)


def with_mask(tokenizer):
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    mask = hf.AddedToken("<mask>", lstrip=True, special=True)
    inputs = ["input_ids", "attention_mask"]
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS - 2,
        model_input_names=inputs,
        mask_token=mask,
        **ROBERTA_NAMES,
    )


def gpt2_bytes():
    """A decoder's tokenizer, which adds no tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(corpus() + ["☃"], trainer)
    end = "<|endoftext|>"
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=POSITIONS, eos_token=end, bos_token=end, pad_token=end
    )


BERT = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=12,
    max_position_embeddings=POSITIONS,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    attn_implementation="eager",
)
ROBERTA = dict(BERT, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)
DISTILBERT = dict(
    dim=16,
    n_layers=2,
    n_heads=4,
    hidden_dim=12,
    max_position_embeddings=POSITIONS,
    dropout=0.0,
    attention_dropout=0.0,
    seq_classif_dropout=0.0,
    attn_implementation="eager",
)
MODERNBERT = dict(
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=12,
    max_position_embeddings=POSITIONS,
    local_attention=4,
    pad_token_id=0,
    bos_token_id=2,
    cls_token_id=2,
    eos_token_id=3,
    sep_token_id=3,
    attn_implementation="eager",
)
# All that the defaults leave out, and values that differ from them.
MODERNBERT_ALL = dict(
    MODERNBERT,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    rope_parameters={
        "full_attention": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
    local_attention=7,
    norm_eps=1e-3,
    norm_bias=True,
    attention_bias=True,
    mlp_bias=True,
    classifier_bias=True,
    classifier_pooling="mean",
    classifier_activation="silu",
    hidden_activation="gelu_pytorch_tanh",
    decoder_bias=False,
    tie_word_embeddings=False,
)
ELECTRA = dict(BERT, embedding_size=12, summary_last_dropout=0.0)
GPT2 = dict(
    n_embd=16, n_layer=2, n_head=4, n_inner=12, n_positions=POSITIONS, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
)
LLAMA = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=12,
    max_position_embeddings=POSITIONS,
    attn_implementation="eager",
)
GPT2_IDS = dict(pad_token_id=0, bos_token_id=0, eos_token_id=0)

COLOURS = ["red", "green", "blue"]
TAGS = ["O", "B-WHO", "I-WHO", "B-WHAT"]

# Name, seed, tokenizer, configuration, class, sizes, labels.
MODELS = [
    ("bert", 31, word_pieces, hf.BertConfig, hf.BertForPreTraining, BERT, None),
    ("bert-labels", 32, word_pieces, hf.BertConfig, hf.BertForSequenceClassification, BERT, COLOURS),
    ("bert-tags", 33, word_pieces, hf.BertConfig, hf.BertForTokenClassification, BERT, TAGS),
    ("bert-span", 34, word_pieces, hf.BertConfig, hf.BertForQuestionAnswering, BERT, None),
    ("bert-choice", 35, word_pieces, hf.BertConfig, hf.BertForMultipleChoice, BERT, None),
    ("bert-words", 36, word_pieces, hf.BertConfig, hf.BertForMaskedLM, BERT, None),
    ("bert-legacy", 37, word_pieces, hf.BertConfig, hf.BertModel, BERT, None),
    ("roberta-labels", 41, byte_pairs, hf.RobertaConfig, hf.RobertaForSequenceClassification, ROBERTA, COLOURS),
    ("roberta-words", 42, byte_pairs, hf.RobertaConfig, hf.RobertaForMaskedLM, ROBERTA, None),
    ("xlm-roberta-words", 43, unigrams, hf.XLMRobertaConfig, hf.XLMRobertaForMaskedLM, ROBERTA, None),
    (
        "distilbert-labels",
        44,
        word_pieces,
        hf.DistilBertConfig,
        hf.DistilBertForSequenceClassification,
        DISTILBERT,
        COLOURS,
    ),
    ("electra-labels", 45, word_pieces, hf.ElectraConfig, hf.ElectraForSequenceClassification, ELECTRA, COLOURS),
    ("electra-words", 46, word_pieces, hf.ElectraConfig, hf.ElectraForMaskedLM, ELECTRA, None),
    (
        "modernbert-words",
        61,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForMaskedLM,
        MODERNBERT,
        None,
    ),
    (
        "modernbert-untied",
        62,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForMaskedLM,
        MODERNBERT_ALL,
        None,
    ),
    (
        "modernbert-labels",
        63,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForSequenceClassification,
        MODERNBERT_ALL,
        COLOURS,
    ),
    (
        "modernbert-tags",
        64,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForTokenClassification,
        MODERNBERT,
        TAGS,
    ),
    (
        "modernbert-span",
        65,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForQuestionAnswering,
        MODERNBERT_ALL,
        None,
    ),
    (
        "modernbert-choice",
        66,
        word_pieces_without_types,
        hf.ModernBertConfig,
        hf.ModernBertForMultipleChoice,
        MODERNBERT,
        None,
    ),
    ("gpt2-tags", 51, gpt2_bytes, hf.GPT2Config, hf.GPT2ForTokenClassification, {**GPT2, **GPT2_IDS}, TAGS),
    ("llama-tags", 52, gpt2_bytes, hf.LlamaConfig, hf.LlamaForTokenClassification, {**LLAMA, **GPT2_IDS}, TAGS),
    ("llama-span", 53, gpt2_bytes, hf.LlamaConfig, hf.LlamaForQuestionAnswering, {**LLAMA, **GPT2_IDS}, None),
]


def randomise(model, generator):
    """Draws every parameter, none of them where initialisation would leave it."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm = any(part in name.lower() for part in ("norm", "ln_")) and name.endswith("weight")
        if is_norm:
            parameter.data = 1.0 + 0.3 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.3 * noise
        else:
            parameter.data = 0.4 * noise


def encoded(tokenizer, *texts):
    return tokenizer(*texts, return_tensors="pt")


def of_texts(model, tokenizer, texts):
    """Texts with their ids, and what the model gives them; of masked tokens, the likeliest words."""
    cases, tensors = [], {}
    for number, text in enumerate(texts):
        inputs = encoded(tokenizer, text)
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        tensors[f"{number}.hidden"] = torch.stack([state[0] for state in out.hidden_states])
        logits = out.get("logits", out.get("prediction_logits"))
        if logits is not None:
            tensors[f"{number}.logits"] = logits[0].contiguous()
        if "seq_relationship_logits" in out:
            tensors[f"{number}.nsp"] = out.seq_relationship_logits[0]
        if "pooler_output" in out:
            tensors[f"{number}.pooled"] = out.pooler_output[0]
        ids = inputs["input_ids"][0].tolist()
        case = {"text": text, "input_ids": ids}
        if tokenizer.mask_token and tokenizer.mask_token in text:
            at = [row for row, token in enumerate(ids) if token == tokenizer.mask_token_id]
            case["masks"] = [words(tokenizer, logits[0, row], text) for row in at]
        cases.append(case)
    return cases, tensors


def words(tokenizer, logits, text):
    """The five likeliest."""
    found = torch.softmax(logits.double(), 0).topk(6)
    gaps = found.values[:-1] - found.values[1:]
    assert gaps.min() > 1e-5, f"the order of words of {text!r} hangs on rounding: choose another seed"
    best = zip(found.indices.tolist()[:5], found.values.tolist()[:5])
    return [{"id": n, "token": tokenizer.convert_ids_to_tokens(n), "prob": p} for n, p in best]


def of_pairs(model, tokenizer):
    cases, tensors = [], {}
    for number, (a, b) in enumerate(PAIRS):
        inputs = encoded(tokenizer, a, b)
        with torch.no_grad():
            out = model(**inputs)
        for key in ("logits", "start_logits", "end_logits"):
            if key in out:
                tensors[f"{number}.{key}"] = out[key][0].contiguous()
        cases.append({"a": a, "b": b, "input_ids": inputs["input_ids"][0].tolist()})
    return cases, tensors


def of_choices(model, tokenizer):
    prompt, choices = CHOICES
    inputs = tokenizer([prompt] * len(choices), choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**{key: value[None] for key, value in inputs.items()}).logits[0]
    return {"prompt": prompt, "choices": choices, "logits": logits.tolist()}


def train(model, generator, in_pairs):
    """Batches of pre-training, padded, with the losses of ten steps and the gradients of the first one."""
    batches, losses, gradients = {}, [], {}
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY
    )
    for step in range(STEPS):
        ids = torch.randint(5, model.config.vocab_size, (BATCH, LENGTH), generator=generator)
        lengths = torch.tensor([LENGTH, LENGTH - 3, LENGTH - step % 5])
        mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
        types = (torch.arange(LENGTH)[None] >= torch.tensor([[5], [4], [6]])).long() * mask
        is_masked = (torch.rand(BATCH, LENGTH, generator=generator) < 0.3) & (mask == 1)
        is_masked[:, 2] = True
        labels = torch.where(is_masked, ids, -100)
        batch = {
            "input_ids": torch.where(is_masked, 4, ids) * mask,
            "attention_mask": mask,
            "labels": labels,
        }
        if in_pairs:
            batch["token_type_ids"] = types
            batch["next_sentence_label"] = torch.tensor([step % 2, 1, 0])
        batches.update({f"{step}.{key}": value for key, value in batch.items()})
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    return batches, gradients, losses


def make_legacy(directory):
    """Names as BERT's first files had them."""
    weights = load_file(directory / "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    assert any(name.startswith("embeddings.LayerNorm.gamma") for name in renamed)
    save_file(renamed, directory / "model.safetensors", metadata={"format": "pt"})


def write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_compact(path):
    """Writes a JSON file anew, without white space."""
    write_json(path, json.loads(path.read_text()))


def write(name, seed, make_tokenizer, make_config, make_model, sizes, labels):
    directory = FIXTURES / name
    directory.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    tokenizer = make_tokenizer()
    named = {}
    if labels:
        named = dict(id2label=dict(enumerate(labels)), label2id={label: n for n, label in enumerate(labels)})
    model = make_model(make_config(vocab_size=len(tokenizer), **sizes, **named)).eval()
    randomise(model, generator)
    model.tie_weights()
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(directory)
    write_compact(directory / "tokenizer.json")
    class_name = make_model.__name__
    if class_name.endswith("MultipleChoice"):
        write_json(directory / "expected.json", of_choices(model, tokenizer))
        return
    if class_name.endswith(("QuestionAnswering", "SequenceClassification")):
        cases, tensors = of_pairs(model, tokenizer)
        write_json(directory / "expected_pairs.json", {"cases": cases})
        save_file(tensors, directory / "expected_pairs.safetensors")
    if class_name.endswith("QuestionAnswering"):
        return
    mask = tokenizer.mask_token
    is_of_words = class_name.endswith("MaskedLM")
    texts = [f"The {mask} cat sees a dog.", f"{mask} dogs {mask}", "Naïve ☃"] if is_of_words else TEXTS
    cases, tensors = of_texts(model, tokenizer, texts)
    save_file(tensors, directory / "expected.safetensors")
    write_json(directory / "expected.json", {"cases": cases})
    in_pairs = class_name.endswith("PreTraining")
    if in_pairs or class_name == "ModernBertForMaskedLM":
        batches, gradients, losses = train(model, generator, in_pairs)
        save_file(batches, directory / "train_batches.safetensors")
        save_file(gradients, directory / "grads.safetensors")
        options = {"lr": LEARNING_RATE, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}
        write_json(directory / "train_losses.json", {**options, "losses": losses})
    if class_name == "BertModel":
        make_legacy(directory)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in MODELS:
        write(*model)
