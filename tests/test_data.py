import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial import load_splits, to_frame
from emotion_tutorial.data import _scratch
from emotion_tutorial.exceptions import (
    DataWarning,
    EmptySplitError,
    HubUnavailableError,
    LabelNamesError,
    MalformedFileError,
    MissingColumnError,
    MissingFileError,
    SeveralLabelsError,
    TooFewClassesError,
    TooFewRowsError,
    TooManyClassesError,
    UnknownLabelError,
    UnknownSourceError,
)

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("al", "en", "ist", "or", "under")]
REAL_DATA = Path(os.environ.get("EMOTION_TUTORIAL_REAL_DATA", "../shared/data/emotion"))


def write_csv(path: Path, rows: list[tuple[str, object]]) -> Path:
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(path, index=False)
    return path


def make_rows(count: int, labels: tuple[object, ...] = ("b", "a")) -> list[tuple[str, object]]:
    return [(f"text number {i}", labels[i % len(labels)]) for i in range(count)]


@pytest.fixture
def folder(tmp_path) -> Path:
    write_csv(tmp_path / "train.csv", make_rows(20))
    write_csv(tmp_path / "val.csv", [(f"valid {i}", "a") for i in range(3)])
    write_csv(tmp_path / "test.csv", [(f"test {i}", "b") for i in range(4)])
    return tmp_path


def test_embedded(corpus):
    assert {split: len(dataset) for split, dataset in corpus.items()} == {
        "train": 4000,
        "validation": 1000,
        "test": 1000,
    }
    assert corpus["train"].features["text"] == Value("string")
    assert corpus["train"].features["label"].names == ["sadness", "joy", "love", "anger", "fear", "surprise"]


def test_folder_keeps_rows_in_order_and_sorts_label_names(folder):
    splits = load_splits(folder)
    assert list(splits) == ["train", "validation", "test"]
    assert splits["train"].features["label"].names == ["a", "b"]
    assert splits["train"][0] == {"text": "text number 0", "label": 1}
    assert splits["test"]["label"][:] == [1] * 4


def test_label_names_set_the_order(folder):
    assert load_splits(folder, label_names=["b", "a"])["train"][0]["label"] == 0


def test_integer_labels_sort_as_numbers(tmp_path):
    path = write_csv(tmp_path / "d.csv", make_rows(40, (10, 2)))
    with pytest.warns(DataWarning):
        assert load_splits(path)["train"].features["label"].names == ["2", "10"]


def test_integer_labels_are_ids_into_given_names(tmp_path):
    path = write_csv(tmp_path / "d.csv", make_rows(40, (0, 1)))
    with pytest.warns(DataWarning):
        splits = load_splits(path, label_names=["no", "yes"])
    assert set(to_frame(splits["train"])["label_name"]) == {"no", "yes"}


def test_spellings_of_an_integer_are_one_label(tmp_path):
    spellings = ("3", "3.0", '"3"', '" 3.0 "', "-1", "-1.0")
    rows = [f'{{"text": "x{i}", "label": {label}}}' for i in range(20) for label in spellings]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    with pytest.warns(DataWarning):
        splits = load_splits(tmp_path / "a.jsonl")
    assert splits["train"].features["label"].names == ["-1", "3"]


def test_labels_of_yes_and_no_are_names(tmp_path):
    pd.DataFrame({"text": ["a", "b"] * 20, "label": [True, False] * 20}).to_parquet(tmp_path / "a.parquet")
    with pytest.warns(DataWarning):
        assert load_splits(tmp_path / "a.parquet")["train"].features["label"].names == ["False", "True"]


def test_combined_labels_are_classes_if_they_are_given(tmp_path):
    path = write_csv(tmp_path / "a.csv", make_rows(60, ("a", "b", "a/b")))
    with pytest.raises(SeveralLabelsError, match=r"line 4: the label 'a/b' is made of others.*give label_names="):
        load_splits(path)
    with pytest.warns(DataWarning):
        assert load_splits(path, label_names=["a", "b", "a/b"])["train"].features["label"].num_classes == 3
    path = write_csv(tmp_path / "a.csv", make_rows(40, ("n/a", "and, or")))
    with pytest.warns(DataWarning):
        load_splits(path)


def test_many_classes_are_fine_with_ten_rows_each(tmp_path, monkeypatch):
    path = write_csv(tmp_path / "a.csv", make_rows(11_000, tuple(range(1_100))))
    with pytest.warns(DataWarning):
        assert load_splits(path)["train"].features["label"].num_classes == 1_100
    monkeypatch.setattr("emotion_tutorial.data.MAX_NAMES", 1_000)
    with pytest.raises(TooManyClassesError, match="1,001 distinct labels up to line 1002, such as '0', '1', '2'"):
        load_splits(path)


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""], ["a", 1], "ab", ["3", "3.0"]])
def test_refuses_label_names(folder, names):
    with pytest.raises(LabelNamesError, match="label_names="):
        load_splits(folder, label_names=names)


def test_encoding_and_separator_of_all_files(folder):
    for path in folder.iterdir():
        path.write_text(path.read_text().replace(",", ";").replace("number", "número"), encoding="utf-16")
    with pytest.warns(DataWarning, match="separated by semicolons") as caught:
        splits = load_splits(folder, encoding="utf-16")
    assert splits["train"]["text"][0] == "text número 0"
    assert [Path(str(warning.message).split(":")[0]).name for warning in caught] == ["train.csv", "val.csv", "test.csv"]
    assert {warning.filename for warning in caught} == {__file__}


def test_missing_splits_are_cut_stratified_seeded_and_said(tmp_path):
    path = write_csv(tmp_path / "d.csv", make_rows(200, ("a", "a", "a", "b")))
    with pytest.warns(DataWarning, match=r"no validation and no test split: cut 20 stratified rows each.*keeps 160"):
        splits = load_splits(path)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [160, 20, 20]
    assert sum(splits["test"]["label"][:]) == 5
    texts = [text for dataset in splits.values() for text in dataset["text"]]
    assert sorted(texts) == sorted(text for text, _ in make_rows(200))
    with pytest.warns(DataWarning):
        assert load_splits(path)["test"]["text"][:] == splits["test"]["text"][:]
    with pytest.warns(DataWarning):
        assert load_splits(path, seed=1)["test"]["text"][:] != splits["test"]["text"][:]


def test_empty_texts_are_kept_and_said(folder):
    write_csv(folder / "test.csv", [("", "a"), ("  ", "b"), ("words", "a")])
    with pytest.warns(DataWarning, match=r"2 empty texts in split 'test' \(rows 0, 1: .*test.csv, line 2"):
        assert len(load_splits(folder)["test"]) == 3


def test_null_text_in_json_lines_is_an_empty_text(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(['{"text": null, "label": "a"}', *['{"text": "x", "label": "b"}'] * 30]))
    path.write_text(path.read_text() + '\n{"text": "y", "label": "a"}' * 30)
    with pytest.warns(DataWarning) as caught:
        splits = load_splits(path)
    assert "1 empty texts" in str(caught[0].message)
    assert sum(len(dataset) for dataset in splits.values()) == 61


@pytest.mark.parametrize(
    ("file", "rows", "error", "message"),
    [
        ("val.csv", [("x", "c")], UnknownLabelError, r"val.csv, line 2 \(split 'validation'\): unknown label 'c'; 1"),
        ("train.csv", [("x", "a"), ("y", ""), ("z", "b")], UnknownLabelError, r"train.csv, line 3 .*no label"),
        ("test.csv", [], EmptySplitError, r"'test' of .* has no rows"),
        ("train.csv", [("x", "a"), ("y", "a")], TooFewClassesError, r"has 1 class \(a\)"),
    ],
)
def test_refuses_rows(folder, file, rows, error, message):
    write_csv(folder / file, rows)
    with pytest.raises(error, match=message):
        load_splits(folder)


def test_refuses_several_labels_for_a_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": ["a", "b"]}\n')
    with pytest.raises(UnknownLabelError, match=r"line 1: the label is \['a', 'b'\]"):
        load_splits(path)


def test_refuses_to_cut_a_split_from_too_few_rows(tmp_path):
    path = write_csv(tmp_path / "a.csv", [*make_rows(30), ("only one", "rare")])
    with pytest.raises(TooFewRowsError, match=r"split 'test' from the 31 training rows of .*class 'rare' there is 1,"):
        load_splits(path)
    with pytest.raises(TooFewRowsError, match=r"Cannot cut 40 rows for split 'test' from the 31 training rows"):
        load_splits(path, label_names=["a", "b", "rare", *(f"{i}th" for i in range(37))])


def test_refuses_a_folder_without_train(folder):
    (folder / "train.csv").unlink()
    with pytest.raises(MissingFileError, match=r"no training file.*found test.csv, val.csv"):
        load_splits(folder)


def test_refuses_two_files_for_a_split(folder):
    (folder / "train.txt").write_text("x;a\n")
    with pytest.raises(MalformedFileError, match=r"2 files for 'train': train.txt, train.csv"):
        load_splits(folder)


@pytest.mark.parametrize("source", ["nowhere/train.csv", Path("nowhere"), "./nowhere", "data.csv"])
def test_refuses_a_missing_path(source):
    with pytest.raises(MissingFileError, match="There is no file or folder"):
        load_splits(source)


def test_refuses_an_unknown_name():
    with pytest.raises(UnknownSourceError, match=r"'imbedded'.*'embedded', 'hub'"):
        load_splits("imbedded")


def test_refuses_a_text_given_for_a_source():
    with pytest.raises(UnknownSourceError, match=r"'i feel well today.* \.\.\.\. Use 'embedded'"):
        load_splits("i feel well today, " * 1000)


def test_refuses_a_missing_column(folder):
    with pytest.raises(MissingColumnError, match=r"no column 'tweet'"):
        load_splits(folder, text_column="tweet")


def test_unreachable_hub_is_said_and_replaced_by_nothing():
    with pytest.raises(HubUnavailableError, match=r"'dair-ai/emotion'.*HF_HUB_OFFLINE=1"):
        load_splits("hub")


def test_hub_labels_are_taken_by_their_names(monkeypatch):
    """Names that are integers are not taken for ids; each split may have an order of its own."""
    parts = {
        split: Dataset.from_dict(
            {"text": ["a", "b"], "label": [0, 1]},
            features=Features({"text": Value("string"), "label": ClassLabel(names=names)}),
        )
        for split, names in {"train": ["1", "2"], "validation": ["2", "1"], "test": ["1", "2"]}.items()
    }
    monkeypatch.setattr("emotion_tutorial.data.load_hub_dataset", lambda _: DatasetDict(parts))
    splits = load_splits("owner/name")
    assert splits["train"].features["label"].names == ["1", "2"]
    assert [split["label"][:] for split in splits.values()] == [[0, 1], [1, 0], [0, 1]]
    assert load_splits("owner/name", label_names=["2", "1"])["train"]["label"][:] == [1, 0]
    assert load_splits("owner/name", label_names=["bad", "good"])["train"]["label"][:] == [0, 1]


def test_hub_splits_keep_their_label_names(monkeypatch):
    features = Features({"tweet": Value("string"), "mood": ClassLabel(names=["up", "down"])})
    rows = Dataset.from_dict({"tweet": ["a", "b"], "mood": [1, 0]}, features=features)
    found = DatasetDict(train=rows, validation=rows, test=rows, unsupervised=rows)
    monkeypatch.setattr("emotion_tutorial.data.load_hub_dataset", lambda _: found)
    splits = load_splits("owner/name", text_column="tweet", label_column="mood")
    assert list(splits) == ["train", "validation", "test"]
    assert splits["train"].features["label"].names == ["up", "down"]
    assert splits["train"]["label"][:] == [1, 0]
    with pytest.raises(MissingColumnError, match=r"split 'train': no column 'text'. It has 'tweet', 'mood'"):
        load_splits("owner/name")


def test_cut_is_that_of_the_library(tmp_path):
    path = write_csv(tmp_path / "d.csv", make_rows(200, ("a", "a", "a", "b")))
    with pytest.warns(DataWarning):
        splits = load_splits(path, seed=3)
    whole = write_csv(tmp_path / "train.csv", make_rows(200, ("a", "a", "a", "b"))).with_name("validation.csv")
    shutil.copy(path, whole)
    shutil.copy(path, tmp_path / "test.csv")
    cut = load_splits(tmp_path)["train"].train_test_split(test_size=20, stratify_by_column="label", seed=3)
    assert cut["test"].to_dict() == splits["test"].to_dict()
    cut = cut["train"].train_test_split(test_size=20, stratify_by_column="label", seed=3)
    assert cut["test"].to_dict() == splits["validation"].to_dict()
    assert cut["train"].to_dict() == splits["train"].to_dict()


PEAK = """
import resource, sys, warnings
import emotion_tutorial as et
warnings.simplefilter("ignore")
splits = et.load_splits(sys.argv[1])
assert sum(map(len, splits.values())) == int(sys.argv[2])
assert "torch" not in sys.modules
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024**2 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is for POSIX")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """300,000 rows in fresh processes: 45 MiB more than 3,000 rows; 340 when all rows were held."""
    rng = random.Random(0)
    lines = [" ".join(rng.choices(WORDS, k=17)) for _ in range(3_000)]
    peaks = []
    for repeats in (1, 100):
        path = tmp_path / f"{repeats}.csv"
        with path.open("w") as file:
            file.write("text,label\n")
            for i in range(repeats):
                file.writelines(f"{i} {line},{len(line) % 6}\n" for line in lines)
        command = [sys.executable, "-c", PEAK, str(path), str(repeats * len(lines))]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 120, peaks


@pytest.mark.parametrize(
    ("last", "error"),
    [("a,b,c", MalformedFileError), ("a,", UnknownLabelError), ("a,d", TooFewRowsError), ("a,b", None)],
)
def test_texts_are_deleted_if_loading_fails(tmp_path, last, error):
    scratch = Path(_scratch().name)
    before = set(scratch.iterdir())
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,b\na,c\n" * 10_000 + last)
    with pytest.raises(error) if error else pytest.warns(DataWarning):
        load_splits(path)
    assert len(set(scratch.iterdir()) - before) == (error is None)


def test_to_frame(corpus):
    frame = to_frame(corpus["train"])
    assert list(frame.columns) == ["text", "label", "label_name"]
    names = corpus["train"].features["label"].names
    assert (frame["label_name"] == frame["label"].map(lambda i: names[i])).all()
    assert len(frame) == 4000
    with pytest.raises(ValueError, match="text"):
        to_frame(corpus["train"].remove_columns("text"))


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data are not in {REAL_DATA}")
def test_real_data():
    with pytest.warns(DataWarning, match="no test split: cut 1600"):
        splits = load_splits(REAL_DATA)
    assert {split: len(dataset) for split, dataset in splits.items()} == {
        "train": 14400,
        "validation": 2000,
        "test": 1600,
    }
