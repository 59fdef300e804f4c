"""What a helper takes for texts, labels and labeled splits, and what a word is."""

# ruff: noqa: RUF001 - words of other scripts

import enum
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial import DataError, SettingsError
from emotion_tutorial.texts import as_column, as_labels, as_texts, require_labeled, require_number
from emotion_tutorial.words import LONGEST, find_words, word_spans

Mood = enum.Enum("Mood", {"A": "a", "B": "b"}, type=str)
FRAME = pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}, index=[7, 7])
DATA = Dataset.from_dict(
    {"text": ["a", "b"], "label": [1, 0]}, Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])})
)
ONE_COLUMN = DATA.remove_columns("label")
GOOD = [
    *(["a", "b"], ("a", "b"), (text for text in "ab"), {1: "a", 2: "b"}.values(), np.array(["a", "b"])),
    *(np.array([["a"], ["b"]], dtype=object), pd.Index(["a", "b"]), pd.Categorical(["a", "b"]), pd.array(["a", "b"])),
    *(FRAME["text"], FRAME[["text"]], FRAME["text"].astype("category"), FRAME["text"].astype("string[pyarrow]")),
    *(ONE_COLUMN, DATA["text"], ONE_COLUMN.with_format("pandas"), DATA.with_format("numpy")["text"]),
    *(pa.array(["a", "b"]), pa.chunked_array([["a"], ["b"]]), [Mood.A, Mood.B], [np.str_("a"), "b"]),
]
ONE = {"as_texts": as_texts, "as_labels": lambda given: as_labels(given, "y", 2)}
NO_COLUMN = [
    *(FRAME, FRAME[[]], DATA, DatasetDict(train=ONE_COLUMN), {"a": 1, "b": 2}, {"a", "b"}, frozenset("ab"), b"ab"),
    *(
        bytearray(b"ab"),
        memoryview(b"ab"),
        None,
        3,
        np.array("a"),
        np.array([["a", "b"]]),
        np.zeros((2, 1)).view(np.matrix),
        pa.table({"a": ["a", "b"]}),
    ),
    *(torch.zeros(2, 2), ONE_COLUMN.to_iterable_dataset()),
]
NO_TEXT = [None, np.nan, pd.NA, pd.NaT, 3, b"a", ["a"], [["a"], ["a", "b"]], {"text": "a"}, "half \ud83d", object()]
NO_LABEL = [None, np.nan, pd.NA, pd.NaT, [1], [[1], [1, 2]], (1, 2), b"a", {"a": 1}, 1j, pd.Timestamp(0), np.ones(1)]
NO_LABEL += [np.datetime64("2020"), np.timedelta64(3, "s"), np.bytes_(b"a"), "half \ud83d", np.inf, torch.ones(2)]


@pytest.mark.parametrize("given", GOOD, ids=lambda given: type(given).__name__)
def test_one_column_of_texts_is_taken_with_its_index(given):
    texts, index = as_texts(given)
    assert (texts, {*map(type, texts)}) == (["a", "b"], {str})
    assert list(index) == ([7, 7] if isinstance(given, pd.Series | pd.DataFrame) else [0, 1])


@pytest.mark.parametrize(
    "given", [[1, 0], np.array([1, 0]), torch.tensor([[1], [0]]), pa.array([1, 0]), FRAME["label"].astype("Int64")]
)
def test_ids_are_taken_as_plain_numbers(given):
    assert as_column(given, "y")[0] == as_labels(given, "y", 2) == [1, 0]
    assert {*map(type, as_labels(given, "y", 2))} == {int}


@pytest.mark.parametrize("take", ONE)
@pytest.mark.parametrize("given", NO_COLUMN, ids=lambda given: type(given).__name__)
def test_what_is_no_column_is_refused(take, given):
    with pytest.raises(DataError, match=r"^(texts|y)= .*not one column of values\. Give .*\.$"):
        ONE[take](given)


def test_a_column_is_named_that_is_there():
    for given in (FRAME, DATA):
        with pytest.raises(DataError, match=r"texts=data\['text'\]"):
            as_texts(given)
    with pytest.raises(DataError, match="y= is a str"):  # its letters would be labels
        as_labels("ab", "y", 2)


@pytest.mark.parametrize(
    ("take", "good", "bad"),
    [*(("as_texts", "a", bad) for bad in NO_TEXT), *(("as_labels", 1, bad) for bad in NO_LABEL)],
)
def test_the_row_of_a_bad_value_is_named(take, good, bad):
    with pytest.raises(DataError, match=r"^(texts|y)\[1\] .*\.$"):
        ONE[take]([good, bad])
    column = pd.Series([good, bad], index=["first", pd.NA], dtype=object)
    with pytest.raises(DataError, match=r"^(texts|y)\[1\] \(index (<NA>|nan)\)"):
        ONE[take](column)
    array = np.empty(2, dtype=object)
    array[:] = good, bad
    with pytest.raises(DataError, match=r"^(texts|y)\[1\] .*\.$"):
        ONE[take](array)


def test_labels_fit_their_texts():
    assert as_labels(FRAME["label"], "y", 2) == as_labels(FRAME[["label"]], "y", 2) == [1, 0]
    with pytest.raises(DataError, match="2 texts and 1 labels in y="):
        as_labels([1], "y", 2)


def test_a_labeled_split_gives_its_names():
    for dataset in (DATA, DATA.with_format("numpy"), DATA.select([1]), DATA.select([]), DATA.add_column("id", [1, 2])):
        assert require_labeled(dataset, "train") == ["x", "y"]
    other = DATA.cast_column("label", Value("int64"))
    for odd in (DATA.rename_column("label", "labels"), other, DATA.cast_column("text", Value("binary")), FRAME, None):
        with pytest.raises(DataError, match=r"^train .*expected a Dataset.*Load it with load_splits.*\.$"):
            require_labeled(odd, "train")
    for label, said in ((None, "missing"), (-1, "-1, not 0 to 1")):
        bad = Dataset.from_dict({"text": ["a", "b"], "label": [0, label]}, features=DATA.features)
        with pytest.raises(DataError, match=f"train, row 1: the label is {said}"):
            require_labeled(bad, "train")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't know: 3_a, cafe\u0301!", ["I", "don", "t", "know", "3_a", "café"]),
        ("मैं खुश हूँ।", ["मैं", "खुश", "हूँ"]),
        ("abc我很高兴,ハート", ["abc", "我", "很", "高", "兴", "ハ", "ー", "ト"]),
        ("ผมดีใจ", ["ผ", "ม", "ดี", "ใ", "จ"]),
        ("می\u200cخواهم \u200d", ["می\u200cخواهم"]),
        ("ok😀😡 👩\u200d👧👍🏽🇩🇪🇫🇷 ▶️‼ 1️⃣", ["ok", *"😀😡", "👩\u200d👧", "👍🏽", "🇩🇪", "🇫🇷", "▶️", "‼", "1️⃣"]),
        ("🏴\U000e0067\U000e007f🏴\U000e0073\U000e007f", ["🏴\U000e0067\U000e007f", "🏴\U000e0073\U000e007f"]),
        ("co\u00adoperate zero\u200bwidth\ufeff", ["cooperate", "zerowidth"]),
        ("... \ud83d", []),
    ],
)
def test_words_and_pieces_of_any_script(text, words):
    assert find_words(text) == words
    spans = word_spans(text)
    assert "".join(text[a:b] for a, b in spans) == "".join(text.split())
    assert all(a < b <= c for (a, b), (c, _) in pairwise([*spans, (len(text), 0)]))


def test_long_pieces_and_scripts_without_spaces_are_divided():
    assert [len(range(*span)) for span in word_spans("x" * 90)] == [LONGEST, LONGEST, 90 - 2 * LONGEST]
    assert [*map(len, map("abc我很 ok。很".__getitem__, (slice(*s) for s in word_spans("abc我很 ok。很"))))] == [
        3,
        1,
        1,
        3,
        1,
    ]


def test_numbers_of_any_library_and_nothing_else():
    for value in (1, 5, np.int64(3), np.uint8(5)):
        require_number("size", value, 1, 5)
    for value in (0.5, 1, np.float32(2.5)):
        require_number("rate", value, 0.5, np.inf)
    for value in (0, 6, 2.0, True, np.bool_(True), "3", None, [3], np.array([3]), np.nan):
        with pytest.raises(SettingsError, match=r"size is .*an integer from 1 to 5\.$"):
            require_number("size", value, 1, 5)
    for value in (0, np.inf, np.nan, True, "1", 1j):
        with pytest.raises(SettingsError, match=r"rate is .*a finite number from 0\.5"):
            require_number("rate", value, 0.5, np.inf)
