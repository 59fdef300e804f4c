"""Does a classifier do what people expect of it? Pairs of texts that differ in one respect can tell."""

import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd

from emotion_tutorial.evaluation import wilson
from emotion_tutorial.exceptions import DataError, DataWarning
from emotion_tutorial.texts import as_labels, as_texts, shorten

COLUMNS = ("capability", "pair", "variant", "label", "text")


def check_behavior(pairs: pd.DataFrame, predict: Callable[[list[str]], Any]) -> pd.DataFrame:
    """Count, for each capability, how often a text, its variant, and both are labeled right.

    Two texts of a pair differ in one respect, such as a negation. Either may be labeled right for a wrong reason, so
    that `both` says most: a classifier that always answers the same gets no pair right whose labels differ.

    Parameters
    ----------
    pairs
        The columns `capability`, `pair`, `variant`, `label` (the right one) and `text`, as `load_behavior_pairs`
        returns them: two rows for each capability and pair, one with the variant `a` and one with `b`.
    predict
        Called once, with a list of all texts. It returns one label for each, of the kind that `label` has: names, in
        any kind of column.

    Returns
    -------
    DataFrame
        Indexed by `capability` (in the order in which they appear, and last `all`) and `right` (`a`, `b` or `both`):
        `value`, the share of the pairs; `low` and `high`, its 95% interval; and `support`, the number of pairs.

    Raises
    ------
    DataError
        If `pairs` is no such frame, if a value is missing, if a pair has not exactly the two variants, or if `predict`
        doesn't return one label for each text, in the order of the texts. If it returns none of the labels that the
        texts have, as when it gives ids in place of names, a `DataWarning` says so.

    Notes
    -----
    Testing by capability is described by Ribeiro et al. 2020, Beyond Accuracy, arXiv:2005.04118. `both` is the contrast
    consistency of Gardner et al. 2020, Evaluating Models' Local Decision Boundaries via Contrast Sets,
    arXiv:2004.02709. The interval is Wilson's (1927, doi 10.1080/01621459.1927.10502953).

    Examples
    --------
    With a model, `predict` is `lambda texts: predict_proba(texts, model, tokenizer).idxmax(axis=1)`. A classifier that
    always says joy gets a sixth of the pairs right whose texts have one label, and none of the others:

    >>> from emotion_tutorial import load_behavior_pairs
    >>> found = check_behavior(load_behavior_pairs(), lambda texts: ["joy"] * len(texts))
    >>> found.xs("both", level="right").loc[["order", "negation"], "value"].round(3).to_dict()
    {'order': 0.167, 'negation': 0.0}
    """
    if not isinstance(pairs, pd.DataFrame) or not {*COLUMNS} <= {*pairs.columns}:
        found = f"has {[*pairs.columns]}" if isinstance(pairs, pd.DataFrame) else f"is a {type(pairs).__name__}"
        raise DataError(f"pairs= {found[:200]}. Give a frame with the columns {', '.join(COLUMNS)}.")
    texts, _ = as_texts(pairs["text"], "text")
    frame = pd.DataFrame({name: as_labels(pairs[name], name, len(texts)) for name in COLUMNS[:4]})
    for pair, variants in frame.groupby(["capability", "pair"], sort=False)["variant"]:
        if sorted(map(str, variants)) != ["a", "b"]:
            found = f"The pair {pair} has the variants {shorten([*variants])}"
            raise DataError(f"{found}. Give each pair two rows, of the variants 'a' and 'b', or leave it out.")
    given = predict([*texts])
    predicted = as_labels(given, "predict(texts)", len(texts))
    known = (pairs.index, pd.RangeIndex(len(texts)))
    if isinstance(given, pd.Series | pd.DataFrame) and not any(given.index.equals(index) for index in known):
        raise DataError("predict= and pairs= have different indexes. Return the labels in the order of the texts.")
    if not {*frame["label"]} & {*predicted}:
        found = f"No text has a label that predict= returned, such as {shorten(predicted[0])}"
        advice = f"Write them as in label, such as {shorten(frame['label'][0])}: names[id] is the name of an id"
        warnings.warn(f"{found}. {advice}.", DataWarning, stacklevel=2)
    frame["right"] = [label == other for label, other in zip(frame["label"], predicted, strict=True)]
    right = frame.pivot_table("right", ["capability", "pair"], "variant", aggfunc="first", sort=False)
    right["both"] = right["a"] & right["b"]
    shares = [
        (capability, name, *wilson(of[name].sum(), len(of)), len(of))
        for capability, of in [*right.groupby("capability", sort=False), ("all", right)]
        for name in ("a", "b", "both")
    ]
    columns = ["capability", "right", "value", "low", "high", "support"]
    return pd.DataFrame(shares, columns=columns).set_index(["capability", "right"])
