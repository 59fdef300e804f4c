import os
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial import load_splits, to_frame
from emotion_tutorial.exceptions import (
    DataWarning,
    EmptySplitError,
    HubUnavailableError,
    MalformedFileError,
    MissingColumnError,
    MissingFileError,
    TooFewClassesError,
    TooFewRowsError,
    UnknownLabelError,
    UnknownSourceError,
)

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
    with pytest.raises(TooFewRowsError, match=r"split 'test' from the 31 training rows"):
        load_splits(path)


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


def test_refuses_a_missing_column(folder):
    with pytest.raises(MissingColumnError, match=r"no column 'tweet'"):
        load_splits(folder, text_column="tweet")


def test_unreachable_hub_is_said_and_replaced_by_nothing():
    with pytest.raises(HubUnavailableError, match=r"'dair-ai/emotion'.*HF_HUB_OFFLINE=1"):
        load_splits("hub")


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
