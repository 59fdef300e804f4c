"""Damage valid files at random, and load them: the outcome has to be splits, or one of the package's own errors.

``python tools/fuzz_loading.py --seconds 120 --seed 0`` prints how often each outcome was seen. Anything else is a
finding: its seed is printed, its file is kept, and the exit status is 1. ``--only SEED`` repeats one.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from datasets import ClassLabel, DatasetDict, Value

from emotion_tutorial import load_splits
from emotion_tutorial.exceptions import TutorialError

TEXTS = ("i am well", 'she said "no", twice', "two\nlines", "naïve café", "语言 🙂", "שלום עולם", "a; b | c\td", "")
LABELS = ("joy", "fear", "anger")
PIECES = [
    *(bytes([byte]) for byte in b"\0\"',;\t|\r\n\\{}[]\xff"),
    *rb"\ud800 null NaN 1e999 3.0 text".split(),
    *(b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xa8", b"9" * 5000, b"[" * 3000, b"x" * 140_000),
]
ARGUMENTS: list[dict] = [
    *([{}] * 9),
    *({"label_names": ["anger", "fear", "joy"]}, {"label_names": ["no", "yes"]}, {"text_column": "label"}),
    *({"encoding": "utf-16"}, {"encoding": "cp1252"}, {"encoding": "shift_jis"}),
]


def write_valid(path: Path, rng: random.Random) -> None:
    """Write a small file that can be loaded, in the format that its suffix says."""
    count = rng.choice((6, 40, 120))
    labels = rng.choice((LABELS, range(3), (0.5, 1.5, 3.0)))
    rows = pd.DataFrame(
        {"text": [rng.choice(TEXTS) for _ in range(count)], "label": [labels[i % 3] for i in range(count)]}
    )
    encoding = rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16"))
    if path.suffix == ".parquet":
        rows.to_parquet(path, compression=rng.choice((None, "snappy", "gzip")))
    elif path.suffix == ".txt":
        lines = [f"{text!r};{label}" for text, label in zip(rows["text"], rows["label"], strict=True)]
        path.write_text("\n".join(lines), encoding=encoding)
    elif path.suffix == ".jsonl":
        ascii_only = rng.random() < 0.5
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows.to_dict("records")]
        path.write_text("\n".join(lines), encoding=encoding)
    else:
        rows.to_csv(path, sep=rng.choice(",;\t|"), index=False, encoding=encoding)


def flip(data: bytes, at: int, rng: random.Random) -> bytes:
    """Change one bit."""
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def insert(data: bytes, at: int, rng: random.Random) -> bytes:
    """Insert what means something in one of the formats."""
    return data[:at] + rng.choice(PIECES) + data[at:]


def delete(data: bytes, at: int, rng: random.Random) -> bytes:
    """Leave out some bytes."""
    return data[:at] + data[at + rng.randint(1, 20) :]


def truncate(data: bytes, at: int, _rng: random.Random) -> bytes:
    """Cut the file off."""
    return data[:at]


def duplicate(data: bytes, at: int, rng: random.Random) -> bytes:
    """Write some bytes twice."""
    return data[: at + rng.randint(1, 200)] + data[at:]


def join_lines(data: bytes, at: int, rng: random.Random) -> bytes:
    """Take line ends away, or put others there."""
    return data[:at] + data[at:].replace(b"\n", rng.choice((b"", b" ", b"\r", b"\n\n")), rng.choice((1, -1)))


def random_byte(data: bytes, at: int, rng: random.Random) -> bytes:
    """Change one byte."""
    return data[:at] + rng.randbytes(1) + data[at + 1 :]


DAMAGES: list[Callable[[bytes, int, random.Random], bytes]] = [
    *(flip, insert, delete, truncate, duplicate, join_lines, random_byte)
]


def attack(folder: Path, seed: int) -> str:
    """Damage one file, load it, and return the outcome; what should not be is raised."""
    rng = random.Random(seed)
    source = folder / f"train{rng.choice(('.txt', '.csv', '.tsv', '.jsonl', '.parquet'))}"
    write_valid(source, rng)
    data = source.read_bytes()
    for _ in range(rng.randrange(4)):
        if data:
            data = rng.choice(DAMAGES)(data, rng.randrange(len(data)), rng)
    source.write_bytes(data)
    if rng.random() < 0.1:
        source = source.rename(source.with_suffix(rng.choice((".txt", ".csv", ".tsv", ".jsonl", ".parquet"))))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            splits = load_splits(source, seed=seed, **rng.choice(ARGUMENTS))
    except TutorialError as error:
        if not 20 < len(str(error)) < 2000 or not str(error).isprintable():
            raise AssertionError(f"an error is not one readable sentence: {str(error)[:3000]!r}") from error
        return type(error).__name__
    check(splits)
    return "splits"


def check(splits: DatasetDict) -> None:
    """Raise an AssertionError unless the splits are what `load_splits` promises."""
    assert list(splits) == ["train", "validation", "test"]
    names = splits["train"].features["label"].names
    assert len(set(names)) == len(names) > 1
    for split in splits.values():
        assert split.features == {"text": Value("string"), "label": ClassLabel(names=names)}
        rows = split[:]
        assert len(rows["text"]) == len(rows["label"]) == len(split) > 0
        assert all(isinstance(text, str) for text in rows["text"])
        assert set(rows["label"]) <= set(range(len(names)))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    parser.add_argument("--only", type=int, metavar="SEED", help="one file: repeat a finding")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for the files of findings")
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    seed = options.seed * 10**9 if options.only is None else options.only
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes[attack(Path(folder), seed)] += 1
            except Exception:  # noqa: BLE001 - every kind is a finding
                outcomes["FINDING"] += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                for path in Path(folder).iterdir():
                    shutil.copy(path, options.keep / f"{seed}{path.suffix}")
                print(f"--only {seed}, file in {options.keep}:\n{traceback.format_exc()}", file=sys.stderr)
        if options.only is not None:
            break
        seed += 1
    for outcome, count in outcomes.most_common():
        print(f"{outcome:24}{count:8,}")
    sys.exit("FINDING" in outcomes)


if __name__ == "__main__":
    main()
