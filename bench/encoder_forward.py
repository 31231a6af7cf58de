"""The forward pass of an encoder of transformers with random weights: the peer of crates/atento/benches/encoder_forward.rs.

    python bench/encoder_forward.py --model bert-base --batch 16 --seq-len 128 --repeat 10

No text is padded, so no mask is given. Prints the median time of a pass after two that warm up, as one line of JSON.
"""

import argparse
import statistics
import time

import torch
from transformers import BertConfig, BertModel, DebertaV2Config, DebertaV2Model

import common


def build(name):
    """The encoder without a pooler."""
    if name == "bert-base":
        return BertModel(BertConfig(attn_implementation="sdpa"), add_pooling_layer=False)
    config = DebertaV2Config(
        vocab_size=128_100,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        type_vocab_size=0,
        relative_attention=True,
        max_relative_positions=-1,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        layer_norm_eps=1e-7,
    )
    return DebertaV2Model(config)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=["bert-base", "deberta-v3-base"], default="bert-base")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    threads = common.use_threads(args.threads)
    rss_before = common.peak_rss_mb()
    torch.manual_seed(1)
    model = build(args.model).eval()
    ids = torch.randint(model.config.vocab_size, (args.batch, args.seq_len))
    times = []
    for _ in range(args.repeat + 2):
        start = time.perf_counter()
        states = model(input_ids=ids).last_hidden_state
        assert torch.isfinite(states).all(), "a state is not a number"
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[2:])
    common.emit(
        ms=seconds * 1e3,
        tokens_per_second=ids.numel() / seconds,
        peak_rss_mb=common.peak_rss_mb(),
        import_rss_mb=rss_before,
        parameters=sum(p.numel() for p in model.parameters()),
        threads=threads,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
