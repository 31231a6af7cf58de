"""Training steps of an encoder–decoder of transformers on parallel text: the peer of crates/atento/benches/translation_step.rs.

    python bench/translation_step.py --model DIR --source FILE --target FILE --max-tokens 4096

--model is the Hugging Face directory that the Rust side wrote, so both train the same sizes from the same weights on
the same ids. Pairs are sorted by target and source length before they are cut into batches, which leaves about 3 % of
padding (`padding` in the result); the optimiser is the fused AdamW, and nothing is read back from the graph during the
measured steps. Prints one line of JSON; tokens are real ones, source and target together.
"""

import argparse
import itertools
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForSeq2SeqLM

import common

IGNORED = -100


def load_pairs(args, end_id):
    """Token ids of each pair, both sides ending with the end token; equal pairs once and long ones cut, as in Rust."""
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    sides = [common.read_lines(path) for path in (args.source, args.target)]
    distinct = {(a.strip(), b.strip()): (a, b) for a, b in zip(*sides, strict=True) if a.strip() and b.strip()}
    ids = [[e.ids for e in tokenizer.encode_batch(list(side))] for side in zip(*distinct.values())]
    cut = lambda seq: seq if len(seq) <= args.max_length else [*seq[: args.max_length - 1], end_id]
    return [(cut(a), cut(b)) for a, b in zip(*ids)]


def cut_batches(pairs, budget, rng):
    """Runs of pairs of like length with at most `budget` padded tokens of source and target, in random order."""
    # Sources rise where the target length is even and fall where it is odd, so that no batch meets both ends.
    snake = lambda pair: (len(pair[1]), len(pair[0]) * (-1) ** len(pair[1]))
    order = sorted(rng.sample(pairs, len(pairs)), key=snake)
    batches, batch, longest = [], [], (0, 0)
    for pair in order:
        longer = tuple(max(m, len(side)) for m, side in zip(longest, pair))
        if batch and sum(longer) * (len(batch) + 1) > budget:
            batches.append(batch)
            batch, longer = [], tuple(map(len, pair))
        batch.append(pair)
        longest = longer
    batches.append(batch)
    rng.shuffle(batches)
    return batches


def forever(pairs, budget):
    """Batches of epoch after epoch."""
    rng = random.Random(1)
    return itertools.chain.from_iterable(cut_batches(pairs, budget, rng) for _ in itertools.count())


def tensors(batch, config):
    """Inputs of the model and its labels; the mask is left out where nothing is padded."""
    sources = [torch.tensor(source) for source, _ in batch]
    targets = [torch.tensor(target) for _, target in batch]
    input_ids = pad_sequence(sources, batch_first=True, padding_value=config.pad_token_id)
    labels = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
    shifted = [torch.cat([torch.tensor([config.decoder_start_token_id]), target[:-1]]) for target in targets]
    # Right padding needs no mask in the decoder: no real position sees it, and its labels are ignored.
    decoder_input_ids = pad_sequence(shifted, batch_first=True, padding_value=config.pad_token_id)
    padded = input_ids.numel() != sum(map(len, sources))
    mask = (input_ids != config.pad_token_id).long() if padded else None
    return {"input_ids": input_ids, "attention_mask": mask, "decoder_input_ids": decoder_input_ids}, labels


def step(model, optimizer, batch, args):
    """One update; returns the loss as a tensor."""
    inputs, labels = tensors(batch, model.config)
    optimizer.zero_grad(set_to_none=True)
    logits = model(**inputs, use_cache=False).logits.flatten(0, 1)
    loss = F.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, label_smoothing=args.label_smoothing)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_norm)
    optimizer.step()
    return loss.detach()


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="Hugging Face directory of an encoder–decoder with tokenizer.json")
    parser.add_argument("--source", required=True, help="source sentences, one on each line, plain or .gz")
    parser.add_argument("--target", required=True, help="target sentences")
    parser.add_argument("--max-tokens", type=int, default=4096, help="tokens of a batch on each side, on average")
    parser.add_argument("--max-length", type=int, default=100)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--clip-norm", type=float, default=1.0)
    parser.add_argument("--attention", choices=["sdpa", "eager"], help="the faster one for the model's dropout if left out")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(args.model)
    # On a CPU, PyTorch's fused attention has no dropout: with it, it falls back to a slower copy of the eager one.
    attention = args.attention or ("eager" if config.attention_dropout > 0 else "sdpa")
    model = AutoModelForSeq2SeqLM.from_pretrained(args.model, attn_implementation=attention).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.01, fused=True
    )
    pairs = load_pairs(args, model.config.eos_token_id)
    batches = forever(pairs, 2 * args.max_tokens)
    warmup = [step(model, optimizer, batch, args) for batch in itertools.islice(batches, args.warmup)]
    real = padded = 0
    start = time.perf_counter()
    for batch in itertools.islice(batches, args.steps):
        loss = step(model, optimizer, batch, args)
        real += sum(len(side) for pair in batch for side in pair)
        padded += sum(len(batch) * max(len(pair[side]) for pair in batch) for side in (0, 1))
    seconds = time.perf_counter() - start
    common.emit(
        tokens_per_second=real / seconds,
        ms=seconds / args.steps * 1e3,
        tokens_per_batch=real / args.steps,
        padding=1 - real / padded,
        pairs=len(pairs),
        data_tokens=sum(len(side) for pair in pairs for side in pair),
        parameters=sum(p.numel() for p in model.parameters() if p.grad is not None),
        first_loss=warmup[0].item(),
        last_loss=loss.item(),
        peak_rss_mb=common.peak_rss_mb(),
        attention=attention,
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
