"""Records what transformers makes of sentences that are split into words already, for crates/atento/src/text/words.rs.

The tokenizers are those of crates/atento/tests/fixtures/tokenizers, made by golden_tokenizers.py.

    pip install transformers==5.24.0 sentencepiece==0.2.3 protobuf
    python scripts/golden_words.py             # writes crates/atento/tests/fixtures/tokenizer_words
"""

import json
from pathlib import Path

from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "crates/atento/tests/fixtures"
KINDS = ["bert", "roberta", "gpt2", "deberta", "xlm-roberta"]
SENTENCES = [
    ["The", "man", "climbed", "over", "the", "house", "."],
    ["don't", "naïve", "café", "Größe", "3.14", "U.S.", "(what)"],
    ["日本語", "東京は日本", "🎉", "привет"],
    ["the", "\u200b", "dog", "[MASK]", "<mask>", "▁", " spaced", "two words", "end"],
    ["x"],
]


def main():
    found = {}
    for kind in KINDS:
        options = {"add_prefix_space": True} if kind in ("roberta", "gpt2") else {}
        tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / kind, **options)
        found[kind] = []
        for words in SENTENCES:
            for limit in (6, 100):
                cut = {"truncation": True, "max_length": limit}
                encoding = tokenizer(words, is_split_into_words=True, **cut).encodings[0]
                found[kind].append({
                    "words": words,
                    "limit": limit,
                    "ids": encoding.ids,
                    "word_ids": encoding.word_ids,
                    "special": [mask == 1 for mask in encoding.special_tokens_mask],
                })
    out = FIXTURES / "tokenizer_words"
    out.mkdir(exist_ok=True)
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace('{"words"', '\n{"words"')
    (out / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
