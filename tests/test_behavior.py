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


def test_both_is_right_only_where_each_is():
    found = et.check_behavior(PAIRS, lambda texts: ANSWERS)
    assert found.loc["size", "value"].tolist() == [0.5, 0.5, 0]


def test_all_texts_are_given_at_once_and_labels_come_in_any_column():
    calls = []
    for kind in (list, tuple, iter, np.array, pd.Series, pd.Categorical, lambda x: pd.DataFrame({"label": x})):
        found = et.check_behavior(PAIRS, lambda texts, kind=kind: calls.append(texts) or kind(ANSWERS))
        pd.testing.assert_frame_equal(found, et.check_behavior(PAIRS, lambda texts: ANSWERS))
    assert calls == [PAIRS["text"].tolist()] * 7
    assert et.check_behavior(PAIRS, lambda texts: pd.Series(ANSWERS, PAIRS.index)).loc["all", "value"].iloc[2] == 1 / 3


def test_ids_are_compared_with_ids_and_digits_are_names():
    ids = PAIRS.assign(label=[0, 0, 1, 0, 1, 1], text="a day")
    assert (et.check_behavior(ids, lambda texts: np.array(ids["label"]))["value"] == 1).all()
    digits = ids.assign(label=ids["label"].astype(str))
    assert (et.check_behavior(digits, lambda texts: digits["label"])["value"] == 1).all()
    with pytest.raises(et.DataError, match=r"label\[0\] is '0', and predict= returned 0\."):
        et.check_behavior(digits, lambda texts: ids["label"])


def test_labels_that_no_text_has_are_reported():
    with pytest.warns(et.DataWarning, match="'LABEL_1'.*'joy'"):
        found = et.check_behavior(PAIRS, lambda texts: ["LABEL_1"] * 6)
    assert (found["value"] == 0).all()


def test_a_trained_model_is_checked(tiny_checkpoint, tokenizer):
    names = ["sadness", "joy", "love", "anger", "fear", "surprise"]
    model = et.load_classifier(tiny_checkpoint, names, "cpu")
    pairs = et.load_behavior_pairs().query("capability in ['typing', 'irony']")
    found = et.check_behavior(pairs, lambda texts: et.predict_proba(texts, model, tokenizer).idxmax(axis=1))
    labels = et.predict_proba(pairs["text"], model, tokenizer).idxmax(axis=1)
    right = (labels == pairs["label"])[pairs["variant"] == "b"]
    assert found.loc[("all", "b"), "value"] == right.mean()
    assert found.index.unique(0).tolist() == ["typing", "irony", "all"]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (PAIRS.drop(columns=["pair", "text"]), "capability.*Give a frame with the columns"),
        (PAIRS.iloc[:-1], r"Pair 8 of 'size' has the variants \['a'\]"),
        (pd.concat([PAIRS, PAIRS.iloc[:1]]), r"Pair 7 of 'size' has the variants \['a', 'b', 'a'\]"),
        (PAIRS.assign(variant="ab"), r"has the variants \['ab', 'ab'\]"),
        (PAIRS.assign(capability="all"), "'all'"),
        (PAIRS.assign(pair=[7, 7, None, "x", 8, 8]), r"pair\[2\] \(index 'w'\) is missing"),
        (PAIRS.assign(label=["joy", None, *["joy"] * 4]), r"label\[1\] \(index 'v'\) is missing"),
        (PAIRS.assign(text=[*"abcd", np.nan, "e"]), r"text\[4\] \(index 'y'\) is missing"),
        (PAIRS.assign(text=pd.Series([*"abcd", "\ud83d", "e"], PAIRS.index, dtype=object)), "half a character"),
        (PAIRS.iloc[:0], "0 texts"),
        (pd.concat([PAIRS, PAIRS["label"]], axis=1), "one column"),
        *((pairs, "Give a frame") for pairs in (None, 3, "a", [], {}, pd.DataFrame())),
    ],
)
def test_what_are_no_pairs_is_refused_before_anything_is_predicted(pairs, said):
    with pytest.raises(et.DataError, match=said):
        et.check_behavior(pairs, lambda texts: 1 / 0)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (ANSWERS[1:], "6 texts and 5 labels"),
        ([1, *ANSWERS[1:]], r"label\[0\] is 'joy', and predict= returned 1\. .* names\[id\]"),
        (np.arange(6), r"label\[0\] is 'joy', and predict= returned 0\. .* names\[id\]"),
        (np.full((6, 3), 1 / 3), r"shape \(6, 3\).*idxmax"),
        (pd.DataFrame(np.full((6, 2), 0.5), columns=["joy", "fear"]), r"shape \(6, 2\).*idxmax"),
        (pd.Series(ANSWERS, PAIRS.index[::-1]), "different indexes"),
        ([None, *ANSWERS[1:]], r"predict\(texts\)\[0\] is missing"),
        ({"joy": 6}, r"predict\(texts\)= is a dict"),
        ("joy", r"predict\(texts\)= is a str"),
        (None, r"predict\(texts\)= is a NoneType"),
    ],
)
def test_what_are_no_labels_of_the_texts_is_refused(returned, said):
    with pytest.raises(et.DataError, match=said):
        et.check_behavior(PAIRS, lambda texts: returned)
    with pytest.raises(et.DataError, match="Give a function"):
        et.check_behavior(PAIRS, ANSWERS)
