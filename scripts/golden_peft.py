"""Writes the fixtures of adapters of crates/atento/tests/fixtures/conformance: what PEFT computes with adapters on the models
there, whose numbers are random but for none being zero, and ten losses of training them.

Made with peft 0.21.2, loralib 0.1.2, transformers 5.24.0, safetensors 0.8.0, torch 2.15.0 (CPU, one thread):
    python scripts/golden_peft.py              # all of them
    python scripts/golden_peft.py lora-tokens  # those whose names have this in them
"""

import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import loralib
import torch
from peft import IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

FIXTURES = Path(__file__).parent.parent / "crates/atento/tests/fixtures/conformance"
TEXTS = ["a red cat runs", "the dog sees a red hen", "the old hen sees a small fox and a cow"]
LR, STEPS = 1e-2, 10

BERT, GPT2, LLAMA = "bert-labels", "gpt2-tiny", "llama-tiny"
# Masked words, and a model whose output is not its table of tokens.
WORDS, UNTIED = "bert-words", "gpt2-untied"
LABELS, LANGUAGE = "SEQ_CLS", "CAUSAL_LM"
# Encoders of other families, and heads of others.
ROBERTA, DISTILBERT, ELECTRA, MODERN = "roberta-labels", "distilbert-labels", "electra-labels", "modernbert-labels"
TAGS, SPAN, STATES = "bert-tags", "bert-span", "bert"
TASKS = {
    **dict.fromkeys([BERT, ROBERTA, DISTILBERT, ELECTRA, MODERN], LABELS),
    TAGS: "TOKEN_CLS",
    SPAN: "QUESTION_ANS",
    STATES: "FEATURE_EXTRACTION",
    WORDS: None,
}
BERT_TABLES = ["word_embeddings", "position_embeddings", "token_type_embeddings"]
SELF = r".*layer\.1\.attention\.self\.(query|key|value)"
SEVERAL = dict(rank_pattern={"c_attn": 1, r"h\.1\.mlp\.c_proj": 4}, alpha_pattern={"c_attn": 5})

# Base, name, kind, its settings, whether ten losses are recorded.
ADAPTERS = [
    (BERT, "lora-plain", LoraConfig, dict(r=2, lora_alpha=4, target_modules=["query", "value"]), True),
    (BERT, "lora-dora", LoraConfig, dict(r=2, lora_alpha=4, target_modules=SELF, use_dora=True), True),
    (BERT, "lora-bias", LoraConfig, dict(r=2, target_modules=["key", "output.dense"], bias="lora_only"), True),
    (BERT, "lora-all", LoraConfig, dict(r=1, target_modules="all-linear", bias="all", use_rslora=True), False),
    (BERT, "ia3", IA3Config, dict(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]), True),
    (GPT2, "lora-dora", LoraConfig, dict(r=2, target_modules=["c_attn", "c_proj"], use_dora=True, fan_in_fan_out=True), True),
    (BERT, "lora-pissa", LoraConfig, dict(r=2, lora_alpha=3, target_modules=["query", "output.dense"], init_lora_weights="pissa"), True),
    (GPT2, "lora-pissa", LoraConfig, dict(r=2, lora_alpha=3, target_modules=["c_attn", "c_proj"], init_lora_weights="pissa", fan_in_fan_out=True, use_rslora=True), True),
    (GPT2, "lora-ranks", LoraConfig, dict(r=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, **SEVERAL), False),
    (GPT2, "ia3", IA3Config, dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True), True),
    (GPT2, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), True),
    (GPT2, "prefix", PrefixTuningConfig, dict(num_virtual_tokens=3), True),
    (LLAMA, "lora-all", LoraConfig, dict(r=2, target_modules="all-linear", use_dora=True), False),
    (LLAMA, "ia3", IA3Config, dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]), False),
    (LLAMA, "prefix", PrefixTuningConfig, dict(num_virtual_tokens=2), False),
    (UNTIED, "lora-output", LoraConfig, dict(r=2, lora_alpha=3, target_modules=["c_attn", "lm_head"], fan_in_fan_out=True), True),
    (GPT2, "lora-output", LoraConfig, dict(r=2, target_modules=["lm_head"]), True),
    (LLAMA, "lora-output", LoraConfig, dict(r=3, target_modules=["lm_head", "q_proj"], use_dora=True, use_rslora=True), True),
    (WORDS, "lora-output", LoraConfig, dict(r=2, target_modules=["decoder", "query"]), True),
    (UNTIED, "lora-tables", LoraConfig, dict(r=2, target_modules=["wte", "wpe", "c_attn"], fan_in_fan_out=True), True),
    (GPT2, "lora-tables", LoraConfig, dict(r=2, lora_alpha=5, target_modules=["wte"]), True),
    (LLAMA, "lora-tables", LoraConfig, dict(r=2, target_modules=["embed_tokens", "lm_head"], use_rslora=True), True),
    (BERT, "lora-tables", LoraConfig, dict(r=2, lora_alpha=2, target_modules=[*BERT_TABLES, "query"]), True),
    (WORDS, "lora-tables", LoraConfig, dict(r=2, target_modules=["word_embeddings"]), True),
    (LLAMA, "lora-tying", LoraConfig, dict(r=2, target_modules=["embed_tokens"], ensure_weight_tying=True), False),
    (GPT2, "lora-tokens", LoraConfig, dict(r=2, target_modules=["c_attn"], trainable_token_indices=[258, 65, 83, 7], fan_in_fan_out=True), True),
    (UNTIED, "lora-tokens", LoraConfig, dict(r=2, target_modules=["c_proj"], trainable_token_indices={"wte": [258, 262], "lm_head": [83, 84, 3]}, fan_in_fan_out=True), True),
    (BERT, "lora-tokens", LoraConfig, dict(r=2, target_modules=["value"], trainable_token_indices=[25, 0, 3]), True),
    (LLAMA, "lora-tokens", LoraConfig, dict(r=2, target_modules=["v_proj"], trainable_token_indices={"embed_tokens": [261, 257]}), False),
    (BERT, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), True),
    (ROBERTA, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), True),
    # PEFT does not find these in its config.json.
    (DISTILBERT, "prompt", PromptTuningConfig, dict(num_virtual_tokens=2, token_dim=16, num_layers=2, num_attention_heads=4), False),
    # Its embeddings are narrower than its states.
    (ELECTRA, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3, token_dim=12), True),
    (MODERN, "prompt", PromptTuningConfig, dict(num_virtual_tokens=4), False),
    (TAGS, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), False),
    (SPAN, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), False),
    (STATES, "prompt", PromptTuningConfig, dict(num_virtual_tokens=3), False),
]


def base(name, task):
    kinds = {
        LABELS: AutoModelForSequenceClassification,
        LANGUAGE: AutoModelForCausalLM,
        "TOKEN_CLS": AutoModelForTokenClassification,
        "QUESTION_ANS": AutoModelForQuestionAnswering,
        "FEATURE_EXTRACTION": AutoModel,
    }
    kind = kinds.get(task, AutoModelForMaskedLM)
    return kind.from_pretrained(FIXTURES / name, attn_implementation="eager")


def adapted(name, task, kind, settings, seed):
    """The base with the adapter, of which every number is random."""
    torch.manual_seed(seed)
    model = get_peft_model(base(name, task), kind(task_type=task, **settings))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.requires_grad:
                near_one = "magnitude" in key or "ia3_l" in key
                value.copy_(torch.randn(value.shape) * 0.3 + (1.0 if near_one else 0.0))
    return model.eval()


def outputs(found):
    """What a model gives a text: a row, or a row for each token."""
    if "start_logits" in found:
        return torch.stack([found.start_logits[0], found.end_logits[0]], -1)
    return (found.logits if "logits" in found else found.last_hidden_state)[0]


def batches(task, ids):
    """Ten batches of two texts; of a language model all of one length."""
    rows = [ids[(step + k) % len(ids)] for step in range(STEPS) for k in (0, 1)]
    for step in range(STEPS):
        pair = rows[2 * step : 2 * step + 2]
        width = min(map(len, pair)) if task == LANGUAGE else max(map(len, pair))
        table = torch.tensor([(row + [0] * width)[:width] for row in pair])
        if task == LANGUAGE:
            labels = table.clone()
            # A prompt would learn to write the first token, which nothing stands before.
            labels[:, 0] = -100
            yield dict(input_ids=table, labels=labels)
        else:
            mask = torch.tensor([[int(at < len(row)) for at in range(width)] for row in pair])
            labels = torch.tensor([step % 2, 1])
            if task is None:
                # Every third word is to be found.
                wanted = (torch.arange(width) + step) % 3 == 0
                labels = table.where(wanted & (mask == 1), -100)
            yield dict(input_ids=table, attention_mask=mask, token_type_ids=torch.zeros_like(table), labels=labels)


def losses(model, task, ids, directory):
    """Trains, in place."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, weight_decay=0.01)
    tensors, found = {}, []
    for step, batch in enumerate(batches(task, ids)):
        tensors.update({f"{step}.{key}": value.contiguous() for key, value in batch.items()})
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    save_file(tensors, directory / "train_batches.safetensors")
    recorded = dict(lr=LR, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, losses=found)
    (directory / "train_losses.json").write_text(json.dumps(recorded) + "\n")


def write(seed, name, kind_name, kind, settings, trains):
    task = TASKS.get(name, LANGUAGE)
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / name)
    directory = FIXTURES / f"{name}.{kind_name}"
    shutil.rmtree(directory, ignore_errors=True)
    model = adapted(name, task, kind, settings, seed)
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    config = json.loads((directory / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    # Of the 30 positions of the smallest model a prompt leaves 27.
    texts = [text for text in TEXTS if task == LANGUAGE or len(tokenizer(text)["input_ids"]) <= 27]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    cases, tensors = [], {}
    for at, (text, row) in enumerate(zip(texts, ids)):
        with torch.no_grad():
            logits = outputs(model(input_ids=torch.tensor([row])))
        # Of virtual tokens too, which are no part of the text.
        tensors[f"{at}.logits"] = logits if task == LABELS else logits[-len(row) :].contiguous()
        if name == STATES:
            tensors[f"{at}.first"] = logits[0].contiguous()
        cases.append(dict(text=text, input_ids=row) | (dict(states=True) if name == STATES else {}))
    trainable, total = model.get_nb_trainable_parameters()
    expected = dict(base=name, cases=cases, trainable=trainable, all=total)
    (directory / "expected.json").write_text(json.dumps(expected) + "\n")
    save_file(tensors, directory / "expected.safetensors")
    if trains:
        losses(model, task, ids, directory)


def write_combined(seed):
    """Two adapters of one model, and what PEFT makes of them."""
    directory = FIXTURES / f"{GPT2}.combined"
    shutil.rmtree(directory, ignore_errors=True)
    settings = dict(r=2, fan_in_fan_out=True, bias="none")
    one = dict(settings, lora_alpha=4, target_modules=["c_attn"])
    two = dict(settings, lora_alpha=3, target_modules=["c_attn", "c_proj"])
    for name, own in (("one", one), ("two", two)):
        seed += 1
        adapted(GPT2, LANGUAGE, LoraConfig, own, seed).save_pretrained(directory / name)
        (directory / name / "README.md").unlink(missing_ok=True)
        path = directory / name / "adapter_config.json"
        config = json.loads(path.read_text()) | dict(base_model_name_or_path=None)
        config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2) + "\n")
    model = PeftModel.from_pretrained(base(GPT2, LANGUAGE), directory / "one", adapter_name="one")
    model.load_adapter(directory / "two", adapter_name="two")
    tensors = {}
    for kind in ("cat", "svd", "linear", "magnitude_prune", "ties"):
        more = {} if kind in ("cat", "svd", "linear") else dict(density=0.4)
        more |= dict(svd_rank=3) if kind == "svd" else {}
        model.add_weighted_adapter(["one", "two"], [0.7, -0.4], kind, combination_type=kind, **more)
        for path, module in model.base_model.model.named_modules():
            if kind in getattr(module, "lora_A", {}):
                scale = module.scaling[kind]
                tensors[f"{kind}.{path}.A"] = (module.lora_A[kind].weight.detach() * scale).contiguous()
                tensors[f"{kind}.{path}.B"] = module.lora_B[kind].weight.detach().contiguous()
    save_file(tensors, directory / "expected.safetensors")


def write_loralib(seed):
    """A state dict of loralib: queries and values of a fused matrix, and another one whole. PEFT has no part in it."""
    name, alpha = GPT2, 6
    torch.manual_seed(seed)
    model = base(name, LANGUAGE).eval()
    state = {}
    for at, block in enumerate(model.transformer.h):
        width = block.attn.c_attn.weight.shape[0]
        layers = {
            "attn.c_attn": loralib.MergedLinear(width, 3 * width, r=2, lora_alpha=alpha, enable_lora=[True, False, True]),
            "attn.c_proj": loralib.Linear(width, width, r=2, lora_alpha=alpha),
        }
        for path, layer in layers.items():
            layer.lora_A.data = torch.randn(layer.lora_A.shape) * 0.3
            layer.lora_B.data = torch.randn(layer.lora_B.shape) * 0.3
            merged = isinstance(layer, loralib.MergedLinear)
            delta = layer.merge_AB() if merged else layer.lora_B @ layer.lora_A
            # Conv1D stores [inputs, outputs].
            model.get_submodule(f"transformer.h.{at}.{path}").weight.data += (delta * layer.scaling).T.detach()
            own = loralib.lora_state_dict(layer).items()
            state.update({f"transformer.h.{at}.{path}.{key}": value.contiguous() for key, value in own})
    directory = FIXTURES / f"{name}.loralib"
    directory.mkdir(exist_ok=True)
    save_file(state, directory / "state.safetensors")
    row = AutoTokenizer.from_pretrained(FIXTURES / name)(TEXTS[0])["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row])).logits[0]
    save_file({"0.logits": logits.contiguous()}, directory / "expected.safetensors")
    expected = dict(base=name, alpha=alpha, cases=[dict(text=TEXTS[0], input_ids=row)])
    (directory / "expected.json").write_text(json.dumps(expected) + "\n")


def main():
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for seed, adapter in enumerate(ADAPTERS):
        if wanted in f"{adapter[0]}.{adapter[1]}":
            write(100 + seed, *adapter)
    if wanted in f"{GPT2}.loralib":
        write_loralib(200)
    if wanted in f"{GPT2}.combined":
        write_combined(300)


if __name__ == "__main__":
    main()
