"""Figures of what a model does: confusions, probabilities, learning curves, scores, explanations.

Functions that draw one panel take one Axes as `ax=` and return it; a `SettingsError` refuses anything else. Nothing
calls `show`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import confusion_matrix

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.figure_style import BLUE, ORANGE, name_rows, new_axes, require_columns, wrap
from emotion_tutorial.texts import NUMBERS, as_column, as_ids, as_matrix, require_number, shorten

MOST_WITH_NUMBERS = 30
"""The number of classes up to which a cell of a confusion matrix has room for its number, and an axis for all names."""


def plot_confusion_matrix(
    *,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    label_names: Sequence[str],
    title: str = "Confusion matrix",
    ax: Axes | None = None,
) -> Axes:
    """Draw the shares of each true label's texts by predicted label; every row sums to 1.

    Labels that no text has, true or predicted, keep their row and column. With more than `MOST_WITH_NUMBERS` labels
    there are colors only, without numbers, and some of the names are left out.

    Parameters
    ----------
    y_true, y_pred : (texts,) int
        Ids into `label_names`.
    label_names
        The names of the labels in the order of their ids.

    Raises
    ------
    DataError
        If an id has no name, or there are not as many predicted as true ids.
    """
    names, _ = as_column(label_names, "label_names")
    classes = len(names)
    names = [wrap(name, 14, lines=2) if classes <= 12 else wrap(name, lines=1) for name in names]
    y_true, y_pred = as_ids(classes, y_true=y_true, y_pred=y_pred)
    shares = confusion_matrix(y_true, y_pred, labels=range(classes), normalize="true")
    cell, size = (0.75, 9) if classes <= 12 else (0.45, 6)
    side = cell * min(classes, MOST_WITH_NUMBERS)
    ax = new_axes(ax, width=1.8 + side, height=1.4 + 0.8 * side)
    ax.imshow(shares, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares if classes <= MOST_WITH_NUMBERS else np.empty((0, 0))):
        color = "white" if share > shares.max() / 2 else "black"
        ax.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=size, color=color)
    shown = range(0, classes, math.ceil(classes / MOST_WITH_NUMBERS))
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if classes > 4 else {}
    ax.set_xticks(shown, names[:: shown.step], parse_math=False, **turned)
    ax.set_yticks(shown, names[:: shown.step], parse_math=False)
    ax.set_title(title, parse_math=False)
    ax.set(xlabel="predicted label", ylabel="true label")
    ax.spines[:].set_visible(False)
    return ax


def plot_class_probabilities(
    probabilities: Mapping[str, float] | pd.Series, *, title: str = "", sort: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the probability of each label as a bar.

    Parameters
    ----------
    probabilities
        Label name to probability, such as a row of what `predict_proba` returns.
    title
        The text that was classified, which is wrapped.
    sort
        True puts the most probable label on top, and False keeps the order given. A bar always has its own label.

    Raises
    ------
    DataError
        If these are not probabilities by label name.
    """
    if not isinstance(probabilities, Mapping | pd.Series) or not len(probabilities):
        advice = "Give a row of what predict_proba returns, such as predict_proba(texts, model, tokenizer).iloc[0]"
        raise DataError(f"Expected label names with their probabilities, found {shorten(probabilities)}. {advice}.")
    for name, value in probabilities.items():
        if not isinstance(value, NUMBERS) or not -1e-6 <= value <= 1 + 1e-6:
            raise DataError(
                f"{name!r} has the probability {value}, not a number from 0 to 1. Give those after softmax."
            )
    scores = pd.Series(probabilities, dtype=float)[::-1]
    if sort:
        scores = scores.sort_values(kind="stable")
    ax = new_axes(ax, height=1.2 + 0.4 * len(scores))
    ax.barh(range(len(scores)), scores)
    name_rows(ax, scores.index, scores.tolist(), [f"{score:.1%}" for score in scores])
    ax.set_title(wrap(title, 60), parse_math=False)
    ax.set(xlabel="probability", xlim=(0, 1.12), xticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid(axis="x")
    return ax


def plot_learning_curve(log_history: Sequence[Mapping[str, float]], *, metric: str = "accuracy") -> Figure:
    """Draw loss, and a metric of the validation texts, against epochs.

    What the history does not have, such as a training loss, is left out, and so are values that are not finite, as
    after a training that diverged, and what was measured after the training, perhaps on other texts. The star marks the
    epoch with the best metric, the first of several that are equally good, which is the one that the Trainer keeps.

    Parameters
    ----------
    log_history
        `trainer.state.log_history`.
    metric
        What was measured on the validation texts: `accuracy`, `macro_f1`, or anything that `compute_metrics` returned.
        The most is the best, except of a loss.

    Raises
    ------
    DataError
        If the history has nothing to draw, or not the metric that was asked for.
    """
    score, name = f"eval_{metric}", str(metric).replace("_", " ")
    given = log_history if isinstance(log_history, Sequence) else []
    logs = pd.DataFrame([entry for entry in given if isinstance(entry, Mapping)])
    end = logs["train_runtime"].last_valid_index() if "train_runtime" in logs else None  # the training's last entry
    numbers = logs[:end].reindex(columns=[*dict.fromkeys(["epoch", "loss", "eval_loss", score])])
    numbers = numbers.apply(pd.to_numeric, errors="coerce").astype(float).where(np.isfinite)
    numbers = numbers.dropna(subset="epoch").set_index("epoch")
    panels = [panel for panel in (["loss", "eval_loss"], [score]) if numbers[panel].notna().any(axis=None)]
    if not panels or (metric != "accuracy" and [score] not in panels):
        there = ", ".join(map(str, logs.columns)) or f"a {type(log_history).__name__}"
        raise DataError(f"No {score} in log_history=, only {there}. Give trainer.state.log_history of a training.")
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.4), squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        for column in numbers[panel].dropna(axis=1, how="all"):
            points = numbers[column].dropna()
            training = column == "loss"
            label = "training (mean since the last point)" if training else "validation"
            ax.plot(points.index, points, "C0o-" if training else "C1s--", label=label)
        ax.set(title="Loss", xlabel="epoch", ylabel="cross-entropy loss", xlim=(0, None))
        if panel != [score]:
            ax.set_ylim(0, None)
        else:
            if points.between(0, 1).all():
                ax.set_ylim(0, 1)
                ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
            best = (-points if metric.endswith("loss") else points).argmax()  # the first of several
            ax.plot(points.index[best], points.iloc[best], "C3*", markersize=14, label=f"best {name}")
            ax.set(title=name.capitalize(), ylabel="share of texts predicted right" if metric == "accuracy" else name)
        ax.legend()
        ax.grid(axis="y")
    return figure


def plot_scores(scores: pd.DataFrame, *, title: str, xlabel: str, ax: Axes | None = None) -> Axes:
    """Draw scores with their intervals, one model a row, the best on top.

    Parameters
    ----------
    scores
        A frame indexed by model name, with the columns `value`, `low`, `high` in [0, 1], such as rows of what
        `evaluate` returns.

    Raises
    ------
    DataError
        If a column is not there, there are no rows, or a number is not finite, or they are not from 0 to 1 with
        `value` from `low` to `high`.
    """
    require_columns(scores, "value", "low", "high")
    value, low, high = numbers = as_matrix(scores[["value", "low", "high"]], "scores").T
    outside = (value < low - 1e-9) | (value > high + 1e-9)  # by more than rounding
    if (wrong := outside | (low > high) | (low < 0) | (high > 1 + 1e-9)).any():
        where = f"scores= of {scores.index[wrong.argmax()]!r}"
        raise DataError(f"{where}: value is not from low to high, or these are not from 0 to 1. Correct the row.")
    order = value.argsort(kind="stable")
    value, low, high = numbers[:, order]
    ax = new_axes(ax, height=1.2 + 0.5 * len(scores))
    rows = range(len(scores))
    ax.errorbar((low + high) / 2, rows, xerr=(high - low) / 2, fmt="none", capsize=4)
    ax.plot(value, rows, "o", markersize=7)
    name_rows(ax, scores.index[order], np.maximum(value, high).tolist(), [f"{number:.1%}" for number in value])
    ax.set_title(title, parse_math=False)
    ax.set_xlabel(xlabel, parse_math=False)
    ax.set_xlim(max(0, low.min() - 0.05), min(1.08, high.max() + 0.1))
    ax.margins(y=0.2)
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid(axis="x")
    return ax


def plot_explanation(explanation: pd.DataFrame, *, bars: int = 25, ax: Axes | None = None) -> Axes:
    """Draw what each word adds to the label's probability as a bar, in the order of the text from the top.

    Parameters
    ----------
    explanation
        A frame such as `explain` returns.
    bars
        If there are more words, only the longest bars are drawn, and the title says so.

    Raises
    ------
    DataError
        If a column is not there, there are no words, or an attribution is not finite.
    SettingsError
        If `bars` is not a whole number from 1.
    """
    require_columns(explanation, "word", "attribution", "label")
    require_number(1, bars=bars)
    [attributions] = as_matrix(explanation[["attribution"]], "attribution").T
    strongest = np.sort(np.argsort(-np.abs(attributions), kind="stable")[:bars])
    shown = attributions[strongest]
    ax = new_axes(ax, height=1.3 + 0.25 * max(len(shown), 3))
    ax.barh(range(len(shown)), shown, color=[BLUE if value > 0 else ORANGE for value in shown])
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.invert_yaxis()
    name_rows(ax, explanation["word"].iloc[strongest])
    label = repr(explanation["label"].iloc[0])
    some = f": the {bars} strongest of {len(explanation)}" if len(shown) < len(explanation) else ""
    ax.set_title(wrap(f"Words for (blue) and against (orange) {label}{some}", 52), parse_math=False)
    ax.set_xlabel(wrap(f"part of the probability of {label}", 60), parse_math=False)
    ax.grid(axis="x")
    return ax
