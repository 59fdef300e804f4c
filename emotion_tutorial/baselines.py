"""What a model has to beat: the majority class, a bag of words, a probe on frozen features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion_tutorial.exceptions import DataError


def fit_majority(X: npt.ArrayLike, y: npt.ArrayLike) -> DummyClassifier:
    """Fit the classifier that always answers with the most common label.

    Parameters
    ----------
    X
        Anything with a row per text; it is not looked at.
    y : (texts,) int
        Label ids.
    """
    return DummyClassifier(strategy="most_frequent").fit(X, y)


def fit_bag_of_words(texts: Sequence[str], y: npt.ArrayLike, *, tune: bool = False) -> BaseEstimator:
    """Fit logistic regressions, one per label against the rest, on TF-IDF weighted word counts.

    It sees which words a text has, not in which order.

    Parameters
    ----------
    texts
        Raw texts.
    y : (texts,) int
        Label ids, two or more different ones.
    tune
        Choose features (words; or words, pairs of words, and runs of 2 to 5 letters) and
        regularization by cross-validation in three folds of these texts, for the best macro F1.
        Takes some 50 times as long. A label with fewer than three texts is never in all folds.

    Returns
    -------
    Pipeline or GridSearchCV
        Takes raw texts. Of a tuned one, `best_params_` are what was chosen.

    Raises
    ------
    DataError
        If `y` has fewer than two labels.
    """
    if len(found := np.unique(np.asarray(y))) < 2:
        raise DataError(f"A classifier needs two labels or more, found {found.tolist()} in y.")
    if not tune:
        return bag_of_words().fit(list(texts), y)
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=2)
    both = FeatureUnion([("words", _words(ngram_range=(1, 2), min_df=2)), ("letters", letters)])
    grid = {"features": [_words(), both], "classifier__estimator__C": [1, 3, 10]}
    return GridSearchCV(bag_of_words(), grid, scoring="f1_macro", cv=3).fit(list(texts), y)


def bag_of_words() -> Pipeline:
    """Return the classifier of `fit_bag_of_words`, not fitted yet."""
    # liblinear is the fastest solver for many sparse features, and knows two classes only: hence one against the rest.
    classifier = OneVsRestClassifier(LogisticRegression(C=10, solver="liblinear"))
    return Pipeline([("features", _words()), ("classifier", classifier)])


def _words(**options: Any) -> TfidfVectorizer:
    # A one-letter word such as "i" counts too. Sublinear: a word said twice is not twice as telling.
    return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", **options)


def fit_probe(X: npt.NDArray[np.floating], y: npt.ArrayLike) -> Pipeline:
    """Fit a logistic regression on frozen features, each scaled to mean 0 and variance 1.

    Parameters
    ----------
    X : (texts, dim) float
        Such as `feature_matrix` returns.
    y : (texts,) int
        Label ids, two or more different ones.

    Raises
    ------
    ValueError
        If `y` has fewer than two labels.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(X, y)
