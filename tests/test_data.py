from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial import DataError, DataWarning, NotFoundError, SettingsError, load_splits, to_frame
from emotion_tutorial.replacing import replaced_whole


def make_frame(count: int, labels: tuple[Any, ...] = ("b", "a"), word: str = "text") -> pd.DataFrame:
    return pd.DataFrame({"text": [f"{word} {i}" for i in range(count)], "label": (labels * count)[:count]})


def make_dataset(names: list[str], ids: list[Any], column: str = "label") -> Dataset:
    features = Features({"text": Value("string"), column: ClassLabel(names=names)})
    return Dataset.from_dict({"text": [f"text {i}" for i in range(len(ids))], column: ids}, features=features)


def three(part: Any) -> dict[str, Any]:
    return dict.fromkeys(("train", "validation", "test"), part)


def rows(splits: Mapping[str, Dataset]) -> dict[str, list[tuple[str, str]]]:
    """Return texts and label names."""
    frames = {split: to_frame(dataset)[["text", "label_name"]] for split, dataset in splits.items()}
    return {split: list(frame.itertuples(index=False, name=None)) for split, frame in frames.items()}


def together(splits: DatasetDict) -> list[tuple[str, str]]:
    return sorted(row for part in rows(splits).values() for row in part)


def names(splits: DatasetDict) -> list[str]:
    return splits["train"].features["label"].names


FRAMES = {"train": make_frame(20), "validation": make_frame(3, word="v"), "test": make_frame(4, word="t")}
WHOLE = DatasetDict({split: Dataset.from_pandas(frame) for split, frame in FRAMES.items()})
ROWS = {split: list(frame.itertuples(index=False, name=None)) for split, frame in FRAMES.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    FRAMES["train"].to_csv(tmp_path / "train.csv", index=False)
    FRAMES["validation"].to_json(tmp_path / "val.jsonl", orient="records", lines=True)
    FRAMES["test"].to_parquet(tmp_path / "test.parquet")
    for name in ("labels.txt", "labels.csv", "train.py"):  # other files are left alone
        (tmp_path / name).write_text("a\nb\n")
    return tmp_path


def test_embedded(corpus):
    assert [len(dataset) for dataset in corpus.values()] == [4000, 1000, 1000]
    assert names(corpus) == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    turned = load_splits("embedded", label_names=names(corpus)[::-1])
    pd.testing.assert_series_equal(*(to_frame(each["test"])["label_name"] for each in (corpus, turned)))


def test_folder_of_files(folder):
    splits = load_splits(folder)
    assert list(splits) == ["train", "validation", "test"]
    assert rows(splits) == ROWS
    assert splits["test"].features == Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})


@pytest.mark.parametrize(
    ("suffix", "separator", "said"),
    [("csv", ";", "semicolons"), ("csv", "\t", "tabs"), ("tsv", "|", "bars")],
)
def test_another_separator_is_found_and_said_at_the_call(tmp_path, suffix, separator, said):
    expected = [("i am; well", "joy"), ("“quoted”, and é", "sadness"), ("two\nlines", "NA"), ("tab\tbar|", "007")]
    for split in FRAMES:
        frame = pd.DataFrame(expected, columns=["text", "label"])
        frame.to_csv(tmp_path / f"{split}.{suffix}", sep=separator, index=False, quoting=1)
    with pytest.warns(DataWarning, match=rf"{suffix}: {said} separate") as caught:
        assert rows(load_splits(tmp_path)) == three(expected)
    assert [warning.filename for warning in caught] == [__file__] * 3


def test_save_that_was_interrupted_is_completed_before_it_is_read(tmp_path, monkeypatch):
    replace, other = (
        Path.replace,
        {split: Dataset.from_pandas(frame.assign(label="c")) for split, frame in FRAMES.items()},
    )

    def save(splits, folder):
        with replaced_whole(folder) as new:
            splits.save_to_disk(new)

    def stop(self, target):
        if self.name == "state.json":
            raise KeyboardInterrupt
        return replace(self, target)

    for place in (".", "train"):
        save(DatasetDict(other), folder := tmp_path / f"of {place}")
        monkeypatch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            save(WHOLE, folder)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr("emotion_tutorial.data._warn", lambda *_: None)  # from a part, the others are cut
        assert not (folder / "dataset_dict.json").exists()
        assert {label for _, label in together(load_splits(folder / place))} == {"a", "b"}


def test_folder_that_save_to_disk_wrote(tmp_path):
    WHOLE.save_to_disk(tmp_path / "whole")
    assert rows(load_splits(tmp_path / "whole")) == ROWS
    WHOLE["train"].save_to_disk(tmp_path / "part")
    with pytest.warns(DataWarning, match="no validation and no test"):
        splits = load_splits(tmp_path / "part")
    assert together(splits) == sorted(ROWS["train"])


def test_frames_and_data_sets_whatever_their_index_types_and_format():
    odd = make_frame(6).assign(other=object(), id=range(6)).set_index(pd.Index([3, 3, 1, 0, 9, 9]))
    types = [{"text": kind, "label": kind} for kind in ("category", "string", object)]
    of_ids = odd.assign(label=pd.array([1, 0] * 3, "Int64"))
    for frame in (odd, odd.set_index(["id", "other"]), of_ids, *map(odd.astype, types)):
        assert rows(load_splits(three(frame), label_names=["a", "b"])) == three(ROWS["train"][:6])
    assert rows(load_splits(WHOLE)) == rows(load_splits(dict(WHOLE))) == rows(load_splits(FRAMES)) == ROWS
    with pytest.warns(DataWarning, match="no validation and no test"):
        assert together(load_splits(WHOLE["train"])) == sorted(ROWS["train"])
    backwards = WHOLE["train"].with_format("numpy").select(range(19, -1, -1))
    assert rows(load_splits(three(backwards)))["test"] == ROWS["train"][::-1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((3, 3.0, "3", " 3.0 ", "-1", -1.0), ["-1", "3"]),
        ((10, 2, 1.5), ["1.5", "10", "2"]),
        (("10", "2"), ["2", "10"]),
        ((True, False), ["False", "True"]),
        (("007", "7", "1e5", "NA"), ["007", "1e5", "7", "NA"]),
        (("Ärger", " joy", "joy "), ["joy", "Ärger"]),
    ],
)
def test_labels_are_names(labels, expected):
    frame = make_frame(len(labels)).assign(label=pd.Series(labels, dtype=object))
    splits = load_splits(three(frame))
    assert names(splits) == expected
    assert len(splits["train"]) == len(labels)


def test_given_names_set_the_order():
    assert names(load_splits(three(make_frame(4)), label_names=("b", "c", "a"))) == ["b", "c", "a"]
    by_id = load_splits(three(make_frame(4, (0, "1", 1.0))), label_names=np.array(["no", "yes"]))
    assert [name for _, name in rows(by_id)["train"]] == ["no", "yes", "yes", "no"]
    brought = three(make_frame(2, (1, "no"))) | {"train": make_dataset(["no", "yes"], [0, 1])}
    assert [name for _, name in rows(load_splits(brought))["test"]] == ["yes", "no"]
    for given in (["1", "2"], [" 1", " 2"]):  # names, not ids
        of_integers = load_splits(three(make_frame(4, (2, 1.0))), label_names=given)
        assert [name.strip() for _, name in rows(of_integers)["train"]] == ["2", "1", "2", "1"]


@pytest.mark.parametrize("column", ["label", "mood"])
def test_names_of_a_data_set_are_kept_by_name(column):
    """Each split may have an order of its own; names that are integers are not taken for ids."""
    parts = make_dataset(["2", "1"], [0, 1], column), make_dataset(["1", "2"], [0, 1], column)
    whole = {"train": parts[0], "validation": parts[1], "test": parts[0]}
    for given in (None, ["2", "1"], ["1", "2"], ["0", "1", "2"]):
        splits = load_splits(whole, label_column=column, label_names=given)
        assert [name for part in rows(splits).values() for _, name in part] == ["2", "1", "1", "2", "2", "1"]
        assert names(splits) == (given or ["2", "1"])
    with pytest.warns(DataWarning, match="are replaced"):  # other names: ids into them
        renamed = load_splits(whole, label_column=column, label_names=["bad", "good"])
    assert [name for _, name in rows(renamed)["train"]] == ["bad", "good"]


def test_missing_splits_are_cut_stratified_and_seeded():
    frame = make_frame(200, ("a", "a", "a", "b"))
    with pytest.warns(DataWarning, match="no validation and no test split") as caught:
        splits = load_splits(frame)
    assert {warning.filename for warning in caught} == {__file__}
    assert [len(dataset) for dataset in splits.values()] == [160, 20, 20]
    assert sum(splits["test"]["label"][:]) == sum(splits["validation"]["label"][:]) == 5
    assert together(splits) == sorted(frame.itertuples(index=False, name=None))
    with pytest.warns(DataWarning):
        assert rows(load_splits(frame)) == rows(splits)
    with pytest.warns(DataWarning):
        assert rows(load_splits(frame, seed=1))["test"] != rows(splits)["test"]
    with pytest.warns(DataWarning, match="no test split"):
        assert rows(load_splits({"train": frame, "dev": make_frame(2)}))["test"] == rows(splits)["test"]


@pytest.mark.parametrize("hidden", [-1, -1.0, "-1", None, np.nan, "", "no column"])
def test_a_test_split_without_labels_or_with_hidden_ones_is_set_aside(hidden):
    test = make_frame(5, word="t").assign(label=hidden)
    test = test.drop(columns="label") if hidden == "no column" else test
    with pytest.warns(DataWarning) as caught:
        splits = load_splits(FRAMES | {"test": test})
    assert ["It is set aside" in str(warning.message) for warning in caught] == [True, False]
    assert {warning.filename for warning in caught} == {__file__}
    assert sorted(rows(splits)["train"] + rows(splits)["test"]) == sorted(ROWS["train"])
    for lacking in ("train", "validation"):
        with pytest.raises(DataError, match=f"{lacking}.*no column 'label'"):
            load_splits(FRAMES | {lacking: FRAMES[lacking].rename(columns={"label": "labels"})})


def test_a_folder_as_the_hub_has_it(tmp_path):
    """Read the shards in order, with the names of the labels that the files bring."""
    (tmp_path / "data").mkdir()
    whole = make_dataset(["no", "yes", "never"], [1, 0] * 6)
    for number in range(11):
        part = whole.select([number] if number < 10 else [10, 11])
        part.to_parquet(tmp_path / f"data/train-{number:05}-of-00011.parquet")
    for split in ("validation", "test"):
        whole.to_parquet(tmp_path / f"data/{split}-00000-of-00001-0123456789abcdef.parquet")
    for source in (tmp_path, tmp_path / "data"):
        splits = load_splits(source)
        assert names(splits) == ["no", "yes", "never"]
        assert [splits["train"]["text"][:], splits["train"]["label"][:]] == [whole["text"][:], whole["label"][:]]
    (tmp_path / "data/train-00003-of-00011.parquet").unlink()
    with pytest.raises(DataError, match=r"10 parts for the split 'train', which do not fit"):
        load_splits(tmp_path)


def test_paths_begin_at_home_and_may_be_given_by_split(folder, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder.parent))
    home = f"~/{folder.name}"
    by_split = {"Train": f"{home}/train.csv", "dev": Path(home, "val.jsonl"), "test": folder / "test.parquet"}
    for source in (home, Path(home), by_split):
        assert rows(load_splits(source)) == ROWS


def test_minus_one_is_a_class_if_it_is_one_in_training():
    splits = load_splits({"train": make_frame(4, (-1, 1)), "dev": make_frame(2, (1,)), "test": make_frame(2, (-1,))})
    assert rows(splits)["test"] == [("text 0", "-1"), ("text 1", "-1")]


@pytest.mark.parametrize("missing", ["", "  ", None, np.nan, pd.NA])
def test_empty_texts_are_kept_and_said(missing):
    frame = make_frame(4).assign(text=pd.Series([missing, "x", missing, "y"], dtype=object))
    with pytest.warns(DataWarning, match=r"split 'test': 2 empty texts \(rows 0, 2\)") as caught:
        splits = load_splits(FRAMES | {"test": frame})
    assert [len(text.strip()) for text in splits["test"]["text"]] == [0, 1, 0, 1]
    assert caught[0].filename == __file__


ODD = [["a", "b"], {"a": 1}, b"a", pd.Timestamp(0), 1j, "half \ud83d"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (make_frame(6, ("a", None, "b")), "row 1: no label; 2 such rows"),
        (make_frame(6, (None, np.nan, pd.NA)), "row 0: no label; 6 such rows"),
        *((make_frame(3).assign(label=pd.Series(["a", odd, "b"], dtype=object)), "row 1: the label is") for odd in ODD),
        (make_dataset(["a", "a ", "b"], [0, 1, 2]), "label names.*'a', 'a ', 'b'"),
        ({"train": make_dataset(["a", "b"], [0, 1] * 9), "test": make_frame(2, (0, 2))}, "row 1: unknown label '2'"),
        (make_frame(4).assign(text=["a", None, 3, "b"]), r"text\[2\] is 3, not a string"),
        (make_frame(4).set_axis([0, 1], axis=1), "no column 'text'. It has 0, 1"),
        (make_frame(20, tuple("aaaaaaaaaaaaaaaaaaab")), "Cannot cut 2 rows for split 'test' from the 20 training rows"),
        (make_frame(7, ("a", "b", "c")), "Cannot cut 3 rows for split 'validation' from the 4 training rows"),
        (Dataset.from_pandas(make_frame(4)).remove_columns("label"), "no column 'label'. It has 'text'"),
        (make_dataset(["a", "b"], [0, 1, None]), "row 2: no label"),
        (FRAMES | {"test": make_frame(2, ("a", "c"))}, "split 'test', row 1: unknown label 'c'; 1 such rows.*'a', 'b'"),
    ],
)  # fmt: skip
def test_rows_that_are_refused(source, message):
    with pytest.raises(DataError, match=message):
        load_splits(source)


@pytest.mark.parametrize(
    "given",
    [["a", "a"], ["a", ""], ["a", 1], "ab", ["3", "3.0"], ["a", "c"], {"a", "b"}, 3, []],
)
def test_label_names_that_are_refused(given):
    with pytest.raises(DataError, match="label_names="):
        load_splits(three(make_frame(4)), label_names=given)


def test_splits_that_are_refused(folder):
    (folder / "dev.csv").write_text("text,label\nx,a\n")
    with pytest.raises(DataError, match=r"2 parts for the split 'validation'.*: dev.csv, val.jsonl"):
        load_splits(folder)
    (folder / "train.csv").unlink()
    (folder / "dev.csv").unlink()
    with pytest.raises(NotFoundError, match=r"no split 'train'.*'labels.csv', 'labels.txt', 'test.parquet'"):
        load_splits(folder)
    with pytest.raises(NotFoundError, match=r"no split 'train'.*'text', 'label'"):
        load_splits({"text": ["a"], "label": ["b"]})


NOWHERE = ["nowhere/train.csv", Path("nowhere"), "imbedded", "what a day, " * 1000, "a\0b", "", r"C:\data\mine"]
NOWHERE += ["./data/mine", "~nobody/mine", {"train": Path("train.csv")}]


@pytest.mark.parametrize(
    "source", [*NOWHERE, None, ["a", "b"], {"train": ["a"]}, {"train": None}, {"train": "embedded"}, {"train": "."}]
)
def test_sources_that_are_refused(source):
    error, said = (NotFoundError, "no file or folder") if source in NOWHERE else (SettingsError, "DataFrame")
    with pytest.raises(error, match=said) as caught:
        load_splits(source)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("option", [{"name": "main"}, {"revision": "main"}, {"seed": -1}])
def test_options_that_are_refused(option):
    with pytest.raises(SettingsError, match=f"{next(iter(option))}="):
        load_splits(FRAMES, **option)


def test_a_damaged_folder_of_save_to_disk(tmp_path):
    Dataset.from_pandas(make_frame(400)).save_to_disk(tmp_path)
    [file] = tmp_path.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DataError, match="damaged"):
        load_splits(tmp_path)


def test_other_columns_are_kept_as_strings_when_asked_for(tmp_path):
    frame = pd.DataFrame({"review": ["I won", "I lost"] * 20, "stars": ["a", "b"] * 20, "shop": ["x", None] * 20})
    frame["price"] = 1.5
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    columns = {"text_column": "review", "label_column": "stars"}
    with pytest.warns(DataWarning, match="no validation and no test"):
        splits = load_splits(tmp_path / "reviews.csv", **columns, other_columns=True)
    for dataset in splits.values():
        assert dataset.column_names == ["text", "label", "shop", "price"]
        expected = ["x" if text == "I won" else None for text in dataset["text"]]
        assert [value or None for value in dataset["shop"]] == expected
        assert set(dataset["price"]) == {"1.5"}
    with pytest.warns(DataWarning):
        assert load_splits(frame, **columns)["train"].column_names == ["text", "label"]


def test_other_columns_whose_names_are_taken_are_left_out_with_a_warning():
    frame = pd.DataFrame({"review": ["I won", "I lost"] * 20, "stars": ["a", "b"] * 20, "text": 1, "shop": "x"})
    with pytest.warns(DataWarning, match=r"the columns \['text'\] are left out|no validation and no test"):
        splits = load_splits(frame, text_column="review", label_column="stars", other_columns=True)
    assert splits["train"].column_names == ["text", "label", "shop"]
    assert set(splits["train"]["text"]) == {"I won", "I lost"}


def test_a_label_with_one_text_is_named_beside_the_one_that_it_looks_like():
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(60)], "label": ["good", "bad"] * 29 + ["Good", "bad"]})
    with pytest.raises(DataError, match=r"Only 1 text is left with the label 'Good', while others are called 'good'\."):
        load_splits(frame)
