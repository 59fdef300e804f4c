"""What is expected of a classifier, checked on pairs of texts."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import emotion_tutorial as et

ROWS = [
    ("size", 7, "a", "joy", "a big day"),
    ("size", 7, "b", "joy", "a tiny day"),
    ("negation", "x", "b", "fear", "not a calm day"),
    ("negation", "x", "a", "joy", "a calm day"),
    ("size", 8, "a", "fear", "a big night"),
    ("size", 8, "b", "fear", "a tiny night"),
]
PAIRS = pd.DataFrame(ROWS, columns=["capability", "pair", "variant", "label", "text"], index=[*"uvwxyz"])
ANSWERS = ["joy", "fear", "fear", "joy", "joy", "fear"]


def by_words(texts: list[str]) -> list[str]:
    """Take everything at night, and nothing else, for frightening."""
    return ["fear" if "night" in text else "joy" for text in texts]


def test_pairs_are_counted_by_capability_and_variant():
    found = et.check_behavior(PAIRS, by_words)
    assert found.index.names == ["capability", "right"]
    assert found.index.tolist() == [(name, r) for name in ("size", "negation", "all") for r in ("a", "b", "both")]
    assert found.columns.tolist() == ["value", "low", "high", "support"]
    assert found["value"].tolist() == pytest.approx([1, 1, 1, 1, 0, 0, 1, 2 / 3, 2 / 3])
    assert found.loc[("size", "both"), "value"] == 1
    assert found["support"].tolist() == [2] * 3 + [1] * 3 + [3] * 3
    interval = binomtest(2, 3).proportion_ci(method="wilson")
    assert found.loc[("all", "both"), ["low", "high"]].tolist() == pytest.approx([*interval])


def test_all_texts_are_given_at_once_and_labels_come_in_any_column():
    calls = []
    for kind in (list, iter, np.array, pd.Series, lambda x: pd.Series(x, PAIRS.index)):
        found = et.check_behavior(PAIRS, lambda texts, kind=kind: calls.append(texts) or kind(ANSWERS))
        assert found.loc["size", "value"].tolist() == [0.5, 0.5, 0]  # both is right only where each is
        assert found.loc[("all", "both"), "value"] == pytest.approx(1 / 3)
    assert calls == [PAIRS["text"].tolist()] * 5


@pytest.mark.parametrize("labels", [["LABEL_1"] * 6, np.arange(6)])
def test_labels_that_no_text_has_are_reported(labels):
    with pytest.warns(et.DataWarning, match=r"'joy': names\[id\]"):
        found = et.check_behavior(PAIRS, lambda texts: labels)
    assert (found["value"] == 0).all()


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (PAIRS.drop(columns=["pair", "text"]), "capability.*Give a frame with the columns"),
        (PAIRS.iloc[:-1], r"'size', 8\) has the variants \['a'\]"),
        (pd.concat([PAIRS, PAIRS.iloc[:1]]), r"'size', 7\) has the variants \['a', 'b', 'a'\]"),
        (PAIRS.assign(pair=[7, 7, None, "x", 8, 8]), r"pair\[2\] \(index w\) is missing"),
        (PAIRS.assign(text=[*"abcd", np.nan, "e"]), r"text\[4\] \(index y\) is missing"),
        (PAIRS.iloc[:0], "0 texts"),
        (None, "Give a frame"),
    ],
)
def test_what_are_no_pairs_is_refused_before_anything_is_predicted(pairs, said):
    with pytest.raises(et.DataError, match=said):
        et.check_behavior(pairs, lambda texts: 1 / 0)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (ANSWERS[1:], "6 texts and 5 labels"),
        (np.full((6, 3), 1 / 3), r"ndarray \(6, 3\)"),
        (pd.DataFrame(np.full((6, 2), 0.5), columns=["joy", "fear"]), "one column"),
        (pd.Series(ANSWERS, PAIRS.index[::-1]), "different indexes"),
        ([None, *ANSWERS[1:]], r"predict\(texts\)\[0\] is missing"),
        ({"joy": 6}, r"predict\(texts\)= is a dict"),
        (None, r"predict\(texts\)= is a NoneType"),
    ],
)
def test_what_are_no_labels_of_the_texts_is_refused(returned, said):
    with pytest.raises(et.DataError, match=said):
        et.check_behavior(PAIRS, lambda texts: returned)
