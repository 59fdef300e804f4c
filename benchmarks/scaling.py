"""Time and memory of `extract_hidden_states` at 1, 2, 4, ... texts, up to the size of the full corpus of 2018.

Each size runs in a process of its own, with a tiny random encoder, so that what is measured is everything around the
encoder. Texts are drawn with replacement. Writes a figure beside the JSON line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

FULL_CORPUS = 416_809


def measure(options: argparse.Namespace) -> None:
    """Extract once, and print seconds and peak memory."""
    import numpy as np
    import torch
    from transformers import BertConfig, BertModel

    import emotion_tutorial as et

    splits = et.load_splits(options.data)
    rows = np.random.default_rng(0).integers(0, len(splits["train"]), options.texts)
    dataset = splits["train"].select(rows)
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    encoder, tokenizer = BertModel(config).eval(), et.load_tokenizer("embedded")
    start = time.perf_counter()
    hidden = et.extract_hidden_states(dataset, encoder, tokenizer, cache=False)
    seconds = time.perf_counter() - start
    assert hidden.num_rows == options.texts
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(json.dumps({"texts": options.texts, "seconds": seconds, "peak_mb": peak}))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="a source for load_splits")
    parser.add_argument("--texts", type=int, default=FULL_CORPUS, help="the largest size")
    parser.add_argument("--figure", type=Path, default=Path("build/scaling.png"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options)
        return
    sizes = sorted({2**k for k in range(options.texts.bit_length())} | {min(4000, options.texts), options.texts})
    found = []
    for size in sizes:
        command = [sys.executable, __file__, "--one", "--data", options.data, "--texts", str(size)]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))
        print(f"{size:>9,} texts {found[-1]['seconds']:8.2f} s {found[-1]['peak_mb']:8.0f} MB", flush=True)
    draw(found, options.figure)
    by_size = {row["texts"]: row for row in found}
    large, small = by_size[options.texts], by_size[min(4000, options.texts)]
    result = {
        "texts": [row["texts"] for row in found],
        "seconds": [round(row["seconds"], 3) for row in found],
        "peak_mb": [round(row["peak_mb"]) for row in found],
        "memory_ratio": round(large["peak_mb"] / small["peak_mb"], 3),
        "texts_per_second": round(large["texts"] / large["seconds"]),
    }
    print(json.dumps(result))


def draw(found: list[dict[str, float]], path: Path) -> None:
    """Draw seconds and memory against texts."""
    import matplotlib.pyplot as plt

    from emotion_tutorial import use_style

    use_style()
    texts = [row["texts"] for row in found]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    left.loglog(texts, [row["seconds"] for row in found], "o-")
    left.set(title="Time", xlabel="texts", ylabel="seconds")
    right.semilogx(texts, [row["peak_mb"] for row in found], "o-")
    right.set(title="Peak memory of the process", xlabel="texts", ylabel="MB", ylim=(0, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"figure: {os.fspath(path)}")


if __name__ == "__main__":
    main()
