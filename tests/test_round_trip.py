"""Random data sets come back as they were written, in every format."""

import csv
import gzip
import io
import json
import os
import tempfile
import warnings
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from emotion_tutorial import load_splits
from emotion_tutorial.exceptions import DataWarning

set_hypothesis_home_dir(Path(os.environ["HF_HOME"]).with_name("hypothesis"))  # conftest.py's folder of this run

Rows = list[tuple[str, str]]
AWKWARD = [
    *("", " ", '"', '""', "'", "a\nb", "a\r\nb", "a\rb", ",", ";", "|", "\t", "\\", "\ufeff", "\u2028", "\x85", "NA"),
    *("null", "nan", "1.0", "=1+1", "#", "{}", "[1]", "\U0001f469\u200d\U0001f467", "e\u0301"),
    *("שלום, עולם", "مرحبا; 1", "\u202eabc"),
]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.lists(st.sampled_from(AWKWARD) | st.text(CHARACTERS, max_size=8), max_size=4).map("".join)


def is_name(label: str) -> bool:  # labels are stripped, 3.0 is 3, and `a|b` might be several
    return bool(label) and label == label.strip() and not set(label) & set(",|;/") and not label.endswith(".0")


LABELS = st.text(CHARACTERS, min_size=1, max_size=6).filter(is_name) | st.sampled_from(["joy", "NA", "שמחה", "🙂", '"'])
DATA = st.lists(LABELS, min_size=2, max_size=4, unique=True).flatmap(
    lambda names: st.lists(st.tuples(TEXTS, st.sampled_from(names)), max_size=12).map(
        lambda rows: [*rows, *((f"one of {i}", name) for i, name in enumerate(names))]
    )
)


def delimited(rows: Rows, separator: str = ",") -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator).writerows([("text", "label"), *rows])
    return file.getvalue()


def json_lines(rows: Rows) -> str:
    return "\n".join(json.dumps({"label": b, "text": a}, ensure_ascii=i % 2 == 0) for i, (a, b) in enumerate(rows))


WRITERS = {
    "commas": ("csv", delimited),
    "tabs": ("tsv", partial(delimited, separator="\t")),
    "compressed": ("csv.gz", delimited),
    "lines of JSON": ("jsonl", json_lines),
    "a JSON array": ("json", lambda rows: json.dumps([{"text": text, "label": label} for text, label in rows])),
    "lines": ("txt", lambda rows: "".join(f"{text};{label}\n" for text, label in rows)),
    "Parquet": ("parquet", None),
}


def write(folder: str, name: str, rows: Rows, encoding: str = "utf-8") -> None:
    """Write the rows three times, as the splits."""
    ending, writer = WRITERS[name]
    for split in ("train", "validation", "test"):
        path = Path(folder, f"{split}.{ending}")
        if writer is None:
            pd.DataFrame(rows, columns=["text", "label"]).to_parquet(path)
        else:
            data = writer(rows).encode(encoding)
            path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rows=DATA, encoding=st.sampled_from(["utf-8-sig", "utf-16", "utf-8"]))
def test_round_trip(name, rows, encoding):
    if name == "lines":  # a line is a text, without white space around it
        rows = [tuple(part.replace("\r", " ").replace("\n", " ").strip() for part in row) for row in rows]
    if encoding == "utf-8" and rows[0][0].startswith("\ufeff"):
        encoding = "utf-8-sig"  # else the first character would be taken for the mark
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        write(folder, name, rows, encoding)
        splits = load_splits(folder, encoding=encoding)
    names = sorted({label for _, label in rows})
    if all(label.isascii() and label.removeprefix("-").isdigit() for label in names):
        names.sort(key=int)
    for dataset in splits.values():
        assert dataset.features["label"].names == names
        assert [(text, names[label]) for text, label in zip(dataset["text"], dataset["label"], strict=True)] == rows
