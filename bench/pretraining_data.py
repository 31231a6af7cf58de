"""The peer of `atento prepare`: BERT's pre-training examples in plain Python, one thread.

The algorithm is that of Devlin et al. 2019, appendix A.2, as its authors' program carries it out: white space and punctuation
are separated character by character, words are cut greedily into the longest pieces of the vocabulary, all documents are held
in memory, and each gives pairs of segments with masked tokens. Written anew from that description.

    python bench/pretraining_data.py --tokenizer tokenizer.json --text text.txt

One epoch is made of the text, which `atento prepare` does too. Prints one line of JSON.
"""

import argparse
import json
import random
import time
import unicodedata

from common import emit, peak_rss_mb

SHORT_SEQ_PROB = 0.1
MASK_PROB = 0.15


def is_control(char):
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def is_space(char):
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_punctuation(char):
    code = ord(char)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(char).startswith("P")


def is_ideograph(char):
    return 0x4E00 <= ord(char) <= 0x9FFF or 0x3400 <= ord(char) <= 0x4DBF or 0x20000 <= ord(char) <= 0x2CEAF


def words_of(text):
    """Words and punctuation marks of a text, each by itself."""
    cleaned = []
    for char in text:
        if ord(char) in (0, 0xFFFD) or is_control(char):
            continue
        cleaned.append(" " if is_space(char) else char)
    spaced = []
    for char in cleaned:
        spaced.append(f" {char} " if is_ideograph(char) else char)
    for token in "".join(spaced).split():
        word = []
        for char in unicodedata.normalize("NFC", token):
            if is_punctuation(char):
                if word:
                    yield "".join(word)
                yield char
                word = []
            else:
                word.append(char)
        if word:
            yield "".join(word)


def pieces_of(word, vocab):
    """The longest pieces of the vocabulary, from the left."""
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start:
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocab:
                break
            end -= 1
        if end == start:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def read_documents(path, vocab):
    documents = [[]]
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if not line:
                documents.append([])
                continue
            tokens = [piece for word in words_of(line) for piece in pieces_of(word, vocab)]
            if tokens:
                documents[-1].append(tokens)
    return [document for document in documents if document]


def truncate(first, second, most, rng):
    while len(first) + len(second) > most:
        longer = first if len(first) > len(second) else second
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def mask(tokens, words, rng):
    places = [at for at, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]")]
    rng.shuffle(places)
    output, chosen = list(tokens), []
    for at in sorted(places[: max(1, int(round(len(tokens) * MASK_PROB)))]):
        chosen.append((at, tokens[at]))
        if rng.random() < 0.8:
            output[at] = "[MASK]"
        elif rng.random() < 0.5:
            output[at] = rng.choice(words)
    return output, chosen


def examples_of(documents, number, seq_len, words, rng):
    document, most = documents[number], seq_len - 3
    target = rng.randint(2, most) if rng.random() < SHORT_SEQ_PROB else most
    chunk, length, at = [], 0, 0
    while at < len(document):
        chunk.append(document[at])
        length += len(document[at])
        if at == len(document) - 1 or length >= target:
            end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
            first = [token for segment in chunk[:end] for token in segment]
            second, is_next = [], True
            if len(chunk) == 1 or rng.random() < 0.5:
                is_next = False
                other = number
                for _ in range(10):
                    other = rng.randrange(len(documents))
                    if other != number:
                        break
                other = documents[other]
                for segment in other[rng.randrange(len(other)) :]:
                    second.extend(segment)
                    if len(second) >= target - len(first):
                        break
                at -= len(chunk) - end
            else:
                second = [token for segment in chunk[end:] for token in segment]
            truncate(first, second, most, rng)
            tokens = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
            types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
            yield *mask(tokens, words, rng), types, is_next
            chunk, length = [], 0
        at += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--seq-len", type=int, default=128)
    args = parser.parse_args()
    with open(args.tokenizer, encoding="utf-8") as file:
        vocab = json.load(file)["model"]["vocab"]
    words, rng = list(vocab), random.Random(1)
    start, cpu = time.perf_counter(), time.process_time()
    documents = read_documents(args.text, vocab)
    tokenized = time.perf_counter()
    examples = tokens = 0
    for number in range(len(documents)):
        for ids, chosen, types, is_next in examples_of(documents, number, args.seq_len, words, rng):
            # What the original writes, but for the writing.
            padding = [0] * (args.seq_len - len(ids))
            [vocab[token] for token in ids] + padding, [1] * len(ids) + padding, types + padding
            [at for at, _ in chosen], [vocab[token] for _, token in chosen], int(is_next)
            tokens += len(ids)
            examples += 1
    end = time.perf_counter()
    emit(
        examples=examples,
        tokens=tokens,
        tokenize_seconds=tokenized - start,
        examples_seconds=end - tokenized,
        seconds=end - start,
        cpu_seconds=time.process_time() - cpu,
        peak_rss_mb=peak_rss_mb(),
    )


if __name__ == "__main__":
    main()
