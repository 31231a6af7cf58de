#!/usr/bin/env bash
# Makes data/multi30k, the English and German captions of recipes/multi30k-*.toml: Multi30k's task 1 (Elliott et al. 2016) as it
# lies in its repository, github.com/multi30k/dataset, raw text. The README there names no licence: ask its authors before the
# data are used for more than research. Needs curl and gzip. Recipes for the files are put beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
from=https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw
mkdir -p data/multi30k
fetch() {
    local file=data/multi30k/$1.gz lines
    if [ ! -f "$file" ]; then
        curl --fail --silent --show-error --location --retry 3 --output "$file.part" "$from/$1.gz"
        mv "$file.part" "$file"
    fi
    lines=$(gzip --decompress --stdout "$file" | wc -l)
    if [ "$lines" -ne "$2" ]; then
        echo "$file has $lines lines, expected $2: remove it and run this again" >&2
        exit 1
    fi
}
for language in en de; do
    fetch "train.$language" 29000
    fetch "val.$language" 1014
    fetch "test_2016_flickr.$language" 1000
done
for name in multi30k-en-de multi30k-en-de-rnn; do
    sed "s|\.\./\.\./shared/data/multi30k/||g; s|^#:schema \./|#:schema ../../recipes/|" recipes/$name.toml \
        > data/multi30k/$name.toml
done
cat <<'COMMAND'
data/multi30k: 29,000 pairs to train on, 1,014 to validate and 1,000 to test on. To train on them:

atento train data/multi30k/multi30k-en-de.toml
COMMAND
