# The few commands of daily work. `just` lists them.

default:
    @just --list

# Format, lint, document: what review would ask for.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo deny check

# The test suite.
test:
    cargo test --workspace

# Remake the golden fixtures with pinned reference libraries (needs Python and PyPI).
golden:
    cargo xtask golden

# Kernel benchmarks, beside the plain references.
bench:
    cargo bench --package atento-kernels

# Side-by-side runs with PyTorch and transformers (needs Python and PyPI).
peers:
    cargo xtask peers

# The library's documentation.
doc:
    cargo doc --workspace --no-deps --open

# Exactly what continuous integration runs.
ci:
    bash .ci/run
