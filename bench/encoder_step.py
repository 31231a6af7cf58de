"""Training steps of transformers' BERT-base from random weights: the peer of crates/atento/benches/encoder_step.rs.

    python bench/encoder_step.py --kind pretrain --batch 16 --seq-len 128 --steps 10
    python bench/encoder_step.py --kind classify --data FILE.tsv --tokenizer DIR --batch 32 --steps 10

`pretrain` is `BertForPreTraining` on one repeated batch of random tokens, 15 % of them chosen. `classify` is
`BertForSequenceClassification` on the first sentences of a file, each batch padded to its longest; with --order length
the measured sentences are sorted by length first, which pads less. A step is forward, backward, clipping and the fused
AdamW; biases and norms do not decay. Prints one line of JSON.
"""

import argparse
import statistics
import time

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

import common

WARMUP = 3
LONGEST = 128
IGNORED = -100


def masked(args, vocab_size):
    """A batch of texts of two halves, with the words to be found and whether the second half follows."""
    ids = torch.randint(1, vocab_size, (args.batch, args.seq_len))
    types = (torch.arange(args.seq_len) >= args.seq_len // 2).long().expand(args.batch, -1)
    chosen = round(0.15 * args.seq_len)
    columns = torch.arange(chosen) * args.seq_len // chosen
    labels = torch.full_like(ids, IGNORED)
    labels[:, columns] = torch.randint(vocab_size, (args.batch, chosen))
    next_sentence = torch.randint(2, (args.batch,))
    return {"input_ids": ids, "token_type_ids": types, "labels": labels, "next_sentence_label": next_sentence}


def sentences(args):
    """Padded batches: those that warm up, then those measured, in the order of the file or by length."""
    tokenizer = Tokenizer.from_file(f"{args.tokenizer}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    lines = [line.split("\t") for line in common.read_lines(args.data)[: (WARMUP + args.steps) * args.batch]]
    assert len(lines) == (WARMUP + args.steps) * args.batch, "--data has too few sentences"
    encoded = tokenizer.encode_batch([text for text, _ in lines])
    examples = [(torch.tensor(e.ids), int(label)) for e, (_, label) in zip(encoded, lines)]
    first = WARMUP * args.batch
    if args.order == "length":
        examples[first:] = sorted(examples[first:], key=lambda example: len(example[0]))

    def collate(examples):
        ids = pad_sequence([ids for ids, _ in examples], batch_first=True)
        mask = pad_sequence([torch.ones_like(ids) for ids, _ in examples], batch_first=True)
        # Where nothing is padded no mask is needed.
        mask = None if bool(mask.all()) else mask
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([label for _, label in examples])}

    return [collate(examples[i : i + args.batch]) for i in range(0, len(examples), args.batch)]


def tokens_of(batch):
    """The tokens of a batch that are no padding."""
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None else mask.sum().item()


def optimizer_of(model):
    """The fused AdamW; biases and norms do not decay."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    spared = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=2e-5, betas=(0.9, 0.999), eps=1e-8, fused=True)


def step(model, optimizer, batch):
    """One update; returns the loss as a tensor."""
    optimizer.zero_grad(set_to_none=True)
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=["pretrain", "classify"], default="pretrain")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--data", help="lines of sentence TAB label")
    parser.add_argument("--tokenizer", help="a directory with tokenizer.json")
    parser.add_argument("--order", choices=["file", "length"], default="file")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    args = parse_args()
    threads = common.use_threads(args.threads)
    rss_before = common.peak_rss_mb()
    torch.manual_seed(1)
    config = BertConfig(attn_implementation=args.attention)
    if args.kind == "pretrain":
        model, batches = BertForPreTraining(config), [masked(args, config.vocab_size)]
    else:
        model, batches = BertForSequenceClassification(config), sentences(args)
    model.train()
    optimizer = optimizer_of(model)
    losses, times = [], []
    for number in range(WARMUP + args.steps):
        batch = batches[number % len(batches)]
        start = time.perf_counter()
        losses.append(step(model, optimizer, batch))
        times.append(time.perf_counter() - start)
    measured = [batches[n % len(batches)] for n in range(WARMUP, WARMUP + args.steps)]
    padded = sum(batch["input_ids"].numel() for batch in measured)
    real = sum(tokens_of(batch) for batch in measured)
    # Batches of texts differ, so their mean counts.
    seconds = (statistics.median if args.kind == "pretrain" else statistics.mean)(times[WARMUP:])
    common.emit(
        ms=seconds * 1e3,
        texts_per_second=args.batch / seconds,
        tokens_per_step=real / args.steps,
        padding=1 - real / padded,
        peak_rss_mb=common.peak_rss_mb(),
        import_rss_mb=rss_before,
        parameters=sum(p.numel() for p in model.parameters()),
        first_loss=losses[0].item(),
        last_loss=losses[-1].item(),
        attention=args.attention,
        order=args.order,
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
