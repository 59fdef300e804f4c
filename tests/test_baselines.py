import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import FeatureUnion

from emotion_tutorial import fit_bag_of_words, fit_majority, fit_probe
from emotion_tutorial.exceptions import TooFewClassesError

TEXTS = ["good day", "good food", "bad day", "bad food"] * 5
Y = [0, 0, 1, 1] * 5


def test_majority_answers_with_the_commonest_label():
    model = fit_majority(np.zeros((3, 1)), [2, 2, 0])
    assert model.predict([[9], [9]]).tolist() == [2, 2]
    assert model.score([[1], [1]], [2, 0]) == 0.5
    with pytest.raises(ValueError, match="inconsistent"):
        fit_majority(np.zeros((2, 1)), [1])


def test_bag_of_words_takes_raw_texts():
    model = fit_bag_of_words(TEXTS, Y)
    assert model.predict(["a good thing", "bad i say"]).tolist() == [0, 1]
    np.testing.assert_allclose(model.predict_proba(["good"]).sum(), 1)


def test_bag_of_words_does_not_see_order():
    model = fit_bag_of_words(TEXTS, Y)
    np.testing.assert_allclose(model.predict_proba(["good not bad"]), model.predict_proba(["bad not good"]))


def test_bag_of_words_on_the_corpus_converges_and_beats_the_majority(corpus):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = fit_bag_of_words(corpus["train"]["text"], corpus["train"]["label"][:])
    assert model.score(corpus["test"]["text"][:], corpus["test"]["label"][:]) > 0.65


def test_tuned_bag_of_words_chooses_by_cross_validation():
    """The label is in an ending that no two texts share as a word: only runs of letters help."""
    stems = [f"w{a}{b}" for a in "bcdfghjklm" for b in "aeiou"]
    texts, y = [f"it {stem}{ending}" for stem in stems for ending in ("ing", "ed")], [0, 1] * 50
    tuned = fit_bag_of_words(texts, y, tune=True)
    assert isinstance(tuned.best_params_["features"], FeatureUnion)
    assert set(tuned.cv_results_["param_classifier__estimator__C"]) == {1, 3, 10}
    assert tuned.predict(["it xxxing", "it zzzed"]).tolist() == [0, 1]
    with pytest.raises(TooFewClassesError):
        fit_bag_of_words(texts, [0] * 100, tune=True)


def test_bag_of_words_of_many_labels_gives_probabilities():
    model = fit_bag_of_words([f"only{i} word" for i in range(11)] * 3, list(range(11)) * 3)
    probabilities = model.predict_proba(["only7", "something else"])
    assert probabilities.shape == (2, 11)
    assert probabilities[0].argmax() == 7
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_probe_does_not_mind_the_scale_of_a_feature():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = rng.normal(size=(120, 5)) + y[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        plain = fit_probe(X, y)
        scaled = fit_probe(X * [1, 1e-6, 1e6, 10, 1], y)
    assert plain.score(X, y) > 0.8
    np.testing.assert_allclose(plain.predict_proba(X), scaled.predict_proba(X * [1, 1e-6, 1e6, 10, 1]), atol=1e-3)


@pytest.mark.parametrize("fit", [fit_bag_of_words, fit_probe])
def test_one_label_is_refused(fit):
    with pytest.raises(TooFewClassesError, match=r"found \[3\]"):
        fit(["a", "b"] if fit is fit_bag_of_words else np.zeros((2, 2)), [3, 3])
