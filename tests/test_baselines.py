import numpy as np
import pytest
from sklearn.pipeline import FeatureUnion

from emotion_tutorial import fit_bag_of_words, fit_majority, fit_probe
from emotion_tutorial.exceptions import DataError

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")


def test_majority_answers_with_the_commonest_label():
    model = fit_majority(np.zeros((3, 1)), [2, 2, 0])
    assert model.predict([[9], [9]]).tolist() == [2, 2]


def test_bag_of_words_takes_raw_texts_and_does_not_see_order():
    model = fit_bag_of_words(["good day", "good food", "bad day", "bad food"] * 5, [0, 0, 1, 1] * 5)
    assert model.predict(["a good thing", "bad i say"]).tolist() == [0, 1]
    np.testing.assert_allclose(model.predict_proba(["good not bad"]), model.predict_proba(["bad not good"]))


def test_bag_of_words_on_the_corpus_converges_and_beats_the_majority(corpus):
    model = fit_bag_of_words(corpus["train"]["text"], corpus["train"]["label"][:])
    assert model.score(corpus["test"]["text"][:], corpus["test"]["label"][:]) > 0.55  # the majority has .33


def test_tuned_bag_of_words_chooses_by_cross_validation():
    """The label is in an ending that no two texts share as a word: only runs of letters help."""
    stems = [f"w{a}{b}" for a in "bcdfghjklm" for b in "aeiou"]
    texts, y = [f"it {stem}{ending}" for stem in stems for ending in ("ing", "ed")], [0, 1] * 50
    tuned = fit_bag_of_words(texts, y, tune=True)
    assert isinstance(tuned.best_params_["features"], FeatureUnion)
    assert set(tuned.cv_results_["param_classifier__estimator__C"]) == {1, 3, 10}
    assert tuned.predict(["it xxxing", "it zzzed"]).tolist() == [0, 1]


def test_probe_does_not_mind_the_scale_of_a_feature():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = rng.normal(size=(120, 5)) + y[:, None]
    plain, scaled = fit_probe(X, y), fit_probe(X * [1, 1e-6, 1e6, 10, 1], y)
    assert plain.score(X, y) > 0.8
    np.testing.assert_allclose(plain.predict_proba(X), scaled.predict_proba(X * [1, 1e-6, 1e6, 10, 1]), atol=1e-3)


def test_one_label_is_refused():
    with pytest.raises(DataError, match=r"found \[3\]"):
        fit_bag_of_words(["a", "b"], [3, 3])
    with pytest.raises(ValueError, match="only one class"):
        fit_probe(np.zeros((2, 2)), [3, 3])
