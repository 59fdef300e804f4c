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
from emotion_tutorial.texts import as_labels, as_texts, require_labeled, require_number
from emotion_tutorial.words import LONGEST, find_words, word_spans

Mood = enum.Enum("Mood", {"A": "a", "B": "b"}, type=str)
FRAME = pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}, index=[7, 7])
DATA = Dataset.from_dict(
    {"text": ["a", "b"], "label": [1, 0]}, Features({"text": Value("string"), "label": ClassLabel(names=["x", "y"])})
)
ONE_COLUMN = DATA.remove_columns("label")
GOOD = [
    *(["a", "b"], (text for text in "ab"), {1: "a", 2: "b"}.values(), np.array(["a", "b"]), np.array([["a"], ["b"]])),
    *(
        pd.Index(["a", "b"]),
        pd.Categorical(["a", "b"]),
        FRAME["text"],
        FRAME[["text"]],
        pa.chunked_array([["a"], ["b"]]),
    ),
    *(FRAME["text"].astype("category"), FRAME["text"].astype("string[pyarrow]"), [Mood.A, np.str_("b")]),
    *(ONE_COLUMN, DATA["text"], ONE_COLUMN.with_format("pandas"), DATA.with_format("numpy")["text"]),
]
IDS = [np.array([1, 0]), torch.tensor([[1], [0]]), pa.array([1, 0]), FRAME["label"].astype("Int64"), FRAME[["label"]]]
NO_COLUMN = [
    FRAME,
    DATA,
    DatasetDict(train=ONE_COLUMN),
    {"a": 1, "b": 2},
    {"a", "b"},
    b"ab",
    None,
    3,
    torch.zeros(2, 2),
]
NO_TEXT = [None, np.nan, pd.NA, 3, b"a", ["a"], {"text": "a"}, "half \ud83d"]
NO_LABEL = [None, np.nan, pd.NaT, [1], b"a", 1j, pd.Timestamp(0), "half \ud83d", np.inf]


@pytest.mark.parametrize("given", GOOD, ids=lambda given: type(given).__name__)
def test_one_column_of_texts_is_taken_with_its_index(given):
    texts, index = as_texts(given)
    assert (texts, {*map(type, texts)}) == (["a", "b"], {str})
    assert list(index) == ([7, 7] if isinstance(given, pd.Series | pd.DataFrame) else [0, 1])


@pytest.mark.parametrize("given", IDS, ids=lambda given: type(given).__name__)
def test_ids_are_taken_as_plain_numbers_one_for_each_text(given):
    assert as_labels(given, "y", 2) == [1, 0]
    assert {*map(type, as_labels(given, "y", 2))} == {int}
    with pytest.raises(DataError, match="3 texts and 2 labels in y="):
        as_labels(given, "y", 3)


@pytest.mark.parametrize("given", NO_COLUMN, ids=lambda given: type(given).__name__)
def test_what_is_no_column_is_refused(given):
    for take in (as_texts, lambda given: as_labels(given, "texts", 2)):
        with pytest.raises(DataError, match=r"^texts= .*not one column of values\. Give .*\.$"):
            take(given)
    with pytest.raises(DataError, match="y= is a str"):  # its letters would be labels
        as_labels("ab", "y", 2)


@pytest.mark.parametrize(
    ("take", "good", "bad"),
    [
        *((as_texts, "a", bad) for bad in NO_TEXT),
        *((lambda given: as_labels(given, "texts", 2), 1, bad) for bad in NO_LABEL),
    ],
)
def test_the_row_of_a_bad_value_is_named(take, good, bad):
    with pytest.raises(DataError, match=r"^texts\[1\] .*\.$"):
        take([good, bad])
    with pytest.raises(DataError, match=r"^texts\[1\] \(index 9\)"):
        take(pd.Series([good, bad], index=[4, 9], dtype=object))


def test_a_labeled_split_gives_its_names():
    for dataset in (DATA, DATA.with_format("numpy"), DATA.select([1]), DATA.select([]), DATA.add_column("id", [1, 2])):
        assert require_labeled(dataset, "train") == ["x", "y"]
    other = DATA.cast_column("label", Value("int64"))
    for odd in (DATA.rename_column("label", "labels"), other, DATA.cast_column("text", Value("binary")), FRAME, None):
        with pytest.raises(DataError, match=r"^train .*expected a Dataset of load_splits.*\.$"):
            require_labeled(odd, "train")
    for label, said in ((None, "missing"), (-1, "-1, not an id from 0 to 1")):
        bad = Dataset.from_dict({"text": ["a", "b"], "label": [0, label]}, features=DATA.features)
        with pytest.raises(DataError, match=rf"train, label\[1\] is {said}"):
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
    lengths = {text: [end - start for start, end in word_spans(text)] for text in ("x" * 90, "abc我很 ok。很")}
    assert [*lengths.values()] == [[LONGEST, LONGEST, 90 - 2 * LONGEST], [3, 1, 1, 3, 1]]


def test_numbers_of_any_library_and_nothing_else():
    require_number(1, 5, size=5, other=np.int64(3))
    require_number(0.5, rate=np.float32(2.5), other=1)
    for value in (0, 6, 2.0, True, "3", None, [3], np.nan):
        with pytest.raises(SettingsError, match=r"size= is .*a whole number from 1 to 5\.$"):
            require_number(1, 5, size=value)
    for value in (0, np.inf, np.nan, True, "1"):
        with pytest.raises(SettingsError, match=r"rate= is .*a finite number from 0\.5"):
            require_number(0.5, rate=value)
