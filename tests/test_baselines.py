import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion

from emotion_tutorial import DataError, fit_bag_of_words, fit_probe

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")


def test_bag_of_words_takes_raw_texts_and_does_not_see_order():
    model = fit_bag_of_words(["good day", "good food", "bad day", "bad food"] * 5, [0, 0, 1, 1] * 5)
    assert model.predict(["a good thing", "bad i say"]).tolist() == [0, 1]
    np.testing.assert_allclose(model.predict_proba(["good not bad"]), model.predict_proba(["bad not good"]))


def test_bag_of_words_of_english_is_that_of_scikit_learn(corpus):
    texts = corpus["train"]["text"][:]
    model = fit_bag_of_words(texts, corpus["train"]["label"])
    plain = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    assert (model["features"].get_feature_names_out() == plain.get_feature_names_out()).all()
    assert model.score(corpus["test"]["text"][:], corpus["test"]["label"][:]) > 0.55  # the majority has .33


# Per script: two texts to train on, and two others that share a word with them, or differ in a mark only.
SCRIPTS = [("राम की", "राम के", "की", "के"), ("ก่อน", "ก้อน", "ก่อน ก่อน", "ก้อน ก้อน"), ("😀", "😡", "so 😀", "so 😡")]
SCRIPTS += [("我高兴", "我难过", "他也高兴", "他也难过"), ("!!!", "?", "!!!", "?")]


@pytest.mark.parametrize("texts", SCRIPTS, ids=ascii)
def test_words_of_any_script_are_told_apart_and_the_model_can_be_kept(texts):
    model = pickle.loads(pickle.dumps(fit_bag_of_words([*texts[:2]] * 5, ["good", "bad"] * 5)))
    assert model.predict(texts[2:]).tolist() == ["good", "bad"]


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_tuning_on_too_little_is_refused():
    with pytest.raises(DataError, match="tune=False"):
        fit_bag_of_words(["a b", "c d", "e f"], [0, 1, 1], tune=True)
    for y in ([0, 1, 1], [0] * 11 + [1]):  # the one text of label 1 is missing from the others' folds
        with pytest.raises(DataError, match="tune=False"):
            fit_probe(np.random.default_rng(0).normal(size=(len(y), 3)), y, tune=True)


def test_tuned_bag_of_words_chooses_by_cross_validation():
    """The label is in an ending that no two texts share as a word: only runs of letters help."""
    stems = [f"w{a}{b}" for a in "bcdfghjklm" for b in "aeiou"]
    texts, y = [f"it {stem}{ending}" for stem in stems for ending in ("ing", "ed")], [0, 1] * 50
    tuned = fit_bag_of_words(texts, y, tune=True)
    assert isinstance(tuned.best_params_["features"], FeatureUnion)
    assert tuned.predict(["it xxxing", "it zzzed"]).tolist() == [0, 1]


def test_tuned_probe_chooses_by_cross_validation():
    """Each of many features tells a little: strong regularization is best."""
    rng = np.random.default_rng(0)
    y = np.array(["no", "yes"] * 60)
    X = rng.normal(size=(120, 60)) + 0.3 * (y == "yes")[:, None]
    tuned = fit_probe(X, y, tune=True)
    assert tuned.best_params_["logisticregression__C"] < 0.1
    by_hand = GridSearchCV(fit_probe(X, y), tuned.param_grid, scoring="f1_macro", cv=3).fit(X, y)
    assert tuned.best_score_ == by_hand.best_score_ > fit_probe(X, rng.permutation(y), tune=True).best_score_
    assert (pickle.loads(pickle.dumps(tuned)).predict(X) == tuned.predict(X)).all()


FRAME = pd.DataFrame({"text": ["a b", "a c", "b d", "c d"], "y": [0, 1, 0, 1]}, index=[3, 5, 7, 9])
X = np.eye(4)
ODD_LABELS = [(FRAME["y"].where(FRAME["y"] == 0), r"y\[1\] \(index 5\)"), ([0, 1, 0.5, 1], r"y\[2\] is 0.5")]
ODD_LABELS += [([0, "a"] * 2, r"y\[1\] is 'a'"), ([3] * 4, "only 3")]


def test_columns_of_frames_and_labels_of_any_kind_are_taken():
    for y in (FRAME[["y"]], FRAME["y"].astype(float), [False, True] * 2):
        assert fit_bag_of_words(FRAME[["text"]], y).predict(["a b", "a c"]).tolist() == [0, 1]
        assert fit_probe(X, y).predict(X[:2]).tolist() == [0, 1]
    names = FRAME["y"].map({0: "no", 1: "yes"}).astype("category")
    assert fit_bag_of_words(FRAME["text"], names).predict(["a c"]) == fit_probe(X, names).predict(X[1:2]) == "yes"


@pytest.mark.parametrize(("y", "said"), ODD_LABELS, ids=str)
def test_what_cannot_be_learned_is_refused(y, said):
    for fit, features in ((fit_bag_of_words, FRAME["text"]), (fit_probe, X)):
        with pytest.raises(DataError, match=said):
            fit(features, y)
    with pytest.raises(DataError, match=r"X\[2\]"):
        fit_probe(X * [[1], [1], [np.nan], [1]], FRAME["y"])
