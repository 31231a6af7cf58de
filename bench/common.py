"""What the peers share: threads, files, and the one line of JSON each prints."""

import gzip
import json
import os
import resource

import torch


def use_threads(threads=None):
    """One thread for each core unless told otherwise; returns how many."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    return torch.get_num_threads()


def read_lines(path):
    """The lines of a text file, plain or gzip."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def peak_rss_mb():
    """The largest resident set so far, in MiB (Linux counts ru_maxrss in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def emit(**values):
    """Prints the result of the run, floats to six significant digits."""
    rounded = {key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in values.items()}
    print(json.dumps(rounded), flush=True)
