"""Makes small tokenizers of every kind of file and records what transformers makes of texts with them, for
crates/atento/src/text.

Each directory holds the files of a tokenizer that has no tokenizer.json, and expected.json: the ids and character offsets
of texts, pairs that are cut to a length, and the windows of a question and a context. The normalisation of the
SentencePiece models has a few rules only, so that the files stay small.

    pip install torch==2.15.0 transformers==5.23.0 sentencepiece==0.2.3 protobuf==7.36.2
    python scripts/golden_tokenizers.py        # writes crates/atento/tests/fixtures/tokenizers
    python scripts/golden_tokenizers.py DIR N  # writes there instead, with the usual normalisation and N random texts more
"""

import io
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

OUT = Path(__file__).parent.parent / "crates/atento/tests/fixtures/tokenizers"
WORDS = (
    "the a man dog cat house running quickly over under small big red naïve café straße über schön été привет мир 日本 東京 "
    "こんにちは don't it's 12.50 1,000 hello world question answer who what where context river bank translation model token "
    "Größe llamas kitten climbed bookshelf field snowy bark"
).split()
PARTS = "ha us en ing th e schön a st ver lo mi ra ö ß qu x z k".split()
# A few rules in the manner of nmt_nfkc: code points before the tab become those after it.
RULES = "FF21\t41\nFB01\t66 69\n65 301\tE9\n9\t20\nA\t20\n3000\t20\nAD\t\n200B\t\n2026\t2E 2E 2E\n"
TEXTS = [
    "",
    " ",
    "Hello world.",
    "  two  spaces,   three and a tail   ",
    "\n\nlines\r\nand\ttabs \n",
    "the cats' dogs don't, I'll say we've",
    "1234567890 3.14159 1,000,000 12.50 €",
    "naïve café — été cafe\u0301 Größe STRASSE Straße",
    "👩‍👩‍👧 emoji 🎉🎉 ½ ﬁeld Ａ…",
    "日本語 東京は日本 hello世界 こんにちは",
    "العربية нет привет мир Привет",
    "a\u0000b\u0085c\u00a0d\ufeffe\u200bf\u00adg\u001bh\ufffd",
    "x" * 120 + " " + "running" * 20,
    "<s>the</s> <pad> <unk> <mask> [MASK] [CLS] [SEP] [UNK] hello",
    "the [MASK] ran, the   <mask>   ran",
    "▁the ▁ ▁▁house __ ##ing",
    "what?!who...(context)--[x]<sep>[x] <sep>the",
    "İstanbul ǅ ΑΣ ß ſ",
    "\u3000full\u2003width\u2028lines",
    "<x>one<y> <x> two<extra_id_0>",
]
PAIRS = [
    ("Hello world.", "The cat climbed over the house."),
    ("who climbed the bookshelf quickly under the snowy field?", "a man"),
    ("naïve café été", "日本 東京 hello🎉 cafe\u0301 Größe"),
    ("", "the river bank"),
    ("the river bank", ""),
    (" the  dog ", " it's   running"),
]
# Tokenizers of which fewer pairs are recorded: their post-processors are those of others.
FEW_PAIRS = ("distilbert", "electra", "deberta-punct", "llama", "mistral", "llama-unigram")
CONTEXT = "The man climbed over the house. " * 2 + "A small dog 日本 was running under the été field, the naïve café 🎉. Big!"


def corpus(rng):
    made = ["".join(rng.choice(PARTS) for _ in range(rng.randint(2, 4))) for _ in range(150)]
    words = WORDS + made
    lines = [" ".join(rng.choice(words) for _ in range(rng.randint(3, 12))) + rng.choice([".", "!", "?", ""]) for _ in range(900)]
    return [line[0].upper() + line[1:] for line in lines]


def sentence_piece(path, lines, small, **options):
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write(RULES)
        rules.flush()
        if small and "normalization_rule_name" not in options:
            options["normalization_rule_tsv"] = rules.name
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, minloglevel=2, num_threads=1, **options
        )
    path.write_bytes(model.getvalue())


def make(root, lines, small):
    """The files of every tokenizer; a directory each."""

    def directory(name, **files):
        (root / name).mkdir(parents=True)
        for file, content in files.items():
            (root / name / f"{file}.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")
        return root / name

    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    added = {"__type": "AddedToken", **mask}

    bert = directory("bert", config={"model_type": "bert"})
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False))
    vocab = sorted(pieces.get_vocab().items(), key=lambda item: item[1])
    (bert / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in vocab))
    cased = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False, "do_basic_tokenize": True}
    cased = {**cased, "tokenizer_class": "DistilBertTokenizer", "mask_token": {**added, "content": "[MASK]"}}
    distilbert = directory("distilbert", config={"model_type": "distilbert"}, tokenizer_config=cased)
    shutil.copy(bert / "vocab.txt", distilbert)
    electra = directory("electra", config={"model_type": "electra"}, added_tokens={"<x>": len(vocab), "<y>": len(vocab) + 1})
    shutil.copy(bert / "vocab.txt", electra)

    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    pairs.train_from_iterator(lines, trainer)
    roberta = directory("roberta", config={"model_type": "roberta"}, special_tokens_map={"mask_token": mask})
    prefix = {"add_prefix_space": True, "trim_offsets": False}
    others = [
        directory("roberta-prefix", config={"model_type": "roberta"}, tokenizer_config=prefix),
        directory("gpt2", config={"model_type": "gpt2"}, tokenizer_config={"add_bos_token": True}),
    ]
    pairs.model.save(str(roberta))
    for other in others:
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(roberta / file, other)

    cased = {"do_lower_case": False, "vocab_type": "spm"}
    added_tokens = {"[MASK]": 200, "<x>": 201}
    deberta = directory("deberta", config={"model_type": "deberta-v2"}, tokenizer_config=cased, added_tokens=added_tokens)
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    sentence_piece(deberta / "spm.model", lines, small, vocab_size=200, character_coverage=0.98, **ids, **names)
    lower = {"do_lower_case": True, "split_by_punct": True, "tokenizer_class": "DebertaV2TokenizerFast"}
    punctuation = directory("deberta-punct", tokenizer_config=lower)
    shutil.copy(deberta / "spm.model", punctuation)

    xlm = directory("xlm-roberta", config={"model_type": "xlm-roberta"}, tokenizer_config={"mask_token": added})
    sentence_piece(xlm / "sentencepiece.bpe.model", lines, small, vocab_size=200, character_coverage=0.99)
    t5 = directory("t5", config={"model_type": "t5"}, tokenizer_config={"extra_ids": 5})
    sentence_piece(t5 / "spiece.model", lines, small, vocab_size=200, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)

    bpe = {"model_type": "bpe", "byte_fallback": True, "character_coverage": 0.99, "vocab_size": 450}
    bpe = {**bpe, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    bpe = {**bpe, "user_defined_symbols": ["<sep>", "[x]"]}
    begin = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False}
    llama = directory("llama", config={"model_type": "llama"}, tokenizer_config=begin)
    sentence_piece(llama / "tokenizer.model", lines, small, **bpe)
    borrowed = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True}
    mistral = directory("mistral", config={"model_type": "mistral"}, tokenizer_config=borrowed)
    shutil.copy(llama / "tokenizer.model", mistral)
    unigram = directory("llama-unigram", config={"model_type": "llama"})
    options = {"vocab_size": 450, "byte_fallback": True, "character_coverage": 0.98}
    sentence_piece(unigram / "tokenizer.model", lines, small, **options)


def make_marian(directory, lines, small):
    """source.spm of lines in ASCII, target.spm of all, vocab.json with the pieces of both."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "marian"}) + "\n")
    latin = [" ".join(word for word in line.split() if word.isascii()) for line in lines]
    sentence_piece(directory / "source.spm", latin, small, vocab_size=150)
    sentence_piece(directory / "target.spm", lines, small, vocab_size=180)
    sides = [sentencepiece.SentencePieceProcessor(model_file=str(directory / name)) for name in ("source.spm", "target.spm")]
    pieces = {side.id_to_piece(i) for side in sides for i in range(3, side.get_piece_size())}
    vocab = ["</s>", "<unk>", ">>deu<<", *sorted(pieces), "\U0001f389", "<pad>"]
    ids = {piece: i for i, piece in enumerate(vocab)}
    (directory / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False) + "\n")


def expected_of_marian(tokenizer, texts):
    texts = [*texts, ">>deu<< hello world", "🎉", "a 🎉🎉", "ß", "straßen"]
    found = []
    for text in texts:
        source, target = tokenizer(text).input_ids, tokenizer(text_target=text).input_ids
        decoded = tokenizer.decode(target, skip_special_tokens=True)
        found.append({"text": text, "source": source, "target": target, "decoded": decoded})
    return {"texts": found}


def recorded(encoding):
    return {
        "ids": encoding.ids,
        "type_ids": encoding.type_ids,
        "word_ids": encoding.word_ids,
        "sequence_ids": encoding.sequence_ids,
        "offsets": encoding.offsets,
        "special": encoding.special_tokens_mask,
    }


def expected(name, tokenizer, texts, rng, more):
    few = more == 0 and name in FEW_PAIRS
    found = {"texts": [], "pairs": [], "windows": []}
    for text in texts:
        encoding = tokenizer(text).encodings[0]
        decoded = tokenizer.backend_tokenizer.decode(encoding.ids, skip_special_tokens=True)
        found["texts"].append({"text": text, "ids": encoding.ids, "offsets": encoding.offsets, "decoded": decoded})
    pairs = PAIRS[: 2 if few else None] + [(rng.choice(texts), rng.choice(texts)) for _ in range(more)]
    for a, b in pairs:
        for truncation in ("longest_first", "only_first", "only_second"):
            limit = rng.choice([None, 4, 7, 8, 11, 16])
            cut = {"truncation": truncation, "max_length": limit} if limit else {}
            case = {"a": a, "b": b, "limit": limit, "truncation": truncation}
            try:
                # Lists, since an empty second text alone would be taken for none.
                case |= recorded(tokenizer([a], [b], **cut).encodings[0])
            except Exception:
                pass
            found["pairs"].append(case)
    contexts = [CONTEXT] + [" ".join(rng.choices(texts, k=8)) for _ in range(more // 4)]
    for context in contexts:
        for max_length, stride in ((24, 5), (40, 0), (500, 10), (18, 3))[: 2 if few else None]:
            question = rng.choice(["who was running?", "where", "a"])
            cut = {"truncation": "only_second", "max_length": max_length, "stride": stride}
            case = {"question": question, "context": context, "max_length": max_length, "stride": stride}
            try:
                windows = tokenizer(question, context, return_overflowing_tokens=True, **cut).encodings
            except BaseException:
                continue
            encodings = [recorded(window) for window in windows]
            # Windows after the first keep type 1 where the post-processor gives type 0 to both texts: not meant so.
            types = dict(zip(encodings[0]["sequence_ids"], encodings[0]["type_ids"]))
            for window in encodings[1:]:
                texts_of = zip(window["sequence_ids"], window["type_ids"])
                window["type_ids"] = [type_id if text is None else types[text] for text, type_id in texts_of]
            found["windows"].append(case | {"encodings": encodings})
    return found


def main():
    out, more = (Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (OUT, 0)
    shutil.rmtree(out, ignore_errors=True)
    rng = random.Random(1)
    lines = corpus(rng)
    make(out, lines, small=more == 0)
    characters = "".join(TEXTS) + " " * 40 + "\t\néàÅﬀ①Ⅷ한글กำहिन्दी\u0300\u0308🇩🇪👍🏽"
    texts = list(TEXTS)
    for _ in range(more):
        parts = [rng.choice(WORDS + TEXTS[13:16] + [" ", "  "] + ["".join(rng.choices(characters, k=6))]) for _ in range(rng.randint(1, 9))]
        texts.append(rng.choice(["", " "]).join(parts))
    for directory in sorted(out.iterdir()):
        found = expected(directory.name, AutoTokenizer.from_pretrained(directory), texts, rng, more)
        write(directory, found)
    marian = out.parent / "tokenizer_marian"
    shutil.rmtree(marian, ignore_errors=True)
    make_marian(marian, lines, small=more == 0)
    write(marian, expected_of_marian(AutoTokenizer.from_pretrained(marian), texts))


def write(directory, found):
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    for key in ("text", "a", "question"):
        text = text.replace(f'{{"{key}"', f'\n{{"{key}"')
    (directory / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
