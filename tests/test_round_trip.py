"""Random data sets come back as they were written, in every format."""

import csv
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from emotion_tutorial import load_splits
from emotion_tutorial.exceptions import DataWarning
from emotion_tutorial.files import read_file

set_hypothesis_home_dir(Path(os.environ["HF_HOME"]).with_name("hypothesis"))  # conftest.py's folder of this run

Rows = list[tuple[str, str]]
AWKWARD = [
    *("", " ", '"', '""', "'", "a\nb", "a\r\nb", "a\rb", ",", ";", "|", "\t", "\\", "\ufeff", "\u2028", "\x85", "NA"),
    *("null", "nan", "1.0", "=1+1", "#", "{}", "[1]", "\U0001f642\U0001f3fd", "\U0001f469\u200d\U0001f467", "e\u0301"),
    *("שלום, עולם", "مرحبا; 1", "\u202eabc"),
]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.lists(st.sampled_from(AWKWARD) | st.text(CHARACTERS, max_size=8), max_size=4).map("".join)


def is_name(label: str) -> bool:
    """Say whether a label is its own name: labels are stripped, and 3.0 is 3; `a|b` might be several."""
    return bool(label) and label == label.strip() and not set(label) & set(",|;/") and not label.endswith(".0")


LABELS = st.text(CHARACTERS, min_size=1, max_size=6).filter(is_name) | st.sampled_from(["joy", "NA", "שמחה", "🙂", '"'])
DATA = st.lists(LABELS, min_size=2, max_size=4, unique=True).flatmap(
    lambda names: st.lists(st.tuples(TEXTS, st.sampled_from(names)), max_size=12).map(
        lambda rows: [*rows, *((f"one of {i}", name) for i, name in enumerate(names))]
    )
)


def write_delimited(separator: str) -> Callable[[Path, Rows, str], None]:
    def write(path: Path, rows: Rows, encoding: str) -> None:
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=separator).writerows([("text", "label"), *rows])

    return write


def write_jsonl(path: Path, rows: Rows, encoding: str) -> None:
    lines = [json.dumps({"label": b, "text": a}, ensure_ascii=i % 2 == 0) for i, (a, b) in enumerate(rows)]
    path.write_text("\n".join(lines), encoding=encoding, newline="")


def write_txt(path: Path, rows: Rows, encoding: str) -> None:
    path.write_text("".join(f"{text};{label}\n" for text, label in rows), encoding=encoding, newline="")


def write_parquet(path: Path, rows: Rows, encoding: str) -> None:
    pd.DataFrame(rows, columns=["text", "label"]).to_parquet(path)


WRITERS = {
    "train.csv": write_delimited(","),
    "train.tsv": write_delimited("\t"),
    "semicolons.csv": write_delimited(";"),
    "bars.tsv": write_delimited("|"),
    "train.jsonl": write_jsonl,
    "train.txt": write_txt,
    "train.parquet": write_parquet,
}


def fit(rows: Rows, name: str) -> Rows:
    """Return the rows as the format can hold them: a line of `.txt` is a text, without white space around it."""
    if name != "train.txt":
        return rows
    one_line = str.maketrans("\r\n", "  ")
    return [(text.translate(one_line).strip(), label.translate(one_line).strip()) for text, label in rows]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rows=DATA, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-8"]))
def test_round_trip(name, rows, encoding):
    rows = fit(rows, name)
    if encoding == "utf-8" and rows[0][0].startswith("\ufeff"):
        encoding = "utf-8-sig"  # else the first character would be taken for the mark
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        path = Path(folder, "train").with_suffix(Path(name).suffix)
        for split in ("train", "validation", "test"):
            WRITERS[name](path.with_stem(split), rows, encoding)
        splits = load_splits(folder, encoding=encoding)
        frame = read_file(path, encoding=encoding)
    names = sorted({label for _, label in rows})
    if all(label.isascii() and label.removeprefix("-").isdigit() for label in names):
        names.sort(key=int)
    for dataset in splits.values():
        assert dataset.features["label"].names == names
        assert [(text, names[label]) for text, label in zip(dataset["text"], dataset["label"], strict=True)] == rows
    assert [(text or "", label) for text, label in zip(frame["text"], frame["label"], strict=True)] == rows


@given(labels=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=5, unique=True))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_integers_sort_as_integers_in_every_format(labels):
    rows = [(f"text {label}", str(label)) for label in labels]
    for name in ("train.csv", "train.jsonl", "train.txt", "train.parquet"):
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "validation", "test"):
                WRITERS[name](Path(folder, name).with_stem(split), rows, "utf-8")
            assert load_splits(folder)["test"].features["label"].names == list(map(str, sorted(labels)))
