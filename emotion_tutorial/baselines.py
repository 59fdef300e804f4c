"""What a fine-tuned model has to beat: a bag of words, and a probe on frozen features."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.texts import Texts, as_ids, as_labels, as_matrix, as_texts, require_one_index
from emotion_tutorial.words import find_words


def fit_bag_of_words(texts: Texts, y: Any, *, tune: bool = False) -> BaseEstimator:
    """Fit logistic regressions, one per label against the rest, on TF-IDF weighted word counts.

    The model sees which words a text has, but not their order. Words are found in any script, as `find_words` in
    `emotion_tutorial.words` describes. A text without words, such as "?!", counts as one word.

    Parameters
    ----------
    texts
        The training texts, one column of strings.
    y : (texts,)
        One label for each text: ids, or names. There are two different ones or more.
    tune
        Choose the features (words; or words, pairs of words, and runs of 2 to 5 letters) and the regularization by
        cross-validation in three folds of these texts, for the best macro F1. This takes some 50 times as long. A
        label with fewer than three texts is missing from some of the folds.

    Returns
    -------
    Pipeline or GridSearchCV
        A classifier of raw texts, which can be pickled. If it was tuned, its `best_params_` are what was chosen.

    Raises
    ------
    DataError
        If a text or a label is missing or is not one, if there is not one label for each text, if all labels are the
        same, or if there are too few texts to tune.
    """
    require_one_index(texts=texts, y=y)
    strings, _ = as_texts(texts)
    labels = _as_targets(y, len(strings))
    if not tune:
        return bag_of_words().fit(strings, labels)
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=2)
    both = FeatureUnion([("words", _word_counts(ngram_range=(1, 2), min_df=2)), ("letters", letters)])
    grid = {"features": [_word_counts(), both], "classifier__estimator__C": [1, 3, 10]}
    return _tuned(bag_of_words(), grid, strings, labels)


def bag_of_words() -> Pipeline:
    """Return the classifier of `fit_bag_of_words` before it is fitted."""
    # liblinear is the fastest solver for many sparse features, and knows two classes only: hence one against the rest.
    classifier = OneVsRestClassifier(LogisticRegression(C=10, solver="liblinear"))
    return Pipeline([("features", _word_counts()), ("classifier", classifier)])


def _word_counts(**options: Any) -> TfidfVectorizer:
    # Sublinear: a word said twice is not twice as telling.
    return TfidfVectorizer(sublinear_tf=True, tokenizer=_words_or_all, token_pattern=None, **options)


def _words_or_all(text: str) -> list[str]:
    return find_words(text) or [text.strip()]


def fit_probe(X: npt.ArrayLike, y: Any, *, tune: bool = False) -> BaseEstimator:
    """Fit a logistic regression on frozen features, each scaled to mean 0 and variance 1.

    Parameters
    ----------
    X : (texts, dim) float
        Features such as `feature_matrix` returns.
    y : (texts,)
        One label for each row: ids, or names. There are two different ones or more.
    tune
        Choose the regularization (`C`, from 0.001 to 1) as `fit_bag_of_words` does, by cross-validation in three folds
        of these rows, for the best macro F1. This takes some ten times as long.

    Returns
    -------
    Pipeline or GridSearchCV
        A classifier of features, which can be pickled. If it was tuned, its `best_params_` are what was chosen.

    Raises
    ------
    DataError
        If the features are not a matrix of finite numbers, if a label is missing or is not one, if there is not one
        label for each row, if all labels are the same, or if there are too few texts to tune.
    """
    require_one_index(X=X, y=y)
    rows = as_matrix(X, "X")
    labels = _as_targets(y, len(rows))
    grid = {"logisticregression__C": [0.001, 0.01, 0.03, 0.1, 1]}
    return _tuned(probe(), grid, rows, labels, error_score="raise") if tune else probe().fit(rows, labels)


def probe() -> Pipeline:
    """Return the classifier of `fit_probe` before it is fitted."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def _tuned(classifier: Pipeline, grid: dict[str, Any], rows: Any, labels: npt.NDArray[Any], **options: Any) -> Any:
    """Choose among settings by cross-validation in three folds, for the best macro F1."""
    try:
        return GridSearchCV(classifier, grid, scoring="f1_macro", cv=3, **options).fit(rows, labels)
    except ValueError as error:  # every label is too rare for three folds, or a fold has one label
        raise DataError(f"{len(labels)} texts are too few to tune in three folds. Use tune=False.") from error


def _as_targets(y: Any, texts: int) -> npt.NDArray[Any]:
    """Return names or ids as scikit-learn takes them, two different ones or more."""
    values = as_labels(y, "y", texts)
    are_names = all(isinstance(value, str) for value in values)
    labels = np.array(values, dtype=object) if are_names else as_ids(None, y=values)[0]
    if len(found := np.unique(labels)) < 2:
        raise DataError(f"A classifier needs two labels or more, but y= has only {found[0]}.")
    return labels
