"""How time and memory grow with the number of texts, the number of labels, and the length of the texts.

`python benchmarks/growth.py` measures each size in a process of its own: the seconds of one call, and the peak of the
memory of the process. The machine has to be idle. It writes the part `growth` of docs/results.json and the points into
docs/growth.parquet; then run tables.py. `--largest 10000` measures up to that many texts only, and `--curves` some of
the curves; points of other curves that were measured before stay.

The texts are made: as long as the training texts of `--data`, of words drawn from those with the same label. No two are
likely to be equal, and the number of different words does not grow beyond that of the data.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from system import peak_mb, require_idle, reset_peak, typed

# What imports torch or pandas is imported in functions: this process only starts others, and stays small.

TEXTS = (1000, 3000, 10_000, 30_000, 100_000)
MORE_TEXTS = (*TEXTS, 300_000, 1_000_000)
LABELS = (2, 10, 30, 100, 300, 1000)
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
MANY_LABELS_TEXTS = 5000
"""How many texts the curves over labels have: five for each of a thousand labels, as there are five folds."""
FEW_TEXTS = {"lengths": 128, "labels": 1000}
"""How many texts vectors and predictions have, where their number does not grow."""
SLOW = 20
"""A call that takes more seconds than this is not repeated."""
CURVES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "vectors by texts": ("vectors", "texts", TEXTS),
    "predictions by texts": ("predictions", "texts", TEXTS),
    "label errors by texts": ("label errors", "texts", TEXTS),
    "loading by texts": ("loading", "texts", MORE_TEXTS),
    "audit by texts": ("audit", "texts", MORE_TEXTS),
    "label errors by labels": ("label errors", "labels", LABELS),
    "audit by labels": ("audit", "labels", LABELS),
    "evaluation by labels": ("evaluation", "labels", LABELS),
    "predictions by labels": ("predictions", "labels", LABELS),
    "vectors by lengths": ("vectors", "lengths", LENGTHS),
    "predictions by lengths": ("predictions", "lengths", LENGTHS),
}
"""What is called, what grows, and the sizes."""


def make_texts(
    source: str, count: int, labels: int | None, length: int | None
) -> tuple[list[str], list[int], list[str]]:
    """Return made texts, their label ids and the names of the labels.

    With `labels`, that many labels take turns, and each has one word of its own. With `length`, each text has that many
    tokens: words that are one token each, and two special ones.
    """
    import numpy as np

    import emotion_tutorial as et

    random, train = np.random.default_rng(0), et.load_splits(source)["train"]
    names = train.features["label"].names
    words_of: list[list[str]] = [[] for _ in names]
    for text, label in zip(train["text"][:], train["label"][:], strict=True):
        words_of[label] += text.split()
    lengths = np.array([max(1, len(text.split())) for text in train["text"][:]])
    if length:
        vocabulary = et.load_tokenizer("embedded").get_vocab()
        words_of = [[word for word in words if word.lower() in vocabulary] for words in words_of]
        words_of = [words or ["the"] for words in words_of]
        lengths = np.array([length - 2])
    drawn = random.choice(lengths, count)
    if labels:
        ids, own = np.arange(count) % labels, [f"topic{i}" for i in range(labels)]
    else:
        ids, own = random.choice(np.array(train["label"][:]), count), []
    texts = [""] * count
    for base, words in enumerate(map(np.array, words_of)):
        rows = np.flatnonzero(ids % len(names) == base)
        ends = drawn[rows].cumsum()
        pool = random.choice(words, ends[-1] if len(ends) else 0)
        for row, part in zip(rows, np.split(pool, ends[:-1]), strict=True) if len(rows) else ():
            texts[row] = " ".join([*part, own[ids[row]]] if own else part)
    return texts, ids.tolist(), own or names


def caller(
    operation: str, options: argparse.Namespace
) -> Callable[[list[str], list[int], list[str]], Callable[[], Any]]:
    """Return what makes the call that is measured, of texts, label ids and the names of the labels."""
    import numpy as np
    import torch
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    import emotion_tutorial as et

    needs_encoder = operation in ("vectors", "predictions")
    tokenizer: Any = et.load_tokenizer(options.checkpoint) if needs_encoder else None
    encoder: Any = et.load_encoder(options.checkpoint) if operation == "vectors" else None

    def make(texts: list[str], ids: list[int], names: list[str]) -> Callable[[], Any]:
        if operation == "loading":
            path = Path(options.scratch) / f"{len(texts)}.csv"
            lines = (f'"{text.replace(chr(34), chr(34) * 2)}",{names[i]}\n' for text, i in zip(texts, ids, strict=True))
            path.write_text("text,label\n" + "".join(lines), encoding="utf-8")
            return lambda: et.load_splits(path)
        if operation == "label errors":
            return lambda: et.find_label_errors(texts, ids, names)
        if operation == "evaluation":
            predicted = np.random.default_rng(1).permutation(ids)
            return lambda: et.evaluate(ids, predicted, names)
        if operation == "predictions":
            torch.manual_seed(0)
            model = et.load_classifier(options.checkpoint, names)
            return lambda: et.predict_proba(texts, model, tokenizer, progress=False)
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        dataset = Dataset.from_dict({"text": texts, "label": ids}, features=features)
        if operation == "vectors":
            how: dict[str, Any] = {"pooling": "mean", "cache": False, "progress": False}
            return lambda: et.extract_hidden_states(dataset, encoder, tokenizer, **how)
        held_out = len(texts) // 10
        parts = {"train": range(2 * held_out, len(texts)), "validation": range(held_out, 2 * held_out)}
        splits = DatasetDict({name: dataset.select(part) for name, part in parts.items()})
        return lambda: et.audit(splits)

    return make


def prepare(options: argparse.Namespace) -> Callable[[], Any]:
    """Make the texts of a point, and return the call that is measured, after one with a few other texts."""
    operation, axis, _ = CURVES[options.one]
    few = FEW_TEXTS.get(axis, 0) if operation in ("vectors", "predictions") else MANY_LABELS_TEXTS
    count = options.size if axis == "texts" else min(options.largest, few)
    labels, length = (options.size if axis == other else None for other in ("labels", "lengths"))
    make = caller(operation, options)
    make([f"this is text number {i}" for i in range(40)], [0, 1] * 20, ["a", "b"])()  # imports, and allocates
    return make(*make_texts(options.data, count, labels, length))


def measure(options: argparse.Namespace) -> None:
    """Make the call once, and print seconds and memory."""
    warnings.simplefilter("ignore")  # such as that splits were cut
    call = prepare(options)
    before = reset_peak()
    start = time.perf_counter()
    kept = call()
    seconds = time.perf_counter() - start
    assert kept is not None
    print(json.dumps({"seconds": seconds, "before_mb": before, "peak_mb": peak_mb()}))


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="a source for load_splits")
    parser.add_argument("--checkpoint", default="embedded")
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=[*CURVES])
    parser.add_argument("--largest", type=int, default=max(MORE_TEXTS), help="the largest number of texts")
    parser.add_argument("--most-labels", type=int, default=max(LABELS))
    parser.add_argument("--longest", type=int, default=max(LENGTHS), help="the largest number of tokens in a text")
    parser.add_argument("--repeats", type=int, default=3, help=f"of calls that take less than {SLOW} s")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is not idle, and say so")
    parser.add_argument("--output", type=Path, help="folder of results.json and the parquet file; docs if not given")
    for name, kind in (("--one", str), ("--size", int), ("--scratch", str)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


def sizes_of(curve: str, options: argparse.Namespace) -> list[int]:
    """Return the sizes of a curve up to the limits; where none is that small, the limit itself."""
    _, axis, sizes = CURVES[curve]
    limits = {"texts": options.largest, "labels": options.most_labels, "lengths": options.longest}
    return [size for size in sizes if size <= limits[axis]] or [limits[axis]]


def main() -> None:
    """Run from the command line."""
    options = parsed()
    if options.one:
        measure(options)
        return
    load_before, start = require_idle(options.busy), time.perf_counter()
    rows, slow = list[dict[str, Any]](), set[tuple[str, int]]()
    shared = ["--data", options.data, "--checkpoint", options.checkpoint, "--largest", str(options.largest)]
    for number in range(options.repeats):
        for curve in options.curves:
            operation, axis, _ = CURVES[curve]
            for size in [size for size in sizes_of(curve, options) if (curve, size) not in slow]:
                with tempfile.TemporaryDirectory() as scratch:
                    command = [sys.executable, __file__, "--one", curve, "--size", str(size), "--scratch", scratch]
                    done = subprocess.run([*command, *shared], check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                rows.append({"method": operation, "axis": axis, "size": size, "round": number} | found)
                slow |= {(curve, size)} if found["seconds"] > SLOW else set()
                print(f"{curve} {size:>9,} {found['seconds']:9.3f} s {found['peak_mb']:7.0f} MB", flush=True)
    save(rows, options, load_before, start)


def save(rows: list[dict[str, Any]], options: argparse.Namespace, load_before: float, start: float) -> None:
    """Write the points down, beside those of other curves, and print what follows from them."""
    import pandas as pd
    from results import DOCS, circumstances, read, write

    import emotion_tutorial as et

    output, part = options.output or DOCS, "growth"
    splits = et.load_splits(options.data)
    name = "quick" if options.data == "embedded" else "real"
    profile = et.get_profile(name, data=options.data, checkpoint=options.checkpoint)
    about = circumstances(splits, profile, [0], start, "datasets")
    about |= {"source": Path(options.data).name, "load_before": load_before, "busy": options.busy}
    about |= {"command": typed()}
    found, before = pd.DataFrame(rows), read(output / "growth.parquet")
    if len(before):
        earlier = json.loads((output / "results.json").read_text(encoding="utf-8"))["parts"][part]
        again = set(zip(found["method"], found["axis"], strict=True))
        others = [key not in again for key in zip(before["method"], before["axis"], strict=True)]
        same = ("machine", "data", "checkpoint", "versions")
        if any(others) and any(earlier[name] != about[name] for name in same):
            print("The curves that were measured earlier, on another machine or of something else, are left out.")
        elif any(others):
            before = before[others].drop(columns="part").astype({"method": str})
            found = pd.concat([before, found], ignore_index=True)
            about |= {"busy": options.busy or earlier["busy"]}
            about["load_before"] = max(load_before, earlier["load_before"])
            commands = [*earlier["command"].split("` and `"), about["command"]]
            about["command"] = "` and `".join(dict.fromkeys(commands))
    results = write(part, about, {output / "growth.parquet": found})
    print(json.dumps(results["growth"]))


if __name__ == "__main__":
    main()
