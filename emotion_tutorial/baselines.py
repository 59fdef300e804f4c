"""What a model has to beat: the majority class, a bag of words, a probe on frozen features."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion_tutorial.exceptions import TooFewClassesError


def fit_majority(X: npt.ArrayLike, y: npt.ArrayLike) -> DummyClassifier:
    """Fit the classifier that always answers with the commonest label.

    Parameters
    ----------
    X
        Anything with a row per text; it is not looked at.
    y : (texts,) int
        Label ids.
    """
    return DummyClassifier(strategy="most_frequent").fit(X, y)


def fit_bag_of_words(texts: Sequence[str], y: npt.ArrayLike) -> Pipeline:
    """Fit a logistic regression on TF-IDF weighted word counts: which words, not in which order.

    Parameters
    ----------
    texts
        Raw texts.
    y : (texts,) int
        Label ids, two or more different ones.

    Returns
    -------
    Pipeline
        Takes raw texts.
    """
    _require_classes(y)
    # A one-letter word such as "i" counts too. Sublinear: a word said twice is not twice as telling.
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    return make_pipeline(words, LogisticRegression(C=10, max_iter=1000)).fit(list(texts), y)


def fit_probe(X: npt.NDArray[np.floating], y: npt.ArrayLike) -> Pipeline:
    """Fit a logistic regression on frozen features, each scaled to mean 0 and variance 1.

    Parameters
    ----------
    X : (texts, dim) float
        Such as `feature_matrix` returns.
    y : (texts,) int
        Label ids, two or more different ones.
    """
    _require_classes(y)
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(X, y)


def _require_classes(y: npt.ArrayLike) -> None:
    if len(found := np.unique(np.asarray(y))) < 2:
        raise TooFewClassesError(f"A classifier needs two labels or more, found {found.tolist()} in y.")
