#!/usr/bin/env bash
# Makes data/multi30k, the English and German captions of recipes/multi30k-*.toml: Multi30k's task 1 (Elliott et al. 2016) as it
# lies in its repository, github.com/multi30k/dataset, raw text. The README there names no licence: ask its authors before the
# data are used for more than research. Needs curl and gzip. Prints the command that trains on the files.
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
cat <<'COMMAND'
data/multi30k: 29000 pairs to train on, 1014 to validate and 1000 to test on. To train on them:

atento train recipes/multi30k-en-de.toml \
    --set data.train.source=data/multi30k/train.en.gz --set data.train.target=data/multi30k/train.de.gz \
    --set data.valid.source=data/multi30k/val.en.gz --set data.valid.target=data/multi30k/val.de.gz
COMMAND
