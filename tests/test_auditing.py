import os
import time
import unicodedata
import warnings
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, concatenate_datasets

from emotion_tutorial import audit, drop_leaks, load_splits
from emotion_tutorial.exceptions import (
    DataWarning,
    EmptySplitError,
    MissingColumnError,
    MissingSplitError,
    UnknownLabelError,
)

REAL_DATA = Path(os.environ.get("EMOTION_TUTORIAL_REAL_DATA", "../shared/data/emotion"))
COLUMNS = ["finding", "split", "row", "text", "label", "other_split", "other_row", "other_label", "detail"]


def make_split(*rows: tuple[str | None, str], names: str = "ab") -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    texts, labels = [text for text, _ in rows], [names.index(label) for _, label in rows]
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def find(**splits: Dataset) -> list[tuple]:
    """Return what was found, without the texts and the rare classes."""
    found = audit(DatasetDict(splits), min_class_rows=0).drop(columns="text")
    return list(found.astype(object).where(found.notna(), None).itertuples(index=False, name=None))


def kinds(*texts: str) -> list[str]:
    """Return the findings in a split of these texts, all of one label."""
    return [finding for finding, *_ in find(train=make_split(*((text, "a") for text in texts)))]


def test_the_corpus_has_no_finding(corpus):
    found = audit(corpus)
    assert found.empty
    assert list(found.columns) == COLUMNS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drop_leaks(corpus) is corpus


def test_each_finding_about_a_text():
    train = make_split(("One text", "a"), ("one  TEXT!", "a"), ("One text", "a"), ("one text", "b"), (" ", "b"))
    test = make_split(("other", "a"), ("One text", "a"), ("one, text", "b"), ("long " * 400, "b"))
    assert find(train=train, test=test) == [
        ("near duplicate", "train", 1, "a", "train", 0, "a", "same label, normalised text"),
        ("duplicate", "train", 2, "a", "train", 0, "a", "same label, exact text"),
        ("conflicting label", "train", 3, "b", "train", 0, "a", "other label, normalised text"),
        ("empty", "train", 4, "b", "", None, "", ""),
        ("leak", "test", 1, "a", "train", 0, "a", "same label, exact text"),
        ("leak", "test", 2, "b", "train", 0, "a", "other label, normalised text"),
        ("over-long", "test", 3, "b", "", None, "", "400 words"),
    ]


def test_columns_and_types():
    found = audit(DatasetDict(train=make_split(("x", "a"), ("X", "b"), ("", "a"))))
    assert list(found.columns) == COLUMNS
    assert found["finding"].tolist() == ["conflicting label", "empty", "rare class", "rare class"]
    assert found["text"].tolist() == ["X", "", "", ""]
    assert found["row"].dtype == found["other_row"].dtype == "Int64"
    assert found["row"].isna().tolist() == [False, False, True, True]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_a_copy_is_compared_with_the_first_row():
    rows = make_split(("x", "a"), ("x", "b"), ("x", "a"), ("x", "b"))
    assert [(kind, other_row) for kind, _, _, _, _, other_row, *_ in find(train=rows)] == [
        ("conflicting label", 0),
        ("duplicate", 0),
        ("conflicting label", 0),
    ]


def test_a_leak_is_not_a_duplicate_too_until_it_is_dropped():
    splits = DatasetDict(train=make_split(("x", "a"), ("y", "a")), test=make_split(("x", "a"), ("x", "a")))
    assert [found[:3] for found in find(**splits)] == [("leak", "test", 0), ("leak", "test", 1)]
    with pytest.warns(DataWarning):
        assert [found[:3] for found in find(**drop_leaks(splits))] == [("duplicate", "test", 1)]


def test_a_text_may_be_over_long_and_a_duplicate():
    assert kinds("w " * 381, "w " * 380, "w " * 381) == ["over-long", "duplicate", "over-long"]
    found = audit(DatasetDict(train=make_split(("one two three", "a"))), max_words=2, min_class_rows=0)
    assert found["detail"].tolist() == ["3 words"]


def test_rare_classes_are_those_of_each_split():
    train = make_split(*((f"a{i}", "a") for i in range(10)), *((f"b{i}", "b") for i in range(9)), names="abc")
    found = audit(DatasetDict(train=train, test=make_split(("t", "a"))), min_class_rows=10)
    assert set(found["finding"]) == {"rare class"}
    assert found[["split", "label", "detail"]].to_numpy().tolist() == [
        ["train", "b", "9 texts"],
        ["train", "c", "0 texts"],
        ["test", "a", "1 texts"],
        ["test", "b", "0 texts"],
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I'm GLAD, so glad!", "i m glad so glad"),
        ("straße", "STRASSE"),
        ("ﬁne Ⅳ \uff11\uff12", "fine iv 12"),
        (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")),
        ("ΐ", "ΐ".upper()),
        ("أنا سعيد؟", "أنا  سعيد"),
        ("我很高兴。", "我很高兴\uff01"),
        ("मैं खुश हूँ।", "मैं खुश हूँ"),
        ("!!!", " !!!\n"),
        ("no\u00a0break", "no break"),
    ],
)
def test_texts_that_are_the_same_after_normalisation(one, other):
    assert kinds(one, other) == ["near duplicate"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("so glad 😀", "so glad 😡"),
        ("😀", "😀😀"),
        ("!!!", "???"),
        ("...", ""),
        ("resume", "résumé"),
        ("कि", "की"),  # two vowel signs, which are marks
        ("10 of 10", "1 of 10"),
        ("5 € off", "5 $ off"),
        ("every one", "everyone"),
    ],
)
def test_texts_that_differ(one, other):
    assert set(kinds(one, other)) <= {"empty"}


def test_empty_texts_are_no_duplicates_or_leaks():
    splits = {"train": make_split(("", "a"), (None, "b"), ("x", "b")), "test": make_split((" \n", "a"), ("", "b"))}
    assert [found[:3] for found in find(**splits)] == [
        ("empty", "train", 0),
        ("empty", "train", 1),
        ("empty", "test", 0),
        ("empty", "test", 1),
    ]
    assert drop_leaks(DatasetDict(splits))["train"].num_rows == 3


def test_many_classes_with_names_in_any_script():
    names = ["joy 😀", "грусть", "怒り", *map(str, range(500))]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"text": [f"text {i}" for i in names] * 2, "label": [*range(503)] * 2}, features=features)
    found = audit(DatasetDict(train=rows), min_class_rows=3)
    assert found["finding"].value_counts().to_dict() == {"duplicate": 503, "rare class": 503}
    assert found["label"].tolist() == names * 2


def test_labels_are_compared_by_name():
    splits = DatasetDict(train=make_split(("x", "a"), names="ab"), test=make_split(("x", "a"), names="ba"))
    assert audit(splits, min_class_rows=0)["detail"].tolist() == ["same label, exact text"]


def test_splits_with_a_format_or_other_columns():
    rows = make_split(("x", "a"), ("X", "a")).add_column("id", [1, 2])
    for dataset in (rows, rows.with_format("numpy"), rows.with_format("pandas"), rows.select([0, 1])):
        assert [found[0] for found in find(train=dataset)] == ["near duplicate"]


def test_many_texts_take_seconds():
    texts = [f"Text number {i % 90_000}: {'ça va 😀 ' * 10}" for i in range(100_000)]
    splits = DatasetDict(train=make_split(*((text, "a") for text in texts)))
    start = time.perf_counter()
    assert len(audit(splits, min_class_rows=0)) == 10_000
    assert time.perf_counter() - start < 30  # 3 alone; the tests may share the machine


@pytest.mark.parametrize("work", [audit, drop_leaks])
def test_refuses_what_cannot_be_compared(work):
    good = make_split(("x", "a"))
    for bad in (good.remove_columns("text"), good.remove_columns("label"), good.cast_column("label", Value("int64"))):
        with pytest.raises(MissingColumnError, match="Split 'test' needs a column 'text' of strings, and a ClassLabel"):
            work(DatasetDict(train=good, test=bad))
    numbers = Dataset.from_dict({"text": [1], "label": [0]}).cast_column("label", ClassLabel(names=["a", "b"]))
    with pytest.raises(MissingColumnError, match=r"of strings.*load_splits\(\)"):
        work(DatasetDict(train=numbers))
    for label in (-1, None):
        bad = Dataset.from_dict({"text": ["x", "y"], "label": [0, label]}, features=good.features)
        with pytest.raises(UnknownLabelError, match=r"'test', row 1: the label is (-1|nan); 1 such rows.* 0 to 1"):
            work(DatasetDict(train=good, test=bad))
    with pytest.raises(MissingSplitError, match="There is no split"):
        work(DatasetDict())


def test_drop_leaks_refuses_splits_without_train_and_to_leave_none():
    one = make_split(("x", "a"))
    with pytest.raises(MissingSplitError, match="no split 'train', only 'validation', 'test'"):
        drop_leaks(DatasetDict(validation=one, test=one))
    with pytest.raises(EmptySplitError, match=r"All 1 training texts .*\(1 in 'test'\): none is left"):
        drop_leaks(DatasetDict(train=one, test=one))


def test_drop_leaks_removes_exactly_these_and_says_so():
    train = make_split(
        ("keep 1", "a"), ("In Both", "a"), ("keep 1", "b"), ("exact", "a"), ("Near!", "b"), ("in both", "a"), ("", "a")
    ).add_column("id", [*range(7)])
    splits = DatasetDict(
        train=train,
        validation=make_split(("in both", "b"), ("exact", "a"), ("", "b")),
        test=make_split(("in both", "a"), ("near", "b"), ("new", "b")),
    )
    message = "Left out 4 of 7 training rows, whose text stands in another split: 3 in 'validation', 3 in 'test'"
    with pytest.warns(DataWarning, match=message) as caught:
        left = drop_leaks(splits)
    assert caught[0].filename == __file__
    assert left["train"]["id"][:] == [0, 2, 6]
    assert left["train"].features == train.features
    assert left["validation"] is splits["validation"]
    assert left["test"] is splits["test"]
    assert splits["train"].num_rows == 7
    assert list(left) == list(splits)
    found = audit(left)
    assert found.loc[found["finding"] == "leak", ["split", "other_split"]].to_numpy().tolist() == [
        ["test", "validation"]
    ]
    assert drop_leaks(left) is left


def test_drop_leaks_goes_by_the_other_splits_whatever_their_names():
    splits = DatasetDict(train=make_split(("x", "a"), ("y", "b")), dev=make_split(("y", "b")))
    with pytest.warns(DataWarning, match="1 of 2 .* 1 in 'dev'"):
        assert drop_leaks(splits)["train"]["text"][:] == ["x"]
    assert drop_leaks(DatasetDict(train=splits["train"]))["train"] is splits["train"]


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data are not in {REAL_DATA}")
def test_real_data():
    whole = DatasetDict()
    for split, file in (("train", "train.txt"), ("validation", "val.txt")):
        with pytest.warns(DataWarning):
            parts = load_splits(REAL_DATA / file)
        whole[split] = concatenate_datasets(list(parts.values()))
    found = audit(whole)
    assert found.groupby(["finding", "split"]).size().to_dict() == {
        ("conflicting label", "train"): 30,
        ("conflicting label", "validation"): 2,
        ("duplicate", "train"): 1,
        ("leak", "validation"): 5,
    }
    leaks = found[found["finding"] == "leak"]
    assert (leaks["label"] != leaks["other_label"]).all()
    assert not found["detail"].str.contains("normalised").any()
    with pytest.warns(DataWarning, match="Left out 5 of 16000 .* 5 in 'validation'"):
        left = drop_leaks(whole)
    assert not set(left["train"]["text"]) & set(whole["validation"]["text"])
    assert pd.Series(left["train"]["text"][:]).isin(whole["train"]["text"][:]).all()
